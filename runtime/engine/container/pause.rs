//! pause and unpause: the freezer of the container's cgroup.

use super::record::Container;
use super::state::{self, State, Status};
use crate::engine::{events, volume};
use crate::error::{Error, Result};
use crate::oci;
use crate::store::Store;

/// Stops every process of the container where it stands.
pub fn pause(store: &Store, container: &Container) -> Result<()> {
    let _alone = volume::hold_off_copies(store)?;
    let state = state::current(store, container)?;
    match state.status {
        Status::Paused => Err(Error::conflict(format!("container {} is already paused", container.id))),
        Status::Running => {
            let cgroup = cgroup(&state)?;
            // It is about to be frozen for a copy, and would go on after that.
            volume::refuse_while_copied(store, &container.name, &state.init)?;
            oci::cgroup::freeze(cgroup)?;
            events::tell(store, &[events::of_container(container, "pause", &[])]);
            Ok(())
        }
        _ => Err(Error::conflict(format!("container {} is not running", container.id))),
    }
}

/// Lets them go on; not those that stand still for a copy of a volume, which would be torn.
pub fn unpause(store: &Store, container: &Container) -> Result<()> {
    let _alone = volume::hold_off_copies(store)?;
    let state = state::current(store, container)?;
    match state.status {
        Status::Paused => {
            volume::refuse_while_copied(store, &container.name, &state.init)?;
            oci::cgroup::thaw(cgroup(&state)?)?;
            events::tell(store, &[events::of_container(container, "unpause", &[])]);
            Ok(())
        }
        _ => Err(Error::conflict(format!("container {} is not paused", container.id))),
    }
}

/// Its cgroup, or why it has none.
fn cgroup(state: &State) -> Result<&str> {
    if !state.cgroup.is_empty() {
        return Ok(&state.cgroup);
    }
    let why = oci::cgroup::available().err().unwrap_or_else(|| "it was started without one".into());
    Err(Error::new(format!("the container has no cgroup, and only a cgroup can be frozen: {why}")))
}
