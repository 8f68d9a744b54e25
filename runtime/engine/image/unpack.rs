//! From a tar to a tree. The tar is hostile until shown otherwise: every name is resolved by the kernel inside the
//! layer's root, nothing is followed at the end of a path, and nothing that is there already is written through.

use super::split::{Recorder, Tap};
use super::whiteout;
use crate::error::{Cause, Doing, Error, Result};
use crate::store::archive::{Archive, End, Kind, Member};
use crate::store::buffer::Buffer;
use crate::store::descent::shown;
use crate::store::early::Early;
use crate::store::{attribute, beneath, bounds};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat, renameat};
use nix::sys::stat::{Mode, SFlag, UtimensatFlags, fchmod, fstatat, futimens, mkdirat, mknodat, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, LinkatFlags, Uid, UnlinkatFlags, fchown, fchownat, ftruncate, linkat, symlinkat, unlinkat};
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// What this store cannot do.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// There is one id only: ownership is not kept.
    pub flattened: bool,
}

const DIRECTORY: OFlag = OFlag::O_PATH.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);

/// What was made of a tar.
pub struct Made {
    /// Bytes of all files.
    pub size: u64,
    /// So many paths came again as something else. What had them first lies in `replaced/`, beside the root.
    pub replaced: u64,
}

/// Unpacks the tar behind `recorder` into `root`.
pub fn unpack<R: Read>(recorder: Recorder<R>, root: &Path, limits: Limits) -> Result<(Recorder<R>, Made)> {
    let opened = beneath::root(root)?;
    let mut target = Target {
        path: path_of(&opened),
        root: Rc::new(opened),
        aside: root.with_file_name("replaced"),
        tap: recorder.tap(),
        limits,
        parent: None,
        directories: Vec::new(),
        kept: 0,
        size: 0,
        replaced: 0,
        holes: 0,
        early: Early::below(File::open(root).doing(|| "open the layer's tree")?),
        buffer: Buffer::new(128 * 1024),
        incapable: None,
    };
    // Set as the last, whatever umask we were started with.
    crate::kernel::umask(0o022);
    // What passes next is told to the recorder before it passes.
    let mut archive = Archive::unbuffered(recorder, End::Optional);
    let mut count = 0;
    while let Some(member) = archive.next_member().doing(|| "unpack the layer")? {
        target.add(&mut archive, &member).doing(|| format!("unpack {:?}", member.path.to_string_lossy()))?;
        count += 1;
        if count > bounds::ENTRIES_IN_LAYER {
            return Err(Error::new(format!("the layer has more than {} entries", bounds::ENTRIES_IN_LAYER)));
        }
    }
    target.settle_directories()?;
    target.tell_incapable();
    let made = Made { size: target.size, replaced: target.replaced };
    drop(target);
    Ok((archive.into_inner(), made))
}

struct Target {
    root: Rc<OwnedFd>,
    /// Where that lies, if the kernel tells.
    path: Option<PathBuf>,
    /// Where what is replaced goes.
    aside: PathBuf,
    tap: Tap,
    limits: Limits,
    /// The directory of the last entry, which most often is that of the next.
    parent: Option<(PathBuf, Rc<Parent>)>,
    /// Their times change with everything that is put into them, and so are set at the end.
    directories: Vec<(PathBuf, TimeSpec)>,
    /// Bytes of their names.
    kept: usize,
    size: u64,
    replaced: u64,
    /// Bytes of the sparse files, holes included.
    holes: u64,
    early: Early,
    buffer: Buffer,
    /// The first file whose capabilities could not be set, and how many there are.
    incapable: Option<(PathBuf, u64)>,
}

/// A directory that something is put into.
struct Parent {
    fd: OwnedFd,
    /// Its path in the layer, without links: those may be replaced, and then lead elsewhere.
    path: PathBuf,
}

impl Target {
    fn add<R: Read>(&mut self, archive: &mut Archive<Recorder<R>>, member: &Member) -> Result<()> {
        let path = &member.path;
        if path.as_os_str().len() >= libc::PATH_MAX as usize {
            return Err(Error::new("its name is longer than a path may be"));
        }
        let Some(name) = path.file_name() else {
            // "./": the root itself.
            let root = beneath::open(&self.root, Path::new("/"), OFlag::O_RDONLY | OFlag::O_DIRECTORY, Mode::empty());
            return self.describe(member, &File::from(root.doing(|| "open the layer's root")?));
        };
        let parent = self.enter(path.parent().unwrap_or(Path::new("")))?;
        if let Some(hidden) = whiteout::hidden(name)? {
            return whiteout::make(&parent.fd, hidden);
        }
        match member.kind {
            Kind::Directory => self.directory(member, &parent, name),
            // What was a socket in its owner's eyes is an empty file in the archive's, and in Docker's.
            Kind::File | Kind::Socket => self.file(archive, member, &parent, name),
            Kind::Symlink => self.symlink(member, &parent, name),
            Kind::HardLink => self.hard_link(member, &parent, name),
            Kind::Fifo => self.fifo(member, &parent, name),
            // A device of an image would be the host's device: it is not made. A container's /dev is its own anyway.
            Kind::Device => Ok(()),
        }
    }

    /// The directory at `path`, made where it is missing; symlinks in it lead to where they lead inside the layer.
    fn enter(&mut self, path: &Path) -> Result<Rc<Parent>> {
        if let Some((known, parent)) = &self.parent
            && known == path
        {
            return Ok(parent.clone());
        }
        let fd = beneath::make_dirs(&self.root, path, Mode::from_bits_truncate(0o755))?;
        // The kernel does not tell a path that is too long for its calls.
        let real = path_of(&fd).zip(self.path.as_ref());
        let real = real.and_then(|(real, root)| real.strip_prefix(root).ok().map(Path::to_owned));
        let parent = Rc::new(Parent { fd, path: real.unwrap_or_else(|| path.to_owned()) });
        self.parent = Some((path.to_owned(), parent.clone()));
        Ok(parent)
    }

    /// Takes away what has this name. A name is never written through.
    fn clear(&mut self, parent: &Parent, name: &OsStr) -> Result<()> {
        let stat = match fstatat(&parent.fd, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Err(Errno::ENOENT) => return Ok(()),
            found => found.doing(|| "look at what was there")?,
        };
        self.parent = None;
        let removed = match SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT {
            SFlag::S_IFREG if stat.st_size > 0 => Err(Errno::ENOTEMPTY),
            SFlag::S_IFDIR => unlinkat(&parent.fd, name, UnlinkatFlags::RemoveDir),
            _ => unlinkat(&parent.fd, name, UnlinkatFlags::NoRemoveDir),
        };
        match removed {
            Err(Errno::ENOTEMPTY | Errno::EEXIST) => self.set_aside(parent, name),
            removed => removed.doing(|| "replace what was there"),
        }
    }

    /// The record has no contents of files: those of what is replaced are kept, or `save` could not give the tar back.
    fn set_aside(&mut self, parent: &Parent, name: &OsStr) -> Result<()> {
        if self.replaced == 0 {
            std::fs::create_dir(&self.aside).doing(|| "make a place for what is replaced")?;
        }
        self.replaced += 1;
        let place = self.aside.join(self.replaced.to_string());
        renameat(&parent.fd, name, AT_FDCWD, &place).doing(|| "set aside what was there")?;
        self.tap.moved(&parent.path.join(name), self.replaced).doing(|| "write the layer's record")
    }

    fn directory(&mut self, member: &Member, parent: &Parent, name: &OsStr) -> Result<()> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mut hides_lower = false;
        let opened = match openat(&parent.fd, name, flags, Mode::empty()) {
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => {
                // A whiteout of this very layer and a directory of that name: a new directory, that hides the old one.
                hides_lower = whiteout::is_one(&parent.fd, name);
                self.clear(parent, name)?;
                mkdirat(&parent.fd, name, Mode::S_IRWXU).doing(|| "make the directory")?;
                openat(&parent.fd, name, flags, Mode::empty())
            }
            result => result,
        };
        let directory = File::from(opened.doing(|| "open the directory")?);
        self.describe(member, &directory)?;
        if hides_lower { whiteout::make_opaque(&directory) } else { Ok(()) }
    }

    fn file<R: Read>(
        &mut self,
        archive: &mut Archive<Recorder<R>>,
        member: &Member,
        parent: &Parent,
        name: &OsStr,
    ) -> Result<()> {
        self.clear(parent, name)?;
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let opened = openat(&parent.fd, name, flags, Mode::S_IRUSR | Mode::S_IWUSR).doing(|| "make the file")?;
        let mut file = File::from(opened);
        let stored = archive.left();
        match &member.map {
            Some(map) => self.fill_sparse(archive, member, map, &file)?,
            None => {
                if stored > 0 {
                    self.tap.skip(&parent.path.join(name), stored).doing(|| "write the layer's record")?;
                }
                loop {
                    match archive.read(&mut self.buffer).doing(|| "read it")? {
                        0 => break,
                        length => file.write_all(&self.buffer[..length]).doing(|| "write the file")?,
                    }
                }
            }
        }
        self.size += stored;
        self.early.made(stored, 1);
        self.describe(member, &file)
    }

    /// Holes stay holes. A sparse file's bytes in the tar are not its contents, and stay in the record.
    fn fill_sparse<R: Read>(
        &mut self,
        archive: &mut Archive<Recorder<R>>,
        member: &Member,
        map: &[(u64, u64)],
        file: &File,
    ) -> Result<()> {
        self.holes = self.holes.saturating_add(member.size);
        if self.holes > bounds::HOLES_IN_LAYER {
            let most = bounds::HOLES_IN_LAYER >> 30;
            return Err(Error::new(format!("with it the layer's sparse files have more than {most} GiB")));
        }
        ftruncate(file, i64::try_from(member.size).unwrap_or(i64::MAX)).doing(|| "give it its size")?;
        for (offset, length) in map {
            let mut done = 0;
            while done < *length {
                let most = usize::try_from(length - done).unwrap_or(usize::MAX).min(self.buffer.len());
                let read = archive.read(&mut self.buffer[..most]).doing(|| "read it")?;
                file.write_all_at(&self.buffer[..read], offset + done).doing(|| "write the file")?;
                done += read as u64;
            }
        }
        Ok(())
    }

    fn symlink(&mut self, member: &Member, parent: &Parent, name: &OsStr) -> Result<()> {
        if member.link.as_os_str().is_empty() {
            return Err(Error::new("a symlink without a target"));
        }
        self.clear(parent, name)?;
        self.parent = None;
        symlinkat(member.link.as_path(), &parent.fd, name).doing(|| "make the symlink")?;
        self.own_at(member, &parent.fd, name)
    }

    /// The target is a name in the same layer; neither its last part nor anything outside is ever linked to.
    fn hard_link(&mut self, member: &Member, parent: &Parent, name: &OsStr) -> Result<()> {
        let target = &member.link;
        let missing = || format!("link it to {}", target.display());
        let target_name = target.file_name().ok_or_else(|| Error::new("a hard link to the root"))?;
        let above = beneath::open(&self.root, target.parent().unwrap_or(Path::new("")), DIRECTORY, Mode::empty());
        let above = above.doing(missing)?;
        self.clear(parent, name)?;
        linkat(&above, target_name, &parent.fd, name, LinkatFlags::empty()).doing(missing)
    }

    fn fifo(&mut self, member: &Member, parent: &Parent, name: &OsStr) -> Result<()> {
        self.clear(parent, name)?;
        let mode = Mode::from_bits_truncate(member.mode);
        mknodat(&parent.fd, name, SFlag::S_IFIFO, mode, 0).doing(|| "make the FIFO")?;
        self.own_at(member, &parent.fd, name)
    }

    /// Owner and times of what cannot be opened.
    fn own_at(&self, member: &Member, parent: &OwnedFd, name: &OsStr) -> Result<()> {
        let (uid, gid) = owner(member);
        self.allow(fchownat(parent, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW), uid, gid)?;
        let time = time(member);
        utimensat(parent, name, &time, &time, UtimensatFlags::NoFollowSymlink).doing(|| "set its time")
    }

    /// Owner, mode, extended attributes and times. In this order: a change of owner takes setuid bits away.
    fn describe(&mut self, member: &Member, file: &File) -> Result<()> {
        let (path, time) = (&member.path, time(member));
        let (uid, gid) = owner(member);
        self.allow(fchown(file, Some(uid), Some(gid)), uid, gid)?;
        fchmod(file, Mode::from_bits_truncate(member.mode)).doing(|| "set its mode")?;
        if !set_attributes(member, file)? {
            self.incapable = Some(match self.incapable.take() {
                Some((first, count)) => (first, count + 1),
                None => (path.clone(), 1),
            });
        }
        if member.kind == Kind::Directory || path.as_os_str().is_empty() {
            self.kept += path.as_os_str().len();
            if self.kept > bounds::NAMES_KEPT {
                return Err(Error::new("the names of the layer's directories are longer than those of any honest one"));
            }
            self.directories.push((path.clone(), time));
            return Ok(());
        }
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
        // Of one that the tar has twice, the last word counts.
        let mut seen = HashSet::new();
        for (path, time) in self.directories.iter().rev().filter(|(path, _)| seen.insert(path)) {
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

/// Where an open directory lies.
fn path_of(directory: &OwnedFd) -> Option<PathBuf> {
    std::fs::read_link(Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string())).ok()
}

fn owner(member: &Member) -> (Uid, Gid) {
    (Uid::from_raw(member.uid), Gid::from_raw(member.gid))
}

fn time(member: &Member) -> TimeSpec {
    TimeSpec::new(member.modified.0, member.modified.1)
}

/// `user.*` and capabilities, and none of the overlay's marks: those would forge whiteouts and opaque directories. Returns
/// whether its capabilities could be set, if it has any: without them a program may not do what it is there for.
fn set_attributes(member: &Member, file: &File) -> Result<bool> {
    let mut capable = true;
    for (name, value) in &member.attributes {
        let is_capabilities = attribute::is_capabilities(name);
        if is_capabilities || (name.starts_with(b"user.") && !name.starts_with(b"user.overlay.")) {
            let name = OsStr::from_bytes(name);
            let set = attribute::set(file, name, value);
            capable &= set.doing(|| format!("set its attribute {}", name.display()))? || !is_capabilities;
        }
    }
    Ok(capable)
}
