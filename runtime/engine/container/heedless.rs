//! Why a container does not end though its user asks it to: its first process is PID 1 of its pid namespace, and the kernel
//! keeps from that every signal that it has no handler for, unless it is SIGKILL of ours (pid_namespaces(7)).

use super::state;
use crate::procfs;
use crate::store::Store;
use nix::sys::signal::Signal;

/// What to tell a person whose signal `number` the container's first process has surely not heeded; nothing where it has a
/// handler, and may be at its last work.
pub fn why(store: &Store, id: &str, number: i32) -> Option<String> {
    let container = super::load(store, id).ok()?;
    let init = state::written(store, id).ok()?.init;
    let status = procfs::read(format!("/proc/{}/status", init.pid)).ok().filter(|_| init.is_alive())?;
    let has = |set: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(set));
        let bits = line.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
        bits.is_some_and(|bits| bits >> (number - 1) & 1 == 1)
    };
    // An init waits for signals by sigwait(3), and as long as it does, the kernel shows none of them as blocked.
    let waits = procfs::read(format!("/proc/{}/wchan", init.pid)).is_ok_and(|place| place.contains("sigtimedwait"));
    if container.host_config.init || waits || has("SigCgt:") || has("SigBlk:") {
        return None;
    }
    let signal = Signal::try_from(number).map_or_else(|_| number.to_string(), |signal| signal.to_string());
    let (name, program) = (&container.name, &container.path);
    let kill = format!("`ebb kill {name}` ends it; once more, and it goes on without you");
    if has("SigIgn:") {
        return Some(format!("ebb: {program} ignores {signal}\n  {kill}"));
    }
    // In another's pid namespace it is spared nothing, and has ended by now.
    (container.host_config.pid_mode.is_empty()).then(|| {
        format!(
            "ebb: {program} is PID 1 in its container, and the kernel keeps {signal} from a PID 1 that has no handler for it\n  \
             with `--init` there is an init before it, which passes {signal} on; {kill}"
        )
    })
}
