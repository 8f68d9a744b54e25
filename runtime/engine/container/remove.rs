//! Removing a container: what it wrote goes with it, and no named volume does.

use super::record::Container;
use super::state::{self, Status};
use super::{dir, stop, unwatched};
use crate::engine::volume::trash::Trashed;
use crate::engine::volume::{self, Removal};
use crate::engine::{events, idmap};
use crate::error::{Error, Result};
use crate::oci;
use crate::store::lock::{self, Lock};
use crate::store::{Store, atomic, tree};
use std::path::PathBuf;

#[derive(Debug, Default, Clone, Copy)]
pub struct Options {
    /// Kill it first where it runs.
    pub force: bool,
    /// Its anonymous volumes too.
    pub volumes: bool,
}

/// Removes a container. A running one is refused, or killed first with `force`. Returns those of its volumes that are in
/// the trash now.
pub fn remove(store: &Store, container: &Container, options: Options) -> Result<Vec<Trashed>> {
    let mut killed = false;
    let starter = if options.force { unwatched::starter(store, container) } else { None };
    let removed = loop {
        // What was started with `--rm` goes with its anonymous volumes when it is killed, whoever comes to it first.
        let with_its_end = killed && container.host_config.auto_remove;
        if options.force {
            unwatched::free_lock(store, container)?;
        }
        match erase(store, container, options.volumes || with_its_end) {
            Err(Refusal::Running(_)) if options.force => {
                killed = true;
                stop::kill(store, container, libc::SIGKILL).or_else(ended)?;
            }
            Err(Refusal::Running(status)) => return Err(refused(status)),
            // Its supervisor was first. What that may still be at is done when we return.
            Err(Refusal::Failed(error)) if with_its_end && error.is_not_found() => {
                break remove_anonymous_volumes(store, container);
            }
            Err(Refusal::Failed(error)) => return Err(error),
            Ok(trashed) => break Ok(trashed),
        }
    };
    starter.as_ref().map_or(Ok(()), unwatched::end_starter)?;
    removed
}

/// Docker's words for a container that is not to be removed as it is.
pub fn refused(status: Status) -> Error {
    Error::conflict(match status {
        Status::Paused => "container is paused and must be unpaused first".to_owned(),
        status => format!("container is {}: stop the container before removing or force remove", status.word()),
    })
}

/// That it ended by itself just before we could kill it is as good.
fn ended(error: Error) -> Result<()> {
    if error.kind == crate::error::Kind::Conflict { Ok(()) } else { Err(error) }
}

/// Why [`erase`] did not.
#[derive(Debug)]
pub enum Refusal {
    /// It runs, is paused, or is between two starts.
    Running(Status),
    Failed(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        Refusal::Failed(error)
    }
}

/// Removes a container that does not run. Returns what it moved into the trash.
pub fn erase(store: &Store, container: &Container, volumes: bool) -> std::result::Result<Vec<Trashed>, Refusal> {
    let gone = take_away(store, container, volumes)?;
    let removed = bury(&gone);
    gone.result.and(removed)?;
    Ok(gone.trashed)
}

/// What [`take_away`] took away: a container that nobody can find any more, whose bytes are still there.
pub struct Gone {
    grave: PathBuf,
    /// Whoever else clears the trash leaves to us what we are at.
    _lock: Option<Lock>,
    /// What its record names is most often gone already; not of one whose supervisor was killed, or that goes with its end.
    cgroup: String,
    trashed: Vec<Trashed>,
    /// What did not go with it.
    result: Result<()>,
}

/// The first half of [`erase`], after which the container no longer exists. [`bury`] removes its bytes.
pub fn take_away(store: &Store, container: &Container, volumes: bool) -> std::result::Result<Gone, Refusal> {
    let (lock, container) = lock(store, container)?;
    let state = state::current(store, &container)?;
    // Where a start has failed its own supervisor comes, whether or not that could be written.
    let by_its_supervisor = state.supervisor.pid == nix::unistd::getpid().as_raw();
    if !by_its_supervisor && (state.is_running() || state.status == Status::Restarting) {
        return Err(Refusal::Running(state.status));
    }
    state::tell_unwatched_end(store, &container, &state);
    Ok(set_aside(store, &container, state.cgroup, volumes, lock)?)
}

/// What was started with `--rm` goes with its end, of which its supervisor knows whether or not it is written. Not where
/// `restart` has it held, to start it again.
pub fn take_own(store: &Store, container: &Container) -> Result<Option<Gone>> {
    let (lock, container) = lock(store, container)?;
    let state = state::written(store, &container.id)?;
    match state.held {
        true => Ok(None),
        false => set_aside(store, &container, state.cgroup, true, lock).map(Some),
    }
}

/// The container's lock, and its record as it is under the lock: it may have been renamed since.
fn lock(store: &Store, container: &Container) -> Result<(Lock, Container)> {
    let removed = super::or_removed(container);
    let lock = lock::exclusive(&dir(store, &container.id)).map_err(&removed)?;
    Ok((lock, super::load(store, &container.id).map_err(removed)?))
}

/// Out of the list by one rename, then its name, then its volumes.
fn set_aside(store: &Store, container: &Container, cgroup: String, volumes: bool, lock: Lock) -> Result<Gone> {
    let grave = tree::set_aside(store, &dir(store, &container.id), container.durability())?;
    super::names::release(store, &container.name, &container.id);
    if cgroup.is_empty() {
        oci::cgroup::Birthplace::forget(&super::bundle::cgroup_of(container));
    }
    // Not held over the volumes: who creates a container takes theirs first, and then its own.
    drop(lock);
    let removed = if volumes { remove_anonymous_volumes(store, container) } else { Ok(Vec::new()) };
    let (trashed, result) = match removed {
        Ok(trashed) => (trashed, Ok(())),
        Err(error) => (Vec::new(), Err(error)),
    };
    events::tell(store, &[events::of_container(container, "destroy", &[])]);
    let lock = lock::try_exclusive(&grave).ok();
    Ok(Gone { grave, _lock: lock, cgroup, trashed, result })
}

/// The second half of [`erase`]. Where the cgroup cannot be removed, the record that names it stays as well, for the next
/// command to try again.
pub fn bury(gone: &Gone) -> Result<()> {
    oci::cgroup::remove(&gone.cgroup)?;
    // The layer's files may belong to any of the container's ids; an ordinary user needs the map to empty a directory of
    // such an id. Tried without first: most layers have none, and the map costs two programs, newuidmap and newgidmap.
    let ids = idmap::store_ids()?;
    match (tree::remove(&gone.grave), ids.map()) {
        (Err(_), Some(map)) => oci::with_ids(Some(map), || tree::remove(&gone.grave)),
        (removed, _) => removed,
    }
}

/// The cgroups of containers whose [`bury`] was cut short: once their records are removed, nobody knows of them.
pub fn free_forgotten(store: &Store) {
    for entry in std::fs::read_dir(store.trash()).into_iter().flatten().flatten() {
        let Ok(_lock) = lock::try_exclusive(&entry.path()) else { continue };
        let state: Result<state::State> = atomic::read_record(&entry.path().join("state.json"));
        let _ = state.and_then(|state| oci::cgroup::remove(&state.cgroup));
    }
}

/// A volume that another container uses as well stays, without a word, as in Docker. What `rm -v` takes can be brought
/// back; what was started with `--rm` was meant to leave nothing, and gives its space back at once.
fn remove_anonymous_volumes(store: &Store, container: &Container) -> Result<Vec<Trashed>> {
    let removal = if container.host_config.auto_remove { Removal::Now } else { Removal::Trash };
    let mut trashed = Vec::new();
    let mut result = Ok(());
    for mount in container.mounts.iter().filter(|mount| mount.kind == "volume" && mount.anonymous) {
        match volume::remove_with_container(store, &mount.name, removal) {
            Ok(aside) => trashed.extend(aside),
            Err(error) if !error.is_not_found() && error.kind != crate::error::Kind::Conflict => {
                result = result.and(Err(error));
            }
            Err(_) => {}
        }
    }
    result.map(|()| trashed)
}
