//! `where`: which layer, volume or mount holds a path of a container, where that lies on the host, and what it outlives.

mod access;
mod cures;
mod layers;
mod mounted;
mod reason;
mod resolve;
mod storage;
mod volumes;

pub use access::{Access, Who};
pub use cures::Cure;
pub use resolve::where_it_leads;
pub use storage::Storage;
pub use volumes::{VolumePlace, of_volume};

use self::layers::in_layers;
use self::mounted::Mounted;
use self::resolve::{Resolved, resolve};
use super::copy::look_into;
use super::record::{Container, MountPoint};
use super::{state, users};
use crate::engine::idmap::{self, StoreIds};
use crate::engine::mounts::clean;
use crate::engine::{owners, settings, volume};
use crate::error::{Error, Result};
use crate::oci::IdMap;
use crate::store::Store;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

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
    /// A mount that the container made by itself; the type of its file system.
    Foreign(String),
}

/// Where a path is, and what becomes of it.
#[derive(Debug, Clone)]
pub struct Place {
    /// With every symlink on the way followed, as the container follows it; the last one is not.
    pub path: PathBuf,
    pub holder: Holder,
    /// `None` for what is in memory.
    pub on_host: Option<PathBuf>,
    pub storage: Storage,
    /// It is a symlink, and leads there.
    pub leads_to: Option<PathBuf>,
    pub fate: Fate,
    /// What the container's process may do to it, or where it is a symlink to what that leads to; `None` where there is
    /// nothing now.
    pub access: Option<Access>,
    pub trash: Trash,
}

/// Whether what is gone can be brought back, and until when.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trash {
    /// The commands that move it into the trash; what else ends it, ends it for good.
    pub after: Vec<&'static str>,
    pub days: u32,
}

/// What a file outlives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
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

/// Finds what holds `path` of the container; `Kind::NotFound` where there is nothing and has been nothing. A symlink at its
/// end is followed where a slash comes after it, as everywhere.
/// With `user` (`-u`) it is that user who is asked for, and not the container's first process.
pub fn find(store: &Store, container: &Container, path: &Path, user: Option<&str>) -> Result<Place> {
    let bytes = path.as_os_str().as_encoded_bytes();
    let follow = bytes.ends_with(b"/") || bytes.ends_with(b"/.") || bytes.ends_with(b"/..");
    let path = Path::new("/").join(path);
    let destinations: Vec<PathBuf> = container.mounts.iter().map(|mount| clean(&mount.destination)).collect();
    let lines = mounted::lines(store, container);
    let (asker, map) = access::asker(store, container, user)?;
    let seen = look_into(store, container, |root, sealed| {
        let destinations: Result<Vec<_>> = destinations.iter().map(|one| resolve(root, one, true)).collect();
        let found = resolve(root, &path, follow)?;
        // What a link at the end leads to is worth a line, no error.
        let end = resolve(root, &path, true).ok();
        let chain = match (&found, &lines) {
            (Resolved::Found(path) | Resolved::Missing(path), Some(lines)) => mounted::chain(root, path, lines),
            _ => None,
        };
        let look = match &found {
            // Last, since it is the asker from then on. Where it cannot be known, the rest of the answer still is.
            Resolved::Found(path) => match access::look(root, path, &asker, sealed) {
                Err(_) if user.is_none() => None,
                looked => Some(looked?),
            },
            _ => None,
        };
        Ok(Seen { found, end, destinations: destinations?, chain, look })
    })?;
    let found = match &seen.found {
        Resolved::Found(found) | Resolved::Missing(found) => found,
        Resolved::Nowhere => return Err(missing(container, &path)),
    };
    let exists = matches!(seen.found, Resolved::Found(_));
    let mounted = on_mount(container, &seen, found);
    let on = match &mounted {
        Mounted::Of(at, mount) => Some((at.clone(), *mount)),
        _ => None,
    };
    let mut place = match mounted {
        Mounted::Root => match (in_layers(store, container, found)?, exists) {
            (Some((Holder::Hidden, on_host)), _) => place(store, container, found, Holder::Hidden, Some(on_host)),
            (Some((holder, on_host)), true) => place(store, container, found, holder, Some(on_host)),
            _ => return Err(missing(container, &path)),
        },
        // A stopped container's memory is empty: what was there is gone, and what will be there is not yet.
        Mounted::Of(at, mount) if exists || (mount.kind == "tmpfs" && lines.is_none()) => {
            let below = found.strip_prefix(&at).unwrap_or(Path::new(""));
            mounted_place(store, container, found, mount, below)?
        }
        Mounted::Of(..) => return Err(missing(container, &path)),
        Mounted::Other(_) if !exists && lines.is_some() => return Err(missing(container, &path)),
        Mounted::Other(kind) => {
            let holder = given_by_runtime(container, found, None).unwrap_or(Holder::Foreign(kind));
            place(store, container, found, holder, None)
        }
    };
    place.leads_to = match seen.end {
        Some(Resolved::Found(end)) if exists && end != place.path => Some(end),
        _ => None,
    };
    place.access = match (&place.leads_to, &seen.look) {
        // To write a symlink is to write what it leads to.
        (Some(end), _) if !end.starts_with("/proc") => find(store, container, end, user)?.access,
        (None, Some(look)) => access_to(store, container, &place, on, (&asker, map.as_ref()), look)?,
        _ => None,
    };
    Ok(place)
}

/// What the asker may do to `place`, which is `on` a mount of the container's or on its root.
fn access_to(
    store: &Store,
    container: &Container,
    place: &Place,
    on: Option<(PathBuf, &MountPoint)>,
    (asker, map): (&access::Asker, Option<&IdMap>),
    look: &access::Look,
) -> Result<Option<Access>> {
    let ids = idmap::store_ids()?;
    let below = match &on {
        Some((at, _)) => place.path.strip_prefix(at).unwrap_or(Path::new("")),
        None => place.path.strip_prefix("/").unwrap_or(&place.path),
    };
    let owners = match (&place.holder, &place.on_host) {
        // As root the mount translates, and the ids on its disk are those inside.
        _ if matches!(place.storage, Storage::Disk | Storage::FileSystem(_)) && ids == StoreIds::Host => {
            look.way.last().map(|last| Some((last.uid, last.gid))).into_iter().collect()
        }
        _ if place.storage != Storage::File => Vec::new(),
        (Holder::Given, Some(on_host)) => access::owners_on_disk(on_host, 0),
        (_, Some(on_host)) => access::owners_on_disk(on_host, below.components().count()),
        (_, None) => Vec::new(),
    };
    let user = users::of_container(store, container)?;
    let makes = makes(place, on.as_ref().map(|(_, mount)| *mount), (user.uid, user.gid), asker, map, &ids);
    let outside = access::Outside { map, owners, makes };
    let Some(mut access) = access::access(asker, look, &outside) else { return Ok(None) };
    access.on_mount = on.as_ref().is_some_and(|(_, mount)| mount.kind != "tmpfs");
    if let Some((at, mount)) = &on
        && !access.may_write
        && place.storage == Storage::File
    {
        let question = cures::Question {
            store,
            container,
            ids: &ids,
            mount,
            at,
            asker,
            user: (user.uid, user.gid),
            map,
            look,
            owners: &outside.owners,
        };
        access.first = cures::first(&question);
        access.cures = cures::fitting(&question);
    }
    Ok(Some(access))
}

/// To whom on the host it belongs what the asker makes there.
fn makes(
    place: &Place,
    mount: Option<&MountPoint>,
    user: (u32, u32),
    asker: &access::Asker,
    map: Option<&IdMap>,
    ids: &StoreIds,
) -> Option<(u32, u32)> {
    let on_host = || match map {
        Some(map) => map.host_uid(asker.uid).zip(map.host_gid(asker.gid)),
        None => Some((asker.uid, asker.gid)),
    };
    // As root the mounts translate: ids on the disk are those inside, but in memory there is no disk.
    if *ids != StoreIds::Host || place.on_host.is_none() {
        return on_host();
    }
    let translated = mount.filter(|mount| mount.id_mapped);
    let Some((map, _)) =
        translated.and_then(|mount| owners::translate::map(mount, None, user.0, user.1).ok().flatten())
    else {
        return Some((asker.uid, asker.gid));
    };
    idmap::inside(&map.uids, asker.uid).zip(idmap::inside(&map.gids, asker.gid))
}

/// The mount that `found` is on: what the kernel says of a container that runs, and what the record says of another.
fn on_mount<'a>(container: &'a Container, seen: &Seen, found: &Path) -> Mounted<'a> {
    let places: Vec<PathBuf> = seen
        .destinations
        .iter()
        .map(|place| match place {
            Resolved::Found(place) | Resolved::Missing(place) => place.clone(),
            Resolved::Nowhere => PathBuf::new(),
        })
        .collect();
    if let Some(mounted) = seen.chain.as_ref().and_then(|chain| mounted::recognise(container, &places, chain)) {
        return mounted;
    }
    let over =
        places.iter().zip(&container.mounts).filter(|(place, _)| place.is_absolute() && found.starts_with(place));
    // The deepest, and of two at one place the one that was mounted last.
    let deepest = over.max_by_key(|(place, _)| place.components().count());
    match given_by_runtime(container, found, deepest.map(|(place, _)| place.as_path())) {
        Some(_) => Mounted::Other(String::new()),
        None => deepest.map_or(Mounted::Root, |(place, mount)| Mounted::Of(place.clone(), mount)),
    }
}

/// The root, and everything that is mounted, by path: the whole picture of one container.
pub fn all(store: &Store, container: &Container) -> Result<Vec<Place>> {
    let upper = super::dir(store, &container.id).join("upper");
    let mut places = vec![place(store, container, Path::new("/"), Holder::Layer, Some(upper))];
    let mut mounts: Vec<&MountPoint> = container.mounts.iter().collect();
    mounts.sort_by(|a, b| a.destination.cmp(&b.destination));
    for mount in mounts {
        places.push(mounted_place(store, container, &clean(&mount.destination), mount, Path::new(""))?);
    }
    Ok(places)
}

/// Where the bytes of a mount lie.
pub fn on_host(store: &Store, mount: &MountPoint) -> Result<(Storage, Option<PathBuf>)> {
    storage::of_mount(store, mount, Path::new(""))
}

fn missing(container: &Container, path: &Path) -> Error {
    Error::not_found(format!("Could not find the file {} in container {}", path.display(), container.name))
}

fn place(store: &Store, container: &Container, path: &Path, holder: Holder, on_host: Option<PathBuf>) -> Place {
    let fate = fate(store, container, &holder);
    // To join nothing would leave a slash at the end.
    let on_host = on_host.map(|path| path.components().collect());
    let on_host = match &holder {
        Holder::Tmpfs | Holder::Kernel(_) | Holder::Foreign(_) => None,
        Holder::Given => path.file_name().map(|name| super::dir(store, &container.id).join(name)),
        _ => on_host,
    };
    let trash = trash(store, container.host_config.auto_remove, &holder, fate);
    let storage = if on_host.is_some() { Storage::File } else { Storage::Memory };
    Place { path: path.to_owned(), holder, on_host, storage, leads_to: None, fate, access: None, trash }
}

/// [`place`], of what is at `below` in a mount of the container's.
fn mounted_place(store: &Store, container: &Container, path: &Path, mount: &MountPoint, below: &Path) -> Result<Place> {
    let (storage, on_host) = storage::of_mount(store, mount, below)?;
    let mut place = place(store, container, path, holder_of(mount), on_host);
    place.fate = match mount.kind.as_str() {
        "volume" => storage::fate(store, &mount.name, Some(container), &storage, &mount.driver_options, place.fate)?,
        _ => place.fate,
    };
    if place.fate.volume_rm || storage == Storage::Memory {
        place.trash = Trash::default();
    }
    place.storage = storage;
    Ok(place)
}

/// What was started with `--rm` takes its anonymous volumes along for good.
fn trash(store: &Store, auto_remove: bool, holder: &Holder, fate: Fate) -> Trash {
    let days = settings::read(store).unwrap_or_default().trash_days;
    if days == 0 || !matches!(holder, Holder::Volume { .. }) {
        return Trash::default();
    }
    let mut after = Vec::new();
    if !fate.rm_volumes && !auto_remove {
        after.push("rm -v");
    }
    after.push("volume rm");
    Trash { after, days }
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
            // To remove one that runs is to kill it first.
            let killed = state::current(store, container).is_ok_and(|state| state.is_running());
            fate(kept || shared, true, kept || shared || !killed, shared, false)
        }
        Holder::Tmpfs | Holder::Kernel(_) | Holder::Foreign(_) => fate(false, false, false, false, true),
    }
}

/// What the runtime itself puts into every container, unless something of the user's lies deeper.
fn given_by_runtime(container: &Container, path: &Path, users: Option<&Path>) -> Option<Holder> {
    let deeper = |place: &str| users.is_none_or(|users| !users.starts_with(place));
    for file in ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"] {
        if path == Path::new(file) && deeper(file) {
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
    /// The same, with a symlink at the end followed.
    end: Option<Resolved>,
    /// Where each of the container's mounts belongs.
    destinations: Vec<Resolved>,
    /// The mounts below `found`, of a container that runs.
    chain: Option<Vec<mounted::Seen>>,
    look: Option<access::Look>,
}
