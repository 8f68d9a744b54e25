//! The OCI bundle of a container: config.json, written anew at every start from what was asked for.

use super::namespaces::Namespaces;
use super::record::{Container, HostConfig, MountPoint, Ulimit};
use super::{limits, security, state};
use crate::engine::id_ranges::Range;
use crate::engine::idmap::{self, StoreIds};
use crate::engine::{mounts, owners};
use crate::error::{Doing, Error, Result};
use crate::oci::{self, IdMap};
use crate::store::atomic::{self, Durability};
use crate::store::{Store, tree};
use oci_spec::runtime::{
    Linux, LinuxIdMapping, LinuxIdMappingBuilder, LinuxNamespace, LinuxPids, LinuxResources, Mount, MountBuilder,
    PosixRlimit, PosixRlimitBuilder, PosixRlimitType, Process, Root, Spec,
};
use std::path::{Path, PathBuf};

/// The pids limit of who asked for none.
const PIDS_LIMIT: i64 = 512;

/// Writes `config.json`. `rootfs/` is the empty directory that the overlay is mounted on.
pub fn write(store: &Store, container: &Container, spec: &Spec) -> Result<()> {
    let directory = super::dir(store, &container.id);
    if container.host_config.auto_remove {
        clear_volatile_mark(&directory)?;
    }
    // Written anew at every start: there is nothing in it to outlive a power cut.
    atomic::put_json(&directory.join("config.json"), spec, Durability::Unsynced)
}

/// What [`write`] is to write: all that was asked for, but for what a lesson leaves out. `namespaces` are what
/// [`super::namespaces::namespaces`] decided, `ids` what [`super::namespaces::claim_ids`] did.
pub fn describe(
    store: &Store,
    container: &Container,
    namespaces: Vec<LinuxNamespace>,
    ids: Option<&Range>,
) -> Result<Spec> {
    let mut spec = spec(store, container, namespaces, ids)?;
    super::leave_out::apply(&mut spec, store, container)?;
    Ok(spec)
}

/// The bundle's `linux.cgroupsPath`: below the place where this user may make cgroups.
pub fn cgroup_of(container: &Container) -> String {
    match container.host_config.cgroup_parent.trim_matches('/') {
        "" => cgroups_path(&container.id),
        parent => format!("/{parent}/{}", container.id),
    }
}

/// The same, of a container that names no parent.
pub fn cgroups_path(id: &str) -> String {
    format!("/ebb/{id}")
}

/// [`describe`], before a lesson leaves something out.
pub fn spec(
    store: &Store,
    container: &Container,
    namespaces: Vec<LinuxNamespace>,
    range: Option<&Range>,
) -> Result<Spec> {
    let host = &container.host_config;
    let ids = idmap::store_ids()?;
    let mut user = super::users::of_container(store, container)?;
    if matches!(ids, StoreIds::Single(_)) {
        // There is one group, and it is the process's own.
        user.groups.clear();
    }
    let namespaces = Namespaces::with_ids(store, container, &ids, (user.uid, user.gid), namespaces, range)?;
    if let Some(map) = &namespaces.map {
        user.check_mapped(map)?;
    }
    let mut spec = Spec::default();
    spec.set_version("1.2.0".into());
    let mut annotations = security::device_sources(host)?;
    annotations.extend(host.annotations.clone());
    if host.init {
        annotations.insert(oci::HOLD_SIGNALS.into(), "true".into());
    }
    if !annotations.is_empty() {
        spec.set_annotations(Some(annotations));
    }
    let mut root = Root::default();
    root.set_path(PathBuf::from("rootfs")).set_readonly(Some(host.readonly_rootfs));
    spec.set_root(Some(root));
    if host.uts_mode != "host" {
        spec.set_hostname(Some(container.config.hostname.clone()));
        let domain = &container.config.domainname;
        spec.set_domainname((!domain.is_empty()).then(|| domain.clone()));
    }
    let mut process = Process::default();
    let mut words = if host.init { vec![super::INIT_PATH.to_owned(), "--".to_owned()] } else { Vec::new() };
    words.extend(std::iter::once(&container.path).chain(&container.args).cloned());
    let cwd = Some(container.config.image.working_dir.as_str()).filter(|cwd| !cwd.is_empty()).unwrap_or("/");
    process
        .set_terminal(Some(container.config.tty))
        .set_args(Some(words))
        .set_env(Some(super::environment::of(container, &user.home)))
        .set_cwd(clean(cwd))
        .set_user(user.to_oci())
        .set_capabilities(Some(security::capabilities(host, &ids, user.uid)?))
        .set_no_new_privileges(Some(security::no_new_privileges(host)?))
        .set_rlimits(Some(rlimits(&host.ulimits)?))
        .set_oom_score_adj((host.oom_score_adj != 0).then_some(host.oom_score_adj));
    spec.set_process(Some(process));
    spec.set_mounts(Some(all_mounts(store, container, namespaces.mount_map.as_ref(), &ids, (user.uid, user.gid))?));
    spec.set_linux(Some(linux(container, &ids, &namespaces)?));
    Ok(spec)
}

/// A working directory of an image is data, and may be anything: it is looked up inside the container only.
fn clean(path: &str) -> PathBuf {
    Path::new("/").join(path)
}

fn all_mounts(
    store: &Store,
    container: &Container,
    map: Option<&IdMap>,
    ids: &StoreIds,
    (uid, gid): (u32, u32),
) -> Result<Vec<Mount>> {
    let host = &container.host_config;
    let mut list = vec![mapped(overlay(store, container)?, map)?];
    let kernel_ro = if host.privileged { "rw" } else { "ro" };
    let shm = format!("size={}", if host.shm_size > 0 { host.shm_size } else { 64 << 20 });
    list.push(mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"])?);
    list.push(mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"])?);
    let pts = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"];
    list.push(mount("/dev/pts", "devpts", "devpts", &pts)?);
    list.push(mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", kernel_ro])?);
    list.push(mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"])?);
    if host.ipc_mode == "host" {
        // A host need not have both.
        for path in ["/dev/mqueue", "/dev/shm"].into_iter().filter(|path| Path::new(path).is_dir()) {
            list.push(mount(path, "bind", path, &["rbind", "nosuid", "noexec", "nodev"])?);
        }
    } else {
        list.push(mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"])?);
        list.push(mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", &shm])?);
    }
    for own in &container.mounts {
        let mut one = mounts::to_oci(store, own)?;
        // An ordinary user's `:idmap` has been checked to be true as it is: the kernel lets nobody else map.
        let translated = match own.id_mapped && *ids == StoreIds::Host {
            true => owners::translate::map(own, map, uid, gid)?,
            false => None,
        };
        if let (Some((_, owner)), Some(options)) = (&translated, one.options_mut()) {
            options.push(oci::owner_option(*owner));
        }
        // A file system that cannot translate ids is mounted as it is, and said at `create`.
        if let (true, Some(options)) = (map.is_some() && own.kind != "tmpfs" && !own.id_mapped, one.options_mut()) {
            options.push(oci::IDMAP_WHERE_POSSIBLE.into());
        }
        let map = translated.as_ref().map(|(map, _)| map).or(map);
        list.push(if own.kind == "tmpfs" { one } else { mapped(one, map)? });
    }
    // After what the user mounts, since an /etc of theirs would cover them.
    let directory = super::dir(store, &container.id);
    for name in ["resolv.conf", "hostname", "hosts"] {
        let target = Path::new("/etc").join(name);
        // What the user mounts there is what the user wants there.
        if container.mounts.iter().any(|own| Path::new(&own.destination) == target) {
            continue;
        }
        let source = directory.join(name);
        let one = mount(&target.to_string_lossy(), "bind", &source.to_string_lossy(), &["bind", "nosuid", "nodev"])?;
        list.push(mapped(one, map)?);
    }
    if host.init {
        let this = oci::binary::path()?;
        let one = mount(super::INIT_PATH, "bind", &this.to_string_lossy(), &["bind", "ro", "nosuid", "nodev"])?;
        list.push(mapped(one, map)?);
    }
    Ok(list)
}

fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> Result<Mount> {
    MountBuilder::default()
        .destination(destination)
        .typ(kind)
        .source(source)
        .options(options.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
        .build()
        .doing(|| format!("describe the mount at {destination}"))
}

fn mapped(mut mount: Mount, map: Option<&IdMap>) -> Result<Mount> {
    if let Some(map) = map {
        mount.set_uid_mappings(Some(mappings(&map.uids)?));
        mount.set_gid_mappings(Some(mappings(&map.gids)?));
    }
    Ok(mount)
}

fn mappings(map: &[(u32, u32, u32)]) -> Result<Vec<LinuxIdMapping>> {
    let one = |(inside, outside, length): &(u32, u32, u32)| {
        LinuxIdMappingBuilder::default().container_id(*inside).host_id(*outside).size(*length).build()
    };
    map.iter().map(one).collect::<std::result::Result<_, _>>().doing(|| "describe the id map")
}

/// The bundle's first mount: the image's layers below, the container's own on top.
fn overlay(store: &Store, container: &Container) -> Result<Mount> {
    let directory = super::dir(store, &container.id);
    let escape = |path: &Path| path.to_string_lossy().replace('\\', "\\\\").replace(':', "\\:");
    // The record has the bottom layer first, overlayfs wants the top one first.
    let layers = super::layer_paths(store, container);
    let lower: Vec<String> = layers.iter().rev().map(|layer| escape(layer)).collect();
    if lower.is_empty() {
        return Err(Error::new(format!("the image {} has no layers", container.image_name)));
    }
    let lower = format!("lowerdir={}", lower.join(":"));
    let upper = format!("upperdir={}", directory.join("upper").display());
    let work = format!("workdir={}", directory.join("work").display());
    // What goes with `--rm` need not reach the disk; otherwise the kernel syncs the whole upper file system at unmount.
    let volatile: &[&str] = if container.host_config.auto_remove { &["volatile"] } else { &[] };
    mount("/", "overlay", "overlay", &[&[&lower, &upper, &work, "userxattr"], volatile].concat())
}

/// overlayfs marks the work directory of a volatile mount, and refuses to mount it again (overlayfs.rst, "Volatile
/// mount"): after a crash the layer may be half on the disk. Here it was not: [`refuse_torn_layer`] has seen that the machine
/// is still the same.
fn clear_volatile_mark(directory: &Path) -> Result<()> {
    let mark = directory.join("work/work/incompat");
    if !directory.join("work/work").exists() {
        return Ok(());
    }
    let ids = idmap::store_ids()?;
    oci::with_ids(ids.map(), || match tree::remove(&mark) {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    })
}

/// Refuses to start a `--rm` container that has run before the machine was restarted.
pub fn refuse_torn_layer(container: &Container, before: &state::State) -> Result<()> {
    let has_run = before.status != state::Status::Created;
    if !container.host_config.auto_remove || !has_run || before.supervisor.boot_id == state::boot_id() {
        return Ok(());
    }
    let name = &container.name;
    Err(Error::conflict(format!(
        "container {name} has run before the machine was restarted, and with --rm nothing that it wrote was forced to the disk: \
         its files may be half there"
    ))
    .with_cure(format!("`ebb cp {name}:PATH .` takes out what is worth it, `ebb rm {name}` removes it")))
}

fn linux(container: &Container, ids: &StoreIds, namespaces: &Namespaces) -> Result<Linux> {
    let host = &container.host_config;
    let mut resources = resources(host)?;
    resources.set_devices(security::device_rules(host, namespaces.map.is_some())?);
    let mut linux = Linux::default();
    linux
        .set_namespaces(Some(namespaces.list.clone()))
        .set_cgroups_path(Some(PathBuf::from(cgroup_of(container))))
        .set_resources(Some(resources))
        .set_seccomp(security::seccomp(host, ids)?)
        .set_devices(Some(security::devices(host)?))
        .set_rootfs_propagation(propagation(&container.mounts))
        .set_masked_paths(Some(security::masked_paths(host)))
        .set_readonly_paths(Some(security::readonly_paths(host)));
    if let Some(map) = &namespaces.map {
        linux.set_uid_mappings(Some(mappings(&map.uids)?)).set_gid_mappings(Some(mappings(&map.gids)?));
    }
    if !host.sysctls.is_empty() {
        linux.set_sysctl(Some(host.sysctls.clone().into_iter().collect()));
    }
    Ok(linux)
}

/// A mount can only send or receive what its peer on the host may.
fn propagation(mounts: &[MountPoint]) -> Option<String> {
    let asked = |word: &str| mounts.iter().any(|mount| mount.propagation.trim_start_matches('r') == word);
    match (asked("shared"), asked("slave")) {
        (true, _) => Some("rshared".into()),
        (false, true) => Some("rslave".into()),
        (false, false) => None,
    }
}

/// What the user limited, and Ebb's own limits where the user did not say and this user may limit at all.
fn resources(host: &HostConfig) -> Result<LinuxResources> {
    let mut resources = limits::resources(host)?;
    if resources.pids().is_none() && oci::cgroup::available().is_ok() && can_limit("pids") {
        let mut pids = LinuxPids::default();
        pids.set_limit(PIDS_LIMIT);
        resources.set_pids(Some(pids));
    }
    Ok(resources)
}

fn can_limit(controller: &str) -> bool {
    oci::cgroup::controllers().iter().any(|known| known == controller)
}

fn rlimits(ulimits: &[Ulimit]) -> Result<Vec<PosixRlimit>> {
    let one = |ulimit: &Ulimit| {
        let name = format!("RLIMIT_{}", ulimit.name.to_ascii_uppercase());
        let kind: PosixRlimitType = serde_json::from_value(serde_json::Value::String(name))
            .map_err(|_| Error::new(format!("invalid ulimit type: {}", ulimit.name)))?;
        let value = |number: i64| u64::try_from(number).unwrap_or(u64::MAX);
        let built = PosixRlimitBuilder::default().typ(kind).soft(value(ulimit.soft)).hard(value(ulimit.hard)).build();
        built.doing(|| format!("describe the ulimit {}", ulimit.name))
    };
    ulimits.iter().map(one).collect()
}
