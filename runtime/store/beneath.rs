//! Paths that come from an image, a tar or a user's `-v` are resolved by the kernel inside a root, with
//! openat2(2) and RESOLVE_IN_ROOT: `..` and absolute symlinks stop at that root. Never by string.

use crate::error::{Doing, Error, Result};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{Mode, mkdirat};
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// A root to resolve in: an `O_PATH` descriptor of a directory.
pub fn root(path: &Path) -> Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    nix::fcntl::openat(AT_FDCWD, path, flags, Mode::empty()).doing(|| format!("open {}", path.display()))
}

/// Opens `path` inside `root`, following symlinks as a process chrooted there would (the last one not with `O_NOFOLLOW`).
pub fn open(root: impl AsFd, path: &Path, flags: OFlag, mode: Mode) -> nix::Result<OwnedFd> {
    resolve(root, path, flags, mode, ResolveFlag::RESOLVE_IN_ROOT)
}

/// Opens `path` inside `root`, and refuses what leads out of it, by `..` or by a symlink, with EXDEV.
pub fn open_below(root: impl AsFd, path: &Path, flags: OFlag) -> nix::Result<OwnedFd> {
    resolve(root, path, flags, Mode::empty(), ResolveFlag::RESOLVE_BENEATH)
}

/// Opens `path` as this process itself would, from its own root and working directory, but through no link of the kernel's
/// (/proc/PID/fd, exe, cwd, root): such a path is ELOOP, whatever the link leads to.
pub fn open_here(path: &Path, flags: OFlag) -> nix::Result<OwnedFd> {
    let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(ResolveFlag::RESOLVE_NO_MAGICLINKS);
    loop {
        match openat2(AT_FDCWD, path, how) {
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            result => return result,
        }
    }
}

/// Opens an absolute path of the host's, and refuses it with ELOOP where any part of it is a symlink.
pub fn open_without_links(path: &Path, flags: OFlag) -> nix::Result<OwnedFd> {
    // Of a path that is relative, what it is relative to could have been reached through a link.
    if !path.is_absolute() {
        return Err(Errno::EINVAL);
    }
    let open = |flags: OFlag| {
        let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
        openat2(AT_FDCWD, path, how)
    };
    // As a directory first: an automount point is mounted for who wants a directory, and not for O_PATH alone.
    match open(flags | OFlag::O_DIRECTORY) {
        Err(Errno::ENOTDIR) => open(flags),
        opened => opened,
    }
}

fn resolve(root: impl AsFd, path: &Path, flags: OFlag, mode: Mode, within: ResolveFlag) -> nix::Result<OwnedFd> {
    let path = path.strip_prefix("/").unwrap_or(path);
    if let Some((above, below)) = halves(path) {
        let above = resolve(root, &above, OFlag::O_PATH | OFlag::O_DIRECTORY, Mode::empty(), within)?;
        // What a symlink there means depends on a root that this call does not know: none is followed.
        return resolve(above, &below, flags, mode, ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
    }
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let how = OpenHow::new()
        .flags(flags | OFlag::O_CLOEXEC)
        .mode(if flags.intersects(OFlag::O_CREAT) { mode } else { Mode::empty() })
        .resolve(within | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    loop {
        // EAGAIN: something was renamed while the kernel resolved a `..`; openat2(2) says to try again.
        match openat2(root.as_fd(), path, how) {
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            result => return result,
        }
    }
}

/// The first part of a path that is longer than the kernel takes at once (PATH_MAX, with a NUL), and the rest.
fn halves(path: &Path) -> Option<(PathBuf, PathBuf)> {
    let most = libc::PATH_MAX as usize - 1;
    let bytes = path.as_os_str().as_bytes();
    let cut = bytes.get(..most).filter(|_| bytes.len() > most)?.iter().rposition(|byte| *byte == b'/')?;
    let part = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
    Some((part(&bytes[..cut]), part(&bytes[cut + 1..])))
}

/// Makes `path` and its missing parents inside `root` (mode `mode`, as the caller's user) and opens it as a directory.
pub fn make_dirs(root: impl AsFd, path: &Path, mode: Mode) -> Result<OwnedFd> {
    if path.components().any(|component| component == Component::ParentDir) {
        return Err(Error::new(format!("the path {} has a \"..\" in it", path.display())));
    }
    let open = |path: &Path| open(root.as_fd(), path, OFlag::O_PATH | OFlag::O_DIRECTORY, Mode::empty());
    // From the end: most often all of it is there, or all but the last.
    let mut missing = Vec::new();
    let mut dir = None;
    for ancestor in path.ancestors() {
        match open(ancestor) {
            Err(Errno::ENOENT) => missing.push(ancestor),
            result => {
                dir = Some(result.doing(|| format!("open {}", ancestor.display()))?);
                break;
            }
        }
    }
    let mut dir = dir.ok_or_else(|| Error::new("the root directory is gone"))?;
    for path in missing.into_iter().rev() {
        let doing = || format!("make {}", path.display());
        let name = path.file_name().unwrap_or_default();
        match mkdirat(&dir, name, mode) {
            // Just made, it leads nowhere else: there is no need to begin at the root again.
            Ok(()) => {
                let here = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS;
                let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
                dir = resolve(&dir, Path::new(name), flags, Mode::empty(), here).doing(doing)?;
                continue;
            }
            Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno).doing(doing),
        }
        // A dangling symlink is EEXIST above and ENOENT here: reported, never followed outside.
        dir = open(path).doing(doing)?;
    }
    Ok(dir)
}
