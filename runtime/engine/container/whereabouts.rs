//! `where`: which layer, volume or mount holds a path of a container, where that lies on the host, and what it outlives.

use super::copy::look_into;
use super::diff::{is_opaque, is_whiteout};
use super::record::{Container, MountPoint};
use crate::engine::mounts::clean;
use crate::engine::{idmap, volume};
use crate::error::{Doing, Error, Result};
use crate::oci;
use crate::store::{Store, beneath};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, readlinkat};
use nix::sys::stat::{Mode, SFlag, fstat};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

/// What holds a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// The container's own writable layer.
    Layer,
    /// A layer of the image, by its digest; the container has not touched it.
    Image(String),
    /// The image has it, and the container's layer hides it.
    Hidden,
    Volume {
        name: String,
        anonymous: bool,
    },
    Bind(String),
    Tmpfs,
    /// Made by the kernel at every start: /proc, /sys, /dev.
    Kernel(String),
    /// A file that Ebb makes for this container: /etc/hosts, /etc/resolv.conf, /etc/hostname.
    Given,
}

/// Where a path is, and what becomes of it.
#[derive(Debug, Clone)]
pub struct Place {
    /// With every symlink on the way followed, as the container follows it; the last one is not.
    pub path: PathBuf,
    pub holder: Holder,
    /// `None` for what is in memory.
    pub on_host: Option<PathBuf>,
    pub fate: Fate,
}

/// What a file outlives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fate {
    pub stop: bool,
    pub restart: bool,
    pub rm: bool,
    /// `rm -v`.
    pub rm_volumes: bool,
    pub volume_rm: bool,
}

impl Fate {
    /// The commands that it outlives, and those that end it.
    pub fn sorted(&self) -> (Vec<&'static str>, Vec<&'static str>) {
        let all = [
            ("stop", self.stop),
            ("restart", self.restart),
            ("rm", self.rm),
            ("rm -v", self.rm_volumes),
            ("volume rm", self.volume_rm),
        ];
        let names = |kept: bool| all.iter().filter(|(_, outlives)| *outlives == kept).map(|(name, _)| *name).collect();
        (names(true), names(false))
    }
}

/// Finds what holds `path` of the container; `Kind::NotFound` where there is nothing and has been nothing.
pub fn find(store: &Store, container: &Container, path: &Path) -> Result<Place> {
    let path = clean(&path.to_string_lossy());
    let destinations: Vec<PathBuf> = container.mounts.iter().map(|mount| clean(&mount.destination)).collect();
    let seen = look_into(store, container, |root, _| {
        let mounted: Result<Vec<_>> = destinations.iter().map(|one| resolve(root, one, true)).collect();
        Ok(Seen { found: resolve(root, &path, false)?, mounted: mounted? })
    })?;
    let (found, exists) = match &seen.found {
        Resolved::Found(found) => (found, true),
        Resolved::Missing(would_be) => (would_be, false),
    };
    let mounted = seen.mounted.iter().zip(&container.mounts).filter_map(|(place, mount)| match place {
        Resolved::Found(place) | Resolved::Missing(place) if found.starts_with(place) => Some((place.clone(), mount)),
        _ => None,
    });
    // The deepest, and of two at one place the one that was mounted last.
    let deepest = mounted.max_by_key(|(place, _)| place.components().count());
    let given = given_by_runtime(container, found, deepest.as_ref().map(|(place, _)| place.as_path()));
    match (deepest, given) {
        (_, Some(holder)) => Ok(place(store, container, found, holder, None)),
        // A stopped container's memory is empty: what was there is gone, and what will be there is not yet.
        (Some((at, mount)), None) if exists || mount.kind == "tmpfs" => {
            let below = found.strip_prefix(&at).unwrap_or(Path::new(""));
            Ok(place(store, container, found, holder_of(mount), Some(Path::new(&mount.source).join(below))))
        }
        (Some(_), None) => Err(missing(container, &path)),
        (None, None) => match (in_layers(store, container, found)?, exists) {
            (Some((Holder::Hidden, on_host)), _) => Ok(place(store, container, found, Holder::Hidden, Some(on_host))),
            (Some((holder, on_host)), true) => Ok(place(store, container, found, holder, Some(on_host))),
            _ => Err(missing(container, &path)),
        },
    }
}

/// The root, and everything that is mounted, by path: the whole picture of one container.
pub fn all(store: &Store, container: &Container) -> Result<Vec<Place>> {
    let upper = super::dir(store, &container.id).join("upper");
    let mut places = vec![place(store, container, Path::new("/"), Holder::Layer, Some(upper))];
    let mut mounts: Vec<&MountPoint> = container.mounts.iter().collect();
    mounts.sort_by(|a, b| a.destination.cmp(&b.destination));
    for mount in mounts {
        let source = Some(PathBuf::from(&mount.source)).filter(|_| mount.kind != "tmpfs");
        places.push(place(store, container, &clean(&mount.destination), holder_of(mount), source));
    }
    Ok(places)
}

fn missing(container: &Container, path: &Path) -> Error {
    Error::not_found(format!("Could not find the file {} in container {}", path.display(), container.name))
}

fn place(store: &Store, container: &Container, path: &Path, holder: Holder, on_host: Option<PathBuf>) -> Place {
    let fate = fate(store, container, &holder);
    // To join nothing would leave a slash at the end.
    let on_host = on_host.map(|path| path.components().collect());
    let on_host = match &holder {
        Holder::Tmpfs | Holder::Kernel(_) => None,
        Holder::Given => path.file_name().map(|name| super::dir(store, &container.id).join(name)),
        _ => on_host,
    };
    Place { path: path.to_owned(), holder, on_host, fate }
}

fn holder_of(mount: &MountPoint) -> Holder {
    match mount.kind.as_str() {
        "volume" => Holder::Volume { name: mount.name.clone(), anonymous: mount.anonymous },
        "tmpfs" => Holder::Tmpfs,
        _ => Holder::Bind(mount.source.clone()),
    }
}

/// What becomes of what `holder` holds. With `--rm`, to stop is to remove, with anonymous volumes.
fn fate(store: &Store, container: &Container, holder: &Holder) -> Fate {
    let kept = !container.host_config.auto_remove;
    let fate = |stop, restart, rm, rm_volumes, volume_rm| Fate { stop, restart, rm, rm_volumes, volume_rm };
    match holder {
        Holder::Layer | Holder::Hidden | Holder::Given => fate(kept, true, false, false, true),
        Holder::Image(_) | Holder::Bind(_) => fate(true, true, true, true, true),
        Holder::Volume { anonymous: false, .. } => fate(true, true, true, true, false),
        Holder::Volume { name, .. } => {
            // One that another container uses as well stays with that.
            let shared = volume::users(store, name).is_ok_and(|users| users.len() > 1);
            fate(kept || shared, true, kept || shared, shared, false)
        }
        Holder::Tmpfs | Holder::Kernel(_) => fate(false, false, false, false, true),
    }
}

/// What the runtime itself puts into every container, unless something of the user's lies deeper.
fn given_by_runtime(container: &Container, path: &Path, users: Option<&Path>) -> Option<Holder> {
    let deeper = |place: &str| users.is_none_or(|users| !users.starts_with(place));
    for file in ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"] {
        if path == Path::new(file) && deeper(file) && users.is_none_or(|users| users == Path::new("/")) {
            return Some(Holder::Given);
        }
    }
    for (place, kind) in [("/proc", "proc"), ("/sys", "sysfs"), ("/dev", "devices and shared memory")] {
        if path.starts_with(place) && deeper(place) {
            return Some(Holder::Kernel(kind.into()));
        }
    }
    let init = container.host_config.init && path == Path::new(super::INIT_PATH);
    init.then(|| Holder::Bind("ebb itself".into()))
}

#[derive(Serialize, Deserialize)]
struct Seen {
    found: Resolved,
    mounted: Vec<Resolved>,
}

/// A path with its symlinks followed.
#[derive(Serialize, Deserialize)]
enum Resolved {
    Found(PathBuf),
    /// Where it would be.
    Missing(PathBuf),
}

/// Follows `path` part by part inside `root`. The kernel resolves each step; only the text of a symlink is ours to read,
/// since a path is asked for, which no system call gives for a root that is not our own.
fn resolve(root: &OwnedFd, path: &Path, follow_last: bool) -> Result<Resolved> {
    const MOST_LINKS: usize = 40;
    let mut reached = PathBuf::from("/");
    let mut left: VecDeque<OsString> = parts(path);
    let mut links = 0;
    while let Some(part) = left.pop_front() {
        if part == ".." {
            reached.pop();
            continue;
        }
        let next = reached.join(&part);
        let opened = match beneath::open(root, &next, OFlag::O_PATH | OFlag::O_NOFOLLOW, Mode::empty()) {
            Err(Errno::ENOENT | Errno::ENOTDIR) => {
                let would_be = left.iter().fold(next, |path, part| path.join(part));
                return Ok(Resolved::Missing(would_be));
            }
            opened => opened.doing(|| format!("look for {} in the container", next.display()))?,
        };
        let stat = fstat(&opened).doing(|| format!("look at {}", next.display()))?;
        if kind(stat.st_mode) != SFlag::S_IFLNK || (left.is_empty() && !follow_last) || next.starts_with("/proc") {
            reached = next;
            continue;
        }
        links += 1;
        if links > MOST_LINKS {
            return Err(Error::new(format!("too many symlinks on the way to {}", path.display())));
        }
        let target = PathBuf::from(readlinkat(&opened, "").doing(|| format!("read the link {}", next.display()))?);
        if target.is_absolute() {
            reached = PathBuf::from("/");
        }
        for part in parts(&target).into_iter().rev() {
            left.push_front(part);
        }
    }
    Ok(Resolved::Found(reached))
}

fn parts(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            _ => None,
        })
        .collect()
}

/// Which layer has `path`: the container's own first, then the image's from the top.
fn in_layers(store: &Store, container: &Container, path: &Path) -> Result<Option<(Holder, PathBuf)>> {
    let upper = super::dir(store, &container.id).join("upper");
    let layers = super::layer_paths(store, container);
    let ids = idmap::store_ids()?;
    // Directories that only one of the container's ids may read need the map, where we are not root.
    let found = oci::with_ids(ids.map(), || {
        for (index, layer) in std::iter::once(&upper).chain(layers.iter().rev()).enumerate() {
            match look_for(layer, path).doing(|| format!("look for {}", path.display()))? {
                InLayer::Here => return Ok(Some((index, false))),
                // A whiteout counts only where there is something to hide.
                InLayer::Hidden => {
                    let rest = layers.iter().rev().skip(index);
                    let hides = rest.into_iter().any(|layer| matches!(look_for(layer, path), Ok(InLayer::Here)));
                    return Ok(hides.then_some((index, true)));
                }
                InLayer::Opaque => return Ok(None),
                InLayer::Absent => {}
            }
        }
        Ok(None)
    })?;
    let relative = path.strip_prefix("/").unwrap_or(path);
    Ok(found.map(|(index, hidden)| match (index, hidden) {
        (_, true) => (Holder::Hidden, upper.join(relative)),
        (0, false) => (Holder::Layer, upper.join(relative)),
        (index, false) => {
            let layer = &layers[layers.len() - index];
            let digest = layer.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned();
            (Holder::Image(format!("sha256:{digest}")), layer.join(relative))
        }
    }))
}

enum InLayer {
    Here,
    /// A whiteout, or a file where the path goes on: what lower layers have there is not seen.
    Hidden,
    /// Not here, and an opaque directory on the way hides what lower layers have.
    Opaque,
    Absent,
}

fn look_for(layer: &Path, path: &Path) -> Result<InLayer> {
    let directory = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mut here = openat(nix::fcntl::AT_FDCWD, layer, directory, Mode::empty()).doing(|| "open the layer")?;
    let mut opaque = false;
    let parts = parts(path);
    for (index, part) in parts.iter().enumerate() {
        let stat = match nix::sys::stat::fstatat(&here, part.as_os_str(), nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW) {
            Err(Errno::ENOENT) => return Ok(if opaque { InLayer::Opaque } else { InLayer::Absent }),
            stat => stat.doing(|| "look into the layer")?,
        };
        if is_whiteout(&stat) {
            return Ok(InLayer::Hidden);
        }
        if index + 1 == parts.len() {
            break;
        }
        if kind(stat.st_mode) != SFlag::S_IFDIR {
            return Ok(InLayer::Hidden);
        }
        here = openat(&here, OsStr::new(part), directory, Mode::empty()).doing(|| "open a directory of the layer")?;
        opaque |= is_opaque(&here);
    }
    Ok(InLayer::Here)
}

fn kind(mode: u32) -> SFlag {
    SFlag::from_bits_truncate(mode) & SFlag::S_IFMT
}
