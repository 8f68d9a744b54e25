//! Visiting a directory tree by descriptors: no symlink is followed, and no other mount is entered.

use crate::error::{Doing, Error, Result};
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};
use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A tree that is deeper than this is refused: each directory on the way is held open.
const DEEPEST: usize = 500;

/// Given each file as an O_PATH descriptor, with its status and its path to be shown; says whether to go on.
pub type Visit<'a> = &'a mut dyn FnMut(&OwnedFd, &FileStat, &Path) -> Result<bool>;

/// Visits `top` and everything below it, a directory before what is in it. Returns how many mounts were passed by.
pub fn tree(top: &OwnedFd, shown: &Path, visit: Visit) -> Result<u64> {
    let stat = fstat(top).doing(|| format!("look at {}", shown.display()))?;
    let mut mounts = 0;
    if visit(top, &stat, shown)? && is_directory(&stat) {
        below(top, shown, 0, &mut mounts, visit)?;
    }
    Ok(mounts)
}

pub fn is_directory(stat: &FileStat) -> bool {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR
}

/// Returns false where the visitor wants no more.
fn below(directory: &OwnedFd, shown: &Path, depth: usize, mounts: &mut u64, visit: Visit) -> Result<bool> {
    if depth > DEEPEST {
        return Err(Error::new(format!("{} lies more than {DEEPEST} directories deep", shown.display())));
    }
    for name in names(directory, shown)? {
        let path = shown.join(OsStr::from_bytes(name.as_bytes()));
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_NO_XDEV | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        let file = match openat2(directory.as_fd(), name.as_c_str(), how) {
            Ok(file) => file,
            Err(Errno::EXDEV) => {
                *mounts += 1;
                continue;
            }
            // Removed meanwhile.
            Err(Errno::ENOENT) => continue,
            Err(errno) => return Err(errno).doing(|| format!("open {}", path.display())),
        };
        let stat = fstat(&file).doing(|| format!("look at {}", path.display()))?;
        if !visit(&file, &stat, &path)? || (is_directory(&stat) && !below(&file, &path, depth + 1, mounts, visit)?) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn names(directory: &OwnedFd, shown: &Path) -> Result<Vec<CString>> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let doing = || format!("read {}", shown.display());
    let opened = openat(directory, ".", flags, Mode::empty()).doing(doing)?;
    let mut names = Vec::new();
    for entry in Dir::from_fd(opened).doing(doing)?.iter() {
        let name = entry.doing(doing)?.file_name().to_owned();
        if name.as_c_str() != c"." && name.as_c_str() != c".." {
            names.push(name);
        }
    }
    Ok(names)
}
