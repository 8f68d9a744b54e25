//! One OCI bundle -> one process. This half of Ebb knows the kernel and the OCI runtime specification, and nothing of
//! images, volumes, container names or the store.

pub mod binary;
pub mod capabilities;
pub mod cgroup;
pub mod detached;
pub mod features;
mod home;
pub mod hooks;
pub mod lifecycle;
pub mod locked;
pub mod rlimits;
pub mod seccomp;
pub mod state;

mod cgroupfs;
mod confined;
mod console;
mod create;
mod devices;
mod entering;
mod exec;
mod first_process;
mod gate;
pub mod ids;
mod mapped;
mod masks;
mod mounts;
mod namespaces;
mod options;
pub mod pidfds;
mod place;
mod process;
pub mod program;
mod refused;
mod rootfs;
mod seizable;
mod share;
mod wire;
mod within;

pub use confined::no_upper;
pub use create::Begun;
pub use detached::Given;
pub use mounts::bind_at;
pub use namespaces::{is_in_first_user_namespace, is_root_of_host, mounts_of};
pub use options::{IDMAP_WHERE_POSSIBLE, NO_LINKS, SUBPATH, is_own_word, owner_option, subpath_option};

use crate::error::{Doing, Error, Result};
use crate::store::bounds;
use nix::unistd::Pid;
use oci_spec::runtime::{Process, Spec};
use serde::{Serialize, de::DeserializeOwned};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// What the container's first process gets as descriptors 0, 1 and 2.
pub enum Io {
    /// These three, already open.
    Descriptors { stdin: OwnedFd, stdout: OwnedFd, stderr: OwnedFd },
    /// A new pseudo-terminal in the container's own devpts; its master comes back in [`Init::console`].
    Terminal { rows: u16, columns: u16 },
    /// The caller's own 0, 1 and 2.
    Inherit,
}

/// A created container: its first process waits, fully isolated, just before execve(2).
pub struct Init {
    pub pid: Pid,
    pub pidfd: OwnedFd,
    pub console: Option<OwnedFd>,
    /// The cgroup's place, relative to each hierarchy's root; empty where this user may make none.
    pub cgroup: String,
    /// Where it waits; nothing is behind it once it runs.
    gate: Option<OwnedFd>,
    /// It has been let go already ([`CreateOptions::at_once`]).
    let_go: bool,
}

impl Init {
    /// Lets the process exec. Returns when execve(2) has succeeded, or with `Kind::NotExecutable` (126) or
    /// `Kind::CommandNotFound` (127) when it has not.
    pub fn start(&mut self) -> Result<()> {
        let gate = self.gate.take().ok_or_else(|| Error::new("this process has been started already"))?;
        if !self.let_go {
            wire::send(&gate, &wire::Message::Start)?;
        }
        gate::finish(&gate)
    }

    /// [`Init::start`] of what [`exec`] began, with the same `leash`: the container may kill or stop it before it execs.
    pub fn start_entered(&mut self, leash: Option<BorrowedFd>) -> Result<()> {
        let gate = self.gate.take().ok_or_else(|| Error::new("this process has been started already"))?;
        wire::send(&gate, &wire::Message::Start)?;
        entering::await_word(&gate, &self.pidfd, leash, exec::ENDED)?;
        gate::finish(&gate)
    }
}

/// What the names of all annotations begin with by which `engine` tells `oci` more than the specification can say.
pub const OWN_ANNOTATIONS: &str = "dev.ebb.";

/// The annotation of a bundle whose root is only to be changed by chroot(2): a lesson shows with it what pivot_root(2)
/// is for. It is honoured in a user namespace only.
pub const CHROOT_ONLY: &str = "dev.ebb.chroot-only";

/// The annotation that names the host's path of a device which the bundle shows under another: this, and the path inside.
/// It is needed where the host's node is bound, in a user namespace; the type and the number must be the bundle's.
pub const DEVICE_SOURCE: &str = "dev.ebb.device:";

/// The annotation of a bundle whose program takes its signals when it is ready to, as an init does: they are blocked when it
/// is executed, and wait. A first process has no default for them, so that one which came sooner would be lost.
pub const HOLD_SIGNALS: &str = "dev.ebb.hold-signals";

/// What the bundle itself does not say.
#[derive(Debug, Default, Clone)]
pub struct CreateOptions {
    /// Send SIGKILL to the container when the process that created it dies.
    pub die_with_parent: bool,
    /// Descriptors beyond 2 to leave open (runc's --preserve-fds).
    pub preserve_fds: u32,
    /// Where to bind a socket (AF_UNIX, stream) through which another process than this one starts the container, by
    /// [`start_through`]. The container's first process accepts one connection there in the place of waiting for
    /// [`Init::start`], so it does not end with the process that created it.
    pub gate: Option<PathBuf>,
    /// Do not change the root by pivot_root(2), which a root on an initramfs cannot be (runc's --no-pivot).
    pub no_pivot: bool,
    /// Mounts that are there already, and that the bundle only names.
    pub given: Vec<Given>,
    /// Let the process exec as soon as it is ready to. [`Init::start`] must still be called: it tells how execve(2) went.
    pub at_once: bool,
}

/// What a process that [`exec`] adds may be given beside what describes it.
#[derive(Debug, Default)]
pub struct ExecOptions {
    /// Descriptors beyond 2 to leave open.
    pub preserve_fds: u32,
    /// Where below the container's cgroup it is to be.
    pub cgroups: Vec<cgroup::Below>,
}

/// Does what [`Init::start`] does, from another process: connects to the socket that was [`CreateOptions::gate`].
pub fn start_through(gate: &Path) -> Result<()> {
    gate::start(gate)
}

/// Begins to make the container that `spec` describes: its first process is born into its namespaces, and goes as far as it
/// can by itself. [`Begun::create`] does the rest. `bundle` is the directory that the specification's relative paths are
/// relative to; its config.json is not read.
///
/// Of cgroup v2 a process is a member from birth ([`cgroup::is_born_into`]): there the cgroup is made here, before it.
///
/// Ebb's own bundles hold the root file system as the first mount: `{destination: "/", type: "overlay", options:
/// [lowerdir=…, upperdir=…, workdir=…]}`, mounted inside the container's own mount namespace. A `uidMappings` on a mount
/// asks for an id-mapped mount.
pub fn begin(spec: Spec, bundle: &Path, id: &str, io: Io, options: CreateOptions) -> Result<Begun> {
    spec.process().as_ref().map_or(Ok(()), refuse_no_id)?;
    create::begin(spec, bundle, id, io, options)
}

/// Runs one more process in the container whose first process is `target`, which `pidfd` is a handle on. `spec` is the
/// container's bundle (its seccomp filter, its cgroup), `process` the new process. When the other end of `leash` is closed
/// while it enters the container, it is given up, and killed.
pub fn exec(
    target: Pid,
    pidfd: OwnedFd,
    spec: &Spec,
    process: &Process,
    io: Io,
    options: &ExecOptions,
    leash: Option<BorrowedFd>,
) -> Result<Init> {
    refuse_no_id(process)?;
    refused::process(process)?;
    exec::exec(target, pidfd, spec, process, io, options, leash)
}

/// How to see a container's files.
pub enum View<'a> {
    /// Through a running container's mount namespace, which is [`mounts_of`] its first process.
    Running(OwnedFd),
    /// A stopped one's: its bundle's user namespace and its mounts (volumes too), made again in a private namespace; those
    /// that were given for it are used as they are.
    Bundle(&'a Path, &'a [Given]),
    /// Only the layers of an image (the bottom one first), read-only, with the given ids.
    Layers { layers: &'a [PathBuf], ids: Option<&'a IdMap> },
}

/// Runs `work` in a forked child that sees the container's files, with the container's ids, and returns what it
/// returned. `work` is given the container's root directory as an O_PATH descriptor, to resolve in with
/// `store::beneath`; the child is not chrooted and runs none of the container's programs.
/// Descriptors open in the caller (a pipe to stream through) are open in the child too.
pub fn within<T: Serialize + DeserializeOwned>(view: View, work: impl FnOnce(BorrowedFd) -> Result<T>) -> Result<T> {
    within::within(view, work)
}

/// Runs `work` in a forked child inside a user namespace with `mappings` (or in this one, where they are `None`), where
/// it may chown to every mapped id: to unpack layers, copy up volumes and remove trees without root.
pub fn with_ids<T: Serialize + DeserializeOwned>(
    mappings: Option<&IdMap>,
    work: impl FnOnce() -> Result<T>,
) -> Result<T> {
    within::with_ids(mappings, work)
}

/// Becomes, for good, a process with these ids and capabilities (bits) in the user namespace that it is in: to ask the
/// kernel what such a process may do. To be called in the child of [`within`].
pub fn become_user(uid: u32, gid: u32, groups: &[u32], capabilities: u64) -> Result<()> {
    process::become_asker(uid, gid, groups, capabilities)
}

/// The id maps of a user namespace, as in the OCI specification.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct IdMap {
    /// (inside, outside, length)
    pub uids: Vec<(u32, u32, u32)>,
    pub gids: Vec<(u32, u32, u32)>,
}

/// What `/proc/PID/stat` says of a process: (state letter, start time). `None` when there is none. The start time is
/// field 22: with the pid and the boot id it names a process for ever.
pub fn process_stat(pid: i32) -> Option<(char, u64)> {
    let stat = crate::procfs::read(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

/// Whether a process is known to be there no more, or to be another by now: its `stat` was read and says so, or the kernel says
/// that there is none. Where that cannot be asked (no descriptor, no memory), it is not known.
pub fn has_surely_ended(pid: i32, start_time: u64) -> bool {
    match crate::procfs::read(format!("/proc/{pid}/stat")) {
        Ok(_) => process_stat(pid).is_some_and(|(state, start)| start != start_time || matches!(state, 'Z' | 'X')),
        Err(error) => matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)),
    }
}

/// Tries whether the mount at `path` (and those below it) can be id-mapped; an error holds the kernel's reason why not. Only
/// root has use for the answer: to map the ids of a file system takes CAP_SYS_ADMIN in the user namespace that it was
/// mounted in.
pub fn map_ids_for_a_try(path: &Path, recursive: bool) -> Result<()> {
    let userns = ids::namespace(&IdMap { uids: vec![(0, 1, 1)], gids: vec![(0, 1, 1)] })?;
    crate::explain::step(
        "can this file system translate ids? A copy of its mount is asked, and thrown away",
        format_args!("mount --bind -o X-mount.idmap=… {} …", path.display()),
    );
    let copy = mounts::copy(path, recursive)?;
    crate::explain::calls::mount_setattr(&copy, recursive, 0, 0, 0, Some(std::os::fd::AsFd::as_fd(&userns)))
        .doing(|| format!("map the ids of the mount of {}", path.display()))
}

/// Reads `bundle/config.json`.
pub fn read_bundle(bundle: &Path) -> Result<Spec> {
    let path = bundle.join("config.json");
    let text = bounds::read_named(&path).doing(|| format!("read {}", path.display()))?;
    let spec: Spec = serde_json::from_str(&text).doing(|| format!("read {}", path.display()))?;
    spec.process().as_ref().map_or(Ok(()), refuse_no_id)?;
    Ok(spec)
}

/// The largest number is no id: setresuid(2) takes it for "stay who you are", which is root.
fn refuse_no_id(process: &Process) -> Result<()> {
    let user = process.user();
    let all = [user.uid(), user.gid()].into_iter().chain(user.additional_gids().iter().flatten().copied());
    match all.into_iter().any(|id| id == u32::MAX) {
        true => Err(Error::new(format!("{} is no id: process.user names a user or a group that cannot be", u32::MAX))),
        false => Ok(()),
    }
}

/// Whether there can be a user namespace at all; an error says why not.
pub fn user_namespace_for_a_try() -> Result<()> {
    ids::namespace(&IdMap { uids: vec![(0, 1, 1)], gids: vec![(0, 1, 1)] }).map(drop)
}
