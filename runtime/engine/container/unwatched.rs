//! Nothing runs unwatched. A container's first process is to die with its supervisor (PR_SET_PDEATHSIG); but a program can undo
//! that, and a change of its credentials does. Whoever looks at the container next ends it. And a supervisor that no longer
//! does its work, stopped or lost in it, is ended by whoever kills its container (`rm -f`, `stop`, `kill`).

use super::record::Container;
use super::state::{self, State, Status};
use super::stop::ended_within;
use crate::error::Result;
use crate::explain::{self, calls};
use crate::oci;
use crate::store::Store;
use crate::store::lock;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// What the kernel has sent SIGKILL to, because its supervisor died, has so long to end by itself.
const DYING: Duration = Duration::from_secs(1);

/// How long is waited for the end of what was sent SIGKILL: in the kernel, it may have to wait for a disk.
const PATIENCE: Duration = Duration::from_secs(10);

/// Ends the container of a supervisor that is gone, where its first process goes on without one. Whether it has ended: one
/// that the kernel cannot end (frozen by somebody else, waiting for a disk) runs on, and counts as running.
pub fn end(container: &Container, state: &State) -> bool {
    let Ok(Some(init)) = state.init.open() else { return state.init.has_surely_ended() };
    let _ = thaw(state);
    if ended_within(&init, Some(DYING)).unwrap_or(false) {
        return true;
    }
    // Asked again: what is killed here is not to be somebody's healthy container.
    if !state.supervisor.has_surely_ended() {
        return false;
    }
    explain::step("nobody watches it any more: it is killed", format_args!("kill -KILL {}", state.init.pid));
    let _ = calls::pidfd_send_signal(&init, libc::SIGKILL);
    if !ended_within(&init, Some(PATIENCE)).unwrap_or(false) {
        eprintln!("ebb: container {} outlived its supervisor, and does not end although it was killed", container.name);
        return false;
    }
    eprintln!(
        "ebb: container {} outlived its supervisor, so that nothing watched it any more: it was killed",
        container.name
    );
    true
}

/// A frozen process does not end (cgroup v1).
fn thaw(state: &State) -> Result<()> {
    match !state.cgroup.is_empty() && oci::cgroup::is_frozen(&state.cgroup) {
        true => oci::cgroup::thaw(&state.cgroup),
        false => Ok(()),
    }
}

/// Kills the supervisor of a container that has been killed, where it does not write that down, whatever else it is at.
pub fn end_stuck(store: &Store, container: &Container, state: &State) -> Result<()> {
    let Some(supervisor) = state.supervisor.open()? else { return Ok(()) };
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        let seen = state::written(store, &container.id);
        let works = seen.is_ok_and(|seen| seen.supervisor == state.supervisor && is_at_it(&seen));
        if !works || ended_within(&supervisor, Some(DYING))? {
            return Ok(());
        }
    }
    if !state.init.is_alive() {
        kill(&supervisor)?;
    }
    Ok(())
}

/// A supervisor that is killed closes its socket before it has ended, as the kernel sees it.
pub fn await_supervisor(store: &Store, container: &Container) -> Result<()> {
    let supervisor = state::written(store, &container.id)?.supervisor.open()?;
    supervisor.map_or(Ok(()), |supervisor| ended_within(&supervisor, Some(PATIENCE)).map(drop))
}

fn is_at_it(state: &State) -> bool {
    matches!(state.status, Status::Running | Status::Paused | Status::Restarting)
}

fn kill(supervisor: &OwnedFd) -> Result<()> {
    explain::step("its supervisor does not do its work, and is killed", "kill -KILL …");
    let _ = calls::pidfd_send_signal(supervisor, libc::SIGKILL);
    ended_within(supervisor, Some(PATIENCE)).map(drop)
}

/// The supervisor that is just starting the container, and is in no record yet: it holds [`state::starting`]'s lock.
pub fn starter(store: &Store, container: &Container) -> Option<OwnedFd> {
    holder(&super::dir(store, &container.id).join("rootfs"), container).map(|(_, handle)| handle)
}

/// A supervisor that is stopped within the moment in which it holds the container's own lock would hold it for ever, and
/// everybody would wait for it. It is killed.
pub fn free_lock(store: &Store, container: &Container) -> Result<()> {
    let directory = super::dir(store, &container.id);
    // Another command that holds it is no supervisor, and is waited for by whoever takes the lock.
    while let Some((pid, supervisor)) = holder(&directory, container) {
        let is_stopped = oci::process_stat(pid).is_some_and(|(state, _)| state == 'T');
        if is_stopped {
            kill(&supervisor)?;
        } else {
            ended_within(&supervisor, Some(MOMENT))?;
        }
    }
    Ok(())
}

/// How long one look lasts whether a lock that a running supervisor holds has become free.
const MOMENT: Duration = Duration::from_millis(20);

/// The supervisor of the container that holds the lock of `directory`, if one does.
fn holder(directory: &Path, container: &Container) -> Option<(i32, OwnedFd)> {
    if !matches!(lock::try_shared(directory), Err(error) if !error.is_not_found()) {
        return None;
    }
    let inode = format!(":{}", std::fs::metadata(directory).ok()?.ino());
    // `1: FLOCK  ADVISORY  WRITE PID MAJOR:MINOR:INODE 0 EOF`, and `->` before FLOCK where it is only waited for.
    let locks = crate::procfs::read("/proc/locks").ok()?;
    let holder =
        locks.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).find_map(|words| match words[..] {
            [_, "FLOCK", _, "WRITE", pid, file, ..] if file.ends_with(&inode) => pid.parse().ok(),
            _ => None,
        })?;
    let handle = oci::pidfds::open(holder).ok()??;
    // Asked after the handle is ours. The number may be that of another file system's file.
    let name = std::fs::read(format!("/proc/{holder}/comm")).ok()?;
    let expected = format!("ebb:{}", container.name);
    // The kernel keeps 15 bytes of a name.
    let same = name.strip_suffix(b"\n") == Some(&expected.as_bytes()[..expected.len().min(15)]);
    same.then_some((holder, handle))
}

/// Of a container that has been removed: its supervisor finds nothing to start, and ends. One that does not is killed.
pub fn end_starter(starter: &OwnedFd) -> Result<()> {
    match ended_within(starter, Some(DYING))? {
        true => Ok(()),
        false => kill(starter),
    }
}
