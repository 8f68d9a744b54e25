//! Waiting for a process that enters a container, whatever the container does to it.
//!
//! Root in a container may signal who has become its user: it can kill the process that enters, and it can stop it, for as
//! long as it likes. So no wait for such a process is a wait for its word alone.

use crate::error::{Doing, Error, Result};
use crate::explain::calls;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Milliseconds: a child that is stopped wakes no poll(2), so it is looked at after so long a silence.
const LOOK_AGAIN: u8 = 100;

/// Blocks until there is something to receive. An error where nothing will come: `who` (a child of ours) is gone, with
/// `gone` for the reason, or is stopped; or who wanted it there has let go of the other end of `leash`.
pub fn await_word(socket: &OwnedFd, who: &OwnedFd, leash: Option<BorrowedFd>, gone: &'static str) -> Result<()> {
    loop {
        let mut fds = vec![PollFd::new(socket.as_fd(), PollFlags::POLLIN), PollFd::new(who.as_fd(), PollFlags::POLLIN)];
        fds.extend(leash.map(|leash| PollFd::new(leash, PollFlags::POLLIN)));
        match poll(&mut fds, PollTimeout::from(LOOK_AGAIN)) {
            Err(Errno::EINTR) => continue,
            Ok(0) if is_stopped(who) => {
                return Err(Error::new("the container stopped the process that was entering it"));
            }
            result => drop(result.doing(|| "wait for the process that enters the container")?),
        }
        let seen: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(false)).collect();
        match seen[..] {
            [true, ..] => return Ok(()),
            [_, true, ..] => return Err(Error::new(gone)),
            [_, _, true] => {
                return Err(Error::new("nobody waits any longer for the process that enters the container"));
            }
            _ => {}
        }
    }
}

/// Whether a child of ours is stopped. It stays so: it is only looked at.
fn is_stopped(child: &OwnedFd) -> bool {
    let flags = WaitPidFlag::WSTOPPED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    matches!(waitid(Id::PIDFd(child.as_fd()), flags), Ok(WaitStatus::Stopped(..)))
}

/// Reaps a child that has nothing left to do but to end; one that is stopped before it can is killed.
pub fn see_out(pid: Pid, pidfd: &OwnedFd) {
    if let Ok(WaitStatus::Stopped(..)) = waitpid(pid, Some(WaitPidFlag::WUNTRACED)) {
        let _ = calls::pidfd_send_signal(pidfd, libc::SIGKILL);
        let _ = waitpid(pid, None);
    }
}
