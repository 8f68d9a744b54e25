//! Which ids a container gets: the whole difference between root and rootless.

use super::container::state::boot_id;
use crate::error::Result;
use crate::oci::{self, IdMap};
use crate::store::Store;
use crate::store::atomic::{self, Durability};
use serde::{Deserialize, Serialize};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The ids that the files of this store carry on the disk.
///
/// As root they are the container's own ids (0 is 0), and a container's user namespace is bridged by id-mapped mounts.
/// An ordinary user's store carries ids shifted by this map: 0 is the user, 1.. are the user's subordinate ids
/// (/etc/subuid, through newuidmap), or only the one id where the user has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreIds {
    /// Root: the ids on the disk are those inside.
    Host,
    /// The user's own id and subordinate ids.
    Subordinate(IdMap),
    /// The user's own id only: ownership in images cannot be kept.
    Single(IdMap),
}

impl StoreIds {
    /// What `oci::with_ids` takes to work on this store's files.
    pub fn map(&self) -> Option<&IdMap> {
        match self {
            StoreIds::Host => None,
            StoreIds::Subordinate(map) | StoreIds::Single(map) => Some(map),
        }
    }
}

/// Finds out what this user has: reads /etc/subuid and /etc/subgid, and looks for newuidmap and newgidmap.
pub fn store_ids() -> Result<StoreIds> {
    let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    if uid == 0 {
        return Ok(StoreIds::Host);
    }
    let (uids, gids) = (subordinate("/etc/subuid", uid), subordinate("/etc/subgid", uid));
    if uids.is_empty() || gids.is_empty() || !in_path("newuidmap") || !in_path("newgidmap") {
        return Ok(StoreIds::Single(IdMap { uids: vec![(0, uid, 1)], gids: vec![(0, gid, 1)] }));
    }
    Ok(StoreIds::Subordinate(IdMap { uids: above(uid, &uids), gids: above(gid, &gids) }))
}

/// The user's own id as 0, and the ranges one after the other from 1.
fn above(own: u32, ranges: &[(u32, u32)]) -> Vec<(u32, u32, u32)> {
    let mut map = vec![(0, own, 1)];
    let mut next = 1u32;
    for (first, count) in ranges {
        map.push((next, *first, *count));
        next = next.saturating_add(*count);
    }
    map
}

/// The ranges that `file` (subuid(5)) gives to a user, who stands there by name or by number.
fn subordinate(file: &str, uid: u32) -> Vec<(u32, u32)> {
    let name = login_name(uid).unwrap_or_default();
    let number = uid.to_string();
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let range = |line: &str| {
        let mut fields = line.split(':');
        let owner = fields.next()?;
        let range = (fields.next()?.trim().parse().ok()?, fields.next()?.trim().parse().ok()?);
        ((owner == name && !name.is_empty()) || owner == number).then_some(range)
    };
    text.lines().filter_map(range).filter(|(_, count)| *count > 0).collect()
}

/// The name of a user in /etc/passwd. (Never through getpwuid(3): that loads name service modules.)
fn login_name(uid: u32) -> Option<String> {
    let text = std::fs::read_to_string("/etc/passwd").ok()?;
    let number = uid.to_string();
    let line = text.lines().find(|line| line.split(':').nth(2) == Some(&number))?;
    line.split(':').next().map(str::to_owned)
}

fn in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

/// The first and the last host id from which containers of root take theirs: where systemd-nspawn takes its own, away
/// from people's ids and from those of /etc/subuid.
const FIRST: u64 = 524_288;
const LAST: u64 = 1_879_048_191;
const RANGE: u32 = 65_536;

/// The maps of one container's user namespace.
///
/// Root's containers get 65536 ids each, at a place that follows from the container's id, so that no two share a user
/// on the host. An ordinary user's container has the ids of the store; where that is only one, it is mapped to the user
/// that the container runs as.
pub fn container_map(ids: &StoreIds, container_id: &str, uid: u32, gid: u32) -> IdMap {
    match ids {
        StoreIds::Host => {
            let slots = (LAST - FIRST) / u64::from(RANGE);
            let number = u64::from_str_radix(container_id.get(..12).unwrap_or("0"), 16).unwrap_or(0);
            let first = (FIRST + number % slots * u64::from(RANGE)) as u32;
            IdMap { uids: vec![(0, first, RANGE)], gids: vec![(0, first, RANGE)] }
        }
        StoreIds::Subordinate(map) => map.clone(),
        StoreIds::Single(map) => {
            let one = |inside: u32, map: &[(u32, u32, u32)]| map.iter().map(|(_, own, _)| (inside, *own, 1)).collect();
            IdMap { uids: one(uid, &map.uids), gids: one(gid, &map.gids) }
        }
    }
}

/// Whether the file system at `path` takes MOUNT_ATTR_IDMAP. Tried on a throw-away copy of the mount, since no list of
/// file systems stays true; and remembered in the store for as long as the machine runs, since that costs a millisecond.
pub fn can_idmap(store: &Store, path: &Path) -> bool {
    let note = store.root().join("idmap.json");
    let Ok(device) = std::fs::metadata(path).map(|meta| meta.dev()) else { return false };
    let boot = boot_id();
    let mut known: Mappable = atomic::read_json(&note).unwrap_or_default();
    if known.boot != boot {
        known = Mappable { boot, devices: Vec::new() };
    }
    if known.devices.contains(&device) {
        return true;
    }
    // Where there can be no user namespace at all (in a chroot, or with none left to make), there is none to map for.
    let can = oci::can_map_ids(path).unwrap_or(false);
    if can {
        known.devices.push(device);
        // Two at once may each forget the other's: it is then tried once more.
        let _ = atomic::put_json(&note, &known, Durability::Unsynced);
    }
    can
}

/// The devices whose file systems have shown that they can map ids, since the machine was started.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Mappable {
    boot: String,
    devices: Vec<u64>,
}
