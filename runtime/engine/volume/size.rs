//! How much a volume holds.

use super::{Volume, driver};
use crate::engine::idmap;
use crate::error::{Doing, Result};
use crate::oci;
use crate::store::{Store, measure};
pub use measure::Contents;

/// Counts what is in a volume. What goes meanwhile is not counted.
pub fn contents(store: &Store, volume: &Volume) -> Result<Contents> {
    let data = driver::open(store, volume)?;
    let ids = idmap::store_ids()?;
    // Directories that only one of a container's ids may read need the map, where we are not root.
    oci::with_ids(ids.map(), || measure::tree(&data).doing(|| format!("read the volume {}", volume.name)))
}
