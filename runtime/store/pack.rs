//! Writes files as a tar stream, by descriptors from one end to the other: what changes meanwhile can spoil a copy, and
//! cannot lead it elsewhere. The format is POSIX.1-2001's (pax), with GNU's sparse files 1.0 and star's extended
//! attributes, as GNU tar and Go's archive/tar read them.

mod blocks;
mod entry;
mod sparse;

use super::bounds;
use super::buffer::Buffer;
use super::descent::{Descent, refuse_too_long, shown};
use crate::error::{Doing, Error, Result};
use blocks::Blocks;
use entry::Entry;
pub use entry::is_kept;
use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};
use nix::sys::statfs::{
    CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, DEBUGFS_MAGIC, PROC_SUPER_MAGIC, SYSFS_MAGIC, TRACEFS_MAGIC, fstatfs,
};
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use tar::EntryType;

/// What is kept of a file besides its name, contents, ids, mode and links.
#[derive(Debug, Default, Clone, Copy)]
pub struct Keep {
    /// Times to the nanosecond, as far as the file system has them; else whole seconds.
    pub nanoseconds: bool,
    /// This file (device, inode) is left out: the archive itself.
    pub except: Option<(u64, u64)>,
    /// Sockets, for which tar has no type: an empty file to others, with star's record of what it was.
    pub sockets: bool,
}

/// A tar stream in the making. Ids, modes, hard links, ACLs, `user.*` attributes and capabilities are as on the disk.
pub struct Pack<W: Write> {
    out: Blocks<W>,
    keep: Keep,
    /// Where a file with several names went first.
    links: HashMap<(u64, u64), PathBuf>,
    /// The first file that changed while it was read, and how many did.
    changed: Option<(PathBuf, u64)>,
    /// That of what came first.
    device: Option<u64>,
    /// Whether the kernel shows itself on this device: that of the last file that took no blocks.
    composes: Option<(u64, bool)>,
}

/// Whether the kernel shows itself there (/proc, /sys): what is below is no file of anybody's, and some of it has no end. Who
/// asks for a part of it gets that.
fn is_kernels(directory: &File) -> bool {
    let all = [PROC_SUPER_MAGIC, SYSFS_MAGIC, CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, DEBUGFS_MAGIC, TRACEFS_MAGIC];
    fstatfs(directory).is_ok_and(|stat| all.contains(&stat.filesystem_type()))
}

const OPEN: OFlag = OFlag::O_RDONLY.union(OFlag::O_NONBLOCK).union(OFlag::O_NOCTTY).union(OFlag::O_CLOEXEC);

/// How often a name that is a different thing at each look is looked at again.
const PATIENCE: u32 = 1000;

/// What is left of a directory that is being packed, the last name first.
type Names = Vec<(OsString, Option<Type>)>;

impl<W: Write> Pack<W> {
    pub fn new(out: W) -> Pack<W> {
        Pack::keeping(out, Keep::default())
    }

    pub fn keeping(out: W, keep: Keep) -> Pack<W> {
        Pack { out: Blocks::new(out), keep, links: HashMap::new(), changed: None, device: None, composes: None }
    }

    /// What it is written to, which has all by now that was packed so far.
    pub fn written(&mut self) -> Result<&mut W> {
        self.out.written().doing(|| "write the archive")
    }

    /// Writes the end of the archive, and gives back what it was written to.
    pub fn finish(self) -> Result<W> {
        self.out.end().doing(|| "end the archive")
    }

    /// The first file that changed while it was read, and how many did: their copies may be torn.
    pub fn changed(&self) -> Option<(&Path, u64)> {
        self.changed.as_ref().map(|(first, count)| (first.as_path(), *count))
    }

    /// What is in `directory`, below `path` in the archive (which may be empty).
    pub fn contents(&mut self, directory: OwnedFd, path: &Path) -> Result<()> {
        // A tree can be deeper than a stack of calls may be.
        let mut levels = vec![names(&directory)?];
        let mut descent = Descent::new(directory);
        let mut above = path.to_owned();
        while let Some(left) = levels.last_mut() {
            let Some((name, hint)) = left.pop() else {
                levels.pop();
                if descent.up().doing(|| format!("read {}", shown(&above)))?.is_some() {
                    above.pop();
                }
                continue;
            };
            let path = above.join(&name);
            let below = self.one(descent.here(), &name, hint, &path).and_then(|directory| {
                directory.map(|directory| names(&directory).map(|names| (directory, names))).transpose()
            });
            if let Some((directory, names)) = below.doing(|| format!("read {}", shown(&path)))? {
                levels.push(names);
                descent.down(directory)?;
                above = path;
            }
        }
        Ok(())
    }

    /// What `name` in `parent` is, a symlink as a symlink, as `path` in the archive. What has gone by now is left out.
    pub fn named(&mut self, parent: &OwnedFd, name: &OsStr, path: &Path) -> Result<()> {
        match self.one(parent, name, None, path)? {
            Some(directory) => self.contents(directory, path),
            None => Ok(()),
        }
    }

    /// An open file or directory, with all that is in it, as `path` in the archive.
    pub fn opened(&mut self, fd: OwnedFd, path: &Path) -> Result<()> {
        let stat = fstat(&fd).doing(|| "look at it")?;
        match kind(&stat) {
            SFlag::S_IFDIR | SFlag::S_IFREG => match self.open_one(fd, &stat, path)? {
                Some(directory) => self.contents(directory, path),
                None => Ok(()),
            },
            _ => Err(Error::new("it is neither a file nor a directory")),
        }
    }

    /// Writes one entry. Of a directory the descriptor comes back, for what is in it.
    fn one(&mut self, parent: &OwnedFd, name: &OsStr, hint: Option<Type>, path: &Path) -> Result<Option<OwnedFd>> {
        refuse_too_long(path)?;
        let mut hint = hint;
        for _ in 0..PATIENCE {
            // Most often the directory has said what it is: one call less for each file.
            if !matches!(hint.take(), Some(Type::File | Type::Directory)) {
                let stat = match fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
                    Err(Errno::ENOENT) => return Ok(None),
                    found => found.doing(|| "look at it")?,
                };
                if !matches!(kind(&stat), SFlag::S_IFREG | SFlag::S_IFDIR) {
                    match self.special(parent, name, &stat, path)? {
                        true => return Ok(None),
                        false => continue,
                    }
                }
            }
            match openat(parent, name, OPEN | OFlag::O_NOFOLLOW, Mode::empty()) {
                Err(Errno::ENOENT) => return Ok(None),
                // A symlink, a socket or a device by now.
                Err(Errno::ELOOP | Errno::ENXIO) => {}
                opened => {
                    let fd = opened.doing(|| "open it")?;
                    let stat = fstat(&fd).doing(|| "look at it")?;
                    if matches!(kind(&stat), SFlag::S_IFREG | SFlag::S_IFDIR) {
                        return self.open_one(fd, &stat, path);
                    }
                }
            }
        }
        Err(Error::new("it is something else each time it is looked at"))
    }

    /// What is read without being opened. `false` where it is something else by now.
    fn special(&mut self, parent: &OwnedFd, name: &OsStr, stat: &FileStat, path: &Path) -> Result<bool> {
        let target = match kind(stat) {
            SFlag::S_IFLNK => match readlinkat(parent, name) {
                Err(Errno::EINVAL | Errno::ENOENT) => return Ok(false),
                target => target.doing(|| "read the symlink")?,
            },
            _ => OsString::new(),
        };
        if self.is_known_by_another_name(stat, path)? {
            return Ok(true);
        }
        let kind = match kind(stat) {
            SFlag::S_IFLNK => EntryType::Symlink,
            SFlag::S_IFIFO => EntryType::Fifo,
            SFlag::S_IFCHR => EntryType::Char,
            SFlag::S_IFBLK => EntryType::Block,
            _ if self.keep.sockets => EntryType::Regular,
            // A tar has no word for a socket.
            _ => return Ok(true),
        };
        let mut entry = Entry::new(path, stat, kind, self.keep);
        if kind == EntryType::Regular {
            entry.record(b"SCHILY.filetype", b"socket");
        }
        entry.link(target.as_bytes());
        entry.write(&mut self.out, 0).doing(|| "write it")?;
        Ok(true)
    }

    fn open_one(&mut self, fd: OwnedFd, stat: &FileStat, path: &Path) -> Result<Option<OwnedFd>> {
        let file = File::from(fd);
        let device = *self.device.get_or_insert(stat.st_dev);
        if self.keep.except == Some((stat.st_dev, stat.st_ino)) {
            return Ok(None);
        }
        if kind(stat) == SFlag::S_IFDIR {
            let mut entry = Entry::new(&path.join(""), stat, EntryType::Directory, self.keep);
            entry.attributes(&file)?;
            entry.write(&mut self.out, 0).doing(|| "write it")?;
            if stat.st_dev != device && is_kernels(&file) {
                return Ok(None);
            }
            return Ok(Some(file.into()));
        }
        if !self.is_known_by_another_name(stat, path)? {
            self.regular(&file, stat, path)?;
        }
        Ok(None)
    }

    fn is_known_by_another_name(&mut self, stat: &FileStat, path: &Path) -> Result<bool> {
        if stat.st_nlink < 2 {
            return Ok(false);
        }
        let file = (stat.st_dev, stat.st_ino);
        let Some(first) = self.links.get(&file) else {
            self.links.insert(file, path.to_owned());
            return Ok(false);
        };
        let mut entry = Entry::new(path, stat, EntryType::Link, self.keep);
        entry.link(first.as_os_str().as_bytes());
        entry.write(&mut self.out, 0).doing(|| "write it")?;
        Ok(true)
    }

    /// Whether the kernel writes this file while it is read.
    fn is_composed(&mut self, file: &File, stat: &FileStat) -> bool {
        match self.composes {
            Some((device, composes)) if device == stat.st_dev => composes,
            _ => self.composes.insert((stat.st_dev, is_kernels(file))).1,
        }
    }

    fn regular(&mut self, file: &File, stat: &FileStat, path: &Path) -> Result<()> {
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let mut entry = Entry::new(path, stat, EntryType::Regular, self.keep);
        entry.attributes(file)?;
        if stat.st_blocks == 0 && self.is_composed(file, stat) {
            let contents = composed(file, stat)?;
            entry.write(&mut self.out, contents.len() as u64).doing(|| "write it")?;
            self.out.bytes(&contents).doing(|| "write it")?;
            return self.out.pad().doing(|| "write it");
        }
        let holes = u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512) < size;
        match if holes { sparse::map(file, size).doing(|| "look for its holes")? } else { None } {
            Some(map) => {
                let head = entry.sparse(path, size, &map);
                let stored = map.iter().map(|(_, length)| length).sum::<u64>() + head.len() as u64;
                entry.write(&mut self.out, stored).doing(|| "write it")?;
                self.out.bytes(&head).doing(|| "write it")?;
                for (offset, length) in map {
                    self.out.copy_at(file, offset, length).doing(|| "copy its contents")?;
                }
            }
            None => {
                entry.write(&mut self.out, size).doing(|| "write it")?;
                self.out.copy(file, size).doing(|| "copy its contents")?;
            }
        }
        self.out.pad().doing(|| "write it")?;
        let now = fstat(file).doing(|| "look at it again")?;
        if (now.st_size, now.st_mtime, now.st_mtime_nsec) != (stat.st_size, stat.st_mtime, stat.st_mtime_nsec) {
            let (first, count) = self.changed.take().unwrap_or((path.to_owned(), 0));
            self.changed = Some((first, count + 1));
        }
        Ok(())
    }
}

/// Such a file has no size, or one page's, until it has been read. One that nobody may read is written to only.
fn composed(file: &File, stat: &FileStat) -> Result<Vec<u8>> {
    let mut contents = Vec::new();
    if stat.st_mode & 0o444 == 0 {
        return Ok(contents);
    }
    // By large pieces: some files give all that they have to the first read, and nothing to the next.
    let mut buffer = Buffer::new(128 << 10);
    loop {
        match (&*file).read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(0) => return Ok(contents),
            read => contents.extend_from_slice(&buffer[..read.doing(|| "read it")?]),
        }
        if contents.len() > bounds::COMPOSED {
            let most = bounds::COMPOSED >> 20;
            return Err(Error::new(format!(
                "the kernel has more than {most} MiB to say in it, or never comes to its end"
            )));
        }
    }
}

/// The names in a directory, sorted from the end, so that the same files make the same archive.
fn names(directory: &OwnedFd) -> Result<Names> {
    let listed = openat(directory, ".", OPEN | OFlag::O_DIRECTORY, Mode::empty()).doing(|| "open it")?;
    let mut listed = Dir::from_fd(listed).doing(|| "read it")?;
    let mut names = Vec::new();
    for entry in listed.iter() {
        let entry = entry.doing(|| "read it")?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name != "." && name != ".." {
            names.push((name.to_owned(), entry.file_type()));
        }
    }
    names.sort_by(|one, other| other.0.cmp(&one.0));
    Ok(names)
}

fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}

/// Whether nobody reads from this pipe any more: then it is no fault of ours that it cannot be written to.
pub fn listener_is_gone(out: &File) -> bool {
    let mut asked = [PollFd::new(out.as_fd(), PollFlags::POLLOUT)];
    let answered = poll(&mut asked, PollTimeout::ZERO);
    answered.is_ok() && asked[0].revents().is_some_and(|events| events.contains(PollFlags::POLLERR))
}
