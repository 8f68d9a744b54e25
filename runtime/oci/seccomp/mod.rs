//! seccomp: which system calls a process may make, decided by a small program that the kernel runs at each call.
//!
//! `profile.rs` is the default filter as data, `compile.rs` turns any filter of the OCI specification into classic BPF,
//! `docker.rs` reads Docker's own profile format, `identity.rs` adds the answers that let a program change its user
//! where there is only one, and `pass.rs` asks a filter what it answers.

mod compile;
mod docker;
mod identity;
mod pass;
mod profile;

#[cfg(test)]
mod interpret;

pub use compile::compile;
pub use docker::from_docker_json;
pub use identity::pretend_identity;
pub use pass::lets_pass;
pub use profile::default_profile;

use crate::error::{Doing, Error, Result};
use crate::explain::{self, calls};
use crate::kernel::Bpf;
use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompFilterFlag as Flag};

/// Loads a compiled filter into this process; what it execs and forks inherits it and can only add to it.
///
/// The kernel asks for no_new_privs or for CAP_SYS_ADMIN in the process's user namespace: a filter that lies to a setuid
/// program could otherwise be used against it.
pub fn load(program: &[Bpf], flags: u32) -> Result<()> {
    explain::step("a filter asks of every system call from here on whether it may be made", "bwrap --seccomp …");
    calls::seccomp_load(program, flags)
        .map(drop)
        .doing(|| format!("load a seccomp filter of {} instructions", program.len()))
}

/// The SECCOMP_FILTER_FLAG_* that the filter asks for, for [`load`].
pub fn flags(seccomp: &LinuxSeccomp) -> u32 {
    let bit = |flag: &Flag| match flag {
        // One thread exists when the filter is loaded, so there is no other to synchronise with.
        Flag::SeccompFilterFlagTsync => 0,
        Flag::SeccompFilterFlagLog => 1 << 1,
        Flag::SeccompFilterFlagSpecAllow => 1 << 2,
        // Only has a meaning for notifications, which compile() refuses.
        Flag::SeccompFilterFlagWaitKillableRecv => 0,
    };
    seccomp.flags().iter().flatten().map(bit).fold(0, |all, bit| all | bit)
}

/// The value that the kernel reads as the filter's answer (linux/seccomp.h, SECCOMP_RET_*).
fn answer(action: Action, errno: Option<u32>) -> Result<u32> {
    const DATA: u32 = 0xffff;
    // The kernel has 16 bits for it, and cuts off what is more: 65536 would be "it has succeeded".
    if let Some(errno) = errno.filter(|errno| *errno > 4095) {
        return Err(Error::new(format!("seccomp: {errno} is no errno (0 to 4095)")));
    }
    Ok(match action {
        Action::ScmpActKill | Action::ScmpActKillThread => 0,
        Action::ScmpActKillProcess => 0x8000_0000,
        Action::ScmpActTrap => 0x0003_0000,
        // errno 0 is an answer too: the call has "succeeded", and nothing was done.
        Action::ScmpActErrno => 0x0005_0000 | (errno.unwrap_or(libc::EPERM as u32) & DATA),
        Action::ScmpActTrace => 0x7ff0_0000 | (errno.unwrap_or(libc::EPERM as u32) & DATA),
        Action::ScmpActLog => 0x7ffc_0000,
        Action::ScmpActAllow => 0x7fff_0000,
        Action::ScmpActNotify => {
            return Err(Error::new(
                "seccomp: SCMP_ACT_NOTIFY hands calls to an agent at listenerPath, which ebb does not do",
            )
            .with_cure("use another action in the profile"));
        }
    })
}
