//! Where mounts lie: two paths may be one place, by a symlink of the image's (`/var/run -> /run`).

use crate::engine::container::whereabouts::where_it_leads;
use crate::engine::idmap;
use crate::error::Result;
use crate::oci::{self, View};
use crate::store::beneath;
use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{SFlag, fstatat};
use std::collections::HashMap;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// The places of some paths, as the kernel resolves them in an image.
pub struct Places(HashMap<PathBuf, PathBuf>);

impl Places {
    /// Looks for all of `paths` (each [`super::clean`]) in the image's `layers`. A view of these is made only where there is
    /// more than one path, and a symlink on the way to any.
    pub fn in_image<'a>(layers: &[PathBuf], paths: impl Iterator<Item = &'a Path>) -> Result<Places> {
        let paths: Vec<&Path> = paths.collect();
        if paths.len() < 2 || !may_lead_elsewhere(layers, &paths)? {
            return Ok(Places(HashMap::new()));
        }
        let ids = idmap::store_ids()?;
        let places: Vec<PathBuf> = oci::within(View::Layers { layers, ids: ids.map() }, |root| {
            let root = root.try_clone_to_owned().map_err(crate::error::Cause::into_error)?;
            Ok(paths.iter().map(|path| where_it_leads(&root, path)).collect())
        })?;
        Ok(Places(paths.into_iter().map(Path::to_owned).zip(places).collect()))
    }

    /// A path is its own place where no symlink leads elsewhere.
    pub fn of<'a>(&'a self, path: &'a Path) -> &'a Path {
        self.0.get(path).map_or(path, PathBuf::as_path)
    }
}

/// Whether a symlink may be on the way to one of `paths`: most often no layer has any there.
fn may_lead_elsewhere(layers: &[PathBuf], paths: &[&Path]) -> Result<bool> {
    for layer in layers {
        let root = beneath::root(layer)?;
        if paths.iter().any(|path| has_link(root.as_fd(), path)) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn has_link(root: impl AsFd, path: &Path) -> bool {
    let mut reached = PathBuf::new();
    for part in path.strip_prefix("/").unwrap_or(path) {
        reached.push(part);
        match fstatat(&root, &reached, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) if SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFLNK => return true,
            Ok(_) => {}
            Err(Errno::ENOENT | Errno::ENOTDIR) => return false,
            // What we may not look at (a directory that is closed to our ids), the view shows.
            Err(_) => return true,
        }
    }
    false
}
