//! `--init`: Ebb's own binary as the container's first process, under the name that Docker's has there. It starts the
//! container's program, passes signals on to it, and reaps every orphan.

use crate::error::{Kind, Result};
use crate::oci::program;
use nix::sys::signal::SigSet;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

/// Whether this process was started as a container's init.
pub fn is_init(arguments: &[OsString]) -> bool {
    arguments.first().is_some_and(|name| name == crate::engine::container::INIT_PATH)
}

/// Runs `docker-init -- PROGRAM ARGS…` and returns the program's exit code.
pub fn main(arguments: &[OsString]) -> i32 {
    let words = arguments.get(1..).unwrap_or_default();
    let words = if words.first().is_some_and(|word| word == "--") { &words[1..] } else { words };
    let Some((program, words)) = words.split_first() else {
        eprintln!("ebb: init: no program given");
        return 127;
    };
    // Blocked, they wait for sigwait(3) below; a first process has no default for them anyway (pid_namespaces(7)). They were
    // blocked before we began, lest one that came meanwhile be lost; the program is not to inherit that.
    let all = SigSet::all();
    let _ = all.thread_block();
    // A group of its own, in the foreground where there is a terminal, so that Ctrl-C reaches it and not us. (Not by our own
    // clone3(2): the container's filter says that there is none, and std falls back to what there is.)
    let path = match find(&program.to_string_lossy()) {
        Ok(path) => path,
        Err(error) => {
            eprintln!("ebb: {error}");
            return if error.kind == Kind::CommandNotFound { 127 } else { 126 };
        }
    };
    let mut command = Command::new(path);
    command.arg0(program).args(words).process_group(0);
    crate::kernel::unblock_signals_of(&mut command);
    let child = match command.spawn() {
        Ok(child) => Pid::from_raw(child.id() as i32),
        Err(error) => {
            eprintln!("ebb: exec: {}: {error}", program.to_string_lossy());
            return if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 };
        }
    };
    let _ = nix::unistd::tcsetpgrp(std::io::stdin(), child);
    loop {
        if let Some(code) = reap(child) {
            return code;
        }
        match all.wait() {
            Ok(nix::sys::signal::Signal::SIGCHLD) | Err(_) => {}
            Ok(signal) => drop(nix::sys::signal::kill(child, signal)),
        }
    }
}

/// As the first process itself is found: not through /proc/self/exe, which is Ebb's own binary.
fn find(program: &str) -> Result<PathBuf> {
    program::candidates(program, std::env::var("PATH").ok().as_deref())?.find()
}

/// Reaps all that have ended; the program's exit code, if it is among them.
fn reap(child: Pid) -> Option<i32> {
    let mut code = None;
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, status)) if pid == child => code = Some(status),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == child => code = Some(128 + signal as i32),
            Ok(WaitStatus::StillAlive) | Err(_) => return code,
            Ok(_) => {}
        }
    }
}
