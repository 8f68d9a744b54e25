//! How much is in a directory tree: by descriptors, few of them however deep it is. No symlink is followed, whatever a
//! container that runs puts in the place of a directory meanwhile.

use super::descent::Descent;
use super::node::kind_of;
use crate::error::{Doing, Result};
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, SFlag, fstatat};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

/// What is in a tree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// Bytes of its files, a file with several names once.
    pub bytes: u64,
    /// Everything that is no directory, each name of it.
    pub files: u64,
}

const DIRECTORY: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// Counts what is below `top`. What goes meanwhile is not counted, and what cannot be read is not either.
pub fn tree(top: impl AsFd) -> Result<Contents> {
    let mut found = Contents::default();
    let mut seen = HashSet::new();
    let top = openat(top, ".", DIRECTORY, Mode::empty()).doing(|| "read a directory")?;
    let mut waiting = vec![count(&top, &mut found, &mut seen)?];
    let mut descent = Descent::new(top);
    while let Some(directories) = waiting.last_mut() {
        let Some(name) = directories.pop() else {
            waiting.pop();
            // A container that moves a directory away while we are in it hides what is left, and has only itself to count for.
            if descent.up().is_err() {
                return Ok(found);
            }
            continue;
        };
        match openat(descent.here(), name.as_c_str(), DIRECTORY, Mode::empty()) {
            Ok(directory) => {
                waiting.push(count(&directory, &mut found, &mut seen)?);
                descent.down(directory)?;
            }
            // It has gone since, or is not ours to read.
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP | Errno::EACCES) => {}
            Err(errno) => return Err(errno).doing(|| "read a directory"),
        }
    }
    Ok(found)
}

/// Counts what is in a directory, and returns the directories in it.
fn count(directory: &OwnedFd, found: &mut Contents, seen: &mut HashSet<(u64, u64)>) -> Result<Vec<CString>> {
    let mut directories = Vec::new();
    let mut listed = Dir::openat(directory, ".", DIRECTORY, Mode::empty()).doing(|| "read a directory")?;
    for entry in listed.iter().flatten() {
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let Ok(stat) = fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW) else { continue };
        if kind_of(&stat) == SFlag::S_IFDIR {
            directories.push(name.to_owned());
            continue;
        }
        found.files += 1;
        if stat.st_nlink < 2 || seen.insert((stat.st_dev, stat.st_ino)) {
            found.bytes = found.bytes.saturating_add(u64::try_from(stat.st_size).unwrap_or(0));
        }
    }
    Ok(directories)
}
