//! What lives of this store's containers, whatever their records say: the kernel is asked. A supervisor stands in its
//! container's directory, and the container's processes have files of that directory mounted. A look at every process of the
//! machine: only for where a record is missing, and for what would take something from under a container that nobody lists.

use super::processes::{self, ticks_per_second};
use super::record::Container;
use super::state::{ProcessId, State, Status};
use super::stop::ended_within;
use super::{bundle, health};
use crate::engine::mounts::peers;
use crate::engine::time;
use crate::error::{Error, Result};
use crate::explain::{self, calls};
use crate::oci;
use crate::store::{Store, id};
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, HashMap};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A container of which something runs.
#[derive(Debug, Clone, Default)]
pub struct Living {
    pub id: String,
    /// Nobody, where its supervisor has ended without it.
    pub supervisor: ProcessId,
    /// Nobody, where none was found: between two starts, or before the first.
    pub init: ProcessId,
}

impl Living {
    /// The process that is named to a person: with it, the container ends.
    pub fn pid(&self) -> i32 {
        if self.supervisor.pid > 0 { self.supervisor.pid } else { self.init.pid }
    }

    fn words(&self) -> String {
        let what = if self.supervisor.pid > 0 { "the supervisor" } else { "a process" };
        format!("process {}, {what} of container {}", self.pid(), id::short(&self.id))
    }
}

/// The container `id`, if anything of it lives.
pub fn of(store: &Store, id: &str) -> Option<Living> {
    all(store).remove(id)
}

/// Whatever lives of this store.
pub fn every(store: &Store) -> Vec<Living> {
    all(store).into_values().collect()
}

/// Those that no command lists: their directory is gone.
pub fn without_directory(store: &Store) -> Vec<Living> {
    let mut found: Vec<Living> = all(store).into_values().collect();
    // Looked at afterwards: one that has just been made is there by now.
    found.retain(|living| !super::dir(store, &living.id).exists());
    found
}

/// The one of [`without_directory`] that is meant by `name`: its name, or the beginning of its id.
pub fn named(store: &Store, name: &str) -> Option<Living> {
    let link = std::fs::read_link(store.names().join(name)).ok();
    let is_meant = |living: &Living| match &link {
        Some(id) => id.as_os_str() == living.id.as_str(),
        None => living.id.starts_with(name),
    };
    let may_be_id = || name.len() >= 4 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    let may_be_lost = match &link {
        Some(id) => !super::dir(store, &id.to_string_lossy()).exists(),
        None => may_be_id(),
    };
    if !may_be_lost {
        return None;
    }
    without_directory(store).into_iter().find(is_meant)
}

/// Before anything is taken away for good that a container may use: of one without a record nobody knows what that is.
pub fn refuse(store: &Store, doing: impl FnOnce() -> String) -> Result<()> {
    match without_directory(store).first() {
        None => Ok(()),
        Some(living) => Err(Error::conflict(format!(
            "{}: {}, still runs, and its record is lost: what it uses cannot be told",
            doing(),
            living.words()
        ))
        .with_cure("`ebb system check --repair` ends it")),
    }
}

/// Kills it. Whether it has ended: the kernel may have to wait for a disk.
pub fn end(living: &Living) -> bool {
    let cgroup = oci::cgroup::name(&bundle::cgroups_path(&living.id));
    let has_cgroup = !cgroup.is_empty() && oci::cgroup::exists(&cgroup);
    // The supervisor first, or it would start the container again.
    let ended = [&living.supervisor, &living.init].into_iter().all(|process| {
        let handle = match process.open() {
            Ok(Some(handle)) => handle,
            Ok(None) => return true,
            // Where it cannot be held, it cannot be told from another that has its number.
            Err(_) => return false,
        };
        explain::step("it has no record any more, and is killed", format_args!("kill -KILL {}", process.pid));
        let _ = calls::pidfd_send_signal(&handle, libc::SIGKILL);
        if has_cgroup && oci::cgroup::is_frozen(&cgroup) {
            let _ = oci::cgroup::thaw(&cgroup);
        }
        ended_within(&handle, Some(PATIENCE)).unwrap_or(false)
    });
    if has_cgroup {
        let _ = oci::cgroup::signal(&cgroup, libc::SIGKILL);
        let _ = oci::cgroup::remove(&cgroup);
    }
    ended
}

/// How long is waited for the end of what was sent SIGKILL.
const PATIENCE: Duration = Duration::from_secs(10);

/// The state of a container that runs and whose `state.json` is lost. What only that file knew (how often it was started
/// again, that somebody has stopped it) is lost with it.
pub fn state(living: Living, container: Option<&Container>) -> State {
    let mut state = State::new();
    let restarts = container.is_some_and(|container| container.host_config.restart_policy.name != "no");
    let between = living.init.pid == 0 && restarts;
    state.status = if between { Status::Restarting } else { Status::Running };
    let first = if living.init.pid > 0 { &living.init } else { &living.supervisor };
    state.started_at = began(first);
    let cgroup = oci::cgroup::name(&bundle::cgroups_path(&living.id));
    if !cgroup.is_empty() && oci::cgroup::exists(&cgroup) {
        state.cgroup = cgroup;
    }
    state.health = container.and_then(health::initial);
    (state.init, state.supervisor) = (living.init, living.supervisor);
    state
}

/// When a process began.
fn began(process: &ProcessId) -> String {
    let uptime = crate::procfs::read("/proc/uptime").unwrap_or_default();
    let uptime: f64 = uptime.split_whitespace().next().and_then(|seconds| seconds.parse().ok()).unwrap_or(0.0);
    let age = (uptime - process.start_time as f64 / ticks_per_second() as f64).max(0.0);
    let age = SignedDuration::from_millis((age * 1000.0) as i64);
    Timestamp::now().checked_sub(age).map_or_else(|_| time::now(), time::format)
}

/// By their ids.
fn all(store: &Store) -> BTreeMap<String, Living> {
    let Some(place) = Place::of(store.containers()) else { return BTreeMap::new() };
    let mut found: BTreeMap<String, Living> = BTreeMap::new();
    let mut seen: HashMap<PathBuf, Option<String>> = HashMap::new();
    let here = std::fs::read_link("/proc/self/ns/mnt").unwrap_or_default();
    let me = nix::unistd::getpid().as_raw();
    for pid in processes::all_pids().unwrap_or_default().into_iter().filter(|pid| *pid != me) {
        if let Some(id) = supervised(pid, &place, &here) {
            let living = found.entry(id).or_default();
            earliest(&mut living.supervisor, pid);
            continue;
        }
        let Some(namespace) = std::fs::read_link(format!("/proc/{pid}/ns/mnt")).ok().filter(|one| *one != here) else {
            continue;
        };
        let id = seen.entry(namespace).or_insert_with(|| contained(pid, &place));
        if let Some(id) = id {
            let living = found.entry(id.clone()).or_default();
            earliest(&mut living.init, pid);
        }
    }
    for (id, living) in &mut found {
        living.id.clone_from(id);
        if living.supervisor.pid == 0 {
            living.supervisor = parent(living.init.pid, me);
        }
    }
    found.retain(|_, living| living.supervisor.is_alive() || living.init.is_alive());
    found
}

/// Of several the one that was there first: what somebody executes in a container comes later, and so does another start of it.
fn earliest(known: &mut ProcessId, pid: i32) {
    let found = ProcessId::of(pid);
    if found.is_alive() && (known.pid == 0 || found.start_time < known.start_time) {
        *known = found;
    }
}

/// The supervisor of an Ebb that did not stand in the container's directory yet.
fn parent(init: i32, me: i32) -> ProcessId {
    let parent = processes::process(init).map_or(0, |process| process.parent);
    match parent > 0 && parent != me && is_supervisor(parent) {
        true => ProcessId::of(parent),
        false => ProcessId::default(),
    }
}

fn is_supervisor(pid: i32) -> bool {
    std::fs::read(format!("/proc/{pid}/comm")).is_ok_and(|name| name.starts_with(b"ebb:"))
}

/// The directory of all containers, as the kernel shows it.
struct Place {
    path: PathBuf,
    /// Its device and inode: a store may have several paths.
    file: (u64, u64),
    /// Where it lies in its file system, as mountinfo(5) writes that.
    within: Option<(String, PathBuf)>,
}

impl Place {
    fn of(path: PathBuf) -> Option<Place> {
        let path = std::fs::canonicalize(path).ok()?;
        let found = std::fs::metadata(&path).ok()?;
        Some(Place { file: (found.dev(), found.ino()), within: peers::in_file_system(&path).ok().flatten(), path })
    }
}

/// The container whose supervisor this is. Of a directory that was removed the kernel still knows the name, and what it lay in.
fn supervised(pid: i32, place: &Place, here: &Path) -> Option<String> {
    let directory = std::fs::read_link(format!("/proc/{pid}/cwd")).ok()?;
    let id = of_directory(directory.file_name()?.to_str()?.trim_end_matches(" (deleted)"))?;
    if !is_supervisor(pid) {
        return None;
    }
    let above = std::fs::metadata(format!("/proc/{pid}/cwd/.."));
    let is_inside = above.is_ok_and(|above| (above.dev(), above.ino()) == place.file);
    // `containers/` itself may have been removed, and made again. A path of another mount namespace proves nothing.
    let is_there = || {
        directory.parent() == Some(&place.path)
            && std::fs::read_link(format!("/proc/{pid}/ns/mnt")).is_ok_and(|theirs| theirs == here)
    };
    (is_inside || is_there()).then_some(id)
}

/// The container in whose mount namespace this process is: `hosts` and its like are mounted from its directory.
fn contained(pid: i32, place: &Place) -> Option<String> {
    let (device, above) = place.within.as_ref()?;
    let text = crate::procfs::read(format!("/proc/{pid}/mountinfo")).ok()?;
    text.lines().find_map(|line| {
        let mut words = line.split(' ').skip(2);
        let (of, root) = (words.next()?, words.next()?);
        let below = Path::new(root).strip_prefix(above).ok().filter(|_| of == device)?;
        let mut parts = below.components();
        let id = of_directory(parts.next()?.as_os_str().to_str()?)?;
        parts.next().map(|_| id)
    })
}

/// Such a directory bears a container's id.
fn of_directory(name: &str) -> Option<String> {
    (name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| name.to_owned())
}
