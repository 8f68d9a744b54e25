//! The way down a directory tree, with few descriptors however deep that is. A container can make a tree that is deeper
//! than we may hold descriptors open, and none of its paths need fit into a call.

use crate::error::{Doing, Error, Result};
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, fstat};
use std::os::fd::OwnedFd;
use std::path::Path;

/// So many of the directories above stay open; the others are found again by `..`.
const KEPT: usize = 64;

/// The directories from a top down to where we are.
pub struct Descent {
    above: Vec<Above>,
    here: OwnedFd,
}

struct Above {
    /// `None`: closed, to be opened again when we come back.
    fd: Option<OwnedFd>,
    /// Device and inode.
    identity: (u64, u64),
}

impl Descent {
    pub fn new(top: OwnedFd) -> Descent {
        Descent { above: Vec::new(), here: top }
    }

    pub fn here(&self) -> &OwnedFd {
        &self.here
    }

    /// Goes on in `below`, which was opened in [`Descent::here`].
    pub fn down(&mut self, below: OwnedFd) -> Result<()> {
        let identity = identity(&self.here)?;
        self.above.push(Above { fd: Some(std::mem::replace(&mut self.here, below)), identity });
        // The top is nobody's `..` that we could trust: what lies above it is not ours.
        if let Some(far) = self.above.len().checked_sub(KEPT + 1).filter(|far| *far > 0) {
            self.above[far].fd = None;
        }
        Ok(())
    }

    /// Goes back, and returns the directory that is left; `None` where this is the top.
    pub fn up(&mut self) -> Result<Option<OwnedFd>> {
        let Some(Above { fd, identity: known }) = self.above.pop() else { return Ok(None) };
        let parent = match fd {
            Some(fd) => fd,
            None => {
                let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
                let found = openat(&self.here, "..", flags, Mode::empty()).doing(|| "go back up")?;
                // Whoever moves a directory away meanwhile leads us nowhere else.
                if identity(&found)? != known {
                    return Err(Error::conflict("a directory was moved while it was read"));
                }
                found
            }
        };
        Ok(Some(std::mem::replace(&mut self.here, parent)))
    }
}

/// A longer path is packed into no archive, read from none, and listed in no `diff`: the time for it grows with the square
/// of its length.
pub const LONGEST: usize = 1 << 16;

/// Refuses a path that is longer than [`LONGEST`].
pub fn refuse_too_long(path: &Path) -> Result<()> {
    match path.as_os_str().len() {
        length if length > LONGEST => {
            Err(Error::new(format!("it lies too deep: its path has {length} bytes, of {LONGEST} at most")))
        }
        _ => Ok(()),
    }
}

/// A path as a message says it: of a very long one the beginning and the end.
pub fn shown(path: &Path) -> String {
    const MOST: usize = 500;
    let text = path.to_string_lossy();
    let length = text.chars().count();
    if length <= 2 * MOST {
        return text.into_owned();
    }
    let (first, last): (String, String) =
        (text.chars().take(MOST).collect(), text.chars().skip(length - MOST).collect());
    format!("{first}…{last}")
}

fn identity(directory: &OwnedFd) -> Result<(u64, u64)> {
    fstat(directory).map(|stat| (stat.st_dev, stat.st_ino)).doing(|| "look at a directory")
}
