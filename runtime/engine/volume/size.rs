//! How much a volume holds.

use super::{Volume, driver};
use crate::engine::idmap;
use crate::error::{Doing, Result};
use crate::oci;
use crate::store::Store;
use crate::store::descent::Descent;
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, SFlag, fstatat};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::ffi::CString;
use std::os::fd::OwnedFd;

/// What is in a volume.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// Bytes of its files, a file with several names once.
    pub bytes: u64,
    /// Everything that is no directory, each name of it.
    pub files: u64,
}

/// Counts what is in a volume. What goes meanwhile is not counted.
pub fn contents(store: &Store, volume: &Volume) -> Result<Contents> {
    let data = driver::open(store, volume)?;
    let ids = idmap::store_ids()?;
    // Directories that only one of a container's ids may read need the map, where we are not root.
    oci::with_ids(ids.map(), || measure(data))
}

const DIRECTORY: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

pub(super) fn measure(top: OwnedFd) -> Result<Contents> {
    let mut found = Contents::default();
    let mut seen = HashSet::new();
    let top = openat(&top, ".", DIRECTORY, Mode::empty()).doing(|| "read the volume")?;
    let mut waiting = vec![count(&top, &mut found, &mut seen)?];
    let mut descent = Descent::new(top);
    while let Some(directories) = waiting.last_mut() {
        let Some(name) = directories.pop() else {
            waiting.pop();
            descent.up().doing(|| "read the volume")?;
            continue;
        };
        match openat(descent.here(), name.as_c_str(), DIRECTORY, Mode::empty()) {
            Ok(directory) => {
                waiting.push(count(&directory, &mut found, &mut seen)?);
                descent.down(directory)?;
            }
            // It has gone since, or is not ours to read.
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP | Errno::EACCES) => {}
            Err(errno) => return Err(errno).doing(|| "read the volume"),
        }
    }
    Ok(found)
}

/// Counts what is in a directory, and returns the directories in it.
fn count(directory: &OwnedFd, found: &mut Contents, seen: &mut HashSet<(u64, u64)>) -> Result<Vec<CString>> {
    let mut directories = Vec::new();
    let mut listed = Dir::openat(directory, ".", DIRECTORY, Mode::empty()).doing(|| "read the volume")?;
    for entry in listed.iter().flatten() {
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let Ok(stat) = fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW) else { continue };
        if SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR {
            directories.push(name.to_owned());
            continue;
        }
        found.files += 1;
        if stat.st_nlink < 2 || seen.insert((stat.st_dev, stat.st_ino)) {
            found.bytes += u64::try_from(stat.st_size).unwrap_or(0);
        }
    }
    Ok(directories)
}
