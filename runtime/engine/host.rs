//! What this machine offers to containers, and what it withholds and why.

use super::container::state::{self, Status};
use super::idmap::{self, StoreIds};
use super::{container, image, one_id};
use crate::error::Result;
use crate::oci::{self, IdMap, cgroup};
use crate::required;
use crate::store::Store;
use nix::sys::utsname::uname;
use serde_json::{Value, json};
use std::path::Path;

/// Docker's `info` tree, for what exists here, and a few keys more: `Limits`, `Rootless`, `SubordinateIds`, `UserNamespaces`,
/// `IdMappedMounts`, `Warnings`.
pub fn facts(store: &Store) -> Result<Value> {
    let counted = count(store)?;
    let mut warnings = too_old();
    let (cgroup_version, controllers) = cgroups(&mut warnings);
    let has = |name: &str| controllers.iter().any(|known| known == name);
    let swap = cgroup::can_limit_swap();
    if has("memory") && !swap {
        warnings.push("No swap limit support: --memory-swap is refused".to_owned());
    }
    let ids = subordinate_ids(&mut warnings)?;
    let user_namespaces = user_namespaces(&mut warnings);
    let mapped = mapped_mounts(store, &mut warnings);
    warnings.extend(oci::no_upper(store.root()).map(|error| format!("No containers: {error}").replace("\n  ", "; ")));
    if store.is_on_memory() {
        warnings.push(format!(
            "{}: what is in the store goes when the machine or the container around it ends",
            store.root().display()
        ));
    }
    let uts = uname().ok();
    let system = |part: fn(&nix::sys::utsname::UtsName) -> &std::ffi::OsStr| {
        uts.as_ref().map(|uts| part(uts).to_string_lossy().into_owned()).unwrap_or_default()
    };
    Ok(json!({
        "Containers": counted.iter().sum::<usize>(),
        "ContainersRunning": counted[0],
        "ContainersPaused": counted[1],
        "ContainersStopped": counted[2],
        "Images": image::list_readable(store)?.0.len(),
        "Driver": "overlay2",
        "DriverStatus": [["Backing Filesystem", file_system(store.root())], ["userxattr", "true"]],
        "DockerRootDir": store.root(),
        "Plugins": {"Volume": ["local"], "Network": ["host", "none"], "Authorization": null, "Log": ["json-file", "none"]},
        "LoggingDriver": "json-file",
        "CgroupDriver": if cgroup_version.is_empty() { "none" } else { "cgroupfs" },
        "CgroupVersion": cgroup_version,
        "Limits": controllers,
        "MemoryLimit": has("memory"),
        "SwapLimit": swap,
        "CPUShares": has("cpu"),
        "CPUSet": has("cpuset"),
        "PidsLimit": has("pids"),
        "Rootless": !nix::unistd::geteuid().is_root(),
        "UserNamespaces": user_namespaces,
        "SubordinateIds": ids,
        "IdMappedMounts": mapped,
        "SecurityOptions": security_options(),
        "DefaultRuntime": "ebb",
        "KernelVersion": system(|uts| uts.release()),
        "KernelMinimum": version(required::MINIMUM),
        "KernelMinimumAsRoot": version(required::MINIMUM_AS_ROOT),
        "OperatingSystem": operating_system(),
        "OSType": "linux",
        "Architecture": system(|uts| uts.machine()),
        "NCPU": cpus(),
        "MemTotal": total_memory(),
        "Name": system(|uts| uts.nodename()),
        "ServerVersion": env!("CARGO_PKG_VERSION"),
        "Warnings": warnings,
    }))
}

fn version((major, minor): (u32, u32)) -> String {
    format!("{major}.{minor}")
}

/// What this kernel lacks of what Ebb needs, and an ordinary kernel's version that is too low for root's containers.
fn too_old() -> Vec<String> {
    let is_old_for_root =
        nix::unistd::geteuid().is_root() && !required::is_at_least(&required::release(), required::MINIMUM_AS_ROOT);
    match required::missing() {
        Some(missing) => vec![missing.to_string().replace("\n  ", "; ")],
        None if is_old_for_root => vec![format!("Kernel {}: {}", required::release(), required::needed())],
        None => Vec::new(),
    }
}

/// Containers that run, that are paused, and all the others.
fn count(store: &Store) -> Result<[usize; 3]> {
    let mut counted = [0; 3];
    for container in container::list_readable(store)?.containers {
        let place = match state::current(store, &container).map(|state| state.status) {
            Ok(Status::Running | Status::Restarting) => 0,
            Ok(Status::Paused) => 1,
            _ => 2,
        };
        counted[place] += 1;
    }
    Ok(counted)
}

/// The version, empty where this user may make no cgroup, and what can be limited.
fn cgroups(warnings: &mut Vec<String>) -> (&'static str, Vec<String>) {
    let version = match cgroup::available() {
        Ok(version) => version.trim_start_matches('v'),
        Err(reason) => {
            warnings.push(format!("No limits: {reason}"));
            return ("", Vec::new());
        }
    };
    let mut controllers = cgroup::controllers();
    controllers.sort();
    controllers.dedup();
    for (name, options) in [
        ("memory", "--memory"),
        ("cpu", "--cpus and --cpu-shares"),
        ("cpuset", "--cpuset-cpus"),
        ("pids", "--pids-limit"),
    ] {
        if !controllers.iter().any(|known| known == name) {
            warnings.push(format!("No {name} controller: {options} cannot be honoured"));
        }
    }
    (version, controllers)
}

/// How many ids a container of this user may have beside the user's own.
fn subordinate_ids(warnings: &mut Vec<String>) -> Result<u64> {
    Ok(match idmap::store_ids()? {
        StoreIds::Host => 65536,
        StoreIds::Subordinate(map) => map.uids.iter().skip(1).map(|(_, _, count)| u64::from(*count)).sum(),
        StoreIds::Single(_) => {
            let (why, cure) = match idmap::unusable() {
                Some(_) => one_id::reason(),
                None => ("No subordinate ids".to_owned(), one_id::reason().1),
            };
            warnings.push(format!("{why}: all files belong to you, and {} ({cure})", one_id::MEANING));
            0
        }
    })
}

/// Tried, since what the kernel says of itself is not the last word: AppArmor and sysctls may forbid it.
fn user_namespaces(warnings: &mut Vec<String>) -> bool {
    let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    let own = IdMap { uids: vec![(0, uid, 1)], gids: vec![(0, gid, 1)] };
    match oci::with_ids(Some(&own), || Ok(())) {
        Ok(()) => true,
        Err(error) => {
            warnings.push(format!("No user namespaces: {error}"));
            false
        }
    }
}

/// Only root's containers need them.
fn mapped_mounts(store: &Store, warnings: &mut Vec<String>) -> bool {
    let can = idmap::can_idmap(store, store.root());
    if !can && nix::unistd::geteuid().is_root() {
        warnings.push(
            "No id-mapped mounts on the store's file system: containers can only be made with --userns host".to_owned(),
        );
    }
    can
}

/// As Docker lists them.
fn security_options() -> Vec<&'static str> {
    let mut options = vec!["name=no-new-privileges"];
    let actions = std::fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail").unwrap_or_default();
    if actions.contains("errno") {
        options.insert(0, "name=seccomp,profile=builtin");
    }
    options.push("name=userns");
    if !nix::unistd::geteuid().is_root() {
        options.push("name=rootless");
    }
    options
}

/// The type of the file system that a path is on, from mountinfo(5). By the mount's own number: btrfs gives each subvolume a
/// device that no mount has.
fn file_system(path: &Path) -> String {
    let Ok(directory) = std::fs::File::open(path) else { return String::new() };
    let Ok(mount) = crate::kernel::mount_id(&directory).map(|id| id.to_string()) else { return String::new() };
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let line = mounts.lines().find(|line| line.split(' ').next() == Some(&mount));
    let kind = line.and_then(|line| line.split(" - ").nth(1)?.split(' ').next());
    kind.unwrap_or("unknown").to_owned()
}

/// `PRETTY_NAME` of os-release(5).
fn operating_system() -> String {
    let text = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map_or_else(|| "Linux".to_owned(), |name| name.trim_matches(['"', '\'']).to_owned())
}

fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn total_memory() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kibibytes: u64 = line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0);
    kibibytes * 1024
}
