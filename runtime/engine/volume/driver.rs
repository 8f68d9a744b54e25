//! Where a volume's data lies, and the one way to it.
//!
//! A volume of a file system of its own (`type=`, `size=`) is mounted while somebody uses it, and never where the host would
//! see it: for a command as a mount that is attached nowhere ([`open`]); for a container in a mount namespace that nobody
//! lives in, which the container's supervisor holds by a descriptor ([`hold`]). From there the next user takes a copy of
//! the same mount, so that two containers see one tmpfs. Whatever is killed, the kernel closes its descriptors, and the
//! last one that is closed unmounts.

use super::options::{self, Place};
use super::{Volume, disk, get, mountpoint, network, users};
use crate::engine::container::record::{Container, MountPoint};
use crate::engine::container::state;
use crate::engine::idmap::{self, StoreIds};
use crate::engine::mounts;
use crate::error::{Doing, Error, Result};
use crate::explain;
use crate::oci;
use crate::oci::detached::{self, Given};
use crate::store::{Store, beneath, lock};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// The directory that is the volume's data, as an O_PATH descriptor: whoever looks into a volume or writes to it (copy-up,
/// export, clone, `df`, `where`) comes through here, and finds what containers find there. What is mounted for it stays so
/// until the descriptor is closed.
///
/// Opened before `oci::with_ids` or `oci::within`: their children inherit it.
pub fn open(store: &Store, volume: &Volume) -> Result<OwnedFd> {
    if let Place::Directory { device, recursive: false, .. } = options::read(&volume.options)?
        && mounts::has_mounts_below(&std::fs::canonicalize(&device).unwrap_or(device.clone()))?
    {
        let data = mountpoint(store, &volume.name);
        let device = mounts::path_of_volume(store, &device)?;
        return without_mounts_below(&device).doing(|| failed(&data, &device.to_string_lossy()));
    }
    open_on_host(store, volume)
}

/// [`open`], but of a directory of the host's that very one, with what else the host has mounted below it.
pub fn open_on_host(store: &Store, volume: &Volume) -> Result<OwnedFd> {
    let data = mountpoint(store, &volume.name);
    match options::read(&volume.options)? {
        Place::Plain => beneath::root(&data),
        Place::Directory { device, .. } => directory(store, &data, &device),
        place => {
            // Who mounts it first is found by who comes second.
            let _lock = lock::exclusive(&data)?;
            if let Some(mount) = taken(store, &volume.name, "")? {
                return Ok(mount);
            }
            mount_apart(&data, &place)
        }
    }
}

/// Mounts the file system of the volume whose `_data` this is, for this command only.
pub(super) fn mount_apart(data: &Path, place: &Place) -> Result<OwnedFd> {
    let ids = idmap::store_ids()?;
    let (_, mut made) = detached::in_new_namespace(ids.map(), || Ok((true, vec![mount(data, place)?])))
        .map_err(|error| explain(error, place, &ids))?;
    made.pop().ok_or_else(|| Error::new("the volume's mount got lost"))
}

/// Without `rbind`, containers see what lies below the host's mounts in the directory, and so does who copies it.
fn without_mounts_below(device: &Path) -> Result<OwnedFd> {
    let ids = idmap::store_ids()?;
    let copied = detached::in_new_namespace(ids.map(), || Ok((true, vec![detached::copy(device, Path::new(""))?])));
    let (_, mut made) = copied.map_err(|error| match mounts::has_mounts_below(device) {
        Ok(true) => Error::new(format!("something is mounted below {}", device.display())).with_cure(
            "where something else is mounted below a directory, only root may bind it without that; a volume with \
             o=rbind shows both",
        ),
        _ => error,
    })?;
    made.pop().ok_or_else(|| Error::new("the directory's mount got lost"))
}

/// Whether `volumes/NAME/_data` itself holds the data.
pub fn is_plain(volume: &Volume) -> bool {
    volume.options.is_empty()
}

/// Docker's sentence for what cannot be mounted.
fn failed(data: &Path, device: &str) -> String {
    let data = data.display();
    format!("error while mounting volume '{data}': failed to mount local volume: mount {device}:{data}")
}

fn directory(store: &Store, data: &Path, device: &Path) -> Result<OwnedFd> {
    let path = mounts::path_of_volume(store, device)?;
    beneath::open_without_links(&path, OFlag::O_PATH | OFlag::O_DIRECTORY)
        .doing(|| format!("open {}", device.display()))
        .map_err(|error| Error { message: reason(&error.message), ..error })
        .doing(|| failed(data, &device.to_string_lossy()))
        .map_err(|error| error.with_cure(format!("make the directory {} first", device.display())))
}

/// The last part of `open /x: no such file or directory`.
fn reason(message: &str) -> String {
    message.rsplit(": ").next().unwrap_or(message).to_owned()
}

/// Mounts the volume's file system, attached nowhere yet.
fn mount(data: &Path, place: &Place) -> Result<OwnedFd> {
    let (kind, device, words) = match place {
        Place::FileSystem { kind, device, words } => (kind, device.clone(), words.clone()),
        Place::Disk { kind, words, .. } => {
            let disk = disk::attach(&data.with_file_name(disk::FILE))?;
            // Its tables are zeros already, where the file has holes.
            let words = [disk::words(kind), words.as_slice()].concat();
            // `disk` is open until the mount is made: a loop device that nobody has open lets go of its file.
            let mounted = detached::file_system(kind, &disk.path, &words);
            return mounted.doing(|| failed(data, &disk.path));
        }
        Place::Plain | Place::Directory { .. } => return Err(Error::new("this volume has no file system of its own")),
    };
    let (resolved, words) =
        network::resolve(kind, &device, words).doing(|| format!("error while mounting volume '{}'", data.display()))?;
    let mounted = detached::file_system(kind, &resolved, &words);
    mounted.map_err(|error| network::explain_refusal(kind, error)).doing(|| failed(data, &resolved))
}

/// An ordinary user may mount only what a user namespace may.
fn explain(error: Error, place: &Place, ids: &StoreIds) -> Error {
    let refused = error.message.contains(&Errno::EPERM.desc().to_lowercase());
    match place {
        Place::FileSystem { kind, .. } if refused && *ids != StoreIds::Host => error.with_cure(format!(
            "the kernel lets only root mount a file system of type {kind}; without root there are type=tmpfs and o=bind"
        )),
        _ => error,
    }
}

/// What a container that starts, or one that is looked into, needs mounted for it.
#[derive(Debug)]
pub struct Held {
    /// For its mounts of volumes with file systems of their own.
    pub given: Vec<Given>,
    /// Whether all of them can translate ids.
    pub can_map_ids: bool,
    /// The mount namespace where the next user finds them, for as long as this is open.
    _namespace: Option<OwnedFd>,
}

/// Mounts what the container's volumes need. To be kept for one life of the container, and to be dropped before anybody is
/// told of its end: what only this container used is unmounted by then.
pub fn hold(store: &Store, container: &Container) -> Result<Held> {
    let mut wanted: Vec<(&MountPoint, Place)> = Vec::new();
    for mount in container.mounts.iter().filter(|mount| !mount.driver_options.is_empty()) {
        match options::read(&mount.driver_options)? {
            Place::Plain => {}
            Place::Directory { device, .. } => drop(directory(store, &mountpoint(store, &mount.name), &device)?),
            place => wanted.push((mount, place)),
        }
    }
    if wanted.is_empty() {
        return Ok(Held { given: Vec::new(), can_map_ids: true, _namespace: None });
    }
    let mut names: Vec<&str> = wanted.iter().map(|(mount, _)| mount.name.as_str()).collect();
    // In one order everywhere: nobody waits for whom waits for him.
    names.sort_unstable();
    names.dedup();
    let mut locks = Vec::new();
    let mut mounted = Vec::new();
    for name in names {
        get(store, name)?;
        let data = mountpoint(store, name);
        locks.push(lock::exclusive(&data)?);
        mounted.push((name, data, taken(store, name, &container.id)?));
    }
    let ids = idmap::store_ids()?;
    let (can_map_ids, mut made) = detached::in_new_namespace(ids.map(), || {
        let mut can_map_ids = true;
        for (name, data, taken) in &mounted {
            let place = wanted.iter().find(|(mount, _)| mount.name == *name).map(|(_, place)| place);
            match (taken, place) {
                (Some(taken), _) => detached::attach(taken, data)?,
                (None, Some(place)) => detached::attach(mount(data, place)?, data)?,
                (None, None) => {}
            }
            can_map_ids &= ids.map().is_some() || oci::map_ids_for_a_try(data, false).is_ok();
        }
        let copy = |mount: &MountPoint| {
            let data = mountpoint(store, &mount.name);
            explain::step(
                "a copy of the mount, attached nowhere, for the container to take with it",
                format_args!("mount --bind {} …", data.display()),
            );
            detached::copy(&data, Path::new(&mount.subpath))
        };
        let copies = wanted.iter().map(|(mount, _)| copy(mount)).chain([detached::this_namespace()]);
        Ok((can_map_ids, copies.collect::<Result<_>>()?))
    })
    .map_err(|error| wanted.iter().fold(error, |error, (_, place)| explain(error, place, &ids)))?;
    let namespace = made.pop();
    let given = wanted
        .iter()
        .zip(made)
        .map(|((mount, _), made)| Given { destination: PathBuf::from(&mount.destination), mount: Rc::new(made) });
    Ok(Held { given: given.collect(), can_map_ids, _namespace: namespace })
}

/// The mount that another container has of this volume, as a copy of it; not that of the container `except`.
fn taken(store: &Store, name: &str, except: &str) -> Result<Option<OwnedFd>> {
    for user in users(store, name)?.into_iter().filter(|user| user.id != except) {
        let Ok(state) = state::current(store, &user) else { continue };
        let Some(_supervisor) = state.supervisor.open()?.filter(|_| state.is_running()) else { continue };
        for namespace in mount_namespaces_of(state.supervisor.pid) {
            // One that ends meanwhile has unmounted: as if it had been gone before we looked.
            if let Ok(Some(mount)) = detached::take(&namespace, &mountpoint(store, name)) {
                return Ok(Some(mount));
            }
        }
    }
    Ok(None)
}

/// The mount namespaces that a process holds by descriptors, beside the one that it lives in.
fn mount_namespaces_of(pid: i32) -> Vec<OwnedFd> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let is_one = |path: &PathBuf| std::fs::read_link(path).is_ok_and(|to| to.to_string_lossy().starts_with("mnt:["));
    let found = entries.map(|entry| entry.path()).filter(is_one);
    found.filter_map(|path| std::fs::File::open(path).ok().map(OwnedFd::from)).collect()
}
