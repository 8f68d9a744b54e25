//! Waiting for a container's end.

use super::record::Container;
use super::state::{self, State, Status};
use crate::error::{Doing, Error, Result};
use crate::store::Store;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use std::os::fd::AsFd;

/// Blocks until the container has ended, and returns how. One that does not run has ended already; one that is started
/// again by its restart policy has ended in between.
pub fn wait(store: &Store, container: &Container) -> Result<State> {
    let dir = super::dir(store, &container.id);
    let doing = || format!("watch {}", dir.display());
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).doing(doing)?;
    inotify.add_watch(&dir, AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_MOVE_SELF).doing(doing)?;
    loop {
        let state = state::current(store, container).map_err(|error| match error.is_not_found() {
            true => Error::not_found(format!("container {} was removed while we waited for its end", container.name)),
            false => error,
        })?;
        if !matches!(state.status, Status::Running | Status::Paused) {
            return Ok(state);
        }
        let supervisor = state.supervisor.open();
        let mut fds = vec![PollFd::new(inotify.as_fd(), PollFlags::POLLIN)];
        if let Some(supervisor) = &supervisor {
            fds.push(PollFd::new(supervisor.as_fd(), PollFlags::POLLIN));
        }
        match poll(&mut fds, PollTimeout::NONE) {
            Err(Errno::EINTR) => {}
            result => drop(result.doing(doing)?),
        }
        while inotify.read_events().is_ok_and(|events| !events.is_empty()) {}
    }
}
