//! Which namespaces a container gets, and which ids in them.

use super::record::{Container, HostConfig, MountPoint};
use super::state;
use crate::engine::idmap::{self, StoreIds};
use crate::engine::{container, mounts, volume};
use crate::error::{Doing, Error, Result};
use crate::oci::{self, IdMap};
use crate::store::Store;
use oci_spec::runtime::{LinuxIdMapping, LinuxNamespace, LinuxNamespaceBuilder, LinuxNamespaceType as Type};
use std::path::PathBuf;

/// Which namespaces the container gets. (The bundle lists those, but where a lesson leaves one out.)
pub fn namespaces(store: &Store, container: &Container, held: &volume::Held) -> Result<Vec<LinuxNamespace>> {
    let host = &container.host_config;
    let mut list = vec![new(Type::Mount)?];
    for (kind, mode) in [
        (Type::Pid, &host.pid_mode),
        (Type::Uts, &host.uts_mode),
        (Type::Ipc, &host.ipc_mode),
        (Type::Network, &host.network_mode),
        (Type::Cgroup, &host.cgroupns_mode),
    ] {
        if mode != "host" && !mode.starts_with("container:") {
            list.push(new(kind)?);
        }
    }
    if let Some(other) = host.pid_mode.strip_prefix("container:") {
        list.extend(beside(store, other)?);
        return Ok(list);
    }
    let wanted = match idmap::store_ids()? {
        StoreIds::Host => wants_user_namespace(host) && held.can_map_ids && mounts_can_be_mapped(store, container)?,
        _ => true,
    };
    if wanted {
        list.push(new(Type::User)?);
    }
    Ok(list)
}

/// `--pid container:X`: the pid namespace belongs to X's user namespace, so that is shared, too, and with it the ids.
fn beside(store: &Store, other: &str) -> Result<Vec<LinuxNamespace>> {
    if !nix::unistd::geteuid().is_root() {
        return Err(Error::new(format!(
            "--pid container:{other} needs root: a pid namespace is joined with rights in the user namespace that owns it, \
             which without root is {other}'s own; whoever enters that has none outside, and who makes a container needs both"
        ))
        .with_cure(format!("`ebb exec {other} …` runs a program among its processes")));
    }
    let other = container::find(store, other)?;
    // Not waited for: two that name each other would wait for ever.
    state::refuse_starting(store, &other)?;
    let init = super::exec::still_running(store, &other)?;
    let path = |name: &str| PathBuf::from(format!("/proc/{}/ns/{name}", init.pid));
    let at = |kind, name| {
        let built = LinuxNamespaceBuilder::default().typ(kind).path(path(name)).build();
        built.doing(|| "describe a namespace")
    };
    let mut list = vec![at(Type::Pid, "pid")?];
    if map_of(store, &other)?.is_some() {
        list.push(at(Type::User, "user")?);
    }
    Ok(list)
}

/// The ids that a running container was given.
fn map_of(store: &Store, container: &Container) -> Result<Option<IdMap>> {
    let bundle = super::exec::bundle_spec(store, container)?;
    Ok(bundle.linux().as_ref().and_then(|linux| {
        Some(IdMap { uids: triples(linux.uid_mappings().as_ref()?), gids: triples(linux.gid_mappings().as_ref()?) })
    }))
}

/// The namespaces, and the ids in them.
pub struct Namespaces {
    pub list: Vec<LinuxNamespace>,
    pub map: Option<IdMap>,
    /// What the mounts of host directories are mapped by: as root with a user namespace.
    pub mount_map: Option<IdMap>,
}

impl Namespaces {
    pub fn with_ids(
        store: &Store,
        container: &Container,
        ids: &StoreIds,
        (uid, gid): (u32, u32),
        list: Vec<LinuxNamespace>,
    ) -> Result<Namespaces> {
        let host = &container.host_config;
        let map = match host.pid_mode.strip_prefix("container:") {
            Some(other) => map_of(store, &container::find(store, other)?)?,
            None if list.iter().any(|namespace| namespace.typ() == Type::User) => {
                let keep = idmap::keep_id(&host.userns_mode)?;
                Some(idmap::container_map(ids, &container.id, uid, gid, keep.as_ref()))
            }
            None => None,
        };
        let mount_map = map.clone().filter(|_| *ids == StoreIds::Host);
        Ok(Namespaces { list, map, mount_map })
    }
}

pub fn triples(mappings: &[LinuxIdMapping]) -> Vec<(u32, u32, u32)> {
    mappings.iter().map(|one| (one.container_id(), one.host_id(), one.size())).collect()
}

fn new(kind: Type) -> Result<LinuxNamespace> {
    LinuxNamespaceBuilder::default().typ(kind).build().doing(|| "describe a namespace")
}

/// As Docker's `--userns-remap`: not together with a namespace of the host's, which belongs to the host's root.
fn wants_user_namespace(host: &HostConfig) -> bool {
    let shares =
        [&host.network_mode, &host.pid_mode, &host.ipc_mode, &host.userns_mode].iter().any(|mode| *mode == "host");
    !host.privileged && !shares && host.runtime.is_empty()
}

/// Whether every directory of the host that the container sees is on a file system that can map ids, and what is mounted
/// below it, too.
fn mounts_can_be_mapped(store: &Store, container: &Container) -> Result<bool> {
    let mut tried: Vec<u64> = Vec::new();
    let own = std::iter::once((store.root().to_owned(), false));
    let directories = container.mounts.iter().filter(|mount| mount.kind != "tmpfs");
    let source = |mount: &MountPoint| Ok((mounts::host_path(store, mount)?, !mount.non_recursive));
    for (source, recursive) in own.chain(directories.map(source).collect::<Result<Vec<_>>>()?) {
        let Ok(meta) = std::fs::metadata(&source) else { continue };
        if recursive && mounts::has_mounts_below(&source)? {
            if oci::map_ids_for_a_try(&source, true).is_err() {
                return Ok(false);
            }
            continue;
        }
        let device = std::os::unix::fs::MetadataExt::dev(&meta);
        if tried.contains(&device) {
            continue;
        }
        tried.push(device);
        if !idmap::can_idmap(store, &source) {
            return Ok(false);
        }
    }
    Ok(true)
}
