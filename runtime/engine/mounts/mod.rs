//! What a user asks to have mounted: `-v`, `--mount`, `--tmpfs`, `--volumes-from` and the image's `VOLUME`s.

mod api;
mod copy_up;
mod inherit;
mod parse;
mod parse_mount;
pub mod peers;
mod places;
mod resolve;
mod sources;

pub use api::to_api;
pub use copy_up::{copy_up, finish_before_exchange, finish_copy_up, finish_copy_up_of};
pub use parse::{parse_tmpfs, parse_volume};
pub use parse_mount::parse_mount;
pub use peers::has_mounts_below;
pub use resolve::{Resolved, resolve};
pub use sources::{as_of_now, of_volume as path_of_volume};

use crate::engine::container::record::{Container, MountPoint};
use crate::engine::{idmap, volume};
use crate::error::{Doing, Error, Result};
use crate::oci::{self, Given};
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
    pub recursion: Recursion,
    /// `-v` makes a missing host directory; `--mount` refuses.
    pub make_source: bool,
    /// mount(8) options of a tmpfs: `size=1m`, `mode=1777`.
    pub tmpfs_options: Vec<String>,
    pub labels: Vec<(String, String)>,
    /// `U`: give its files to the container's user.
    pub chown: bool,
    /// `idmap`: an id-mapped mount between the directory's owner and the container's user.
    pub id_mapped: bool,
    /// The driver's options, for a volume that is made by this.
    pub options: Vec<(String, String)>,
    /// What of the volume is mounted; empty is all of it.
    pub subpath: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    Volume,
    Bind,
    Tmpfs,
}

impl Kind {
    pub fn word(self) -> &'static str {
        match self {
            Kind::Volume => "volume",
            Kind::Bind => "bind",
            Kind::Tmpfs => "tmpfs",
        }
    }
}

/// What becomes of the mounts below a directory of the host's that is bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Recursion {
    /// They come along, and are read-only where it is.
    Enabled,
    /// They stay away.
    Disabled,
    /// They come along, and stay writable where it is read-only.
    Writable,
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
            recursion: Recursion::Enabled,
            make_source: false,
            tmpfs_options: Vec::new(),
            labels: Vec::new(),
            chown: false,
            id_mapped: false,
            options: Vec::new(),
            subpath: String::new(),
        }
    }
}

/// Docker's words for a volume driver that is not there. Ebb has the one that Docker has without plugins.
pub fn unknown_driver(name: &str) -> Error {
    Error::new(format!("error looking up volume plugin {name}: plugin \"{name}\" not found"))
        .with_cure("the driver is local; its options type, o and device mount what the kernel can mount")
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

/// What a start needs that may have changed since `create`: what a killed command left half-copied is finished, and the
/// host's mounts still have the peers that were asked for. Returns the container with its binds' true paths of now.
pub fn prepare(store: &Store, container: &Container, may_mount: bool) -> Result<Container> {
    finish_copy_up(store, &container.mounts)?;
    let mut container = as_of_now(store, container)?;
    if may_mount {
        keep_to_itself(&mut container);
    }
    container.mounts.iter().try_for_each(|mount| peers::check(mount.path(), &mount.propagation))?;
    Ok(container)
}

/// For a container that may change its mounts: its binds and volumes with their flags and covers locked, as mounts that are
/// there already, in the place of those that `given` has for them.
pub fn lock(store: &Store, container: &Container, given: Vec<Given>) -> Result<Vec<Given>> {
    let binds = container.mounts.iter().filter(|mount| mount.kind != "tmpfs");
    let binds = binds.map(|mount| to_oci(store, mount)).collect::<Result<Vec<_>>>()?;
    let place = store.containers().join(&container.id).join("rootfs");
    oci::locked::locked(&binds, given, idmap::store_ids()?.map(), &place)
}

/// What a container that may mount, in a user namespace, mounts there is not to be seen on the host: `shared` is what
/// `slave` is.
fn keep_to_itself(container: &mut Container) {
    for mount in &mut container.mounts {
        mount.propagation = match mount.propagation.as_str() {
            "shared" => "slave".into(),
            "rshared" => "rslave".into(),
            _ => continue,
        };
    }
}

/// The OCI mount of a [`MountPoint`].
pub fn to_oci(store: &Store, mount: &MountPoint) -> Result<Mount> {
    let (kind, source, mut options) = match mount.kind.as_str() {
        "tmpfs" => ("tmpfs", PathBuf::from("tmpfs"), of_tmpfs(mount)),
        "volume" => {
            let mut options = of_directory(mount);
            ("bind", volume_source(store, mount, &mut options)?, options)
        }
        _ => {
            let mut options = of_directory(mount);
            options.push(oci::NO_LINKS.into());
            ("bind", mount.path().to_owned(), options)
        }
    };
    // `ro` is for the mount itself and `rro` for those below as well.
    let below = kind == "bind" && !mount.non_recursive && !mount.writable_below;
    options.push(
        match (mount.rw, below) {
            (true, _) => "rw",
            (false, true) => "rro",
            (false, false) => "ro",
        }
        .into(),
    );
    let destination = &mount.destination;
    let built = MountBuilder::default().destination(destination).typ(kind).source(source).options(options).build();
    built.doing(|| format!("describe the mount at {destination}"))
}

/// Docker's defaults, unless their opposite is asked for.
fn of_tmpfs(mount: &MountPoint) -> Vec<String> {
    let defaults = ["nosuid", "nodev", "noexec"].into_iter();
    let asked = |word: &str| mount.tmpfs_options.iter().any(|option| option == word);
    let defaults = defaults.filter(|word| !asked(word.trim_start_matches("no"))).map(str::to_owned);
    defaults.chain(mount.tmpfs_options.iter().cloned()).collect()
}

fn of_directory(mount: &MountPoint) -> Vec<String> {
    let recursion = if mount.non_recursive { "bind" } else { "rbind" };
    let propagation = if mount.propagation.is_empty() { "rprivate" } else { &mount.propagation };
    // A device or a setuid program in a directory that outlives the container is a way in for the next one.
    let mut options = [recursion, "nosuid", "nodev", propagation].map(str::to_owned).to_vec();
    if !mount.subpath.is_empty() {
        options.push(oci::subpath_option(&mount.subpath));
    }
    options
}

/// Whether a mount shows what the host has at a path that a user named.
pub fn is_of_host(mount: &MountPoint) -> bool {
    mount.kind == "bind" || matches!(volume::place(&mount.driver_options), Ok(volume::Place::Directory { .. }))
}

/// The directory or file of the host's that is bound for a mount that is no tmpfs.
pub fn host_path(store: &Store, mount: &MountPoint) -> Result<PathBuf> {
    match mount.kind.as_str() {
        "volume" => volume_source(store, mount, &mut Vec::new()),
        _ => Ok(mount.path().to_owned()),
    }
}

/// Where a volume is bound from: its own directory, or the one of the host's that its options name, with their words.
fn volume_source(store: &Store, mount: &MountPoint, options: &mut Vec<String>) -> Result<PathBuf> {
    match volume::place(&mount.driver_options)? {
        volume::Place::Directory { device, recursive, words } => {
            if !recursive {
                options.iter_mut().filter(|word| *word == "rbind").for_each(|word| "bind".clone_into(word));
            }
            options.extend(words);
            options.push(oci::NO_LINKS.into());
            path_of_volume(store, &device)
        }
        _ => Ok(volume::mountpoint(store, &mount.name)),
    }
}
