//! For a user without subordinate ids: the calls that change identity or ownership answer "done", and do nothing.
//!
//! Such a container has one user. nginx as root wants to become `nginx`, apt wants to give files to `_apt`: the kernel
//! would answer EINVAL, since those ids do not exist there, and the program would give up. With the answer 0 it goes
//! on, as the only user there is. Nothing is gained by lying to it: it had no other right to lose.

use super::profile::With;
use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompAction as Action, LinuxSyscall};

const IDENTITY: &[&str] = &[
    "setuid",
    "setgid",
    "setreuid",
    "setregid",
    "setresuid",
    "setresgid",
    "setfsuid",
    "setfsgid",
    "setgroups",
    "chown",
    "fchown",
    "lchown",
    "fchownat",
];

/// Adds the pretence to a filter, in the place of whatever it said of these calls.
pub fn pretend_identity(seccomp: &mut LinuxSeccomp) {
    let mut rules = seccomp.syscalls().clone().unwrap_or_default();
    for rule in &mut rules {
        let others = rule.names().iter().filter(|name| !IDENTITY.contains(&name.as_str())).cloned().collect();
        rule.set_names(others);
    }
    rules.retain(|rule| !rule.names().is_empty());
    rules.push(LinuxSyscall::default().with(IDENTITY, Action::ScmpActErrno, Some(0)));
    seccomp.set_syscalls(Some(rules));
}
