//! User and group ids: the maps of a user namespace, written from outside, and what becomes of the process inside.

use super::IdMap;
use super::options::Options;
use crate::error::{Doing, Error, Result};
use crate::explain::{self, calls};
use crate::kernel::{self, Cloned};
use crate::programs;
use nix::unistd::{Gid, Pid, Uid};
use oci_spec::runtime::{LinuxIdMapping, Spec};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Child;

/// The maps of `linux.uidMappings` and `gidMappings`, or `None` where the bundle has none.
pub fn of(spec: &Spec) -> Option<IdMap> {
    let linux = spec.linux().as_ref()?;
    let map = IdMap { uids: triples(linux.uid_mappings()), gids: triples(linux.gid_mappings()) };
    (!map.uids.is_empty()).then_some(map)
}

pub fn triples(mappings: &Option<Vec<LinuxIdMapping>>) -> Vec<(u32, u32, u32)> {
    let triple = |mapping: &LinuxIdMapping| (mapping.container_id(), mapping.host_id(), mapping.size());
    mappings.iter().flatten().map(triple).collect()
}

impl IdMap {
    /// The host's id of user `inside`, where it is mapped.
    pub fn host_uid(&self, inside: u32) -> Option<u32> {
        outside(&self.uids, inside)
    }

    pub fn host_gid(&self, inside: u32) -> Option<u32> {
        outside(&self.gids, inside)
    }
}

fn outside(map: &[(u32, u32, u32)], id: u32) -> Option<u32> {
    map.iter()
        .find(|(inside, _, length)| id >= *inside && id - inside < *length)
        .map(|(inside, outside, _)| outside + (id - inside))
}

/// Writes the maps of the user namespace that `pid` was cloned into (user_namespaces(7)).
///
/// Root writes them itself. Anybody may map their own one id, once setgroups(2) is given up. For more an ordinary user
/// needs newuidmap(1), which looks into /etc/subuid.
pub fn write(pid: Pid, map: &IdMap) -> Result<()> {
    let euid = nix::unistd::geteuid().as_raw();
    let own = |map: &[(u32, u32, u32)], id: u32| matches!(map, [(_, outside, 1)] if *outside == id);
    if euid == 0 {
        write_map(pid, "uid_map", &map.uids)?;
        return write_map(pid, "gid_map", &map.gids);
    }
    if own(&map.uids, euid) && own(&map.gids, nix::unistd::getegid().as_raw()) {
        let deny = format!("/proc/{pid}/setgroups");
        explain::step(
            "an ordinary user may map their own id only after giving up setgroups(2)",
            format_args!("echo deny > {deny}"),
        );
        calls::write(Path::new(&deny), "deny").doing(|| format!("write {deny}"))?;
        write_map(pid, "uid_map", &map.uids)?;
        return write_map(pid, "gid_map", &map.gids);
    }
    // Two programs, which need not wait for each other.
    let (uids, gids) = (through("newuidmap", pid, &map.uids)?, through("newgidmap", pid, &map.gids)?);
    let written = end("newuidmap", uids);
    written.and(end("newgidmap", gids))
}

/// The kernel takes a whole map in one write, and only once.
fn write_map(pid: Pid, file: &str, map: &[(u32, u32, u32)]) -> Result<()> {
    let lines: String = map.iter().map(|(inside, outside, length)| format!("{inside} {outside} {length}\n")).collect();
    let path = format!("/proc/{pid}/{file}");
    explain::step(
        format_args!("who is who: {}", in_words(map)),
        format_args!("printf '{}' > {path}", lines.replace('\n', "\\n")),
    );
    calls::write(Path::new(&path), &lines).doing(|| format!("write {path}"))
}

/// `0 here is 100000 outside, and the 65535 after it`.
fn in_words(map: &[(u32, u32, u32)]) -> String {
    let one = |(inside, outside, length): &(u32, u32, u32)| match length {
        1 => format!("id {inside} in the container is id {outside} outside"),
        _ => format!("ids from {inside} in the container are ids from {outside} outside, {length} of them"),
    };
    map.iter().map(one).collect::<Vec<_>>().join("; ")
}

fn through(program: &str, pid: Pid, map: &[(u32, u32, u32)]) -> Result<Child> {
    let mut command = programs::command(program).doing(|| format!("run {program}"))?;
    command.arg(pid.to_string());
    for (inside, outside, length) in map {
        command.args([inside.to_string(), outside.to_string(), length.to_string()]);
    }
    explain::step(
        format_args!("who is who: {}; {program}, which looks into /etc/subuid, may write it for us", in_words(map)),
        format_args!(
            "{program} {}",
            command.get_args().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
        ),
    );
    calls::spawn(&mut command).doing(|| format!("run {program}"))
}

fn end(program: &str, process: Child) -> Result<()> {
    let output = process.wait_with_output().doing(|| format!("wait for {program}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::new(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim()))
        .with_cure("see /etc/subuid and /etc/subgid: the ids must be yours"))
}

/// In a new user namespace: becomes its root. A process keeps its outer id across the clone, which as root's is mapped
/// to nothing inside; files made by it would belong to nobody (EOVERFLOW).
pub fn become_root() -> Result<()> {
    // Refused where setgroups is denied (one id only); the groups of the user stay then, and are shown as nobody's.
    explain::step(
        "inside its user namespace it becomes root: with all power there, and none outside",
        "setpriv --reuid 0 --regid 0 --groups 0 …",
    );
    let _ = calls::setgroups(&[Gid::from_raw(0)]);
    let zero = (Gid::from_raw(0), Uid::from_raw(0));
    match calls::setresgid(zero.0).and_then(|()| calls::setresuid(zero.1)) {
        // 0 is not mapped: the one id is that of another user, who we are already, with all of the namespace's power.
        Ok(()) | Err(nix::errno::Errno::EINVAL) => Ok(()),
        Err(errno) => Err(errno).doing(|| "become root of the user namespace"),
    }
}

/// A user namespace with these maps that no process lives in: the id map of an id-mapped mount.
pub fn namespace(map: &IdMap) -> Result<OwnedFd> {
    let (ours, theirs) = super::wire::pair()?;
    explain::step(
        "a user namespace that nobody lives in, only to hold a map of ids",
        "unshare --user sleep infinity &",
    );
    match calls::clone3(libc::CLONE_NEWUSER as u64, None)
        .doing(|| "make a user namespace")
        .map_err(super::confined::explain_clone)?
    {
        Cloned::Child => {
            explain::process("id map");
            // Lives until the maps are written and the namespace is held by a descriptor.
            drop(ours);
            let _ = super::wire::receive(&theirs);
            kernel::exit_now(0)
        }
        Cloned::Parent { pid, .. } => {
            drop(theirs);
            let opened = write(pid, map).and_then(|()| open_user(pid));
            drop(ours);
            let _ = nix::sys::wait::waitpid(pid, None);
            opened
        }
    }
}

/// The same mount, where it belongs to whom [`Options::owner`] names: the map was made for the owner of the directory that
/// the path led to then. Were the path changed meanwhile, the container's user could become root on another's directory.
pub fn of_owner(mount: OwnedFd, options: &Options, source: &Path) -> Result<OwnedFd> {
    let Some(owner) = options.owner else { return Ok(mount) };
    let stat = nix::sys::stat::fstat(&mount).doing(|| format!("look at {}", source.display()))?;
    if (stat.st_uid, stat.st_gid) == owner {
        return Ok(mount);
    }
    Err(Error::new(format!(
        "{} belongs to {}:{}, and belonged to {}:{} when its ids were to be mapped: it was changed meanwhile",
        source.display(),
        stat.st_uid,
        stat.st_gid,
        owner.0,
        owner.1
    )))
}

/// The user namespace of a process.
pub fn open_user(pid: Pid) -> Result<OwnedFd> {
    let path = format!("/proc/{pid}/ns/user");
    std::fs::File::open(&path).map(OwnedFd::from).doing(|| format!("open {path}"))
}
