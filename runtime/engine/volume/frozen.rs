//! The containers that use a volume stand still while it is copied.
//!
//! They are frozen, and thawed, by a process of its own, the freezer, which watches the command: however that ends (it is
//! done, it fails, Ctrl-C, SIGKILL), the freezer lets them go on. Its list lies in `tmp/` for as long: should it be
//! killed together with the command, the next command that clears `tmp/` lets them go on.

use super::users;
use crate::engine::container::record::Container;
use crate::engine::container::state::{self, ProcessId, Status};
use crate::engine::container::{exec, processes};
use crate::error::{Doing, Error, Result};
use crate::explain::{self, calls};
use crate::kernel::{self, Cloned};
use crate::oci::{self, pidfds};
use crate::store::atomic::{self, Durability};
use crate::store::lock::Lock;
use crate::store::{Store, TmpDir, lock};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, pipe2};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

/// Runs `work` while every running container that uses the volume `name` stands still. Those that were paused already
/// stay so afterwards. An error where one cannot be frozen: then `work` does not run. What it is given says whether none
/// was started meanwhile, or what was copied may be torn; it asks before the copy becomes anything that stays.
pub fn while_frozen<T>(
    store: &Store,
    name: &str,
    work: impl FnOnce(&dyn Fn() -> Result<()>) -> Result<T>,
) -> Result<T> {
    // One freezes at a time: what another has frozen would go on when that one is done, not when we are.
    let _turn = lock::exclusive(&store.containers())?;
    // Of no use to whoever kills us where none is frozen; but until it is gone nobody unpauses one of them.
    let list = store.make_tmp("frozen")?;
    let (before, still) = {
        // Whoever pauses or unpauses has done so before we look, or sees the list (see `hold_off_copies`).
        let _announcing = lock::exclusive(&store.tmp())?;
        let before = lives(store, name)?;
        let still: Vec<Standing> = before.values().filter_map(Life::to_hold).collect();
        atomic::put_json(&list.path.join(LIST), &still, Durability::Unsynced)?;
        (before, still)
    };
    let running: Vec<Standing> = still.into_iter().filter(|standing| !standing.was_paused).collect();
    if running.is_empty() {
        return work(&|| unchanged(&before, &lives(store, name)?));
    }
    let freezer = Freezer::start(running, list)?;
    let done = work(&|| freezer.all_still().and_then(|()| unchanged(&before, &lives(store, name)?)));
    let thawed = freezer.thaw();
    let done = done?;
    thawed.map(|()| done)
}

/// A user of the volume, and which of its lives it was in.
struct Life {
    container: Container,
    status: Status,
    init: ProcessId,
    started_at: String,
    cgroup: String,
}

impl Life {
    fn to_hold(&self) -> Option<Standing> {
        let own_pids = self.container.host_config.pid_mode != "host";
        let standing = Standing {
            name: self.container.name.clone(),
            init: self.init.clone(),
            cgroup: self.cgroup.clone(),
            own_pids,
            was_paused: self.status == Status::Paused,
        };
        matches!(self.status, Status::Running | Status::Paused).then_some(standing)
    }
}

fn lives(store: &Store, name: &str) -> Result<BTreeMap<String, Life>> {
    let mut lives = BTreeMap::new();
    for container in users(store, name)? {
        match state::current(store, &container) {
            // Removed since it was listed.
            Err(error) if error.is_not_found() => {}
            found => {
                let state = found?;
                let (status, init, started_at, cgroup) = (state.status, state.init, state.started_at, state.cgroup);
                lives.insert(container.id.clone(), Life { container, status, init, started_at, cgroup });
            }
        }
    }
    Ok(lives)
}

/// Whether no container began a life, or went on, between the two looks.
fn unchanged(before: &BTreeMap<String, Life>, after: &BTreeMap<String, Life>) -> Result<()> {
    for (id, now) in after {
        let runs = matches!(now.status, Status::Running | Status::Paused);
        let same = match before.get(id) {
            Some(then) => then.started_at == now.started_at && (then.init == now.init || !runs),
            None => !runs && now.started_at == crate::engine::time::NEVER,
        };
        // While we hold them all, only one without a cgroup is not paused.
        let went_on = now.status == Status::Running && !now.cgroup.is_empty();
        if !same || went_on {
            let name = &now.container.name;
            return Err(Error::conflict(format!("container {name} was started or unpaused meanwhile"))
                .with_cure("what was copied may be torn, and is not kept: try again"));
        }
    }
    Ok(())
}

/// What stands still of one container, as it is kept in `tmp/frozen.…/containers.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Standing {
    name: String,
    init: ProcessId,
    /// Empty where it has none: its processes are then stopped one by one.
    cgroup: String,
    /// It has a pid namespace to find them by.
    own_pids: bool,
    /// By its user, who alone lets it go on.
    #[serde(default)]
    was_paused: bool,
}

const LIST: &str = "containers.json";

/// The process that holds them, from this side.
struct Freezer {
    standing: Vec<Standing>,
    pid: Pid,
    answers: BufReader<File>,
    /// Closed, it says that the work is done.
    working: OwnedFd,
    _list: TmpDir,
}

impl Freezer {
    /// Returns when all stand still.
    fn start(standing: Vec<Standing>, list: TmpDir) -> Result<Freezer> {
        let command = kernel::pidfd_open(nix::unistd::getpid()).doing(|| "open this process")?;
        let pipe = || pipe2(nix::fcntl::OFlag::O_CLOEXEC).doing(|| "make a pipe");
        let (answers, answer) = pipe()?;
        let (work, working) = pipe()?;
        explain::step("a freezer: it holds the containers still, and lets them go on however this command ends", "");
        match calls::fork().doing(|| "fork the freezer")? {
            Cloned::Child => {
                explain::process("freezer");
                drop((answers, working));
                hold(&standing, &command, &work, File::from(answer));
                kernel::exit_now(0)
            }
            Cloned::Parent { pid, .. } => {
                drop((answer, work));
                let answers = BufReader::new(File::from(answers));
                let mut freezer = Freezer { standing, pid, answers, working, _list: list };
                match freezer.answer() {
                    Ok(()) => Ok(freezer),
                    Err(error) => {
                        let _ = waitpid(pid, None);
                        Err(error)
                    }
                }
            }
        }
    }

    fn answer(&mut self) -> Result<()> {
        let mut line = String::new();
        self.answers.read_line(&mut line).doing(|| "hear from the freezer")?;
        serde_json::from_str::<Result<()>>(&line).unwrap_or_else(|_| Err(Error::new("the freezer died")))
    }

    /// A cgroup that is frozen lets nothing in; where processes were stopped one by one, another may have come.
    fn all_still(&self) -> Result<()> {
        for standing in self.standing.iter().filter(|standing| standing.cgroup.is_empty() && standing.init.is_alive()) {
            if !still_running(standing)?.is_empty() {
                return Err(Error::conflict(format!("a process was started in container {} meanwhile", standing.name))
                    .with_cure("what was copied may be torn, and is not kept: try again"));
            }
        }
        Ok(())
    }

    /// Returns when all go on.
    fn thaw(self) -> Result<()> {
        let Freezer { standing, pid, mut answers, working, _list } = self;
        drop(working);
        let mut line = String::new();
        let heard = answers.read_line(&mut line);
        let _ = waitpid(pid, None);
        match serde_json::from_str(&line) {
            Ok(result) if heard.is_ok() => result,
            // Somebody has killed it.
            _ => go_on(&standing),
        }
    }
}

/// The freezer's life.
fn hold(standing: &[Standing], command: &OwnedFd, work: &OwnedFd, mut answers: File) {
    let mut say = |result: &Result<()>| {
        let mut line = serde_json::to_vec(result).unwrap_or_default();
        line.push(b'\n');
        // Nobody hears where the command was killed.
        let _ = answers.write_all(&line);
    };
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGPIPE] {
        kernel::ignore_signal(signal);
    }
    explain::step("it leaves the user's session: a Ctrl-C is not meant for it", "setsid …");
    let begun = calls::setsid().doing(|| "begin a session");
    // What the command writes to is not kept open by us.
    let begun = begun.and_then(|()| nix::unistd::dup2_stdout(exec::null()?).doing(|| "let go of stdout"));
    let mut stopped = Vec::new();
    let frozen = begun.and_then(|()| standing.iter().try_for_each(|standing| freeze(standing, &mut stopped)));
    if frozen.is_ok() {
        say(&frozen);
        let mut ends = [PollFd::new(command.as_fd(), PollFlags::POLLIN), PollFd::new(work.as_fd(), PollFlags::POLLIN)];
        while poll(&mut ends, PollTimeout::NONE) == Err(Errno::EINTR) {}
    }
    let mut thawed = Ok(());
    // One that has ended since may live again, in a cgroup of the same name, and another command may have frozen that.
    for standing in standing.iter().filter(|standing| !standing.cgroup.is_empty() && standing.init.is_alive()) {
        thawed = thawed.and(thaw(standing));
    }
    explain::step("each process that was stopped goes on", "kill -CONT PID …");
    for process in stopped {
        // One that was killed meanwhile need not go on.
        let _ = calls::pidfd_send_signal(&process, libc::SIGCONT);
    }
    say(&frozen.and(thawed));
}

/// By its cgroup, or by stopping each of its processes, which are added to `stopped`.
fn freeze(standing: &Standing, stopped: &mut Vec<OwnedFd>) -> Result<()> {
    let frozen = match standing.cgroup.as_str() {
        "" => stop_each(standing, stopped),
        cgroup => oci::cgroup::freeze(cgroup),
    };
    match frozen {
        // It ended by itself: stiller than frozen.
        Err(_) if !standing.init.is_alive() => Ok(()),
        frozen => frozen.doing(|| format!("pause container {}", standing.name)),
    }
}

fn thaw(standing: &Standing) -> Result<()> {
    match oci::cgroup::thaw(&standing.cgroup) {
        Err(_) if !standing.init.is_alive() => Ok(()),
        thawed => thawed.doing(|| format!("unpause container {}", standing.name)),
    }
}

/// SIGSTOP to every process, until none is found that runs: one that forks meanwhile has a child that is found in the
/// next round. Those that stood still before are not ours to let go on, and are not added to `stopped`.
fn stop_each(standing: &Standing, stopped: &mut Vec<OwnedFd>) -> Result<()> {
    if !standing.own_pids {
        let why = oci::cgroup::available().err().unwrap_or_else(|| "it was started without one".into());
        return Err(Error::new(format!(
            "it has no cgroup to freeze ({why}), and shares the host's pids, so that its processes cannot be told"
        ))
        .with_cure("stop it, or copy without --pause"));
    }
    let mut asked = BTreeMap::new();
    explain::step("it has no cgroup to freeze: each of its processes is stopped", "kill -STOP PID …");
    let give_up = Instant::now() + Duration::from_secs(10);
    loop {
        let running = still_running(standing)?;
        if running.is_empty() {
            return Ok(());
        }
        for (pid, process) in pidfds::of_listed(running, || still_running(standing))? {
            let start = oci::process_stat(pid).map(|(_, start)| start);
            if start.is_none() || asked.get(&pid) == start.as_ref() {
                continue;
            }
            match calls::pidfd_send_signal(&process, libc::SIGSTOP) {
                Err(Errno::ESRCH) => continue,
                sent => sent.doing(|| format!("stop its process {pid}"))?,
            }
            asked.insert(pid, start.unwrap_or_default());
            stopped.push(process);
        }
        if Instant::now() > give_up {
            return Err(Error::new("a process in it does not stop within 10 seconds"));
        }
        // A process that stops tells its parent, and nobody else.
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// The container's processes of which a thread is neither stopped nor ended.
fn still_running(standing: &Standing) -> Result<Vec<i32>> {
    let state = state::State { init: standing.init.clone(), ..state::State::new() };
    let mut running = processes::pids(&state)?;
    if !running.contains(&standing.init.pid) && standing.init.is_alive() {
        // In the middle of its execve(2) a process hides its namespaces, and the list is not the container's: ask again.
        return Ok(vec![standing.init.pid]);
    }
    running.retain(|pid| {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        let letters = tasks.filter_map(|task| {
            let stat = std::fs::read_to_string(task.path().join("stat")).ok()?;
            stat.rsplit_once(") ")?.1.chars().next()
        });
        letters.into_iter().any(|letter| !matches!(letter, 'T' | 't' | 'Z' | 'X'))
    });
    Ok(running)
}

/// What the freezer would have done, by its list alone.
fn go_on(all: &[Standing]) -> Result<()> {
    let mut result = Ok(());
    for standing in all.iter().filter(|standing| standing.init.is_alive() && !standing.was_paused) {
        if !standing.cgroup.is_empty() {
            result = result.and(thaw(standing));
            continue;
        }
        let state = state::State { init: standing.init.clone(), ..state::State::new() };
        for (_, process) in pidfds::of_listed(processes::pids(&state)?, || processes::pids(&state))? {
            let _ = calls::pidfd_send_signal(&process, libc::SIGCONT);
        }
    }
    result
}

/// No copy with `--pause` begins while this is held: what [`refuse_while_copied`] says stays true.
pub fn hold_off_copies(store: &Store) -> Result<Lock> {
    lock::shared(&store.tmp())
}

/// Refuses where a volume of the container with this first process is being copied, for which it stands still. Were it let
/// go on, and paused again, nobody who looks at the end could tell.
pub fn refuse_while_copied(store: &Store, name: &str, init: &ProcessId) -> Result<()> {
    let lists = std::fs::read_dir(store.tmp()).into_iter().flatten().flatten();
    let lists = lists.filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b"frozen."));
    for list in lists.map(|entry| entry.path()) {
        let listed = atomic::read_json::<Vec<Standing>>(&list.join(LIST)).unwrap_or_default();
        if let Some(standing) = listed.iter().find(|standing| standing.init == *init)
            // Where its command lives, the list is locked.
            && lock::try_shared(&list).is_err()
        {
            let cure = match standing.was_paused {
                true => "unpause it when that is done",
                false => "it goes on by itself when that is done, or ended",
            };
            return Err(
                Error::conflict(format!("container {name} stands still while its volume is copied")).with_cure(cure)
            );
        }
    }
    Ok(())
}

/// Lets go on what a freezer holds that was killed together with its command: those lists in `tmp` that nobody has locked.
pub fn thaw_forgotten(tmp: &Path) {
    let lists = std::fs::read_dir(tmp).into_iter().flatten().flatten();
    for list in lists.filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b"frozen.")) {
        if let Ok(_lock) = lock::try_exclusive(&list.path())
            && let Ok(standing) = atomic::read_json::<Vec<Standing>>(&list.path().join(LIST))
        {
            let _ = go_on(&standing);
        }
    }
}
