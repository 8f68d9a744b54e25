//! `export`: all that a container would see at `/` without its volumes, as one tar.

use super::record::Container;
use crate::engine::idmap;
use crate::error::{Doing, Result};
use crate::oci::{self, View};
use crate::store::{Store, pack::Pack};
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use std::fs::File;
use std::path::Path;

/// Writes the tar to `out`. The container may run: its own layer is looked at as the topmost of the image's.
pub fn export(store: &Store, container: &Container, out: &File) -> Result<()> {
    let mut layers = super::layer_paths(store, container);
    layers.push(super::dir(store, &container.id).join("upper"));
    let ids = idmap::store_ids()?;
    oci::within(View::Layers { layers: &layers, ids: ids.map() }, |root| {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let top = openat(root, ".", flags, Mode::empty()).doing(|| "open the container's root")?;
        let mut pack = Pack::new(out);
        pack.contents(top, Path::new(""))?;
        pack.finish().map(drop)
    })
}
