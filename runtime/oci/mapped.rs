//! Id-mapped copies of what a bundle mounts: ids on the disk stay the container's own.

use super::{Given, ids, mounts as view, rootfs};
use crate::error::{Doing, Result};
use crate::explain::{self, calls};
use nix::errno::Errno;
use nix::unistd::Pid;
use oci_spec::runtime::Spec;
use std::os::fd::{AsFd, OwnedFd};

/// The id-mapped copies of host directories that the bundle asks for, in its order: first the root's layers.
///
/// Only a process with CAP_SYS_ADMIN over the file system may map its ids, so this is the parent's to do; the child
/// attaches them.
pub fn mounts(spec: &Spec, pid: Pid, given: &[Given]) -> Result<Vec<OwnedFd>> {
    let wanted: Vec<_> = spec.mounts().iter().flatten().filter(|mount| view::is_mapped(mount)).collect();
    let mut made = Vec::new();
    let own = ids::of(spec);
    // Most are mapped as the container itself is.
    let containers = if wanted.is_empty() || own.is_none() { None } else { Some(ids::open_user(pid)?) };
    for mount in wanted {
        let map = super::IdMap { uids: ids::triples(mount.uid_mappings()), gids: ids::triples(mount.gid_mappings()) };
        let another = if own.as_ref() == Some(&map) { None } else { Some(ids::namespace(&map)?) };
        let userns = another.as_ref().or(containers.as_ref());
        let mut options = super::options::read(mount);
        let sources = if rootfs::is_root(mount) {
            options.recursive = false;
            rootfs::sources(mount)?
        } else {
            mount.source().iter().cloned().collect()
        };
        let recursive = options.recursive;
        let given = given.iter().find(|given| given.destination == *mount.destination());
        for source in sources {
            let copy = match given {
                Some(given) => given.mount.try_clone().doing(|| "take over a mount")?,
                None => {
                    explain::step(
                        "a copy of the mount that this directory of the host lies on, attached nowhere yet",
                        format_args!("mount --bind {} …", source.display()),
                    );
                    view::copy_of(&source, &options)?
                }
            };
            let copy = ids::of_owner(copy, &options, &source)?;
            explain::step(
                "ids on the disk stay the container's own: the mount translates them, no file is changed",
                format_args!("mount --bind -o X-mount.idmap=/proc/{pid}/ns/user {} …", source.display()),
            );
            match calls::mount_setattr(&copy, recursive, 0, 0, 0, userns.map(AsFd::as_fd)) {
                // It cannot be translated (EINVAL), or is already (EPERM).
                Err(Errno::EINVAL | Errno::EPERM) if options.idmap_where_possible => {}
                mapped => mapped
                    .doing(|| format!("map the ids of the mount of {}", source.display()))
                    .map_err(|error| error.with_cure("its file system cannot do that; `--userns host` does without"))?,
            }
            made.push(copy);
        }
    }
    Ok(made)
}
