//! What is open at the very execve(2) of a container's program: seen by a tracer, which stops every process at that call and
//! has it ask the kernel about each number, so that a new descriptor is noticed whatever its number is.

mod common;

use common::bundle::Bundle;
use common::registers;
use common::{Ebb, is_root};
use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use serde_json::json;
use std::collections::HashSet;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Higher than any number that Ebb uses (the narration's begin at 100).
const NUMBERS: u64 = 260;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Socket,
    Pipe,
    /// A directory, a file, a device: something to pass through, or to open again.
    Other,
}

/// What one process had open above 2 when it was about to execute a program.
type Open = Vec<(u64, Kind)>;

/// Runs `command`, whose caller has directories open at 3, 9, 30 and 200, until `enough` programs have been executed; then
/// lets all of its processes go.
fn executed(command: &mut Command, enough: usize) -> Vec<Open> {
    executed_with(command, enough, || {})
}

/// [`executed`], with something to be done when `command` itself has ended.
fn executed_with(command: &mut Command, enough: usize, then: impl FnOnce()) -> Vec<Open> {
    let mut then = Some(then);
    let prepare = || {
        let root = std::fs::File::open("/")?;
        for number in [3, 9, 30, 200] {
            // SAFETY: this child executes `command` next, and uses none of these numbers before.
            if unsafe { libc::dup2(std::os::fd::AsRawFd::as_raw_fd(&root), number) } < 0 {
                return Err(std::io::Error::last_os_error());
            }
        }
        // Where it has the number 3 itself, it stays open.
        std::mem::forget(root);
        ptrace::traceme().map_err(Into::into)
    };
    // SAFETY: between fork and exec the closure makes system calls only.
    unsafe { command.pre_exec(prepare) };
    let child = command.spawn().expect("the command starts");
    let main = Pid::from_raw(child.id() as i32);
    // std has not to be told of the end, which is waited for here.
    std::mem::forget(child);
    assert!(matches!(waitpid(main, None), Ok(WaitStatus::Stopped(_, Signal::SIGTRAP))), "it stops at its execve");
    // Not what vfork(2) makes: newuidmap would lose its setuid bit by being traced, and is no program of the container's.
    let options = ptrace::Options::PTRACE_O_TRACESYSGOOD
        | ptrace::Options::PTRACE_O_TRACEFORK
        | ptrace::Options::PTRACE_O_TRACECLONE
        | ptrace::Options::PTRACE_O_TRACEEXEC;
    ptrace::setoptions(main, options).expect("options are set");
    ptrace::syscall(main, None).expect("it goes on");
    let (mut inside, mut seen, mut tracees) = (HashSet::new(), Vec::new(), HashSet::from([main]));
    // Those that this thread traces, and no child of another test's.
    let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
    while let Ok(status) = waitpid(None, Some(flags)) {
        let Some(pid) = status.pid() else { continue };
        tracees.insert(pid);
        let signal = match status {
            WaitStatus::Exited(..) | WaitStatus::Signaled(..) => {
                tracees.remove(&pid);
                if pid == main {
                    then.take().into_iter().for_each(|then| then());
                }
                continue;
            }
            WaitStatus::PtraceSyscall(_) if inside.remove(&pid) => None,
            WaitStatus::PtraceSyscall(_) => {
                inside.insert(pid);
                let call = ptrace::getregs(pid).map_or(0, |at| registers::number(&at));
                if call == libc::SYS_execve {
                    seen.push(open_in(pid));
                    if seen.len() == enough {
                        let _ = ptrace::detach(pid, None);
                        tracees.remove(&pid);
                        break;
                    }
                }
                None
            }
            // A new process begins with a SIGSTOP of the tracer's making.
            WaitStatus::Stopped(_, Signal::SIGSTOP | Signal::SIGTRAP) => None,
            WaitStatus::Stopped(_, signal) => Some(signal),
            _ => None,
        };
        let _ = ptrace::syscall(pid, signal);
    }
    tracees.into_iter().for_each(let_go);
    seen
}

/// Has a process that stands at the entry of a system call ask about each number, and brings it back to where it stood. By
/// registers alone: it is not dumpable, so that its memory is not ours to read.
fn open_in(pid: Pid) -> Open {
    const F_GETPIPE_SZ: u64 = 1032;
    let stood = ptrace::getregs(pid).expect("its registers");
    let turn = || {
        ptrace::syscall(pid, None).expect("it goes on");
        waitpid(pid, Some(WaitPidFlag::__WALL)).expect("it stops");
        ptrace::getregs(pid).expect("its registers")
    };
    // At an entry: the call is exchanged for another, whose answer is there at the exit; then back to the entry.
    let ask = |number: i64, first: u64, second: u64| {
        registers::exchange(pid, stood, number, [first, second, 0]).expect("its registers are set");
        let answer = registers::answer(&turn());
        ptrace::setregs(pid, registers::again(stood)).expect("its registers are set");
        turn();
        answer
    };
    let is_open = |fd: &u64| ask(libc::SYS_fcntl, *fd, libc::F_GETFD as u64) >= 0;
    let kind = |fd: u64| {
        // A socket fails for want of an address to write to, anything else for being none.
        if ask(libc::SYS_getsockname, fd, 0) != -i64::from(libc::ENOTSOCK) {
            Kind::Socket
        } else if ask(libc::SYS_fcntl, fd, F_GETPIPE_SZ) > 0 {
            Kind::Pipe
        } else {
            Kind::Other
        }
    };
    (3..NUMBERS).filter(is_open).map(|fd| (fd, kind(fd))).collect()
}

/// Lets a process that outlives the command (a supervisor, a container) go on by itself.
fn let_go(pid: Pid) {
    let _ = kill(pid, Signal::SIGSTOP);
    loop {
        match waitpid(pid, Some(WaitPidFlag::__WALL)) {
            Ok(WaitStatus::Stopped(_, Signal::SIGSTOP)) => {
                let _ = ptrace::detach(pid, None);
                let _ = kill(pid, Signal::SIGCONT);
                return;
            }
            Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..)) | Err(_) => return,
            Ok(WaitStatus::Stopped(_, signal)) => drop(ptrace::cont(pid, Some(signal))),
            Ok(_) => drop(ptrace::cont(pid, None)),
        }
    }
}

/// The programs that a command executes, each with 0, 1, 2 and at most the one socket that would hear of a failure.
#[track_caller]
fn only_a_socket(what: &str, seen: &[Open], programs: usize) {
    assert_eq!(seen.len(), programs, "{what}: {seen:?}");
    for open in seen {
        let rest: Vec<_> = open.iter().filter(|(_, kind)| *kind != Kind::Socket).collect();
        assert!(open.len() <= 1 && rest.is_empty(), "{what}: {seen:?}");
    }
}

#[test]
fn nothing_but_a_socket_is_open_when_the_program_of_run_or_exec_is_executed() {
    let ebb = Ebb::new();
    let modes: &[&[&str]] = match is_root() {
        true => &[&[], &["--network", "host"], &["--userns", "host"], &["--privileged"]],
        false => &[&[], &["--network", "host"]],
    };
    let (volume, words) = (ebb.dir.join("d:/d").display().to_string(), ["busybox", "echo", "hello"]);
    std::fs::create_dir(ebb.dir.join("d")).expect("a directory");
    let kinds: &[&[&str]] =
        &[&[], &["-t"], &["-i"], &["-v", "vase:/v", "-v", &volume], &["--security-opt", "no-new-privileges"]];
    for mode in modes {
        for kind in kinds {
            let words = [&["run", "--rm"], *mode, *kind, &words].concat();
            only_a_socket(&format!("{words:?}"), &executed(ebb.command().args(&words), 1), 1);
        }
    }
    ebb.ok(["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
    for kind in [&[][..], &["-t"], &["-i"], &["-d"], &["-u", "0:0"], &["--privileged"]] {
        let words = [&["exec"], kind, &["box", "echo", "hello"]].concat();
        only_a_socket(&format!("{words:?}"), &executed(ebb.command().args(&words), 1), 1);
    }
    for words in [&["start", "box"], &["restart", "box"]] {
        ebb.ok(["stop", "-t", "0", "box"]);
        only_a_socket(&format!("{words:?}"), &executed(ebb.command().args(words), 1), 1);
    }
    // The narration has descriptors of its own, which end with it.
    let mut told = ebb.command();
    told.args(["--explain", "run", "--rm", "busybox", "true"]).stderr(std::process::Stdio::null());
    only_a_socket("--explain", &executed(&mut told, 1), 1);
}

#[test]
fn nothing_but_a_socket_is_open_when_a_health_check_is_executed() {
    let ebb = Ebb::new();
    let words =
        ["run", "-d", "--name", "box", "--health-cmd", "true", "--health-interval", "10ms", "busybox", "sleep", "1000"];
    only_a_socket("a health check", &executed(ebb.command().args(words), 3), 3);
}

/// Its own program is executed by std, whose line for what went wrong is a pipe or a socket of its own.
#[test]
fn no_file_is_open_when_an_init_executes_its_program() {
    let ebb = Ebb::new();
    let seen = executed(ebb.command().args(["run", "--rm", "--init", "busybox", "true"]), 2);
    only_a_socket("the init", &seen[..1], 1);
    assert!(seen.len() == 2 && seen[1].iter().all(|(_, kind)| *kind != Kind::Other), "{seen:?}");
}

#[test]
fn nothing_but_a_socket_is_open_when_a_bundles_program_is_executed() {
    let mut bundle = Bundle::new(&["sleep", "1000"]);
    let mut create = bundle.oci();
    create.args(["create", "c1"]).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let mut starting = None;
    // It waits for the program's execve, at which the tracer stands.
    let start = || starting = Some(bundle.oci().args(["start", "c1"]).spawn().expect("ebb starts"));
    only_a_socket("oci create and start", &executed_with(&mut create, 1, start), 1);
    assert!(starting.expect("created").wait().expect("start ends").success());
    only_a_socket("oci exec", &executed(bundle.oci().args(["exec", "c1", "true"]), 1), 1);
    bundle.ok(&["delete", "-f", "c1"]);
    bundle.config["process"]["args"] = json!(["true"]);
    only_a_socket("oci run", &executed(bundle.oci().args(["run", "c2"]), 1), 1);
    bundle.config["process"]["terminal"] = json!(true);
    only_a_socket("oci run with a terminal", &executed(bundle.oci().args(["run", "c3"]), 1), 1);
    bundle.config["process"]["terminal"] = json!(false);
    // Directories that a caller asks to be passed are.
    let kept = executed(bundle.oci().args(["run", "--preserve-fds", "1", "c4"]), 1);
    let kinds: Vec<_> = kept.iter().flatten().map(|(_, kind)| *kind).collect();
    assert_eq!(kinds, [Kind::Other, Kind::Socket], "{kept:?}");
    assert_eq!(kept[0][0].0, 3, "{kept:?}");
}

/// By std, with its pipes; what the bundle's author runs is given nothing else of ours.
#[test]
fn no_file_is_open_when_a_hook_is_executed() {
    let mut bundle = Bundle::new(&["true"]);
    for moment in ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"] {
        bundle.config["hooks"][moment] = json!([{"path": "/bin/true", "args": ["true"]}]);
    }
    let seen = executed(bundle.oci().args(["run", "c1"]), usize::MAX);
    assert_eq!(seen.len(), 7, "six hooks and the program: {seen:?}");
    assert!(seen.iter().flatten().all(|(_, kind)| *kind != Kind::Other), "{seen:?}");
}
