//! Names of containers: `names/NAME` is a symlink to the id of the container that has it.
//!
//! A link counts only while that container's own record says the same name, so that whatever was interrupted, a name
//! finds one container or none, and one that finds none can be taken.

use crate::error::{Doing, Error, Result};
use crate::explain::{self, calls};
use crate::store::atomic::Durability;
use crate::store::{Store, atomic, id, lock};

/// The right to a name, until it is dropped: by then the record that bears the name stands in its place.
pub struct Claim(#[allow(dead_code)] lock::Lock);

/// Takes `name` for the container `id`. Refused where another container has it.
///
/// Nobody else can take a name while the claim is held, so the link may for that time point to nothing. [`settle`] makes
/// it durable.
pub fn claim(store: &Store, name: &str, id: &str) -> Result<Claim> {
    if !id::valid_name(name) {
        return Err(Error::new(format!("Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")));
    }
    let claim = Claim(lock::exclusive(&store.names())?);
    let link = store.names().join(name);
    check_free(store, name)?;
    if link.is_symlink() {
        std::fs::remove_file(&link).doing(|| format!("take the name {name}"))?;
    }
    explain::step("the name is taken: a link to the container's id", format_args!("ln -s {id} {}", link.display()));
    calls::symlink(id, &link).doing(|| format!("take the name {name}"))?;
    Ok(claim)
}

/// Refuses a name that another container has.
pub fn check_free(store: &Store, name: &str) -> Result<()> {
    let Ok(holder) = std::fs::read_link(store.names().join(name)) else { return Ok(()) };
    let holder = holder.to_string_lossy();
    match super::load(store, &holder) {
        Ok(container) if container.name == name => {}
        Ok(_) => return Ok(()),
        Err(error) if error.is_not_found() || super::is_emptied(store, &holder) => {
            match super::living::of(store, &holder) {
                // It has lost its record, and runs.
                Some(living) => {
                    return Err(Error::conflict(format!(
                        "take the name {name}: the container that has it runs, as process {}, and its record is gone",
                        living.pid()
                    ))
                    .with_cure(format!("`ebb rm -f {name}` or `ebb system check --repair`")));
                }
                None => return Ok(()),
            }
        }
        // Whose name it is, is not known.
        Err(error) => return Err(super::unreadable(&holder, error)).doing(|| format!("take the name {name}")),
    }
    Err(Error::conflict(format!(
        "Conflict. The container name \"/{name}\" is already in use by container \"{holder}\". You have to remove (or \
         rename) that container to be able to reuse that name."
    )))
}

/// Whether the container `id` still has the name that it had.
pub fn is_held(store: &Store, name: &str, id: &str) -> bool {
    std::fs::read_link(store.names().join(name)).is_ok_and(|holder| holder.as_os_str() == id)
}

/// Forces the links to the disk. Best called right after something else has been: a journal then has them already.
pub fn settle(store: &Store, durability: Durability) -> Result<()> {
    match durability {
        Durability::Synced => atomic::sync_dir(&store.names()),
        Durability::Unsynced => Ok(()),
    }
}

/// Lets go of a name, where this container has it. A link that stays behind is no harm: it counts for nothing.
pub fn release(store: &Store, name: &str, id: &str) {
    let Ok(_lock) = lock::exclusive(&store.names()) else { return };
    let link = store.names().join(name);
    if is_held(store, name, id) {
        explain::step("the name is free again", format_args!("rm {}", link.display()));
        let _ = calls::unlink(&link);
    }
}

/// Lets go of a name that is still claimed: what it was for was not made.
pub fn release_claimed(store: &Store, name: &str, id: &str, claim: Claim) {
    drop(claim);
    release(store, name, id);
}
