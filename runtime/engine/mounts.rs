//! What the user asked to have mounted: `-v`, `--mount`, `--tmpfs`, `VOLUME`; parsed here, resolved here.

use crate::engine::container::record::MountPoint;
use crate::engine::image::Image;
use crate::error::{Error, Result};
use crate::store::Store;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// One mount as asked for, before any volume was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    pub kind: Kind,
    /// A volume's name or a host path; `None` for an anonymous volume and a tmpfs.
    pub source: Option<String>,
    pub target: String,
    pub readonly: bool,
    /// The mode as typed after the second colon, for `inspect`.
    pub mode: String,
    pub nocopy: bool,
    /// `rprivate`, `rshared`, …
    pub propagation: Option<String>,
    /// Non-recursive bind.
    pub bind_only: bool,
    /// `-v` makes a missing host directory; `--mount` refuses.
    pub make_source: bool,
    /// mount(8) options of a tmpfs: `size=1m`, `mode=1777`.
    pub tmpfs_options: Vec<String>,
    pub labels: Vec<(String, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    Volume,
    Bind,
    Tmpfs,
}

/// `-v SRC:DST[:opts]`.
pub fn parse_volume(text: &str) -> Result<Request> {
    let _ = text;
    Err(Error::new("being written"))
}

/// `--mount type=…,k=v`.
pub fn parse_mount(text: &str) -> Result<Request> {
    let _ = text;
    Err(Error::new("being written"))
}

/// `--tmpfs PATH[:opts]`.
pub fn parse_tmpfs(text: &str) -> Result<Request> {
    let _ = text;
    Err(Error::new("being written"))
}

/// Checks all requests against each other, adds the image's `VOLUME`s that none covers, makes the volumes that are
/// missing, and returns the mounts in the order to mount them (parents first).
pub fn resolve(store: &Store, requests: &[Request], image: &Image) -> Result<Resolved> {
    let _ = (store, requests, image);
    Ok(Resolved { mounts: Vec::new(), _lock: None })
}

/// The mounts of a container, and the lock under which its volumes were looked up: no volume is removed until this is
/// dropped, which is when the container's own record says that it uses them.
pub struct Resolved {
    pub mounts: Vec<MountPoint>,
    _lock: Option<crate::store::lock::Lock>,
}

/// Copies the image's content into every empty volume of `mounts` that asks for it, once, with owner, mode and xattrs.
/// `bundle` is the container's bundle, whose rootfs shows the image.
pub fn copy_up(store: &Store, mounts: &[MountPoint], layers: &[std::path::PathBuf]) -> Result<()> {
    let _ = (store, mounts, layers);
    Ok(())
}

/// The OCI mount of a [`MountPoint`].
pub fn to_oci(store: &Store, mount: &MountPoint) -> Result<oci_spec::runtime::Mount> {
    let _ = (store, mount, Path::new("/"));
    Err(Error::new("being written"))
}
