//! stats: what a container uses of the machine, now.

use super::processes;
use super::record::Container;
use super::state;
use crate::error::Result;
use crate::oci;
use crate::store::Store;
use std::time::Instant;

/// What was counted at one moment; all zero for a container that does not run.
#[derive(Debug, Clone)]
pub struct Sample {
    pub at: Instant,
    pub cpu_nanoseconds: u64,
    pub memory_bytes: u64,
    /// The container's limit, or else the machine's memory.
    pub memory_limit: u64,
    pub received_bytes: u64,
    pub sent_bytes: u64,
    pub read_bytes: u64,
    pub written_bytes: u64,
    pub pids: u64,
}

/// Counts, from the container's cgroup or, where it has none, from its processes one by one: what ended ones have used
/// is then missing, and memory that several share counts for each.
pub fn sample(store: &Store, container: &Container) -> Result<Sample> {
    let state = state::current(store, container)?;
    let mut sample = Sample {
        at: Instant::now(),
        cpu_nanoseconds: 0,
        memory_bytes: 0,
        memory_limit: 0,
        received_bytes: 0,
        sent_bytes: 0,
        read_bytes: 0,
        written_bytes: 0,
        pids: 0,
    };
    if !state.is_running() {
        return Ok(sample);
    }
    if state.cgroup.is_empty() {
        let tick = 1_000_000_000 / processes::ticks_per_second();
        for process in processes::pids(&state)?.into_iter().filter_map(processes::process) {
            sample.cpu_nanoseconds += process.cpu_ticks * tick;
            sample.memory_bytes += process.resident_bytes;
            sample.pids += process.threads;
            let (read, written) = block_io(process.pid);
            sample.read_bytes += read;
            sample.written_bytes += written;
        }
        sample.memory_limit = machine_memory();
    } else {
        let usage = oci::cgroup::usage(&state.cgroup)?;
        sample.cpu_nanoseconds = usage.cpu_nanoseconds;
        sample.memory_bytes = usage.memory_bytes;
        sample.memory_limit = usage.memory_limit.unwrap_or(u64::MAX).min(machine_memory());
        sample.read_bytes = usage.block_read_bytes;
        sample.written_bytes = usage.block_write_bytes;
        sample.pids = usage.pids;
    }
    (sample.received_bytes, sample.sent_bytes) = network_io(state.init.pid);
    Ok(sample)
}

impl Sample {
    /// How much of one CPU was used since `before`, in percent: two CPUs kept busy are 200.
    pub fn cpu_percent(&self, before: &Sample) -> f64 {
        let wall = self.at.duration_since(before.at).as_nanos() as f64;
        let used = self.cpu_nanoseconds.saturating_sub(before.cpu_nanoseconds) as f64;
        if wall > 0.0 { used / wall * 100.0 } else { 0.0 }
    }

    pub fn memory_percent(&self) -> f64 {
        match self.memory_limit {
            0 => 0.0,
            limit => self.memory_bytes as f64 / limit as f64 * 100.0,
        }
    }
}

/// MemTotal of /proc/meminfo, which is in KiB.
fn machine_memory() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse().ok());
    total.map_or(0, |kib: u64| kib * 1024)
}

/// What the process has had read from and written to disks.
fn block_io(pid: i32) -> (u64, u64) {
    let text = std::fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
    let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap_or(0);
    (value("read_bytes:"), value("write_bytes:"))
}

/// Received and sent on all interfaces of the container's own but loopback; with the host's network, nothing is its own.
fn network_io(init: i32) -> (u64, u64) {
    let namespace = |who: &str| std::fs::read_link(format!("/proc/{who}/ns/net")).ok();
    if namespace(&init.to_string()) == namespace("self") {
        return (0, 0);
    }
    let text = std::fs::read_to_string(format!("/proc/{init}/net/dev")).unwrap_or_default();
    let interfaces = text.lines().filter_map(|line| line.split_once(':')).filter(|(name, _)| name.trim() != "lo");
    interfaces.fold((0, 0), |(received, sent), (_, counters)| {
        let counters: Vec<u64> = counters.split_whitespace().filter_map(|field| field.parse().ok()).collect();
        let counter = |index: usize| counters.get(index).copied().unwrap_or(0);
        (received + counter(0), sent + counter(8))
    })
}
