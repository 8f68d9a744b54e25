//! Writes the files of a tar stream into a directory. Every name is resolved by the kernel inside that directory; what
//! the archive, or whoever else writes there meanwhile, has put in the way leads nowhere else.

mod settled;

use super::archive::{Archive, End, Kind, Member};
use super::descent::{refuse_too_long, shown};
use super::early::Early;
use super::pack::is_kept;
use super::{attribute, beneath, bounds, id, node};
use crate::error::{Doing, Error, Result};
use crate::kernel;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, renameat};
use nix::sys::stat::{Mode, SFlag, fchmod, fstatat, futimens, mkdirat, mknodat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, LinkatFlags, Uid, UnlinkatFlags, fchown, ftruncate, linkat, symlinkat, unlinkat};
use settled::Settled;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Who looks at the directory meanwhile, and what becomes of what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Into {
    /// Others use it. A file takes the place of an older one whole, by a rename; directories that are there, and the top
    /// one, stay as they are.
    Used,
    /// Nobody knows of it yet: files are written in their places, and every directory becomes as the archive has it.
    New,
}

/// What was made of an archive.
#[derive(Debug, Default, Clone, Copy, serde::Serialize, serde::Deserialize)]
pub struct Unpacked {
    pub members: u64,
    pub devices_left_out: u64,
    /// Files whose attributes or ACLs were not all taken over.
    pub attributes_left_out: u64,
    /// Whether it says what the directory itself is.
    pub has_top: bool,
}

/// Unpacks the whole of `input` into `target`. `place` says where the member of a cleaned name goes, given whether it is
/// a directory. With `owners` the archive's owners are kept, and setuid bits and capabilities with them; without, all belongs to us.
pub fn unpack(
    input: impl Read,
    target: &OwnedFd,
    owners: bool,
    into: Into,
    mut place: impl FnMut(&Path, bool) -> Result<PathBuf>,
) -> Result<Unpacked> {
    // A FIFO's mode can be set without a doubt only as it is made.
    let _umask = NoUmask(kernel::umask(0));
    let (directories, parent, count) = (Vec::new(), None, Unpacked::default());
    // What others use is not waited for at the end.
    let early = if into == Into::New { Some(Early::below(top(target)?)) } else { None };
    let mut unpacking = Unpacking { target, owners, into, directories, kept: 0, parent, count, early };
    // Whoever keeps only a part of a backup must not take it for the whole.
    let mut archive = Archive::new(input, if into == Into::New { End::Required } else { End::Optional });
    while let Some(mut member) = archive.next_member()? {
        member.path = place(&member.path, member.kind == Kind::Directory)?;
        if member.kind == Kind::HardLink {
            // Its target is a name in the archive as well; it exists, so it is no directory.
            member.link = place(&member.link, false)?;
        }
        unpacking.member(&mut archive, &member).doing(|| format!("copy {}", shown(&member.path)))?;
    }
    unpacking.count.attributes_left_out += settled::settle(target, &unpacking.directories)?;
    archive.drain()?;
    Ok(unpacking.count)
}

/// Puts the process's umask back.
struct NoUmask(u32);

impl Drop for NoUmask {
    fn drop(&mut self) {
        kernel::umask(self.0);
    }
}

struct Unpacking<'a> {
    target: &'a OwnedFd,
    owners: bool,
    into: Into,
    directories: Vec<Settled>,
    /// Bytes that they take.
    kept: usize,
    /// The directory of the last member: most often the next one's too.
    parent: Option<(PathBuf, OwnedFd)>,
    count: Unpacked,
    early: Option<Early>,
}

impl Unpacking<'_> {
    fn member<R: Read>(&mut self, archive: &mut Archive<R>, member: &Member) -> Result<()> {
        self.count.members += 1;
        self.count.attributes_left_out += u64::from(member.has_worded_acls);
        refuse_too_long(&member.path)?;
        let Some(name) = member.path.file_name() else { return self.top(member) };
        let (path, parent) = match self.parent.take() {
            // Nobody else changes what is new, and a directory of the archive's never becomes anything else.
            Some((path, fd)) if self.into == Into::New && Some(path.as_path()) == member.path.parent() => (path, fd),
            _ => (member.path.parent().unwrap_or(Path::new("")).to_owned(), self.directory_of(&member.path)?),
        };
        let made = self.make(archive, member, &parent, name);
        self.parent = Some((path, parent));
        if let Some(early) = &mut self.early {
            early.made(0, 1);
        }
        made
    }

    fn make<R: Read>(
        &mut self,
        archive: &mut Archive<R>,
        member: &Member,
        parent: &OwnedFd,
        name: &OsStr,
    ) -> Result<()> {
        match member.kind {
            Kind::Directory => self.directory(member, parent, name),
            Kind::File if self.into == Into::New => self.new_file(archive, member, parent, name),
            Kind::File => {
                not_over_directory(member, parent, name)?;
                self.file(archive, member, parent, name)
            }
            Kind::HardLink => {
                not_over_directory(member, parent, name)?;
                self.hard_link(&member.link, parent, name)
            }
            Kind::Symlink => {
                self.put(member, parent, name, &|| symlinkat(member.link.as_os_str(), parent, name))?;
                self.describe_node(member, parent, name, SFlag::S_IFLNK)
            }
            Kind::Fifo | Kind::Socket => {
                let kind = if member.kind == Kind::Fifo { SFlag::S_IFIFO } else { SFlag::S_IFSOCK };
                self.put(member, parent, name, &|| mknodat(parent, name, kind, self.mode(member), 0))?;
                self.describe_node(member, parent, name, kind)
            }
            Kind::Device => {
                // A device is a way to the host's hardware, whatever it is called.
                eprintln!("ebb: left out {}: it is a device", member.path.to_string_lossy().escape_debug());
                self.count.devices_left_out += 1;
                Ok(())
            }
        }
    }

    /// The target itself: in use, it is as its owner made it.
    fn top(&mut self, member: &Member) -> Result<()> {
        if self.into == Into::Used || member.kind != Kind::Directory {
            return Ok(());
        }
        let top = top(self.target)?;
        self.count.has_top = true;
        self.own(member, &top)?;
        self.set_attributes(member, &top)?;
        self.settle_later(member, &top)
    }

    fn settle_later(&mut self, member: &Member, made: &File) -> Result<()> {
        let settled = Settled::of(member, self.mode(member), time(member), made)?;
        self.kept += settled.kept();
        if self.kept > bounds::DIRECTORIES_KEPT {
            return Err(Error::new("the archive's directories have longer names than any honest ones"));
        }
        self.directories.push(settled);
        Ok(())
    }

    fn directory_of(&self, path: &Path) -> Result<OwnedFd> {
        let parent = path.parent().unwrap_or(Path::new(""));
        match beneath::open(self.target, parent, OFlag::O_PATH | OFlag::O_DIRECTORY, Mode::empty()) {
            // An archive need not name the directories on the way.
            Err(Errno::ENOENT) => beneath::make_dirs(self.target, parent, Mode::from_bits_truncate(0o755)),
            opened => opened.doing(|| format!("open {}", shown(parent))),
        }
    }

    fn directory(&mut self, member: &Member, parent: &OwnedFd, name: &OsStr) -> Result<()> {
        let is_new = match mkdirat(parent, name, Mode::S_IRWXU) {
            Ok(()) => true,
            Err(Errno::EEXIST) => false,
            Err(errno) => return Err(errno).doing(|| "make the directory"),
        };
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let made = match openat(parent, name, flags, Mode::empty()) {
            // A symlink too, even to a directory: it would lead the rest of the archive away.
            Err(Errno::ENOTDIR | Errno::ELOOP) => {
                let shown = member.path.display();
                return Err(Error::new(format!(
                    "cannot overwrite non-directory \"/{shown}\" with directory \"/{shown}\""
                )));
            }
            opened => File::from(opened.doing(|| "open the directory")?),
        };
        // One that was in use before keeps what it is; only what is in the archive is put into it.
        if is_new || self.into == Into::New {
            self.own(member, &made)?;
            self.set_attributes(member, &made)?;
            self.settle_later(member, &made)?;
        }
        Ok(())
    }

    /// Written beside its place and renamed into it: who reads the old file reads all of it, and a full disk leaves it.
    fn file<R: Read>(
        &mut self,
        archive: &mut Archive<R>,
        member: &Member,
        parent: &OwnedFd,
        name: &OsStr,
    ) -> Result<()> {
        let half = format!(".ebb-{}", &id::random()?[..16]);
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let made = openat(parent, half.as_str(), flags, Mode::S_IRUSR | Mode::S_IWUSR).doing(|| "make the file")?;
        let mut file = File::from(made);
        let filled = self.fill(archive, member, &mut file);
        let written = filled.and_then(|()| match renameat(parent, half.as_str(), parent, name) {
            Err(Errno::EBUSY) => write_into_mounted(&mut file, parent, name),
            renamed => renamed.doing(|| "put it in its place"),
        });
        // Gone already where all went well.
        let _ = unlinkat(parent, half.as_str(), UnlinkatFlags::NoRemoveDir);
        written
    }

    fn new_file<R: Read>(
        &mut self,
        archive: &mut Archive<R>,
        member: &Member,
        parent: &OwnedFd,
        name: &OsStr,
    ) -> Result<()> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let made = self.put(member, parent, name, &|| openat(parent, name, flags, Mode::S_IRUSR | Mode::S_IWUSR))?;
        self.fill(archive, member, &mut File::from(made))
    }

    /// Makes something new under a name, in the place of what an earlier member of that name was.
    fn put<T>(&self, member: &Member, parent: &OwnedFd, name: &OsStr, make: &dyn Fn() -> nix::Result<T>) -> Result<T> {
        for _ in 0..100 {
            match make() {
                Err(Errno::EEXIST) => {}
                made => return made.doing(|| "make it"),
            }
            not_over_directory(member, parent, name)?;
            clear(parent, name)?;
        }
        Err(Error::new("somebody else makes it again each time it is replaced"))
    }

    fn fill<R: Read>(&mut self, archive: &mut Archive<R>, member: &Member, file: &mut File) -> Result<()> {
        match &member.map {
            None => loop {
                let piece = archive.piece().doing(|| "read it")?;
                if piece.is_empty() {
                    break;
                }
                file.write_all(piece).doing(|| "write it")?;
                if let Some(early) = &mut self.early {
                    early.made(piece.len() as u64, 0);
                }
            },
            Some(map) => {
                ftruncate(&*file, i64::try_from(member.size).unwrap_or(i64::MAX)).doing(|| "give it its size")?;
                for (offset, length) in map {
                    let mut done = 0;
                    while done < *length {
                        let piece = archive.piece_of(length - done).doing(|| "read it")?;
                        file.write_all_at(piece, offset + done).doing(|| "write it")?;
                        done += piece.len() as u64;
                    }
                }
            }
        }
        // In this order: a change of owner takes capabilities and setuid bits away.
        self.own(member, file)?;
        self.set_attributes(member, file)?;
        let mode = self.mode(member);
        if mode != Mode::S_IRUSR | Mode::S_IWUSR {
            fchmod(&*file, mode).doing(|| "set its mode")?;
        }
        let time = time(member);
        futimens(&*file, &time, &time).doing(|| "set its time")
    }

    /// Its target is what this archive, or the container before it, has put there: never followed where it is a link.
    fn hard_link(&self, target: &Path, parent: &OwnedFd, name: &OsStr) -> Result<()> {
        let missing = || format!("link it to {}", target.display());
        let Some(target_name) = target.file_name() else { return Err(Error::new("a hard link to a directory")) };
        let above = self.directory_of(target)?;
        match linkat(&above, target_name, parent, name, LinkatFlags::empty()) {
            Err(Errno::EEXIST) => {}
            linked => return linked.doing(missing),
        }
        // What has the name keeps it until the link is there; it may be what is to be linked.
        let half = format!(".ebb-{}", &id::random()?[..16]);
        linkat(&above, target_name, parent, half.as_str(), LinkatFlags::empty()).doing(missing)?;
        let renamed = renameat(parent, half.as_str(), parent, name).doing(|| "put it in its place");
        // Of two names of one file, rename(2) leaves both.
        let _ = unlinkat(parent, half.as_str(), UnlinkatFlags::NoRemoveDir);
        renamed
    }

    fn own(&self, member: &Member, file: &File) -> Result<()> {
        if !self.owners {
            return Ok(());
        }
        // One that was there may be anybody's, and a setgid directory has its word on whose a new one is.
        let now = file.metadata().doing(|| "look at it")?;
        if (now.uid(), now.gid()) == (member.uid, member.gid) {
            return Ok(());
        }
        allow(fchown(file, Some(Uid::from_raw(member.uid)), Some(Gid::from_raw(member.gid))))
    }

    /// What cannot be opened. By now a container that runs may have put a file of another owner's under the name.
    fn describe_node(&self, member: &Member, parent: &OwnedFd, name: &OsStr, kind: SFlag) -> Result<()> {
        let node = node::just_made(parent, name, kind)?;
        if self.owners {
            allow(node::set_owner(&node, Uid::from_raw(member.uid), Gid::from_raw(member.gid)))?;
        }
        let time = time(member);
        node::set_times(&node, time, time).doing(|| "set its time")
    }

    /// A setuid bit means its owner; with another owner it would mean somebody else.
    fn mode(&self, member: &Member) -> Mode {
        Mode::from_bits_truncate(member.mode & if self.owners { 0o7777 } else { 0o1777 })
    }

    fn set_attributes(&mut self, member: &Member, file: &File) -> Result<()> {
        let mut whole = true;
        for (name, value) in &member.attributes {
            // A default list's turn comes last.
            if !attribute::is_default_list(name) {
                // Capabilities without the owners would be somebody else's, as setuid bits would.
                let kept = is_kept(name) && (self.owners || !attribute::is_capabilities(name));
                whole &= kept && attribute::set(file, OsStr::from_bytes(name), value).doing(|| "set its attributes")?;
            }
        }
        self.count.attributes_left_out += u64::from(!whole);
        Ok(())
    }
}

fn top(target: &OwnedFd) -> Result<File> {
    let top = beneath::open(target, Path::new(""), OFlag::O_RDONLY | OFlag::O_DIRECTORY, Mode::empty());
    top.map(File::from).doing(|| "open the directory")
}

fn not_over_directory(member: &Member, parent: &OwnedFd, name: &OsStr) -> Result<()> {
    let found = fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW);
    if found.is_ok_and(|stat| SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR) {
        let shown = member.path.display();
        return Err(Error::new(format!("cannot overwrite directory \"/{shown}\" with non-directory \"/{shown}\"")));
    }
    Ok(())
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

/// Without the power to give files away, or with ids that are not ours to give, they stay ours.
fn allow(changed: nix::Result<()>) -> Result<()> {
    match changed {
        Ok(()) | Err(Errno::EPERM | Errno::EINVAL) => Ok(()),
        Err(errno) => Err(errno).doing(|| "set its owner"),
    }
}

fn time(member: &Member) -> TimeSpec {
    TimeSpec::new(member.modified.0, member.modified.1)
}
