//! What `inspect` says of a volume.

use super::{Volume, contents, mountpoint, users};
use crate::engine::container::state;
use crate::error::Result;
use crate::store::Store;
use serde_json::{Value, json};

/// Docker's keys. With `sizes` also what is in it, and who uses it: `UsageData` (Docker's key, which its own `inspect` leaves
/// out) and `UsedBy`.
pub fn inspect(store: &Store, volume: &Volume, sizes: bool) -> Result<Value> {
    let mut shown = json!({
        "CreatedAt": volume.created_at,
        "Driver": volume.driver,
        "Labels": volume.labels,
        "Mountpoint": mountpoint(store, &volume.name),
        "Name": volume.name,
        "Options": volume.options,
        "Scope": "local",
    });
    if sizes {
        let users = users(store, &volume.name)?;
        let contents = contents(store, volume)?;
        shown["UsageData"] = json!({"Size": contents.bytes, "Files": contents.files, "RefCount": users.len()});
        let user = |user: &crate::engine::container::record::Container| {
            let status = state::current(store, user).map_or("unknown", |state| state.status.word());
            let places = user.mounts.iter().filter(|mount| mount.kind == "volume" && mount.name == volume.name);
            let places: Vec<Value> =
                places.map(|mount| json!({"Destination": mount.destination, "RW": mount.rw})).collect();
            json!({"Id": user.id, "Name": user.name, "Status": status, "Mounts": places})
        };
        shown["UsedBy"] = users.iter().map(user).collect();
    }
    Ok(shown)
}
