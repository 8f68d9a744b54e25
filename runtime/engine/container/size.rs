//! How much a container has written.

use super::record::Container;
use crate::engine::idmap;
use crate::error::{Doing, Result};
use crate::oci;
use crate::store::{Store, beneath, measure};

/// Bytes of the files in the container's own layer; a file with several names counts once.
pub fn written(store: &Store, container: &Container) -> Result<u64> {
    let upper = super::dir(store, &container.id).join("upper");
    let top = match beneath::root(&upper) {
        Err(error) if error.is_not_found() => return Ok(0),
        opened => opened?,
    };
    // Directories that only one of the container's ids may read need the map, where we are not root.
    let measured = oci::with_ids(idmap::store_ids()?.map(), || measure::tree(&top));
    measured.map(|contents| contents.bytes).doing(|| format!("measure the container {}", container.name))
}
