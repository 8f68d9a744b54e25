//! A container's first process, from its birth to execve(2): it builds its own view of the world, top to bottom.

use super::create::{Birth, process_of};
use super::mounts::{self, Sources, Which};
use super::namespaces::{self, Namespaces};
use super::wire::{self, Message};
use super::{Io, cgroup, console, gate, hooks, ids, masks, process, rootfs};
use crate::error::{Doing, Error, Result};
use crate::explain::{self, calls};
use crate::kernel;
use oci_spec::runtime::{ContainerState, LinuxNamespaceType as Type, Spec};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// From clone to execve, or to the error that is told over `socket`.
pub fn live(birth: &Birth, socket: OwnedFd) -> ! {
    let isolated = come_apart(birth, &socket).and_then(|blueprint| {
        isolate(birth, &blueprint, &socket)?;
        Ok(blueprint.plan)
    });
    match isolated {
        Ok(mut plan) => start(birth, &mut plan, &socket),
        Err(error) => {
            let _ = wire::send(&socket, &Message::Failed(error));
            kernel::exit_now(1)
        }
    }
}

/// What the description says, ready to be done.
struct Blueprint {
    plan: process::Plan,
    rootfs: PathBuf,
}

/// The kernel takes its time for a network; meanwhile the parent writes the bundle, makes the cgroup, and maps the ids.
fn come_apart(birth: &Birth, socket: &OwnedFd) -> Result<Blueprint> {
    if !birth.namespaces.is_new(Type::Pid) {
        // Others than its own processes see it, and what it was called with may be secret (`run -e TOKEN=…`).
        kernel::forget_words("ebb", false);
    }
    if birth.namespaces.joins_others() {
        process::hide()?;
    } else {
        wire::send(socket, &Message::Cloned)?;
    }
    namespaces::unshare_late(&birth.namespaces)?;
    let spec = &birth.spec;
    let mut plan = process::plan(spec, process_of(spec)?)?;
    plan.die_with_parent = birth.options.die_with_parent;
    plan.hold_signals = spec.annotations().as_ref().is_some_and(|all| all.contains_key(super::HOLD_SIGNALS));
    plan.preserve_fds = birth.options.preserve_fds;
    let rootfs = rootfs::path(&birth.bundle, spec)?;
    Ok(Blueprint { plan, rootfs })
}

/// The plot: every step that makes the container, in the order that the kernel needs.
fn isolate(birth: &Birth, blueprint: &Blueprint, socket: &OwnedFd) -> Result<()> {
    let (Birth { spec, namespaces, .. }, plan) = (birth, &blueprint.plan);
    let place = come_to_place(namespaces, &blueprint.rootfs)?;
    namespaces::make_time(namespaces)?;
    if namespaces.joins_others() {
        wire::send(socket, &Message::Cloned)?;
    }
    join_cgroup(&birth.place, socket)?;
    let mapped = receive_maps(socket)?;
    if !namespaces.joins_others() {
        // Now, since until here the parent has written our maps and opened our namespaces.
        process::hide()?;
    }
    if namespaces.is_new(Type::User) {
        ids::become_root()?;
        process::hide()?;
    }
    if namespaces.cgroup {
        explain::step("the cgroup that it is in becomes the root of all cgroups that it sees", "unshare --cgroup …");
        calls::unshare(nix::sched::CloneFlags::CLONE_NEWCGROUP).doing(|| "unshare the cgroup namespace")?;
    }
    explain::step("a session of its own: the user's terminal is not its terminal", "setsid …");
    calls::setsid().doing(|| "begin a session")?;
    let mut sources = Sources::new(spec, mapped, &birth.place, &birth.options.given)?;
    rootfs::isolate_mounts(spec)?;
    let root = rootfs::mount_root(spec, &place, &mut sources)?;
    // It is a descriptor of the host's tree, and nothing that the container names may lead to it.
    drop(place);
    mounts::make(spec, &root, &mut sources, Which::All)?;
    let console = open_console(birth, plan, &root)?;
    masks::sysctls(spec, &root)?;
    masks::protect(spec, &root)?;
    masks::mask(spec, &root)?;
    hooks_before_pivot(birth, socket)?;
    if birth.options.no_pivot {
        rootfs::move_over(&root)?;
    } else {
        rootfs::pivot(spec, &root)?;
    }
    rootfs::propagate(spec, &root)?;
    rootfs::seal(spec, &root)?;
    name_host(namespaces, spec)?;
    if namespaces.is_new(Type::Network) {
        explain::step("a new network has a loopback of its own, 127.0.0.1, which is down", "ip link set lo up");
        calls::loopback_up().doing(|| "bring the loopback interface up")?;
    }
    process::take_own_keyring()?;
    take_stdio(&birth.io, console.as_ref())?;
    console.map_or(Ok(()), |console| wire::send(socket, &Message::Terminal(console.master)))
}

/// Joins what is to be joined, and opens the directory that the root will be mounted on.
fn come_to_place(namespaces: &Namespaces, rootfs: &Path) -> Result<OwnedFd> {
    if !namespaces.joins_others() {
        namespaces::join(namespaces)?;
        return rootfs::open_place(rootfs);
    }
    // In another's user namespace we may not walk there any more. Of a new mount namespace the working directory is in.
    nix::unistd::chdir(rootfs).doing(|| format!("enter {}", rootfs.display()))?;
    namespaces::join(namespaces)?;
    rootfs::open_place(Path::new("."))
}

fn join_cgroup(place: &str, socket: &OwnedFd) -> Result<()> {
    match wire::receive(socket)? {
        Message::Grouped(tasks) if tasks.is_empty() => Ok(()),
        Message::Grouped(tasks) => {
            let tasks: Vec<File> = tasks.into_iter().map(File::from).collect();
            cgroup::join(&tasks, place)
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

fn open_console(birth: &Birth, plan: &process::Plan, root: &OwnedFd) -> Result<Option<console::Console>> {
    let Io::Terminal { rows, columns } = birth.io else { return Ok(None) };
    let opened = console::open(root, rows, columns, plan.user())?;
    console::mount(root, &opened)?;
    Ok(Some(opened))
}

fn hooks_before_pivot(birth: &Birth, socket: &OwnedFd) -> Result<()> {
    let spec = &birth.spec;
    let Some(wanted) = spec.hooks() else { return Ok(()) };
    wire::send(socket, &Message::Mounted)?;
    if !matches!(wire::receive(socket)?, Message::Hooked) {
        return Err(maker_is_gone());
    }
    let pid = nix::unistd::getpid().as_raw();
    let state = hooks::state(spec, &birth.id, &birth.bundle, ContainerState::Creating, pid);
    hooks::run(wanted.create_container(), "createContainer", &state)
}

fn name_host(namespaces: &Namespaces, spec: &Spec) -> Result<()> {
    if !namespaces.has(Type::Uts) {
        return Ok(());
    }
    if let Some(name) = spec.hostname() {
        explain::step("a name of its own, in its own uts namespace", format_args!("hostname {name}"));
        calls::sethostname(name).doing(|| format!("set the hostname to {name}"))?;
    }
    if let Some(name) = spec.domainname() {
        explain::step("and a domain name", format_args!("domainname {name}"));
        calls::setdomainname(name).doing(|| format!("set the domain name to {name}"))?;
    }
    Ok(())
}

fn take_stdio(io: &Io, console: Option<&console::Console>) -> Result<()> {
    match (io, console) {
        (_, Some(console)) => process::take_stdio([&console.slave; 3], true),
        (Io::Descriptors { stdin, stdout, stderr }, None) => process::take_stdio([stdin, stdout, stderr], false),
        (Io::Terminal { .. } | Io::Inherit, None) => Ok(()),
    }
}

/// Finds the program, waits until it may start, runs the last hooks, and becomes the program.
fn start(birth: &Birth, plan: &mut process::Plan, socket: &OwnedFd) -> ! {
    let sockets: Vec<&OwnedFd> = std::iter::once(socket).chain(&birth.gate).collect();
    process::with_nothing_open(plan.preserve_fds, &sockets, || {
        let program = plan.settle()?;
        wire::send(socket, &Message::Ready)?;
        match &birth.gate {
            None => become_program(birth, plan, &program, socket),
            Some(gate) => {
                let starter = gate::accept(gate)?;
                // From here on the starter, not the creator, waits for what went wrong.
                let begin = || become_program(birth, plan, &program, &starter);
                process::with_nothing_open(plan.preserve_fds, &[&starter], begin)
            }
        }
    })
}

fn become_program(birth: &Birth, plan: &process::Plan, program: &process::Program, socket: &OwnedFd) -> Result<Error> {
    if !matches!(wire::receive(socket)?, Message::Start) {
        // Whoever created this container is gone, and nobody can start it any more.
        kernel::exit_now(1);
    }
    if let Some(wanted) = birth.spec.hooks() {
        let pid = nix::unistd::getpid().as_raw();
        let state = hooks::state(&birth.spec, &birth.id, &birth.bundle, ContainerState::Created, pid);
        hooks::run(wanted.start_container(), "startContainer", &state)?;
    }
    Ok(plan.execute(program))
}
