//! Which mount a path of a running container is on. The kernel is asked, not the container's record: a directory that is
//! renamed takes the mounts below it along, and a container that may mount can have mounts that nobody else knows.

use super::super::record::{Container, MountPoint};
use super::super::state;
use super::storage;
use crate::engine::volume::{self, Place};
use crate::kernel;
use crate::store::{Store, beneath};
use nix::fcntl::OFlag;
use nix::sys::stat::{FileStat, Mode, fstat, stat};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// One line of mountinfo(5).
pub struct Line {
    id: u64,
    parent: u64,
    at: PathBuf,
    kind: String,
}

/// A mount as the container sees it, and which directory or file stands there.
#[derive(Debug, Serialize, Deserialize)]
pub struct Seen {
    at: PathBuf,
    kind: String,
    /// Device and inode.
    file: (u64, u64),
}

/// What the kernel says of a path.
pub enum Mounted<'a> {
    /// The container's root: the overlay.
    Root,
    /// One of the container's mounts, and where that is now.
    Of(PathBuf, &'a MountPoint),
    /// Mounted by the runtime, or by the container itself; the type of the file system.
    Other(String),
}

/// The mounts of a container that runs; `None` where it does not, or where they cannot be read.
pub fn lines(store: &Store, container: &Container) -> Option<Vec<Line>> {
    // The mounts of one that is just being started may be the host's.
    state::refuse_starting(store, container).ok()?;
    let state = state::current(store, container).ok().filter(state::State::is_running)?;
    let text = std::fs::read_to_string(format!("/proc/{}/mountinfo", state.init.pid)).ok()?;
    Some(text.lines().filter_map(line).collect())
}

/// The mount that `path`, or what there is of it, is on, and those that this one is mounted on: the deepest first.
pub fn chain(root: &OwnedFd, path: &Path, lines: &[Line]) -> Option<Vec<Seen>> {
    let open = |path: &Path| beneath::open(root, path, OFlag::O_PATH | OFlag::O_NOFOLLOW, Mode::empty());
    let nearest = path.ancestors().find_map(|path| open(path).ok())?;
    let mut id = kernel::mount_id(&nearest).ok()?;
    let mut chain = Vec::new();
    while let Some(line) = lines.iter().find(|line| line.id == id) {
        let stat = open(&line.at).and_then(fstat).ok()?;
        chain.push(Seen { at: line.at.clone(), kind: line.kind.clone(), file: file(&stat) });
        if line.at == Path::new("/") {
            return Some(chain);
        }
        id = line.parent;
    }
    None
}

/// Finds the container's mount that `chain` begins with. `destinations` are those of `container.mounts`, resolved.
pub fn recognise<'a>(container: &'a Container, destinations: &[PathBuf], chain: &[Seen]) -> Option<Mounted<'a>> {
    let deepest = chain.first()?;
    if deepest.at == Path::new("/") {
        return Some(Mounted::Root);
    }
    let on_host = |path: &Path| stat(path).ok().map(|stat| file(&stat));
    for seen in chain {
        // Of two mounts of one directory the one that belongs there.
        let mut mounts: Vec<_> = container.mounts.iter().zip(destinations).collect();
        mounts.sort_by_key(|(_, destination)| **destination != seen.at);
        for (mount, source) in mounts.into_iter().filter_map(|(mount, _)| Some((mount, bound(mount)?))) {
            if on_host(&source) != Some(seen.file) {
                continue;
            }
            // What the host has mounted below a bind's source came along; what the container mounted there did not.
            let below = deepest.at.strip_prefix(&seen.at).unwrap_or(Path::new(""));
            if on_host(&source.join(below)) == Some(deepest.file) {
                return Some(Mounted::Of(seen.at.clone(), mount));
            }
        }
    }
    // A file system of its own has no source; and a file that was bound may have been replaced on the host since.
    let by_place = container.mounts.iter().zip(destinations).rev().find(|(mount, destination)| {
        **destination == deepest.at
            && storage::is_in_memory(mount) == matches!(deepest.kind.as_str(), "tmpfs" | "ramfs")
    });
    Some(match by_place {
        Some((mount, _)) => Mounted::Of(deepest.at.clone(), mount),
        None => Mounted::Other(deepest.kind.clone()),
    })
}

/// What of the host's is bound; `None` for a file system of its own.
fn bound(mount: &MountPoint) -> Option<PathBuf> {
    match volume::place(&mount.driver_options) {
        _ if mount.kind == "tmpfs" => None,
        Ok(Place::Plain) => Some(PathBuf::from(&mount.source)),
        Ok(Place::Directory { device, .. }) => Some(device.join(&mount.subpath)),
        _ => None,
    }
}

fn file(stat: &FileStat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

fn line(text: &str) -> Option<Line> {
    let (mount, file_system) = text.split_once(" - ")?;
    let mut words = mount.split(' ');
    let id = words.next()?.parse().ok()?;
    let parent = words.next()?.parse().ok()?;
    let at = unescaped(words.nth(2)?);
    Some(Line { id, parent, at, kind: file_system.split(' ').next()?.to_owned() })
}

/// Blanks, tabs, newlines and backslashes are `\ooo` there.
fn unescaped(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let octal = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()).filter(|_| first == b'\\') {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    OsString::from_vec(bytes).into()
}
