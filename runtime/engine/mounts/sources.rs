//! Where the source of a bind leads. A path is looked up again at every start, and by then a container that can write to a
//! directory on the way may have put a symlink there: with `-v /srv/d:/data -v /srv/d/sub:/sub` it replaces /data/sub by a
//! link to /etc, and its next start would have the host's /etc. So the record keeps the true path that the source had when
//! the container was created, and only that is mounted, by whoever mounts it, with no link followed on the way. What the
//! path leads to by now is followed only through links that no container can write to: a deployment's `current`, which the
//! host's owner puts elsewhere.

use super::peers;
use crate::engine::container;
use crate::engine::container::record::{Container, MountPoint};
use crate::engine::volume;
use crate::error::{Doing, Error, Kind, Result};
use crate::store::{Store, atomic, beneath, lock};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, readlinkat};
use nix::sys::stat::{Mode, SFlag, fstat, lstat};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

/// At `create`: makes the source where it is missing and may be made, and puts its true path on record. Whoever creates the
/// container names the path now, so that links are followed, but for one by which a container would lead out of what it can
/// write to: it may wait there for a container that is run anew each time.
pub fn put_on_record(store: &Store, mount: &mut MountPoint) -> Result<()> {
    let found = locate(Path::new(&mount.source))?;
    if let Some(planted) = planted(store, &found)?.filter(|planted| planted.leads_out) {
        return Err(led_out(&mount.source, &found, &planted));
    }
    let path = make_missing(found, mount)?;
    mount.true_path = path.to_string_lossy().into_owned();
    Ok(())
}

/// At a start, and before a stopped container's files are looked at: the container with the true paths that its sources
/// have now. Refuses what leads elsewhere through a link that a container can write to.
pub fn as_of_now(store: &Store, container: &Container) -> Result<Container> {
    let mut container = container.clone();
    for mount in container.mounts.iter_mut().filter(|mount| mount.kind == "bind") {
        let found = locate(Path::new(&mount.source))?;
        if Path::new(&mount.true_path) != found.path
            && let Some(planted) = planted(store, &found)?
        {
            // A record of an older Ebb's does not say where it led.
            let was = if mount.true_path.is_empty() { &mount.source } else { &mount.true_path };
            return Err(changed(&mount.source, was, &found.path, &planted, &container.name));
        }
        mount.true_path = make_missing(found, mount)?.to_string_lossy().into_owned();
    }
    Ok(container)
}

/// The true path of the directory that a volume's options name. No record says where it led before: as at `create`.
pub fn of_volume(store: &Store, device: &Path) -> Result<PathBuf> {
    let found = locate(device)?;
    match planted(store, &found)?.filter(|planted| planted.leads_out) {
        Some(planted) => Err(led_out(&device.to_string_lossy(), &found, &planted)),
        None => Ok(found.path),
    }
}

fn led_out(source: &str, found: &Located, planted: &Planted) -> Error {
    let to = found.path.display();
    Error::new(format!("{source} leads to {to}, through {}", planted.words))
        .with_cure(format!("where that is what you mean, name {to} itself"))
}

fn changed(source: &str, was: &str, now: &Path, planted: &Planted, name: &str) -> Error {
    Error::new(format!(
        "bind source path {source} has changed: it was {was}, and leads now to {}, through {}",
        now.display(),
        planted.words
    ))
    .with_cure(format!(
        "a container's next start is not led elsewhere by a container: take the link away, or `ebb rm {name}` and create it \
         anew where this is what you want"
    ))
}

pub fn missing(source: &str) -> Error {
    let said = format!("invalid mount config for type \"bind\": bind source path does not exist: {source}");
    Error::new(said).with_cure("-v, or bind-create-src, makes a directory that is missing")
}

/// `-v` makes a missing directory, as Docker does, and says so: it is a mistyped path more often than a wish. Returns the
/// true path.
fn make_missing(found: Located, mount: &MountPoint) -> Result<PathBuf> {
    if let Some((above, below)) = &found.missing {
        if !mount.make_source {
            return Err(missing(&mount.source));
        }
        let doing = || format!("make the host directory {}", mount.source);
        beneath::make_dirs(above, below, Mode::from_bits_truncate(0o777)).doing(doing)?;
        eprintln!("ebb: made the host directory {}, which was not there", mount.source);
    }
    Ok(found.path)
}

/// A path with its links followed.
struct Located {
    path: PathBuf,
    /// The symlinks on the way, each by its true path.
    links: Vec<PathBuf>,
    /// The last directory that is there, and what is missing below it.
    missing: Option<(OwnedFd, PathBuf)>,
}

/// Most paths have no link in them, and need one system call. (The kernel's `.` and `..` are gone: a source on record is
/// clean.)
fn locate(path: &Path) -> Result<Located> {
    match beneath::open_without_links(path, OFlag::O_PATH) {
        Ok(_) => Ok(Located { path: path.to_owned(), links: Vec::new(), missing: None }),
        Err(_) => walk(path).doing(|| format!("look at the host's {}", path.display())),
    }
}

/// The most links of one path, as for the kernel (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// Goes through a path part by part, by descriptor, and reads each link where it lies.
fn walk(path: &Path) -> Result<Located> {
    let mut left: VecDeque<OsString> = path.components().filter_map(part).collect();
    let mut open = vec![beneath::root(Path::new("/"))?];
    let mut reached: Vec<OsString> = Vec::new();
    let mut links = Vec::new();
    let to = |reached: &[OsString]| Path::new("/").join(reached.iter().collect::<PathBuf>());
    while let Some(name) = left.pop_front() {
        if name == ".." {
            if reached.pop().is_some() {
                open.pop();
            }
            continue;
        }
        let Some(parent) = open.last() else { return Err(Error::new("the root directory is gone")) };
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let found = match openat(parent, name.as_os_str(), flags, Mode::empty()) {
            Err(Errno::ENOENT) => {
                let below: PathBuf = std::iter::once(name).chain(left).collect();
                let path = to(&reached).join(&below);
                let missing = open.pop().map(|parent| (parent, below));
                return Ok(Located { path, links, missing });
            }
            found => found.map_err(crate::error::Cause::into_error)?,
        };
        let stat = fstat(&found).map_err(crate::error::Cause::into_error)?;
        if SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT != SFlag::S_IFLNK {
            open.push(found);
            reached.push(name);
            continue;
        }
        let target = readlinkat(&found, "").map_err(crate::error::Cause::into_error)?;
        links.push(to(&reached).join(&name));
        if links.len() > MOST_LINKS {
            return Err(crate::error::Cause::into_error(Errno::ELOOP));
        }
        let target = Path::new(&target);
        if target.is_absolute() {
            open.truncate(1);
            reached.clear();
        }
        target.components().filter_map(part).rev().for_each(|part| left.push_front(part));
    }
    Ok(Located { path: to(&reached), links, missing: None })
}

fn part(component: Component) -> Option<OsString> {
    matches!(component, Component::Normal(_) | Component::ParentDir).then(|| component.as_os_str().to_owned())
}

/// A link that a container may have put there.
struct Planted {
    words: String,
    /// Whether the path leads out of what that container can write to.
    leads_out: bool,
}

/// The first link of the way that lies where a container can write. Not only those that run: a link stays.
fn planted(store: &Store, found: &Located) -> Result<Option<Planted>> {
    if found.links.is_empty() {
        return Ok(None);
    }
    let places = writable_places(store)?;
    let end = Spot::of(found.path.clone());
    let mut first: Option<Planted> = None;
    for link in &found.links {
        // A directory that is mounted in a container cannot be replaced from there: only what lies below it.
        let parent = Spot::of(link.parent().unwrap_or(Path::new("/")).to_owned());
        let can_be_theirs = |place: &&Writable| place.spot.holds(&parent) && !is_older(link, place);
        for place in places.iter().filter(can_be_theirs) {
            let words = format!("the link {}, which {} could write to", link.display(), place.who);
            let leads_out = !place.spot.holds(&end);
            if leads_out || first.is_none() {
                first = Some(Planted { words, leads_out });
            }
            if leads_out {
                return Ok(first);
            }
        }
    }
    Ok(first)
}

/// Whether a link has been where it is since before any container was given the place: then it is the owner's. Whoever makes, moves
/// or exchanges a link sets its time of change (inode(7), ctime), and nobody can set that back; to move a directory that the link
/// lies in sets the directory's.
fn is_older(link: &Path, place: &Writable) -> bool {
    let Some(since) = place.since else { return false };
    let is_inside = |path: &&Path| path.starts_with(&place.spot.path) && **path != *place.spot.path;
    let mut parts = link.ancestors().take_while(is_inside).peekable();
    parts.peek().is_some() && parts.all(|part| lstat(part).is_ok_and(|stat| stat.st_ctime < since))
}

/// A path without links, and where it lies in its file system: a bind mount of the host's gives one place two paths.
struct Spot {
    path: PathBuf,
    within: Option<(String, PathBuf)>,
}

impl Spot {
    fn of(path: PathBuf) -> Spot {
        Spot { within: peers::in_file_system(&path).ok().flatten(), path }
    }

    /// Whether the other is this directory, or lies below it.
    fn holds(&self, other: &Spot) -> bool {
        let same_file_system = || {
            let ((device, above), (other, path)) = (self.within.as_ref()?, other.within.as_ref()?);
            Some(device == other && path.starts_with(above))
        };
        other.path.starts_with(&self.path) || same_file_system() == Some(true)
    }
}

/// A directory of the host's that containers can write to.
struct Writable {
    spot: Spot,
    who: String,
    /// Seconds since the epoch, when a container was first given it; `None` where nobody knows.
    since: Option<i64>,
}

fn writable_places(store: &Store) -> Result<Vec<Writable>> {
    let place = |path: PathBuf, who: String, since: Option<i64>| {
        let path = std::fs::canonicalize(&path).unwrap_or(path);
        Writable { spot: Spot::of(path), who, since }
    };
    let bound = bound(store)?;
    let since = |path: &Path| bound.places.iter().filter(|one| path.starts_with(&one.path)).map(|one| one.since).min();
    let mut places = Vec::new();
    for container in container::list(store).map_err(unknown)? {
        for path in container.mounts.iter().filter_map(writable) {
            let since = since(&path);
            places.push(place(path, format!("container {}", container.name), since));
        }
    }
    // Volumes and writable layers; then what containers could write to that are gone.
    places.push(place(store.root().to_owned(), "a container of this store".into(), None));
    for one in bound.places {
        places.push(place(one.path, format!("a container that is gone ({BOUND} of the store)"), Some(one.since)));
    }
    Ok(places)
}

/// The directory of the host's outside the store that this mount lets a container write to.
fn writable(mount: &MountPoint) -> Option<PathBuf> {
    if !mount.rw && !mount.writable_below {
        return None;
    }
    match volume::place(&mount.driver_options) {
        Ok(volume::Place::Directory { device, .. }) => Some(device),
        _ if mount.kind == "bind" => Some(mount.path().to_owned()),
        _ => None,
    }
}

/// `bound.json`: the directories of the host's that containers were given to write to. A link that one of them has put
/// there stays when it is removed.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Bound {
    version: u32,
    places: Vec<Place>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Place {
    path: PathBuf,
    /// Seconds since the epoch: a link that has not changed since is no container's.
    since: i64,
}

impl atomic::Versioned for Bound {
    const VERSION: u32 = 1;

    fn version(&self) -> u32 {
        self.version
    }
}

/// More than these are kept only where they are still there.
const MANY: usize = 1000;

fn bound(store: &Store) -> Result<Bound> {
    match atomic::read_record(&store.root().join(BOUND)) {
        Err(error) if error.is_not_found() => {
            Ok(Bound { version: <Bound as atomic::Versioned>::VERSION, places: Vec::new() })
        }
        read => read,
    }
}

const BOUND: &str = "bound.json";

/// Notes what a container can write to from now on.
pub fn remember(store: &Store, mount: &MountPoint) -> Result<()> {
    let Some(path) = writable(mount) else { return Ok(()) };
    let is_known = |bound: &Bound| bound.places.iter().any(|known| path.starts_with(&known.path));
    // What lies in a file that is bound is no link.
    if !path.is_dir() || bound(store).is_ok_and(|bound| is_known(&bound)) {
        return Ok(());
    }
    let _lock = lock::exclusive(&store.names())?;
    let mut bound = bound(store)?;
    // What lies below it stays on record: it was given sooner.
    bound.places.push(Place { path, since: jiff::Timestamp::now().as_second() });
    if bound.places.len() > MANY {
        bound.places.retain(|place| place.path.exists());
    }
    atomic::write_json(&store.root().join(BOUND), &bound)
}

fn unknown(error: Error) -> Error {
    match error.kind {
        Kind::Newer => error,
        _ => Error { message: format!("find out who can write to a link: {}", error.message), ..error },
    }
}
