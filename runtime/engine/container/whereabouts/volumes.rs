//! A volume, or a path in one, without a container to look from.

use super::resolve::{Resolved, resolve};
use super::storage::{self, Storage};
use super::{Fate, Holder, Trash, fate, trash};
use crate::engine::volume::{self, Volume};
use crate::engine::{container::record::Container, idmap};
use crate::error::{Doing, Error, Result};
use crate::oci;
use crate::store::Store;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use std::path::{Path, PathBuf};

/// Where a volume, or what is in it, is, and what becomes of it.
#[derive(Debug)]
pub struct VolumePlace {
    /// In the volume; `/` for itself.
    pub path: PathBuf,
    /// `None` for what is in memory.
    pub on_host: Option<PathBuf>,
    pub storage: Storage,
    pub users: Vec<Container>,
    pub fate: Fate,
    pub trash: Trash,
}

/// What a volume, or `path` in it, outlives.
pub fn of_volume(store: &Store, volume: &Volume, path: Option<&Path>) -> Result<VolumePlace> {
    let path = match path {
        Some(path) => inside(store, volume, path)?,
        None => PathBuf::from("/"),
    };
    let below = path.strip_prefix("/").unwrap_or(&path);
    let (storage, on_host) = storage::of_volume(store, &volume.name, &volume.options, below)?;
    let users = volume::users(store, &volume.name)?;
    // Only one that a single container has made for itself goes with that.
    let holder = |anonymous| Holder::Volume { name: volume.name.clone(), anonymous };
    let (fate, auto_remove) = match users.as_slice() {
        [only] => {
            let anonymous = only.mounts.iter().any(|mount| mount.name == volume.name && mount.anonymous);
            (fate(store, only, &holder(anonymous)), only.host_config.auto_remove)
        }
        _ => (Fate { stop: true, restart: true, rm: true, rm_volumes: true, volume_rm: false }, false),
    };
    let fate = storage::fate(store, &volume.name, None, &storage, &volume.options, fate)?;
    let trash = match fate.volume_rm || storage == Storage::Memory {
        true => Trash::default(),
        false => trash(store, auto_remove, &holder(false), fate),
    };
    Ok(VolumePlace { path, on_host, storage, users, fate, trash })
}

/// Resolves `path` in the volume. A link that leads out of it means something else in every container.
fn inside(store: &Store, volume: &Volume, path: &Path) -> Result<PathBuf> {
    let missing = || Error::not_found(format!("Could not find the file {} in volume {}", path.display(), volume.name));
    let relative = path.strip_prefix("/").unwrap_or(path);
    let relative = if relative.as_os_str().is_empty() { Path::new(".") } else { relative };
    let ids = idmap::store_ids()?;
    let root = volume::open(store, volume)?;
    // Directories that only one of a container's ids may read need the map, where we are not root.
    let resolved = oci::with_ids(ids.map(), || {
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        match openat2(&root, relative, how) {
            Err(Errno::ENOENT | Errno::ENOTDIR) => return Err(missing()),
            Err(Errno::EXDEV) => {
                let text = format!("{} leads out of volume {}", path.display(), volume.name);
                return Err(
                    Error::new(text).with_cure("ask for CONTAINER:PATH: where it leads is for each container to say")
                );
            }
            opened => opened.doing(|| format!("look for {} in volume {}", path.display(), volume.name))?,
        };
        let follow = path.as_os_str().as_encoded_bytes().ends_with(b"/");
        resolve(&root, &Path::new("/").join(relative), follow)
    })?;
    match resolved {
        Resolved::Found(path) => Ok(path),
        Resolved::Missing(_) | Resolved::Nowhere => Err(missing()),
    }
}
