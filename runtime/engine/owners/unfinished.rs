//! `:U` that was killed half-way. What is being done stands in the directory of the container that is being made; where
//! its maker is gone, whoever comes next finishes it, so that no tree stays half somebody else's.

use super::chown::{self, Owner};
use crate::engine::container::record::MountPoint;
use crate::engine::idmap;
use crate::error::{Doing, Result};
use crate::store::atomic::{self, Durability};
use crate::store::{Store, lock};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The file's name, in the container's directory.
const FILE: &str = "giving.json";

/// What is being given to whom.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Giving {
    pub mount: MountPoint,
    pub owner: Owner,
    /// The owner of the source itself, before.
    pub before: (u32, u32),
    pub to_change: u64,
    /// Device and inode of the source: another directory under its name was not what the user meant.
    pub source: (u64, u64),
}

pub fn begin(made: &Path, giving: &Giving) -> Result<()> {
    atomic::put_json(&made.join(FILE), giving, Durability::Synced)
}

pub fn end(made: &Path) -> Result<()> {
    let path = made.join(FILE);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => removed.doing(|| format!("remove {}", path.display())),
    }
}

/// Finishes whatever killed commands began. That it cannot be done is said, and is no reason to refuse what the user wants
/// now.
pub fn finish(store: &Store) {
    for entry in std::fs::read_dir(store.tmp()).into_iter().flatten().flatten() {
        let (made, path) = (entry.path(), entry.path().join(FILE));
        if !path.exists() {
            continue;
        }
        // Its maker, or somebody who finishes it, holds the lock.
        let Ok(_lock) = lock::try_exclusive(&made) else { continue };
        let Ok(giving) = atomic::read_json::<Giving>(&path) else { continue };
        eprintln!("ebb: a command was killed while it gave {} to a container's user", giving.mount.source);
        let finished = idmap::store_ids().and_then(|ids| chown::finish(store, &giving, &ids));
        if let Err(error) = finished {
            eprintln!("ebb: warning: the rest cannot be given: {error}");
        }
        // Once: what cannot be finished now is said, and not tried for ever.
        let _ = end(&made);
    }
}
