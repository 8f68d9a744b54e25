//! Copy-up: an empty volume that is mounted where the image has files gets those files first, with owner, mode, times,
//! attributes and links, before anything runs. Once: a volume with content is left alone.

use crate::engine::container::record::MountPoint;
use crate::engine::{idmap, volume};
use crate::error::{Doing, Error, Result};
use crate::oci::{self, View};
use crate::store::{Store, atomic, beneath, copy, lock};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::{Mode, SFlag, fstat, fstatat};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Fills every volume of `mounts` that is new and empty from the image's `layers` (the bottom one first).
pub fn copy_up(store: &Store, mounts: &[MountPoint], layers: &[PathBuf]) -> Result<()> {
    for mount in mounts.iter().filter(|mount| mount.kind == "volume" && !mount.no_copy) {
        if may_have(layers, Path::new(&mount.destination))? {
            fill(store, mount, layers).doing(|| format!("copy the image's {} into its volume", mount.destination))?;
        }
    }
    Ok(())
}

/// Whether the image can have anything at `path`: most often no layer does, and no view of them need be made. A
/// symlink on the way may lead through another layer, so that one always needs the view.
fn may_have(layers: &[PathBuf], path: &Path) -> Result<bool> {
    let relative = path.strip_prefix("/").unwrap_or(path);
    for layer in layers {
        let root = beneath::root(layer)?;
        let mut reached = PathBuf::new();
        let mut whole = true;
        for part in relative.components() {
            reached.push(part);
            match fstatat(&root, &reached, AtFlags::AT_SYMLINK_NOFOLLOW) {
                Ok(stat) if SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFLNK => {
                    return Ok(true);
                }
                Ok(_) => {}
                Err(_) => {
                    whole = false;
                    break;
                }
            }
        }
        if whole {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The mark of a copy that has begun. Found by the next start, it says that the one before was killed half-way: what is
/// there is then no reason to leave it at that.
const MARK: &str = "copying";

fn fill(store: &Store, mount: &MountPoint, layers: &[PathBuf]) -> Result<()> {
    let place = store.volumes().join(&mount.name);
    let data = volume::mountpoint(store, &mount.name);
    // One at a time; who comes second finds it done.
    let _lock = lock::exclusive(&place)?;
    let mark = place.join(MARK);
    let interrupted = mark.exists();
    let ids = idmap::store_ids()?;
    let empty = oci::with_ids(ids.map(), || is_empty(&data))?;
    if !empty && !interrupted {
        return Ok(());
    }
    atomic::write(&mark, b"")?;
    oci::within(View::Layers { layers, ids: ids.map() }, |root| {
        let Some(source) = open_directory(root, Path::new(&mount.destination))? else { return Ok(()) };
        let target = beneath::root(&data)?;
        // Into a volume that the container may not write nothing is written for it; whose the directory is, it may know.
        if mount.rw {
            copy::tree(&source, &target)?;
        }
        copy::attributes(&source, &target)
    })?;
    store.sync()?;
    std::fs::remove_file(&mark).doing(|| format!("remove {}", mark.display()))?;
    atomic::sync_dir(&place)
}

fn is_empty(directory: &Path) -> Result<bool> {
    let mut entries = std::fs::read_dir(directory).doing(|| format!("read {}", directory.display()))?;
    Ok(entries.next().is_none())
}

/// The image's directory at `path`; `None` where there is nothing, or a file, which a volume simply covers.
fn open_directory(root: impl AsFd, path: &Path) -> Result<Option<OwnedFd>> {
    match beneath::open(root, path, OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_DIRECTORY, Mode::empty()) {
        Ok(found) => {
            let stat = fstat(&found).doing(|| "look at the image's directory")?;
            let kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
            if kind == SFlag::S_IFDIR { Ok(Some(found)) } else { Err(Error::new("the image has no directory there")) }
        }
        Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => Ok(None),
        Err(errno) => Err(errno).doing(|| format!("open the image's {}", path.display())),
    }
}
