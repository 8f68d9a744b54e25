//! `diff`: what a container has changed in its layer, held against the image's.

use super::record::Container;
use crate::engine::idmap;
use crate::error::{Doing, Result};
use crate::oci::{self, View};
use crate::store::descent::{Descent, shown};
use crate::store::{Store, beneath, bounds};
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstatat};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, btree_set};
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
        comparison.trees(old, new)?;
        Ok(comparison.changes)
    })?;
    changes.sort_by(|a, b| a.path.cmp(&b.path));
    changes.dedup_by(|this, before| {
        let same = this.path == before.path;
        if same {
            before.add(this);
        }
        same
    });
    Ok(changes)
}

impl Change {
    /// Takes in another of the many that one line stands for.
    fn add(&mut self, other: &Change) {
        self.size += other.size;
        if self.kind != other.kind {
            self.kind = 'C';
        }
    }
}

struct Comparison {
    given: Vec<&'static Path>,
    changes: Vec<Change>,
    /// How many there are, with those that share a line.
    told: u64,
    /// Files of several names (device, inode) whose size is told already.
    counted: BTreeSet<(u64, u64)>,
}

/// A directory of the container's layer that is being compared.
struct Level {
    names: btree_set::IntoIter<OsString>,
    /// What it is itself, and what the image has in its place; the root is not compared.
    itself: Option<(FileStat, Option<FileStat>)>,
    /// [`Comparison::told`] when it was come to.
    place: u64,
}

impl Comparison {
    fn say(&mut self, kind: char, path: &Path, size: u64) {
        self.told += 1;
        let bytes = path.as_os_str().as_bytes();
        let end = match bytes.len() > bounds::PATH_TOLD {
            true => bytes[..bounds::PATH_TOLD].iter().rposition(|byte| *byte == b'/'),
            false => None,
        };
        let Some(end) = end else {
            return self.changes.push(Change { kind, path: path.to_string_lossy().into_owned(), size });
        };
        let change = Change { kind, path: format!("{}/…", String::from_utf8_lossy(&bytes[..end])), size };
        match self.changes.last_mut().filter(|last| last.path == change.path) {
            Some(last) => last.add(&change),
            None => self.changes.push(change),
        }
    }

    /// The container's layer, and the image's tree; however deep they are, with few descriptors and little of the stack.
    fn trees(&mut self, old: OwnedFd, new: OwnedFd) -> Result<()> {
        let mut path = PathBuf::from("/");
        let mut levels = vec![self.level(Some(&old), &new, &path, None)?];
        let (mut old, mut new) = (Descent::new(old), Descent::new(new));
        // So many of the levels the image has, too.
        let mut shared = 1;
        loop {
            let here = (levels.len() == shared).then(|| old.here());
            let Some(level) = levels.last_mut() else { break };
            let Some(name) = level.names.next() else {
                let Some(Level { itself: Some((stat, before)), place, .. }) = levels.pop() else { break };
                if levels.len() < shared {
                    shared = levels.len();
                    old.up().doing(|| format!("compare {}", shown(&path)))?;
                }
                new.up().doing(|| format!("compare {}", shown(&path)))?;
                self.entry(&stat, before.as_ref(), self.told > place, &path);
                path.pop();
                continue;
            };
            path.push(&name);
            let before = here.and_then(|old| look(old, &name));
            let Ok(stat) = fstatat(new.here(), name.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW) else {
                path.pop();
                continue;
            };
            let directory = match kind(&stat) {
                SFlag::S_IFDIR => open(new.here(), &name).ok(),
                _ => None,
            };
            let Some(directory) = directory else {
                match is_whiteout(&stat) {
                    true => before.iter().for_each(|_| self.say('D', &path, 0)),
                    false => self.entry(&stat, before.as_ref(), false, &path),
                }
                path.pop();
                continue;
            };
            let was_directory = before.as_ref().is_some_and(|before| kind(before) == SFlag::S_IFDIR);
            let below = here.filter(|_| was_directory).and_then(|old| open(old, &name).ok());
            levels.push(self.level(below.as_ref(), &directory, &path, Some((stat, before)))?);
            new.down(directory)?;
            if let Some(below) = below {
                old.down(below)?;
                shared = levels.len();
            }
        }
        Ok(())
    }

    /// Comes to a directory of the container's layer, and the image's at the same place, where that has one.
    fn level(
        &mut self,
        old: Option<&OwnedFd>,
        new: &OwnedFd,
        path: &Path,
        itself: Option<(FileStat, Option<FileStat>)>,
    ) -> Result<Level> {
        let place = self.told;
        let names = names(new).doing(|| format!("read {}", shown(path)))?;
        if let Some(old) = old
            && is_opaque(new)
        {
            let gone = self::names(old).doing(|| format!("read the image's {}", shown(path)))?;
            gone.difference(&names).filter(|name| look(old, name).is_some()).for_each(|name| {
                self.say('D', &path.join(name), 0);
            });
        }
        Ok(Level { names: names.into_iter(), itself, place })
    }

    /// `within`: something in it has changed.
    fn entry(&mut self, stat: &FileStat, before: Option<&FileStat>, within: bool, path: &Path) {
        let change = match before {
            None if self.given.contains(&path) => None,
            None => Some('A'),
            Some(before) if differs(before, stat) => Some('C'),
            Some(_) => None,
        };
        // What the runtime had to make on the way to what it gives is changed when something else is put there.
        if let Some(kind) = change.or(within.then_some('C')) {
            let size = self.size(stat);
            self.say(kind, path, size);
        }
    }
}

impl Comparison {
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
