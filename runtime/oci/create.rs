//! `create`: from a bundle to a process that is fully isolated and waits just before execve(2).
//!
//! The parent clones, and does over a socket pair what only the outside may; the child, which is born with the description of
//! what it is to become, builds its own view, top to bottom, in [`first_process`].

use super::namespaces::{self, Namespaces};
use super::wire::{self, Message};
use super::{
    CreateOptions, Init, Io, cgroup, entering, first_process, gate, hooks, ids, mapped, refused, rlimits, seizable,
};
use crate::error::{Doing, Error, Result};
use crate::explain::{self, calls};
use crate::kernel::Cloned;
use nix::sys::stat::{SFlag, fstat};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, Uid, fchown};
use oci_spec::runtime::{ContainerState, LinuxNamespaceType as Type, Process, Spec};
use std::fmt::Display;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// What the child has from the moment of its birth.
pub struct Birth {
    pub spec: Spec,
    pub bundle: PathBuf,
    pub id: String,
    pub io: Io,
    pub namespaces: Namespaces,
    /// Its cgroup's place; empty where it has none.
    pub place: String,
    pub options: CreateOptions,
    pub gate: Option<OwnedFd>,
}

/// A container's first process in its new namespaces. The kernel takes its time for a network; meanwhile its parent may do
/// whatever else is to be done. One that is dropped is killed.
pub struct Begun {
    birth: Birth,
    /// In cgroup v2, where it was born into it.
    cgroup: Option<cgroup::Prepared>,
    /// On a hybrid host, where it was born in the tree of version 2.
    birthplace: Option<cgroup::Birthplace>,
    process: Option<Newborn>,
}

struct Newborn {
    pid: Pid,
    pidfd: OwnedFd,
    socket: OwnedFd,
}

/// What the parent does while the child mounts.
type Meanwhile<'a> = &'a mut dyn FnMut(Pid, &str) -> Result<()>;

pub fn begin(spec: Spec, bundle: &Path, id: &str, io: Io, options: CreateOptions) -> Result<Begun> {
    let namespaces = namespaces::read(&spec)?;
    refused::check(&spec, &namespaces)?;
    if let (Some(joined), false) = (&namespaces.join_pid, namespaces.has(Type::User)) {
        seizable::refuse_among_tracers(joined)?;
    }
    let path = cgroups_path(&spec, id);
    let gate = options.gate.as_deref().map(gate::bind).transpose()?;
    let cgroup = if cgroup::is_born_into() { Some(prepare_cgroup(&spec, &path)?) } else { None };
    let birthplace = cgroup::Birthplace::prepare(&path)?;
    let born_into = cgroup.as_ref().and_then(cgroup::Prepared::into_cgroup_fd);
    let born_into = born_into.or(birthplace.as_ref().map(cgroup::Birthplace::as_cgroup_fd));
    let place = cgroup::name(&path);
    let birth = Birth { spec, bundle: bundle.to_owned(), id: id.to_owned(), io, namespaces, place, options, gate };
    match clone(&birth, born_into) {
        Ok(process) => Ok(Begun { birth, cgroup, birthplace, process: Some(process) }),
        Err(error) => {
            if let Some(cgroup) = &cgroup {
                let _ = cgroup::remove(cgroup.path());
            }
            Err(error)
        }
    }
}

impl Begun {
    pub fn pid(&self) -> Result<Pid> {
        self.process.as_ref().map(|process| process.pid).ok_or_else(|| Error::new("the first process is gone"))
    }

    /// What it is to become.
    pub fn spec(&self) -> &Spec {
        &self.birth.spec
    }

    /// Does for it what only the outside may, and sees it to where it waits just before execve(2).
    pub fn create(mut self, meanwhile: Meanwhile) -> Result<Init> {
        // The cgroup is ours to remove: it was there for nobody before.
        let mut grouped = self.cgroup.is_some();
        let Some(newborn) = &self.process else { return Err(Error::new("this process is created already")) };
        let let_go = self.lets_go_at_once();
        let accompanied = self.accompany(newborn, &mut grouped, meanwhile);
        let cgroup = self.birth.place.clone();
        match (accompanied, self.process.take()) {
            (Ok(console), Some(Newborn { pid, pidfd, socket })) => {
                if let Some(birthplace) = self.birthplace.take() {
                    birthplace.keep();
                }
                Ok(Init { pid, pidfd, console, cgroup, gate: Some(socket), let_go })
            }
            (ready, newborn) => {
                let error = ready.err().unwrap_or_else(|| Error::new("the first process is gone"));
                let error = newborn.and_then(end).unwrap_or(error);
                if grouped {
                    let _ = cgroup::remove(&cgroup);
                }
                Err(error)
            }
        }
    }

    /// Whether it finds its `Start` waiting when it is ready: two messages less to wait for. Not where hooks have a word to say
    /// first.
    fn lets_go_at_once(&self) -> bool {
        self.birth.options.at_once && self.birth.gate.is_none() && self.birth.spec.hooks().is_none()
    }

    /// The parent's half.
    fn accompany(&self, newborn: &Newborn, grouped: &mut bool, meanwhile: Meanwhile) -> Result<Option<OwnedFd>> {
        let (Newborn { pid, socket, .. }, birth, spec) = (newborn, &self.birth, &self.birth.spec);
        let process = process_of(spec)?;
        give_pipes(&birth.io, spec, process.user().uid())?;
        rlimits::apply(*pid, process.rlimits().as_deref().unwrap_or_default())?;
        if let Some(score) = process.oom_score_adj() {
            set_oom_score(pid, score)?;
        }
        let tasks = match &self.cgroup {
            Some(_) => Vec::new(),
            None => prepare_cgroup(spec, &cgroups_path(spec, &birth.id))?.into_tasks(),
        };
        *grouped = true;
        wire::send(socket, &Message::Grouped(tasks))?;
        let mut console = None;
        loop {
            match wire::receive(socket)? {
                Message::Cloned => {
                    if let (true, Some(map)) = (birth.namespaces.is_new(Type::User), ids::of(spec)) {
                        ids::write(*pid, &map)?;
                    }
                    wire::send(socket, &Message::Mapped(mapped::mounts(spec, *pid, &birth.options.given)?))?;
                    meanwhile(*pid, &birth.place)?;
                    if self.lets_go_at_once() {
                        wire::send(socket, &Message::Start)?;
                    }
                }
                Message::Mounted => {
                    run_runtime_hooks(birth, *pid)?;
                    wire::send(socket, &Message::Hooked)?;
                }
                Message::Terminal(master) => console = Some(master),
                Message::Ready => return Ok(console),
                Message::Failed(error) => return Err(error),
                _ => return Err(died(*pid)),
            }
        }
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        let Some(newborn) = self.process.take() else { return };
        end(newborn);
        if self.cgroup.is_some() {
            let _ = cgroup::remove(&self.birth.place);
        }
    }
}

/// Kills it, reaps it, and returns what it said of its failure, if it did: that tells more than what we saw of it.
fn end(newborn: Newborn) -> Option<Error> {
    let _ = calls::pidfd_send_signal(&newborn.pidfd, libc::SIGKILL);
    let _ = waitpid(newborn.pid, None);
    loop {
        match wire::receive(&newborn.socket) {
            Ok(Message::Failed(error)) => return Some(error),
            Ok(Message::End) | Err(_) => return None,
            Ok(_) => {}
        }
    }
}

pub fn process_of(spec: &Spec) -> Result<&Process> {
    spec.process().as_ref().ok_or_else(|| Error::new("the bundle's config.json has no process"))
}

/// The bundle's `cgroupsPath`. It may leave the place to the runtime; two roots of states may use one id, so that alone will
/// not do.
fn cgroups_path(spec: &Spec, id: &str) -> String {
    let asked = spec.linux().as_ref().and_then(|linux| linux.cgroups_path().as_ref());
    let asked = asked.map(|path| path.to_string_lossy().into_owned());
    asked.unwrap_or_else(|| format!("/ebb/{id}-{}", std::process::id()))
}

fn prepare_cgroup(spec: &Spec, path: &str) -> Result<cgroup::Prepared> {
    let resources = spec.linux().as_ref().map_or(&None, |linux| linux.resources());
    if may_make_devices(spec) {
        cgroup::refuse_unheld_rules(resources.as_ref())?;
    }
    cgroup::prepare(path, resources)
}

/// Without a user namespace, and with CAP_MKNOD, only the rules for its cgroup keep a container from the host's devices.
fn may_make_devices(spec: &Spec) -> bool {
    let namespaces = spec.linux().as_ref().and_then(|linux| linux.namespaces().as_ref());
    let in_user_namespace = namespaces.into_iter().flatten().any(|namespace| namespace.typ() == Type::User);
    let capabilities = spec.process().as_ref().and_then(|process| process.capabilities().as_ref());
    let bounding = capabilities.and_then(|sets| sets.bounding().as_ref());
    let has_right = bounding.is_some_and(|set| set.contains(&oci_spec::runtime::Capability::Mknod));
    !in_user_namespace && has_right && namespaces::is_in_first_user_namespace()
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

fn clone(birth: &Birth, cgroup: Option<BorrowedFd>) -> Result<Newborn> {
    let (ours, theirs) = wire::pair()?;
    if let Some(joined) = &birth.namespaces.join_pid {
        return clone_among_others(birth, cgroup, joined, ours, theirs);
    }
    match clone_apart(birth, cgroup, 0)? {
        Cloned::Child => {
            explain::process("container");
            drop(ours);
            first_process::live(birth, theirs)
        }
        Cloned::Parent { pid, pidfd } => Ok(Newborn { pid, pidfd, socket: ours }),
    }
}

fn clone_apart(birth: &Birth, cgroup: Option<BorrowedFd>, more: u64) -> Result<Cloned> {
    let flags = birth.namespaces.at_clone();
    explain::step(
        "a new process, born into namespaces of its own: what it sees of the machine is no longer what we see",
        format_args!("unshare --fork {} …", namespaces::as_unshare_options(flags)),
    );
    calls::clone3(flags | more, cgroup).doing(|| "clone into new namespaces").map_err(super::confined::explain_clone)
}

/// To join a pid namespace counts for one's children, and who is not the host's root cannot go back to its own. So a child of ours
/// joins it, and bears the first process as its sibling: ours to wait for.
fn clone_among_others(
    birth: &Birth,
    cgroup: Option<BorrowedFd>,
    joined: &OwnedFd,
    ours: OwnedFd,
    theirs: OwnedFd,
) -> Result<Newborn> {
    let (hear, tell) = wire::pair()?;
    explain::step("a process that will go through the door into the other pid namespace", "");
    match calls::clone3(0, None).doing(|| "clone")? {
        Cloned::Child => {
            explain::process("door");
            drop((ours, hear));
            explain::step("its children are from here on born into that pid namespace", "nsenter --pid=… …");
            let entered = calls::setns(joined, libc::CLONE_NEWPID).doing(|| "join the pid namespace");
            let word = match entered.and_then(|()| clone_apart(birth, cgroup, libc::CLONE_PARENT as u64)) {
                Ok(Cloned::Child) => {
                    explain::process("container");
                    drop(tell);
                    first_process::live(birth, theirs)
                }
                Ok(Cloned::Parent { pid, pidfd }) => Message::Entered(pid.as_raw(), pidfd),
                Err(error) => Message::Failed(error),
            };
            let _ = wire::send(&tell, &word);
            crate::kernel::exit_now(0)
        }
        Cloned::Parent { pid: door, pidfd } => {
            drop((theirs, tell));
            let said = wire::receive(&hear);
            entering::see_out(door, &pidfd);
            match said? {
                Message::Entered(pid, pidfd) => Ok(Newborn { pid: Pid::from_raw(pid), pidfd, socket: ours }),
                Message::Failed(error) => Err(error),
                _ => Err(died(door)),
            }
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

fn run_runtime_hooks(birth: &Birth, pid: Pid) -> Result<()> {
    let spec = &birth.spec;
    let Some(wanted) = spec.hooks() else { return Ok(()) };
    let state = hooks::state(spec, &birth.id, &birth.bundle, ContainerState::Creating, pid.as_raw());
    #[allow(deprecated)] // The specification deprecates prestart; bundles still have it (nvidia's, podman's).
    hooks::run(wanted.prestart(), "prestart", &state)?;
    hooks::run(wanted.create_runtime(), "createRuntime", &state)
}
