//! Visiting a directory tree by descriptors, few of them however deep it is: no symlink is followed, and no other mount is
//! entered.

use super::descent::{Descent, shown};
use crate::error::{Doing, Result};
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};
use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Given each file as an O_PATH descriptor, with its status and its path to be shown; says whether to go on.
pub type Visit<'a> = &'a mut dyn FnMut(&OwnedFd, &FileStat, &Path) -> Result<bool>;

/// Visits `top` and everything below it, a directory before what is in it. Returns how many mounts were passed by.
pub fn tree(top: &OwnedFd, place: &Path, visit: Visit) -> Result<u64> {
    let doing = || format!("look at {}", place.display());
    let stat = fstat(top).doing(doing)?;
    let mut mounts = 0;
    if !visit(top, &stat, place)? || !is_directory(&stat) {
        return Ok(mounts);
    }
    let mut path = place.to_owned();
    let mut levels = vec![names(top, &path)?];
    let mut descent = Descent::new(top.try_clone().doing(doing)?);
    while let Some(left) = levels.last_mut() {
        let Some(name) = left.pop() else {
            levels.pop();
            descent.up().doing(|| format!("read {}", shown(&path)))?;
            path.pop();
            continue;
        };
        path.push(OsStr::from_bytes(name.as_bytes()));
        let Some(file) = open(descent.here(), &name, &path, &mut mounts)? else {
            path.pop();
            continue;
        };
        let stat = fstat(&file).doing(|| format!("look at {}", shown(&path)))?;
        if !visit(&file, &stat, &path)? {
            return Ok(mounts);
        }
        match is_directory(&stat) {
            true => {
                levels.push(names(&file, &path)?);
                descent.down(file)?;
            }
            false => drop(path.pop()),
        }
    }
    Ok(mounts)
}

pub fn is_directory(stat: &FileStat) -> bool {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR
}

/// `None` for what is another mount, which is counted, and for what was removed meanwhile.
fn open(directory: &OwnedFd, name: &CStr, path: &Path, mounts: &mut u64) -> Result<Option<OwnedFd>> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_NO_XDEV | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    match openat2(directory.as_fd(), name, how) {
        Ok(file) => Ok(Some(file)),
        Err(Errno::EXDEV) => {
            *mounts += 1;
            Ok(None)
        }
        Err(Errno::ENOENT) => Ok(None),
        Err(errno) => Err(errno).doing(|| format!("open {}", shown(path))),
    }
}

/// The last of them is visited first.
fn names(directory: &OwnedFd, path: &Path) -> Result<Vec<CString>> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let doing = || format!("read {}", shown(path));
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
