//! ptrace(2) of a command and of all that it starts: what a process of a container could have of who comes into it, had it
//! seized that one at the first moment at which it sees it.

use nix::errno::Errno;
use nix::sys::ptrace::{self, Event, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::collections::HashSet;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Runs `command` to its end, and calls `look` with the pid of every process of it that lives in another pid namespace than
/// ours, from its very birth, at each of its system calls, until it has become another program. Returns the exit code when all of them
/// have ended.
pub fn watch_those_who_come_in(command: &mut Command, look: &mut dyn FnMut(i32)) -> i32 {
    watch(command, look, &mut |_| ())
}

/// The same, and calls `look` when such a process has become another program, which does nothing before `look` returns.
pub fn watch_what_they_become(command: &mut Command, look: &mut dyn FnMut(i32)) -> i32 {
    watch(command, &mut |_| (), look)
}

#[allow(clippy::zombie_processes)] // It is reaped by waitpid(2), as the others are.
fn watch(command: &mut Command, look: &mut dyn FnMut(i32), look_at_program: &mut dyn FnMut(i32)) -> i32 {
    // SAFETY: PTRACE_TRACEME is a plain system call, which touches no memory of ours.
    unsafe { command.pre_exec(|| ptrace::traceme().map_err(Into::into)) };
    let child = command.spawn().expect("it starts");
    let main = Pid::from_raw(child.id() as i32);
    waitpid(main, None).expect("it stops at its execve");
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_EXITKILL;
    ptrace::setoptions(main, options).expect("options are set");
    ptrace::syscall(main, None).expect("it goes on");
    let (mut known, mut strangers, mut code) = (HashSet::from([main]), HashSet::new(), 255);
    loop {
        // Of this thread alone: other tests have children, too.
        let status = match waitpid(None, Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD)) {
            Err(Errno::ECHILD) => return code,
            status => status.expect("one of them"),
        };
        let (pid, signal) = match status {
            WaitStatus::Exited(pid, exited) if pid == main => {
                code = exited;
                continue;
            }
            WaitStatus::Signaled(pid, signal, _) if pid == main => {
                code = 128 + signal as i32;
                continue;
            }
            WaitStatus::PtraceSyscall(pid) => (pid, None),
            WaitStatus::PtraceEvent(pid, _, event) => {
                if event == Event::PTRACE_EVENT_EXEC as i32 {
                    strangers.insert(pid);
                    if is_elsewhere(pid.as_raw()) {
                        look_at_program(pid.as_raw());
                    }
                }
                (pid, None)
            }
            // Who is new begins with a SIGSTOP, before its first instruction.
            WaitStatus::Stopped(pid, Signal::SIGSTOP) if known.insert(pid) => (pid, None),
            WaitStatus::Stopped(pid, signal) => (pid, Some(signal)),
            _ => continue,
        };
        if !strangers.contains(&pid) && is_elsewhere(pid.as_raw()) {
            look(pid.as_raw());
        }
        let _ = ptrace::syscall(pid, signal);
    }
}

fn is_elsewhere(pid: i32) -> bool {
    field(pid, "NSpid").split_whitespace().count() > 1
}

/// A line of /proc/PID/status, without its name.
pub fn field(pid: i32, name: &str) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_default().trim().to_owned()
}

/// One of the capability sets (`CapEff`), as bits.
pub fn capabilities(pid: i32, set: &str) -> u64 {
    u64::from_str_radix(&field(pid, set), 16).unwrap_or(u64::MAX)
}
