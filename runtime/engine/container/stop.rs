//! Ending a container: the signal that asks, the time to obey, and SIGKILL.

use super::record::Container;
use super::state::{self, State, Status};
use super::{supervisor, unwatched, wait};
use crate::engine::{events, signal};
use crate::error::{Doing, Error, Result};
use crate::explain::{self, calls};
use crate::oci;
use crate::store::Store;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// What Docker waits when neither the user nor the image says otherwise.
const DEFAULT_TIMEOUT: i64 = 10;

/// Asks the container to stop with its stop signal (or `asked`), and kills it when it has not after `timeout` seconds
/// (negative: never). Returns when its end is recorded. One that does not run is left as it is.
pub fn stop(store: &Store, container: &Container, asked: Option<i32>, timeout: Option<i64>) -> Result<()> {
    if end(store, container, asked, timeout, false)? {
        tell(store, container, "stop", &[]);
    }
    Ok(())
}

/// [`stop`], and then started again; one that did not run is started.
pub fn restart(store: &Store, container: &Container, asked: Option<i32>, timeout: Option<i64>) -> Result<()> {
    if end(store, container, asked, timeout, true)? {
        tell(store, container, "stop", &[]);
    }
    supervisor::start(store, container, supervisor::Client::default())?;
    tell(store, container, "restart", &[]);
    Ok(())
}

fn tell(store: &Store, container: &Container, action: &str, extra: events::Extra) {
    events::tell(store, &[events::of_container(container, action, extra)]);
}

/// Whether there was something to end.
fn end(store: &Store, container: &Container, asked: Option<i32>, timeout: Option<i64>, hold: bool) -> Result<bool> {
    let signal = asked.unwrap_or_else(|| stop_signal(container));
    let Some(state) = mark(store, container, hold)? else { return Ok(false) };
    let seconds = timeout.or(container.config.stop_timeout).unwrap_or(DEFAULT_TIMEOUT);
    let patience = u64::try_from(seconds).ok().map(Duration::from_secs);
    if let Some(init) = state.init.open()? {
        deliver(store, container, &init, signal, &state)?;
        if !ended_within(&init, patience)? {
            deliver(store, container, &init, libc::SIGKILL, &state)?;
            ended_within(&init, None)?;
        }
    }
    await_record(store, container, &state).map(|()| true)
}

/// Sends `number` to the container's first process. SIGKILL, and the container's own stop signal, count as the user's
/// wish that it stay down; after SIGKILL it returns when the end is recorded.
pub fn kill(store: &Store, container: &Container, number: i32) -> Result<()> {
    let down = number == libc::SIGKILL || number == stop_signal(container);
    let state = match down {
        true => mark(store, container, false)?,
        false => Some(state::current(store, container)?).filter(|state| state.is_running()),
    };
    let not_running = || Error::conflict(format!("container {} is not running", container.id));
    let state = state.ok_or_else(not_running)?;
    match state.init.open()? {
        Some(init) => deliver(store, container, &init, number, &state)?,
        // Between two lives of a restart policy there is nobody to signal; a SIGKILL still ends that.
        None if number == libc::SIGKILL => {}
        None => return Err(not_running()),
    }
    if number == libc::SIGKILL {
        await_record(store, container, &state)?;
    }
    Ok(())
}

/// The container's own stop signal, the image's or `--stop-signal`'s. What an image says may be no signal: that is none, as in
/// Docker, and the container can be stopped.
pub fn stop_signal(container: &Container) -> i32 {
    signal::parse(&container.config.image.stop_signal).unwrap_or(libc::SIGTERM)
}

/// Notes that it is stopped by hand, before anything happens to it, so that no restart policy starts it again. `None`
/// where there is nothing to stop.
fn mark(store: &Store, container: &Container, hold: bool) -> Result<Option<State>> {
    let state = state::current(store, container)?;
    let down = |state: &State| !state.is_running() && state.status != Status::Restarting;
    // One whose supervisor has yet to look at its restart policy is about to run again.
    let restarts = container.host_config.restart_policy.name != "no";
    if down(&state) && !(restarts && state.supervisor.is_alive()) {
        return Ok(None);
    }
    let marked = state::change(store, &container.id, |state| {
        state.stopped_by_hand = true;
        state.held = hold;
    });
    match marked {
        Ok(state) if down(&state) && !restarts => Ok(None),
        Ok(state) => Ok(Some(state)),
        Err(error) if error.is_not_found() => Ok(None),
        // On a full disk a container can still be stopped; only a restart policy would not know.
        Err(_) => Ok(Some(state)),
    }
}

/// Signals, and then thaws: a frozen process sees no signal, and on cgroup v1 not even SIGKILL ends it. Another command
/// may thaw or end it meanwhile, and its cgroup be gone.
fn deliver(store: &Store, container: &Container, init: &OwnedFd, signal: i32, state: &State) -> Result<()> {
    // Told first: the end that it may bring is told by another process.
    tell(store, container, "kill", &[("signal", signal.to_string())]);
    let name = nix::sys::signal::Signal::try_from(signal).map_or_else(|_| signal.to_string(), |name| name.to_string());
    explain::step(
        format_args!("the container's first process is sent {name}, by a handle that can mean no other process"),
        format_args!("kill -{} {}", name.trim_start_matches("SIG"), state.init.pid),
    );
    match calls::pidfd_send_signal(init, signal) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(errno) => return Err(errno).doing(|| format!("send signal {signal} to process {}", state.init.pid)),
    }
    let frozen = || !state.cgroup.is_empty() && oci::cgroup::is_frozen(&state.cgroup);
    match frozen() {
        true => oci::cgroup::thaw(&state.cgroup).or_else(|error| if frozen() { Err(error) } else { Ok(()) }),
        false => Ok(()),
    }
}

/// Waits until the supervisor has written down how it ended, and with `--rm` removed it. Where the supervisor was killed
/// before it could, the end is written here.
fn await_record(store: &Store, container: &Container, state: &State) -> Result<()> {
    if let Some(supervisor) = state.supervisor.open()? {
        // It may be waiting between two starts; SIGTERM makes it look up, and it finds `stopped_by_hand`.
        explain::step("its supervisor is told to look up", format_args!("kill -TERM {}", state.supervisor.pid));
        let _ = calls::pidfd_send_signal(&supervisor, libc::SIGTERM);
        // It ends with its container, most often at once. Where a client that does not read keeps it, what it has written
        // down is waited for.
        if !ended_within(&supervisor, Some(Duration::from_secs(1)))? {
            unwatched::end_stuck(store, container, state)?;
        }
    }
    let removes_itself = |state: &State| container.host_config.auto_remove && !state.held;
    wait::until(store, container, |state| {
        let ended = !state.is_running() && state.status != Status::Restarting;
        ended && !(removes_itself(state) && state.supervisor.is_alive())
    })?;
    match state::settle(store, container) {
        Err(error) if !error.is_not_found() => Err(error),
        Ok(settled) if !state.cgroup.is_empty() && !settled.is_running() => oci::cgroup::remove(&state.cgroup),
        // Gone with `--rm`, removed by another command, or started by one.
        _ => Ok(()),
    }
}

/// Waits for the end of the process; false when it has not come within `patience` (`None`: for ever).
pub fn ended_within(pidfd: &OwnedFd, patience: Option<Duration>) -> Result<bool> {
    let until = patience.map(|patience| Instant::now() + patience);
    loop {
        let timeout = match until {
            None => PollTimeout::NONE,
            Some(until) => {
                let left = until.saturating_duration_since(Instant::now());
                // Rounded up, so that the last millisecond is not spun through.
                PollTimeout::try_from(left.as_micros().div_ceil(1000)).unwrap_or(PollTimeout::MAX)
            }
        };
        match poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(0) if until.is_some_and(|until| Instant::now() < until) => {}
            Ok(ready) => return Ok(ready > 0),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno).doing(|| "wait for a process to end"),
        }
    }
}
