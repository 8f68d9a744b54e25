//! `:idmap`: one mount whose ids the kernel translates, so that the directory's owner on the host and the container's user
//! are one and the same there. No file changes.

use super::host_user;
use crate::engine::container::record::{Container, MountPoint};
use crate::engine::container::users::User;
use crate::engine::idmap::{self, StoreIds};
use crate::error::{Doing, Error, Result};
use crate::oci::{self, IdMap};
use std::os::unix::fs::MetadataExt;

/// The map of the mount: the directory's owner on the disk is the container's user, and the other way round; all others
/// are who they are in `base`, the map of the container's other mounts (`None`: the host's ids). And that owner, who must
/// be the same when the mount is made. `None` where those two are one already.
///
/// Where the directory is not root's, root of the host has no place in the map. Otherwise a container's root could give a
/// file to the host's root there, and set its setuid bit: whoever runs that file on the host is root.
pub fn map(mount: &MountPoint, base: Option<&IdMap>, uid: u32, gid: u32) -> Result<Option<(IdMap, (u32, u32))>> {
    let (owner, group) = owner_of(mount)?;
    if (owner, group) == (uid, gid) && (owner, group) == (0, 0) {
        return Ok(None);
    }
    let everybody = IdMap { uids: vec![(0, 0, u32::MAX)], gids: vec![(0, 0, u32::MAX)] };
    let base = base.unwrap_or(&everybody);
    let exchanged = |map: &[(u32, u32, u32)], owner: u32, user: u32| {
        let map = idmap::exchange(map, owner, user);
        if owner == 0 { map } else { idmap::leave_out(&map, 0) }
    };
    let map = IdMap { uids: exchanged(&base.uids, owner, uid), gids: exchanged(&base.gids, group, gid) };
    Ok(Some((map, (owner, group))))
}

/// Asks the kernel, and says what else would do where it will not.
pub fn check(
    container: &Container,
    mount: &MountPoint,
    ids: &StoreIds,
    own: Option<&IdMap>,
    user: &User,
) -> Result<()> {
    let doing = || format!("map the ids of the mount of {}", mount.source);
    if !container.host_config.runtime.is_empty() {
        return Err(Error::new(format!("{}: with --runtime that is for the other runtime to do", doing()))
            .with_cure("leave --runtime out"));
    }
    let (owner, _) = owner_of(mount)?;
    if *ids == StoreIds::Host {
        return oci::map_ids_for_a_try(mount.path(), !mount.non_recursive).map_err(|error| {
            error.with_cure(
                "its file system, or one that is mounted below it, cannot translate ids, or has them translated already; \
                 `:U` changes the owner on the disk",
            )
        });
    }
    if own.and_then(|map| map.host_uid(user.uid)) == Some(owner) {
        // What the container's user writes is the directory's owner's as it is.
        return Ok(());
    }
    let caller = nix::unistd::geteuid().as_raw();
    let error = Error::new(format!(
        "{}: operation not permitted: the kernel lets only those translate the ids of a file system who hold \
         CAP_SYS_ADMIN in the user namespace that it was mounted in, and an ordinary user does not",
        doing()
    ));
    Err(match ids {
        _ if owner != caller => {
            error.with_cure(format!("the directory belongs to {}: only root can do this", host_user(owner)))
        }
        StoreIds::Single(_) => error,
        _ => error.with_cure(format!(
            "`--userns keep-id:uid={0},gid={1}` makes {0}:{1} of the container yourself; or `:U` gives the files away",
            user.uid, user.gid
        )),
    })
}

fn owner_of(mount: &MountPoint) -> Result<(u32, u32)> {
    let meta = std::fs::metadata(mount.path()).doing(|| format!("look at {}", mount.source))?;
    Ok((meta.uid(), meta.gid()))
}
