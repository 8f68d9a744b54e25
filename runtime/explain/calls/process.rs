//! The calls that give a process its limits, its keys, its loopback, and its share of the machine.

use super::super::{Call, names, tell};
use super::{fd, zero};
use crate::kernel::{self, Schedule};
use nix::unistd::Pid;

/// prlimit(2) of a new (soft, hard) limit; `pid` 0 is this process.
#[track_caller]
pub fn set_limit(pid: Pid, resource: u32, limit: (u64, u64)) -> nix::Result<()> {
    let call = || {
        let (soft, hard) = (names::limit(limit.0), names::limit(limit.1));
        let limit = format!("{{rlim_cur={soft}, rlim_max={hard}}}");
        Call::new("prlimit64", format!("{pid}, {}, {limit}, NULL", names::resource(resource)))
    };
    tell(call, zero, || kernel::set_limit(pid, resource, limit))
}

/// PR_SET_PDEATHSIG, for a child that works beside its command: that may be killed, and nobody would end it then.
#[track_caller]
pub fn end_with_parent() -> nix::Result<()> {
    super::super::step("it ends with the command that it works for, however that ends", "setpriv --pdeathsig KILL …");
    super::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as u64).map(drop)
}

#[track_caller]
pub fn new_session_keyring() -> nix::Result<i32> {
    let call = || Call::new("keyctl", "KEYCTL_JOIN_SESSION_KEYRING, NULL".into());
    tell(call, ToString::to_string, kernel::new_session_keyring)
}

/// SIOCSIFFLAGS of `lo` in this process's network namespace: in a new one it is down.
#[track_caller]
pub fn loopback_up() -> nix::Result<()> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
    let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    let call = || {
        let request = "{ifr_name=\"lo\", ifr_flags=IFF_UP|IFF_RUNNING}";
        Call::new("ioctl", format!("{}, SIOCSIFFLAGS, {request}", fd(&socket)))
    };
    tell(call, zero, || kernel::loopback_up(&socket))
}

#[track_caller]
pub fn set_personality(persona: u32) -> nix::Result<()> {
    tell(|| Call::new("personality", format!("{persona:#x}")), zero, || kernel::set_personality(persona))
}

#[track_caller]
pub fn set_io_priority(class: u16, level: u16) -> nix::Result<()> {
    let call = || Call::new("ioprio_set", format!("IOPRIO_WHO_PROCESS, 0, IOPRIO_PRIO_VALUE({class}, {level})"));
    tell(call, zero, || kernel::set_io_priority(class, level))
}

#[track_caller]
pub fn set_schedule(schedule: &Schedule) -> nix::Result<()> {
    let call = || {
        let Schedule { policy, flags, nice, priority, .. } = schedule;
        let words =
            format!("sched_policy={policy}, sched_flags={flags:#x}, sched_nice={nice}, sched_priority={priority}");
        Call::new("sched_setattr", format!("0, {{{words}, …}}, 0"))
    };
    tell(call, zero, || kernel::set_schedule(schedule))
}

#[track_caller]
pub fn set_memory_policy(mode: u32, nodes: &[u64; kernel::MOST_NODES / 64]) -> nix::Result<()> {
    let call = || Call::new("set_mempolicy", format!("{mode:#x}, [{:#x}, …], {}", nodes[0], kernel::MOST_NODES + 1));
    tell(call, zero, || kernel::set_memory_policy(mode, nodes))
}
