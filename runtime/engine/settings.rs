//! `settings.json`: what the owner of a store has decided for it. It lies in the store, and in no environment, since
//! every command must go by the same.

use crate::error::{Error, Result};
use crate::store::{Store, atomic};
use serde::Deserialize;

/// What can be set; a key that is not there has its default.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "PascalCase", default, deny_unknown_fields)]
pub struct Settings {
    /// How many days a volume stays in the trash; 0 for no trash.
    pub trash_days: u32,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { trash_days: 7 }
    }
}

pub const FILE: &str = "settings.json";

/// The store's settings. A file that cannot be read is an error: a default in its place could throw away what was to be
/// kept.
pub fn read(store: &Store) -> Result<Settings> {
    match atomic::read_json(&store.root().join(FILE)) {
        Err(error) if error.is_not_found() => Ok(Settings::default()),
        Err(error) => Err(Error::new(error.message).with_cure("one that is right: {\"TrashDays\": 7}")),
        read => read,
    }
}
