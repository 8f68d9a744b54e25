//! Where the bytes of a mount lie: a volume's options may have another place for them than `_data`.

use super::Fate;
use crate::engine::container::record::{Container, MountPoint};
use crate::engine::container::state;
use crate::engine::volume::{self, Place};
use crate::error::Result;
use crate::store::Store;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// In what the bytes lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Storage {
    /// A file of the host's is the file.
    File,
    /// The volume's own disk, which is one file of the host's, and mounted while somebody uses it.
    Disk,
    /// A file system of this type, which is mounted while somebody uses it.
    FileSystem(String),
    Memory,
}

/// Of what is at `below` in a mount; and the path on the host, where there is one: the file's own, or the disk's.
pub fn of_mount(store: &Store, mount: &MountPoint, below: &Path) -> Result<(Storage, Option<PathBuf>)> {
    match mount.kind.as_str() {
        "tmpfs" => Ok((Storage::Memory, None)),
        "volume" => of_volume(store, &mount.name, &mount.driver_options, &Path::new(&mount.subpath).join(below)),
        _ => Ok((Storage::File, Some(joined(Path::new(&mount.source), below)))),
    }
}

/// The same of a volume.
pub fn of_volume(
    store: &Store,
    name: &str,
    options: &BTreeMap<String, String>,
    below: &Path,
) -> Result<(Storage, Option<PathBuf>)> {
    Ok(match volume::place(options)? {
        Place::Plain => (Storage::File, Some(joined(&volume::mountpoint(store, name), below))),
        Place::Directory { device, .. } => (Storage::File, Some(joined(&device, below))),
        Place::Disk { .. } => (Storage::Disk, Some(volume::disk(store, name))),
        Place::FileSystem { kind, .. } if in_memory(&kind) => (Storage::Memory, None),
        Place::FileSystem { kind, device, .. } => (Storage::FileSystem(kind), Some(PathBuf::from(device))),
    })
}

/// To join nothing would leave a slash at the end.
fn joined(path: &Path, below: &Path) -> PathBuf {
    path.join(below).components().collect()
}

fn in_memory(kind: &str) -> bool {
    matches!(kind, "tmpfs" | "ramfs")
}

/// Whether a mount shows a file system in memory: the kind that the kernel has for it.
pub fn is_in_memory(mount: &MountPoint) -> bool {
    mount.kind == "tmpfs" || mount.driver_options.get("type").is_some_and(|kind| in_memory(kind))
}

/// What is in a volume outlives what a volume does, but for two: memory ends with the last that uses it, and what the
/// options only show is not removed by Ebb.
pub fn fate(
    store: &Store,
    name: &str,
    container: Option<&Container>,
    storage: &Storage,
    options: &BTreeMap<String, String>,
    fate: Fate,
) -> Result<Fate> {
    Ok(match storage {
        Storage::Disk => fate,
        Storage::File if options.is_empty() => fate,
        Storage::File | Storage::FileSystem(_) => {
            Fate { stop: true, restart: true, rm: true, rm_volumes: true, volume_rm: true }
        }
        Storage::Memory => {
            let others = volume::users(store, name)?.into_iter().filter(|user| match container {
                Some(container) => user.id != container.id,
                None => true,
            });
            let running = others.filter(|user| state::current(store, user).is_ok_and(|state| state.is_running()));
            // Without a container it is any one of those that hold it whose end is asked for.
            let held = running.count() > usize::from(container.is_none());
            Fate { stop: held, restart: held, rm: held, rm_volumes: held, volume_rm: false }
        }
    })
}
