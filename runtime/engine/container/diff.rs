//! `diff`: what a container has changed in its layer, held against the image's.

use super::record::Container;
use crate::engine::idmap;
use crate::error::{Doing, Error, Result};
use crate::oci::{self, View};
use crate::store::descent::{Descent, refuse_too_long, shown};
use crate::store::{Store, beneath, bounds};
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstatat};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use xattr::FileExt;

/// One line: `A` added, `C` changed, `D` deleted, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    pub kind: char,
    pub path: String,
    /// Bytes of what is there now: 0 for what is no regular file, and for all but the first name of one file.
    #[serde(default)]
    pub size: u64,
}

/// What the runtime puts into every container, and the container did not. (Docker keeps it in a layer between.)
const GIVEN: [&str; 7] = ["/etc/hostname", "/etc/hosts", "/etc/resolv.conf", "/etc", "/dev", "/proc", "/sys"];
/// The same for `--init`.
const GIVEN_FOR_INIT: [&str; 2] = ["/sbin", super::INIT_PATH];

/// All changes, by path. A directory with a change in it is changed.
pub fn diff(store: &Store, container: &Container) -> Result<Vec<Change>> {
    let layers = super::layer_paths(store, container);
    let upper = super::dir(store, &container.id).join("upper");
    let ids = idmap::store_ids()?;
    let for_init: &[&str] = if container.host_config.init { &GIVEN_FOR_INIT } else { &[] };
    let given = GIVEN.iter().chain(for_init).map(Path::new).collect();
    let mut changes = oci::within(View::Layers { layers: &layers, ids: ids.map() }, |old| {
        let mut comparison = Comparison { given, changes: Vec::new(), told: 0, counted: BTreeSet::new() };
        let old = open(old, OsStr::new(".")).doing(|| "open the image's root")?;
        let new = open(&beneath::root(&upper)?, OsStr::new(".")).doing(|| "open the container's layer")?;
        comparison.compare(old, new)?;
        Ok(comparison.changes)
    })?;
    changes.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(changes)
}

struct Comparison {
    given: Vec<&'static Path>,
    changes: Vec<Change>,
    /// Bytes of all paths in `changes`.
    told: usize,
    /// Files of several names (device, inode) whose size is told already.
    counted: BTreeSet<(u64, u64)>,
}

/// A directory of the container's layer in which we are.
struct Level {
    /// What is left to compare in it.
    names: std::vec::IntoIter<OsString>,
    /// Whether the image has a directory at the same place.
    has_old: bool,
    change: Option<char>,
    /// How many changes there were before it.
    place: usize,
}

/// A directory that was met, and the image's at the same place, where that has one.
struct Met {
    old: Option<OwnedFd>,
    new: OwnedFd,
    change: Option<char>,
}

impl Comparison {
    /// Compares what is below two directories. A container can make a tree of any depth, so that the way down stands on no
    /// stack of calls, and holds few descriptors.
    fn compare(&mut self, old: OwnedFd, new: OwnedFd) -> Result<()> {
        let mut path = PathBuf::from("/");
        let mut levels = vec![self.enter(Some(&old), &new, None, &path)?];
        let (mut old, mut new) = (Descent::new(old), Descent::new(new));
        while let Some(level) = levels.last_mut() {
            let Some(name) = level.names.next() else {
                let doing = || format!("read {}", shown(&path));
                new.up().doing(doing)?;
                if level.has_old {
                    old.up().doing(doing)?;
                }
                let (change, place) = (level.change, level.place);
                levels.pop();
                // What the runtime had to make on the way to what it gives is changed when something else is put there.
                let change = change.or((self.changes.len() > place).then_some('C')).filter(|_| !levels.is_empty());
                change.map_or(Ok(()), |kind| self.say(kind, &path, 0))?;
                path.pop();
                continue;
            };
            path.push(&name);
            refuse_too_long(&path)?;
            let here = level.has_old.then(|| old.here());
            match self.entry(here, new.here(), &name, &path).doing(|| format!("compare {}", shown(&path)))? {
                Some(met) => {
                    levels.push(self.enter(met.old.as_ref(), &met.new, met.change, &path)?);
                    new.down(met.new)?;
                    met.old.map_or(Ok(()), |met| old.down(met))?;
                }
                None => drop(path.pop()),
            }
        }
        Ok(())
    }

    /// Lists a directory of the container's layer. Where it is opaque, it hides what the image's has.
    fn enter(&mut self, old: Option<&OwnedFd>, new: &OwnedFd, change: Option<char>, path: &Path) -> Result<Level> {
        let place = self.changes.len();
        let names = names(new).doing(|| format!("read {}", shown(path)))?;
        if let Some(old) = old.filter(|_| is_opaque(new)) {
            let gone = self::names(old).doing(|| format!("read the image's {}", shown(path)))?;
            for name in gone.difference(&names).filter(|name| look(old, name).is_some()) {
                self.say('D', &path.join(name), 0)?;
            }
        }
        let names: Vec<OsString> = names.into_iter().collect();
        Ok(Level { names: names.into_iter(), has_old: old.is_some(), change, place })
    }

    /// Compares one name. A directory is told when all that is in it has been compared.
    fn entry(&mut self, old: Option<&OwnedFd>, new: &OwnedFd, name: &OsStr, path: &Path) -> Result<Option<Met>> {
        let before = old.and_then(|old| look(old, name));
        let Ok(stat) = fstatat(new, name, AtFlags::AT_SYMLINK_NOFOLLOW) else { return Ok(None) };
        if is_whiteout(&stat) {
            before.map_or(Ok(()), |_| self.say('D', path, 0))?;
            return Ok(None);
        }
        let change = match &before {
            _ if before.is_none() && self.given.contains(&path) => None,
            None => Some('A'),
            Some(before) if differs(before, &stat) => Some('C'),
            Some(_) => None,
        };
        if kind(&stat) == SFlag::S_IFDIR
            && let Ok(new) = open(new, name)
        {
            let was_directory = before.as_ref().is_some_and(|before| kind(before) == SFlag::S_IFDIR);
            let old = old.filter(|_| was_directory).and_then(|old| open(old, name).ok());
            return Ok(Some(Met { old, new, change }));
        }
        if let Some(kind) = change {
            let size = self.size(&stat);
            self.say(kind, path, size)?;
        }
        Ok(None)
    }

    fn say(&mut self, kind: char, path: &Path, size: u64) -> Result<()> {
        let path = path.to_string_lossy().into_owned();
        self.told += path.len();
        if self.told > bounds::CHANGES_TOLD {
            let most = bounds::CHANGES_TOLD >> 20;
            return Err(Error::new(format!("the paths of all changes have more than {most} MiB together"))
                .with_cure("`ebb export` gives all that is in the container"));
        }
        self.changes.push(Change { kind, path, size });
        Ok(())
    }

    fn size(&mut self, stat: &FileStat) -> u64 {
        let again = stat.st_nlink > 1 && !self.counted.insert((stat.st_dev, stat.st_ino));
        if kind(stat) == SFlag::S_IFREG && !again { stat.st_size as u64 } else { 0 }
    }
}

/// As Docker compares: a directory's time says nothing, since it changes with what is in it.
fn differs(old: &FileStat, new: &FileStat) -> bool {
    let plain = |stat: &FileStat| (stat.st_mode, stat.st_uid, stat.st_gid, stat.st_rdev);
    let content = |stat: &FileStat| (stat.st_size, stat.st_mtime, stat.st_mtime_nsec);
    plain(old) != plain(new) || (kind(new) != SFlag::S_IFDIR && content(old) != content(new))
}

/// What the image has; a whiteout is that it has nothing.
fn look(directory: &OwnedFd, name: &OsStr) -> Option<FileStat> {
    fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW).ok().filter(|stat| !is_whiteout(stat))
}

pub fn is_whiteout(stat: &FileStat) -> bool {
    kind(stat) == SFlag::S_IFCHR && stat.st_rdev == 0
}

/// Whether it hides all that the image has in this directory.
pub fn is_opaque(directory: &OwnedFd) -> bool {
    let Ok(directory) = directory.try_clone().map(File::from) else { return false };
    directory.get_xattr("user.overlay.opaque").is_ok_and(|value| value.as_deref() == Some(b"y"))
}

fn open(directory: impl std::os::fd::AsFd, name: &OsStr) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(directory, name, flags, Mode::empty())
}

fn names(directory: &OwnedFd) -> nix::Result<BTreeSet<OsString>> {
    let mut names = BTreeSet::new();
    for entry in Dir::from_fd(open(directory, OsStr::new("."))?)?.iter() {
        match entry {
            Ok(entry) => names.insert(OsStr::from_bytes(entry.file_name().to_bytes()).to_owned()),
            Err(Errno::ENOENT) => break,
            Err(errno) => return Err(errno),
        };
    }
    names.retain(|name| name != "." && name != "..");
    Ok(names)
}

fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}
