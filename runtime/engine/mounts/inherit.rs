//! `--volumes-from NAME[:ro]`: the mounts of another container, running or not.

use super::parse::only_access;
use crate::engine::container::record::{Container, MountPoint};
use crate::engine::{container, volume};
use crate::error::{Error, Kind, Result};
use crate::store::Store;

/// The mounts that `specs` bring along. Of two at one place the later one counts, as in Docker. Call it under the lock of
/// [`super::resolve`]: until this container's record says that it uses them, nothing else keeps these volumes.
pub fn from(store: &Store, specs: &[String]) -> Result<Vec<MountPoint>> {
    let mut all: Vec<MountPoint> = Vec::new();
    for spec in specs {
        let (name, readonly) = parse(spec)?;
        let other = container::find(store, name)?;
        for mount in of(&other) {
            check_source(store, name, mount)?;
            all.retain(|known| known.destination != mount.destination);
            // What is in it is that container's business: nothing is ever copied up into it.
            let mut mount = MountPoint { no_copy: true, chowned: false, ..mount.clone() };
            if readonly {
                (mount.rw, mount.mode) = (false, "ro".into());
            }
            all.push(mount);
        }
    }
    Ok(all)
}

/// `NAME`, `NAME:ro`, `NAME:rw`, `NAME:z`.
pub fn parse(spec: &str) -> Result<(&str, bool)> {
    let (name, mode) = spec.split_once(':').unwrap_or((spec, ""));
    if name.is_empty() {
        return Err(Error::new("volumes-from specification cannot be an empty string"));
    }
    if mode.is_empty() && spec.contains(':') {
        return Err(Error::new(format!("invalid mode: {mode}")).with_cure("it is NAME, NAME:ro or NAME:rw"));
    }
    Ok((name, only_access(mode)?))
}

/// A `--tmpfs` of the other's is its own, as in Docker; a tmpfs of `--mount` is made anew.
fn of(other: &Container) -> impl Iterator<Item = &MountPoint> {
    let own = &other.host_config.tmpfs;
    other.mounts.iter().filter(|mount| {
        mount.kind != "tmpfs" || !own.keys().any(|at| super::clean(at) == super::clean(&mount.destination))
    })
}

fn check_source(store: &Store, name: &str, mount: &MountPoint) -> Result<()> {
    if mount.kind != "volume" {
        return Ok(());
    }
    volume::get(store, &mount.name).map(drop).map_err(|error| match error.kind {
        Kind::NotFound => Error::not_found(format!("volume {} of container {name} is not there any more", mount.name)),
        _ => error,
    })
}
