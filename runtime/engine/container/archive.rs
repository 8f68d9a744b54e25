//! Trees as tars, and back: how files go in and out of a container. Every name is opened from the directory above it, and
//! no link is followed on the way, so that what is swapped meanwhile leads nowhere else (CVE-2018-15664).

use crate::error::{Cause, Doing, Error, Result};
use crate::store::beneath;
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, UtimensatFlags, fchmod, fstatat, futimens, mkdirat, mknodat, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, LinkatFlags, Uid, UnlinkatFlags, fchown, fchownat, linkat, symlinkat, unlinkat};
use std::collections::HashMap;
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use tar::{Archive, Builder, EntryType, Header};

/// Packs what `name` is in the directory `parent`, under the name `shown`; an empty `shown` packs a directory's contents
/// only. Of a mount below, with `stay`, only the mount point.
pub fn pack(parent: &OwnedFd, name: &OsStr, shown: &Path, stay: bool, out: impl Write) -> Result<()> {
    let mut packing = Packing { tar: Builder::new(out), stay, links: HashMap::new() };
    let name = CString::new(name.as_bytes()).map_err(|_| Error::new("a NUL byte in a name"))?;
    packing.entry(parent, &name, shown)?;
    let mut out = packing.tar.into_inner().doing(|| "write the archive")?;
    out.flush().doing(|| "write the archive")
}

struct Packing<W: Write> {
    tar: Builder<W>,
    stay: bool,
    links: HashMap<(u64, u64), PathBuf>,
}

impl<W: Write> Packing<W> {
    fn entry(&mut self, parent: &OwnedFd, name: &CString, shown: &Path) -> Result<()> {
        let doing = || format!("read {}", shown.display());
        let stat = fstatat(parent, name.as_c_str(), AtFlags::AT_SYMLINK_NOFOLLOW).doing(doing)?;
        let kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
        let mut header = header(&stat);
        if kind == SFlag::S_IFDIR {
            return self.directory(parent, name, shown, &mut header);
        }
        if stat.st_nlink > 1 {
            if let Some(first) = self.links.get(&(stat.st_dev, stat.st_ino)) {
                header.set_entry_type(EntryType::Link);
                header.set_size(0);
                return self.tar.append_link(&mut header, shown, first).doing(doing);
            }
            self.links.insert((stat.st_dev, stat.st_ino), shown.to_owned());
        }
        match kind {
            SFlag::S_IFREG => {
                let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
                let file = File::from(openat(parent, name.as_c_str(), flags, Mode::empty()).doing(doing)?);
                let size = file.metadata().doing(doing)?.len();
                header.set_size(size);
                // A file that shrinks while it is read is filled up: the header has promised its size.
                let padded = file.take(size).chain(std::io::repeat(0)).take(size);
                self.tar.append_data(&mut header, shown, padded).doing(doing)
            }
            SFlag::S_IFLNK => {
                let target = readlinkat(parent, name.as_c_str()).doing(doing)?;
                header.set_entry_type(EntryType::Symlink);
                header.set_size(0);
                self.tar.append_link(&mut header, shown, target).doing(doing)
            }
            SFlag::S_IFIFO | SFlag::S_IFCHR | SFlag::S_IFBLK => {
                header.set_entry_type(match kind {
                    SFlag::S_IFIFO => EntryType::Fifo,
                    SFlag::S_IFCHR => EntryType::Char,
                    _ => EntryType::Block,
                });
                header.set_size(0);
                let number = (nix::sys::stat::major(stat.st_rdev), nix::sys::stat::minor(stat.st_rdev));
                header
                    .set_device_major(number.0 as u32)
                    .and_then(|()| header.set_device_minor(number.1 as u32))
                    .doing(doing)?;
                self.tar.append_data(&mut header, shown, std::io::empty()).doing(doing)
            }
            // tar has no sockets: whoever listens there is not copied either.
            _ => Ok(()),
        }
    }

    fn directory(&mut self, parent: &OwnedFd, name: &CString, shown: &Path, header: &mut Header) -> Result<()> {
        let doing = || format!("read {}", shown.display());
        header.set_entry_type(EntryType::Directory);
        header.set_size(0);
        if !shown.as_os_str().is_empty() {
            self.tar.append_data(header, shown, std::io::empty()).doing(doing)?;
        }
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let resolve = if self.stay { ResolveFlag::RESOLVE_NO_XDEV } else { ResolveFlag::empty() };
        let how = OpenHow::new().flags(flags).resolve(resolve | ResolveFlag::RESOLVE_NO_SYMLINKS);
        let opened = match openat2(parent, name.as_c_str(), how) {
            Err(Errno::EXDEV) => return Ok(()),
            result => result.doing(doing)?,
        };
        let itself = opened.try_clone().doing(doing)?;
        let mut directory = Dir::from_fd(opened).doing(doing)?;
        let mut names: Vec<CString> = Vec::new();
        for entry in directory.iter() {
            let name = entry.doing(doing)?.file_name().to_owned();
            if name.as_c_str() != c"." && name.as_c_str() != c".." {
                names.push(name);
            }
        }
        names.sort();
        for name in names {
            match self.entry(&itself, &name, &shown.join(OsStr::from_bytes(name.as_bytes()))) {
                // Removed while we read.
                Err(error) if error.is_not_found() => {}
                result => result?,
            }
        }
        Ok(())
    }
}

fn header(stat: &FileStat) -> Header {
    let mut header = Header::new_gnu();
    header.set_mode(stat.st_mode & 0o7777);
    header.set_uid(stat.st_uid.into());
    header.set_gid(stat.st_gid.into());
    header.set_mtime(u64::try_from(stat.st_mtime).unwrap_or(0));
    header
}

/// Unpacks a tar into the directory `target`. Owners are kept with `owners`; otherwise everything belongs to whoever
/// unpacks. A name with `..` in it is refused.
pub fn unpack(tar: impl Read, target: &OwnedFd, owners: bool) -> Result<()> {
    let mut archive = Archive::new(tar);
    for entry in archive.entries().doing(|| "read the archive")? {
        let mut entry = entry.doing(|| "read the archive")?;
        let path = clean(&entry.path_bytes())?;
        place(&mut entry, &path, target, owners).doing(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

fn clean(bytes: &[u8]) -> Result<PathBuf> {
    let mut path = PathBuf::new();
    for part in Path::new(OsStr::from_bytes(bytes)).components() {
        match part {
            Component::Normal(name) => path.push(name),
            Component::RootDir | Component::CurDir => {}
            _ => return Err(Error::new("a name in the archive has a \"..\" in it")),
        }
    }
    Ok(path)
}

fn place<R: Read>(entry: &mut tar::Entry<R>, path: &Path, target: &OwnedFd, owners: bool) -> Result<()> {
    let header = entry.header().clone();
    let Some(name) = path.file_name() else { return Ok(()) };
    let above = path.parent().unwrap_or(Path::new(""));
    let parent = beneath::make_dirs(target, above, Mode::from_bits_truncate(0o755))?;
    let mode = Mode::from_bits_truncate(header.mode().unwrap_or(0o644) & 0o7777);
    let seconds = header.mtime().ok().and_then(|seconds| i64::try_from(seconds).ok()).unwrap_or(0);
    let time = TimeSpec::new(seconds, 0);
    let owner = owners.then(|| (id(header.uid()), id(header.gid())));
    let kind = header.entry_type();
    if kind == EntryType::Directory {
        match mkdirat(&parent, name, Mode::S_IRWXU) {
            Ok(()) => {}
            // A directory that is there keeps what it is; only what is in the archive is put into it.
            Err(Errno::EEXIST) => {
                let found = fstatat(&parent, name, AtFlags::AT_SYMLINK_NOFOLLOW).doing(|| "look at it")?;
                return match SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT {
                    SFlag::S_IFDIR => Ok(()),
                    _ => Err(Error::new("cannot overwrite a file with a directory")),
                };
            }
            Err(errno) => return Err(errno.into_error()),
        }
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let made = File::from(openat(&parent, name, flags, Mode::empty()).doing(|| "open it")?);
        return describe(&made, owner, mode, time);
    }
    match unlinkat(&parent, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => {}
        Err(Errno::EISDIR) => return Err(Error::new("cannot overwrite a directory with a file")),
        // A file that something is mounted on (/etc/hosts) is written into.
        Err(Errno::EBUSY) if kind == EntryType::Regular => {
            let flags = OFlag::O_WRONLY | OFlag::O_TRUNC | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let mut file = File::from(openat(&parent, name, flags, Mode::empty()).doing(|| "open it")?);
            return std::io::copy(entry, &mut file).map(drop).doing(|| "write it");
        }
        Err(errno) => return Err(errno.into_error()),
    }
    let link = entry.link_name_bytes().map(|name| name.into_owned()).unwrap_or_default();
    match kind {
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
            let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let opened = openat(&parent, name, flags, Mode::S_IRUSR | Mode::S_IWUSR).doing(|| "make it")?;
            let mut file = File::from(opened);
            std::io::copy(entry, &mut file).doing(|| "write it")?;
            return describe(&file, owner, mode, time);
        }
        EntryType::Symlink => symlinkat(OsStr::from_bytes(&link), &parent, name).doing(|| "make the symlink")?,
        EntryType::Link => {
            let first = clean(&link)?;
            let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
            let above = beneath::open(target, first.parent().unwrap_or(Path::new("")), flags, Mode::empty());
            let above = above.doing(|| "find what it links to")?;
            let first = first.file_name().ok_or_else(|| Error::new("a hard link to nothing"))?;
            return linkat(&above, first, &parent, name, LinkatFlags::empty()).doing(|| "link it");
        }
        EntryType::Fifo => mknodat(&parent, name, SFlag::S_IFIFO, mode, 0).doing(|| "make the FIFO")?,
        // Devices are not carried in or out.
        _ => return Ok(()),
    }
    if let Some((uid, gid)) = owner {
        fchownat(&parent, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW).doing(|| "set its owner")?;
    }
    utimensat(&parent, name, &time, &time, UtimensatFlags::NoFollowSymlink).doing(|| "set its time")
}

fn id<T: From<u32>>(number: std::io::Result<u64>) -> T {
    T::from(number.ok().and_then(|number| u32::try_from(number).ok()).unwrap_or(0))
}

fn describe(file: &File, owner: Option<(Uid, Gid)>, mode: Mode, time: TimeSpec) -> Result<()> {
    if let Some((uid, gid)) = owner {
        fchown(file.as_fd(), Some(uid), Some(gid)).doing(|| "set its owner")?;
    }
    fchmod(file, mode).doing(|| "set its mode")?;
    futimens(file, &time, &time).doing(|| "set its time")
}
