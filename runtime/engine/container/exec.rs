//! exec: one more process in a running container.

use super::keeper;
use super::record::Container;
use super::security;
use super::state::{self, ProcessId, Status};
use super::streams::{self, End, Output, Streams};
use super::terminal::{DetachKeys, Raw};
use super::users;
use crate::engine::events;
use crate::engine::idmap::{StoreIds, store_ids};
use crate::error::{Doing, Error, Kind, Result};
use crate::explain::calls;
use crate::kernel;
use crate::oci::{self, Io};
use crate::store::{Store, id};
use nix::fcntl::OFlag;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use oci_spec::runtime::{Capability, Process, Spec};
use std::collections::HashSet;
use std::fs::File;
use std::io::IsTerminal;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::str::FromStr;

/// What `exec` is asked for.
#[derive(Debug, Default, Clone)]
pub struct Request {
    pub command: Vec<String>,
    pub interactive: bool,
    pub tty: bool,
    pub detach: bool,
    /// `NAME=value`, laid over the container's.
    pub env: Vec<String>,
    pub workdir: Option<String>,
    pub user: Option<String>,
    pub privileged: bool,
    pub detach_keys: String,
}

/// Runs a process in the container and returns its exit code, or 0 at once with `detach`.
pub fn exec(store: &Store, container: &Container, request: &Request) -> Result<i32> {
    let detach_keys = DetachKeys::parse(&request.detach_keys)?;
    if request.interactive && request.tty && !request.detach && !std::io::stdin().is_terminal() {
        return Err(Error::new("the input device is not a TTY"));
    }
    let init = running(store, container)?;
    let mut spec = bundle_spec(store, container)?;
    oci::binary::keep_from(&spec)?;
    let process = process(&mut spec, container, &init, request)?;
    let (io, ends) = match (request.tty, request.detach) {
        (true, _) => {
            let (rows, columns) = kernel::window_size(std::io::stdin()).unwrap_or((24, 80));
            (Io::Terminal { rows, columns }, Ends::default())
        }
        (false, true) => {
            let null = || null_for(container);
            (Io::Descriptors { stdin: null()?, stdout: null()?, stderr: null()? }, Ends::default())
        }
        (false, false) => pipes(container, request.interactive)?,
    };
    let mut ends = Some(ends);
    let exec_id = id::random()?;
    let told = |action: &str, more: events::Extra| {
        let extra = [&[("execID", exec_id.clone())], more].concat();
        events::of_container(container, action, &extra)
    };
    let begin = |command: BorrowedFd| {
        let words = request.command.join(" ");
        events::tell(store, &["exec_create", "exec_start"].map(|action| told(&format!("{action}: {words}"), &[])));
        start(&init, container, &spec, &process, io, command)
    };
    let ended = |code: i32| events::tell(store, &[told("exec_die", &[("exitCode", code.to_string())])]);
    let kept = keeper::start(&mut ends, begin, ended)?;
    if request.detach {
        return Ok(0);
    }
    let (streams, raw) = connect(request, ends.unwrap_or_default(), kept.console.as_ref(), detach_keys)?;
    let end = streams::copy(streams, kept.ended());
    drop(raw);
    match end? {
        End::Process => kept.exit_code(),
        End::Signal(signal) => Ok(128 + signal),
        End::Unheard(unheard) => Ok(unheard.say()),
        End::Detached => {
            eprintln!("read escape sequence");
            Ok(0)
        }
    }
}

/// The container's first process, where one runs and is not frozen.
pub fn running(store: &Store, container: &Container) -> Result<ProcessId> {
    state::await_start(store, container)?;
    still_running(store, container)
}

/// [`running`] for one that is known not to be just being started.
pub fn still_running(store: &Store, container: &Container) -> Result<ProcessId> {
    let state = state::current(store, container)?;
    match state.status {
        Status::Running if state.init.is_alive() => Ok(state.init),
        Status::Paused => {
            Err(Error::conflict(format!("container {} is paused, unpause the container before exec", container.name)))
        }
        Status::Restarting => Err(Error::conflict(format!(
            "container {} is restarting, wait until the container is running",
            container.id
        ))),
        _ => Err(Error::conflict(format!("container {} is not running", container.id))),
    }
}

/// The bundle that the container was started from.
pub fn bundle_spec(store: &Store, container: &Container) -> Result<Spec> {
    let path = super::dir(store, &container.id).join("config.json");
    Spec::load(&path).doing(|| format!("read {}", path.display()))
}

/// Starts `process` beside the container's first one. Returns when it has been executed; or where the other end of `leash`
/// is closed before.
pub fn start(
    init: &ProcessId,
    container: &Container,
    spec: &Spec,
    process: &Process,
    io: Io,
    leash: BorrowedFd,
) -> Result<oci::Init> {
    let ended = || Error::conflict(format!("container {} is not running", container.id));
    let handle = init.open()?.ok_or_else(ended)?;
    let options = oci::ExecOptions::default();
    let entered = oci::exec(Pid::from_raw(init.pid), handle, spec, process, io, &options, Some(leash));
    let mut child = entered.map_err(failed)?;
    // It waits before its execve(2). Had the container ended while we entered it, the pid might be somebody else's.
    if !init.is_alive() {
        let _ = calls::pidfd_send_signal(&child.pidfd, libc::SIGKILL);
        let _ = exit_code(&child.pidfd);
        return Err(ended());
    }
    let started = child.start_entered(Some(leash));
    if started.is_err() {
        let _ = calls::pidfd_send_signal(&child.pidfd, libc::SIGKILL);
        let _ = exit_code(&child.pidfd);
    }
    started.map(|()| child).map_err(failed)
}

/// Docker's words around what went wrong in the new process.
fn failed(mut error: Error) -> Error {
    error.message =
        format!("OCI runtime exec failed: exec failed: unable to start container process: {}", error.message);
    error
}

/// The new process: as the container's first one in all that the request does not change.
pub fn process(spec: &mut Spec, container: &Container, init: &ProcessId, request: &Request) -> Result<Process> {
    let mut process = spec.process().clone().ok_or_else(|| Error::new("the bundle names no process"))?;
    process.set_args(Some(request.command.clone())).set_terminal(Some(request.tty));
    let mut env = process.env().clone().unwrap_or_default();
    if let Some(user) = &request.user {
        let groups = container.host_config.group_add.clone();
        let mounts = init.open()?.map(|handle| oci::mounts_of(Pid::from_raw(init.pid), &handle)).transpose()?;
        let ended = || Error::conflict(format!("container {} is not running", container.id));
        let view = oci::View::Running(mounts.flatten().ok_or_else(ended)?);
        // Docker's exit code for a user that is not there is that of a program which cannot be executed.
        let found = oci::within(view, |root| users::resolve(root, user, &groups))
            .map_err(|error| Error { kind: Kind::NotExecutable, ..error })?
            .as_far_as_ids_go()?;
        if let Some(map) = oci::ids::of(spec) {
            found.check_mapped(&map)?;
        }
        // A HOME of the user's own or the image's stays; the one that the runtime had filled in goes with the user.
        if !container.config.image.env.iter().any(|entry| entry.starts_with("HOME=")) {
            set_env(&mut env, &format!("HOME={}", found.home));
        }
        let ceiling = process.capabilities().as_ref().and_then(|capabilities| capabilities.bounding().clone());
        process.set_capabilities(Some(security::capabilities_of(found.uid, ceiling.unwrap_or_default())?));
        process.set_user(found.to_oci());
    }
    if request.tty && !env.iter().any(|entry| entry.starts_with("TERM=")) {
        env.push("TERM=xterm".to_owned());
    }
    for entry in &request.env {
        set_env(&mut env, entry);
    }
    process.set_env(Some(env));
    if let Some(workdir) = &request.workdir {
        if !workdir.starts_with('/') {
            return Err(Error::new(format!(
                "the working directory '{workdir}' is invalid, it needs to be an absolute path"
            )));
        }
        process.set_cwd(workdir.into());
    }
    if request.privileged {
        lift(&mut process, spec)?;
    }
    Ok(process)
}

/// `NAME=value` replaces an older NAME.
fn set_env(env: &mut Vec<String>, entry: &str) {
    let name = entry.split('=').next().unwrap_or_default();
    env.retain(|old| old.split('=').next() != Some(name));
    env.push(entry.to_owned());
}

/// `--privileged`: every capability of the container's user namespace, and no filter.
fn lift(process: &mut Process, spec: &mut Spec) -> Result<()> {
    let names = oci::capabilities::known();
    let known = names.iter().filter_map(|name| Capability::from_str(name.strip_prefix("CAP_")?).ok());
    let all: HashSet<Capability> = known.collect();
    let capabilities = security::capabilities_of(process.user().uid(), all)?;
    process.set_capabilities(Some(capabilities)).set_no_new_privileges(Some(false));
    // With one id only, the filter is what makes setuid(2) and its kin answer; without it less would work, not more.
    if !matches!(store_ids()?, StoreIds::Single(_))
        && let Some(linux) = spec.linux_mut()
    {
        linux.set_seccomp(None);
    }
    Ok(())
}

/// Our ends of the process's pipes.
#[derive(Default)]
struct Ends {
    stdin: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
}

/// Pipes, never the user's own descriptors: a container is not to be given a handle on the user's terminal or files.
fn pipes(container: &Container, interactive: bool) -> Result<(Io, Ends)> {
    let pipe = || nix::unistd::pipe2(OFlag::O_CLOEXEC).doing(|| "make a pipe");
    let (stdin, ours) = match interactive {
        true => pipe().map(|(read, write)| (read, Some(write)))?,
        false => (null_for(container)?, None),
    };
    let ((from_stdout, stdout), (from_stderr, stderr)) = (pipe()?, pipe()?);
    let ends = Ends { stdin: ours, stdout: Some(from_stdout), stderr: Some(from_stderr) };
    Ok((Io::Descriptors { stdin, stdout, stderr }, ends))
}

/// What a process of the container's is given that is given no input.
pub fn null_for(container: &Container) -> Result<OwnedFd> {
    // Who is root of a user namespace only has no right to the host's device either.
    match super::namespaces::has_hosts_root(&container.host_config) && oci::is_in_first_user_namespace() {
        true => oci::detached::null(),
        false => null(),
    }
}

/// /dev/null, for a process of our own, or of a user namespace where its owner is nobody.
pub fn null() -> Result<OwnedFd> {
    File::options().read(true).write(true).open("/dev/null").map(OwnedFd::from).doing(|| "open /dev/null")
}

/// What is to be copied where; with a terminal of its own, the user's is set to raw mode.
fn connect(
    request: &Request,
    ends: Ends,
    console: Option<&OwnedFd>,
    detach_keys: DetachKeys,
) -> Result<(Streams, Option<Raw>)> {
    let own = |fd: BorrowedFd| fd.try_clone_to_owned().doing(|| "duplicate a descriptor");
    let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    let Some(console) = console else {
        let input = ends.stdin.map(|to| own(stdin.as_fd()).map(|from| (from, to))).transpose()?;
        let mut outputs = Vec::new();
        for (from, to) in [(ends.stdout, own(stdout.as_fd())?), (ends.stderr, own(stderr.as_fd())?)] {
            outputs.extend(from.map(|from| Output { from, to }));
        }
        return Ok((Streams { input, outputs, terminal: None, detach_keys: None }, None));
    };
    let raw = if request.interactive { Some(Raw::enter(&stdin)?) } else { None };
    let input = match request.interactive {
        true => Some((own(stdin.as_fd())?, own(console.as_fd())?)),
        false => None,
    };
    let outputs = vec![Output { from: own(console.as_fd())?, to: own(stdout.as_fd())? }];
    let terminal = Some((own(console.as_fd())?, own(stdin.as_fd())?));
    Ok((Streams { input, outputs, terminal, detach_keys: Some(detach_keys) }, raw))
}

/// Reaps a child that has ended: its exit code, or 128 and the signal's number.
pub fn exit_code(pidfd: &OwnedFd) -> Result<i32> {
    match waitid(Id::PIDFd(pidfd.as_fd()), WaitPidFlag::WEXITED).doing(|| "wait for the process")? {
        WaitStatus::Exited(_, code) => Ok(code),
        WaitStatus::Signaled(_, signal, _) => Ok(128 + signal as i32),
        _ => Err(Error::of(Kind::Other, "the process ended in an unknown way")),
    }
}
