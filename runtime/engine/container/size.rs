//! How much a container has written.

use super::record::Container;
use crate::engine::idmap;
use crate::error::{Doing, Result};
use crate::oci;
use crate::store::Store;
use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Bytes of the files in the container's own layer; a file with several names counts once.
pub fn written(store: &Store, container: &Container) -> Result<u64> {
    let upper = super::dir(store, &container.id).join("upper");
    if !upper.exists() {
        return Ok(0);
    }
    // Directories that only one of the container's ids may read need the map, where we are not root.
    match idmap::store_ids()?.map() {
        None => tree_size(&upper),
        map => oci::with_ids(map, || tree_size(&upper)),
    }
}

fn tree_size(top: &Path) -> Result<u64> {
    let mut seen = HashSet::new();
    let mut size = 0;
    let mut directories = vec![top.to_owned()];
    while let Some(dir) = directories.pop() {
        // The container may be at work meanwhile: what is gone by now has no size.
        let entries = match std::fs::read_dir(&dir) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            entries => entries.doing(|| format!("read {}", dir.display()))?,
        };
        for entry in entries.flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            if meta.is_dir() {
                directories.push(entry.path());
            } else if meta.nlink() < 2 || seen.insert((meta.dev(), meta.ino())) {
                size += meta.len();
            }
        }
    }
    Ok(size)
}
