//! Control groups: what a container may use of the machine, what it does use, and the switch that freezes it.
//!
//! Version 2 is one tree with all controllers, `v2.rs`. Version 1 is one tree for each controller, `v1.rs`; a host that
//! has both (a "hybrid" one) is treated as version 1, since that is where its controllers are. A user to whom the host
//! has delegated nothing has none: the container runs without, and a limit is refused with that reason.
//!
//! A cgroup is named by its path below the root of every tree: `/ebb/ID`.

mod devices;
mod join;
mod path;
mod signal;
mod v1;
mod v2;

pub use join::{Below, Birthplace, Prepared, join};
pub use signal::signal;

use crate::error::{Cause, Doing, Error, Result};
use crate::explain::{self, calls};
use nix::errno::Errno;
use oci_spec::runtime::LinuxResources;
use path::{no_path, plain, steps};
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};

/// Version 1: what the directories of a cgroup are or would be, each with the controllers of its tree (`cpu,cpuacct`). A
/// container has none in a tree in which nothing is asked for.
pub fn directories(path: &str) -> Vec<(String, PathBuf)> {
    match (host(), path) {
        (Host::V1(trees), path) if !path.is_empty() => v1::directories(trees, path),
        _ => Vec::new(),
    }
}

/// Whether a process is born in its cgroup (version 2), which must then be there before it. One of version 1 is made,
/// and joined, while the process makes its namespaces.
pub fn is_born_into() -> bool {
    matches!(host(), Host::V2(_))
}

/// Makes the cgroup `path` (the bundle's `linux.cgroupsPath`) and sets its limits, before the process is cloned. The path
/// begins at the root of each tree, for an ordinary user at the place that the host has delegated.
///
/// Where no cgroup can be made that is an error only if `resources` asks for a limit; what is prepared is then empty.
pub fn prepare(path: &str, resources: &Option<LinuxResources>) -> Result<Prepared> {
    let path = &plain(path)?;
    match host() {
        Host::V2(base) => {
            refuse_inhabited(steps(&base, path).last().ok_or_else(no_path)?)?;
            v2::prepare(&base, path, resources)
        }
        Host::V1(trees) => v1::prepare(trees, path, resources),
        Host::None(reason) => match resources.as_ref().and_then(limit_asked) {
            Some(limit) => Err(Error::new(format!("{limit} cannot be honoured: {reason}"))),
            None => Ok(Prepared::default()),
        },
    }
}

/// Refuses rules that nobody would hold to: this host has no place for them. In a user namespace none is needed.
pub fn refuse_unheld_rules(resources: Option<&LinuxResources>) -> Result<()> {
    let rules = resources.and_then(|resources| resources.devices().as_ref());
    let held = match host() {
        Host::V2(_) => return Ok(()),
        Host::V1(trees) => v1::tree_of(trees, "devices").map(drop).ok_or("it has no devices controller".into()),
        Host::None(reason) => Err(reason),
    };
    match (held, rules.is_some_and(|rules| devices::deny_something(rules))) {
        (Err(why), true) => Err(Error::new(format!(
            "linux.resources.devices keeps devices from a container that may make any (CAP_MKNOD), which this host \
             cannot do: {why}"
        ))
        .with_cure("drop CAP_MKNOD, or give the container a user namespace")),
        _ => Ok(()),
    }
}

/// What [`prepare`] will call the cgroup that it makes for `path`; empty where it can make none. To be written down before
/// it is made, so that it is found by whoever comes after a kill.
pub fn name(path: &str) -> String {
    match (host(), plain(path)) {
        (Host::V2(base), Ok(path)) => v2::name(steps(&base, &path).last().unwrap_or(&base)),
        (Host::V1(_), Ok(path)) => path,
        _ => String::new(),
    }
}

/// A cgroup with processes in it belongs to somebody else, whom our limits and our `delete` would hit.
fn refuse_inhabited(directory: &Path) -> Result<()> {
    let mut pids = Vec::new();
    if directory.exists() {
        collect(directory, &mut pids);
    }
    match pids.len() {
        0 => Ok(()),
        count => {
            let (directory, noun) = (directory.display(), if count == 1 { "process" } else { "processes" });
            Err(Error::conflict(format!("the cgroup {directory} is in use by {count} {noun}")))
        }
    }
}

/// An existing cgroup, or one `below` it, for one more process to join; empty for the empty path.
pub fn open_to_join(cgroup: &str, below: &[Below]) -> Result<Prepared> {
    match (cgroup.is_empty(), below.is_empty()) {
        (true, true) => return Ok(Prepared::default()),
        (true, false) => return Err(Error::new("the container has no cgroup, and so none below it")),
        _ => {}
    }
    match host() {
        Host::V2(_) => v2::open_to_join(&join::below(cgroup, below.first())?),
        Host::V1(trees) => v1::open_to_join(trees, cgroup, below),
        Host::None(_) => Ok(Prepared::default()),
    }
}

/// The cgroup that a line of /proc/PID/cgroup names, as all here name it: from where its tree is mounted.
pub fn as_mounted(path: &str) -> &str {
    match host() {
        Host::V1(trees) => v1::as_mounted(trees, path),
        _ => path,
    }
}

#[derive(Debug, Default, Clone, serde::Serialize, serde::Deserialize)]
pub struct Usage {
    /// Without the page cache that could be dropped at once (inactive_file), as Docker counts.
    pub memory_bytes: u64,
    pub memory_limit: Option<u64>,
    pub cpu_nanoseconds: u64,
    pub pids: u64,
    pub pids_limit: Option<u64>,
    pub block_read_bytes: u64,
    pub block_write_bytes: u64,
    /// How often the kernel's OOM killer has struck here.
    pub oom_kills: u64,
}

pub fn usage(cgroup: &str) -> Result<Usage> {
    match there(cgroup)? {
        Host::V2(_) => v2::usage(&v2::directory(cgroup)),
        Host::V1(trees) => Ok(v1::usage(trees, cgroup)),
        Host::None(reason) => Err(Error::new(reason)),
    }
}

/// How often the kernel's OOM killer has struck there: [`Usage::oom_kills`] alone.
pub fn oom_kills(cgroup: &str) -> Result<u64> {
    match there(cgroup)? {
        Host::V2(_) => Ok(v2::oom_kills(&v2::directory(cgroup))),
        Host::V1(trees) => Ok(v1::oom_kills(trees, cgroup)),
        Host::None(reason) => Err(Error::new(reason)),
    }
}

/// Whether there is such a cgroup, in any tree.
pub fn exists(cgroup: &str) -> bool {
    match host() {
        Host::V2(_) => v2::directory(cgroup).is_dir(),
        Host::V1(trees) => v1::any_directory(trees, cgroup).is_some(),
        Host::None(_) => false,
    }
}

/// Stops every process of the cgroup, and returns when the kernel says that all have stopped.
pub fn freeze(cgroup: &str) -> Result<()> {
    match there(cgroup)? {
        Host::V2(_) => v2::set_frozen(&v2::directory(cgroup), true),
        Host::V1(trees) => v1::set_frozen(trees, cgroup, true),
        Host::None(reason) => Err(Error::new(reason)),
    }
    .doing(|| format!("freeze the cgroup {cgroup}"))
}

pub fn thaw(cgroup: &str) -> Result<()> {
    match there(cgroup)? {
        Host::V2(_) => v2::set_frozen(&v2::directory(cgroup), false),
        Host::V1(trees) => v1::set_frozen(trees, cgroup, false),
        Host::None(reason) => Err(Error::new(reason)),
    }
    .doing(|| format!("thaw the cgroup {cgroup}"))
}

pub fn is_frozen(cgroup: &str) -> bool {
    match there(cgroup) {
        Ok(Host::V2(_)) => v2::is_frozen(&v2::directory(cgroup)),
        Ok(Host::V1(trees)) => v1::is_frozen(trees, cgroup),
        _ => false,
    }
}

/// Changes the limits that `resources` names, and leaves the others.
pub fn update(cgroup: &str, resources: &LinuxResources) -> Result<()> {
    match there(cgroup)? {
        Host::V2(_) => v2::limit(&v2::directory(cgroup), resources),
        Host::V1(trees) => v1::limit(trees, cgroup, resources, false),
        Host::None(reason) => Err(Error::new(reason)),
    }
}

/// The pids in the cgroup and in those below it, as the host numbers them.
pub fn processes(cgroup: &str) -> Result<Vec<i32>> {
    let mut pids = Vec::new();
    match there(cgroup)? {
        Host::V2(_) => collect(&v2::directory(cgroup), &mut pids),
        Host::V1(trees) => {
            if let Some(directory) = v1::any_directory(trees, cgroup) {
                collect(&directory, &mut pids);
            }
        }
        Host::None(reason) => return Err(Error::new(reason)),
    }
    pids.sort_unstable();
    pids.dedup();
    Ok(pids)
}

/// Removes a cgroup whose processes have ended or are ending; one that does not exist is no error, and none (the empty name).
pub fn remove(cgroup: &str) -> Result<()> {
    if cgroup.is_empty() {
        return Ok(());
    }
    match there(cgroup) {
        Ok(Host::V2(_)) => v2::remove(&v2::directory(cgroup)),
        Ok(Host::V1(trees)) => v1::remove(trees, cgroup),
        _ => Ok(()),
    }
    .doing(|| format!("remove the cgroup {cgroup}"))
}

/// Whether this user may make cgroups here (and which version), and if not, why: `info` and refusals quote it.
pub fn available() -> std::result::Result<&'static str, String> {
    match host() {
        Host::V2(_) => Ok("v2"),
        Host::V1(_) => Ok("v1"),
        Host::None(reason) => Err(reason),
    }
}

/// The controllers that this user may limit with: `memory`, `cpu`, `pids`, … A limit of another one is refused, so a
/// caller leaves its own defaults out where their controller is missing.
pub fn controllers() -> Vec<String> {
    match host() {
        Host::V2(base) => v2::controllers(&base),
        Host::V1(trees) => trees.iter().flat_map(|tree| tree.controllers.iter().cloned()).collect(),
        Host::None(_) => Vec::new(),
    }
}

/// Whether memory and swap together can be limited (`--memory-swap`).
pub fn can_limit_swap() -> bool {
    match host() {
        Host::V2(_) => Path::new("/proc/swaps").exists() && controllers().iter().any(|name| name == "memory"),
        Host::V1(trees) => {
            v1::tree_of(trees, "memory").is_some_and(|tree| tree.mount.join("memory.memsw.limit_in_bytes").exists())
        }
        Host::None(_) => false,
    }
}

const ROOT: &str = "/sys/fs/cgroup";

/// What the host has, and what of it is ours.
enum Host {
    /// The directory below which this user may make cgroups.
    V2(PathBuf),
    V1(&'static [v1::Tree]),
    None(String),
}

fn host() -> Host {
    use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};
    static UNIFIED: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    let is_unified = || statfs(ROOT).is_ok_and(|file_system| file_system.filesystem_type() == CGROUP2_SUPER_MAGIC);
    if *UNIFIED.get_or_init(is_unified) {
        return match v2::base() {
            Ok(base) => Host::V2(base),
            Err(reason) => Host::None(reason),
        };
    }
    match v1::trees() {
        Ok(trees) => Host::V1(trees),
        Err(reason) => Host::None(reason),
    }
}

/// [`host`], for a cgroup that exists.
fn there(cgroup: &str) -> Result<Host> {
    if cgroup.is_empty() {
        let why = available().err().unwrap_or_else(|| "it was started where none could be made".into());
        return Err(Error::new(format!("the container has no cgroup: {why}")));
    }
    plain(cgroup)?;
    Ok(host())
}

/// What `resources` limits, in words; device rules are no limit in this sense: the container's /dev and its missing
/// CAP_MKNOD on the host hold without them.
fn limit_asked(resources: &LinuxResources) -> Option<&'static str> {
    let memory = resources.memory().as_ref().is_some_and(|memory| {
        [memory.limit(), memory.reservation(), memory.swap()].iter().flatten().any(|bytes| *bytes > 0)
            || memory.swappiness().is_some()
            || memory.disable_oom_killer() == Some(true)
    });
    let cpu = resources.cpu().as_ref().is_some_and(|cpu| {
        cpu.shares().is_some_and(|shares| shares > 0)
            || cpu.quota().is_some_and(|quota| quota > 0)
            || cpu.period().is_some_and(|period| period > 0)
            || [cpu.cpus(), cpu.mems()].into_iter().flatten().any(|list| !list.is_empty())
    });
    let asked = [
        (memory, "a memory limit"),
        (cpu, "a CPU limit"),
        (resources.pids().as_ref().is_some_and(|pids| pids.limit() > 0), "a limit of processes"),
        (resources.block_io().is_some(), "a limit of block I/O"),
        (resources.hugepage_limits().as_ref().is_some_and(|limits| !limits.is_empty()), "a limit of huge pages"),
        (resources.unified().as_ref().is_some_and(|unified| !unified.is_empty()), "a cgroup setting"),
    ];
    asked.into_iter().find(|(is_asked, _)| *is_asked).map(|(_, words)| words)
}

/// Writes one value into one file of a cgroup. A file that is missing means that the kernel, or the host's delegation,
/// does not have this control.
fn set(directory: &Path, file: &str, value: &str) -> Result<()> {
    let path = directory.join(file);
    explain::step(format_args!("a setting of its cgroup: {file}"), format_args!("echo {value} > {}", path.display()));
    let written = OpenOptions::new().write(true).open(&path).and_then(|file| calls::write_to(&file, value));
    written
        .map_err(|error| match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::ENOENT) => Error::new(format!(
                "there is no such control here, since the host does not offer the {} controller",
                file.split('.').next().unwrap_or(file)
            )),
            _ => error.into_error(),
        })
        .doing(|| format!("write {value} to {}", path.display()))
}

fn read(directory: &Path, file: &str) -> Option<String> {
    crate::procfs::read(directory.join(file)).ok().map(|text| text.trim().to_owned())
}

fn read_number(directory: &Path, file: &str) -> Option<u64> {
    read(directory, file)?.parse().ok()
}

/// The number behind `key` in a file of `key number` lines.
fn field(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

/// mkdir(2), where what exists already serves: whether it was made now.
fn make(directory: &Path) -> Result<bool> {
    explain::step(
        "a cgroup: what is in it is counted and limited together",
        format_args!("mkdir {}", directory.display()),
    );
    match calls::mkdir(directory, 0o777) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error).doing(|| format!("make the cgroup {}", directory.display())),
    }
}

fn children(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()).collect()
}

fn collect(directory: &Path, pids: &mut Vec<i32>) {
    let listed = read(directory, "cgroup.procs").unwrap_or_default();
    pids.extend(listed.lines().filter_map(|line| line.parse::<i32>().ok()));
    for child in children(directory) {
        collect(&child, pids);
    }
}
