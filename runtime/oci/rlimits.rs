//! Resource limits of a process (setrlimit(2)): open files, processes of a user, size of a core dump, …

use crate::error::{Doing, Result};
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
        if kernel::prlimit(pid, resource, None) == Ok(wanted) {
            continue;
        }
        kernel::prlimit(pid, resource, Some(wanted))
            .map(drop)
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

/// What [`apply`] has left undone, to be done by the process itself when it needs descriptors no more: to lower its own
/// limit is allowed to everyone.
pub fn lower_own(limits: &[PosixRlimit]) -> Result<()> {
    for limit in limits.iter().filter(|limit| is_too_few(limit)) {
        let wanted = (limit.soft(), limit.hard());
        kernel::prlimit(Pid::from_raw(0), number(limit.typ()), Some(wanted))
            .doing(|| format!("set {} to {}:{}", limit.typ(), limit.soft(), limit.hard()))?;
    }
    Ok(())
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
