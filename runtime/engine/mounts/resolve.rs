//! From what was asked for to what will be mounted. Everything is checked before any volume is made.

use super::places::Places;
use super::{Kind, Recursion, Request, clean, inherit, peers, sources};
use crate::engine::container::record::MountPoint;
use crate::engine::image::Image;
use crate::engine::volume;
use crate::error::{Doing, Error, Result};
use crate::store::{Store, lock};
use std::io::{ErrorKind, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// The mounts of a container, and the lock under which its volumes were looked up: no volume is removed until this is
/// dropped, which is when the container's own record says that it uses them.
pub struct Resolved {
    pub mounts: Vec<MountPoint>,
    _lock: lock::Lock,
}

/// Checks all requests against each other, adds what `--volumes-from` brings and the image's `VOLUME`s, each where nothing
/// else lies, makes the volumes that are missing, and returns the mounts in the order to mount them (parents first).
pub fn resolve(store: &Store, requests: &[Request], volumes_from: &[String], image: &Image) -> Result<Resolved> {
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
    let lock = lock::shared(&store.volumes())?;
    let mut inherited = inherit::from(store, volumes_from)?;
    let declared: Vec<(PathBuf, &String)> = image.config.volumes.keys().map(|path| (clean(path), path)).collect();
    let names = wanted.iter().map(|(target, _)| target.as_path());
    let names = names.chain(inherited.iter().map(|mount| Path::new(&mount.destination)));
    let places = Places::in_image(&image.layers, names.chain(declared.iter().map(|(target, _)| target.as_path())))?;
    refuse_one_place_for_two(&wanted, &places)?;
    // As in Docker: what is asked for here comes before what another container has, and that before the image's.
    inherited = the_last_at_each_place(inherited, &places);
    inherited.retain(|mount| !wanted.iter().any(|(target, _)| places.of(target) == place_of(mount, &places)));
    for (target, path) in declared {
        let place = places.of(&target);
        let covered = wanted.iter().any(|(other, _)| places.of(other) == place)
            || inherited.iter().any(|mount| place == place_of(mount, &places));
        // An image is data: what it must not cover, it does not get.
        if check_target(&target).is_ok() && check_target(place).is_ok() && !covered {
            wanted.push((target, Request { target: path.clone(), ..Request::new(Kind::Volume) }));
        }
    }
    let made = wanted.iter().map(|(target, request)| make(store, target, request)).collect::<Result<Vec<_>>>()?;
    let mut mounts: Vec<MountPoint> = made.into_iter().chain(inherited).collect();
    // A mount below another must come after it, or it would be covered.
    mounts.sort_by_key(|mount| place_of(mount, &places).components().count());
    Ok(Resolved { mounts, _lock: lock })
}

fn place_of<'a>(mount: &'a MountPoint, places: &'a Places) -> &'a Path {
    places.of(Path::new(&mount.destination))
}

/// One would hide the other, and what is written at either path would be in the other's.
fn refuse_one_place_for_two(wanted: &[(PathBuf, Request)], places: &Places) -> Result<()> {
    for (index, (target, _)) in wanted.iter().enumerate() {
        let place = places.of(target);
        if let Some((other, _)) = wanted[..index].iter().find(|(other, _)| places.of(other) == place) {
            let (target, other, place) = (target.display(), other.display(), place.display());
            return Err(Error::new(format!("Duplicate mount point: {target}")).with_cure(format!(
                "a symlink of the image makes {other} and {target} one place, {place}: leave one of the two mounts out"
            )));
        }
    }
    Ok(())
}

/// Of two containers' mounts at one place the later one counts.
fn the_last_at_each_place(mounts: Vec<MountPoint>, places: &Places) -> Vec<MountPoint> {
    let mut kept: Vec<MountPoint> = Vec::new();
    for mount in mounts {
        kept.retain(|earlier| place_of(earlier, places) != place_of(&mount, places));
        kept.push(mount);
    }
    kept
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
    let Some(source) = &request.source else { return volume::check_options(&options(request)) };
    match request.kind {
        Kind::Volume => {
            let doing = || format!("create {source}");
            volume::check_name(source).doing(doing)?;
            volume::check_options(&options(request)).doing(doing)
        }
        Kind::Bind => {
            match std::fs::metadata(source) {
                Err(error) if error.kind() == ErrorKind::NotFound && request.make_source => return Ok(()),
                Err(error) if error.kind() == ErrorKind::NotFound => return Err(sources::missing(source)),
                found => found.doing(|| format!("look at the bind source path {source}"))?,
            };
            peers::check(Path::new(source), request.propagation.as_deref().unwrap_or_default())
        }
        Kind::Tmpfs => Ok(()),
    }
}

fn options(request: &Request) -> std::collections::BTreeMap<String, String> {
    request.options.iter().cloned().collect()
}

fn make(store: &Store, target: &Path, request: &Request) -> Result<MountPoint> {
    let mut mount = MountPoint {
        destination: target.to_string_lossy().into_owned(),
        mode: request.mode.clone(),
        rw: !request.readonly,
        no_copy: request.nocopy,
        non_recursive: request.recursion == Recursion::Disabled,
        writable_below: request.recursion == Recursion::Writable,
        tmpfs_options: request.tmpfs_options.clone(),
        chowned: request.chown,
        id_mapped: request.id_mapped,
        ..MountPoint::default()
    };
    match request.kind {
        Kind::Volume => {
            let labels = request.labels.iter().cloned().collect();
            let wanted = volume::Request { name: request.source.clone(), labels, options: options(request) };
            let made = volume::find_or_create(store, &wanted)?;
            mount.kind = "volume".into();
            let data = volume::mountpoint(store, &made.name);
            // For people to read: the kernel resolves it, anew at each start.
            mount.source = data.join(&request.subpath).components().collect::<PathBuf>().to_string_lossy().into_owned();
            mount.subpath.clone_from(&request.subpath);
            mount.name = made.name;
            mount.driver_options = made.options;
            mount.driver = "local".into();
            mount.anonymous = request.source.is_none();
        }
        Kind::Bind => {
            mount.kind = "bind".into();
            mount.source = host_path(request)?;
            mount.make_source = request.make_source;
            sources::put_on_record(store, &mut mount)?;
            mount.propagation = request.propagation.clone().unwrap_or_else(|| "rprivate".into());
        }
        Kind::Tmpfs => mount.kind = "tmpfs".into(),
    }
    sources::remember(store, &mount)?;
    explain_words(request);
    Ok(mount)
}

/// What was accepted and does less than its name says is told.
fn explain_words(request: &Request) {
    // Who shares compose files and scripts writes it everywhere, and Docker says nothing: a person is told, once.
    static TOLD: AtomicBool = AtomicBool::new(false);
    if let Some(word) = request.mode.split(',').find(|word| matches!(*word, "z" | "Z"))
        && std::io::stderr().is_terminal()
        && !TOLD.swap(true, Ordering::Relaxed)
    {
        let why = match Path::new("/sys/fs/selinux/enforce").exists() {
            true => "Ebb sets no labels; `chcon -Rt container_file_t DIR` does, where SELinux denies access",
            false => "there is no SELinux here, and nothing to relabel",
        };
        eprintln!("ebb: :{word} at {} changes nothing: {why}", request.target);
    }
    let shared = request.propagation.as_deref().is_some_and(|word| word.trim_start_matches('r') == "shared");
    if shared && !nix::unistd::geteuid().is_root() {
        eprintln!(
            "ebb: what the container mounts at {} is not seen on the host: without root its mounts are its own, and \
             shared is what slave is",
            request.target
        );
    }
}

/// The host's path, absolute.
fn host_path(request: &Request) -> Result<String> {
    let source = request.source.as_deref().unwrap_or_default();
    let path = std::path::absolute(source).doing(|| format!("resolve {source}"))?;
    // Without the `.` and `..` that absolute(3) leaves; by its letters, as Docker's client does it.
    Ok(clean(&path.to_string_lossy()).to_string_lossy().into_owned())
}
