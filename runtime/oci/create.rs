//! `create`: from a bundle to a process that is fully isolated and waits just before execve(2).
//!
//! The parent prepares all that may fail or that needs its rights, clones, and answers the child over a socket pair; the
//! child builds its own view, top to bottom, in [`first_process`].

use super::mounts::{self, Sources, Which};
use super::namespaces::{self, Namespaces};
use super::wire::{self, Message};
use super::{CreateOptions, Given, Init, Io, cgroup, console, hooks, ids, mapped, masks, process, rlimits, rootfs};
use crate::error::{Doing, Error, Result};
use crate::explain::{self, calls};
use crate::kernel::{self, Cloned};
use nix::sys::stat::{SFlag, fstat};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, Uid, fchown};
use oci_spec::runtime::{ContainerState, LinuxNamespaceType as Type, Spec};
use std::cell::Cell;
use std::fmt::Display;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// All that the child needs, made before the clone.
struct Blueprint<'a> {
    spec: &'a Spec,
    bundle: &'a Path,
    id: &'a str,
    rootfs: PathBuf,
    namespaces: Namespaces,
    plan: process::Plan,
    /// The bundle's `cgroupsPath`, and what becomes of it on this host.
    cgroup: String,
    place: String,
    born_into: Option<cgroup::Prepared>,
    /// The cgroup is ours to remove: it was there for nobody before.
    grouped: Cell<bool>,
    io: Io,
    gate: Option<OwnedFd>,
    given: &'a [Given],
}

/// What the parent does while the child mounts.
type Meanwhile<'a> = &'a mut dyn FnMut(Pid, &str) -> Result<()>;

pub fn create(bundle: &Path, id: &str, io: Io, options: &CreateOptions, meanwhile: Meanwhile) -> Result<Init> {
    let spec = super::read_bundle(bundle)?;
    let process = spec.process().as_ref().ok_or_else(|| Error::new("the bundle's config.json has no process"))?;
    let mut plan = process::plan(&spec, process)?;
    plan.die_with_parent = options.die_with_parent;
    plan.hold_signals = spec.annotations().as_ref().is_some_and(|all| all.contains_key(super::HOLD_SIGNALS));
    plan.preserve_fds = options.preserve_fds;
    give_pipes(&io, &spec, process.user().uid())?;
    let asked = spec.linux().as_ref().and_then(|linux| linux.cgroups_path().as_ref());
    // A bundle may leave the place to the runtime. Two roots of states may use one id, so that alone will not do.
    let cgroup = asked.map(|path| path.to_string_lossy().into_owned());
    let cgroup = cgroup.unwrap_or_else(|| format!("/ebb/{id}-{}", std::process::id()));
    let place = cgroup::name(&cgroup);
    let born_into = if cgroup::is_born_into() { Some(prepare_cgroup(&spec, &cgroup)?) } else { None };
    let blueprint = Blueprint {
        spec: &spec,
        bundle,
        id,
        rootfs: rootfs::path(bundle, &spec)?,
        namespaces: namespaces::read(&spec)?,
        plan,
        cgroup,
        place: place.clone(),
        grouped: Cell::new(born_into.is_some()),
        born_into,
        io,
        gate: options.gate.as_deref().map(bind_gate).transpose()?,
        given: &options.given,
    };
    let created = clone(&blueprint, meanwhile);
    if created.is_err() && blueprint.grouped.get() {
        let _ = cgroup::remove(&place);
    }
    created
}

fn prepare_cgroup(spec: &Spec, path: &str) -> Result<cgroup::Prepared> {
    cgroup::prepare(path, spec.linux().as_ref().map_or(&None, |linux| linux.resources()))
}

/// A container's user must be able to open its own stdout again (`/dev/stdout`), and a pipe belongs to whoever made it.
pub fn give_pipes(io: &Io, spec: &Spec, user: u32) -> Result<()> {
    let Io::Descriptors { stdin, stdout, stderr } = io else { return Ok(()) };
    let Some(host) = ids::of(spec).map_or(Some(user), |map| map.host_uid(user)) else { return Ok(()) };
    for fd in [stdin, stdout, stderr] {
        let stat = fstat(fd).doing(|| "look at the container's descriptors")?;
        if SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFIFO && stat.st_uid != host {
            // Without the right to give it away it stays as it is; only opening it again by name then fails.
            let _ = fchown(fd, Some(Uid::from_raw(host)), None);
        }
    }
    Ok(())
}

fn bind_gate(path: &Path) -> Result<OwnedFd> {
    super::gate::bind(path)
}

fn clone(blueprint: &Blueprint, meanwhile: Meanwhile) -> Result<Init> {
    let (ours, theirs) = wire::pair()?;
    let cgroup_fd = blueprint.born_into.as_ref().and_then(cgroup::Prepared::into_cgroup_fd);
    let outer = match &blueprint.namespaces.join_pid {
        // setns(2) into a pid namespace is for one's children only; afterwards we go back to our own.
        Some(joined) => Some(enter_pid_namespace(joined)?),
        None => None,
    };
    let flags = blueprint.namespaces.at_clone();
    explain::step(
        "a new process, born into namespaces of its own: what it sees of the machine is no longer what we see",
        format_args!("unshare --fork {} …", namespaces::as_unshare_options(flags)),
    );
    let cloned = calls::clone3(flags, cgroup_fd);
    // The child stays where it was born: what is an ending for us would be one for its story.
    if let (Some(outer), false) = (outer, matches!(cloned, Ok(Cloned::Child))) {
        explain::step("we ourselves go back to our own pid namespace", "");
        calls::setns(outer, libc::CLONE_NEWPID).doing(|| "go back to our own pid namespace")?;
    }
    match cloned.doing(|| "clone into new namespaces").map_err(super::explain_clone)? {
        Cloned::Child => {
            explain::process("container");
            drop(ours);
            let error = first_process(blueprint, &theirs);
            let _ = wire::send(&theirs, &Message::Failed(error));
            kernel::exit_now(1)
        }
        Cloned::Parent { pid, pidfd } => {
            drop(theirs);
            match accompany(blueprint, pid, &ours, meanwhile) {
                Ok(console) => Ok(Init { pid, pidfd, console, cgroup: blueprint.place.clone(), gate: ours }),
                Err(error) => {
                    let _ = calls::pidfd_send_signal(&pidfd, libc::SIGKILL);
                    let _ = waitpid(pid, None);
                    Err(error)
                }
            }
        }
    }
}

fn enter_pid_namespace(joined: &OwnedFd) -> Result<OwnedFd> {
    let own = std::fs::File::open("/proc/self/ns/pid").doing(|| "open our own pid namespace")?;
    explain::step("children of ours are from here on born into that other pid namespace", "nsenter --pid=… …");
    calls::setns(joined, libc::CLONE_NEWPID).doing(|| "join the pid namespace")?;
    Ok(own.into())
}

/// The parent's half: does for the child what only the outside may.
fn accompany(blueprint: &Blueprint, pid: Pid, socket: &OwnedFd, meanwhile: Meanwhile) -> Result<Option<OwnedFd>> {
    let spec = blueprint.spec;
    let process = spec.process().as_ref();
    rlimits::apply(pid, process.and_then(|process| process.rlimits().as_deref()).unwrap_or_default())?;
    if let Some(score) = process.and_then(|process| process.oom_score_adj()) {
        set_oom_score(pid, score)?;
    }
    loop {
        match wire::receive(socket)? {
            Message::Cloned => {
                let tasks = match blueprint.born_into {
                    Some(_) => Vec::new(),
                    None => prepare_cgroup(spec, &blueprint.cgroup)?.into_tasks(),
                };
                blueprint.grouped.set(true);
                wire::send(socket, &Message::Grouped(tasks))?;
                if let (true, Some(map)) = (blueprint.namespaces.is_new(Type::User), ids::of(spec)) {
                    ids::write(pid, &map)?;
                }
                wire::send(socket, &Message::Mapped(mapped::mounts(spec, pid, blueprint.given)?))?;
                meanwhile(pid, &blueprint.place)?;
            }
            Message::Mounted => {
                run_runtime_hooks(blueprint, pid)?;
                wire::send(socket, &Message::Hooked)?;
            }
            Message::Ready(console) => return Ok(console),
            Message::Failed(error) => return Err(error),
            _ => return Err(died(pid)),
        }
    }
}

/// The child is gone without a word: it was killed, by the OOM killer more often than by a person.
pub fn died(pid: Pid) -> Error {
    let how = match waitpid(pid, None) {
        Ok(WaitStatus::Signaled(_, signal, _)) => format!("killed by {signal}"),
        Ok(WaitStatus::Exited(_, code)) => format!("exit code {code}"),
        _ => "nobody knows how".into(),
    };
    Error::new(format!("the container's first process died while it was being set up: {how}"))
}

/// `process` is a pid, or `self`.
pub fn set_oom_score(process: impl Display, score: i32) -> Result<()> {
    let path = format!("/proc/{process}/oom_score_adj");
    let now = std::fs::read_to_string(&path).ok().and_then(|text| text.trim().parse::<i32>().ok());
    if now == Some(score) {
        return Ok(());
    }
    explain::step(
        format_args!(
            "when the machine's memory runs out, this process is killed {} than others of its size",
            if score < 0 { "later" } else { "sooner" }
        ),
        format_args!("echo {score} > {path}"),
    );
    calls::write(Path::new(&path), &score.to_string()).doing(|| format!("set oom_score_adj to {score}"))
}

fn run_runtime_hooks(blueprint: &Blueprint, pid: Pid) -> Result<()> {
    let Some(wanted) = blueprint.spec.hooks() else { return Ok(()) };
    let state = hooks::state(blueprint.spec, blueprint.id, blueprint.bundle, ContainerState::Creating, pid.as_raw());
    #[allow(deprecated)] // The specification deprecates prestart; bundles still have it (nvidia's, podman's).
    hooks::run(wanted.prestart(), "prestart", &state)?;
    hooks::run(wanted.create_runtime(), "createRuntime", &state)
}

/// The child, from clone to execve. Returns only the error that ended it.
fn first_process(blueprint: &Blueprint, socket: &OwnedFd) -> Error {
    match isolate(blueprint, socket).and_then(|(program, console)| start(blueprint, socket, &program, console)) {
        Ok(error) | Err(error) => error,
    }
}

/// The plot: every step that makes the container, in the order that the kernel needs.
fn isolate(blueprint: &Blueprint, socket: &OwnedFd) -> Result<(PathBuf, Option<OwnedFd>)> {
    let Blueprint { spec, namespaces, plan, .. } = blueprint;
    let place = come_to_place(blueprint)?;
    wire::send(socket, &Message::Cloned)?;
    // The kernel takes its time for a network; meanwhile the parent makes the cgroup and maps the ids.
    namespaces::unshare_late(namespaces)?;
    join_cgroup(blueprint, socket)?;
    let mapped = receive_maps(socket)?;
    if !namespaces.joins_others() {
        // Now, since until here the parent has written our maps and opened our namespaces.
        hide()?;
    }
    if namespaces.is_new(Type::User) {
        ids::become_root()?;
    }
    if namespaces.cgroup {
        explain::step("the cgroup that it is in becomes the root of all cgroups that it sees", "unshare --cgroup …");
        calls::unshare(nix::sched::CloneFlags::CLONE_NEWCGROUP).doing(|| "unshare the cgroup namespace")?;
    }
    explain::step("a session of its own: the user's terminal is not its terminal", "setsid …");
    calls::setsid().doing(|| "begin a session")?;
    let mut sources = Sources::new(spec, mapped, &blueprint.place, blueprint.given)?;
    rootfs::isolate_mounts(spec)?;
    let root = rootfs::mount_root(spec, &place, &mut sources)?;
    // It is a descriptor of the host's tree, and nothing that the container names may lead to it.
    drop(place);
    mounts::make(spec, &root, &mut sources, Which::All)?;
    let console = open_console(blueprint, &root)?;
    masks::sysctls(spec, &root)?;
    masks::protect(spec, &root)?;
    masks::mask(spec, &root)?;
    hooks_before_pivot(blueprint, socket)?;
    rootfs::pivot(spec, &root)?;
    rootfs::propagate(spec, &root)?;
    rootfs::seal(spec, &root)?;
    name_host(blueprint)?;
    if namespaces.is_new(Type::Network) {
        explain::step("a new network has a loopback of its own, 127.0.0.1, which is down", "ip link set lo up");
        calls::loopback_up().doing(|| "bring the loopback interface up")?;
    }
    // A keyring of its own, so that it inherits none of the host's keys; a kernel without keyrings has none to inherit.
    explain::step("an empty keyring of its own: it gets none of the host's keys", "keyctl session - …");
    let _ = calls::new_session_keyring();
    take_stdio(blueprint, console.as_ref())?;
    Ok((plan.settle()?, console.map(|console| console.master)))
}

/// Joins what is to be joined, and opens the directory that the root will be mounted on.
fn come_to_place(blueprint: &Blueprint) -> Result<OwnedFd> {
    let Blueprint { rootfs, namespaces, .. } = blueprint;
    if !namespaces.joins_others() {
        namespaces::join(namespaces)?;
        return rootfs::open_place(rootfs);
    }
    hide()?;
    // In another's user namespace we may not walk there any more. Of a new mount namespace the working directory is in.
    nix::unistd::chdir(rootfs).doing(|| format!("enter {}", rootfs.display()))?;
    namespaces::join(namespaces)?;
    rootfs::open_place(Path::new("."))
}

/// Until execve this is the host's program, with descriptors of the host's: not dumpable, no process that shares its pid
/// namespace may look at it (CVE-2019-5736). execve(2) makes it dumpable again.
fn hide() -> Result<()> {
    explain::step("from now on no other process may look into this one, which is still the host's program", "");
    calls::prctl(libc::PR_SET_DUMPABLE, 0).doing(|| "hide from other processes").map(drop)
}

fn join_cgroup(blueprint: &Blueprint, socket: &OwnedFd) -> Result<()> {
    match wire::receive(socket)? {
        Message::Grouped(tasks) if tasks.is_empty() => Ok(()),
        Message::Grouped(tasks) => {
            let tasks: Vec<File> = tasks.into_iter().map(File::from).collect();
            cgroup::join(&tasks, &blueprint.place)
        }
        _ => Err(maker_is_gone()),
    }
}

pub fn ask_for_maps(socket: &OwnedFd) -> Result<Vec<OwnedFd>> {
    wire::send(socket, &Message::Cloned)?;
    receive_maps(socket)
}

fn receive_maps(socket: &OwnedFd) -> Result<Vec<OwnedFd>> {
    match wire::receive(socket)? {
        Message::Mapped(mounts) => Ok(mounts),
        _ => Err(maker_is_gone()),
    }
}

fn maker_is_gone() -> Error {
    Error::new("the process that makes this container is gone")
}

fn open_console(blueprint: &Blueprint, root: &OwnedFd) -> Result<Option<console::Console>> {
    let Io::Terminal { rows, columns } = blueprint.io else { return Ok(None) };
    let opened = console::open(root, rows, columns, blueprint.plan.user())?;
    console::mount(root, &opened)?;
    Ok(Some(opened))
}

fn hooks_before_pivot(blueprint: &Blueprint, socket: &OwnedFd) -> Result<()> {
    let Some(wanted) = blueprint.spec.hooks() else { return Ok(()) };
    wire::send(socket, &Message::Mounted)?;
    if !matches!(wire::receive(socket)?, Message::Hooked) {
        return Err(maker_is_gone());
    }
    let pid = nix::unistd::getpid().as_raw();
    let state = hooks::state(blueprint.spec, blueprint.id, blueprint.bundle, ContainerState::Creating, pid);
    hooks::run(wanted.create_container(), "createContainer", &state)
}

fn name_host(blueprint: &Blueprint) -> Result<()> {
    if !blueprint.namespaces.has(Type::Uts) {
        return Ok(());
    }
    if let Some(name) = blueprint.spec.hostname() {
        explain::step("a name of its own, in its own uts namespace", format_args!("hostname {name}"));
        calls::sethostname(name).doing(|| format!("set the hostname to {name}"))?;
    }
    if let Some(name) = blueprint.spec.domainname() {
        explain::step("and a domain name", format_args!("domainname {name}"));
        calls::setdomainname(name).doing(|| format!("set the domain name to {name}"))?;
    }
    Ok(())
}

fn take_stdio(blueprint: &Blueprint, console: Option<&console::Console>) -> Result<()> {
    match (&blueprint.io, console) {
        (_, Some(console)) => process::take_stdio([&console.slave; 3], true),
        (Io::Descriptors { stdin, stdout, stderr }, None) => process::take_stdio([stdin, stdout, stderr], false),
        (Io::Terminal { .. } | Io::Inherit, None) => Ok(()),
    }
}

/// Waits at the gate, runs the last hooks, and becomes the program.
fn start(blueprint: &Blueprint, socket: &OwnedFd, program: &Path, console: Option<OwnedFd>) -> Result<Error> {
    wire::send(socket, &Message::Ready(console))?;
    let starter = match &blueprint.gate {
        Some(gate) => Some(super::gate::accept(gate)?),
        None => None,
    };
    let socket: BorrowedFd = starter.as_ref().map_or(socket.as_fd(), |starter| starter.as_fd());
    if !matches!(wire::receive(socket)?, Message::Start) {
        // Whoever created this container is gone, and nobody can start it any more.
        kernel::exit_now(1);
    }
    let begun = (|| {
        if let Some(wanted) = blueprint.spec.hooks() {
            let pid = nix::unistd::getpid().as_raw();
            let state = hooks::state(blueprint.spec, blueprint.id, blueprint.bundle, ContainerState::Created, pid);
            hooks::run(wanted.start_container(), "startContainer", &state)?;
        }
        Ok(blueprint.plan.execute(program))
    })();
    if starter.is_some() {
        // The starter, not the creator, waits for what went wrong.
        let error = match &begun {
            Ok(error) | Err(error) => error.clone(),
        };
        let _ = wire::send(socket, &Message::Failed(error));
    }
    begun
}
