//! `:U`: every file of a mount's source gets the container's user for its owner, once, when the container is created.
//!
//! The source is looked up once and held by a descriptor; from there everything is reached by descriptors, no symlink is
//! followed and no other mount entered. A first walk only looks, so that what must not be given away is refused before
//! anything has changed. What fails half-way is taken back; what is killed half-way is finished later (unfinished.rs).

use super::unfinished::{self, Giving};
use crate::engine::container::record::MountPoint;
use crate::engine::container::users::User;
use crate::engine::idmap::{self, StoreIds};
use crate::engine::volume;
use crate::error::{Doing, Error, Result};
use crate::explain::{self, calls};
use crate::oci::{self, IdMap};
use crate::progress::Progress;
use crate::store::{Store, beneath, descent::shown, walk};
use nix::fcntl::OFlag;
use nix::sys::stat::{FileStat, fstat};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Who the files are given to: the ids in the container, and the same on the disk.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Owner {
    pub inside: (u32, u32),
    pub on_host: (u32, u32),
}

impl Owner {
    pub fn of(user: &User, ids: &StoreIds, map: Option<&IdMap>) -> Result<Owner> {
        let inside = (user.uid, user.gid);
        let on_host = match (ids, map) {
            (StoreIds::Host, _) | (_, None) => Some(inside),
            (_, Some(map)) => map.host_uid(user.uid).zip(map.host_gid(user.gid)),
        };
        let on_host =
            on_host.ok_or_else(|| Error::new(format!("{}:{} is none of the container's ids", user.uid, user.gid)))?;
        Ok(Owner { inside, on_host })
    }
}

/// What a look at the tree has found.
#[derive(Debug, Serialize, Deserialize)]
pub struct Survey {
    /// Files whose owner or group is another one.
    pub to_change: u64,
    /// The owner of the source itself, on the host.
    pub before: (u32, u32),
    /// Mounts below it, which stay as they are.
    pub mounts: u64,
    /// Files with several names, all of them in the tree: device and inode.
    linked: Vec<(u64, u64)>,
}

/// Refuses what must not be given away; looks only at the source itself.
pub fn check(store: &Store, mount: &MountPoint) -> Result<()> {
    open(store, mount).map(drop)
}

/// Gives the files of the mount's source to `owner`, and says on stderr what that changed. Until it is done, `made`, the
/// container's directory, says what is being done.
pub fn give(store: &Store, made: &Path, mount: &MountPoint, ids: &StoreIds, owner: &Owner) -> Result<()> {
    let doing = || format!("give {} to the container's user", mount.source);
    let top = open(store, mount)?;
    let survey = look(&top, mount, ids, owner).doing(doing)?;
    if survey.to_change > 0 {
        let stat = fstat(&top).doing(doing)?;
        let giving = Giving {
            mount: mount.clone(),
            owner: *owner,
            before: survey.before,
            to_change: survey.to_change,
            source: (stat.st_dev, stat.st_ino),
        };
        unfinished::begin(made, &giving)?;
        change(&top, mount, ids, owner, &survey).doing(doing)?;
    }
    tell(&mount.source, &survey, owner);
    unfinished::end(made)
}

/// Does the rest of what a killed command began, where the source is still the same, and says what that command could not.
pub fn finish(store: &Store, giving: &Giving, ids: &StoreIds) -> Result<()> {
    let top = open(store, &giving.mount)?;
    let stat = fstat(&top).doing(|| format!("look at {}", giving.mount.source))?;
    // A volume's own file system has the number of whichever loop device is free.
    let is_device = giving.mount.kind == "volume" || stat.st_dev == giving.source.0;
    if !is_device || stat.st_ino != giving.source.1 {
        return Err(Error::new(format!("{} is another directory by now", giving.mount.source)));
    }
    let mut survey = look(&top, &giving.mount, ids, &giving.owner)?;
    if survey.to_change > 0 {
        change(&top, &giving.mount, ids, &giving.owner, &survey)?;
    }
    (survey.before, survey.to_change) = (giving.before, giving.to_change);
    tell(&giving.mount.source, &survey, &giving.owner);
    Ok(())
}

fn look(top: &OwnedFd, mount: &MountPoint, ids: &StoreIds, owner: &Owner) -> Result<Survey> {
    let map = ids.map().map(idmap::beyond_overflow);
    let target = inside_of(map.as_ref(), owner)?;
    oci::with_ids(map.as_ref(), || survey(&part(top, mount)?, Path::new(&mount.source), map.as_ref(), target, u64::MAX))
}

fn change(top: &OwnedFd, mount: &MountPoint, ids: &StoreIds, owner: &Owner, survey: &Survey) -> Result<()> {
    let map = ids.map().map(idmap::beyond_overflow);
    let target = inside_of(map.as_ref(), owner)?;
    // What went wrong, if anything did; of that nothing is left.
    let attempt = || {
        oci::with_ids(map.as_ref(), || {
            let top = part(top, mount)?;
            let source = Path::new(&mount.source);
            let mut given = Given::default();
            let Err(error) = change_each(&top, source, survey, target, owner.on_host, &mut given) else {
                return Ok(None);
            };
            Ok(Some(match take_back(&top, source, target, &given) {
                Ok(()) => format!("{}; nothing was changed", error.message),
                Err(other) => format!("{}; and what was given cannot be taken back: {other}", error.message),
            }))
        })
    };
    // If the child that does it was killed, another does the rest.
    attempt().or_else(|_| attempt())?.map_or(Ok(()), |wrong| Err(Error::new(wrong)))
}

/// Whether `:U` could do its work on the mount, as far as the first `most` files tell.
pub fn could(store: &Store, mount: &MountPoint, ids: &StoreIds, owner: &Owner, most: u64) -> bool {
    let map = ids.map().map(idmap::beyond_overflow);
    let looked = open(store, mount).and_then(|top| {
        let target = inside_of(map.as_ref(), owner)?;
        oci::with_ids(map.as_ref(), || {
            survey(&part(&top, mount)?, Path::new(&mount.source), map.as_ref(), target, most)
        })
    });
    looked.is_ok()
}

/// The ids of `owner` in the namespace that the walk is made in.
fn inside_of(map: Option<&IdMap>, owner: &Owner) -> Result<(u32, u32)> {
    let (uid, gid) = owner.on_host;
    let Some(map) = map else { return Ok((uid, gid)) };
    let ids = idmap::inside(&map.uids, uid).zip(idmap::inside(&map.gids, gid));
    ids.ok_or_else(|| Error::new(format!("{uid}:{gid} are none of your ids")))
}

/// The source, looked up for the last time.
fn open(store: &Store, mount: &MountPoint) -> Result<OwnedFd> {
    let is_volume = mount.kind == "volume";
    if mount.driver_options.get("type").is_some_and(|kind| kind == "tmpfs") {
        return Err(Error::new(format!(
            "volume {} is in memory, and made anew whenever nobody has it mounted",
            mount.name
        ))
        .with_cure(
            "give it an owner with its options: volume create -o type=tmpfs -o device=tmpfs -o o=uid=UID,gid=GID",
        ));
    }
    // A bind by its true path, or a container that can write on the way would choose what is given away.
    let top = match is_volume {
        true => volume::open_on_host(store, &volume::get(store, &mount.name)?)?,
        false => beneath::open_without_links(mount.path(), OFlag::O_PATH).doing(|| format!("open {}", mount.source))?,
    };
    if belongs_to_the_system(store, &top, is_volume)? {
        // Podman's words; but not its advice to do it by hand.
        return Err(Error::new(format!("chowning host path {:?} is not allowed", mount.source))
            .with_cure("the machine or others need it as it is: mount a directory that is only for this"));
    }
    Ok(top)
}

/// Of a volume the part that is mounted (`volume-subpath`), which only one of the volume's own ids may be able to reach.
fn part(top: &OwnedFd, mount: &MountPoint) -> Result<OwnedFd> {
    match mount.subpath.as_str() {
        "" => top.try_clone().doing(|| format!("open {}", mount.source)),
        below => beneath::open_below(top, Path::new(below), OFlag::O_PATH)
            .doing(|| format!("open {below} of volume {}", mount.name)),
    }
}

/// Directories of which no file is anybody's to give away.
const SYSTEM: &[&str] =
    &["/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/sbin", "/sys", "/usr"];

/// Directories that many share; what is below them may be one's own.
const SHARED: &[&str] = &[
    "/",
    "/home",
    "/media",
    "/mnt",
    "/opt",
    "/root",
    "/run",
    "/run/user",
    "/srv",
    "/tmp",
    "/var",
    "/var/backups",
    "/var/cache",
    "/var/lib",
    "/var/log",
    "/var/mail",
    "/var/run",
    "/var/spool",
    "/var/tmp",
];

/// Where the descriptor leads counts, not how the path was written: by name, and by device and inode, which a bind mount
/// of it shares.
fn belongs_to_the_system(store: &Store, top: &OwnedFd, is_volume: bool) -> Result<bool> {
    let link = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(top));
    let path = std::fs::read_link(&link).doing(|| format!("read {link}"))?;
    let stat = fstat(top).doing(|| format!("look at {}", path.display()))?;
    let same = |other: FileStat| (other.st_dev, other.st_ino) == (stat.st_dev, stat.st_ino);
    if is_volume && path == Path::new("/") && !nix::sys::stat::stat("/").is_ok_and(same) {
        // The root of a file system of the volume's own, which is attached nowhere.
        return Ok(false);
    }
    let root = store.root().canonicalize().unwrap_or_else(|_| store.root().to_owned());
    let homes = homes();
    let whole = SYSTEM.iter().chain(SHARED).map(Path::new).chain(homes.iter().map(PathBuf::as_path));
    let is_one = |other: &Path| path == other || nix::sys::stat::stat(other).is_ok_and(same);
    Ok(SYSTEM.iter().any(|system| path.starts_with(system))
        || whole.into_iter().any(is_one)
        // Ebb's own store: its records and layers are no container's, but volumes lie there.
        || root.starts_with(&path)
        || (path.starts_with(&root) && !is_volume))
}

/// The home directories of people, and the caller's.
fn homes() -> Vec<PathBuf> {
    let text = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let home = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        let uid: u32 = fields.get(2)?.parse().ok()?;
        (uid == 0 || (1000..60_000).contains(&uid)).then(|| PathBuf::from(fields.get(5).unwrap_or(&"")))
    };
    let mut homes: Vec<PathBuf> = text.lines().filter_map(home).collect();
    homes.extend(std::env::var_os("HOME").map(PathBuf::from));
    homes.retain(|home| home.is_absolute());
    homes
}

/// Looks at the whole tree. Refused is what belongs to somebody whose files the caller cannot give away, and a file that
/// has other names outside of the tree: it would change its owner there, too.
fn survey(top: &OwnedFd, source: &Path, map: Option<&IdMap>, target: (u32, u32), most: u64) -> Result<Survey> {
    let stat = fstat(top).doing(|| format!("look at {}", source.display()))?;
    let outside = |stat: &FileStat| match map {
        Some(map) => map.host_uid(stat.st_uid).zip(map.host_gid(stat.st_gid)),
        None => Some((stat.st_uid, stat.st_gid)),
    };
    let mut found =
        Survey { to_change: 0, before: outside(&stat).unwrap_or((u32::MAX, u32::MAX)), mounts: 0, linked: Vec::new() };
    let mut names: HashMap<(u64, u64), (libc::nlink_t, PathBuf)> = HashMap::new();
    let mut seen = 0;
    found.mounts = walk::tree(top, source, &mut |_, stat, path| {
        seen += 1;
        if (stat.st_uid, stat.st_gid) == target || seen > most {
            return Ok(seen <= most);
        }
        if outside(stat).is_none() {
            return Err(Error::new(format!("{} belongs to a user or a group that is not yours", shown(path)))
                .with_cure("only root can give it away; nothing was changed"));
        }
        found.to_change += 1;
        if stat.st_nlink > 1 && !walk::is_directory(stat) {
            let name = names.entry((stat.st_dev, stat.st_ino)).or_insert((stat.st_nlink, path.to_owned()));
            name.0 = name.0.saturating_sub(1);
        }
        Ok(true)
    })?;
    if let Some((_, path)) = names.values().find(|(outside, _)| *outside > 0 && seen <= most) {
        return Err(Error::new(format!(
            "{} has another name outside of {}, whose owner would change as well",
            shown(path),
            source.display()
        ))
        .with_cure("remove the hard link, or change the owners by hand; nothing was changed"));
    }
    found.linked = names.into_keys().collect();
    Ok(found)
}

/// Files that were given, by device and inode, and whose they were.
type Given = HashMap<(u64, u64), (u32, u32)>;

fn change_each(
    top: &OwnedFd,
    source: &Path,
    survey: &Survey,
    (uid, gid): (u32, u32),
    on_host: (u32, u32),
    given: &mut Given,
) -> Result<()> {
    let linked: HashSet<(u64, u64)> = survey.linked.iter().copied().collect();
    let (mut progress, mut done) = (Progress::new("changing owners", survey.to_change), 0);
    explain::step(
        "the files of this directory of the host's get the container's user for their owner; links are not followed",
        format_args!("chown -R -h {}:{} {}", on_host.0, on_host.1, source.display()),
    );
    let changed = calls::chown_each(uid, gid, |chown| {
        walk::tree(top, source, &mut |file, stat, path| {
            if (stat.st_uid, stat.st_gid) == (uid, gid) {
                return Ok(true);
            }
            if stat.st_nlink > 1 && !walk::is_directory(stat) && !linked.contains(&(stat.st_dev, stat.st_ino)) {
                return Err(Error::new(format!("{} got another name meanwhile", shown(path))));
            }
            chown(file.as_fd()).doing(|| format!("change the owner of {}", shown(path)))?;
            given.insert((stat.st_dev, stat.st_ino), (stat.st_uid, stat.st_gid));
            done += 1;
            progress.set(done);
            Ok(true)
        })
        .map(drop)
    });
    progress.finish();
    changed
}

/// Gives each file back to whom it was taken from.
fn take_back(top: &OwnedFd, source: &Path, target: (u32, u32), given: &Given) -> Result<()> {
    let owners: HashSet<(u32, u32)> = given.values().copied().collect();
    for owner in owners {
        calls::chown_each(owner.0, owner.1, |chown| {
            walk::tree(top, source, &mut |file, stat, path| {
                let was = given.get(&(stat.st_dev, stat.st_ino));
                if was == Some(&owner) && (stat.st_uid, stat.st_gid) == target {
                    chown(file.as_fd()).doing(|| format!("change the owner of {} back", shown(path)))?;
                }
                Ok(true)
            })
            .map(drop)
        })?;
    }
    Ok(())
}

fn tell(source: &str, survey: &Survey, owner: &Owner) {
    if survey.to_change > 0 {
        let (inside, on_host) = (owner.inside, owner.on_host);
        let files = if survey.to_change == 1 { "1 file".into() } else { format!("{} files", survey.to_change) };
        let same =
            if inside == on_host { String::new() } else { format!(", the container's {}:{}", inside.0, inside.1) };
        let before = format!("{}:{}", survey.before.0, survey.before.1);
        eprintln!(
            "ebb: changed the owner of {files} in {source} to {}:{}{same} ({source} itself was {before}{})",
            on_host.0,
            on_host.1,
            idmap::user_name(survey.before.0).map_or_else(String::new, |name| format!(", {name}'s")),
        );
    }
    if survey.mounts > 0 {
        eprintln!("ebb: what is mounted below {source} keeps its owners: {} of them", survey.mounts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_the_system_is_known_by_where_a_descriptor_leads() {
        let dir = std::env::temp_dir().join(format!("ebb-chown-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("mine")).unwrap();
        std::fs::create_dir_all(dir.join("store")).unwrap();
        std::os::unix::fs::symlink("/", dir.join("mine/link")).unwrap();
        let store = Store::open(Some(&dir.join("store"))).unwrap();
        let belongs = |path: &Path| {
            let top = nix::fcntl::open(path, OFlag::O_PATH, nix::sys::stat::Mode::empty()).unwrap();
            belongs_to_the_system(&store, &top, false).unwrap()
        };
        for system in [
            "/",
            "/etc",
            "/etc/ssl",
            "/usr/bin/env",
            "/home",
            "/root",
            "/tmp",
            "/var",
            "/var/lib",
            "/proc/self",
            "/dev/null",
            "/tmp/../etc/./",
        ] {
            if Path::new(system).exists() {
                assert!(belongs(Path::new(system)), "{system}");
            }
        }
        for ours in ["mine/link", "mine/link/etc", "store", "store/volumes", "."] {
            assert!(belongs(&dir.join(ours)), "{ours}: what it leads to counts, and the store is Ebb's");
        }
        assert!(!belongs(&dir.join("mine")) && !belongs(&dir.join("mine/../mine")));
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
