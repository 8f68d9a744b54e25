//! `create`: everything that a container is before it runs. It appears by one rename, whole, or not at all.

use super::record::{Config, Container, HostConfig, VERSION};
use super::{environment, health, limits, log, names, namespaces, remove, security, workdir};
use crate::engine::image::{self, Image, ImageConfig, Pull};
use crate::engine::{events, idmap, leftovers, mounts, owners, time};
use crate::error::{Doing, Error, Result};
use crate::explain::{self, calls};
use crate::store::atomic::Durability;
use crate::store::{Store, atomic, bounds, id};
use crate::umask;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// What the user asked for.
#[derive(Debug, Default, Clone)]
pub struct Request {
    pub image: String,
    pub pull: Option<Pull>,
    /// `None`: one of our own making.
    pub name: Option<String>,
    pub command: Vec<String>,
    /// `Some("")` takes the image's away.
    pub entrypoint: Option<String>,
    pub env: Vec<String>,
    pub labels: BTreeMap<String, String>,
    pub user: Option<String>,
    pub workdir: Option<String>,
    pub hostname: Option<String>,
    pub domainname: String,
    pub stop_signal: Option<String>,
    pub stop_timeout: Option<i64>,
    pub health: Health,
    /// `80/tcp`
    pub expose: Vec<String>,
    pub tty: bool,
    pub interactive: bool,
    /// Not attached: `-d`, or `create`.
    pub detached: bool,
    pub host: HostConfig,
    pub mounts: Vec<mounts::Request>,
    pub cidfile: Option<PathBuf>,
}

/// `--health-*`: what is given is laid over the image's.
#[derive(Debug, Default, Clone)]
pub struct Health {
    pub command: Option<String>,
    pub interval: Option<i64>,
    pub timeout: Option<i64>,
    pub start_period: Option<i64>,
    pub retries: Option<u32>,
    pub none: bool,
}

/// Makes the container, to the last: after a power cut it is there.
pub fn create(store: &Store, request: &Request) -> Result<Container> {
    let container = make(store, request)?;
    sync(store, &container).inspect_err(|_| take_back(store, &container))?;
    Ok(container)
}

/// Forces to the disk that the container is there.
pub fn sync(store: &Store, container: &Container) -> Result<()> {
    match container.durability() {
        Durability::Synced => atomic::sync_dir(&store.containers()),
        Durability::Unsynced => Ok(()),
    }
}

/// For a container that could not be synced: nobody has been told of it.
pub fn take_back(store: &Store, container: &Container) {
    let _ = remove::remove(store, container, remove::Options { force: true, volumes: false });
}

/// Makes the container, but for [`sync`], which a command that starts it does meanwhile. What can be refused is refused
/// before anything is made.
pub fn make(store: &Store, request: &Request) -> Result<Container> {
    check(store, request)?;
    if let Some(name) = &request.name {
        // Taken for good only when all is made; refused now, before a volume is made for nothing.
        names::check_free(store, name)?;
    }
    // Nobody removes the image's layers until this container's record says that it needs them.
    let (image, lease) = image::ensure_leased(store, &request.image, request.pull.unwrap_or(Pull::Missing))?;
    image::tell_platform(&image);
    leftovers::clear(store);
    let id = id::random()?;
    let mut container = describe(&id, request, &image)?;
    workdir::check(&image.layers, &container.config.image.working_dir)?;
    let directory = super::dir(store, &id);
    let made = store.make_tmp("container")?;
    lay_out(&made.path, &container)?;
    // Volumes are looked up and made under a lock that lasts until this container's record says that it uses them.
    let resolved = mounts::resolve(store, &request.mounts, &request.host.volumes_from, &image)?;
    container.mounts.clone_from(&resolved.mounts);
    owners::check(store, &container)?;
    namespaces::tell_what_mounts_lack(store, &container)?;
    mounts::copy_up(store, &container.mounts, &image.layers)?;
    let claim = take_name(store, request.name.as_deref(), &mut container)?;
    atomic::fill_json(&made.path.join("container.json"), &container, container.durability())?;
    // After all that can be refused: on the host's own files there is no way back.
    let written = owners::give(store, &made.path, &container)
        .and_then(|()| names::settle(store, container.durability()))
        .and_then(|()| request.cidfile.as_deref().map(|path| write_cidfile(path, &id)).transpose());
    if let Err(error) = written.and_then(|_| atomic::publish_dir(&made.path, &directory, Durability::Unsynced)) {
        names::release_claimed(store, &container.name, &id, claim);
        return Err(error);
    }
    events::tell(store, &[events::of_container(&container, "create", &[])]);
    drop(claim);
    drop(resolved);
    drop(lease);
    Ok(container)
}

fn check(store: &Store, request: &Request) -> Result<()> {
    let host = &request.host;
    if let Some(name) = &request.name
        && !id::valid_name(name)
    {
        return Err(Error::new(format!("Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")));
    }
    if host.auto_remove && host.restart_policy.name != "no" {
        return Err(Error::new("conflicting options: cannot specify both --restart and --rm"));
    }
    if host.pid_mode == "host" && !nix::unistd::geteuid().is_root() {
        return Err(Error::new(
            "--pid host takes root: what an ordinary user's container is made in may have no /proc of the host's processes",
        )
        .with_cure("`ebb exec NAME …` runs a program among the processes of another container"));
    }
    if let Some(path) = request.cidfile.as_deref().filter(|path| path.exists()) {
        let path = path.display();
        return Err(Error::new(format!(
            "container ID file found, make sure the other container isn't running or delete {path}"
        )));
    }
    if let Some(workdir) = request.workdir.as_deref().filter(|workdir| !workdir.starts_with('/')) {
        return Err(Error::new(format!(
            "the working directory '{workdir}' is invalid, it needs to be an absolute path"
        )));
    }
    if let Some(signal) = &request.stop_signal {
        crate::engine::signal::parse(signal)?;
    }
    if let Some(name) = request.hostname.as_deref().filter(|name| !valid_hostname(name)) {
        return Err(Error::new(format!("invalid hostname: {name}")));
    }
    if !request.domainname.is_empty() && !valid_hostname(&request.domainname) {
        return Err(Error::new(format!("invalid domainname: {}", request.domainname)));
    }
    if let Some(name) = host.annotations.keys().find(|name| name.starts_with(crate::oci::OWN_ANNOTATIONS)) {
        return Err(Error::new(format!(
            "--annotation {name}: names that begin with {} are Ebb's own",
            crate::oci::OWN_ANNOTATIONS
        )));
    }
    if host.cgroup_parent.split('/').any(|part| part == "..") {
        return Err(Error::new(format!("--cgroup-parent {} must not contain \"..\"", host.cgroup_parent)));
    }
    health::check_asked(&request.health)?;
    limits::check(host)?;
    log::check(&host.log_config)?;
    security::check(host, &idmap::store_ids()?)?;
    namespaces::check_store(store, host)
}

/// sethostname(2) takes 64 bytes; what else a name may be is RFC 1123's business, with `_` as everybody uses it.
fn valid_hostname(name: &str) -> bool {
    let letters = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !name.is_empty() && name.len() <= 64 && name.bytes().all(letters)
}

/// The places of `-v /PATH`, which Docker shows beside the image's own volumes; not those of `--mount`.
fn without_source(request: &Request) -> impl Iterator<Item = String> {
    let of_mount = |path: &str| request.host.mounts.iter().any(|mount| mount["Target"] == path);
    let anonymous = request.mounts.iter().filter(|mount| mount.kind == mounts::Kind::Volume && mount.source.is_none());
    anonymous.map(|mount| mount.target.clone()).filter(move |path| !of_mount(path))
}

/// The image's config with the request's words laid over it.
fn describe(id: &str, request: &Request, image: &Image) -> Result<Container> {
    let mut config = Config {
        hostname: request.hostname.clone().unwrap_or_else(|| id[..12].to_owned()),
        tty: request.tty,
        open_stdin: request.interactive,
        attach_stdin: request.interactive && !request.detached,
        attach_stdout: !request.detached,
        attach_stderr: !request.detached,
        stop_timeout: request.stop_timeout,
        domainname: request.domainname.clone(),
        image: image.config.clone(),
    };
    if request.host.uts_mode == "host" {
        config.hostname =
            nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    }
    let own = &mut config.image;
    environment::lay_over(&mut own.env, &request.env);
    own.labels.extend(request.labels.clone());
    own.volumes.extend(without_source(request).map(|path| (path, serde_json::json!({}))));
    own.exposed_ports.extend(request.expose.iter().map(|port| (port.clone(), serde_json::json!({}))));
    let set = |slot: &mut String, value: &Option<String>| {
        if let Some(value) = value {
            slot.clone_from(value);
        }
    };
    set(&mut own.user, &request.user);
    if let (Some(keep), None) = (idmap::keep_id(&request.host.userns_mode)?, &request.user) {
        // As Podman: who keeps their id wants to be who they are.
        own.user = format!("{}:{}", keep.uid, keep.gid);
    }
    set(&mut own.working_dir, &request.workdir);
    set(&mut own.stop_signal, &request.stop_signal);
    own.healthcheck = health::lay_over(&request.health, own.healthcheck.take())?;
    if let Some(entrypoint) = &request.entrypoint {
        // A new entrypoint makes the image's arguments, which were for the old one, meaningless.
        own.entrypoint = Some(entrypoint).filter(|word| !word.is_empty()).map(|word| vec![word.clone()]);
        own.cmd = None;
    }
    if !request.command.is_empty() {
        own.cmd = Some(request.command.clone());
    }
    let mut words = own.entrypoint.iter().flatten().chain(own.cmd.iter().flatten()).cloned();
    let path = words.next().ok_or_else(|| Error::new("no command specified"))?;
    image_is_bounded(own)?;
    let args = words.collect();
    let layer = |path: &PathBuf| -> Option<String> {
        // `images/layers/NAME…`: the record holds what comes after `layers/`.
        let text = path.to_string_lossy();
        text.split_once("/images/layers/").map(|(_, name)| name.to_owned())
    };
    let layers: Option<Vec<String>> = image.layers.iter().map(layer).collect();
    Ok(Container {
        version: VERSION,
        id: id.to_owned(),
        name: String::new(),
        created: time::now(),
        image: image.id.clone(),
        image_name: request.image.clone(),
        layers: layers.ok_or_else(|| Error::new(format!("the layers of {} lie outside the store", request.image)))?,
        path,
        args,
        config,
        host_config: request.host.clone(),
        mounts: Vec::new(),
    })
}

/// An image may say of itself what no container can be.
fn image_is_bounded(config: &ImageConfig) -> Result<()> {
    let words: Vec<&String> = config.entrypoint.iter().flatten().chain(config.cmd.iter().flatten()).collect();
    environment::check(&words, &config.env)?;
    if config.volumes.len() > bounds::VOLUMES_OF_IMAGE {
        let (count, most) = (config.volumes.len(), bounds::VOLUMES_OF_IMAGE);
        return Err(Error::new(format!("the image declares {count} volumes, and {most} are the most that are made")));
    }
    match config.working_dir.len() < libc::PATH_MAX as usize {
        true => Ok(()),
        false => Err(Error::new("the working directory is longer than a path may be")),
    }
}

/// The container's directories, and the files that the runtime gives it. The upper directory is the container's `/`, whose
/// own users must be able to pass it.
fn lay_out(directory: &Path, container: &Container) -> Result<()> {
    for name in ["upper", "work", "rootfs"] {
        let path = directory.join(name);
        explain::step(
            match name {
                "upper" => "the writable layer: all that the container will write, outside its volumes",
                "work" => "overlayfs's own workroom beside it",
                _ => "an empty directory, to mount the root on",
            },
            format_args!("mkdir {}", path.display()),
        );
        calls::mkdir(&path, 0o755).doing(|| format!("make {}", path.display()))?;
    }
    let host = &container.host_config;
    let name = &container.config.hostname;
    let write = |file: &str, text: &str| -> Result<()> {
        let path = directory.join(file);
        let opened = File::options().write(true).create_new(true).mode(0o644).open(&path);
        opened.and_then(|mut file| file.write_all(text.as_bytes())).doing(|| format!("write {}", path.display()))
    };
    write("hostname", &format!("{name}\n"))?;
    write("hosts", &hosts(name, host)?)?;
    write("resolv.conf", &resolv_conf(host))
}

fn hosts(name: &str, host: &HostConfig) -> Result<String> {
    let mut text = match host.network_mode.as_str() {
        "host" => std::fs::read_to_string("/etc/hosts").unwrap_or_default(),
        _ => format!(
            "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\nff00::\tip6-mcastprefix\n\
             ff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n127.0.1.1\t{name}\n"
        ),
    };
    for extra in &host.extra_hosts {
        let (name, address) = extra
            .split_once([':', '='])
            .filter(|(name, address)| !name.is_empty() && address.parse::<std::net::IpAddr>().is_ok())
            .ok_or_else(|| Error::new(format!("bad format for add-host: \"{extra}\"")))?;
        text.push_str(&format!("{address}\t{name}\n"));
    }
    Ok(text)
}

/// What the options name, and for the rest the host's own where the container shares its network: resolv.conf(5).
fn resolv_conf(host: &HostConfig) -> String {
    // Where the container has no network, there is nobody to ask.
    let from_host = match host.network_mode.as_str() {
        "host" => std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default(),
        _ => String::new(),
    };
    if host.dns.is_empty() && host.dns_search.is_empty() && host.dns_options.is_empty() {
        return from_host;
    }
    let kept = |word: &str| -> String {
        let lines = from_host.lines().filter(|line| line.split_whitespace().next() == Some(word));
        lines.map(|line| format!("{line}\n")).collect()
    };
    let asked = |word: &str, values: &[String]| match values {
        [] => kept(word),
        values => format!("{word} {}\n", values.join(" ")),
    };
    let servers = match host.dns.as_slice() {
        [] => kept("nameserver"),
        servers => servers.iter().map(|server| format!("nameserver {server}\n")).collect(),
    };
    // A dot means that no domain is searched.
    let has_none = host.dns_search.iter().any(|domain| domain == ".");
    let search = if has_none { String::new() } else { asked("search", &host.dns_search) };
    servers + &search + &asked("options", &host.dns_options)
}

/// The name that was asked for, or one that nobody has.
fn take_name(store: &Store, asked: Option<&str>, container: &mut Container) -> Result<names::Claim> {
    if let Some(name) = asked {
        container.name = name.to_owned();
        return names::claim(store, name, &container.id);
    }
    let digits = u64::from_str_radix(&container.id[..15], 16).unwrap_or(0);
    for attempt in 0.. {
        let name = super::random_name::from(digits, attempt);
        match names::claim(store, &name, &container.id) {
            Err(error) if error.kind == crate::error::Kind::Conflict && attempt < 100 => {}
            claimed => {
                container.name = name;
                return claimed;
            }
        }
    }
    Err(Error::new("no free name was found"))
}

fn write_cidfile(path: &Path, id: &str) -> Result<()> {
    let opened = umask::with_callers(|| File::options().write(true).create_new(true).open(path));
    opened.and_then(|mut file| file.write_all(id.as_bytes())).doing(|| format!("write {}", path.display()))
}
