//! From what was asked for to what will be mounted. Everything is checked before any volume is made.

use super::{Kind, Request, clean};
use crate::engine::container::record::MountPoint;
use crate::engine::image::Image;
use crate::engine::volume;
use crate::error::{Doing, Error, Result};
use crate::store::{Store, lock};
use std::path::{Path, PathBuf};

/// The mounts of a container, and the lock under which its volumes were looked up: no volume is removed until this is
/// dropped, which is when the container's own record says that it uses them.
pub struct Resolved {
    pub mounts: Vec<MountPoint>,
    _lock: lock::Lock,
}

/// Checks all requests against each other, adds the image's `VOLUME`s that none covers, makes the volumes that are
/// missing, and returns the mounts in the order to mount them (parents first).
pub fn resolve(store: &Store, requests: &[Request], image: &Image) -> Result<Resolved> {
    let mut wanted: Vec<(PathBuf, Request)> = Vec::new();
    for request in requests {
        let target = clean(&request.target);
        check_target(&target)?;
        if wanted.iter().any(|(other, _)| *other == target) {
            return Err(Error::new(format!("Duplicate mount point: {}", target.display())));
        }
        check_source(request)?;
        wanted.push((target, request.clone()));
    }
    for path in image.config.volumes.keys() {
        let target = clean(path);
        // An image is data: what it must not cover, it does not get.
        if check_target(&target).is_ok() && !wanted.iter().any(|(other, _)| *other == target) {
            let request = Request { target: path.clone(), ..Request::new(Kind::Volume) };
            wanted.push((target, request));
        }
    }
    // A mount below another must come after it, or it would be covered.
    wanted.sort_by_key(|(target, _)| target.components().count());
    let lock = lock::shared(&store.volumes())?;
    let mounts = wanted.iter().map(|(target, request)| make(store, target, request)).collect::<Result<_>>()?;
    Ok(Resolved { mounts, _lock: lock })
}

/// Nothing may cover what the kernel shows of itself (CVE-2019-16884), nor all of /dev, nor the root.
fn check_target(target: &Path) -> Result<()> {
    let refused = |why: &str| Err(Error::new(format!("invalid mount path: '{}' {why}", target.display())));
    if target == Path::new("/") {
        return refused("the root itself cannot be mounted over");
    }
    if target == Path::new("/dev") || ["/proc", "/sys"].iter().any(|kernel| target.starts_with(kernel)) {
        return refused("lies where the kernel shows itself, which a mount must not cover");
    }
    Ok(())
}

fn check_source(request: &Request) -> Result<()> {
    let Some(source) = &request.source else { return Ok(()) };
    match request.kind {
        Kind::Volume => volume::check_name(source).doing(|| format!("create {source}")),
        Kind::Bind if !request.make_source && !Path::new(source).exists() => Err(Error::new(format!(
            "invalid mount config for type \"bind\": bind source path does not exist: {source}"
        ))),
        Kind::Bind | Kind::Tmpfs => Ok(()),
    }
}

fn make(store: &Store, target: &Path, request: &Request) -> Result<MountPoint> {
    let mut mount = MountPoint {
        destination: target.to_string_lossy().into_owned(),
        mode: request.mode.clone(),
        rw: !request.readonly,
        no_copy: request.nocopy,
        non_recursive: request.bind_only,
        tmpfs_options: request.tmpfs_options.clone(),
        chowned: request.chown,
        id_mapped: request.id_mapped,
        ..MountPoint::default()
    };
    match request.kind {
        Kind::Volume => {
            let labels = request.labels.iter().cloned().collect();
            let wanted = volume::Request { name: request.source.clone(), labels, ..volume::Request::default() };
            let made = volume::find_or_create(store, &wanted)?;
            mount.kind = "volume".into();
            mount.source = volume::mountpoint(store, &made.name).to_string_lossy().into_owned();
            mount.name = made.name;
            mount.driver = "local".into();
            mount.anonymous = request.source.is_none();
        }
        Kind::Bind => {
            mount.kind = "bind".into();
            mount.source = host_directory(request)?;
            mount.propagation = request.propagation.clone().unwrap_or_else(|| "rprivate".into());
        }
        Kind::Tmpfs => mount.kind = "tmpfs".into(),
    }
    Ok(mount)
}

/// The host's path, absolute. `-v` makes a missing directory, as Docker does, and says so: it is a mistyped path more
/// often than a wish.
fn host_directory(request: &Request) -> Result<String> {
    let source = request.source.as_deref().unwrap_or_default();
    let path = std::path::absolute(source).doing(|| format!("resolve {source}"))?;
    // Without the `.` and `..` that absolute(3) leaves; by its letters, as Docker's client does it.
    let path = clean(&path.to_string_lossy());
    if !path.exists() {
        std::fs::create_dir_all(&path).doing(|| format!("make the host directory {}", path.display()))?;
        eprintln!("ebb: made the host directory {}, which was not there", path.display());
    }
    Ok(path.to_string_lossy().into_owned())
}
