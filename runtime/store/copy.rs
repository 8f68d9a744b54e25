//! Copies a directory tree with all that belongs to it: owner, mode, times, extended attributes, hard links, symlinks,
//! FIFOs. By descriptors from one end to the other, so that nothing that changes meanwhile can lead it elsewhere.

use super::descent::{Descent, shown};
use super::early::Early;
use super::{attribute, beneath, extents, id, node};
use crate::error::{Doing, Error, Result};
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, RenameFlags, openat, readlinkat, renameat, renameat2};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat, fstatat, futimens, mkdirat, mknodat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, LinkatFlags, Uid, UnlinkatFlags, fchown, linkat, symlinkat, unlinkat};
use std::collections::HashMap;
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Copies what is in `source` into `target`. What is there under the same name is left as it is, so that a copy that was
/// killed half-way can be done again: each file appears whole, with all that belongs to it, or not at all.
pub fn tree(source: impl AsFd, target: impl AsFd) -> Result<()> {
    all(source, target, What::Image, &mut |_| {}).map(drop)
}

/// Copies what is in `source` into the empty directory `target`, and makes that the same: with everything that can be known
/// of a file, also what a layer must not have (devices, the marks of an overlay). Blocks are shared where the file system
/// can, and holes stay holes. What goes while it is copied is left out; `told` hears of the bytes, file by file and
/// piece by piece. Returns how many files have not got all of their attributes.
pub fn whole(source: impl AsFd, target: impl AsFd, told: &mut dyn FnMut(u64)) -> Result<u64> {
    let left_out = all(&source, &target, What::Everything, told)?;
    Ok(left_out + u64::from(!all_attributes(&source, &target)?))
}

fn all(source: impl AsFd, target: impl AsFd, what: What, told: &mut dyn FnMut(u64)) -> Result<u64> {
    let target = openat(&target, ".", DIRECTORY, Mode::empty()).doing(|| "open the target")?;
    let top = target.try_clone().doing(|| "open the target")?;
    let mut early = Early::below(File::from(top.try_clone().doing(|| "open the target")?));
    let mut told = |bytes| {
        early.made(bytes, 1);
        told(bytes);
    };
    let mut copying = Copying { top, links: HashMap::new(), what, told: &mut told, left_out: 0 };
    let source = openat(&source, ".", DIRECTORY, Mode::empty()).doing(|| "open the source")?;
    copying.contents(source, target).map(|()| copying.left_out)
}

/// How much of a file is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    /// What an image may bring.
    Image,
    Everything,
}

/// Gives `target` the owner, mode, times and attributes of `source`, as far as an image may bring them.
pub fn attributes(source: impl AsFd, target: impl AsFd) -> Result<()> {
    attributes_of(source, target, What::Image).map(drop)
}

/// [`attributes`], with all that [`whole`] copies. Returns whether all of them could be set.
pub fn all_attributes(source: impl AsFd, target: impl AsFd) -> Result<bool> {
    attributes_of(source, target, What::Everything)
}

fn attributes_of(source: impl AsFd, target: impl AsFd, what: What) -> Result<bool> {
    let stat = fstat(&source).doing(|| "look at the source")?;
    let open = |fd: &dyn Fn() -> nix::Result<OwnedFd>| fd().map(File::from).doing(|| "open a directory");
    let source = open(&|| openat(&source, ".", DIRECTORY, Mode::empty()))?;
    let target = open(&|| openat(&target, ".", DIRECTORY, Mode::empty()))?;
    describe(&source, &target, &stat, what)
}

const DIRECTORY: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

struct Copying<'a> {
    top: OwnedFd,
    what: What,
    told: &'a mut dyn FnMut(u64),
    /// Files whose attributes could not all be set.
    left_out: u64,
    /// Where a file with several names was first copied to.
    links: HashMap<(u64, u64), PathBuf>,
}

impl Copying<'_> {
    fn contents(&mut self, source: OwnedFd, target: OwnedFd) -> Result<()> {
        let mut levels = vec![names(&source, (&target, false))?];
        let (mut from, mut to) = (Descent::new(source), Descent::new(target));
        let mut path = PathBuf::new();
        while let Some(left) = levels.last_mut() {
            let Some(name) = left.pop() else {
                levels.pop();
                let copied = from.up().and_then(|from| Ok(from.zip(to.up()?)));
                if let Some((from, to)) = copied.doing(|| format!("copy {}", shown(&path)))? {
                    self.finished(from, to).doing(|| format!("copy {}", shown(&path)))?;
                    path.pop();
                }
                continue;
            };
            path.push(OsStr::from_bytes(name.as_bytes()));
            let below = match self.one(from.here(), to.here(), &name, &path) {
                // A container that runs removes files, and that is its right.
                Err(error) if error.is_not_found() && self.what == What::Everything => None,
                copied => copied.doing(|| format!("copy {}", shown(&path)))?,
            };
            match below {
                Some(both) => {
                    levels.push(match names(&both.from, (&both.to, both.is_new)) {
                        Err(error) if error.is_not_found() && self.what == What::Everything => Vec::new(),
                        names => names.doing(|| format!("copy {}", shown(&path)))?,
                    });
                    from.down(both.from)?;
                    to.down(both.to)?;
                }
                None => drop(path.pop()),
            }
        }
        Ok(())
    }

    /// Copies what is no directory. A directory is made, and comes back open, here and there.
    fn one(&mut self, source: &OwnedFd, target: &OwnedFd, name: &CStr, path: &Path) -> Result<Option<Both>> {
        let stat = fstatat(source, name, AtFlags::AT_SYMLINK_NOFOLLOW).doing(|| "look at it")?;
        let kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
        if kind == SFlag::S_IFDIR {
            return directory(source, target, name);
        }
        match fstatat(target, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Err(Errno::ENOENT) => {}
            Ok(_) => {
                self.links.entry((stat.st_dev, stat.st_ino)).or_insert_with(|| path.to_owned());
                return Ok(None);
            }
            Err(errno) => return Err(errno).doing(|| "look at what is there"),
        }
        let linked = (stat.st_nlink > 1).then_some((stat.st_dev, stat.st_ino));
        if let Some(first) = linked.and_then(|file| self.links.get(&file)) {
            return self.link(first, target, name).map(|()| None);
        }
        let is_it = self.alone(source, target, name, &stat, kind)?;
        // Now that it is there: one that went meanwhile is no other's first name.
        if let (Some(file), true) = (linked, is_it) {
            self.links.insert(file, path.to_owned());
        }
        Ok(None)
    }

    /// Another name for what was copied as `first`: not for what a symlink shows that somebody has put in the way since.
    fn link(&self, first: &Path, target: &OwnedFd, name: &CStr) -> Result<()> {
        let above = first.parent().unwrap_or(Path::new(""));
        let above = beneath::open(&self.top, above, OFlag::O_PATH | OFlag::O_DIRECTORY, Mode::empty());
        let first = first.file_name().unwrap_or_default();
        above.and_then(|above| linkat(above, first, target, name, LinkatFlags::empty())).doing(|| "link it")
    }

    /// All is in the directory that is to be there: its time changed with everything that was put into it.
    fn finished(&mut self, from: OwnedFd, to: OwnedFd) -> Result<()> {
        let stat = fstat(&from).doing(|| "look at it")?;
        self.left_out += u64::from(!describe(&File::from(from), &File::from(to), &stat, self.what)?);
        Ok(())
    }

    /// What is no directory, and has not been copied under another name. Returns whether it was still the file of `stat`.
    fn alone(&mut self, source: &OwnedFd, target: &OwnedFd, name: &CStr, stat: &FileStat, kind: SFlag) -> Result<bool> {
        match kind {
            SFlag::S_IFREG => return self.regular(source, target, name, stat),
            SFlag::S_IFLNK => {
                let to = readlinkat(source, name).doing(|| "read the symlink")?;
                let unfinished = unfinished()?;
                symlinkat(to.as_os_str(), target, unfinished.as_c_str()).doing(|| "make the symlink")?;
                let made = node::just_made(target, unfinished.as_c_str(), kind)?;
                own(&made, stat)?;
                set_times(&made, stat)?;
                give_name(target, &unfinished, name)?;
            }
            kind if matches!(kind, SFlag::S_IFIFO | SFlag::S_IFSOCK) || self.what == What::Everything => {
                let mode = Mode::from_bits_truncate(stat.st_mode & 0o7777);
                let unfinished = unfinished()?;
                mknodat(target, unfinished.as_c_str(), kind, mode, stat.st_rdev).doing(|| "make it")?;
                let made = node::just_made(target, unfinished.as_c_str(), kind)?;
                own(&made, stat)?;
                // The umask had its say, and a change of owner takes bits away.
                node::set_mode(&made, mode).doing(|| "set its mode")?;
                set_times(&made, stat)?;
                give_name(target, &unfinished, name)?;
            }
            // A device in a volume would be the host's; the mount is nodev in any case.
            _ => {}
        }
        Ok(true)
    }

    fn regular(&mut self, source: &OwnedFd, target: &OwnedFd, name: &CStr, seen: &FileStat) -> Result<bool> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let from = File::from(openat(source, name, flags, Mode::empty()).doing(|| "open it")?);
        // Of what is open and no other: under this name there may be another file by now, with another mode.
        let stat = &fstat(&from).doing(|| "look at it")?;
        if SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT != SFlag::S_IFREG {
            return Ok(false);
        }
        let is_it = (stat.st_dev, stat.st_ino) == (seen.st_dev, seen.st_ino);
        let (made, unfinished) = nameless(target)?;
        let to = File::from(made);
        extents::copy(&from, &to, self.told).doing(|| "copy its contents")?;
        self.left_out += u64::from(!describe(&from, &to, stat, self.what)?);
        match unfinished {
            None => {
                let this = format!("/proc/self/fd/{}", to.as_raw_fd());
                linkat(AT_FDCWD, this.as_str(), target, name, LinkatFlags::AT_SYMLINK_FOLLOW)
                    .doing(|| "give it its name")?;
            }
            Some(unfinished) => give_name(target, &unfinished, name)?,
        }
        Ok(is_it)
    }
}

/// A directory, and the one that it is copied to.
struct Both {
    from: OwnedFd,
    to: OwnedFd,
    /// Just made: nothing can be left in it by a copy that was killed.
    is_new: bool,
}

/// `None` where something else has the name by now: that is left as it is.
fn directory(source: &OwnedFd, target: &OwnedFd, name: &CStr) -> Result<Option<Both>> {
    let is_new = match mkdirat(target, name, Mode::S_IRWXU) {
        Ok(()) => true,
        Err(Errno::EEXIST) => false,
        Err(errno) => return Err(errno).doing(|| "make the directory"),
    };
    let to = match openat(target, name, DIRECTORY, Mode::empty()) {
        Err(Errno::ENOTDIR | Errno::ELOOP) => return Ok(None),
        opened => opened.doing(|| "open the new directory")?,
    };
    let from = openat(source, name, DIRECTORY, Mode::empty()).doing(|| "open the directory")?;
    Ok(Some(Both { from, to, is_new }))
}

/// What is in a directory. What was being made in its copy when that was killed is removed.
fn names(source: &OwnedFd, (target, is_new): (&OwnedFd, bool)) -> Result<Vec<CString>> {
    if !is_new {
        for left in listed(target)?.iter().filter(|name| is_unfinished(name)) {
            let _ = unlinkat(target, left.as_c_str(), UnlinkatFlags::NoRemoveDir);
        }
    }
    let mut names = listed(source)?;
    names.retain(|name| !is_unfinished(name));
    // Taken from the end, and always in one order: a copy that was killed is finished by another, which must come to the first of a
    // file's names before it comes to one that is missing.
    names.reverse();
    Ok(names)
}

fn listed(directory: &OwnedFd) -> Result<Vec<CString>> {
    let mut directory = Dir::openat(directory, ".", DIRECTORY, Mode::empty()).doing(|| "read a directory")?;
    let mut names = Vec::new();
    for entry in directory.iter() {
        let name = entry.doing(|| "read a directory")?.file_name().to_owned();
        if ![c".", c".."].contains(&name.as_c_str()) {
            names.push(name);
        }
    }
    Ok(names)
}

/// What has no owner and no time yet has a name that begins so: under its own it appears whole.
const UNFINISHED: &str = ".ebb-copying";

/// A name that nobody who shares the directory can have foreseen and put something under.
fn unfinished() -> Result<CString> {
    let name = format!("{UNFINISHED}.{}", &id::random()?[..id::LONG_TAIL]);
    CString::new(name).map_err(|_| Error::new("a NUL in a name"))
}

/// The name without a tail is that of an earlier Ebb.
fn is_unfinished(name: &CStr) -> bool {
    let Some(tail) = name.to_bytes().strip_prefix(UNFINISHED.as_bytes()) else { return false };
    tail.is_empty() || (tail[0] == b'.' && super::is_made(&name.to_string_lossy()))
}

/// Whoever has taken the name meanwhile keeps it.
fn give_name(directory: &OwnedFd, unfinished: &CStr, name: &CStr) -> Result<()> {
    let given = match renameat2(directory, unfinished, directory, name, RenameFlags::RENAME_NOREPLACE) {
        // Not every file system can.
        Err(Errno::EINVAL | Errno::ENOSYS) => renameat(directory, unfinished, directory, name),
        Err(Errno::EEXIST) => unlinkat(directory, unfinished, UnlinkatFlags::NoRemoveDir),
        given => given,
    };
    given.doing(|| "give it its name")
}

/// A file without a name (O_TMPFILE), which is gone if we are killed; or with that of what is unfinished, where the
/// file system knows no other.
fn nameless(directory: &OwnedFd) -> Result<(OwnedFd, Option<CString>)> {
    let owner = Mode::S_IRUSR | Mode::S_IWUSR;
    match openat(directory, ".", OFlag::O_TMPFILE | OFlag::O_WRONLY | OFlag::O_CLOEXEC, owner) {
        Err(Errno::EOPNOTSUPP | Errno::EISDIR | Errno::EINVAL) => {}
        made => return made.map(|made| (made, None)).doing(|| "make the copy"),
    }
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let unfinished = unfinished()?;
    let made = openat(directory, unfinished.as_c_str(), flags, owner).doing(|| "make the copy")?;
    Ok((made, Some(unfinished)))
}

/// The attributes that a file keeps. Overlayfs takes its own for its word: a layer must not bring them.
fn keeps(name: &[u8], what: What) -> bool {
    let of_overlay = name.starts_with(b"user.overlay.");
    match what {
        What::Image => (name.starts_with(b"user.") && !of_overlay) || attribute::is_capabilities(name),
        // trusted.* is for root of the host alone, who has its reasons; others do not even see it.
        What::Everything => {
            [&b"user."[..], b"trusted."].iter().any(|prefix| name.starts_with(prefix))
                || attribute::is_capabilities(name)
                || attribute::is_acl(name)
        }
    }
}

/// In this order: a change of owner takes setuid bits and capabilities away, and everything changes the time.
/// Returns whether all of its attributes could be set.
fn describe(source: &File, target: &File, stat: &FileStat, what: What) -> Result<bool> {
    let mut whole = true;
    allow(fchown(target, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid))))?;
    fchmod(target, Mode::from_bits_truncate(stat.st_mode & 0o7777)).doing(|| "set its mode")?;
    for name in attribute::names(source).doing(|| "read its attributes")? {
        if keeps(name.as_bytes(), what) {
            whole &= attribute::copy(source, target, &name).doing(|| "copy its attributes")?;
        }
    }
    let (accessed, modified) = times(stat);
    futimens(target, &accessed, &modified).doing(|| "set its time").map(|()| whole)
}

fn own(made: &OwnedFd, stat: &FileStat) -> Result<()> {
    allow(node::set_owner(made, Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid)))
}

fn set_times(made: &OwnedFd, stat: &FileStat) -> Result<()> {
    let (accessed, modified) = times(stat);
    node::set_times(made, accessed, modified).doing(|| "set its time")
}

/// A user with one id owns the copy as they own the original.
fn allow(changed: nix::Result<()>) -> Result<()> {
    match changed {
        Err(Errno::EINVAL) => Ok(()),
        Err(errno) => Err(Error::new(errno.desc().to_lowercase())).doing(|| "set its owner"),
        Ok(()) => Ok(()),
    }
}

fn times(stat: &FileStat) -> (TimeSpec, TimeSpec) {
    (TimeSpec::new(stat.st_atime, stat.st_atime_nsec), TimeSpec::new(stat.st_mtime, stat.st_mtime_nsec))
}
