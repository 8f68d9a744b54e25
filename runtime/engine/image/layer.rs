//! A layer: a directory tree, as an overlay wants it for a lower directory.
//!
//! ```text
//! images/layers/sha256/DIFF_ID/
//!   fs/            the tree
//!   split.zst      its tar without the contents of its files (split.rs)
//!   replaced/      what its tar itself put something else in the place of, if it did
//!   layer.json     sizes
//! ```

use super::digest::Digesting;
use super::split;
use super::unpack::{self, Limits};
use crate::engine::idmap::{self, StoreIds};
use crate::engine::leftovers;
use crate::error::{Doing, Error, Kind, Result};
use crate::oci;
use crate::store::atomic::Durability;
use crate::store::{Store, TmpDir, atomic, tree as trees};
use serde::{Deserialize, Serialize};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// layer.json
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Facts {
    pub version: u32,
    /// Bytes of the files in it.
    pub size: u64,
    /// Bytes of its tar.
    pub tar_size: u64,
    /// Where ownership could not be kept, since the user had one id only.
    pub flattened: bool,
    /// So many paths of its tar came again as something else.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub replaced: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl atomic::Versioned for Facts {
    const VERSION: u32 = 1;

    fn version(&self) -> u32 {
        self.version
    }
}

/// A layer in `tmp/`, whole, whose digest is known.
pub struct Unpacked {
    pub diff_id: String,
    /// `None` where the store had it already.
    made: Option<Made>,
}

/// A layer's directory, removed when dropped, unless it was published: it, or one above it, is `held`.
struct Made {
    directory: PathBuf,
    held: Rc<TmpDir>,
}

impl Drop for Made {
    fn drop(&mut self) {
        if self.directory.exists() {
            let _ = remove_tree(&self.directory);
        }
    }
}

/// A layer's directory.
pub fn place(store: &Store, diff_id: &str) -> PathBuf {
    store.images().join("layers/sha256").join(diff_id.strip_prefix("sha256:").unwrap_or(diff_id))
}

/// The tree of a layer.
pub fn tree(store: &Store, diff_id: &str) -> PathBuf {
    place(store, diff_id).join("fs")
}

pub fn facts(store: &Store, diff_id: &str) -> Result<Facts> {
    atomic::read_record(&place(store, diff_id).join("layer.json"))
}

/// Bytes of its files; 0 where the layer is lost. One of a later Ebb's is an error.
pub fn size(store: &Store, diff_id: &str) -> Result<u64> {
    match facts(store, diff_id) {
        Err(error) if error.kind == Kind::Newer => Err(error),
        found => Ok(found.map_or(0, |facts| facts.size)),
    }
}

pub fn exists(store: &Store, diff_id: &str) -> bool {
    place(store, diff_id).join("layer.json").exists()
}

/// A layer that the store has already.
pub fn known(diff_id: &str) -> Unpacked {
    Unpacked { diff_id: diff_id.to_owned(), made: None }
}

/// Unpacks a plain tar into `tmp/`. With `expected`, a tar of another digest is refused.
///
/// The work is done in a child that has all of the store's ids, so that an ordinary user's layers keep their owners.
pub fn unpack(store: &Store, tar: impl Read, expected: Option<&str>) -> Result<Unpacked> {
    leftovers::clear(store);
    let held = Rc::new(store.make_tmp("layer")?);
    let made = Made { directory: held.path.clone(), held };
    let ids = idmap::store_ids()?;
    let flattened = matches!(ids, StoreIds::Single(_));
    let hex = oci::with_ids(ids.map(), || fill(&made.directory, tar, flattened))?;
    let unpacked = Unpacked { diff_id: format!("sha256:{hex}"), made: Some(made) };
    expected.map_or(Ok(()), |expected| unpacked.is(expected))?;
    Ok(unpacked)
}

/// Unpacks a plain tar into the empty `directory`, and says its digest in hexadecimal.
pub(super) fn fill(directory: &Path, tar: impl Read, flattened: bool) -> Result<String> {
    let root = directory.join("fs");
    std::fs::create_dir(&root).doing(|| "make the layer's tree")?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&root, mode).doing(|| "make the layer's tree")?;
    let recorder = split::Recorder::create(&directory.join("split.zst"), Digesting::new(tar))?;
    let (recorder, unpack::Made { size, replaced }) = unpack::unpack(recorder, &root, Limits { flattened })?;
    let digesting = recorder.finish()?;
    let tar_size = digesting.length;
    let facts = Facts { version: <Facts as atomic::Versioned>::VERSION, size, tar_size, flattened, replaced };
    // It reaches the disk with the tree, before the layer has its name.
    atomic::fill_json(&directory.join("layer.json"), &facts, Durability::Unsynced)?;
    Ok(digesting.finish())
}

impl Unpacked {
    /// A layer that has been filled in a directory which is `held`, or lies below one that is.
    pub(super) fn new(hex: &str, directory: PathBuf, held: Rc<TmpDir>) -> Unpacked {
        Unpacked { diff_id: format!("sha256:{hex}"), made: Some(Made { directory, held }) }
    }

    /// What keeps it in `tmp/`, unless the store had it already.
    pub fn held(&self) -> Option<&TmpDir> {
        self.made.as_ref().map(|made| &*made.held)
    }

    /// Bytes of the tar that it was made of; 0 of one that the store had already.
    pub fn tar_size(&self) -> Result<u64> {
        let read =
            |made: &Made| atomic::read_record(&made.directory.join("layer.json")).map(|facts: Facts| facts.tar_size);
        self.made.as_ref().map_or(Ok(0), read)
    }

    /// Refuses a layer of another digest.
    pub fn is(&self, expected: &str) -> Result<()> {
        if self.diff_id == expected {
            return Ok(());
        }
        Err(Error::new(format!("the layer's digest is {}, but it should be {expected}", self.diff_id))
            .with_cure("the archive is damaged, or not what it says it is"))
    }

    /// Puts the layer in its place. Where another command was faster, its copy serves, and this one goes.
    pub fn publish(self, store: &Store) -> Result<()> {
        let Some(made) = &self.made else { return Ok(()) };
        let place = place(store, &self.diff_id);
        let parent = place.parent().unwrap_or(Path::new("/"));
        std::fs::create_dir_all(parent).doing(|| format!("make {}", parent.display()))?;
        if !place.exists() {
            match atomic::publish_dir(&made.directory, &place, Durability::Synced) {
                Err(_) if place.exists() => {}
                result => return result,
            }
        }
        remove_tree(&made.directory)
    }
}

/// Removes a layer, which no image and no container may need any more.
pub fn remove(store: &Store, diff_id: &str) -> Result<()> {
    let place = place(store, diff_id);
    if !place.exists() {
        return Ok(());
    }
    let grave = trees::set_aside(store, &place, Durability::Synced)?;
    remove_tree(&grave)
}

/// A layer's files may carry any of the store's ids.
pub(super) fn remove_tree(path: &Path) -> Result<()> {
    let ids = idmap::store_ids()?;
    oci::with_ids(ids.map(), || trees::remove(path))
}

/// The diff_ids of all layers that the store has.
pub fn all(store: &Store) -> Result<Vec<String>> {
    let directory = store.images().join("layers/sha256");
    match std::fs::read_dir(&directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        entries => {
            let entries = entries.doing(|| format!("read {}", directory.display()))?.flatten();
            Ok(entries
                .filter_map(|entry| entry.file_name().into_string().ok())
                .map(|hex| format!("sha256:{hex}"))
                .collect())
        }
    }
}
