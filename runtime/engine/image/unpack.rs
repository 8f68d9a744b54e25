//! From a tar to a tree. The tar is hostile until shown otherwise: every name is resolved by the kernel inside the
//! layer's root, nothing is followed at the end of a path, and nothing that is there already is written through.

use super::split::{Recorder, Tap};
use super::whiteout;
use crate::error::{Cause, Doing, Error, Result};
use crate::store::buffer::Buffer;
use crate::store::descent::shown;
use crate::store::early::Early;
use crate::store::{archive, attribute, beneath};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, SFlag, UtimensatFlags, fchmod, futimens, mkdirat, mknodat, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, LinkatFlags, Uid, UnlinkatFlags, fchown, fchownat, linkat, symlinkat, unlinkat};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;
use tar::{Archive, Entry, EntryType};

/// What this store cannot do.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// There is one id only: ownership is not kept.
    pub flattened: bool,
}

/// More names than any real image has in a layer.
const MOST_ENTRIES: u64 = 2_000_000;
/// PAX headers and long names are read whole.
const DIRECTORY: OFlag = OFlag::O_PATH.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);

/// Unpacks the tar behind `recorder` into `root`. Returns the bytes of all files.
pub fn unpack<R: Read>(recorder: Recorder<R>, root: &Path, limits: Limits) -> Result<(Recorder<R>, u64)> {
    let mut target = Target {
        root: Rc::new(beneath::root(root)?),
        tap: recorder.tap(),
        limits,
        parent: None,
        directories: Vec::new(),
        size: 0,
        early: Early::below(File::open(root).doing(|| "open the layer's tree")?),
        buffer: Buffer::new(128 * 1024),
        incapable: None,
    };
    // Set as the last, whatever umask we were started with.
    crate::kernel::umask(0o022);
    let mut archive = Archive::new(recorder);
    let mut count = 0;
    for entry in archive.entries().doing(|| "read the layer")? {
        let mut entry = entry.doing(|| "read the layer")?;
        let path = target.add(&mut entry);
        if let Err(error) = path {
            let shown = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            return Err(error).doing(|| format!("unpack {shown:?}"));
        }
        count += 1;
        if count > MOST_ENTRIES {
            return Err(Error::new(format!("the layer has more than {MOST_ENTRIES} entries")));
        }
    }
    target.settle_directories()?;
    target.tell_incapable();
    let size = target.size;
    drop(target);
    Ok((archive.into_inner(), size))
}

struct Target {
    root: Rc<OwnedFd>,
    tap: Tap,
    limits: Limits,
    /// The directory of the last entry, which most often is that of the next.
    parent: Option<(PathBuf, Rc<OwnedFd>)>,
    /// Their times change with everything that is put into them, and so are set at the end.
    directories: Vec<(PathBuf, TimeSpec)>,
    size: u64,
    early: Early,
    buffer: Buffer,
    /// The first file whose capabilities could not be set, and how many there are.
    incapable: Option<(PathBuf, u64)>,
}

impl Target {
    fn add<R: Read>(&mut self, entry: &mut Entry<Recorder<R>>) -> Result<()> {
        let kind = entry.header().entry_type();
        if matches!(kind, EntryType::XGlobalHeader) {
            return Ok(());
        }
        let path = clean(&entry.path_bytes())?;
        let Some(name) = path.file_name().map(OsStr::to_owned) else {
            // "./": the root itself.
            let root = beneath::open(&self.root, Path::new("/"), OFlag::O_RDONLY | OFlag::O_DIRECTORY, Mode::empty());
            return self.describe(entry, &File::from(root.doing(|| "open the layer's root")?), kind, &path);
        };
        let parent = self.enter(path.parent().unwrap_or(Path::new("")))?;
        if let Some(hidden) = whiteout::hidden(&name)? {
            return whiteout::make(&parent, hidden);
        }
        match kind {
            EntryType::Directory => self.directory(entry, &parent, &name, &path),
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                self.file(entry, &parent, &name, &path, kind)
            }
            EntryType::Symlink => self.symlink(entry, &parent, &name),
            EntryType::Link => self.hard_link(entry, &parent, &name),
            EntryType::Fifo => self.fifo(entry, &parent, &name),
            // A device of an image would be the host's device: it is not made. A container's /dev is its own anyway.
            EntryType::Char | EntryType::Block => Ok(()),
            other => Err(Error::new(format!("an entry of the unknown type {:?}", other.as_byte() as char))),
        }
    }

    /// The directory at `path`, made where it is missing; symlinks in it lead to where they lead inside the layer.
    fn enter(&mut self, path: &Path) -> Result<Rc<OwnedFd>> {
        if let Some((known, fd)) = &self.parent
            && known == path
        {
            return Ok(fd.clone());
        }
        let fd = Rc::new(beneath::make_dirs(&self.root, path, Mode::from_bits_truncate(0o755))?);
        self.parent = Some((path.to_owned(), fd.clone()));
        Ok(fd)
    }

    /// Takes away what has this name. A name is never written through.
    fn clear(&mut self, parent: &OwnedFd, name: &OsStr) -> Result<()> {
        match unlinkat(parent, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) => self.parent = None,
            Err(Errno::ENOENT) => {}
            Err(Errno::EISDIR | Errno::EPERM) => {
                self.parent = None;
                let place = Path::new("/proc/self/fd").join(parent.as_raw_fd().to_string());
                crate::store::tree::remove(&place.join(name))?;
            }
            Err(errno) => return Err(errno).doing(|| "replace what was there"),
        }
        Ok(())
    }

    fn directory<R: Read>(
        &mut self,
        entry: &mut Entry<Recorder<R>>,
        parent: &OwnedFd,
        name: &OsStr,
        path: &Path,
    ) -> Result<()> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mut hides_lower = false;
        let opened = match openat(parent, name, flags, Mode::empty()) {
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => {
                // A whiteout of this very layer and a directory of that name: a new directory, that hides the old one.
                hides_lower = whiteout::is_one(parent, name);
                self.clear(parent, name)?;
                mkdirat(parent, name, Mode::S_IRWXU).doing(|| "make the directory")?;
                openat(parent, name, flags, Mode::empty())
            }
            result => result,
        };
        let directory = File::from(opened.doing(|| "open the directory")?);
        self.describe(entry, &directory, EntryType::Directory, path)?;
        if hides_lower { whiteout::make_opaque(&directory) } else { Ok(()) }
    }

    fn file<R: Read>(
        &mut self,
        entry: &mut Entry<Recorder<R>>,
        parent: &OwnedFd,
        name: &OsStr,
        path: &Path,
        kind: EntryType,
    ) -> Result<()> {
        self.clear(parent, name)?;
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let opened = openat(parent, name, flags, Mode::S_IRUSR | Mode::S_IWUSR).doing(|| "make the file")?;
        let mut file = File::from(opened);
        let size = entry.size();
        // A sparse file's bytes in the tar are not its contents, and stay in the record.
        if kind != EntryType::GNUSparse && size > 0 {
            self.tap.skip(path, size).doing(|| "write the layer's record")?;
        }
        let written = copy(entry, &mut file, &mut self.buffer).doing(|| "write the file")?;
        if written != size {
            return Err(Error::new(format!("the archive ends in the middle of it ({written} of {size} bytes)")));
        }
        self.size += written;
        self.early.made(written, 1);
        self.describe(entry, &file, kind, path)
    }

    fn symlink<R: Read>(&mut self, entry: &Entry<Recorder<R>>, parent: &OwnedFd, name: &OsStr) -> Result<()> {
        let target = entry.link_name_bytes().ok_or_else(|| Error::new("a symlink without a target"))?;
        self.clear(parent, name)?;
        self.parent = None;
        symlinkat(OsStr::from_bytes(&target), parent, name).doing(|| "make the symlink")?;
        self.own_at(entry, parent, name)
    }

    /// The target is a name in the same layer; neither its last part nor anything outside is ever linked to.
    fn hard_link<R: Read>(&mut self, entry: &Entry<Recorder<R>>, parent: &OwnedFd, name: &OsStr) -> Result<()> {
        let target = entry.link_name_bytes().ok_or_else(|| Error::new("a hard link without a target"))?;
        let target = clean(&target)?;
        let missing = || format!("link it to {}", target.display());
        let target_name = target.file_name().ok_or_else(|| Error::new("a hard link to the root"))?;
        let above = beneath::open(&self.root, target.parent().unwrap_or(Path::new("")), DIRECTORY, Mode::empty());
        let above = above.doing(missing)?;
        self.clear(parent, name)?;
        linkat(&above, target_name, parent, name, LinkatFlags::empty()).doing(missing)
    }

    fn fifo<R: Read>(&mut self, entry: &Entry<Recorder<R>>, parent: &OwnedFd, name: &OsStr) -> Result<()> {
        self.clear(parent, name)?;
        let mode = Mode::from_bits_truncate(entry.header().mode().unwrap_or(0o600));
        mknodat(parent, name, SFlag::S_IFIFO, mode, 0).doing(|| "make the FIFO")?;
        self.own_at(entry, parent, name)
    }

    /// Owner and times of what cannot be opened.
    fn own_at<R: Read>(&self, entry: &Entry<Recorder<R>>, parent: &OwnedFd, name: &OsStr) -> Result<()> {
        let (uid, gid) = owner(entry)?;
        self.allow(fchownat(parent, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW), uid, gid)?;
        let time = time(entry);
        utimensat(parent, name, &time, &time, UtimensatFlags::NoFollowSymlink).doing(|| "set its time")
    }

    /// Owner, mode, extended attributes and times. In this order: a change of owner takes setuid bits away.
    fn describe<R: Read>(
        &mut self,
        entry: &mut Entry<Recorder<R>>,
        file: &File,
        kind: EntryType,
        path: &Path,
    ) -> Result<()> {
        let (uid, gid) = owner(entry)?;
        self.allow(fchown(file, Some(uid), Some(gid)), uid, gid)?;
        let mode = entry.header().mode().doing(|| "read its mode")? & 0o7777;
        fchmod(file, Mode::from_bits_truncate(mode)).doing(|| "set its mode")?;
        if !set_attributes(entry, file)? {
            self.incapable = Some(match self.incapable.take() {
                Some((first, count)) => (first, count + 1),
                None => (path.to_owned(), 1),
            });
        }
        if kind == EntryType::Directory || path.as_os_str().is_empty() {
            self.directories.push((path.to_owned(), time(entry)));
            return Ok(());
        }
        let time = time(entry);
        futimens(file, &time, &time).doing(|| "set its time")
    }

    fn allow(&self, changed: nix::Result<()>, uid: Uid, gid: Gid) -> Result<()> {
        match changed {
            // The user has one id: everything is theirs.
            Err(Errno::EINVAL | Errno::EPERM) if self.limits.flattened => Ok(()),
            Err(Errno::EINVAL) => Err(Errno::EINVAL.into_error().with_cure(format!(
                "its owner {uid}:{gid} is not among your subordinate ids: see /etc/subuid and /etc/subgid"
            )))
            .doing(|| "set its owner"),
            result => result.doing(|| "set its owner"),
        }
    }

    fn settle_directories(&self) -> Result<()> {
        for (path, time) in self.directories.iter().rev() {
            let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
            // One that a later entry replaced has no time to set any more.
            if let Ok(directory) = beneath::open(&*self.root, path, flags, Mode::empty()) {
                futimens(&directory, time, time).doing(|| format!("set the time of {}", path.display()))?;
            }
        }
        Ok(())
    }

    /// Docker's daemon and Podman note the same in their logs, and go on.
    fn tell_incapable(&self) {
        if let Some((first, count)) = &self.incapable {
            let files = if *count == 1 { "1 file".to_owned() } else { format!("{count} files") };
            eprintln!(
                "ebb: warning: the file capabilities of {files} were left out (the first is {}): this kernel or the store's \
                 file system does not take them",
                shown(first).escape_debug()
            );
        }
    }
}

/// The name of an entry below the root: without a leading `/` or `./`. A `..` anywhere is refused, whatever it would
/// lead to: no honest archive has one.
fn clean(bytes: &[u8]) -> Result<PathBuf> {
    let mut path = PathBuf::new();
    for component in Path::new(OsStr::from_bytes(bytes)).components() {
        match component {
            Component::Normal(name) => path.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => return Err(Error::new("its name has a \"..\" in it")),
        }
    }
    if bytes.contains(&0) {
        return Err(Error::new("its name has a NUL byte in it"));
    }
    if bytes.len() >= libc::PATH_MAX as usize {
        return Err(Error::new("its name is longer than a path may be"));
    }
    Ok(path)
}

fn owner<R: Read>(entry: &Entry<Recorder<R>>) -> Result<(Uid, Gid)> {
    let header = entry.header();
    let id = |field: &[u8], number: io::Result<u64>| -> Result<u32> {
        // A field that was left empty is 0, as GNU tar reads it.
        if field.iter().all(|byte| matches!(byte, 0 | b' ')) {
            return Ok(0);
        }
        archive::owner::id(number.doing(|| "read its owner")?)
    };
    let fields = header.as_old();
    Ok((Uid::from_raw(id(&fields.uid, header.uid())?), Gid::from_raw(id(&fields.gid, header.gid())?)))
}

fn time<R: Read>(entry: &Entry<Recorder<R>>) -> TimeSpec {
    let seconds = entry.header().mtime().unwrap_or(0);
    TimeSpec::new(i64::try_from(seconds).unwrap_or(0), 0)
}

/// `user.*` and capabilities, and none of the overlay's marks: those would forge whiteouts and opaque directories. Returns
/// whether its capabilities could be set, if it has any: without them a program may not do what it is there for.
fn set_attributes<R: Read>(entry: &mut Entry<Recorder<R>>, file: &File) -> Result<bool> {
    let Some(extensions) = entry.pax_extensions().doing(|| "read its PAX header")? else { return Ok(true) };
    let mut capable = true;
    for extension in extensions {
        let extension = extension.doing(|| "read its PAX header")?;
        let Some(name) = extension.key_bytes().strip_prefix(b"SCHILY.xattr.") else { continue };
        let is_capabilities = attribute::is_capabilities(name);
        if is_capabilities || (name.starts_with(b"user.") && !name.starts_with(b"user.overlay.")) {
            let name = OsStr::from_bytes(name);
            let set = attribute::set(file, name, extension.value_bytes());
            capable &= set.doing(|| format!("set its attribute {}", name.display()))? || !is_capabilities;
        }
    }
    Ok(capable)
}

/// io::copy, with the target's own buffer, which suits a disk.
fn copy(from: &mut impl Read, to: &mut File, buffer: &mut [u8]) -> io::Result<u64> {
    let mut total = 0;
    loop {
        match from.read(buffer) {
            Ok(0) => return Ok(total),
            Ok(length) => {
                to.write_all(&buffer[..length])?;
                total += length as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
