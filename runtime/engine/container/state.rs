//! containers/ID/state.json: what happened last, and how the kernel is asked whether that is still so.

use super::record::{Container, VERSION};
use crate::engine::{events, time};
use crate::error::{Error, Kind, Result};
use crate::oci;
pub use crate::oci::state::boot_id;
use crate::store::atomic::Durability;
use crate::store::lock::{self, Lock};
use crate::store::{Store, atomic};
use serde::{Deserialize, Serialize};
use std::os::fd::OwnedFd;

/// A process that no other can be mistaken for: a pid may be used again, the pair with its start time is not, and a
/// reboot changes the boot id.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ProcessId {
    pub pid: i32,
    pub start_time: u64,
    pub boot_id: String,
}

impl ProcessId {
    /// Names a living process.
    pub fn of(pid: i32) -> ProcessId {
        let start_time = oci::process_stat(pid).map_or(0, |(_, start)| start);
        ProcessId { pid, start_time, boot_id: boot_id() }
    }

    /// Asks the kernel. A zombie has ended.
    pub fn is_alive(&self) -> bool {
        self.pid > 0
            && oci::process_stat(self.pid)
                .is_some_and(|(state, start)| start == self.start_time && !matches!(state, 'Z' | 'X'))
            && self.boot_id == boot_id()
    }

    /// Not the same as not [`ProcessId::is_alive`]: who cannot be asked after is not known to have ended.
    pub fn has_surely_ended(&self) -> bool {
        self.pid <= 0 || self.boot_id != boot_id() || oci::has_surely_ended(self.pid, self.start_time)
    }

    /// A handle on this very process, or `None` where it has ended: to signal it, and to wait for its end by poll(2).
    pub fn open(&self) -> Result<Option<OwnedFd>> {
        let pidfd = oci::pidfds::open(self.pid)?;
        // Asked after the handle is ours: from here on the pid cannot be given to another.
        Ok(pidfd.filter(|_| self.is_alive()))
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    #[default]
    Created,
    Running,
    Paused,
    Restarting,
    Exited,
    Dead,
}

impl Status {
    pub fn word(self) -> &'static str {
        match self {
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Restarting => "restarting",
            Status::Exited => "exited",
            Status::Dead => "dead",
        }
    }
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct State {
    pub version: u32,
    /// Never `Paused` on disk: the freezer knows.
    pub status: Status,
    pub init: ProcessId,
    pub supervisor: ProcessId,
    pub cgroup: String,
    pub exit_code: i32,
    pub error: String,
    #[serde(rename = "OOMKilled")]
    pub oom_killed: bool,
    pub started_at: String,
    pub finished_at: String,
    pub restart_count: u32,
    /// `stop` or `kill` ended it, not itself: a restart policy then rests.
    pub stopped_by_hand: bool,
    /// `restart` is stopping it to start it again: `--rm` does not remove it at this end. A start clears it.
    pub held: bool,
    pub health: Option<Health>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Health {
    /// `starting`, `healthy`, `unhealthy`.
    pub status: String,
    pub failing_streak: u32,
    /// The last five probes.
    pub log: Vec<HealthProbe>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct HealthProbe {
    pub start: String,
    pub end: String,
    pub exit_code: i32,
    pub output: String,
}

impl atomic::Versioned for State {
    const VERSION: u32 = VERSION;

    fn version(&self) -> u32 {
        self.version
    }
}

impl State {
    pub fn new() -> State {
        State { version: VERSION, started_at: time::NEVER.into(), finished_at: time::NEVER.into(), ..State::default() }
    }

    pub fn is_running(&self) -> bool {
        matches!(self.status, Status::Running | Status::Paused)
    }
}

/// The state as it is now: the file's word, held against the kernel. A container whose processes are gone without a
/// word (its supervisor killed, the machine restarted) has exited, with code 137 as for SIGKILL.
pub fn current(store: &Store, container: &Container) -> Result<State> {
    let mut state = written(store, &container.id)?;
    match state.status {
        Status::Running if state.supervisor.has_surely_ended() => {
            let ended = super::unwatched::end(container, &state);
            if ended {
                gone(&mut state);
            }
        }
        Status::Running if !state.cgroup.is_empty() && oci::cgroup::is_frozen(&state.cgroup) => {
            state.status = Status::Paused
        }
        Status::Restarting if state.supervisor.has_surely_ended() => gone(&mut state),
        _ => {}
    }
    Ok(state)
}

/// What was written last. A container that never began has no file of state yet, and no log. Where a power cut has emptied
/// the file, or somebody has removed or damaged it, the kernel says what there is.
pub fn written(store: &Store, id: &str) -> Result<State> {
    match read(store, id) {
        Read::Whole(state) => Ok(*state),
        Read::Lost(_) => Ok(from_kernel(store, id)),
        Read::Unread(error) => Err(error),
    }
}

/// What there is of a `state.json`.
pub enum Read {
    Whole(Box<State>),
    /// It tells nothing any more: in these words.
    Lost(&'static str),
    /// It cannot be asked (an I/O error), a later Ebb wrote it, or the container is gone.
    Unread(Error),
}

pub fn read(store: &Store, id: &str) -> Read {
    let dir = super::dir(store, id);
    let file = dir.join("state.json");
    match atomic::read_record(&file) {
        Ok(state) => Read::Whole(Box::new(state)),
        Err(error) if error.kind == Kind::Newer => Read::Unread(error),
        // Its log, or the door of its supervisor, is there since its first start.
        Err(error)
            if error.is_not_found() && ["attach.sock", "log.jsonl"].iter().any(|name| dir.join(name).exists()) =>
        {
            Read::Lost("its state.json is gone")
        }
        Err(error) if error.is_not_found() && dir.is_dir() => Read::Whole(Box::new(State::new())),
        Err(error) => match std::fs::read(&file) {
            Ok(bytes) if bytes.is_empty() => Read::Lost("its state.json is empty, as a power cut may leave it"),
            Ok(_) => Read::Lost("its state.json cannot be read"),
            Err(_) => Read::Unread(error),
        },
    }
}

/// The state of a container whose file tells nothing: it runs, or it has ended at the latest when the file was changed.
fn from_kernel(store: &Store, id: &str) -> State {
    let dir = super::dir(store, id);
    if let Some(living) = super::living::of(store, id) {
        return super::living::state(living, super::load(store, id).ok().as_ref());
    }
    let changed = |name: &str| {
        let time = std::fs::metadata(dir.join(name)).ok()?.modified().ok()?;
        jiff::Timestamp::try_from(time).ok().map(time::format)
    };
    let last = changed("state.json").or_else(|| changed(""));
    let mut state = State::new();
    state.started_at = changed("config.json").or_else(|| last.clone()).unwrap_or(state.started_at);
    state.finished_at = last.unwrap_or(state.finished_at);
    gone(&mut state);
    state
}

/// Tells of an end that [`current`] has `found`, and of which nobody has told: its supervisor was killed before it could. To be
/// called by who will write that down, or take the record away.
pub fn tell_unwatched_end(store: &Store, container: &Container, found: &State) {
    let is_on_record = || written(store, &container.id).is_ok_and(|state| state.status != Status::Running);
    if found.status == Status::Exited && found.exit_code == UNWATCHED && !is_on_record() {
        let mut told = vec![events::of_container(container, "die", &[("exitCode", UNWATCHED.to_string())])];
        told.extend(events::of_volumes_in(container, "unmount"));
        events::tell(store, &told);
    }
}

/// The exit code of what was killed, as it is when its supervisor is.
const UNWATCHED: i32 = 128 + libc::SIGKILL;

fn gone(state: &mut State) {
    state.status = Status::Exited;
    state.exit_code = UNWATCHED;
    if state.error.is_empty() {
        state.error = "its supervisor died with it, or the machine was restarted".into();
    }
    if state.finished_at == time::NEVER {
        state.finished_at = state.started_at.clone();
    }
}

/// To be held from before the state says that the container runs until its program has been let go. Until then its first
/// process may still be in the host's root, and so would be whoever came into its namespaces. (The lock is on a directory
/// that every container has, and that nobody else locks. The first process inherits it: where the supervisor is killed,
/// it is held for as long as that process is there.)
pub fn starting(store: &Store, container: &Container) -> Result<Lock> {
    lock::exclusive(&super::dir(store, &container.id).join("rootfs")).map_err(super::or_removed(container))
}

/// Blocks while the container is being started. Never to be called under the container's lock: its supervisor needs that.
pub fn await_start(store: &Store, container: &Container) -> Result<()> {
    match lock::shared(&super::dir(store, &container.id).join("rootfs")) {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}

/// [`await_start`] for those that may not wait.
pub fn refuse_starting(store: &Store, container: &Container) -> Result<()> {
    match lock::try_shared(&super::dir(store, &container.id).join("rootfs")) {
        Err(error) if !error.is_not_found() => {
            Err(Error::conflict(format!("container {} is just being started", container.name)))
        }
        _ => Ok(()),
    }
}

/// Changes what the file says, under the container's lock, and returns what it says now.
pub fn change(store: &Store, id: &str, change: impl FnOnce(&mut State)) -> Result<State> {
    let dir = super::dir(store, id);
    let _lock = lock::exclusive(&dir)?;
    let mut state = written(store, id)?;
    change(&mut state);
    save(store, id, &state)?;
    Ok(state)
}

/// Writes down what [`current`] found, where nobody lives who would: the end of a container whose supervisor was killed.
pub fn settle(store: &Store, container: &Container) -> Result<State> {
    let dir = super::dir(store, &container.id);
    let _lock = lock::exclusive(&dir)?;
    let before = written(store, &container.id)?;
    let state = current(store, container)?;
    if state.status == Status::Exited && before.status != Status::Exited {
        // On a full disk it stays unwritten, and is found again whenever somebody asks.
        tell_unwatched_end(store, container, &state);
        let _ = save(store, &container.id, &state);
    }
    Ok(state)
}

/// Writes the state; the caller holds the container's lock. It is not forced to the disk: after a power cut nothing runs,
/// whatever was written, and a file that was lost on the way is read as just that.
pub fn save(store: &Store, id: &str, state: &State) -> Result<()> {
    atomic::put_json(&super::dir(store, id).join("state.json"), state, Durability::Unsynced)
}
