//! Copies between the user and a process in a container, until the process ends or the user detaches.

use super::terminal::DetachKeys;
use crate::error::{Doing, Result};
use crate::kernel;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{read, write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Where a process's output goes.
pub struct Output {
    pub from: OwnedFd,
    pub to: OwnedFd,
}

/// What is copied.
pub struct Streams {
    /// The user's stdin and the process's; closed on both sides when either is.
    pub input: Option<(OwnedFd, OwnedFd)>,
    pub outputs: Vec<Output>,
    /// The master of the process's terminal, and the user's terminal, whose size it follows.
    pub terminal: Option<(OwnedFd, OwnedFd)>,
    pub detach_keys: Option<DetachKeys>,
}

/// Why the copying ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The process has ended, and all that it wrote was copied.
    Process,
    Detached,
    /// This signal asks us to go; the user's terminal must be put right first.
    Signal(i32),
    Unheard(Unheard),
}

/// Nobody reads what the user's own descriptor is given, or it takes no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unheard {
    stream: &'static str,
    errno: Errno,
}

impl Unheard {
    /// Says so, in Docker's words, and returns its exit code.
    pub fn say(self) -> i32 {
        // A terminal that is gone, and whoever would read it with it.
        if self.errno == Errno::EIO {
            return HUNG_UP;
        }
        eprintln!("ebb: write /dev/{}: {}", self.stream, self.errno.desc().to_lowercase());
        1
    }
}

/// The exit code of what SIGHUP ends.
pub const HUNG_UP: i32 = 128 + libc::SIGHUP;

/// All of it, to a descriptor of the user's, by the name of its stream.
pub fn show(stream: &'static str, to: impl AsFd, bytes: &[u8]) -> std::result::Result<(), Unheard> {
    write_all(to.as_fd(), bytes).map_err(|errno| Unheard { stream, errno })
}

/// Copies until the process behind `pidfd` has ended.
pub fn copy(mut streams: Streams, pidfd: BorrowedFd) -> Result<End> {
    let signals = match &streams.terminal {
        Some(_) => Some(watch_signals()?),
        None => None,
    };
    // What was typed and not yet taken: a process that does not read must not keep its own output from us.
    let mut typed: Vec<u8> = Vec::new();
    if let Some((_, to)) = &streams.input {
        set_nonblocking(to)?;
    }
    loop {
        let ready = wait(&streams, &signals, pidfd, &typed)?;
        if ready.signal
            && let Some(end) = signals.as_ref().and_then(|signals| obey(signals, &streams))
        {
            return Ok(end);
        }
        for index in ready.outputs.iter().rev() {
            match pump(&streams.outputs[*index])? {
                Pumped::More => {}
                // A process with pipes is told by its own next write; one with a terminal never would be.
                Pumped::Unheard(errno) if streams.terminal.is_some() => {
                    return Ok(End::Unheard(Unheard { stream: "stdout", errno }));
                }
                Pumped::End | Pumped::Unheard(_) => drop(streams.outputs.remove(*index)),
            }
        }
        if ready.input && read_typed(&mut streams, &mut typed)? {
            return Ok(End::Detached);
        }
        if !typed.is_empty() {
            give_typed(&mut streams, &mut typed);
        }
        if ready.ended {
            drain(&streams)?;
            return Ok(End::Process);
        }
    }
}

/// What poll(2) found.
struct Ready {
    ended: bool,
    signal: bool,
    input: bool,
    outputs: Vec<usize>,
}

fn wait(streams: &Streams, signals: &Option<SignalFd>, pidfd: BorrowedFd, typed: &[u8]) -> Result<Ready> {
    let mut fds = vec![PollFd::new(pidfd, PollFlags::POLLIN)];
    fds.extend(streams.outputs.iter().map(|output| PollFd::new(output.from.as_fd(), PollFlags::POLLIN)));
    let first_optional = fds.len();
    if let Some(signals) = signals {
        fds.push(PollFd::new(signals.as_fd(), PollFlags::POLLIN));
    }
    if let Some((from, to)) = &streams.input {
        match typed.is_empty() {
            true => fds.push(PollFd::new(from.as_fd(), PollFlags::POLLIN)),
            false => fds.push(PollFd::new(to.as_fd(), PollFlags::POLLOUT)),
        }
    }
    match poll(&mut fds, PollTimeout::NONE) {
        Err(Errno::EINTR) => {}
        result => drop(result.doing(|| "wait for the process")?),
    }
    let seen = |index: usize| fds[index].revents().is_some_and(|events| !events.is_empty());
    let signal = signals.is_some() && seen(first_optional);
    let input = streams.input.is_some() && typed.is_empty() && seen(fds.len() - 1);
    let outputs = (0..streams.outputs.len()).filter(|index| seen(index + 1)).collect();
    Ok(Ready { ended: seen(0), signal, input, outputs })
}

enum Pumped {
    More,
    End,
    Unheard(Errno),
}

/// Copies what one output holds.
fn pump(output: &Output) -> Result<Pumped> {
    let mut buffer = vec![0u8; 64 * 1024];
    match read(&output.from, &mut buffer) {
        // EIO is how a terminal's master says that nobody has the other side open any more.
        Ok(0) | Err(Errno::EIO) => Ok(Pumped::End),
        Err(Errno::EAGAIN | Errno::EINTR) => Ok(Pumped::More),
        Err(errno) => Err(errno).doing(|| "read the process's output"),
        Ok(length) => {
            Ok(write_all(output.to.as_fd(), &buffer[..length]).map_or_else(Pumped::Unheard, |()| Pumped::More))
        }
    }
}

/// Copies all that is left after the process has ended. What its own children may still write is not waited for.
fn drain(streams: &Streams) -> Result<()> {
    for output in &streams.outputs {
        loop {
            let mut fds = [PollFd::new(output.from.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, PollTimeout::ZERO) {
                Ok(0) => break,
                Err(Errno::EINTR) => {}
                _ if !matches!(pump(output)?, Pumped::More) => break,
                _ => {}
            }
        }
    }
    Ok(())
}

/// Reads what the user typed; true when that was the detach keys. At the end of the input, the process's ends too.
fn read_typed(streams: &mut Streams, typed: &mut Vec<u8>) -> Result<bool> {
    let Some((from, _)) = &streams.input else { return Ok(false) };
    let mut buffer = vec![0u8; 32 * 1024];
    match read(from, &mut buffer) {
        Err(Errno::EAGAIN | Errno::EINTR) => {}
        Ok(0) | Err(_) => streams.input = None,
        Ok(length) => match &mut streams.detach_keys {
            None => typed.extend_from_slice(&buffer[..length]),
            Some(keys) => {
                let (through, detached) = keys.filter(&buffer[..length]);
                typed.extend_from_slice(&through);
                return Ok(detached);
            }
        },
    }
    Ok(false)
}

fn give_typed(streams: &mut Streams, typed: &mut Vec<u8>) {
    let Some((_, to)) = &streams.input else { return typed.clear() };
    match write(to, typed) {
        Ok(length) => drop(typed.drain(..length)),
        Err(Errno::EAGAIN | Errno::EINTR) => {}
        // The process closed its stdin: what comes is for nobody.
        Err(_) => {
            streams.input = None;
            typed.clear();
        }
    }
}

fn watch_signals() -> Result<SignalFd> {
    let mut mask = SigSet::empty();
    for signal in [Signal::SIGWINCH, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT] {
        mask.add(signal);
    }
    mask.thread_block().doing(|| "block signals")?;
    SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).doing(|| "watch for signals")
}

/// Follows the size of the user's terminal; any other signal ends us.
fn obey(signals: &SignalFd, streams: &Streams) -> Option<End> {
    while let Ok(Some(info)) = signals.read_signal() {
        if info.ssi_signo != Signal::SIGWINCH as u32 {
            return Some(End::Signal(info.ssi_signo as i32));
        }
        if let Some((master, user)) = &streams.terminal
            && let Ok((rows, columns)) = kernel::window_size(user)
        {
            let _ = kernel::set_window_size(master, rows, columns);
        }
    }
    None
}

pub fn set_nonblocking(fd: &OwnedFd) -> Result<()> {
    fcntl(fd, FcntlArg::F_GETFL)
        .and_then(|flags| fcntl(fd, FcntlArg::F_SETFL(OFlag::from_bits_retain(flags) | OFlag::O_NONBLOCK)))
        .map(drop)
        .doing(|| "set a pipe to non-blocking")
}

fn write_all(to: BorrowedFd, mut bytes: &[u8]) -> nix::Result<()> {
    while !bytes.is_empty() {
        match write(to, bytes) {
            Ok(length) => bytes = &bytes[length..],
            Err(Errno::EINTR) => {}
            // The user's own descriptor may be non-blocking, as a shell's pipeline sometimes leaves it.
            Err(Errno::EAGAIN) => {
                let _ = poll(&mut [PollFd::new(to, PollFlags::POLLOUT)], PollTimeout::NONE);
            }
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
