//! Resource limits of a process (setrlimit(2)): open files, processes of a user, size of a core dump, …

use crate::error::{Doing, Result};
use crate::explain::{self, calls};
use crate::kernel;
use nix::unistd::Pid;
use oci_spec::runtime::{PosixRlimit, PosixRlimitType};

/// Sets `limits` for process `pid` from outside (prlimit(2)).
///
/// From outside, because only CAP_SYS_RESOURCE over the process may raise a hard limit, and a process that was cloned
/// into a user namespace of its own has lost it. A limit that is already what was asked for needs no privilege.
pub fn apply(pid: Pid, limits: &[PosixRlimit]) -> Result<()> {
    for limit in limits {
        let resource = number(limit.typ());
        let mut wanted = (limit.soft(), limit.hard());
        if is_too_few(limit) {
            wanted = (limit.soft().max(ENOUGH), limit.hard().max(ENOUGH));
        }
        if kernel::limit_of(pid, resource) == Ok(wanted) {
            continue;
        }
        announce(limit, pid, wanted);
        calls::set_limit(pid, resource, wanted)
            .map_err(crate::error::Cause::into_error)
            .map_err(|error| {
                error.with_cure("a hard limit can only be raised with CAP_SYS_RESOURCE; ask for a lower one")
            })
            .doing(|| format!("set {} to {}:{}", limit.typ(), limit.soft(), limit.hard()))?;
    }
    Ok(())
}

/// Open files that a process needs while it makes its view or finds its way into another's.
const ENOUGH: u64 = 64;

fn is_too_few(limit: &PosixRlimit) -> bool {
    limit.typ() == PosixRlimitType::RlimitNofile && limit.soft() < ENOUGH
}

/// [`apply`] by the process itself, while it has all of its rights, and before it is cloned once more as another user: that
/// would fail where it is one too many of that user's, so the number of processes is only raised to what it may be then.
pub fn apply_to_self(limits: &[PosixRlimit]) -> Result<()> {
    let this = Pid::from_raw(0);
    for limit in limits {
        let wanted = (limit.soft(), limit.hard());
        if limit.typ() != PosixRlimitType::RlimitNproc {
            apply(this, std::slice::from_ref(limit))?;
        } else if let Ok((_, most)) = kernel::limit_of(this, libc::RLIMIT_NPROC)
            && most < wanted.1
        {
            let raised = (wanted.1, wanted.1);
            announce(limit, this, raised);
            calls::set_limit(this, libc::RLIMIT_NPROC, raised)
                .doing(|| format!("set {} to {}:{}", limit.typ(), raised.0, raised.1))?;
        }
    }
    Ok(())
}

/// What [`apply`] has left undone, to be done by the process itself when it needs descriptors and children no more: to lower
/// its own limit is allowed to everyone.
pub fn lower_own(limits: &[PosixRlimit]) -> Result<()> {
    let this = Pid::from_raw(0);
    let is_left = |limit: &PosixRlimit| is_too_few(limit) || limit.typ() == PosixRlimitType::RlimitNproc;
    for limit in limits.iter().filter(|limit| is_left(limit)) {
        let wanted = (limit.soft(), limit.hard());
        if !is_too_few(limit) && kernel::limit_of(this, number(limit.typ())) == Ok(wanted) {
            continue;
        }
        announce(limit, this, wanted);
        calls::set_limit(this, number(limit.typ()), wanted)
            .doing(|| format!("set {} to {}:{}", limit.typ(), limit.soft(), limit.hard()))?;
    }
    Ok(())
}

fn announce(limit: &PosixRlimit, pid: Pid, (soft, hard): (u64, u64)) {
    if !explain::is_on() {
        return;
    }
    let process = if pid.as_raw() == 0 { "$$".to_owned() } else { pid.to_string() };
    let shown = |value: u64| if value == u64::MAX { "unlimited".into() } else { value.to_string() };
    let (what, option, soft, hard) = (meaning(limit.typ()), option(limit.typ()), shown(soft), shown(hard));
    let raise = if is_too_few(limit) && soft == ENOUGH.to_string() {
        " while it is being set up".into()
    } else if soft == hard {
        String::new()
    } else {
        format!(", which it may raise to {hard} itself")
    };
    explain::step(
        format_args!("a limit on {what} for the container's process: {soft}{raise}"),
        format_args!("prlimit --pid {process} --{option}={soft}:{hard}"),
    );
}

/// As prlimit(1) calls it.
fn option(kind: PosixRlimitType) -> String {
    kind.to_string().trim_start_matches("RLIMIT_").to_lowercase()
}

/// In a learner's words.
fn meaning(kind: PosixRlimitType) -> &'static str {
    match kind {
        PosixRlimitType::RlimitAs => "address space (bytes)",
        PosixRlimitType::RlimitCore => "the size of a core dump (bytes)",
        PosixRlimitType::RlimitCpu => "processor time (seconds)",
        PosixRlimitType::RlimitData => "data and heap (bytes)",
        PosixRlimitType::RlimitFsize => "the size of a file that it writes (bytes)",
        PosixRlimitType::RlimitLocks => "locks on files",
        PosixRlimitType::RlimitMemlock => "memory kept from being swapped out (bytes)",
        PosixRlimitType::RlimitMsgqueue => "message queues (bytes)",
        PosixRlimitType::RlimitNice => "priority (20 less the nice value)",
        PosixRlimitType::RlimitNofile => "open files",
        PosixRlimitType::RlimitNproc => "processes of its user",
        PosixRlimitType::RlimitRss => "resident memory (bytes; this kernel heeds it no more)",
        PosixRlimitType::RlimitRtprio => "real-time priority",
        PosixRlimitType::RlimitRttime => "real-time processor time without a pause (microseconds)",
        PosixRlimitType::RlimitSigpending => "signals that wait to be delivered",
        PosixRlimitType::RlimitStack => "the stack (bytes)",
    }
}

fn number(kind: PosixRlimitType) -> u32 {
    match kind {
        PosixRlimitType::RlimitAs => libc::RLIMIT_AS,
        PosixRlimitType::RlimitCore => libc::RLIMIT_CORE,
        PosixRlimitType::RlimitCpu => libc::RLIMIT_CPU,
        PosixRlimitType::RlimitData => libc::RLIMIT_DATA,
        PosixRlimitType::RlimitFsize => libc::RLIMIT_FSIZE,
        PosixRlimitType::RlimitLocks => libc::RLIMIT_LOCKS,
        PosixRlimitType::RlimitMemlock => libc::RLIMIT_MEMLOCK,
        PosixRlimitType::RlimitMsgqueue => libc::RLIMIT_MSGQUEUE,
        PosixRlimitType::RlimitNice => libc::RLIMIT_NICE,
        PosixRlimitType::RlimitNofile => libc::RLIMIT_NOFILE,
        PosixRlimitType::RlimitNproc => libc::RLIMIT_NPROC,
        PosixRlimitType::RlimitRss => libc::RLIMIT_RSS,
        PosixRlimitType::RlimitRtprio => libc::RLIMIT_RTPRIO,
        PosixRlimitType::RlimitRttime => libc::RLIMIT_RTTIME,
        PosixRlimitType::RlimitSigpending => libc::RLIMIT_SIGPENDING,
        PosixRlimitType::RlimitStack => libc::RLIMIT_STACK,
    }
}
