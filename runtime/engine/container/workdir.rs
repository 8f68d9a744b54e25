//! A working directory that can be none is refused before a container is made, as Docker does.

use crate::engine::idmap;
use crate::engine::mounts::clean;
use crate::error::{Doing, Error, Result};
use crate::oci::{self, View};
use crate::store::beneath;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::{Mode, SFlag, fstatat};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// What a path of the image is to a working directory.
#[derive(Serialize, Deserialize)]
enum Found {
    /// A directory, or nothing, which will be made.
    Fit,
    /// Something else.
    Unfit,
    /// Something else on the way there.
    UnfitAbove,
}

/// Refuses a working directory where the image has a file. What a mount brings is seen when the container starts.
pub fn check(layers: &[PathBuf], workdir: &str) -> Result<()> {
    let path = &*clean(workdir);
    // Most often it is the image's root, and no layer need be opened.
    if path == Path::new("/") || !may_be_unfit(layers, path)? {
        return Ok(());
    }
    let ids = idmap::store_ids()?;
    let found = oci::within(View::Layers { layers, ids: ids.map() }, |root| {
        let open = |flags| beneath::open(root, path, flags, Mode::empty());
        Ok(match open(OFlag::O_PATH | OFlag::O_DIRECTORY) {
            Err(Errno::ENOTDIR) if open(OFlag::O_PATH).is_ok() => Found::Unfit,
            Err(Errno::ENOTDIR) => Found::UnfitAbove,
            // Why else it cannot be entered, the start will say.
            _ => Found::Fit,
        })
    });
    match found.doing(|| format!("look for the working directory {workdir}"))? {
        Found::Fit => Ok(()),
        Found::Unfit => Err(Error::new(format!("Cannot mkdir: {workdir} is not a directory"))),
        Found::UnfitAbove => Err(Error::new(format!("lstat {workdir}: not a directory"))),
    }
}

/// Whether any layer has something else than directories on the way: most often none has, and no view of them together
/// need be made, which alone knows where a symlink leads and what is hidden.
fn may_be_unfit(layers: &[PathBuf], path: &Path) -> Result<bool> {
    let relative = path.strip_prefix("/").unwrap_or(path);
    for layer in layers {
        let root = beneath::root(layer)?;
        let mut reached = PathBuf::new();
        for part in relative.components() {
            reached.push(part);
            match fstatat(&root, &reached, AtFlags::AT_SYMLINK_NOFOLLOW) {
                Ok(stat) if SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR => {}
                Err(Errno::ENOENT) => break,
                Ok(_) | Err(_) => return Ok(true),
            }
        }
    }
    Ok(false)
}
