//! One life of a container, from its bundle to its exit code.

use super::record::Container;
use super::relay::{Ends, Relay};
use super::remove::Gone;
use super::state::{self, ProcessId, State};
use super::supervisor::{self, Client, Reporter};
use super::{bundle, exec, foreign, health, init, names, namespaces, remove};
use crate::engine::{events, mounts, time, volume};
use crate::error::{Doing, Error, Result};
use crate::explain::{self, calls};
use crate::oci::{self, Io};
use crate::store::Store;
use crate::store::lock::Lock;
use nix::unistd::{Pid, pipe2};
use std::cell::Cell;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

/// How a life ended.
pub struct End {
    pub code: i32,
    /// Whether another follows.
    pub again: bool,
    /// With `--rm` the container went with it; its bytes are left to be removed.
    pub gone: Option<Gone>,
}

/// One life, from the bundle to the exit code. `starting` is [`state::starting`]'s lock.
pub fn live(
    store: &Store,
    container: &Container,
    relay: &mut Option<Relay>,
    client: &mut Client,
    reporter: &mut Reporter,
    starting: Lock,
) -> Result<End> {
    let may_mount = namespaces::may_mount(&container.host_config)?;
    let container = &mounts::prepare(store, container, may_mount)?;
    let mut held = volume::hold(store, container)?;
    if may_mount {
        held.given = mounts::lock(store, container, held.given)?;
    }
    held.given.extend(init::mount(&container.host_config)?);
    let namespaces = namespaces::namespaces(store, container, &held)?;
    namespaces::refuse_without_wall(store, container, &namespaces)?;
    let ids = namespaces::claim_ids(container, &namespaces)?;
    let spec = bundle::describe(store, container, namespaces, ids.as_ref())?;
    let (io, mut ends) = streams(container, client.size)?;
    let first = reporter.is_awaited();
    let (claimed, recorded) = (Cell::new(false), Cell::new(false));
    let mut claim = |pid: Option<Pid>| {
        match first {
            true => supervisor::claim(store, container, pid),
            false => record(store, container, pid, &cgroup_to_be(container)),
        }?;
        claimed.set(true);
        recorded.set(pid.is_some());
        Ok(())
    };
    // What is done while the container's first process builds its view.
    let mut meanwhile = |pid: Pid, cgroup: &str| {
        if !recorded.get() {
            record(store, container, Some(pid), cgroup)?;
        }
        if relay.is_none() {
            *relay = Some(Relay::new(store, container, client.socket.take())?);
        }
        Ok(())
    };
    let mut made = match make(store, container, spec, io, &mut held, &mut claim, &mut meanwhile) {
        // Before it is claimed, the record is of the life before.
        Err(error) if !claimed.get() || !is_stopped(store, container) => return Err(error),
        Err(_) => return killed_unmade(store, container, relay, client, reporter),
        Ok(made) => made,
    };
    let relay = relay.as_mut().ok_or_else(|| Error::new("nobody keeps the container's output"))?;
    ends.console = match &mut made {
        Made::Ours(init) => init.console.take(),
        Made::Foreign(foreign) => foreign.console.take(),
    };
    let cgroup = made.cgroup().to_owned();
    // Somebody may have come to stop it since, when its first process was not yet one that hears signals.
    let started = if is_stopped(store, container) { kill_unstarted(&made) } else { made.start() };
    if let Err(error) = started {
        let _ = end(container, &made);
        let _ = oci::cgroup::remove(&cgroup);
        return Err(error);
    }
    drop(starting);
    let born = Instant::now();
    tell_start(store, container);
    answer(reporter, relay);
    let relayed = relay.run(store, container, made.pidfd(), ends);
    let code = end(container, &made)?;
    drop(held);
    drop(ids);
    ended(store, container, code, &cgroup, relayed, born.elapsed())
}

/// Records the end of a life, or takes away what goes with it.
fn ended(
    store: &Store,
    container: &Container,
    code: i32,
    cgroup: &str,
    relayed: Result<()>,
    lived: Duration,
) -> Result<End> {
    // What goes with its end is asked only where SIGKILL was it.
    let may_be_oom = !cgroup.is_empty() && (code == KILLED || !container.host_config.auto_remove);
    let oom = may_be_oom && oci::cgroup::oom_kills(cgroup).is_ok_and(|kills| kills > 0);
    tell_end(store, container, code, oom, lived);
    if container.host_config.auto_remove {
        // Nobody will read how it ended: those at its door are told. On a broken disk it stays as one that has exited, with its
        // name, and `rm` can be tried again.
        if let Ok(Some(gone)) = remove::take_own(store, container) {
            return Ok(End { code, again: false, gone: Some(gone) });
        }
    }
    let cleared = oci::cgroup::remove(cgroup).is_ok();
    let concluded = supervisor::conclude(store, container, code, |state| {
        if cleared {
            state.cgroup.clear();
        }
        state.oom_killed = oom;
        if let Err(error) = &relayed {
            state.error.clone_from(&error.message);
        }
    });
    concluded.map(|again| End { code, again, gone: None })
}

/// Said before the command that starts it has its answer.
fn tell_start(store: &Store, container: &Container) {
    let mut told = events::of_volumes_in(container, "mount");
    told.push(events::of_container(container, "start", &[]));
    events::tell(store, &told);
}

/// Said before the end is on record: who waits for that finds this told.
fn tell_end(store: &Store, container: &Container, code: i32, oom: bool, lived: Duration) {
    // It may have been renamed since.
    let renamed =
        (!names::is_held(store, &container.name, &container.id)).then(|| super::load(store, &container.id).ok());
    let container = renamed.as_ref().and_then(Option::as_ref).unwrap_or(container);
    let oom = oom.then(|| events::of_container(container, "oom", &[]));
    let how = [("exitCode", code.to_string()), ("execDuration", lived.as_secs().to_string())];
    let mut told: Vec<_> = oom.into_iter().chain([events::of_container(container, "die", &how)]).collect();
    told.extend(events::of_volumes_in(container, "unmount"));
    events::tell(store, &told);
}

/// The command that waits for the start has its answer; one that is not attached has no part in what comes later.
fn answer(reporter: &mut Reporter, relay: &Relay) {
    reporter.say(&Ok(()));
    if relay.is_attached() {
        explain::stop_waiting();
    } else {
        explain::end();
    }
}

/// Whether somebody has come to stop it, be it before its first process is one that hears signals.
fn is_stopped(store: &Store, container: &Container) -> bool {
    state::written(store, &container.id).is_ok_and(|state| state.stopped_by_hand)
}

/// Recorded before it runs: whatever happens now, the next command knows which process to ask the kernel about.
fn record(store: &Store, container: &Container, pid: Option<Pid>, cgroup: &str) -> Result<()> {
    state::change(store, &container.id, |state| born(state, container, pid, cgroup)).map(drop)
}

/// It runs, as the process `pid`, or will soon, in the cgroup that is to be cleared if this supervisor is killed half-way.
pub fn born(state: &mut State, container: &Container, pid: Option<Pid>, cgroup: &str) {
    cgroup.clone_into(&mut state.cgroup);
    if let Some(pid) = pid {
        state.init = ProcessId::of(pid.as_raw());
        state.started_at = time::now();
        state.health = health::initial(container);
    }
}

/// A container that this supervisor has created, by Ebb's own `oci` or by another runtime.
enum Made {
    Ours(oci::Init),
    Foreign(foreign::Foreign),
}

impl Made {
    fn pidfd(&self) -> &OwnedFd {
        match self {
            Made::Ours(init) => &init.pidfd,
            Made::Foreign(foreign) => &foreign.pidfd,
        }
    }

    fn cgroup(&self) -> &str {
        match self {
            Made::Ours(init) => &init.cgroup,
            Made::Foreign(foreign) => &foreign.cgroup,
        }
    }

    fn start(&mut self) -> Result<()> {
        match self {
            Made::Ours(init) => init.start(),
            Made::Foreign(foreign) => foreign.start(),
        }
    }
}

/// The cgroup that [`live`] will make, to be written down before it does.
pub fn cgroup_to_be(container: &Container) -> String {
    let path = bundle::cgroup_of(container);
    if is_ours(container) { oci::cgroup::name(&path) } else { path }
}

/// Has the container made that `spec` describes. Its first process is begun first where it can be: while the kernel makes its
/// namespaces, the container is claimed and its bundle is written.
fn make(
    store: &Store,
    container: &Container,
    spec: oci_spec::runtime::Spec,
    io: Io,
    held: &mut volume::Held,
    claim: &mut dyn FnMut(Option<Pid>) -> Result<()>,
    meanwhile: &mut dyn FnMut(Pid, &str) -> Result<()>,
) -> Result<Made> {
    let directory = super::dir(store, &container.id);
    let given = std::mem::take(&mut held.given);
    if !is_ours(container) {
        claim(None)?;
        bundle::write(store, container, &spec)?;
        return make_foreign(container, &directory, io, &given, meanwhile).map(Made::Foreign);
    }
    let options = oci::CreateOptions { die_with_parent: true, given, at_once: true, ..oci::CreateOptions::default() };
    // A cgroup that is made before the process must be on record before that.
    let grouped_first = oci::cgroup::is_born_into();
    if grouped_first {
        claim(None)?;
    }
    let begun = oci::begin(spec, &directory, &container.id, io, options)?;
    if !grouped_first {
        claim(Some(begun.pid()?))?;
    }
    bundle::write(store, container, begun.spec())?;
    begun.create(meanwhile).map(Made::Ours)
}

fn make_foreign(
    container: &Container,
    directory: &Path,
    io: Io,
    given: &[oci::Given],
    meanwhile: &mut dyn FnMut(Pid, &str) -> Result<()>,
) -> Result<foreign::Foreign> {
    let runtime = Path::new(&container.host_config.runtime);
    let made = foreign::create(runtime, directory, &container.id, io, given)?;
    let recorded = meanwhile(made.pid, &made.cgroup);
    if recorded.is_err() {
        let _ = made.delete();
    }
    recorded.map(|()| made)
}

fn is_ours(container: &Container) -> bool {
    matches!(container.host_config.runtime.as_str(), "" | "ebb")
}

/// Somebody stopped or removed the container while it was being made, and its first process did not hear of it. They wait for
/// its end: it has lived, however short, and was killed.
fn kill_unstarted(made: &Made) -> Result<()> {
    explain::step("it was stopped before it began, and is killed", "kill -KILL …");
    calls::pidfd_send_signal(made.pidfd(), libc::SIGKILL).doing(|| "kill what was not to start")
}

/// The same, where they have killed its first process themselves: there is nothing left to make.
fn killed_unmade(
    store: &Store,
    container: &Container,
    relay: &mut Option<Relay>,
    client: &mut Client,
    reporter: &mut Reporter,
) -> Result<End> {
    let relay = match relay {
        Some(relay) => relay,
        None => relay.insert(Relay::new(store, container, client.socket.take())?),
    };
    answer(reporter, relay);
    ended(store, container, KILLED, "", Ok(()), Duration::ZERO)
}

/// The exit code of what SIGKILL ends.
const KILLED: i32 = 128 + libc::SIGKILL;

/// Reaps it, and ends what may be left of it: the exit code.
fn end(container: &Container, made: &Made) -> Result<i32> {
    let code = exec::exit_code(made.pidfd())?;
    // The kernel has ended the others of a pid namespace of its own; in another's (`--pid host`) its children may live.
    if !container.host_config.pid_mode.is_empty() {
        // Where it has no cgroup there is no telling what is left.
        let _ = oci::cgroup::signal(made.cgroup(), libc::SIGKILL);
    }
    if let Made::Foreign(foreign) = made {
        let _ = foreign.delete();
    }
    Ok(code)
}

/// The container's descriptors, and our ends of them.
fn streams(container: &Container, (rows, columns): (u16, u16)) -> Result<(Io, Ends)> {
    if container.config.tty {
        return Ok((Io::Terminal { rows, columns }, Ends::default()));
    }
    let pipe = || pipe2(nix::fcntl::OFlag::O_CLOEXEC).doing(|| "make a pipe");
    let (stdin, ours) = match container.config.open_stdin {
        true => pipe().map(|(read, write)| (read, Some(write)))?,
        false => (exec::null_for(container)?, None),
    };
    let ((from_stdout, stdout), (from_stderr, stderr)) = (pipe()?, pipe()?);
    let ends = Ends { stdin: ours, stdout: Some(from_stdout), stderr: Some(from_stderr), console: None };
    Ok((Io::Descriptors { stdin, stdout, stderr }, ends))
}
