//! images/names.json: which name means which image. One small file, replaced whole, under the lock of images/.

use super::reference;
use crate::error::{Doing, Result};
use crate::store::atomic::{self, Versioned};
use crate::store::{Store, id, lock};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// `nginx:latest` -> `sha256:…`.
pub type Index = BTreeMap<String, String>;

const VERSION: u32 = 1;

/// images/names.json
#[derive(Deserialize)]
#[serde(untagged)]
enum File {
    Versioned(Names),
    /// As it was before it had a version: only the names.
    Bare(Index),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Names {
    version: u32,
    names: Index,
}

impl Versioned for File {
    const VERSION: u32 = VERSION;

    fn version(&self) -> u32 {
        match self {
            File::Versioned(names) => names.version,
            File::Bare(_) => 0,
        }
    }
}

fn path(store: &Store) -> PathBuf {
    store.images().join("names.json")
}

pub fn read(store: &Store) -> Result<Index> {
    match atomic::read_record(&path(store)) {
        Err(error) if error.is_not_found() => Ok(Index::new()),
        Ok(File::Versioned(file)) => Ok(file.names),
        Ok(File::Bare(names)) => Ok(names),
        Err(error) => Err(error),
    }
}

/// Gives a name to an image; the image that had it before loses it.
pub fn set(store: &Store, name: &str, id: &str) -> Result<()> {
    change(store, |index| drop(index.insert(name.to_owned(), id.to_owned())))
}

/// [`set`] of several names, in one change.
pub fn set_all(store: &Store, names: &[String], id: &str) -> Result<()> {
    change(store, |index| index.extend(names.iter().map(|name| (name.clone(), id.to_owned()))))
}

/// Names that are spelled like ids, as an earlier Ebb let archives give them: nothing is found by them.
pub fn like_ids(index: &Index) -> Vec<String> {
    index.keys().filter(|name| reference::given(name).is_err()).cloned().collect()
}

/// Moves a file that cannot be read out of the way; it stays beside the next one.
pub fn set_aside(store: &Store) -> Result<String> {
    let _lock = lock::exclusive(&store.images())?;
    let aside = store.images().join(format!("names.json.damaged.{}", &id::random()?[..8]));
    std::fs::rename(path(store), &aside).doing(|| format!("move {} aside", path(store).display()))?;
    Ok(format!("moved to {}", aside.display()))
}

/// Changes the names under the lock.
pub fn change(store: &Store, change: impl FnOnce(&mut Index)) -> Result<()> {
    let _lock = lock::exclusive(&store.images())?;
    let before = read(store)?;
    let mut index = before.clone();
    change(&mut index);
    if index == before {
        return Ok(());
    }
    atomic::write_json(&path(store), &Names { version: VERSION, names: index })
}
