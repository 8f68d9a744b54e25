//! What a user asks to have mounted: `-v`, `--mount`, `--tmpfs` and the image's `VOLUME`s.

mod copy_up;
mod parse;
mod resolve;

pub use copy_up::copy_up;
pub use parse::{parse_mount, parse_tmpfs, parse_volume};
pub use resolve::{Resolved, resolve};

use crate::engine::container::record::MountPoint;
use crate::engine::volume;
use crate::error::{Doing, Result};
use crate::store::Store;
use oci_spec::runtime::{Mount, MountBuilder};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

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
    /// `U`: give its files to the container's user.
    pub chown: bool,
    /// `idmap`: an id-mapped mount between the directory's owner and the container's user.
    pub id_mapped: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    Volume,
    Bind,
    Tmpfs,
}

impl Request {
    fn new(kind: Kind) -> Request {
        Request {
            kind,
            source: None,
            target: String::new(),
            readonly: false,
            mode: String::new(),
            nocopy: false,
            propagation: None,
            bind_only: false,
            make_source: false,
            tmpfs_options: Vec::new(),
            labels: Vec::new(),
            chown: false,
            id_mapped: false,
        }
    }
}

/// A path without `.`, `..` and doubled slashes, as Go's filepath.Clean: by its letters only, since it is one inside a
/// container that does not exist yet.
pub fn clean(path: &str) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for part in Path::new(path).components() {
        match part {
            std::path::Component::Normal(name) => clean.push(name),
            std::path::Component::ParentDir => drop(clean.pop()),
            _ => {}
        }
    }
    clean
}

/// The OCI mount of a [`MountPoint`].
pub fn to_oci(store: &Store, mount: &MountPoint) -> Result<Mount> {
    let mut options: Vec<String> = Vec::new();
    let (kind, source) = match mount.kind.as_str() {
        "tmpfs" => {
            options.extend(["nosuid", "nodev"].map(str::to_owned));
            if !mount.tmpfs_options.iter().any(|word| word == "exec") {
                options.push("noexec".into());
            }
            options.extend(mount.tmpfs_options.iter().cloned());
            ("tmpfs", PathBuf::from("tmpfs"))
        }
        kind => {
            options.push(if mount.non_recursive { "bind" } else { "rbind" }.into());
            // A device or a setuid program in a directory that outlives the container is a way in for the next one.
            options.extend(["nosuid", "nodev"].map(str::to_owned));
            options.push(if mount.propagation.is_empty() { "rprivate".into() } else { mount.propagation.clone() });
            let source =
                if kind == "volume" { volume::mountpoint(store, &mount.name) } else { PathBuf::from(&mount.source) };
            ("bind", source)
        }
    };
    options.push(if mount.rw { "rw" } else { "ro" }.into());
    let destination = &mount.destination;
    let built = MountBuilder::default().destination(destination).typ(kind).source(source).options(options).build();
    built.doing(|| format!("describe the mount at {destination}"))
}
