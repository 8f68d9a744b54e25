//! Writes files as a tar stream, by descriptors from one end to the other: what changes meanwhile can spoil a copy, and
//! cannot lead it elsewhere.

use crate::error::{Doing, Error, Result};
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat, major, minor};
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use tar::{Builder, EntryType, Header};
use xattr::FileExt;

/// A tar stream in the making. Ids, modes, hard links and `user.*` attributes are as on the disk; times are in seconds.
pub struct Pack<W: Write> {
    tar: Builder<BufWriter<W>>,
    /// Where a file with several names went first.
    links: HashMap<(u64, u64), PathBuf>,
}

const OPEN: OFlag = OFlag::O_RDONLY.union(OFlag::O_NONBLOCK).union(OFlag::O_NOCTTY).union(OFlag::O_CLOEXEC);

impl<W: Write> Pack<W> {
    pub fn new(out: W) -> Pack<W> {
        Pack { tar: Builder::new(BufWriter::with_capacity(1 << 17, out)), links: HashMap::new() }
    }

    /// Writes the end of the archive.
    pub fn finish(self) -> Result<()> {
        let mut out = self.tar.into_inner().doing(|| "end the archive")?;
        out.flush().doing(|| "end the archive")
    }

    /// What is in `directory`, below `path` in the archive (which may be empty).
    pub fn contents(&mut self, directory: OwnedFd, path: &Path) -> Result<()> {
        for name in names(&directory)? {
            let below = path.join(&name);
            self.named(&directory, &name, &below).doing(|| format!("read {}", below.display()))?;
        }
        Ok(())
    }

    /// What `name` in `parent` is, a symlink as a symlink, as `path` in the archive. What has gone by now is left out.
    pub fn named(&mut self, parent: &OwnedFd, name: &OsStr, path: &Path) -> Result<()> {
        let stat = match fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Err(Errno::ENOENT) => return Ok(()),
            found => found.doing(|| "look at it")?,
        };
        if stat.st_nlink > 1 && kind(&stat) != SFlag::S_IFDIR {
            let file = (stat.st_dev, stat.st_ino);
            if let Some(first) = self.links.get(&file) {
                let first = first.clone();
                return self.entry(path, &stat, EntryType::Link, first.as_os_str().as_bytes(), None);
            }
            self.links.insert(file, path.to_owned());
        }
        match kind(&stat) {
            SFlag::S_IFREG | SFlag::S_IFDIR => match openat(parent, name, OPEN | OFlag::O_NOFOLLOW, Mode::empty()) {
                Err(Errno::ENOENT) => Ok(()),
                opened => self.opened(opened.doing(|| "open it")?, path),
            },
            SFlag::S_IFLNK => {
                let target = readlinkat(parent, name).doing(|| "read the symlink")?;
                self.entry(path, &stat, EntryType::Symlink, target.as_bytes(), None)
            }
            SFlag::S_IFIFO => self.entry(path, &stat, EntryType::Fifo, b"", None),
            SFlag::S_IFCHR => self.entry(path, &stat, EntryType::Char, b"", None),
            SFlag::S_IFBLK => self.entry(path, &stat, EntryType::Block, b"", None),
            // A tar has no word for a socket.
            _ => Ok(()),
        }
    }

    /// An open file or directory, with all that is in it, as `path` in the archive.
    pub fn opened(&mut self, fd: OwnedFd, path: &Path) -> Result<()> {
        let stat = fstat(&fd).doing(|| "look at it")?;
        match kind(&stat) {
            SFlag::S_IFDIR => {
                let file = File::from(fd);
                self.entry(&path.join(""), &stat, EntryType::Directory, b"", Some(&file))?;
                self.contents(file.into(), path)
            }
            SFlag::S_IFREG => self.entry(path, &stat, EntryType::Regular, b"", Some(&File::from(fd))),
            _ => Err(Error::new("it is neither a file nor a directory")),
        }
    }

    fn entry(
        &mut self,
        path: &Path,
        stat: &FileStat,
        kind: EntryType,
        target: &[u8],
        file: Option<&File>,
    ) -> Result<()> {
        let mut header = Header::new_ustar();
        let size = if kind == EntryType::Regular { stat.st_size as u64 } else { 0 };
        header.set_entry_type(kind);
        header.set_mode(stat.st_mode & 0o7777);
        header.set_uid(stat.st_uid.into());
        header.set_gid(stat.st_gid.into());
        header.set_mtime(u64::try_from(stat.st_mtime).unwrap_or(0));
        header.set_size(size);
        if matches!(kind, EntryType::Char | EntryType::Block) {
            let number = |part: u64| u32::try_from(part).unwrap_or(0);
            header.set_device_major(number(major(stat.st_rdev))).doing(|| "write its header")?;
            header.set_device_minor(number(minor(stat.st_rdev))).doing(|| "write its header")?;
        }
        let mut records = file.map(attributes).transpose()?.unwrap_or_default();
        place(&mut header.as_old_mut().name, path.as_os_str().as_bytes(), b"path", &mut records);
        place(&mut header.as_old_mut().linkname, target, b"linkpath", &mut records);
        header.set_cksum();
        self.write(&header, &records, file.filter(|_| size > 0), size).doing(|| "write it")
    }

    fn write(&mut self, header: &Header, records: &[u8], file: Option<&File>, size: u64) -> io::Result<()> {
        if !records.is_empty() {
            let mut extended = Header::new_ustar();
            extended.set_entry_type(EntryType::XHeader);
            extended.set_path("PaxHeaders.0/header")?;
            extended.set_mode(0o644);
            extended.set_size(records.len() as u64);
            extended.set_cksum();
            self.tar.append(&extended, records)?;
        }
        match file {
            // As many bytes as the header says, whatever becomes of the file meanwhile.
            Some(file) => self.tar.append(header, file.chain(io::repeat(0)).take(size)),
            None => self.tar.append(header, io::empty()),
        }
    }
}

/// Puts `bytes` into a field of the header, or into a PAX record where they do not fit (pax(1), "Extended Header").
fn place(field: &mut [u8], bytes: &[u8], key: &[u8], records: &mut Vec<u8>) {
    let fits = bytes.len().min(field.len());
    field[..fits].copy_from_slice(&bytes[..fits]);
    if bytes.len() > fits {
        record(records, key, bytes);
    }
}

/// `LENGTH KEY=VALUE\n`, where the length counts its own digits.
fn record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    records.extend_from_slice(length.to_string().as_bytes());
    for part in [b" ", key, b"=", value, b"\n"] {
        records.extend_from_slice(part);
    }
}

/// A file's attributes: those that its owner gave it, and none of the overlay's own.
fn attributes(file: &File) -> Result<Vec<u8>> {
    let mut records = Vec::new();
    for name in file.list_xattr().into_iter().flatten() {
        if name.as_bytes().starts_with(b"user.")
            && !name.as_bytes().starts_with(b"user.overlay.")
            && let Some(value) = file.get_xattr(&name).doing(|| "read its attributes")?
        {
            record(&mut records, &[b"SCHILY.xattr.", name.as_bytes()].concat(), &value);
        }
    }
    Ok(records)
}

/// The names in a directory, sorted, so that the same files make the same archive.
fn names(directory: impl AsFd) -> Result<Vec<OsString>> {
    let directory = openat(directory, ".", OPEN | OFlag::O_DIRECTORY, Mode::empty()).doing(|| "open it")?;
    let mut directory = Dir::from_fd(directory).doing(|| "read it")?;
    let mut names = Vec::new();
    for entry in directory.iter() {
        let entry = entry.doing(|| "read it")?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name != "." && name != ".." {
            names.push(name.to_owned());
        }
    }
    names.sort();
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
