//! One life of a container, from its bundle to its exit code.

use super::record::Container;
use super::relay::{Ends, Relay};
use super::state::{self, ProcessId, Status};
use super::supervisor::{self, Client, Reporter};
use super::{bundle, exec, foreign, health, init, namespaces};
use crate::engine::{mounts, time, volume};
use crate::error::{Doing, Error, Result};
use crate::explain::{self, calls, without};
use crate::kernel;
use crate::oci::{self, Io};
use crate::store::Store;
use crate::store::lock::Lock;
use nix::unistd::{Pid, pipe2};
use std::os::fd::OwnedFd;
use std::path::Path;

/// One life, from the bundle to the exit code, and whether another follows. `starting` is [`state::starting`]'s lock.
pub fn live(
    store: &Store,
    container: &Container,
    relay: &mut Option<Relay>,
    client: &mut Client,
    reporter: &mut Reporter,
    starting: Lock,
) -> Result<(i32, bool)> {
    mounts::prepare(store, &container.mounts)?;
    let mut held = volume::hold(store, container)?;
    held.given.extend(init::mount(&container.host_config)?);
    let (io, mut ends) = streams(container, client.size)?;
    // What is done while the container's first process builds its view.
    let mut meanwhile = |pid: Pid, cgroup: &str| {
        record(store, container, pid, cgroup)?;
        if relay.is_none() {
            *relay = Some(Relay::new(store, container, client.socket.take())?);
        }
        Ok(())
    };
    let mut made = make(store, container, io, &mut held, &mut meanwhile)?;
    let relay = relay.as_mut().ok_or_else(|| Error::new("nobody keeps the container's output"))?;
    let cgroup = match &mut made {
        Made::Ours(init) => {
            ends.console = init.console.take();
            init.cgroup.clone()
        }
        Made::Foreign(foreign) => {
            ends.console = foreign.console.take();
            foreign.cgroup.clone()
        }
    };
    // Somebody may have come to stop it since.
    let unwanted = state::current(store, container).is_ok_and(|state| state.stopped_by_hand);
    let started = if unwanted { kill_unstarted(&made) } else { made.start() };
    if let Err(error) = started {
        let _ = end(container, &made, &cgroup);
        let _ = state::change(store, &container.id, |state| state.started_at = time::NEVER.into());
        return Err(error);
    }
    drop(starting);
    reporter.say(&Ok(()));
    if relay.is_attached() {
        explain::stop_waiting();
    } else {
        // Whoever asked has his answer: what comes later is not this command's.
        explain::end();
    }
    let relayed = relay.run(store, container, made.pidfd(), ends);
    let oom = !cgroup.is_empty() && oci::cgroup::oom_kills(&cgroup).is_ok_and(|kills| kills > 0);
    let (code, cleared) = end(container, &made, &cgroup)?;
    drop(held);
    let concluded = supervisor::conclude(store, container, code, |state| {
        state.status = Status::Exited;
        state.init = ProcessId::default();
        if cleared {
            state.cgroup.clear();
        }
        state.exit_code = code;
        state.oom_killed = oom;
        state.finished_at = time::now();
        if let Err(error) = &relayed {
            state.error.clone_from(&error.message);
        }
    });
    concluded.map(|again| (code, again))
}

/// Recorded before it runs: whatever happens now, the next command knows which process to ask the kernel about.
fn record(store: &Store, container: &Container, pid: Pid, cgroup: &str) -> Result<()> {
    let recorded = state::change(store, &container.id, |state| {
        state.init = ProcessId::of(pid.as_raw());
        cgroup.clone_into(&mut state.cgroup);
        state.started_at = time::now();
        state.health = health::initial(container);
    });
    recorded.map(drop)
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

    fn start(&mut self) -> Result<()> {
        match self {
            Made::Ours(init) => init.start(),
            Made::Foreign(foreign) => foreign.start(),
        }
    }
}

/// The cgroup that [`live`] will make, to be written down before it does.
pub fn cgroup_to_be(container: &Container) -> String {
    let path = bundle::cgroups_path(&container.id);
    if is_ours(container) { oci::cgroup::name(&path) } else { path }
}

/// Writes the bundle, and has it made. Its first process is begun first where it can be: while the kernel makes its
/// namespaces, the bundle is written.
fn make(
    store: &Store,
    container: &Container,
    io: Io,
    held: &mut volume::Held,
    meanwhile: &mut dyn FnMut(Pid, &str) -> Result<()>,
) -> Result<Made> {
    let directory = super::dir(store, &container.id);
    let namespaces = namespaces::namespaces(store, container, held)?;
    let given = std::mem::take(&mut held.given);
    if is_ours(container) {
        let options = oci::CreateOptions { die_with_parent: true, given, ..oci::CreateOptions::default() };
        // What a lesson leaves out may be a namespace.
        if without::left_out().is_empty() && oci::can_begin(&namespaces) {
            let begun = oci::begin(&directory, &container.id, io, options, &namespaces)?;
            let spec = bundle::write(store, container, namespaces)?;
            return begun.create(&spec, meanwhile).map(Made::Ours);
        }
        bundle::write(store, container, namespaces)?;
        return oci::create(&directory, &container.id, io, options, meanwhile).map(Made::Ours);
    }
    bundle::write(store, container, namespaces)?;
    let runtime = Path::new(&container.host_config.runtime);
    let made = foreign::create(runtime, &directory, &container.id, io, &given)?;
    let recorded = meanwhile(made.pid, &made.cgroup);
    if recorded.is_err() {
        let _ = made.delete();
    }
    recorded.map(|()| Made::Foreign(made))
}

fn is_ours(container: &Container) -> bool {
    matches!(container.host_config.runtime.as_str(), "" | "ebb")
}

/// Somebody stopped or removed the container while it was being made, when there was no process yet to signal. They wait
/// for its end: it has lived, and was killed.
fn kill_unstarted(made: &Made) -> Result<()> {
    explain::step("it was stopped before it began, and is killed", "kill -KILL …");
    calls::pidfd_send_signal(made.pidfd(), libc::SIGKILL).doing(|| "kill what was not to start")
}

/// Reaps it, ends what may be left of it, and removes its cgroup: the exit code, and whether the cgroup is gone.
fn end(container: &Container, made: &Made, cgroup: &str) -> Result<(i32, bool)> {
    let code = exec::exit_code(made.pidfd())?;
    let mut cleared = true;
    if !cgroup.is_empty() {
        // The kernel has ended the others of a pid namespace of its own; in another's (`--pid host`) its children may live.
        let own = container.host_config.pid_mode.is_empty();
        for pid in if own { Vec::new() } else { oci::cgroup::processes(cgroup).unwrap_or_default() } {
            if let Ok(left) = kernel::pidfd_open(nix::unistd::Pid::from_raw(pid)) {
                explain::step("what is left of it is killed", "kill -KILL …");
                let _ = calls::pidfd_send_signal(&left, libc::SIGKILL);
            }
        }
        cleared = oci::cgroup::remove(cgroup).is_ok();
    }
    if let Made::Foreign(foreign) = made {
        let _ = foreign.delete();
    }
    Ok((code, cleared))
}

/// The container's descriptors, and our ends of them.
fn streams(container: &Container, (rows, columns): (u16, u16)) -> Result<(Io, Ends)> {
    if container.config.tty {
        return Ok((Io::Terminal { rows, columns }, Ends::default()));
    }
    let pipe = || pipe2(nix::fcntl::OFlag::O_CLOEXEC).doing(|| "make a pipe");
    let (stdin, ours) = match container.config.open_stdin {
        true => pipe().map(|(read, write)| (read, Some(write)))?,
        false => (exec::null()?, None),
    };
    let ((from_stdout, stdout), (from_stderr, stderr)) = (pipe()?, pipe()?);
    let ends = Ends { stdin: ours, stdout: Some(from_stdout), stderr: Some(from_stderr), console: None };
    Ok((Io::Descriptors { stdin, stdout, stderr }, ends))
}
