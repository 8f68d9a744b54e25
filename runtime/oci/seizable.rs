//! Who could seize a first process that is born among others (a pid namespace is joined), while it has all of our rights still.
//!
//! It makes its mounts, /proc among them, in that pid namespace, and so with CAP_SYS_ADMIN. It hides from the others
//! ([`super::process::hide`]), but not from one with CAP_SYS_PTRACE in the user namespace that this program was started in.
//! Where a user namespace lies between, nobody has that.

use crate::error::{Doing, Error, Result};
use crate::procfs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;

/// Refuses where a process of the pid namespace has, or by a program with file capabilities may come by, CAP_SYS_PTRACE in our
/// user namespace. Our own pid namespace is not looked at: whoever joins that asks for the host's processes.
pub fn refuse_among_tracers(pid_namespace: &OwnedFd) -> Result<()> {
    let joined = nix::sys::stat::fstat(pid_namespace).doing(|| "look at the pid namespace")?.st_ino;
    let here = |kind: &str| {
        let own = std::fs::metadata(format!("/proc/self/ns/{kind}"));
        own.map(|own| own.ino()).doing(|| format!("look at our own {kind} namespace"))
    };
    let (own, user) = (here("pid")?, here("user")?);
    if joined == own {
        return Ok(());
    }
    let all = std::fs::read_dir("/proc").doing(|| "look at the processes of the pid namespace")?;
    let pids = all.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let is_in = |pid: i32, kind: &str, namespace: u64| {
        // One that has ended meanwhile is in none.
        std::fs::metadata(format!("/proc/{pid}/ns/{kind}")).is_ok_and(|found| found.ino() == namespace)
    };
    match pids.into_iter().find(|pid| is_in(*pid, "pid", joined) && may_trace(*pid) && is_in(*pid, "user", user)) {
        None => Ok(()),
        Some(pid) => Err(Error::new(format!(
            "a process of the pid namespace that is to be joined (on the host it is process {pid}) may have CAP_SYS_PTRACE, \
             and no user namespace lies between: it could seize the new container's first process while that has all of the \
             host's rights"
        ))
        .with_cure(
            "join a container that was made without SYS_PTRACE (it is the one that comes later which may have it), or \
             `ebb exec` a program into this one: that brings no rights along",
        )),
    }
}

fn may_trace(pid: i32) -> bool {
    const CAP_SYS_PTRACE: u64 = 1 << 19;
    let status = procfs::read(format!("/proc/{pid}/status")).unwrap_or_default();
    let sets = status.lines().filter_map(|line| line.strip_prefix("CapPrm:").or(line.strip_prefix("CapBnd:")));
    sets.filter_map(|bits| u64::from_str_radix(bits.trim(), 16).ok()).any(|bits| bits & CAP_SYS_PTRACE != 0)
}
