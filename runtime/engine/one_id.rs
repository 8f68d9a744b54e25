//! What a user without subordinate ids should know of containers: such a user has one id, and a container has no other.

use super::idmap::{self, StoreIds};
use crate::error::Result;
use crate::store::Store;
use std::fs::File;
use std::io::ErrorKind;

/// What one id means for whoever runs a container with it.
pub const MEANING: &str = "changes of user inside a container have no effect: setuid, setgid, setgroups and chown answer \
                           that they succeeded, the program keeps its capabilities, and your own groups stay with it";

/// How to come by more.
const CURE: &str = "an administrator can give you some: usermod --add-subuids FIRST-LAST --add-subgids FIRST-LAST NAME, \
                        with ids that nobody has; newuidmap comes with the package uidmap";

/// Why there is but one id, and what would help.
pub fn reason() -> (String, String) {
    match idmap::unusable() {
        Some(why) => (
            format!("your subordinate ids cannot be used here ({why})"),
            "where ebb is started otherwise, they are used".into(),
        ),
        None => ("you have no subordinate ids".into(), CURE.into()),
    }
}

/// Whether this user has one id only, and has not been told yet what that means. Asked once, it is told: `one-id-told` in
/// the store says so.
pub fn is_to_be_told(store: &Store) -> Result<bool> {
    if !matches!(idmap::store_ids()?, StoreIds::Single(_)) {
        return Ok(false);
    }
    let note = store.root().join("one-id-told");
    match File::options().write(true).create_new(true).open(&note) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        // A store that takes no note is told of again.
        _ => Ok(true),
    }
}
