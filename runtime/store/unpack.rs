//! Writes the files of a tar stream into a directory. Every name is resolved by the kernel inside that directory; what
//! the archive, or whoever else writes there meanwhile, has put in the way leads nowhere else.

use super::{beneath, id};
use crate::error::{Doing, Error, Result};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, renameat};
use nix::sys::stat::{Mode, SFlag, UtimensatFlags, fchmod, fstatat, futimens, mkdirat, mknodat, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, LinkatFlags, Uid, UnlinkatFlags, fchown, fchownat, linkat, symlinkat, unlinkat};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use tar::{Archive, Entry, EntryType};
use xattr::FileExt;

/// Unpacks the whole of `input` into `target`. `place` says where the entry of a cleaned name goes, given whether it is
/// a directory. With `owners` the archive's owners are kept, and setuid bits with them; without, all belongs to us.
pub fn unpack(
    input: impl Read,
    target: &OwnedFd,
    owners: bool,
    mut place: impl FnMut(&Path, bool) -> Result<PathBuf>,
) -> Result<()> {
    let mut unpacking = Unpacking { target, owners, directories: Vec::new() };
    let mut archive = Archive::new(input);
    for entry in archive.entries().doing(|| "read the archive")? {
        let mut entry = entry.doing(|| "read the archive")?;
        let kind = entry.header().entry_type();
        if kind == EntryType::XGlobalHeader {
            continue;
        }
        let path = place(&clean(&entry.path_bytes())?, kind == EntryType::Directory)?;
        let link = match entry.link_name_bytes() {
            // A hard link's target is a name in the archive as well; it exists, so it is no directory.
            Some(link) if kind == EntryType::Link => place(&clean(&link)?, false)?.into_os_string(),
            Some(link) => OsStr::from_bytes(&link).to_owned(),
            None => OsString::new(),
        };
        unpacking.entry(&mut entry, &path, &link).doing(|| format!("copy {}", path.display()))?;
    }
    unpacking.settle_directories()
}

struct Unpacking<'a> {
    target: &'a OwnedFd,
    owners: bool,
    /// Their times change with everything that is put into them, and their modes may forbid us to.
    directories: Vec<(PathBuf, Mode, TimeSpec)>,
}

impl Unpacking<'_> {
    fn entry<R: Read>(&mut self, entry: &mut Entry<R>, path: &Path, link: &OsStr) -> Result<()> {
        let kind = entry.header().entry_type();
        let Some(name) = path.file_name() else {
            // The target itself is as its owner made it.
            return Ok(());
        };
        let parent = self.parent(path)?;
        if kind == EntryType::Directory {
            return self.directory(entry, &parent, name, path);
        }
        let found = fstatat(&parent, name, AtFlags::AT_SYMLINK_NOFOLLOW);
        if found.is_ok_and(|stat| SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR) {
            let shown = path.display();
            return Err(Error::new(format!("cannot overwrite directory \"/{shown}\" with non-directory \"/{shown}\"")));
        }
        match kind {
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => self.file(entry, &parent, name),
            EntryType::Symlink => {
                clear(&parent, name)?;
                symlinkat(link, &parent, name).doing(|| "make the symlink")?;
                self.describe_at(entry, &parent, name)
            }
            EntryType::Link => self.hard_link(Path::new(link), &parent, name),
            EntryType::Fifo => {
                clear(&parent, name)?;
                mknodat(&parent, name, SFlag::S_IFIFO, self.mode(entry)?, 0).doing(|| "make the FIFO")?;
                self.describe_at(entry, &parent, name)
            }
            EntryType::Char | EntryType::Block => {
                // A device is a way to the host's hardware, whatever it is called.
                eprintln!("ebb: left out {}: it is a device", path.display());
                Ok(())
            }
            other => Err(Error::new(format!("entries of type {other:?} are not known"))),
        }
    }

    fn parent(&self, path: &Path) -> Result<OwnedFd> {
        let parent = path.parent().unwrap_or(Path::new(""));
        match beneath::open(self.target, parent, OFlag::O_PATH | OFlag::O_DIRECTORY, Mode::empty()) {
            // An archive need not name the directories on the way.
            Err(Errno::ENOENT) => beneath::make_dirs(self.target, parent, Mode::from_bits_truncate(0o755)),
            opened => opened.doing(|| format!("open {}", parent.display())),
        }
    }

    fn directory<R: Read>(&mut self, entry: &Entry<R>, parent: &OwnedFd, name: &OsStr, path: &Path) -> Result<()> {
        let is_new = match mkdirat(parent, name, Mode::S_IRWXU) {
            Ok(()) => true,
            Err(Errno::EEXIST) => false,
            Err(errno) => return Err(errno).doing(|| "make the directory"),
        };
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let made = match openat(parent, name, flags, Mode::empty()) {
            // A symlink too, even to a directory: it would lead the rest of the archive away.
            Err(Errno::ENOTDIR | Errno::ELOOP) => {
                let shown = path.display();
                return Err(Error::new(format!(
                    "cannot overwrite non-directory \"/{shown}\" with directory \"/{shown}\""
                )));
            }
            opened => File::from(opened.doing(|| "open the directory")?),
        };
        // One that was there keeps what it is; only what is in the archive is put into it.
        if is_new {
            self.own(entry, &made)?;
            self.directories.push((path.to_owned(), self.mode(entry)?, time(entry)));
        }
        Ok(())
    }

    /// Written beside its place and renamed into it: who reads the old file reads all of it, and a full disk leaves it.
    fn file<R: Read>(&mut self, entry: &mut Entry<R>, parent: &OwnedFd, name: &OsStr) -> Result<()> {
        let half = format!(".ebb-{}", &id::random()?[..16]);
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let made = openat(parent, half.as_str(), flags, Mode::S_IRUSR | Mode::S_IWUSR).doing(|| "make the file")?;
        let mut file = File::from(made);
        let written = self.fill(entry, &mut file).and_then(|()| match renameat(parent, half.as_str(), parent, name) {
            Err(Errno::EBUSY) => write_into_mounted(&mut file, parent, name),
            renamed => renamed.doing(|| "put it in its place"),
        });
        // Gone already where all went well.
        let _ = unlinkat(parent, half.as_str(), UnlinkatFlags::NoRemoveDir);
        written
    }

    fn fill<R: Read>(&mut self, entry: &mut Entry<R>, file: &mut File) -> Result<()> {
        let size = entry.size();
        let written = io::copy(entry, file).doing(|| "write it")?;
        if written != size {
            return Err(Error::new(format!("the archive ends in the middle of it ({written} of {size} bytes)")));
        }
        set_attributes(entry, file)?;
        // In this order: a change of owner takes setuid bits away.
        self.own(entry, file)?;
        fchmod(&*file, self.mode(entry)?).doing(|| "set its mode")?;
        let time = time(entry);
        futimens(&*file, &time, &time).doing(|| "set its time")
    }

    /// Its target is what this archive, or the container before it, has put there: never followed where it is a link.
    fn hard_link(&self, target: &Path, parent: &OwnedFd, name: &OsStr) -> Result<()> {
        let missing = || format!("link it to {}", target.display());
        let Some(target_name) = target.file_name() else { return Err(Error::new("a hard link to a directory")) };
        let above = self.parent(target)?;
        clear(parent, name)?;
        linkat(&above, target_name, parent, name, LinkatFlags::empty()).doing(missing)
    }

    fn own<R: Read>(&self, entry: &Entry<R>, file: &File) -> Result<()> {
        if !self.owners {
            return Ok(());
        }
        let (uid, gid) = owner(entry)?;
        allow(fchown(file, Some(uid), Some(gid)))
    }

    fn describe_at<R: Read>(&self, entry: &Entry<R>, parent: &OwnedFd, name: &OsStr) -> Result<()> {
        if self.owners {
            let (uid, gid) = owner(entry)?;
            allow(fchownat(parent, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW))?;
        }
        let time = time(entry);
        utimensat(parent, name, &time, &time, UtimensatFlags::NoFollowSymlink).doing(|| "set its time")
    }

    /// A setuid bit means its owner; with another owner it would mean somebody else.
    fn mode<R: Read>(&self, entry: &Entry<R>) -> Result<Mode> {
        let mode = entry.header().mode().doing(|| "read its mode")?;
        Ok(Mode::from_bits_truncate(mode & if self.owners { 0o7777 } else { 0o1777 }))
    }

    fn settle_directories(&self) -> Result<()> {
        for (path, mode, time) in self.directories.iter().rev() {
            let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
            if let Ok(directory) = beneath::open(self.target, path, flags, Mode::empty()) {
                let settled = fchmod(&directory, *mode).and_then(|()| futimens(&directory, time, time));
                settled.doing(|| format!("set the mode and the time of {}", path.display()))?;
            }
        }
        Ok(())
    }
}

/// What something is mounted on (/etc/hosts) cannot be replaced: it is written into.
fn write_into_mounted(from: &mut File, parent: &OwnedFd, name: &OsStr) -> Result<()> {
    let flags = OFlag::O_WRONLY | OFlag::O_TRUNC | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let mut into = File::from(openat(parent, name, flags, Mode::empty()).doing(|| "open it")?);
    from.rewind().and_then(|()| io::copy(from, &mut into)).map(drop).doing(|| "write it")
}

fn clear(parent: &OwnedFd, name: &OsStr) -> Result<()> {
    match unlinkat(parent, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(errno) => Err(errno).doing(|| "replace what was there"),
    }
}

/// A name of the archive, relative. One with `..` is refused, whatever it would lead to: no honest archive has one.
fn clean(bytes: &[u8]) -> Result<PathBuf> {
    let path = Path::new(OsStr::from_bytes(bytes));
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(Error::new(format!("the archive's {} has a \"..\" in it", path.display())));
            }
        }
    }
    Ok(clean)
}

/// Without the power to give files away, or with ids that are not ours to give, they stay ours.
fn allow(changed: nix::Result<()>) -> Result<()> {
    match changed {
        Ok(()) | Err(Errno::EPERM | Errno::EINVAL) => Ok(()),
        Err(errno) => Err(errno).doing(|| "set its owner"),
    }
}

fn owner<R: Read>(entry: &Entry<R>) -> Result<(Uid, Gid)> {
    let id = |number: io::Result<u64>| -> Result<u32> {
        u32::try_from(number.doing(|| "read its owner")?).map_err(|_| Error::new("its owner is no 32-bit id"))
    };
    Ok((Uid::from_raw(id(entry.header().uid())?), Gid::from_raw(id(entry.header().gid())?)))
}

fn time<R: Read>(entry: &Entry<R>) -> TimeSpec {
    TimeSpec::new(i64::try_from(entry.header().mtime().unwrap_or(0)).unwrap_or(0), 0)
}

fn set_attributes<R: Read>(entry: &mut Entry<R>, file: &File) -> Result<()> {
    let Some(extensions) = entry.pax_extensions().doing(|| "read its PAX header")? else { return Ok(()) };
    for extension in extensions {
        let extension = extension.doing(|| "read its PAX header")?;
        let Some(name) = extension.key_bytes().strip_prefix(b"SCHILY.xattr.") else { continue };
        if !name.starts_with(b"user.") || name.starts_with(b"user.overlay.") {
            continue;
        }
        match file.set_xattr(OsStr::from_bytes(name), extension.value_bytes()) {
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {}
            result => result.doing(|| "set its attributes")?,
        }
    }
    Ok(())
}
