//! What a container may do to the kernel: capabilities, the seccomp filter, no_new_privs, devices, and what of /proc and
//! /sys is hidden. The defaults are those of shared practice, and never wider than Docker's.

use super::namespaces;
use super::record::HostConfig;
use crate::engine::idmap::StoreIds;
use crate::error::{Doing, Error, Result};
use crate::oci;
use crate::store::bounds;
use oci_spec::runtime::{
    Capabilities, Capability, LinuxCapabilities, LinuxCapabilitiesBuilder, LinuxDevice, LinuxDeviceBuilder,
    LinuxDeviceCgroup, LinuxDeviceCgroupBuilder, LinuxDeviceType, LinuxSeccomp,
};
use std::collections::{HashMap, HashSet};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::str::FromStr;

/// Podman's eleven: three fewer than Docker's (no MKNOD, NET_RAW, AUDIT_WRITE).
const DEFAULT_CAPABILITIES: [&str; 11] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// Those that mean nothing where one id is mapped: every file and every process is that id's own, and calls that change
/// the identity are answered by the seccomp filter (oci/seccomp/identity.rs), so that the kernel is not asked.
const FOR_OTHER_IDS: [&str; 6] = ["CHOWN", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID"];

/// The capabilities that `--privileged`, `--cap-add` and `--cap-drop` leave. Never inheritable (CVE-2022-29162). A program
/// that changes its user keeps what it has where there is one id only, so it is given less there.
pub fn capabilities(host: &HostConfig, ids: &StoreIds, uid: u32) -> Result<LinuxCapabilities> {
    let mut set = allowed(host)?;
    let is_asked_for = |name: &&str| host.cap_add.iter().any(|added| named(added).ok() == named(name).ok());
    let adds_all = host.cap_add.iter().any(|added| added.eq_ignore_ascii_case("ALL"));
    if matches!(ids, StoreIds::Single(_)) && !host.privileged && !adds_all {
        for name in FOR_OTHER_IDS.iter().filter(|name| !is_asked_for(name)) {
            set.remove(&named(name)?);
        }
    }
    capabilities_of(uid, set)
}

/// With this ceiling. Who is not root begins without any, as in Docker: execve(2) would take them away in any case, but for
/// a program with file capabilities, to which no_new_privs gives what its caller has already.
pub fn capabilities_of(uid: u32, ceiling: Capabilities) -> Result<LinuxCapabilities> {
    let own = if uid == 0 { ceiling.clone() } else { Capabilities::new() };
    LinuxCapabilitiesBuilder::default()
        .bounding(ceiling)
        .effective(own.clone())
        .permitted(own)
        .inheritable(Capabilities::new())
        .ambient(Capabilities::new())
        .build()
        .doing(|| "describe the capabilities")
}

pub fn allowed(host: &HostConfig) -> Result<Capabilities> {
    let all = || -> Result<Capabilities> { oci::capabilities::known().iter().map(|name| named(name)).collect() };
    if host.privileged {
        return all();
    }
    let says_all = |list: &[String]| list.iter().any(|name| name.eq_ignore_ascii_case("ALL"));
    let mut set: Capabilities = match (says_all(&host.cap_add), says_all(&host.cap_drop)) {
        (true, _) => all()?,
        (false, true) => HashSet::new(),
        (false, false) => DEFAULT_CAPABILITIES.iter().map(|name| named(name)).collect::<Result<_>>()?,
    };
    for name in host.cap_add.iter().filter(|name| !name.eq_ignore_ascii_case("ALL")) {
        set.insert(named(name).doing(|| "invalid CapAdd")?);
    }
    for name in host.cap_drop.iter().filter(|name| !name.eq_ignore_ascii_case("ALL")) {
        set.remove(&named(name).doing(|| "invalid CapDrop")?);
    }
    Ok(set)
}

/// With or without `CAP_`, in any case.
fn named(name: &str) -> Result<Capability> {
    let upper = name.to_ascii_uppercase();
    let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
    Capability::from_str(bare).map_err(|_| Error::new(format!("unknown capability: \"CAP_{bare}\"")))
}

/// Checks `--cap-add`, `--cap-drop`, `--security-opt` and `--device` before anything is made.
pub fn check(host: &HostConfig, ids: &StoreIds) -> Result<()> {
    allowed(host)?;
    no_new_privileges(host)?;
    seccomp(host, ids)?;
    devices(host)?;
    device_rules(host, !namespaces::has_hosts_root(host)).map(drop)
}

/// One `--security-opt`, in either of Docker's spellings.
fn options(host: &HostConfig) -> impl Iterator<Item = (&str, &str)> {
    host.security_opt.iter().map(|text| text.split_once(['=', ':']).unwrap_or((text, "")))
}

/// On, unless the user says otherwise or wants a privileged container.
pub fn no_new_privileges(host: &HostConfig) -> Result<bool> {
    let mut on = !host.privileged;
    for (key, value) in options(host) {
        match (key, value) {
            ("no-new-privileges", "" | "true") => on = true,
            ("no-new-privileges", "false") => on = false,
            ("seccomp", _) => {}
            ("label" | "apparmor", "disable" | "unconfined") => {}
            ("label" | "apparmor", _) => {
                return Err(Error::new(format!(
                    "--security-opt {key}={value} cannot be honoured: ebb loads no {key} profiles"
                )));
            }
            _ => return Err(Error::new(format!("invalid --security-opt: \"{key}\""))),
        }
    }
    Ok(on)
}

/// The default profile for these capabilities, a profile of the user's, or none.
pub fn seccomp(host: &HostConfig, ids: &StoreIds) -> Result<Option<LinuxSeccomp>> {
    let asked = options(host).filter(|(key, _)| *key == "seccomp").map(|(_, value)| value).last();
    let set = allowed(host)?;
    let mut filter = match asked {
        Some("unconfined") => None,
        // Since records hold the profile itself. One of before names a file, which is read anew.
        Some(profile) if profile.starts_with('{') => Some(oci::seccomp::from_docker_json(profile, &set)?),
        Some(file) if names_file(file) => Some(oci::seccomp::from_docker_json(&read_profile(file)?, &set)?),
        _ if host.privileged => None,
        _ => Some(oci::seccomp::default_profile(&set)),
    };
    // With one id only, a program that wants to change its user is told that it has: see oci/seccomp/identity.rs.
    if matches!(ids, StoreIds::Single(_)) {
        let filter = filter.get_or_insert_with(allow_all);
        oci::seccomp::pretend_identity(filter);
    }
    Ok(filter)
}

fn names_file(value: &str) -> bool {
    !matches!(value, "" | "builtin" | "unconfined")
}

/// The words of `--security-opt` as the record has them: the profile in the place of its file's name, as with Docker. Every
/// start is under the filter that was asked for, from whatever directory, and whatever becomes of the file.
pub fn with_profiles(words: &[String]) -> Result<Vec<String>> {
    let one = |word: &String| match word.split_once(['=', ':']) {
        Some(("seccomp", file)) if names_file(file) => Ok(format!("seccomp={}", read_profile(file)?)),
        _ => Ok(word.clone()),
    };
    words.iter().map(one).collect()
}

/// A profile, without the blanks between its words.
fn read_profile(file: &str) -> Result<String> {
    let text = bounds::read_named(Path::new(file)).doing(|| format!("opening seccomp profile ({file}) failed"))?;
    let read: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(&text).doing(|| format!("Decoding seccomp profile ({file}) failed"))?;
    serde_json::to_string(&read).doing(|| format!("Decoding seccomp profile ({file}) failed"))
}

fn allow_all() -> LinuxSeccomp {
    let mut filter = LinuxSeccomp::default();
    filter.set_default_action(oci_spec::runtime::LinuxSeccompAction::ScmpActAllow);
    filter
}

/// `--device HOST[:INSIDE[:rwm]]`; all of the host's with `--privileged`.
pub fn devices(host: &HostConfig) -> Result<Vec<LinuxDevice>> {
    let mut list = Vec::new();
    for text in &host.devices {
        let (outside, inside) = places(text)?;
        list.push(device(outside, inside)?);
    }
    if host.privileged {
        let entries = std::fs::read_dir("/dev").doing(|| "read /dev")?;
        for entry in entries.flatten() {
            let path = entry.path().to_string_lossy().into_owned();
            // The container's own terminals and console are its own.
            if !matches!(path.as_str(), "/dev/console" | "/dev/ptmx" | "/dev/tty")
                && let Ok(device) = device(&path, &path)
            {
                list.push(device);
            }
        }
    }
    Ok(list)
}

/// What a bundle says beside, of each device that has another path on the host than inside.
pub fn device_sources(host: &HostConfig) -> Result<HashMap<String, String>> {
    let mut sources = HashMap::new();
    for text in &host.devices {
        let (outside, inside) = places(text)?;
        if outside != inside {
            sources.insert(format!("{}{inside}", oci::DEVICE_SOURCE), outside.to_owned());
        }
    }
    Ok(sources)
}

/// Which devices the container may open: those that every container has, and what `--device` names, as far as its letters
/// go. Only where it has no user namespace: with one, the kernel gives it no device that it could make, and the host's own
/// node is bound, of which a part cannot be given.
pub fn device_rules(host: &HostConfig, has_user_namespace: bool) -> Result<Option<Vec<LinuxDeviceCgroup>>> {
    let rule = |allow: bool, letters: &str| {
        LinuxDeviceCgroupBuilder::default().allow(allow).access(letters).build().doing(|| "describe a device rule")
    };
    if host.privileged {
        // Without a word on them Ebb's own runtime leaves devices alone, and runc closes them all.
        let open = rule(true, "rwm")?;
        return Ok((!matches!(host.runtime.as_str(), "" | "ebb")).then(|| vec![open]));
    }
    let mut rules = vec![rule(false, "rwm")?];
    for text in &host.devices {
        let (outside, inside) = places(text)?;
        let letters = text.rsplit(':').next().filter(|word| !word.contains('/')).unwrap_or("rwm");
        if has_user_namespace && !(letters.contains('r') && letters.contains('w')) {
            return Err(Error::new(format!(
                "--device {text} cannot be honoured: in a user namespace the host's own node is shown, and whoever may \
                 open it may do so for reading and for writing"
            ))
            .with_cure("as root --userns host, where the kernel is told what may be done with each device"));
        }
        let found = device(outside, inside)?;
        let mut one = rule(true, letters)?;
        one.set_typ(Some(found.typ())).set_major(Some(found.major())).set_minor(Some(found.minor()));
        rules.push(one);
    }
    for text in &host.device_cgroup_rules {
        if has_user_namespace {
            return Err(Error::new(format!(
                "--device-cgroup-rule {text} cannot be honoured: in a user namespace the kernel makes no device"
            ))
            .with_cure("--device shows the container one device of the host's; as root --userns host takes rules"));
        }
        rules.push(device_rule(text)?);
    }
    Ok((!has_user_namespace).then_some(rules))
}

/// `c 1:3 rwm`, `a *:* rwm`: which kind, which numbers (`*` is all), and what for.
pub fn device_rule(text: &str) -> Result<LinuxDeviceCgroup> {
    let bad = || Error::new(format!("invalid device cgroup format '{text}'"));
    let [kind, numbers, letters] = text.split(' ').collect::<Vec<_>>()[..] else { return Err(bad()) };
    let kind = match kind {
        "a" => LinuxDeviceType::A,
        "b" => LinuxDeviceType::B,
        "c" => LinuxDeviceType::C,
        _ => return Err(bad()),
    };
    let (major, minor) = numbers.split_once(':').ok_or_else(bad)?;
    let number = |word: &str| match word {
        "*" => Ok(None),
        _ if word.bytes().all(|byte| byte.is_ascii_digit()) => word.parse::<i64>().map(Some).map_err(|_| bad()),
        _ => Err(bad()),
    };
    if !(1..=3).contains(&letters.len()) || !letters.bytes().all(|letter| b"rwm".contains(&letter)) {
        return Err(bad());
    }
    let built = LinuxDeviceCgroupBuilder::default().allow(true).typ(kind).access(letters).build();
    let mut rule = built.doing(|| "describe a device rule")?;
    rule.set_major(number(major)?).set_minor(number(minor)?);
    Ok(rule)
}

/// A device's path on the host and inside. As with Docker, the second word may be the letters already.
fn places(text: &str) -> Result<(&str, &str)> {
    let is_mode = |word: &str| !word.is_empty() && word.bytes().all(|letter| b"rwm".contains(&letter));
    let bad_mode = |word: &str| Error::new(format!("invalid --device \"{text}\": bad mode specified: {word}"));
    let words: Vec<&str> = text.split(':').collect();
    match words[..] {
        [outside] => Ok((outside, outside)),
        [outside, inside] if inside.starts_with('/') => Ok((outside, inside)),
        [outside, mode] if is_mode(mode) => Ok((outside, outside)),
        [outside, inside, mode] if inside.starts_with('/') && is_mode(mode) => Ok((outside, inside)),
        [_, mode] | [_, _, mode] => Err(bad_mode(mode)),
        _ => Err(Error::new(format!("invalid --device \"{text}\": it is HOST[:INSIDE[:rwm]]"))),
    }
}

fn device(outside: &str, inside: &str) -> Result<LinuxDevice> {
    let meta = std::fs::symlink_metadata(outside).map_err(|_| {
        Error::new(format!(
            "error gathering device information while adding custom device \"{outside}\": no such file or directory"
        ))
    })?;
    let kind = meta.file_type();
    let kind = match (kind.is_char_device(), kind.is_block_device()) {
        (true, _) => LinuxDeviceType::C,
        (_, true) => LinuxDeviceType::B,
        _ => {
            return Err(Error::new(format!(
                "error gathering device information while adding custom device \"{outside}\": not a device node"
            )));
        }
    };
    let number = meta.rdev();
    LinuxDeviceBuilder::default()
        .path(inside)
        .typ(kind)
        .major(nix::sys::stat::major(number) as i64)
        .minor(nix::sys::stat::minor(number) as i64)
        .file_mode(meta.mode() & 0o7777)
        .uid(meta.uid())
        .gid(meta.gid())
        .build()
        .doing(|| format!("describe the device {outside}"))
}

/// What shows or changes the host through /proc and /sys: the union of Docker's and Podman's lists.
const MASKED: [&str; 14] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/dev/block",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/fs/selinux",
];
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

pub fn masked_paths(host: &HostConfig) -> Vec<String> {
    if host.privileged { Vec::new() } else { MASKED.map(str::to_owned).to_vec() }
}

pub fn readonly_paths(host: &HostConfig) -> Vec<String> {
    if host.privileged { Vec::new() } else { READ_ONLY.map(str::to_owned).to_vec() }
}
