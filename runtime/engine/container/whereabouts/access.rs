//! Who the container's process is, who owns a path, and whether the one may write the other. The kernel is asked, by a
//! process that has become what the container's is; the bits are read only to say why.

use super::super::record::Container;
use super::super::users::{self, User};
use super::super::{bundle, exec, namespaces, state};
use super::reason;
use crate::engine::idmap::{self, StoreIds};
use crate::engine::{mounts, volume};
use crate::error::{Doing, Result};
use crate::kernel;
use crate::oci::{self, IdMap};
use crate::store::{Store, beneath};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};
use nix::sys::statvfs::{FsFlags, fstatvfs};
use oci_spec::runtime::Spec;
use serde::{Deserialize, Serialize};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// A process of the container's, in the container's own ids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asker {
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
    /// The effective ones, as bits (1 << CAP_…).
    pub capabilities: u64,
}

/// A user and a group, in the container and on the host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Who {
    pub uid: u32,
    pub gid: u32,
    /// The names in the container's passwd and group files.
    pub user: Option<String>,
    pub group: Option<String>,
    /// `None` where no id of the host stands for it, or nobody can tell which.
    pub on_host: Option<(u32, u32)>,
    /// There is somebody on the host, who is nobody in the container.
    pub unmapped: bool,
}

/// What the container's process may do to a path.
#[derive(Debug, Clone)]
pub struct Access {
    pub process: Who,
    pub owner: Who,
    /// The permission bits.
    pub mode: u32,
    /// To whom on the host what the process makes there belongs.
    pub makes: Option<(u32, u32)>,
    pub may_write: bool,
    pub why: String,
    /// It is on a bind mount or a volume, which is where `cures` are to be had.
    pub on_mount: bool,
    /// What must be done on the host before any of them helps.
    pub first: Option<String>,
    /// What would let it write.
    pub cures: Vec<super::cures::Cure>,
}

/// One step of the way to a path: a directory, or at the end whatever is there.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Step {
    pub path: PathBuf,
    pub uid: u32,
    pub gid: u32,
    /// With the type of the file.
    pub mode: u32,
    pub has_acl: bool,
}

impl Step {
    pub fn is_directory(&self) -> bool {
        SFlag::from_bits_truncate(self.mode) & SFlag::S_IFMT == SFlag::S_IFDIR
    }
}

/// What was seen in the container.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Look {
    /// From the root to the path itself.
    pub way: Vec<Step>,
    /// The process's and the owner's.
    pub names: [(Option<String>, Option<String>); 2],
    pub answer: Answer,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    Yes,
    /// Which step of the way says no, and how.
    No(usize, i32),
}

/// Who asks, and the ids of the container: of one that runs what the kernel says of its first process, of another what
/// it would be. With `user` it is that one (`-u`).
pub fn asker(store: &Store, container: &Container, user: Option<&str>) -> Result<(Asker, Option<IdMap>)> {
    let running = state::current(store, container).ok().filter(state::State::is_running);
    let of_running = running.as_ref().and_then(|_| exec::bundle_spec(store, container).ok());
    let spec = match of_running {
        Some(spec) => spec,
        None => {
            let container = &mounts::as_of_now(store, container)?;
            let held = volume::hold(store, container)?;
            bundle::spec(store, container, namespaces::namespaces(store, container, &held)?, None)?
        }
    };
    let map = map_of(&spec);
    if let Some(user) = user {
        let mut other = container.clone();
        user.clone_into(&mut other.config.image.user);
        let mut found = users::of_container(store, &other)?;
        if let (StoreIds::Single(_), Some(map)) = (idmap::store_ids()?, &map) {
            // Whatever it is called, it is the one that there is.
            let only = |map: &[(u32, u32, u32)]| map.first().map_or(0, |(inside, ..)| *inside);
            (found.uid, found.gid) = (only(&map.uids), only(&map.gids));
        }
        return Ok((executed(&spec, &found), map));
    }
    let status = running.and_then(|state| std::fs::read_to_string(format!("/proc/{}/status", state.init.pid)).ok());
    let asker = status.and_then(|status| of_status(&status, map.as_ref()));
    Ok((asker.unwrap_or_else(|| of_spec(&spec)), map))
}

fn map_of(spec: &Spec) -> Option<IdMap> {
    let linux = spec.linux().as_ref()?;
    let map = IdMap {
        uids: namespaces::triples(linux.uid_mappings().as_ref()?),
        gids: namespaces::triples(linux.gid_mappings().as_ref()?),
    };
    (!map.uids.is_empty()).then_some(map)
}

fn of_spec(spec: &Spec) -> Asker {
    let process = spec.process().as_ref();
    let user = process.map(|process| process.user().clone()).unwrap_or_default();
    let groups = user.additional_gids().clone().unwrap_or_default();
    executed(spec, &User { uid: user.uid(), gid: user.gid(), groups, home: String::new() })
}

/// After execve(2) only root still holds what it was given: another's effective set is empty (capabilities(7)).
fn executed(spec: &Spec, user: &User) -> Asker {
    let given = spec.process().as_ref().and_then(|process| process.capabilities().as_ref());
    let given = given.map_or(0, |given| oci::capabilities::bits(given.bounding()));
    let capabilities = if user.uid == 0 { given } else { 0 };
    Asker { uid: user.uid, gid: user.gid, groups: user.groups.clone(), capabilities }
}

/// /proc/PID/status has the ids as we see them.
fn of_status(status: &str, map: Option<&IdMap>) -> Option<Asker> {
    let line = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).map(str::split_whitespace);
    // Real, effective, saved, and that for files.
    let uid = line("Uid:")?.nth(3)?.parse().ok()?;
    let gid = line("Gid:")?.nth(3)?.parse().ok()?;
    let groups: Vec<u32> = line("Groups:")?.filter_map(|group| group.parse().ok()).collect();
    let capabilities = u64::from_str_radix(line("CapEff:")?.next()?, 16).ok()?;
    let inside = |map: fn(&IdMap) -> &Vec<(u32, u32, u32)>, own: Option<&IdMap>, id: u32| match own {
        Some(own) => idmap::inside(map(own), id),
        None => Some(id),
    };
    let groups = groups.into_iter().filter_map(|group| inside(|map| &map.gids, map, group)).collect();
    Some(Asker {
        uid: inside(|map| &map.uids, map, uid)?,
        gid: inside(|map| &map.gids, map, gid)?,
        groups,
        capabilities,
    })
}

/// Looks at the way to `path`, which has no symlinks, and asks. The last thing that the process does: it is then the
/// asker, and nobody else any more. `sealed`: the root is to be read-only, and is not yet.
pub fn look(root: &OwnedFd, path: &Path, asker: &Asker, sealed: bool) -> Result<Look> {
    let prefixes: Vec<&Path> = path.ancestors().collect();
    let mut opened = Vec::new();
    let mut way = Vec::new();
    for prefix in prefixes.into_iter().rev() {
        let doing = || format!("look at {} in the container", prefix.display());
        let fd = beneath::open(root, prefix, OFlag::O_PATH | OFlag::O_NOFOLLOW, Mode::empty()).doing(doing)?;
        let stat = fstat(&fd).doing(doing)?;
        way.push(step(root, prefix, &stat));
        opened.push(fd);
    }
    let owner = way.last().map_or((0, 0), |step| (step.uid, step.gid));
    let names = [users::names(root, asker.uid, asker.gid)?, users::names(root, owner.0, owner.1)?];
    let read_only = opened.last().is_some_and(|fd| is_read_only(fd, way.last(), root, sealed));
    let dead_device = opened.last().is_some_and(|fd| is_dead_device(fd, way.last()));
    oci::become_user(asker.uid, asker.gid, &asker.groups, asker.capabilities)?;
    let answer = match ask(&opened, &way)? {
        // The kernel looks at the mode first; but whatever the mode is, nothing is written there.
        Answer::Yes | Answer::No(_, EACCES) if read_only => Answer::No(way.len() - 1, Errno::EROFS as i32),
        Answer::Yes if dead_device => Answer::No(way.len() - 1, Errno::ENXIO as i32),
        answer => answer,
    };
    Ok(Look { way, names, answer })
}

fn step(root: &OwnedFd, path: &Path, stat: &FileStat) -> Step {
    // Attributes are read through a name or a readable descriptor; a file that cannot be read so has none to show.
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_NOCTTY;
    let plain = matches!(SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT, SFlag::S_IFREG | SFlag::S_IFDIR);
    let has_acl = plain
        && beneath::open(root, path, flags, Mode::empty()).is_ok_and(|file| {
            let found = xattr::FileExt::get_xattr(&std::fs::File::from(file), "system.posix_acl_access");
            matches!(found, Ok(Some(_)))
        });
    Step { path: path.to_owned(), uid: stat.st_uid, gid: stat.st_gid, mode: stat.st_mode, has_acl }
}

const EACCES: i32 = Errno::EACCES as i32;

/// Whether it is on a read-only mount, or on a root that is to become one.
fn is_read_only(fd: &OwnedFd, step: Option<&Step>, root: &OwnedFd, sealed: bool) -> bool {
    let kind = step.map(|step| SFlag::from_bits_truncate(step.mode) & SFlag::S_IFMT);
    // What is written to a device, a FIFO or a socket is not written to the disk.
    matches!(kind, Some(SFlag::S_IFREG | SFlag::S_IFDIR))
        && (fstatvfs(fd).is_ok_and(|system| system.flags().contains(FsFlags::ST_RDONLY))
            || (sealed && kernel::mount_id(fd).ok() == kernel::mount_id(root).ok()))
}

/// A device node does nothing on a mount without devices, whatever its mode says.
fn is_dead_device(fd: impl AsFd, step: Option<&Step>) -> bool {
    let kind = step.map(|step| SFlag::from_bits_truncate(step.mode) & SFlag::S_IFMT);
    matches!(kind, Some(SFlag::S_IFBLK | SFlag::S_IFCHR))
        && fstatvfs(fd).is_ok_and(|system| system.flags().contains(FsFlags::ST_NODEV))
}

/// Every directory on the way must let it through; then the file must let it write, or the directory let it make files.
fn ask(opened: &[OwnedFd], way: &[Step]) -> Result<Answer> {
    let last = way.len() - 1;
    for (index, (fd, step)) in opened.iter().zip(way).enumerate() {
        let mode = match (index == last, step.is_directory()) {
            (false, _) => libc::X_OK,
            (true, true) => libc::W_OK | libc::X_OK,
            (true, false) => libc::W_OK,
        };
        match kernel::may_access(fd, mode) {
            // That is no answer.
            Err(Errno::ENOSYS) => return Err(Errno::ENOSYS).doing(|| "ask whether it may write"),
            Err(errno) => return Ok(Answer::No(index, errno as i32)),
            Ok(()) => {}
        }
    }
    Ok(Answer::Yes)
}

/// What is known of the place beside what was seen in the container.
pub struct Outside<'a> {
    pub map: Option<&'a IdMap>,
    /// The owners on the disk of the last steps of the way, those that are on the mount that holds the path.
    pub owners: Vec<Option<(u32, u32)>>,
    /// To whom on the host it belongs what the process makes there.
    pub makes: Option<(u32, u32)>,
}

/// Puts together what was seen inside and outside.
pub fn access(asker: &Asker, look: &Look, outside: &Outside) -> Option<Access> {
    let last = look.way.last()?;
    let on_host = |uid, gid| match outside.map {
        Some(map) => map.host_uid(uid).zip(map.host_gid(gid)),
        None => Some((uid, gid)),
    };
    let [(user, group), (owner, owner_group)] = look.names.clone();
    let host = on_host(asker.uid, asker.gid);
    let process = Who { uid: asker.uid, gid: asker.gid, user, group, on_host: host, unmapped: false };
    let on_disk = match outside.owners.last() {
        Some(owner) => *owner,
        // In memory: there the ids are those of the container's namespace, but for who has none there.
        None => on_host(last.uid, last.gid).filter(|_| last.uid != OVERFLOW),
    };
    let unmapped = last.uid == OVERFLOW && on_disk.is_some_and(|(uid, _)| outside.is_unmapped(uid));
    let owner = Who { uid: last.uid, gid: last.gid, user: owner, group: owner_group, on_host: on_disk, unmapped };
    let owner = if unmapped { Who { user: None, ..owner } } else { owner };
    let (may_write, why) = reason::of(asker, look, &owner);
    Some(Access {
        process,
        owner,
        mode: last.mode & 0o7777,
        makes: outside.makes,
        may_write,
        why,
        on_mount: false,
        first: None,
        cures: Vec::new(),
    })
}

/// What the kernel shows in the place of an id that is not mapped.
const OVERFLOW: u32 = 65_534;

impl Outside<'_> {
    /// Whether the host's `uid` is nobody of the container's, who sees the overflow id then.
    fn is_unmapped(&self, uid: u32) -> bool {
        match self.map {
            // As root ids on the disk are those inside, and 65534 itself is one.
            Some(map) if nix::unistd::geteuid().is_root() => uid != OVERFLOW || map.host_uid(OVERFLOW).is_none(),
            Some(map) => idmap::inside(&map.uids, uid).is_none(),
            None => false,
        }
    }
}

/// The owners on the host's disk of `on_host` and of the `depth` directories above it, the topmost first. What lies below
/// the topmost is resolved beneath it.
pub fn owners_on_disk(on_host: &Path, depth: usize) -> Vec<Option<(u32, u32)>> {
    let Some(base) = on_host.ancestors().nth(depth) else { return Vec::new() };
    let below = on_host.strip_prefix(base).unwrap_or(Path::new(""));
    let mut prefixes: Vec<&Path> = below.ancestors().collect();
    prefixes.reverse();
    let one = |prefix: &Path| -> nix::Result<FileStat> {
        if prefix.as_os_str().is_empty() {
            return nix::sys::stat::stat(base);
        }
        let root = beneath::root(base).map_err(|_| Errno::EACCES)?;
        fstat(beneath::open(root, prefix, OFlag::O_PATH | OFlag::O_NOFOLLOW, Mode::empty())?)
    };
    let ids = idmap::store_ids().ok();
    let map = ids.as_ref().and_then(StoreIds::map).map(idmap::beyond_overflow);
    let each = |prefix: &&Path| match (one(prefix), &map) {
        (Ok(stat), _) => Some((stat.st_uid, stat.st_gid)),
        // A directory that only one of our subordinate ids may pass.
        (Err(Errno::EACCES), Some(map)) => {
            let found =
                oci::with_ids(Some(map), || one(prefix).map(|stat| (stat.st_uid, stat.st_gid)).doing(|| "look"));
            let (uid, gid) = found.ok()?;
            map.host_uid(uid).zip(map.host_gid(gid))
        }
        _ => None,
    };
    prefixes.iter().map(each).collect()
}
