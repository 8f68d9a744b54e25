//! What `inspect` says of a volume.

use super::{Volume, mountpoint};
use crate::store::Store;
use serde_json::{Value, json};

/// Docker's keys.
pub fn inspect(store: &Store, volume: &Volume) -> Value {
    json!({
        "CreatedAt": volume.created_at,
        "Driver": volume.driver,
        "Labels": volume.labels,
        "Mountpoint": mountpoint(store, &volume.name),
        "Name": volume.name,
        "Options": volume.options,
        "Scope": "local",
    })
}
