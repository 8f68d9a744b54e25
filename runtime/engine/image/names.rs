//! images/names.json: which name means which image. One small file, replaced whole, under the lock of images/.

use crate::error::Result;
use crate::store::{Store, atomic, lock};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// `nginx:latest` -> `sha256:…`.
pub type Index = BTreeMap<String, String>;

fn path(store: &Store) -> PathBuf {
    store.images().join("names.json")
}

pub fn read(store: &Store) -> Result<Index> {
    match atomic::read_json(&path(store)) {
        Err(error) if error.is_not_found() => Ok(Index::new()),
        result => result,
    }
}

/// Gives a name to an image; the image that had it before loses it.
pub fn set(store: &Store, name: &str, id: &str) -> Result<()> {
    change(store, |index| drop(index.insert(name.to_owned(), id.to_owned())))
}

/// Changes the names under the lock.
pub fn change(store: &Store, change: impl FnOnce(&mut Index)) -> Result<()> {
    let _lock = lock::exclusive(&store.images())?;
    let before = read(store)?;
    let mut index = before.clone();
    change(&mut index);
    if index == before { Ok(()) } else { atomic::write_json(&path(store), &index) }
}
