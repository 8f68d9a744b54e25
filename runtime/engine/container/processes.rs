//! The processes of a container, as the host sees them.

use super::state::State;
use crate::error::{Doing, Result};
use crate::oci;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// The pids of all of them, sorted: of its cgroup, or without one, of its pid namespace.
pub fn pids(state: &State) -> Result<Vec<i32>> {
    let mut pids = match state.cgroup.as_str() {
        "" => without_cgroup(state.init.pid)?,
        cgroup => oci::cgroup::processes(cgroup)?,
    };
    pids.sort_unstable();
    Ok(pids)
}

fn without_cgroup(init: i32) -> Result<Vec<i32>> {
    let namespace = |pid: i32| std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let theirs = namespace(init);
    if theirs.is_some() && theirs != std::fs::read_link("/proc/self/ns/pid").ok() {
        return Ok(all_pids()?.into_iter().filter(|pid| namespace(*pid) == theirs).collect());
    }
    // It shares the host's pid namespace (`--pid host`): only its family tree is left to tell its processes by.
    let parents: HashMap<i32, i32> = all_pids()?.into_iter().filter_map(|pid| Some((pid, stat(pid)?.parent))).collect();
    let descends = |pid: &i32| {
        let mut ancestor = Some(*pid);
        while let Some(this) = ancestor.filter(|this| *this > 0) {
            if this == init {
                return true;
            }
            ancestor = parents.get(&this).copied();
        }
        false
    };
    Ok(parents.keys().copied().filter(descends).collect())
}

/// Of the whole machine.
pub fn all_pids() -> Result<Vec<i32>> {
    let entries = std::fs::read_dir("/proc").doing(|| "read /proc")?;
    Ok(entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
}

/// One process.
#[derive(Debug, Clone)]
pub struct Process {
    pub pid: i32,
    pub parent: i32,
    pub uid: u32,
    /// The device number of its terminal; 0 is none.
    pub terminal: u32,
    /// User and system time, in clock ticks.
    pub cpu_ticks: u64,
    /// When it began, in clock ticks after the machine did.
    pub start_ticks: u64,
    pub threads: u64,
    pub resident_bytes: u64,
    /// The arguments, or the name in brackets where it has none.
    pub command: String,
}

/// What /proc says of a process; `None` when it has gone.
pub fn process(pid: i32) -> Option<Process> {
    let stat = stat(pid)?;
    let dir = PathBuf::from(format!("/proc/{pid}"));
    let arguments = std::fs::read(dir.join("cmdline")).ok()?;
    let arguments: Vec<_> = arguments
        .split(|byte| *byte == 0)
        .map(|argument| String::from_utf8_lossy(argument).replace(|c: char| c.is_control(), "?"))
        .collect();
    let line = arguments.join(" ");
    let line = line.trim_end();
    Some(Process {
        pid,
        parent: stat.parent,
        uid: effective_uid(&dir)?,
        terminal: stat.terminal,
        cpu_ticks: stat.cpu_ticks,
        start_ticks: stat.start_ticks,
        threads: stat.threads,
        resident_bytes: stat.resident_pages * page_size(),
        command: if line.is_empty() { format!("[{}]", stat.name) } else { line.to_owned() },
    })
}

/// Not the owner of the directory: that is root for a process that may not be looked into.
fn effective_uid(dir: &Path) -> Option<u32> {
    let status = crate::procfs::read(dir.join("status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_whitespace().nth(1)?.parse().ok()
}

/// What a user of the host is called inside the user namespace of process `init`, by its map; `uid` itself where it is
/// not mapped.
pub fn inside(init: i32, uid: u32) -> u32 {
    let map = std::fs::read_to_string(format!("/proc/{init}/uid_map")).unwrap_or_default();
    let ranges = map.lines().filter_map(|line| {
        let mut numbers = line.split_whitespace().filter_map(|number| number.parse::<u32>().ok());
        Some((numbers.next()?, numbers.next()?, numbers.next()?))
    });
    let mut found = ranges.filter(|(_, outside, length)| uid >= *outside && uid - outside < *length);
    found.next().map_or(uid, |(inside, outside, _)| inside + (uid - outside))
}

struct Stat {
    name: String,
    parent: i32,
    terminal: u32,
    cpu_ticks: u64,
    start_ticks: u64,
    threads: u64,
    resident_pages: u64,
}

/// /proc/PID/stat, by the field numbers of proc(5).
fn stat(pid: i32) -> Option<Stat> {
    let text = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let text = String::from_utf8_lossy(&text);
    let (head, tail) = text.rsplit_once(')')?;
    let fields: Vec<&str> = tail.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3).and_then(|field| field.parse::<u64>().ok());
    Some(Stat {
        name: head.split_once('(')?.1.to_owned(),
        parent: field(4)? as i32,
        terminal: fields.get(4)?.parse::<i32>().ok()? as u32,
        cpu_ticks: field(14)? + field(15)?,
        threads: field(20)?,
        start_ticks: field(22)?,
        resident_pages: field(24)?,
    })
}

fn sysconf(name: nix::unistd::SysconfVar, otherwise: u64) -> u64 {
    nix::unistd::sysconf(name).ok().flatten().and_then(|value| u64::try_from(value).ok()).unwrap_or(otherwise)
}

fn page_size() -> u64 {
    sysconf(nix::unistd::SysconfVar::PAGE_SIZE, 4096)
}

/// Clock ticks in a second, the unit of the times above.
pub fn ticks_per_second() -> u64 {
    sysconf(nix::unistd::SysconfVar::CLK_TCK, 100)
}
