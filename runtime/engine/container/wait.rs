//! Waiting for what becomes of a container.

use super::protocol::{self, Packet};
use super::record::Container;
use super::state::{self, State, Status};
use crate::error::{Doing, Error, Result};
use crate::store::Store;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use std::os::fd::AsFd;
use std::path::Path;

/// Blocks until the container has ended, and returns its exit code. One that does not run has ended already; one that
/// is started again by its restart policy has ended in between.
pub fn wait(store: &Store, container: &Container) -> Result<i32> {
    // With `--rm` the state goes with the container; but the supervisor tells its last word to those at its door.
    let door = match container.host_config.auto_remove {
        // It has a door from before it is let go.
        true => {
            state::await_start(store, container).and_then(|()| protocol::knock(&super::dir(store, &container.id))).ok()
        }
        false => None,
    };
    if let Some(door) = door {
        loop {
            match protocol::hear(&door)? {
                Some(Packet::Exit(code)) => return Ok(code),
                Some(Packet::End) => break,
                _ => {}
            }
        }
    }
    let ended = |state: &State| !matches!(state.status, Status::Running | Status::Paused);
    match until(store, container, ended)? {
        Some(state) => Ok(state.exit_code),
        None => Err(Error::not_found(format!("container {} was removed while we waited for its end", container.name))),
    }
}

/// Blocks until the container's state is as wanted; `None` where it is removed meanwhile.
pub fn until(store: &Store, container: &Container, wanted: impl Fn(&State) -> bool) -> Result<Option<State>> {
    // To give a watch back costs up to 15 ms (the kernel waits for a grace period): begun only where there is what to wait
    // for, and then the state is looked at again.
    let mut watch = None;
    loop {
        match (state::current(store, container), &watch) {
            (Ok(state), _) if wanted(&state) => return Ok(Some(state)),
            (Ok(state), Some(watch)) => Watch::next(watch, &state)?,
            (Ok(_), None) => match Watch::begin(&super::dir(store, &container.id))? {
                Some(begun) => watch = Some(begun),
                None => return Ok(None),
            },
            (Err(error), _) if error.is_not_found() => return Ok(None),
            (Err(error), _) => return Err(error),
        }
    }
}

/// The kernel's word on changes in a container's directory.
struct Watch(Inotify);

impl Watch {
    /// `None` where there is no such directory any more.
    fn begin(dir: &Path) -> Result<Option<Watch>> {
        let doing = || format!("watch {}", dir.display());
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).doing(doing)?;
        match inotify.add_watch(dir, AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_MOVE_SELF) {
            Err(Errno::ENOENT) => Ok(None),
            result => result.doing(doing).map(|_| Some(Watch(inotify))),
        }
    }

    /// Blocks until a file of the container has been replaced, or it has been removed, or its supervisor has ended; where
    /// that was killed, until the container's first process has, which follows it.
    fn next(&self, state: &State) -> Result<()> {
        // Both may have ended since the state was read; nobody would wake us then.
        let supervisor = state.supervisor.open()?;
        let process = supervisor.map_or_else(|| state.init.open(), |supervisor| Ok(Some(supervisor)))?;
        let Some(process) = process else { return Ok(()) };
        let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN), PollFd::new(process.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::NONE) {
            Err(Errno::EINTR) => {}
            result => drop(result.doing(|| "wait for the container")?),
        }
        while self.0.read_events().is_ok_and(|events| !events.is_empty()) {}
        Ok(())
    }
}
