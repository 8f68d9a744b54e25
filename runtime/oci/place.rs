//! The place inside the container's root where a mount goes: symlinks are followed as inside, and never out.

use crate::error::{Doing, Error, Result};
use crate::store::beneath;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, readlinkat};
use nix::sys::stat::Mode;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

/// Finds the place, or makes it: an empty directory, or an empty file.
pub fn place_for(root: &OwnedFd, destination: &Path, directory: bool) -> Result<OwnedFd> {
    let open = || beneath::open(root, destination, OFlag::O_PATH, Mode::empty());
    match open() {
        Err(Errno::ENOENT) => {}
        result => return result.doing(|| format!("open {} in the container", destination.display())),
    }
    if directory {
        return make_dirs(root, destination);
    }
    make_file(root, destination)?;
    open().doing(|| format!("open {} in the container", destination.display()))
}

/// Makes an empty file, or where a symlink leads nowhere (an image's /etc/resolv.conf, to what systemd makes in /run) the
/// file that it would lead to.
fn make_file(root: &OwnedFd, destination: &Path) -> Result<()> {
    /// So many the kernel follows: path_resolution(7).
    const MOST_LINKS: usize = 40;
    let mut path = destination.to_owned();
    for _ in 0..MOST_LINKS {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Error::new("a file cannot be mounted on /"));
        };
        let directory = make_dirs(root, parent)?;
        let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_WRONLY;
        match openat(&directory, name, flags, Mode::from_bits_truncate(0o644)) {
            Ok(_) => return Ok(()),
            Err(Errno::EEXIST) => {}
            Err(errno) => {
                let made = Err(errno).doing(|| format!("make {} in the container", path.display()));
                return made.map_err(|error| closed(error, "file"));
            }
        }
        match readlinkat(&directory, name) {
            Ok(target) => path = led(parent, Path::new(&target)),
            // Somebody else was faster.
            Err(_) => return Ok(()),
        }
    }
    Ok(())
}

/// Where a symlink in `parent` leads, by its letters: good enough for what is to be made, since each step is made inside
/// the root by the kernel, which has the last word on where the mount goes.
fn led(parent: &Path, target: &Path) -> PathBuf {
    let mut led = PathBuf::from("/");
    for part in parent.join(target).components() {
        match part {
            Component::Normal(name) => led.push(name),
            Component::ParentDir => drop(led.pop()),
            _ => {}
        }
    }
    led
}

fn make_dirs(root: &OwnedFd, path: &Path) -> Result<OwnedFd> {
    beneath::make_dirs(root, path, Mode::from_bits_truncate(0o755)).map_err(|error| closed(error, "directory"))
}

fn closed(error: Error, kind: &str) -> Error {
    let closed = ["read-only file system", "permission denied"].iter().any(|reason| error.message.ends_with(reason));
    match closed {
        true => error.with_cure(format!(
            "a mount needs a {kind} to lie on: make the {kind} in what is mounted above it, or mount that writable"
        )),
        false => error,
    }
}
