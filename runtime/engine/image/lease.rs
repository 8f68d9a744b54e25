//! Who relies on an image's layers and who removes them come one after the other: a lock of `images/layers`. A command that
//! found a layer or an image, and will publish a record that names it, holds it shared until that record is in its place;
//! whoever removes images holds it alone while deciding what nobody needs and removing that. It is taken before any other
//! lock of the store's.

use crate::error::{Doing, Result};
use crate::store::Store;
use crate::store::lock::{self, Lock};
use std::path::Path;

/// For what will name an image or a layer that is there.
pub fn shared(store: &Store) -> Result<Lock> {
    taken(store, lock::shared)
}

/// For what removes images or layers.
pub fn alone(store: &Store) -> Result<Lock> {
    taken(store, lock::exclusive)
}

fn taken(store: &Store, take: fn(&Path) -> Result<Lock>) -> Result<Lock> {
    let layers = store.images().join("layers");
    match take(&layers) {
        // The first layer of a store makes its directory; who comes before it needs something to lock.
        Err(error) if error.is_not_found() => {
            std::fs::create_dir_all(&layers).doing(|| format!("make {}", layers.display()))?;
            take(&layers)
        }
        taken => taken,
    }
}
