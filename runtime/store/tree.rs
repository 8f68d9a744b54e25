//! Removing a directory tree: never through a symlink, never across a mount.

use crate::error::{Cause, Doing, Error, Result};
use crate::explain::{self, calls};
use crate::store::atomic::Durability;
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{Mode, SFlag};
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Moves `dir` into the trash of its store in one rename, so that it is gone for everyone at once, and then removes it.
/// What a crash leaves in the trash, the next [`empty`] clears.
pub fn discard(store: &super::Store, dir: &Path) -> Result<()> {
    let grave = set_aside(store, dir, Durability::Synced)?;
    remove(&grave)
}

/// The first half of [`discard`]: after it the object no longer exists.
pub fn set_aside(store: &super::Store, dir: &Path, durability: Durability) -> Result<std::path::PathBuf> {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    // A file's name has at most 255 bytes, and a volume's may have as many.
    let name: String = name.chars().take(200).collect();
    let grave = store.trash().join(format!("{name}.{}", &super::id::random()?[..super::id::TAIL]));
    explain::step(
        "it is gone for everyone at once: one rename into the trash",
        format_args!("mv {} {}", dir.display(), grave.display()),
    );
    calls::rename(dir, &grave).doing(|| format!("remove {}", dir.display()))?;
    if durability == Durability::Synced {
        super::atomic::sync_dir(dir.parent().unwrap_or(Path::new("/")))?;
    }
    Ok(grave)
}

/// Removes the tree at `path`. Goes on past what fails, and reports the first failure. What is mounted below is left
/// alone, with an error: a mount may show data that is not ours (moby #35323).
pub fn remove(path: &Path) -> Result<()> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    let Some(name) = path.file_name() else { return Err(Error::new("refusing to remove /")) };
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let parent =
        nix::fcntl::openat(AT_FDCWD, parent, flags, Mode::empty()).doing(|| format!("open {}", parent.display()))?;
    let name = CString::new(name.as_encoded_bytes()).map_err(|_| Error::new("a NUL in a path"))?;
    Removal::default().entry(parent.as_fd(), &name, path, 0)
}

/// A container can make a tree deeper than we may hold descriptors open. What lies deeper than this is renamed up to the
/// tree's top and removed from there.
const DEEPEST: usize = 64;

#[derive(Default)]
struct Removal {
    /// The tree itself, once it is open.
    top: Option<OwnedFd>,
    hoisted: Vec<CString>,
}

impl Removal {
    fn entry(&mut self, parent: BorrowedFd, name: &CStr, shown: &Path, depth: usize) -> Result<()> {
        match unlinkat(parent, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => return Ok(()),
            // unlink(2) of a directory is EISDIR on Linux; EPERM is what POSIX says and some file systems do.
            Err(Errno::EISDIR) => {}
            Err(Errno::EPERM) if is_directory(parent, name) => {}
            Err(errno) => return Err(explain(errno, shown)),
        }
        if let (true, Some(top)) = (depth > DEEPEST, &self.top) {
            let aside =
                CString::new(format!("deep.{}", &super::id::random()?[..super::id::LONG_TAIL])).unwrap_or_default();
            nix::fcntl::renameat(parent, name, top, aside.as_c_str())
                .doing(|| format!("remove {}", shown.display()))?;
            self.hoisted.push(aside);
            return Ok(());
        }
        let cleared = self.contents(parent, name, shown, depth);
        let removed = if depth == 0 {
            explain::step(
                "everything in it is unlinked, and last it itself",
                format_args!("rm -r --one-file-system {}", shown.display()),
            );
            calls::rmdir_at(parent, name)
        } else {
            unlinkat(parent, name, UnlinkatFlags::RemoveDir)
        };
        match removed {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => cleared.and(Err(explain(errno, shown))),
        }
    }

    fn contents(&mut self, parent: BorrowedFd, name: &CStr, shown: &Path, depth: usize) -> Result<()> {
        let mut dir = open_to_empty(parent, name).map_err(|errno| explain(errno, shown))?;
        let mut names = Vec::new();
        for entry in dir.iter() {
            let entry = entry.doing(|| format!("read {}", shown.display()))?;
            if entry.file_name() != c"." && entry.file_name() != c".." {
                names.push(entry.file_name().to_owned());
            }
        }
        if depth == 0 {
            self.top = Some(dir.as_fd().try_clone_to_owned().doing(|| format!("open {}", shown.display()))?);
        }
        let mut first = Ok(());
        for child in names {
            let path = shown.join(child.to_string_lossy().as_ref());
            first = first.and(self.entry(dir.as_fd(), &child, &path, depth + 1));
        }
        while let Some(deep) = if depth == 0 { self.hoisted.pop() } else { None } {
            let path = shown.join(deep.to_string_lossy().as_ref());
            first = first.and(self.entry(dir.as_fd(), &deep, &path, 1));
        }
        first
    }
}

fn is_directory(parent: BorrowedFd, name: &CStr) -> bool {
    let stat = nix::sys::stat::fstatat(parent, name, nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW);
    stat.is_ok_and(|stat| SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR)
}

/// RESOLVE_NO_XDEV is what notices a mount, a bind mount of the same file system included.
fn open_to_empty(parent: BorrowedFd, name: &CStr) -> nix::Result<Dir> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let how = OpenHow::new().flags(flags).resolve(ResolveFlag::RESOLVE_NO_XDEV | ResolveFlag::RESOLVE_NO_SYMLINKS);
    let opened = match openat2(parent, name, how) {
        // The overlay's `work/work` has mode 0; its owner may change that. By a descriptor: a name that is looked up once more
        // may be a symlink by now.
        Err(Errno::EACCES) => {
            let closed = openat2(parent, name, how.flags(flags | OFlag::O_PATH))?;
            super::node::set_mode(&closed, Mode::S_IRWXU)?;
            openat2(&closed, c".", how)
        }
        result => result,
    };
    Dir::from_fd(opened?)
}

fn explain(errno: Errno, shown: &Path) -> Error {
    match errno {
        Errno::EXDEV | Errno::EBUSY => Error::new(format!("{} stays: something is mounted there", shown.display()))
            .with_cure(format!("umount {} and try again", shown.display())),
        errno => {
            let error = errno.into_error();
            Error { message: format!("remove {}: {}", shown.display(), error.message), ..error }
        }
    }
}

/// Whether crashed commands left anything in `tmp/` or `trash/`. Most often two looks at empty directories.
pub fn has_forgotten(store: &super::Store) -> bool {
    [store.trash(), store.tmp()]
        .iter()
        .filter_map(|dir| std::fs::read_dir(dir).ok())
        .any(|entries| entries.flatten().any(|entry| forgotten(&entry).is_some()))
}

/// Clears what crashed commands left in `tmp/` and `trash/`. Goes on past what cannot be removed now.
pub fn empty(store: &super::Store) -> Result<()> {
    let mut result = Ok(());
    for dir in [store.trash(), store.tmp()] {
        for entry in std::fs::read_dir(&dir).doing(|| format!("read {}", dir.display()))?.flatten() {
            if let Some(_lock) = forgotten(&entry) {
                result = result.and(remove(&entry.path()));
            }
        }
    }
    result
}

/// A directory whose maker, or remover, is alive is locked and stays, and so does what bears no name of ours: somebody
/// else put it there.
fn forgotten(entry: &std::fs::DirEntry) -> Option<super::lock::Lock> {
    let ours = super::is_made(&entry.file_name().to_string_lossy());
    if ours { super::lock::try_exclusive(&entry.path()).ok() } else { None }
}
