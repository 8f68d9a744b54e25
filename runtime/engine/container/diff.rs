//! diff: what a container has written, read off its upper directory.

use super::record::Container;
use crate::engine::idmap;
use crate::error::{Doing, Result};
use crate::oci;
use crate::store::{Store, beneath};
use nix::dir::Dir;
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::{FileStat, Mode, SFlag, fstatat};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use xattr::FileExt;

/// `A` added, `C` changed, `D` deleted; and the path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Change {
    pub path: String,
    pub kind: char,
}

/// What the container's layer changes of its image, by path.
pub fn diff(store: &Store, container: &Container) -> Result<Vec<Change>> {
    let upper = super::dir(store, &container.id).join("upper");
    let layers = super::layer_paths(store, container);
    let ids = idmap::store_ids()?;
    oci::with_ids(ids.map(), || {
        let lower = layers.iter().rev().map(|layer| beneath::root(layer)).collect::<Result<Vec<_>>>()?;
        let mut scan = Scan { upper: beneath::root(&upper)?, lower, changes: Vec::new() };
        scan.directory(Path::new(""), true)?;
        scan.changes.sort();
        Ok(scan.changes)
    })
}

/// What the runtime puts into every container: mounted over, but where the image has no place for it, one is made.
const GIVEN: [&str; 7] = ["dev", "proc", "sys", "etc/hosts", "etc/hostname", "etc/resolv.conf", "sbin/docker-init"];

struct Scan {
    upper: OwnedFd,
    /// The top layer first.
    lower: Vec<OwnedFd>,
    changes: Vec<Change>,
}

impl Scan {
    fn note(&mut self, kind: char, path: &Path) {
        self.changes.push(Change { path: format!("/{}", path.display()), kind });
    }

    /// Notes the changes below `path`; `shared` where lower layers show through.
    fn directory(&mut self, path: &Path, shared: bool) -> Result<()> {
        let mut seen = BTreeSet::new();
        for name in names(&self.upper, path)? {
            let child = path.join(OsStr::from_bytes(&name));
            seen.insert(name);
            self.entry(&child)?;
        }
        if !shared {
            // An opaque directory hides all that lies below it.
            for name in self.lower_names(path)? {
                if !seen.contains(&name) {
                    self.note('D', &path.join(OsStr::from_bytes(&name)));
                }
            }
        }
        Ok(())
    }

    fn entry(&mut self, path: &Path) -> Result<()> {
        let stat = look(&self.upper, path).doing(|| format!("look at {}", path.display()))?;
        let below = self.find_lower(path);
        if kind(&stat) == SFlag::S_IFCHR && stat.st_rdev == 0 {
            if below.is_some() {
                self.note('D', path);
            }
            return Ok(());
        }
        let given = GIVEN.iter().any(|given| Path::new(given) == path);
        if given && below.is_none() && (kind(&stat) == SFlag::S_IFDIR || stat.st_size == 0) {
            return Ok(());
        }
        if kind(&stat) != SFlag::S_IFDIR {
            self.note(if below.is_some() { 'C' } else { 'A' }, path);
            return Ok(());
        }
        let before = self.changes.len();
        let opaque = self.is_opaque(path)?;
        self.directory(path, !opaque || below.is_none())?;
        let quiet = self.changes.len() == before;
        match below {
            Some(below) => {
                let described = |stat: &FileStat| (stat.st_mode, stat.st_uid, stat.st_gid);
                if !quiet || kind(&below) != SFlag::S_IFDIR || described(&below) != described(&stat) {
                    self.note('C', path);
                }
            }
            // Made only to hold what the runtime gives.
            None if quiet && GIVEN.iter().any(|given| Path::new(given).starts_with(path)) => {}
            None => self.note('A', path),
        }
        Ok(())
    }

    /// What the image has at `path`: the topmost layer that says anything of it or of a directory above it.
    fn find_lower(&self, path: &Path) -> Option<FileStat> {
        for layer in &self.lower {
            if let Ok(stat) = look(layer, path) {
                return (kind(&stat) != SFlag::S_IFCHR || stat.st_rdev != 0).then_some(stat);
            }
            let hidden = path.ancestors().skip(1).any(|above| {
                look(layer, above).is_ok_and(|stat| kind(&stat) != SFlag::S_IFDIR)
                    || (!above.as_os_str().is_empty() && opaque(layer, above))
            });
            if hidden {
                return None;
            }
        }
        None
    }

    fn lower_names(&self, path: &Path) -> Result<BTreeSet<Vec<u8>>> {
        let mut all = BTreeSet::new();
        for layer in &self.lower {
            if look(layer, path).is_ok_and(|stat| kind(&stat) == SFlag::S_IFDIR) {
                all.extend(names(layer, path)?);
            }
        }
        all.retain(|name| self.find_lower(&path.join(OsStr::from_bytes(name))).is_some());
        Ok(all)
    }

    fn is_opaque(&self, path: &Path) -> Result<bool> {
        Ok(opaque(&self.upper, path))
    }
}

fn opaque(root: &OwnedFd, path: &Path) -> bool {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
    let Ok(directory) = beneath::open(root, path, flags, Mode::empty()) else { return false };
    matches!(File::from(directory).get_xattr("user.overlay.opaque"), Ok(Some(value)) if value == b"y")
}

/// The names in a directory; the parts of `path` are directories, not links, since that is how we came here.
fn names(root: &OwnedFd, path: &Path) -> Result<BTreeSet<Vec<u8>>> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
    let opened = beneath::open(root, path, flags, Mode::empty()).doing(|| format!("open {}", path.display()))?;
    let mut directory = Dir::from_fd(opened).doing(|| format!("read {}", path.display()))?;
    let mut names = BTreeSet::new();
    for entry in directory.iter() {
        let name = entry.doing(|| format!("read {}", path.display()))?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.insert(name);
        }
    }
    Ok(names)
}

fn look(root: &OwnedFd, path: &Path) -> nix::Result<FileStat> {
    let path = if path.as_os_str().is_empty() { PathBuf::from(".") } else { path.to_owned() };
    fstatat(root, &path, AtFlags::AT_SYMLINK_NOFOLLOW)
}

fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}
