//! Which layer of a container's overlay has a path.

use super::super::diff::{is_opaque, is_whiteout};
use super::super::record::Container;
use super::super::{dir, layer_paths};
use super::Holder;
use super::resolve::{kind, parts};
use crate::engine::idmap;
use crate::error::{Doing, Result};
use crate::oci;
use crate::store::Store;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, SFlag};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Which layer has `path`: the container's own first, then the image's from the top.
pub fn in_layers(store: &Store, container: &Container, path: &Path) -> Result<Option<(Holder, PathBuf)>> {
    let upper = dir(store, &container.id).join("upper");
    let layers = layer_paths(store, container);
    let ids = idmap::store_ids()?;
    // Directories that only one of the container's ids may read need the map, where we are not root.
    let found = oci::with_ids(ids.map(), || {
        for (index, layer) in std::iter::once(&upper).chain(layers.iter().rev()).enumerate() {
            match look_for(layer, path).doing(|| format!("look for {}", path.display()))? {
                InLayer::Here => return Ok(Some((index, false))),
                // A whiteout counts only where there is something to hide.
                InLayer::Hidden => {
                    let rest = layers.iter().rev().skip(index);
                    let hides = rest.into_iter().any(|layer| matches!(look_for(layer, path), Ok(InLayer::Here)));
                    return Ok(hides.then_some((index, true)));
                }
                InLayer::Opaque => return Ok(None),
                InLayer::Absent => {}
            }
        }
        Ok(None)
    })?;
    let relative = path.strip_prefix("/").unwrap_or(path);
    Ok(found.map(|(index, hidden)| match (index, hidden) {
        (_, true) => (Holder::Hidden, upper.join(relative)),
        (0, false) => (Holder::Layer, upper.join(relative)),
        (index, false) => {
            let layer = &layers[layers.len() - index];
            let digest = layer.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned();
            (Holder::Image(format!("sha256:{digest}")), layer.join(relative))
        }
    }))
}

enum InLayer {
    Here,
    /// A whiteout, or a file where the path goes on: what lower layers have there is not seen.
    Hidden,
    /// Not here, and an opaque directory on the way hides what lower layers have.
    Opaque,
    Absent,
}

fn look_for(layer: &Path, path: &Path) -> Result<InLayer> {
    let directory = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mut here = openat(nix::fcntl::AT_FDCWD, layer, directory, Mode::empty()).doing(|| "open the layer")?;
    let mut opaque = false;
    let parts = parts(path);
    for (index, part) in parts.iter().enumerate() {
        let stat = match nix::sys::stat::fstatat(&here, part.as_os_str(), nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW) {
            Err(Errno::ENOENT) => return Ok(if opaque { InLayer::Opaque } else { InLayer::Absent }),
            stat => stat.doing(|| "look into the layer")?,
        };
        if is_whiteout(&stat) {
            return Ok(InLayer::Hidden);
        }
        if index + 1 == parts.len() {
            break;
        }
        if kind(stat.st_mode) != SFlag::S_IFDIR {
            return Ok(InLayer::Hidden);
        }
        here = openat(&here, OsStr::new(part), directory, Mode::empty()).doing(|| "open a directory of the layer")?;
        opaque |= is_opaque(&here);
    }
    Ok(InLayer::Here)
}
