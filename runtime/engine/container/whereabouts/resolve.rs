//! Where a path leads inside a root: its symlinks followed as the container follows them.

use crate::error::{Doing, Error, Result};
use crate::store::beneath;
use nix::errno::Errno;
use nix::fcntl::{OFlag, readlinkat};
use nix::sys::stat::{Mode, SFlag, fstat};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

/// A path with its symlinks followed.
#[derive(Serialize, Deserialize)]
pub enum Resolved {
    Found(PathBuf),
    /// Where it would be.
    Missing(PathBuf),
    /// A `..` follows on something that is missing, or on what is no directory.
    Nowhere,
}

/// Follows `path` part by part inside `root`. The kernel resolves each step; only the text of a symlink is ours to read,
/// since a path is asked for, which no system call gives for a root that is not our own.
pub fn resolve(root: &OwnedFd, path: &Path, follow_last: bool) -> Result<Resolved> {
    const MOST_LINKS: usize = 40;
    let mut reached = PathBuf::from("/");
    let mut left: VecDeque<OsString> = parts(path);
    let mut links = 0;
    let mut on_directory = true;
    while let Some(part) = left.pop_front() {
        if !on_directory {
            return Ok(Resolved::Nowhere);
        }
        if part == ".." {
            // What is reached holds no symlink any more, so that its parent is the one before it.
            reached.pop();
            continue;
        }
        let next = reached.join(&part);
        let opened = match beneath::open(root, &next, OFlag::O_PATH | OFlag::O_NOFOLLOW, Mode::empty()) {
            Err(Errno::ENOENT | Errno::ENOTDIR) => {
                if left.iter().any(|part| part == "..") {
                    return Ok(Resolved::Nowhere);
                }
                let would_be = left.iter().fold(next, |path, part| path.join(part));
                return Ok(Resolved::Missing(would_be));
            }
            opened => opened.doing(|| format!("look for {} in the container", next.display()))?,
        };
        let stat = fstat(&opened).doing(|| format!("look at {}", next.display()))?;
        if kind(stat.st_mode) != SFlag::S_IFLNK || (left.is_empty() && !follow_last) || next.starts_with("/proc") {
            on_directory = kind(stat.st_mode) == SFlag::S_IFDIR || next.starts_with("/proc");
            reached = next;
            continue;
        }
        links += 1;
        if links > MOST_LINKS {
            return Err(Error::new(format!("too many symlinks on the way to {}", path.display())));
        }
        let target = PathBuf::from(readlinkat(&opened, "").doing(|| format!("read the link {}", next.display()))?);
        // The link itself is no part of what is reached.
        if target.is_absolute() {
            reached = PathBuf::from("/");
        }
        for part in parts(&target).into_iter().rev() {
            left.push_front(part);
        }
    }
    Ok(Resolved::Found(reached))
}

/// The same as a path alone; one that leads nowhere is left as it is written.
pub fn where_it_leads(root: &OwnedFd, path: &Path) -> PathBuf {
    match resolve(root, path, true) {
        Ok(Resolved::Found(place) | Resolved::Missing(place)) => place,
        Ok(Resolved::Nowhere) | Err(_) => path.to_owned(),
    }
}

pub fn parts(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            _ => None,
        })
        .collect()
}

pub fn kind(mode: u32) -> SFlag {
    SFlag::from_bits_truncate(mode) & SFlag::S_IFMT
}
