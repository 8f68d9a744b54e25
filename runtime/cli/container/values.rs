//! The words of options that need more than a number: sizes, limits, files of variables, sysctls.

use crate::engine::container::record::{DeviceLimit, Ulimit};
use crate::engine::container::{limits, security};
use crate::engine::mounts;
use crate::error::{Doing, Error, Kind, Result};
use crate::store::bounds;
use std::collections::BTreeMap;
use std::num::IntErrorKind;
use std::path::{Path, PathBuf};

pub fn duration(text: &str) -> std::result::Result<i64, String> {
    crate::cli::format::units::parse_duration(text).map_err(|error| error.to_string())
}

/// The kernel's, by setrlimit(2)'s names.
const ULIMITS: &[&str] = &[
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// `nofile=1024:2048`, `nproc=512`.
pub fn ulimit(text: &str) -> std::result::Result<Ulimit, String> {
    let bad = || format!("invalid ulimit argument: {text}");
    let (name, values) = text.split_once('=').ok_or_else(bad)?;
    if !ULIMITS.iter().any(|known| name.eq_ignore_ascii_case(known)) {
        return Err(format!("invalid ulimit type: {name}"));
    }
    let (soft, hard) = values.split_once(':').unwrap_or((values, values));
    let number = |text: &str| text.parse::<i64>().ok().filter(|number| *number >= -1).ok_or_else(bad);
    let ulimit = Ulimit { name: name.to_owned(), soft: number(soft)?, hard: number(hard)? };
    if ulimit.hard != -1 && (ulimit.soft > ulimit.hard || ulimit.soft == -1) {
        return Err(format!(
            "ulimit soft limit must be less than or equal to hard limit: {} > {}",
            ulimit.soft, ulimit.hard
        ));
    }
    Ok(ulimit)
}

/// `/dev/sda:1mb`, as `--device-read-bps` takes it.
pub fn bytes_a_second(text: &str) -> std::result::Result<DeviceLimit, String> {
    let (path, rate) = device_and_value(text)?;
    let bytes = limits::memory(rate).ok().and_then(|bytes| u64::try_from(bytes).ok());
    let bad = "Number must be a positive integer. Unit is optional and can be kb, mb, or gb";
    let rate = bytes.ok_or_else(|| {
        format!("invalid rate for device: {text}. The correct format is <device-path>:<number>[<unit>]. {bad}")
    })?;
    Ok(DeviceLimit { path, rate })
}

/// `/dev/sda:100`, as `--device-read-iops` takes it.
pub fn operations_a_second(text: &str) -> std::result::Result<DeviceLimit, String> {
    let (path, rate) = device_and_value(text)?;
    let rate = rate.parse().map_err(|_| {
        format!(
            "invalid rate for device: {text}. The correct format is <device-path>:<number>. Number must be a positive integer"
        )
    })?;
    Ok(DeviceLimit { path, rate })
}

/// `/dev/sda:500`, as `--blkio-weight-device` takes it.
pub fn device_weight(text: &str) -> std::result::Result<DeviceLimit, String> {
    let (path, weight) = device_and_value(text)?;
    let is_weight = |weight: &u64| *weight == 0 || (10..=1000).contains(weight);
    let rate = weight.parse().ok().filter(is_weight).ok_or_else(|| format!("invalid weight for device: {text}"))?;
    Ok(DeviceLimit { path, rate })
}

fn device_and_value(text: &str) -> std::result::Result<(String, &str), String> {
    let (path, value) = text.split_once(':').ok_or_else(|| format!("bad format: {text}"))?;
    match path.starts_with("/dev/") {
        true => Ok((path.to_owned(), value)),
        false => Err(format!("bad format for device path: {text}")),
    }
}

/// `c 1:3 rwm`
pub fn device_rule(text: &str) -> std::result::Result<String, String> {
    security::device_rule(text).map(|_| text.to_owned()).map_err(|error| error.message)
}

/// A domain of letters, digits, `-` and `_`; a dot alone is none at all.
pub fn search_domain(text: &str) -> std::result::Result<String, String> {
    let text = text.trim();
    let label = |label: &str| {
        let letters = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        (1..=63).contains(&label.len()) && label.bytes().all(letters) && !label.starts_with('-')
    };
    let is_domain = text == "." || (text.len() <= 255 && text.trim_end_matches('.').split('.').all(label));
    if is_domain { Ok(text.to_owned()) } else { Err(format!("{text} is not a valid domain")) }
}

/// `name=value`
pub fn annotation(text: &str) -> std::result::Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(name, _)| !name.is_empty());
    let (name, value) = pair.ok_or_else(|| format!("'{text}' must be formatted as key=value"))?;
    Ok((name.to_owned(), value.to_owned()))
}

pub fn bind_text(request: &mounts::Request) -> Option<String> {
    let source = request.source.as_deref()?;
    Some(match request.mode.as_str() {
        "" => format!("{source}:{}", request.target),
        mode => format!("{source}:{}:{mode}", request.target),
    })
}

/// A sysctl that is not the container's own would change the host.
pub fn check_sysctls(sysctls: &BTreeMap<String, String>, network: &str, ipc: &str) -> Result<()> {
    const IPC: [&str; 9] = [
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
        "fs.mqueue.",
    ];
    for name in sysctls.keys() {
        let of_ipc = IPC.iter().any(|own| name == own || (own.ends_with('.') && name.starts_with(own)));
        let of_network = name.starts_with("net.");
        if (of_ipc && ipc != "host") || (of_network && network != "host") {
            continue;
        }
        return Err(Error::new(format!(
            "sysctl '{name}' is not allowed: it would change the host's, not the container's"
        )));
    }
    Ok(())
}

/// The lines of `--env-file` and `--label-file`, by Docker's rules.
pub fn lines(file: &Path) -> Result<Vec<String>> {
    let text = bounds::read_named(file).doing(|| format!("open {}", file.display()))?;
    let mut entries = Vec::new();
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        entry(line).map_err(|message| {
            Error::new(message).with_cure(format!(
                "line {} of {}: one is NAME=value, or NAME alone; what follows the = is the value as it is",
                index + 1,
                file.display()
            ))
        })?;
        entries.push(line.to_owned());
    }
    Ok(entries)
}

/// Refuses what has no name, or one that no shell could name.
fn entry(line: &str) -> std::result::Result<(), String> {
    let name = line.split('=').next().unwrap_or_default();
    match name {
        "" => Err(format!("no variable name on line '{line}'")),
        name if name.contains([' ', '\t']) => Err(format!("variable '{name}' contains whitespaces")),
        // A program's environment ends each entry with one.
        name if line.contains('\0') => Err(format!("variable '{name}' contains a NUL character")),
        _ => Ok(()),
    }
}

/// What `--env-file` and `-e` say, the later over the earlier.
pub fn environment(files: &[PathBuf], entries: &[String]) -> Result<Vec<String>> {
    let mut env = Vec::new();
    for file in files {
        env.extend(lines(file)?.iter().filter_map(|line| passed_on(line)));
    }
    env.extend(entries.iter().filter_map(|entry| passed_on(entry)));
    Ok(env)
}

/// A label, which has a name.
pub fn label(text: &str) -> std::result::Result<String, String> {
    let name = text.split('=').next().unwrap_or_default().trim_start_matches([' ', '\t']);
    match name {
        "" => Err(format!("invalid label '{text}': empty name")),
        name if name.contains([' ', '\t']) => Err(format!("label '{name}' contains whitespaces")),
        _ => Ok(text.to_owned()),
    }
}

/// The address of a server.
pub fn address(text: &str) -> std::result::Result<String, String> {
    let address = text.trim().parse::<std::net::IpAddr>();
    address.map(|address| address.to_string()).map_err(|_| format!("IP address is not correctly formatted: {text}"))
}

/// Bytes, of which there is at least none.
pub fn size(text: &str) -> std::result::Result<i64, String> {
    limits::memory(text).ok().filter(|bytes| *bytes >= 0).ok_or_else(|| format!("invalid size: '{text}'"))
}

/// `--expose 80`, `53/udp`, `8000-8010`: a name for each port.
pub fn exposed(texts: &[String]) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for text in texts {
        if text.contains(':') {
            return Err(Error::new(format!("invalid port format for --expose: {text}")));
        }
        let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let protocol = if protocol.is_empty() { "tcp" } else { protocol };
        let range = port_range(ports)
            .map_err(|why| Error::new(format!("invalid range format for --expose: {text}, error: {why}")))?;
        names.extend(range.map(|port| format!("{port}/{protocol}")));
    }
    Ok(names)
}

/// With the words of Go's strconv, which Docker shows.
fn port_range(ports: &str) -> std::result::Result<std::ops::RangeInclusive<u16>, String> {
    let number = |text: &str| {
        text.parse::<u16>().map_err(|error| {
            let what = if *error.kind() == IntErrorKind::PosOverflow { "value out of range" } else { "invalid syntax" };
            format!("strconv.ParseUint: parsing {text:?}: {what}")
        })
    };
    if ports.is_empty() {
        return Err("empty string specified for ports".to_owned());
    }
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let (first, last) = (number(first)?, number(last)?);
    if last < first { Err(format!("invalid range specified for port: {ports}")) } else { Ok(first..=last) }
}

/// What has a name to be a variable by.
pub fn variable(text: &str) -> std::result::Result<String, String> {
    match text.is_empty() || text.starts_with('=') {
        true => Err(format!("invalid environment variable: {text}")),
        false => Ok(text.to_owned()),
    }
}

/// `NAME=value` as it is; a bare `NAME` with the caller's value, or nothing where the caller has none.
fn passed_on(entry: &str) -> Option<String> {
    match entry.contains('=') {
        true => Some(entry.to_owned()),
        false => std::env::var(entry).ok().map(|value| format!("{entry}={value}")),
    }
}

pub fn pair(text: &str) -> (String, String) {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    (key.to_owned(), value.to_owned())
}

/// All that is to be mounted: `-v`, then `--mount`, then `--tmpfs`. What cannot be read is an error of the command line;
/// what is read and makes no sense is the engine's to refuse, in Docker's words.
pub fn mounts(volumes: &[String], mounts: &[String], tmpfs: &[String]) -> Result<Vec<mounts::Request>> {
    let mut requests = Vec::new();
    for text in volumes {
        requests.push(mounts::parse_volume(text)?);
    }
    for text in mounts {
        requests.push(mounts::parse_mount(text).map_err(|mut error| {
            let is_of_engine = ["invalid mount config", "error looking up"];
            if !is_of_engine.iter().any(|words| error.message.starts_with(words)) {
                error.kind = Kind::Usage;
                error.message = format!("invalid argument \"{text}\" for \"--mount\" flag: {}", error.message);
            }
            error
        })?);
    }
    for text in tmpfs {
        requests.push(mounts::parse_tmpfs(text)?);
    }
    Ok(requests)
}
