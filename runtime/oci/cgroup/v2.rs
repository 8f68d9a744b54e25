//! Version 2: one tree with all controllers.

use super::{Prepared, ROOT, Usage, children, collect, devices, field, make, no_path, read, read_number, set, steps};
use crate::error::{Doing, Error, Result};
use crate::explain::{self, calls};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{AccessFlags, access};
use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxResources};
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub(super) fn directory(cgroup: &str) -> PathBuf {
    Path::new(ROOT).join(cgroup.trim_start_matches('/'))
}

/// The reverse of [`directory`].
pub(super) fn name(directory: &Path) -> String {
    format!("/{}", directory.strip_prefix(ROOT).unwrap_or(directory).display())
}

/// Where this user may make cgroups: the root for root; else the nearest place above our own cgroup that the host has
/// given to this user and that holds no process itself, since a cgroup that hands out controllers may hold none.
pub(super) fn base() -> std::result::Result<PathBuf, String> {
    let writable = |directory: &Path| {
        access(directory, AccessFlags::W_OK).is_ok()
            && access(&directory.join("cgroup.procs"), AccessFlags::W_OK).is_ok()
    };
    let root = Path::new(ROOT);
    if nix::unistd::geteuid().is_root() && writable(root) {
        return Ok(root.to_owned());
    }
    let ours = crate::procfs::read("/proc/self/cgroup").unwrap_or_default();
    let ours = ours.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
    let here = directory(ours);
    let delegated: Vec<&Path> =
        here.ancestors().take_while(|place| place.starts_with(root) && writable(place)).collect();
    let empty = delegated.iter().find(|place| read(place, "cgroup.procs").is_some_and(|procs| procs.is_empty()));
    match empty.or(delegated.first()) {
        Some(place) => Ok(place.to_path_buf()),
        None if crate::oci::is_root_of_host() => Err(format!("the cgroups of this host are read-only here ({ROOT})")),
        None => Err(format!(
            "the host has delegated no cgroup to this user ({ours} belongs to another; a login through systemd would)"
        )),
    }
}

pub(super) fn controllers(base: &Path) -> Vec<String> {
    // Only the true root of the tree, which alone has no type, may hold processes and hand out controllers at once.
    let busy = read(base, "cgroup.procs").is_some_and(|procs| !procs.is_empty()) && base.join("cgroup.type").exists();
    let file = if busy { "cgroup.subtree_control" } else { "cgroup.controllers" };
    read(base, file).unwrap_or_default().split_whitespace().map(str::to_owned).collect()
}

pub(super) fn prepare(base: &Path, path: &str, resources: &Option<LinuxResources>) -> Result<Prepared> {
    let steps = steps(base, path);
    let here = steps.last().cloned().ok_or_else(no_path)?;
    let made = (|| {
        let mut parent = base.to_owned();
        for step in &steps {
            hand_down(&parent);
            make(step)?;
            parent = step.clone();
        }
        if let Some(resources) = resources {
            limit(&here, resources)?;
            if let Some(rules) = resources.devices().as_ref().filter(|rules| !rules.is_empty()) {
                devices::attach(&here, rules)?;
            }
        }
        open_to_join(&name(&here))
    })();
    if made.is_err() {
        let _ = remove(&here);
    }
    made
}

/// Gives every controller of a cgroup to those below it, one by one: one that cannot be given (a realtime process and
/// `cpu`, or a process in the cgroup itself) must not keep the others back. Whoever needs it will say that it is missing.
fn hand_down(directory: &Path) {
    let given = read(directory, "cgroup.subtree_control").unwrap_or_default();
    for controller in read(directory, "cgroup.controllers").unwrap_or_default().split_whitespace() {
        if !given.split_whitespace().any(|name| name == controller) {
            let _ = set(directory, "cgroup.subtree_control", &format!("+{controller}"));
        }
    }
}

pub(super) fn open_to_join(cgroup: &str) -> Result<Prepared> {
    let directory = File::open(directory(cgroup)).doing(|| format!("open the cgroup {cgroup}"))?;
    Ok(Prepared { path: cgroup.to_owned(), directory: Some(directory), ..Prepared::default() })
}

pub(super) fn limit(here: &Path, resources: &LinuxResources) -> Result<()> {
    if let Some(memory) = resources.memory() {
        limit_memory(here, memory)?;
    }
    if let Some(cpu) = resources.cpu() {
        limit_cpu(here, cpu)?;
    }
    if let Some(pids) = resources.pids().as_ref().filter(|pids| pids.limit() != 0) {
        set(here, "pids.max", &maximum(pids.limit()))?;
    }
    if let Some(block_io) = resources.block_io() {
        limit_block_io(here, block_io)?;
    }
    for huge in resources.hugepage_limits().iter().flatten() {
        set(here, &format!("hugetlb.{}.max", huge.page_size()), &maximum(huge.limit()))?;
    }
    for (file, value) in resources.unified().iter().flatten() {
        if file.contains('/') || !file.contains('.') {
            return Err(Error::new(format!("linux.resources.unified: \"{file}\" is not the name of a cgroup file")));
        }
        set(here, file, value)?;
    }
    Ok(())
}

/// -1 is the specification's "no limit".
fn maximum(number: i64) -> String {
    if number < 0 { "max".into() } else { number.to_string() }
}

fn limit_memory(here: &Path, memory: &LinuxMemory) -> Result<()> {
    let asked = |bytes: Option<i64>| bytes.filter(|bytes| *bytes != 0);
    // The specification counts memory and swap together, version 2 counts swap alone.
    match (asked(memory.swap()), asked(memory.limit())) {
        (Some(-1), _) => set(here, "memory.swap.max", "max")?,
        (Some(both), Some(limit)) if both >= limit && limit > 0 => {
            set(here, "memory.swap.max", &(both - limit).to_string())?
        }
        (Some(both), limit) => {
            let limit = limit.map_or("none".into(), |limit| limit.to_string());
            return Err(Error::new(format!(
                "a limit of memory and swap together ({both}) needs a lower limit of memory ({limit})"
            )));
        }
        (None, _) => {}
    }
    if let Some(limit) = asked(memory.limit()) {
        set(here, "memory.max", &maximum(limit))?;
    }
    match asked(memory.reservation()) {
        Some(reservation) => set(here, "memory.low", &maximum(reservation)),
        None => Ok(()),
    }
}

fn limit_cpu(here: &Path, cpu: &LinuxCpu) -> Result<()> {
    if let Some(shares) = cpu.shares().filter(|shares| *shares > 0) {
        // Version 1 has shares from 2 to 262144, version 2 a weight from 1 to 10000.
        let weight = 1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142;
        set(here, "cpu.weight", &weight.to_string())?;
    }
    let (quota, period) = (cpu.quota().filter(|quota| *quota != 0), cpu.period().filter(|period| *period > 0));
    if quota.is_some() || period.is_some() {
        let now = read(here, "cpu.max").unwrap_or_default();
        let mut now = now.split(' ');
        let (now_quota, now_period) = (now.next().unwrap_or("max"), now.next().unwrap_or("100000"));
        let quota = quota.map_or_else(|| now_quota.to_owned(), maximum);
        let period = period.map_or_else(|| now_period.to_owned(), |period| period.to_string());
        set(here, "cpu.max", &format!("{quota} {period}"))?;
    }
    if let Some(burst) = cpu.burst() {
        set(here, "cpu.max.burst", &burst.to_string())?;
    }
    if let Some(idle) = cpu.idle() {
        set(here, "cpu.idle", &idle.to_string())?;
    }
    for (file, list) in [("cpuset.cpus", cpu.cpus()), ("cpuset.mems", cpu.mems())] {
        if let Some(list) = list.as_ref().filter(|list| !list.is_empty()) {
            set(here, file, list)?;
        }
    }
    Ok(())
}

fn limit_block_io(here: &Path, block_io: &LinuxBlockIo) -> Result<()> {
    if let Some(weight) = block_io.weight().filter(|weight| *weight > 0) {
        if here.join("io.bfq.weight").exists() {
            set(here, "io.bfq.weight", &weight.to_string())?;
        } else {
            // 10 to 1000 becomes 1 to 10000.
            let weight = 1 + (u64::from(weight).clamp(10, 1000) - 10) * 9999 / 990;
            set(here, "io.weight", &weight.to_string())?;
        }
    }
    let throttles = [
        ("rbps", block_io.throttle_read_bps_device()),
        ("wbps", block_io.throttle_write_bps_device()),
        ("riops", block_io.throttle_read_iops_device()),
        ("wiops", block_io.throttle_write_iops_device()),
    ];
    for (key, devices) in throttles {
        for device in devices.iter().flatten() {
            set(here, "io.max", &format!("{}:{} {key}={}", device.major(), device.minor(), device.rate()))?;
        }
    }
    Ok(())
}

pub(super) fn usage(here: &Path) -> Result<Usage> {
    if !here.exists() {
        return Err(Error::not_found(format!("the cgroup {} does not exist", here.display())));
    }
    let cache = read(here, "memory.stat").and_then(|text| field(&text, "inactive_file")).unwrap_or(0);
    let io = read(here, "io.stat").unwrap_or_default();
    // "8:0 rbytes=4096 wbytes=0 …"
    let bytes = |key: &str| io.split_whitespace().filter_map(|word| word.strip_prefix(key)?.parse::<u64>().ok()).sum();
    let mut pids = Vec::new();
    if !here.join("pids.current").exists() {
        collect(here, &mut pids);
    }
    Ok(Usage {
        memory_bytes: read_number(here, "memory.current").unwrap_or(0).saturating_sub(cache),
        memory_limit: read_number(here, "memory.max"),
        cpu_nanoseconds: read(here, "cpu.stat").and_then(|text| field(&text, "usage_usec")).unwrap_or(0) * 1000,
        pids: read_number(here, "pids.current").unwrap_or(pids.len() as u64),
        pids_limit: read_number(here, "pids.max"),
        block_read_bytes: bytes("rbytes="),
        block_write_bytes: bytes("wbytes="),
        oom_kills: oom_kills(here),
    })
}

pub(super) fn oom_kills(here: &Path) -> u64 {
    read(here, "memory.events").and_then(|text| field(&text, "oom_kill")).unwrap_or(0)
}

pub(super) fn set_frozen(here: &Path, frozen: bool) -> Result<()> {
    set(here, "cgroup.freeze", if frozen { "1" } else { "0" })?;
    match wait_for_event(here, "frozen", u64::from(frozen), Duration::from_secs(10)) {
        true => Ok(()),
        false if frozen => {
            let _ = set(here, "cgroup.freeze", "0");
            Err(Error::new("a process in it does not stop within 10 seconds"))
        }
        false => Err(Error::new("a process in it does not go on within 10 seconds")),
    }
}

pub(super) fn is_frozen(here: &Path) -> bool {
    read(here, "cgroup.freeze").as_deref() == Some("1")
}

/// Waits until `cgroup.events` says `key value`. The kernel raises POLLPRI on that file when one of its fields changes
/// after it was last read.
fn wait_for_event(here: &Path, key: &str, value: u64, longest: Duration) -> bool {
    let give_up = Instant::now() + longest;
    let Ok(mut events) = File::open(here.join("cgroup.events")) else {
        return false;
    };
    loop {
        let mut text = String::new();
        let read = std::io::Seek::rewind(&mut events).and_then(|()| events.read_to_string(&mut text));
        if read.is_err() || field(&text, key).is_none_or(|now| now == value) {
            return read.is_ok();
        }
        let left = give_up.saturating_duration_since(Instant::now());
        let mut fds = [PollFd::new(events.as_fd(), PollFlags::POLLPRI)];
        if left.is_zero() || poll(&mut fds, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)).is_err() {
            return false;
        }
    }
}

pub(super) fn remove(here: &Path) -> Result<()> {
    for child in children(here) {
        remove(&child)?;
    }
    explain::step("its cgroup, empty now, goes", format_args!("rmdir {}", here.display()));
    let attempt = || calls::rmdir(here);
    let removed = match attempt() {
        Err(Errno::EBUSY) => {
            wait_for_event(here, "populated", 0, Duration::from_secs(5));
            attempt()
        }
        other => other,
    };
    match removed {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(errno) => Err(errno).doing(|| format!("rmdir {}", here.display())),
    }
}
