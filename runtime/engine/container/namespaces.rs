//! Which namespaces a container gets, and which ids in them.

use super::record::{Container, HostConfig};
use super::state;
use crate::engine::id_ranges::{self, Range};
use crate::engine::idmap::{self, StoreIds};
use crate::engine::{container, mounts, volume};
use crate::error::{Doing, Error, Kind, Result};
use crate::explain::without::{Step, leaves_out};
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
        StoreIds::Host => wants_user_namespace(host) && held.can_map_ids && idmap::can_idmap(store, store.root()),
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
        user: (u32, u32),
        list: Vec<LinuxNamespace>,
        range: Option<&Range>,
    ) -> Result<Namespaces> {
        let host = &container.host_config;
        let map = match host.pid_mode.strip_prefix("container:") {
            Some(other) => map_of(store, &container::find(store, other)?)?,
            None if list.iter().any(|namespace| namespace.typ() == Type::User) => {
                let keep = idmap::keep_id(&host.userns_mode)?;
                Some(idmap::container_map(ids, &container.id, range, user, keep.as_ref())?)
            }
            None => None,
        };
        let mount_map = map.clone().filter(|_| *ids == StoreIds::Host);
        Ok(Namespaces { list, map, mount_map })
    }
}

/// The ids of the host that are this container's for one life, where it is one of root's with a user namespace of its own.
pub fn claim_ids(container: &Container, list: &[LinuxNamespace]) -> Result<Option<Range>> {
    let is_own = |one: &LinuxNamespace| one.typ() == Type::User && one.path().is_none();
    match list.iter().any(is_own) && idmap::store_ids()? == StoreIds::Host {
        true => id_ranges::claim(&container.id).map(Some),
        false => Ok(None),
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

/// Whether the container's root may be the host's.
pub fn has_hosts_root(host: &HostConfig) -> bool {
    nix::unistd::geteuid().is_root()
        && (!wants_user_namespace(host) || host.pid_mode.starts_with("container:") || leaves_out(Step::User))
}

/// Keeps Ebb's own binary out of reach of a container like this one, whose root may be the host's. To be called by a command
/// before it changes anything: it may begin anew.
pub fn keep_binary_from(host: &HostConfig) -> Result<()> {
    if has_hosts_root(host) { oci::binary::keep_from_containers() } else { Ok(()) }
}

/// Whether the container may change its mounts, in a user namespace of its own: then those of the host's are locked against
/// it. (Without a user namespace its root is the host's, which nothing is locked against.)
pub fn may_mount(host: &HostConfig) -> Result<bool> {
    let has_user_namespace = !nix::unistd::geteuid().is_root() || wants_user_namespace(host);
    // Among another's processes, in that one's user namespace, it is that one's capabilities that count, too.
    let is_beside = host.pid_mode.starts_with("container:");
    let holds = super::security::allowed(host)?.contains(&oci_spec::runtime::Capability::SysAdmin);
    Ok(has_user_namespace && (is_beside || holds))
}

/// At `create`: whether root's containers in this store can have a user namespace at all. Without one their root is the host's,
/// which only somebody who has said so gets.
pub fn check_store(store: &Store, host: &HostConfig) -> Result<()> {
    let is_wanted = wants_user_namespace(host) && !host.pid_mode.starts_with("container:");
    if !is_wanted || !nix::unistd::geteuid().is_root() || idmap::can_idmap(store, store.root()) {
        return Ok(());
    }
    // That is the reason only where a user namespace can be made, and where an overlay could lie there without one.
    oci::user_namespace_for_a_try()?;
    oci::no_upper(store.root()).map_or(Ok(()), Err)?;
    match oci::map_ids_for_a_try(store.root(), false) {
        Err(error) if error.kind == Kind::Lacking => Err(error),
        _ => Err(refusal(&format!("the file system of {} cannot translate ids", store.root().display()))),
    }
}

/// Before a start: the same, of what the container has mounted, too. (Who only looks into one runs nothing of it.)
pub fn refuse_without_wall(store: &Store, container: &Container, list: &[LinuxNamespace]) -> Result<()> {
    let host = &container.host_config;
    let is_wanted = wants_user_namespace(host) && !host.pid_mode.starts_with("container:");
    if !is_wanted || list.iter().any(|namespace| namespace.typ() == Type::User) {
        return Ok(());
    }
    check_store(store, host)?;
    Err(refusal("the file system of a volume cannot translate ids"))
}

fn refusal(why: &str) -> Error {
    Error::new(format!("{why}, and without that the container has no user namespace: its root would be the host's"))
        .with_cure("`--userns host` says that this is meant")
}

/// Tells at `create` which mounts do less than was asked for. Some are made as they are: their file systems cannot translate
/// ids, or one that is mounted below them cannot. The container keeps its user namespace, and so has no rights of an owner there.
pub fn tell_what_mounts_lack(store: &Store, container: &Container) -> Result<()> {
    if !nix::unistd::geteuid().is_root() || !wants_user_namespace(&container.host_config) {
        return Ok(());
    }
    if may_mount(&container.host_config)? {
        for mount in container.mounts.iter().filter(|mount| mount.propagation.ends_with("shared")) {
            eprintln!(
                "ebb: what the container mounts at {} is not seen on the host: with SYS_ADMIN in a user namespace, shared is \
                 what slave is; --userns host or --privileged passes it on",
                mount.destination
            );
        }
    }
    for mount in container.mounts.iter().filter(|mount| mounts::is_of_host(mount)) {
        let source = mounts::host_path(store, mount)?;
        let can = match !mount.non_recursive && mounts::has_mounts_below(&source)? {
            true => oci::map_ids_for_a_try(&source, true).is_ok(),
            false => idmap::can_idmap(store, &source),
        };
        if !can {
            eprintln!(
                "ebb: ids at {} are not translated: a file system at {} cannot do that. Files of the host's users are \
                 nobody's there, and the container's root has no right of theirs; --userns host would give it all",
                mount.destination,
                source.display()
            );
        }
    }
    Ok(())
}
