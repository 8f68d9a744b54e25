//! A container's new name.

use super::names;
use super::record::Container;
use crate::engine::events;
use crate::error::{Error, Result};
use crate::store::{Store, atomic, lock};

/// Gives the container another name. The new one is claimed before the record says it, and the old one let go of after:
/// whenever this is interrupted, the container has one name that finds it.
pub fn rename(store: &Store, container: &Container, new: &str) -> Result<()> {
    let new = new.strip_prefix('/').unwrap_or(new);
    if new.is_empty() {
        return Err(Error::new("Neither old nor new names may be empty"));
    }
    let dir = super::dir(store, &container.id);
    let _lock = lock::exclusive(&dir)?;
    let mut record = super::load(store, &container.id)?;
    if record.name == new {
        return Err(Error::new("Renaming a container with the same name as its current name"));
    }
    let claim = names::claim(store, new, &record.id)?;
    let old = std::mem::replace(&mut record.name, new.to_owned());
    let written = names::settle(store, record.durability())
        .and_then(|()| atomic::write_json(&dir.join("container.json"), &record));
    drop(claim);
    // A write can fail after the rename in it, when its directory cannot be synced: what the record now says counts.
    let is_new = written.is_ok() || super::load(store, &record.id).is_ok_and(|now| now.name == new);
    names::release(store, if is_new { &old } else { new }, &record.id);
    if is_new {
        events::tell(store, &[events::of_container(&record, "rename", &[("oldName", format!("/{old}"))])]);
    }
    written
}
