//! One small process a container: it starts it, relays its output, sees its end, and starts it again where the restart
//! policy says so. Forked from the command, never executed: what it needs is loaded already.

use super::life::{self, End};
use super::record::Container;
use super::relay::Relay;
use super::remove;
use super::state::{self, ProcessId, State, Status};
use super::{bundle, exec};
use crate::engine::{mounts, owners, time};
use crate::error::{Doing, Error, Result};
use crate::explain::{self, calls};
use crate::kernel::{self, Cloned};
use crate::store::Store;
use crate::store::lock::{self, Lock};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{Pid, pipe2};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// Starts a created or stopped container under a new supervisor. Returns when its program has been executed, or with
/// the reason why not.
pub fn start(store: &Store, container: &Container, client: Client) -> Result<()> {
    begin(store, container, client)?.finish()
}

/// A supervisor at its work.
pub struct Starting(OwnedFd);

/// The first half of [`start`], after which the caller may do something else meanwhile.
pub fn begin(store: &Store, container: &Container, client: Client) -> Result<Starting> {
    // Docker refuses before it counts as a start. (What has --rm goes when its start fails: its supervisor sees to it.)
    if !container.host_config.auto_remove {
        mounts::as_of_now(store, container)?;
    }
    finish_what_was_killed(store, container);
    let (report, reporter) = pipe2(nix::fcntl::OFlag::O_CLOEXEC).doing(|| "make a pipe")?;
    explain::step("a supervisor: it will be the container's parent, and keep its output and its end", "");
    match calls::fork().doing(|| "fork the supervisor")? {
        Cloned::Child => {
            explain::process("supervisor");
            drop(report);
            let _ = supervise(store, container, client, reporter);
            kernel::exit_now(0)
        }
        Cloned::Parent { .. } => Ok(Starting(report)),
    }
}

impl Starting {
    /// Returns when the container's program has been executed, or with the reason why not.
    pub fn finish(self) -> Result<()> {
        let mut text = Vec::new();
        std::fs::File::from(self.0).read_to_end(&mut text).doing(|| "hear from the supervisor")?;
        match serde_json::from_slice::<Result<()>>(&text) {
            Ok(result) => result,
            Err(_) => Err(Error::new("the container's supervisor died while it started the container")),
        }
    }
}

/// The command that starts it.
#[derive(Debug, Default)]
pub struct Client {
    /// The supervisor's end of [`super::protocol::pair`], where the command stays.
    pub socket: Option<OwnedFd>,
    /// Rows and columns of its terminal.
    pub size: (u16, u16),
}

/// What killed commands left half-done in the container's mounts is done first; here, where what must be said is still
/// heard. Where it fails, the supervisor tries again, and reports it.
fn finish_what_was_killed(store: &Store, container: &Container) {
    if container.mounts.iter().any(|mount| mount.kind != "tmpfs") {
        owners::finish(store);
        let _ = mounts::finish_copy_up(store, &container.mounts);
    }
}

/// How the first start went, said once, to the command that waits for it.
pub struct Reporter(Option<OwnedFd>);

impl Reporter {
    /// Whether the command still waits: until then it is the first start.
    pub fn is_awaited(&self) -> bool {
        self.0.is_some()
    }

    pub fn say(&mut self, result: &Result<()>) {
        if let Some(pipe) = self.0.take() {
            let _ = std::fs::File::from(pipe).write_all(&serde_json::to_vec(result).unwrap_or_default());
        }
    }
}

fn supervise(store: &Store, container: &Container, client: Client, reporter: OwnedFd) -> Result<()> {
    let mut reporter = Reporter(Some(reporter));
    let begun = detach(store, container).and_then(|signals| {
        let starting = state::starting(store, container)?;
        Ok((signals, starting, refuse_running(store, container)?))
    });
    let (signals, starting, before) = match begun {
        Ok(begun) => begun,
        Err(error) => {
            reporter.say(&Err(error.clone()));
            return Err(error);
        }
    };
    let mut relay = None;
    match lives(store, container, &mut relay, client, &mut reporter, &signals, starting) {
        Ok(End { code, gone, .. }) => {
            if gone.is_none() {
                shut_door(store, container);
            }
            // A narration is whole when the command returns, so nothing may follow the last word then.
            let (before, after) = if explain::is_on() { (gone, None) } else { (None, gone) };
            before.iter().for_each(|gone| drop(remove::bury(gone)));
            relay.iter_mut().for_each(|relay| relay.farewell(code));
            // The bytes of a container that is gone are nothing to wait for, be they many or few.
            after.iter().for_each(|gone| drop(remove::bury(gone)));
            Ok(())
        }
        Err(error) => {
            // It never ran: what is known of the life before stays, beside the reason, as in Docker.
            let _ = state::change(store, &container.id, |state| not_begun(state, before, &error));
            shut_door(store, container);
            if container.host_config.auto_remove {
                let _ = remove::erase(store, container, true);
            }
            reporter.say(&Err(error.clone()));
            Err(error)
        }
    }
}

/// Becomes a process of its own: no terminal, no descriptors of the command's, no signals but SIGTERM, which wakes a
/// supervisor that waits between two lives. It stands in its container's directory: by that the kernel knows whose it is,
/// whatever becomes of the record (living.rs).
fn detach(store: &Store, container: &Container) -> Result<SignalFd> {
    let_go()?;
    let directory = super::dir(store, &container.id);
    nix::unistd::chdir(&directory)
        .doing(|| format!("enter {}", directory.display()))
        .map_err(super::or_removed(container))?;
    // What `ps` and `top` on the host show of it. The words of the command, which may hold a secret (`-e TOKEN=…`), would be
    // shown to everybody for as long as the container lives.
    let name = format!("ebb:{}", container.name);
    let _ = std::fs::write("/proc/self/comm", &name);
    kernel::forget_words(&name, true);
    SigSet::all().thread_unblock().doing(|| "unblock signals")?;
    let mask = SigSet::from_iter([Signal::SIGTERM]);
    mask.thread_block().doing(|| "block SIGTERM")?;
    SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).doing(|| "watch for SIGTERM")
}

/// Begins a session, holds nothing open that somebody may wait for, and ignores what ends a terminal's processes. (What the
/// caller had open beside 0, 1 and 2 the command has closed.)
pub fn let_go() -> Result<()> {
    explain::step("it leaves the user's session, and so outlives the terminal", "setsid …");
    calls::setsid().doing(|| "begin a session")?;
    let null = exec::null()?;
    nix::unistd::dup2_stdin(&null).doing(|| "let go of stdin")?;
    nix::unistd::dup2_stdout(&null).doing(|| "let go of stdout")?;
    nix::unistd::dup2_stderr(&null).doing(|| "let go of stderr")?;
    for signal in [Signal::SIGPIPE, Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT] {
        kernel::ignore_signal(signal);
    }
    Ok(())
}

/// One that already runs is not started again. Under [`state::starting`]'s lock, so that it stays so. Returns what was
/// before.
fn refuse_running(store: &Store, container: &Container) -> Result<State> {
    let before = state::current(store, container)?;
    if before.is_running() || before.status == Status::Restarting {
        return Err(Error::conflict(format!("container {} is already running", container.name)));
    }
    bundle::refuse_torn_layer(container, &before)?;
    state::tell_unwatched_end(store, container, &before);
    Ok(before)
}

/// Takes the container for this supervisor, as the process `pid` if there is one already. Said before it runs, and before it
/// has a cgroup: if this supervisor is killed half-way, whoever removes the container knows what to clear.
pub fn claim(store: &Store, container: &Container, pid: Option<Pid>) -> Result<()> {
    let cgroup = life::cgroup_to_be(container);
    let claimed = state::change(store, &container.id, |state| {
        mark_running(state);
        life::born(state, container, pid, &cgroup);
        state.supervisor = ProcessId::of(nix::unistd::getpid().as_raw());
        state.restart_count = 0;
        state.stopped_by_hand = false;
        state.held = false;
    });
    claimed.map(drop)
}

fn mark_running(state: &mut State) {
    state.status = Status::Running;
    state.init = ProcessId::default();
    state.error.clear();
    state.oom_killed = false;
    state.exit_code = 0;
}

fn failed(state: &mut State, error: &Error) {
    state.status = if state.started_at == time::NEVER { Status::Created } else { Status::Exited };
    state.init = ProcessId::default();
    state.error.clone_from(&error.message);
    state.exit_code = match error.kind {
        crate::error::Kind::NotExecutable => 126,
        crate::error::Kind::CommandNotFound => 127,
        _ => UNKNOWN,
    };
}

/// The exit code of what failed for no reason of its program's.
const UNKNOWN: i32 = 128;

fn not_begun(state: &mut State, before: State, error: &Error) {
    state.started_at = before.started_at;
    state.finished_at = before.finished_at;
    state.oom_killed = before.oom_killed;
    state.health = before.health;
    failed(state, error);
    if state.exit_code == UNKNOWN && before.exit_code != 0 {
        state.exit_code = before.exit_code;
    }
}

/// One life after the other, as long as the restart policy wants. Returns the end of the last; an error only where the
/// first start failed.
fn lives(
    store: &Store,
    container: &Container,
    relay: &mut Option<Relay>,
    mut client: Client,
    reporter: &mut Reporter,
    signals: &SignalFd,
    mut starting: Lock,
) -> Result<End> {
    let mut pause = FIRST_PAUSE;
    loop {
        let born = Instant::now();
        let end = match life::live(store, container, relay, &mut client, reporter, starting) {
            Ok(ended) => ended,
            // A later start that fails counts as a failed life.
            Err(error) if !reporter.is_awaited() => {
                let again = conclude(store, container, UNKNOWN, |state| failed(state, &error))?;
                End { code: UNKNOWN, again, gone: None }
            }
            Err(error) => return Err(error),
        };
        if !end.again {
            return Ok(end);
        }
        if born.elapsed() > Duration::from_secs(10) {
            pause = FIRST_PAUSE;
        }
        rest(signals, pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
        starting = state::starting(store, container)?;
        let mut by_hand = false;
        state::change(store, &container.id, |state| {
            by_hand = state.stopped_by_hand;
            if by_hand {
                state.status = Status::Exited;
            } else {
                mark_running(state);
                state.restart_count += 1;
            }
        })?;
        if by_hand {
            return Ok(end);
        }
    }
}

/// Records the end of a life, and in the same write whether another follows: nobody sees one that is about to run again
/// as one that has ended.
pub fn conclude(store: &Store, container: &Container, code: i32, end: impl FnOnce(&mut State)) -> Result<bool> {
    // The policy may have been changed by `update` meanwhile; but none goes with `--rm`.
    let now = (!container.host_config.auto_remove).then(|| super::load(store, &container.id).ok()).flatten();
    let policy = &now.as_ref().unwrap_or(container).host_config.restart_policy;
    let mut again = false;
    state::change(store, &container.id, |state| {
        state.status = Status::Exited;
        state.init = ProcessId::default();
        state.exit_code = code;
        state.finished_at = time::now();
        end(state);
        let wanted = match policy.name.as_str() {
            "always" | "unless-stopped" => true,
            "on-failure" => {
                code != 0 && (policy.maximum_retry_count == 0 || state.restart_count < policy.maximum_retry_count)
            }
            _ => false,
        };
        again = wanted && !state.stopped_by_hand;
        if again {
            state.status = Status::Restarting;
        }
    })?;
    Ok(again)
}

/// Docker's back-off: 100 ms, doubled with every life of less than 10 s, to at most a minute.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Waits, or until SIGTERM says to look up.
fn rest(signals: &SignalFd, pause: Duration) {
    let timeout = PollTimeout::try_from(pause).unwrap_or(PollTimeout::MAX);
    let _ = poll(&mut [PollFd::new(signals.as_fd(), PollFlags::POLLIN)], timeout);
    while let Ok(Some(_)) = signals.read_signal() {}
}

/// Another supervisor may have started the container since its end was recorded; the door is that one's then.
fn shut_door(store: &Store, container: &Container) {
    let directory = super::dir(store, &container.id);
    let Ok(_lock) = lock::exclusive(&directory) else { return };
    let ours = |state: State| state.supervisor.pid == nix::unistd::getpid().as_raw();
    if state::current(store, container).is_ok_and(ours) {
        let _ = std::fs::remove_file(directory.join("attach.sock"));
    }
}
