//! Whose files these are, inside a container and outside: the cures for a bind mount whose owner is somebody else than the
//! container's user. `:U` gives the files away, `:idmap` has the kernel translate the ids of one mount, and `--userns
//! keep-id` makes a user of the container the caller himself.

pub mod chown;
pub mod translate;
mod unfinished;

pub use unfinished::finish;

use crate::engine::container::record::Container;
use crate::engine::container::users::{self, User};
use crate::engine::idmap::{self, StoreIds};
use crate::error::{Error, Result};
use crate::oci::IdMap;
use crate::store::Store;
use std::path::Path;

/// Refuses what cannot be, before anything is made: `--userns keep-id` for who has nothing to keep, `:idmap` where the
/// kernel will not, `:U` on what belongs to the system.
pub fn check(store: &Store, container: &Container) -> Result<()> {
    let ids = idmap::store_ids()?;
    check_keep_id(store, container, &ids)?;
    if !container.mounts.iter().any(|mount| mount.chowned || mount.id_mapped) {
        return Ok(());
    }
    let (user, map) = who(store, container, &ids)?;
    for mount in container.mounts.iter().filter(|mount| mount.id_mapped) {
        translate::check(container, mount, &ids, map.as_ref(), &user)?;
    }
    for mount in container.mounts.iter().filter(|mount| mount.chowned) {
        chown::Owner::of(&user, &ids, map.as_ref())?;
        chown::check(store, mount)?;
    }
    Ok(())
}

/// `:U`: gives the files of each such mount to the container's user, and says so. `made` is the container's directory.
pub fn give(store: &Store, made: &Path, container: &Container) -> Result<()> {
    if !container.mounts.iter().any(|mount| mount.chowned) {
        return Ok(());
    }
    let ids = idmap::store_ids()?;
    let (user, map) = who(store, container, &ids)?;
    let owner = chown::Owner::of(&user, &ids, map.as_ref())?;
    let chowned = container.mounts.iter().filter(|mount| mount.chowned);
    chowned.into_iter().try_for_each(|mount| chown::give(store, made, mount, &ids, &owner))
}

/// The container's user, and an ordinary user's id map for it. (As root, ids on the disk are those inside.)
fn who(store: &Store, container: &Container, ids: &StoreIds) -> Result<(User, Option<IdMap>)> {
    let user = users::of_container(store, container)?;
    let keep = idmap::keep_id(&container.host_config.userns_mode)?;
    let map = match ids {
        StoreIds::Host => None,
        _ => Some(idmap::container_map(ids, &container.id, None, (user.uid, user.gid), keep.as_ref())?),
    };
    Ok((user, map))
}

fn check_keep_id(store: &Store, container: &Container, ids: &StoreIds) -> Result<()> {
    let host = &container.host_config;
    let Some(keep) = idmap::keep_id(&host.userns_mode)? else { return Ok(()) };
    if *ids == StoreIds::Host {
        return Err(Error::new("keep-id is only supported in rootless mode").with_cure(
            "it lets an ordinary user keep their own id in a container. As root every id has the same number on the disk \
             as in the container: `-u UID:GID` writes as that user of the host, `-v SOURCE:PATH:idmap` as the directory's \
             owner",
        ));
    }
    if host.pid_mode.starts_with("container:") {
        return Err(Error::new(format!(
            "conflicting options: --userns keep-id and --pid {}, whose user namespace would be shared",
            host.pid_mode
        )));
    }
    if matches!(ids, StoreIds::Single(_)) {
        let user = users::of_container(store, container)?;
        if (user.uid, user.gid) != (keep.uid, keep.gid) {
            return Err(Error::new(format!(
                "the container cannot run as {}:{} and keep your id as {}:{}: you have one id only",
                user.uid, user.gid, keep.uid, keep.gid
            ))
            .with_cure("without --userns keep-id the one that the container runs as is you"));
        }
    }
    Ok(())
}

/// `alice (1000)`, or the bare number of a user that has no name on the host.
pub fn host_user(uid: u32) -> String {
    idmap::user_name(uid).map_or_else(|| uid.to_string(), |name| format!("{name} ({uid})"))
}
