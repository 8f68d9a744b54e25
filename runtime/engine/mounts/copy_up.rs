//! Copy-up: an empty volume that is mounted where the image has files gets those files first, with owner, mode, times,
//! attributes and links, before anything runs. Once: a volume with content is left alone, and one whose copying was killed
//! half-way is finished by whoever comes next, without touching what is there.

use crate::engine::container::record::MountPoint;
use crate::engine::{idmap, volume};
use crate::error::{Doing, Error, Result};
use crate::oci::{self, View};
use crate::store::{self, Store, atomic, beneath, copy, lock};
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::{Mode, SFlag, fstat, fstatat};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Fills every volume of `mounts` that is new and empty from the image's `layers` (the bottom one first).
pub fn copy_up(store: &Store, mounts: &[MountPoint], layers: &[PathBuf]) -> Result<()> {
    for mount in mounts.iter().filter(|mount| mount.kind == "volume") {
        let wanted = !mount.no_copy && may_have(layers, Path::new(&mount.destination))?;
        if wanted || mark(store, &mount.name).exists() {
            let layers = if wanted { layers } else { &[] };
            fill(store, mount, layers).doing(|| format!("copy the image's {} into its volume", mount.destination))?;
        }
    }
    Ok(())
}

/// At a start: what a killed `create` left half-done in one of these volumes is done first.
pub fn finish_copy_up(store: &Store, mounts: &[MountPoint]) -> Result<()> {
    copy_up(store, mounts, &[])
}

/// Before all that is in a volume is copied: what a killed command left half-done in it is done. A command that still
/// fills it is waited for. What cannot be finished any more is said, and the mark stays for who can fill it again.
pub fn finish_copy_up_of(store: &Store, name: &str) -> Result<()> {
    if !mark(store, name).exists() {
        return Ok(());
    }
    let _lock = lock::exclusive(&store.volumes().join(name))?;
    finish(store, name).map(drop).doing(|| "copy the rest of an image's files into it")
}

/// Before all that is in a volume is replaced, by whoever holds its lock: were only the mark removed, and the old content
/// stayed after all, nobody would finish that any more.
pub fn finish_before_exchange(store: &Store, name: &str) -> Result<()> {
    match finish(store, name).doing(|| "copy the rest of an image's files into it")? {
        Interrupted::Finished => Ok(()),
        Interrupted::Lost => forget(store, name),
    }
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

/// The mark of a copy that has begun, beside the volume's data. Found by a later command, it says that the one before was
/// killed half-way, and what was to be copied.
fn mark(store: &Store, name: &str) -> PathBuf {
    store.volumes().join(name).join("copying")
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Copy {
    /// Below images/layers, the bottom one first.
    layers: Vec<PathBuf>,
    /// In the image.
    path: PathBuf,
    /// In the volume.
    subpath: PathBuf,
    /// Into a volume that the container may not write nothing is written for it; whose the directory is, it may know.
    only_directory: bool,
}

/// Does what is to be done in one volume: the rest of a copy that was interrupted, then this one where it is still empty.
fn fill(store: &Store, mount: &MountPoint, layers: &[PathBuf]) -> Result<()> {
    // One at a time; who comes second finds it done.
    let _lock = lock::exclusive(&store.volumes().join(&mount.name))?;
    let lost = match finish(store, &mount.name)? {
        Interrupted::Finished => false,
        Interrupted::Lost => true,
    };
    let subpath = PathBuf::from(&mount.subpath);
    if layers.is_empty() || !(lost || is_empty(&data(store, &mount.name)?, &subpath)?) {
        return if lost { forget(store, &mount.name) } else { Ok(()) };
    }
    let all = store.images().join("layers");
    let below = |layer: &PathBuf| layer.strip_prefix(&all).unwrap_or(layer).to_owned();
    let copy = Copy {
        layers: layers.iter().map(below).collect(),
        path: PathBuf::from(&mount.destination),
        subpath,
        only_directory: !mount.rw,
    };
    atomic::write_json(&mark(store, &mount.name), &copy)?;
    perform(store, &mount.name, &copy)
}

enum Interrupted {
    /// Nothing was left half-done, or is any more.
    Finished,
    /// Nobody knows any more what was to be copied: the image is gone.
    Lost,
}

/// Does the rest of a copy that a killed command has begun, whatever container it was for. What is there by now is left as
/// it is: another container may have changed it since.
fn finish(store: &Store, name: &str) -> Result<Interrupted> {
    let mark = mark(store, name);
    if !mark.exists() {
        return Ok(Interrupted::Finished);
    }
    let begun: Copy = atomic::read_json(&mark).unwrap_or_default();
    let all = store.images().join("layers");
    if begun.layers.is_empty() || !begun.layers.iter().all(|layer| all.join(layer).is_dir()) {
        eprintln!(
            "ebb: warning: volume {name} was being filled from an image when a command was killed, and that image is \
             gone: some of its files may be missing"
        );
        return Ok(Interrupted::Lost);
    }
    perform(store, name, &begun)?;
    Ok(Interrupted::Finished)
}

fn perform(store: &Store, name: &str, copy: &Copy) -> Result<()> {
    let data = data(store, name)?;
    let ids = idmap::store_ids()?;
    let layers: Vec<PathBuf> = copy.layers.iter().map(|layer| store.images().join("layers").join(layer)).collect();
    // A volume with a disk of its own is another file system than the store's. What we may not read is none: only root can
    // have one.
    let before = match beneath::open(&data, Path::new(""), OFlag::O_RDONLY | OFlag::O_DIRECTORY, Mode::empty()) {
        Ok(directory) => File::from(directory),
        Err(_) => store.opened()?,
    };
    oci::within(View::Layers { layers: &layers, ids: ids.map() }, |root| {
        let Some(source) = open_directory(root, &copy.path)? else { return Ok(()) };
        let Some(target) = open_target(&data, &copy.subpath)? else { return Ok(()) };
        if !copy.only_directory {
            copy::tree(&source, &target)?;
        }
        copy::attributes(&source, &target)
    })?;
    store::sync(&before, &volume::mountpoint(store, name))?;
    forget(store, name)
}

fn forget(store: &Store, name: &str) -> Result<()> {
    let mark = mark(store, name);
    std::fs::remove_file(&mark).doing(|| format!("remove {}", mark.display()))?;
    atomic::sync_dir(&store.volumes().join(name))
}

fn data(store: &Store, name: &str) -> Result<OwnedFd> {
    volume::open(store, &volume::get(store, name)?)
}

/// The directory to fill; `None` where a subpath names none, which the start will refuse.
fn open_target(data: &OwnedFd, subpath: &Path) -> Result<Option<OwnedFd>> {
    match beneath::open_below(data, subpath, OFlag::O_PATH | OFlag::O_DIRECTORY) {
        Ok(target) => Ok(Some(target)),
        Err(Errno::ENOENT | Errno::ENOTDIR | Errno::EXDEV | Errno::ELOOP) => Ok(None),
        Err(errno) => Err(errno).doing(|| format!("open {} in the volume", subpath.display())),
    }
}

fn is_empty(data: &OwnedFd, subpath: &Path) -> Result<bool> {
    let look = || {
        let Some(target) = open_target(data, subpath)? else { return Ok(false) };
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut directory = Dir::openat(target, ".", flags, Mode::empty()).doing(|| "read the volume")?;
        let named = |entry: nix::Result<nix::dir::Entry>| {
            entry.is_ok_and(|entry| entry.file_name() != c"." && entry.file_name() != c"..")
        };
        Ok(!directory.iter().any(named))
    };
    // One of the container's users may have closed it to ours, and then the map opens it, which costs two programs.
    match look() {
        Err(_) => {
            let ids = idmap::store_ids()?;
            oci::with_ids(ids.map(), look)
        }
        known => known,
    }
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
