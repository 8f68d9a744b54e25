//! The parent of a process that `exec` starts: a small process in a session of its own, which reaps it.
//!
//! Until it is reaped, the container's pid namespace cannot end (pid_namespaces(7)). The command itself would be a poor
//! parent: it can be suspended at its terminal, or killed, or it detaches; and not every host's process 1 is quick.

use super::exec;
use crate::error::{Doing, Error, Result};
use crate::explain::{self, calls};
use crate::kernel::{self, Cloned};
use crate::oci;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, sendmsg, socketpair};
use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// The command's side of a process that runs.
pub struct Kept {
    keeper: OwnedFd,
    /// The master of its terminal, where it has one.
    pub console: Option<OwnedFd>,
}

/// Runs `start` in a new keeper, and returns when it has. `ours` are the command's own descriptors, which a keeper must
/// not hold open. `start` is given what is readable when the command is gone. `ended` is called in the keeper, with the exit code.
pub fn start<T>(
    ours: &mut Option<T>,
    start: impl FnOnce(BorrowedFd) -> Result<oci::Init>,
    ended: impl FnOnce(i32),
) -> Result<Kept> {
    let (keeper, command) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
        .doing(|| "make a socket pair")?;
    explain::step("a keeper: the new process's parent, which waits for its end whatever becomes of us", "");
    match calls::fork().doing(|| "fork")? {
        Cloned::Child => {
            explain::process("keeper");
            drop((keeper, ours.take()));
            explain::step("it leaves the user's session", "setsid …");
            let _ = calls::setsid();
            keep(&command, start, ended);
            kernel::exit_now(0)
        }
        Cloned::Parent { .. } => {
            drop((command, start));
            let (started, console) = hear::<Result<()>>(&keeper)?;
            started.map(|()| Kept { keeper, console })
        }
    }
}

impl Kept {
    /// Readable when the process has ended.
    pub fn ended(&self) -> BorrowedFd<'_> {
        self.keeper.as_fd()
    }

    /// Waits for the end: the exit code, or 128 and the signal's number.
    pub fn exit_code(&self) -> Result<i32> {
        hear(&self.keeper).map(|(code, _)| code)
    }
}

fn keep(command: &OwnedFd, start: impl FnOnce(BorrowedFd) -> Result<oci::Init>, ended: impl FnOnce(i32)) {
    let (started, child) = match start(command.as_fd()) {
        Ok(child) => (Ok(()), Some(child)),
        Err(error) => (Err(error), None),
    };
    let mut console = None;
    let child = child.map(|mut child| {
        console = child.console.take();
        child
    });
    say(command, &started, console.as_ref());
    let Some(child) = child else { return };
    let _ = let_go();
    if abandoned_before_end(command, &child.pidfd)
        && let Some(console) = console.take()
    {
        forget(&console);
    }
    if let Ok(code) = exec::exit_code(&child.pidfd) {
        ended(code);
        say(command, &code, None);
    }
}

/// Waits; true when the command is gone (killed, or detached) and the process goes on.
fn abandoned_before_end(command: &OwnedFd, pidfd: &OwnedFd) -> bool {
    loop {
        let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN), PollFd::new(command.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::NONE) {
            Err(Errno::EINTR) => {}
            Err(_) => return false,
            Ok(_) => return !fds[0].any().unwrap_or(false),
        }
    }
}

/// Lets go of the command's terminal and descriptors.
fn let_go() -> Result<()> {
    let null = exec::null()?;
    nix::unistd::dup2_stdin(&null).doing(|| "let go of stdin")?;
    nix::unistd::dup2_stdout(&null).doing(|| "let go of stdout")?;
    nix::unistd::dup2_stderr(&null).doing(|| "let go of stderr")?;
    explain::end();
    Ok(())
}

/// Reads what is written to the terminal, for nobody, until none of its processes is left: without a reader they would
/// stand still, and without a master they would get SIGHUP.
fn forget(console: &OwnedFd) {
    let _ = fcntl(console, FcntlArg::F_SETFL(OFlag::O_RDWR));
    let mut forgotten = [0u8; 4096];
    while nix::unistd::read(console, &mut forgotten).is_ok_and(|length| length > 0) {}
}

fn say<T: serde::Serialize>(socket: &OwnedFd, what: &T, descriptor: Option<&OwnedFd>) {
    let text = serde_json::to_vec(what).unwrap_or_default();
    let numbers: Vec<_> = descriptor.iter().map(|fd| fd.as_raw_fd()).collect();
    let rights = [ControlMessage::ScmRights(&numbers)];
    let control = if numbers.is_empty() { &[][..] } else { &rights[..] };
    // A command that is gone need not be told.
    let _ = sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(&text)], control, MsgFlags::MSG_NOSIGNAL, None);
}

fn hear<T: serde::de::DeserializeOwned>(socket: &OwnedFd) -> Result<(T, Option<OwnedFd>)> {
    let doing = || "hear from the process's keeper";
    let mut text = vec![0u8; 64 * 1024];
    let (length, mut descriptors) = loop {
        match kernel::receive(socket, &mut text) {
            Err(Errno::EINTR) => {}
            received => break received.doing(doing)?,
        }
    };
    if length == 0 {
        return Err(Error::new("the keeper of the process was killed"));
    }
    Ok((serde_json::from_slice(&text[..length]).doing(doing)?, descriptors.pop()))
}
