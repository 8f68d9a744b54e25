//! Paths that come from an image, a tar or a user's `-v` are resolved by the kernel inside a root, with
//! openat2(2) and RESOLVE_IN_ROOT: `..` and absolute symlinks stop at that root. Never by string.

use crate::error::{Doing, Error, Result};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{Mode, mkdirat};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

/// A root to resolve in: an `O_PATH` descriptor of a directory.
pub fn root(path: &Path) -> Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    nix::fcntl::openat(AT_FDCWD, path, flags, Mode::empty()).doing(|| format!("open {}", path.display()))
}

/// Opens `path` inside `root`, following symlinks as a process chrooted there would (the last one not with `O_NOFOLLOW`).
pub fn open(root: impl AsFd, path: &Path, flags: OFlag, mode: Mode) -> nix::Result<OwnedFd> {
    let path = path.strip_prefix("/").unwrap_or(path);
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let how = OpenHow::new()
        .flags(flags | OFlag::O_CLOEXEC)
        .mode(if flags.intersects(OFlag::O_CREAT) { mode } else { Mode::empty() })
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    loop {
        // EAGAIN: something was renamed while the kernel resolved a `..`; openat2(2) says to try again.
        match openat2(root.as_fd(), path, how) {
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            result => return result,
        }
    }
}

/// Makes `path` and its missing parents inside `root` (mode `mode`, as the caller's user) and opens it as a directory.
pub fn make_dirs(root: impl AsFd, path: &Path, mode: Mode) -> Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
    let mut reached = PathBuf::from("/");
    let mut dir = open(root.as_fd(), &reached, flags, Mode::empty()).doing(|| "open the root")?;
    for component in path.components() {
        match component {
            Component::Normal(name) => {
                reached.push(name);
                dir = match open(root.as_fd(), &reached, flags, Mode::empty()) {
                    Err(Errno::ENOENT) => {
                        match mkdirat(&dir, Path::new(name), mode) {
                            Ok(()) | Err(Errno::EEXIST) => {}
                            Err(errno) => return Err(errno).doing(|| format!("make {}", reached.display())),
                        }
                        // A dangling symlink is EEXIST above and ENOENT here: reported, never followed outside.
                        open(root.as_fd(), &reached, flags, Mode::empty())
                            .doing(|| format!("make {}", reached.display()))?
                    }
                    result => result.doing(|| format!("open {}", reached.display()))?,
                };
            }
            Component::ParentDir => return Err(Error::new(format!("the path {} has a \"..\" in it", path.display()))),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    Ok(dir)
}
