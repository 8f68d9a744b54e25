//! A signal to all processes of a cgroup.

use super::{Host, processes, set, there, v2};
use crate::error::{Doing, Result};
use crate::explain::{self, calls};
use crate::oci::pidfds;
use nix::errno::Errno;
use std::collections::BTreeSet;

/// One that forks while the others are killed has a child that the next list holds.
const MOST_ROUNDS: usize = 100;

/// Sends `signal` to every process in the cgroup and in those below it, SIGKILL also to those that are forked meanwhile.
pub fn signal(cgroup: &str, signal: i32) -> Result<()> {
    if signal == libc::SIGKILL && kill_at_once(cgroup)? {
        return Ok(());
    }
    let mut sent = BTreeSet::new();
    for _ in 0..MOST_ROUNDS {
        let pids: Vec<i32> = processes(cgroup)?.into_iter().filter(|pid| !sent.contains(pid)).collect();
        if pids.is_empty() {
            break;
        }
        for (pid, pidfd) in pidfds::of_listed(pids, || processes(cgroup))? {
            explain::step("a process that is left in the cgroup", format_args!("kill -{signal} {pid}"));
            match calls::pidfd_send_signal(&pidfd, signal) {
                Ok(()) | Err(Errno::ESRCH) => sent.insert(pid),
                Err(errno) => return Err(errno).doing(|| format!("send signal {signal} to process {pid}")),
            };
        }
        if signal != libc::SIGKILL {
            break;
        }
    }
    Ok(())
}

/// Version 2: the kernel itself kills all that is in a cgroup, since 5.14. False where it cannot.
fn kill_at_once(cgroup: &str) -> Result<bool> {
    let here = match there(cgroup)? {
        Host::V2(_) => v2::directory(cgroup),
        _ => return Ok(false),
    };
    match here.join("cgroup.kill").exists() {
        true => set(&here, "cgroup.kill", "1").map(|()| true),
        false => Ok(false),
    }
}
