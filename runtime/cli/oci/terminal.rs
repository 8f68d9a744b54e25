//! A process in the foreground: its signals, its terminal, its end. And a terminal that another program keeps.

use crate::engine::container::terminal::Raw;
use crate::error::{Doing, Error, Result};
use crate::kernel;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, connect, sendmsg, socket,
};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::{Pid, read, write};
use std::io::IsTerminal;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Who would hold the terminal, were there one?
pub fn check(wants_terminal: bool, detached: bool, socket: Option<&Path>) -> Result<()> {
    match (wants_terminal, detached, socket) {
        (true, true, None) => Err(Error::new("cannot allocate tty if ebb will detach without setting console socket")),
        (false, _, Some(_)) | (_, false, Some(_)) => {
            Err(Error::new("cannot use console socket if ebb will not detach or allocate tty"))
        }
        _ => Ok(()),
    }
}

/// Rows and columns of our own terminal; 0 and 0 without one.
pub fn size() -> (u16, u16) {
    kernel::window_size(std::io::stdin()).unwrap_or((0, 0))
}

/// Sends the master end of a terminal to whoever listens at `path` (SCM_RIGHTS).
pub fn send(path: &Path, console: &OwnedFd) -> Result<()> {
    let what = || format!("send the terminal to {}", path.display());
    let address = UnixAddr::new(path).doing(what)?;
    let socket = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).doing(what)?;
    connect(socket.as_raw_fd(), &address).doing(what)?;
    let descriptors = [console.as_raw_fd()];
    let rights = [ControlMessage::ScmRights(&descriptors)];
    let name = [std::io::IoSlice::new(b"/dev/ptmx")];
    sendmsg::<UnixAddr>(socket.as_raw_fd(), &name, &rights, MsgFlags::empty(), None).map(drop).doing(what)
}

/// Stays with a process until it ends: passes signals on, and copies between our terminal and its `console`. `begin` is
/// called once no signal can be lost any more. Returns the exit code, 128 + n for signal n.
pub fn attend(pid: i32, pidfd: &OwnedFd, console: Option<&OwnedFd>, begin: impl FnOnce() -> Result<()>) -> Result<i32> {
    let mut mask = SigSet::all();
    // What we have done ourselves is not the container's: a fault, or a write to a reader that went away.
    for own in [Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGILL, Signal::SIGFPE, Signal::SIGABRT, Signal::SIGPIPE] {
        mask.remove(own);
    }
    let signals =
        SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).doing(|| "receive signals")?;
    mask.thread_block().doing(|| "block signals")?;
    let _raw = console.filter(|_| std::io::stdin().is_terminal()).map(|_| Raw::enter(std::io::stdin())).transpose()?;
    begin()?;
    relay(pid, pidfd, &signals, console)?;
    exit_code(pid)
}

fn relay(pid: i32, pidfd: &OwnedFd, signals: &SignalFd, console: Option<&OwnedFd>) -> Result<()> {
    let stdin = std::io::stdin();
    let mut stdin_open = console.is_some();
    let mut console_open = console.is_some();
    loop {
        let mut fds =
            vec![PollFd::new(pidfd.as_fd(), PollFlags::POLLIN), PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        // A closed end would answer every poll at once: it is left out by a negative descriptor's stand-in, the pidfd.
        let (from_console, from_stdin) = (console.filter(|_| console_open), stdin_open.then_some(&stdin));
        fds.push(PollFd::new(from_console.map_or(pidfd.as_fd(), |fd| fd.as_fd()), PollFlags::POLLIN));
        fds.push(PollFd::new(from_stdin.map_or(pidfd.as_fd(), |fd| fd.as_fd()), PollFlags::POLLIN));
        match poll(&mut fds, PollTimeout::NONE) {
            Err(Errno::EINTR) => continue,
            other => other.doing(|| "wait for the container")?,
        };
        let ready: Vec<bool> = fds.iter().map(|fd| fd.revents().is_some_and(|events| !events.is_empty())).collect();
        if ready[1] {
            pass_signals(pid, pidfd, signals, console)?;
        }
        if let Some(console) = console {
            if console_open && ready[2] {
                console_open = copy(console.as_fd(), std::io::stdout().as_fd());
                // All that it has printed is read before its end is looked at.
                continue;
            }
            if stdin_open && ready[3] {
                stdin_open = copy(stdin.as_fd(), console.as_fd());
            }
        }
        if ready[0] {
            return Ok(());
        }
    }
}

fn pass_signals(pid: i32, pidfd: &OwnedFd, signals: &SignalFd, console: Option<&OwnedFd>) -> Result<()> {
    while let Ok(Some(signal)) = signals.read_signal() {
        match signal.ssi_signo as i32 {
            libc::SIGCHLD => reap_others(pid),
            libc::SIGWINCH => {
                if let (Some(console), Ok((rows, columns))) = (console, kernel::window_size(std::io::stdin())) {
                    let _ = kernel::set_window_size(console, rows, columns);
                }
            }
            number => match kernel::pidfd_send_signal(pidfd, number) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(errno) => return Err(errno).doing(|| format!("pass signal {number} on")),
            },
        }
    }
    Ok(())
}

/// As a subreaper we inherit what the container's processes leave behind.
fn reap_others(pid: i32) {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    while let Ok(status) = waitid(Id::All, flags) {
        match status.pid() {
            Some(other) if other.as_raw() != pid => drop(waitpid(other, Some(WaitPidFlag::WNOHANG))),
            _ => return,
        }
    }
}

/// Copies what is there; `false` when the end was reached. A terminal whose other end is closed answers EIO.
fn copy(from: BorrowedFd, to: BorrowedFd) -> bool {
    let mut buffer = [0; 16 << 10];
    let Ok(count @ 1..) = read(from, &mut buffer) else {
        return false;
    };
    let mut rest = &buffer[..count];
    while !rest.is_empty() {
        match write(to, rest) {
            Ok(written) => rest = &rest[written..],
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => {
                let _ = poll(&mut [PollFd::new(to, PollFlags::POLLOUT)], PollTimeout::NONE);
            }
            Err(_) => return false,
        }
    }
    true
}

fn exit_code(pid: i32) -> Result<i32> {
    loop {
        match waitpid(Pid::from_raw(pid), None) {
            Ok(WaitStatus::Exited(_, code)) => return Ok(code),
            Ok(WaitStatus::Signaled(_, signal, _)) => return Ok(128 + signal as i32),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno).doing(|| "wait for the container"),
        }
    }
}
