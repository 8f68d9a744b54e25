//! Namespaces: what a process sees of the machine. Made by clone3(2), or joined where the bundle names one.

use crate::error::{Doing, Error, Result};
use crate::explain::{self, calls};
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use nix::unistd::Pid;
use oci_spec::runtime::{LinuxNamespaceType as Type, Spec};
use std::os::fd::{AsFd, OwnedFd};

/// The bundle's namespaces, ready for the clone.
#[derive(Debug, Default)]
pub struct Namespaces {
    /// CLONE_NEW* of those that are made with the process.
    pub new: u64,
    /// A cgroup namespace is made by the child itself, once it is in its cgroup, which becomes the namespace's root.
    pub cgroup: bool,
    /// Those to join: their type and an open descriptor.
    pub join: Vec<(i32, OwnedFd)>,
    /// The pid namespace to join; only children of the joining process are in it, so the parent joins before the clone.
    pub join_pid: Option<OwnedFd>,
}

/// What takes the kernel longest to make. The child makes these itself, while the parent does its own part.
const LATE: u64 = (libc::CLONE_NEWNET | libc::CLONE_NEWIPC) as u64;

impl Namespaces {
    pub fn is_new(&self, kind: Type) -> bool {
        self.new & flag(kind) as u64 != 0
    }

    /// The flags for clone3(2). What is made in a clone belongs to the user namespace of that moment: where one is joined
    /// first, the others are made after that, by the child itself.
    pub fn at_clone(&self) -> u64 {
        if self.joins_user() { self.new & libc::CLONE_NEWPID as u64 } else { self.new & !LATE }
    }

    fn joins_user(&self) -> bool {
        self.join.iter().any(|(kind, _)| *kind == libc::CLONE_NEWUSER)
    }

    /// Whether others' processes may see this one while it builds its view.
    pub fn joins_others(&self) -> bool {
        self.joins_user() || self.join_pid.is_some()
    }

    pub fn has(&self, kind: Type) -> bool {
        self.is_new(kind) || self.join.iter().any(|(joined, _)| *joined == flag(kind))
    }
}

/// Reads `linux.namespaces`. What is not listed there is shared with the host.
pub fn read(spec: &Spec) -> Result<Namespaces> {
    let mut namespaces = Namespaces::default();
    for namespace in spec.linux().iter().filter_map(|linux| linux.namespaces().as_ref()).flatten() {
        let kind = namespace.typ();
        match namespace.path() {
            None if kind == Type::Cgroup => namespaces.cgroup = true,
            None => namespaces.new |= flag(kind) as u64,
            Some(path) => {
                let opened = openat(AT_FDCWD, path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty());
                let opened = opened.doing(|| format!("open the {kind} namespace {}", path.display()))?;
                if kind == Type::Pid {
                    namespaces.join_pid = Some(opened);
                } else {
                    namespaces.join.push((flag(kind), opened));
                }
            }
        }
    }
    // In a user namespace the kernel itself refuses every mount outside a mount namespace that belongs to it.
    if !namespaces.has(Type::Mount) && !namespaces.is_new(Type::User) {
        return Err(Error::new("the bundle lists no mount namespace; a container cannot do without"));
    }
    // A user namespace is joined first: it gives the right to join the others.
    namespaces.join.sort_by_key(|(kind, _)| *kind != libc::CLONE_NEWUSER);
    Ok(namespaces)
}

/// Joins what the bundle names; in the child, before anything else.
pub fn join(namespaces: &Namespaces) -> Result<()> {
    for (kind, namespace) in &namespaces.join {
        explain::step("it comes into a namespace that is there already", "nsenter …");
        calls::setns(namespace, *kind).doing(|| "join a namespace")?;
        if *kind == libc::CLONE_NEWUSER {
            super::ids::become_root()?;
            super::process::hide()?;
        }
    }
    if namespaces.joins_user() {
        let late = namespaces.new & !(libc::CLONE_NEWPID as u64);
        let late = nix::sched::CloneFlags::from_bits_retain(late as i32);
        explain::step("the namespaces that belong to the user namespace it has just come into", "unshare …");
        calls::unshare(late).doing(|| "make the other namespaces")?;
    }
    Ok(())
}

/// Makes those that the clone has left out.
pub fn unshare_late(namespaces: &Namespaces) -> Result<()> {
    let late = if namespaces.joins_user() { 0 } else { namespaces.new & LATE };
    if late == 0 {
        return Ok(());
    }
    explain::step(
        "namespaces that take the kernel longer: a network of its own, with nothing in it yet, and message queues",
        format_args!("unshare {} …", as_unshare_options(late)),
    );
    calls::unshare(nix::sched::CloneFlags::from_bits_retain(late as i32)).doing(|| "make the other namespaces")
}

/// The mount namespace of a process, which is there for as long as it is held, whatever becomes of the process; `None` where
/// that has ended already.
pub fn mounts_of(pid: Pid, pidfd: &OwnedFd) -> Result<Option<OwnedFd>> {
    let opened = std::fs::File::open(format!("/proc/{pid}/ns/mnt"));
    // Asked after it was opened: until it has ended the number is no other's.
    let mut ended = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    match poll(&mut ended, PollTimeout::ZERO).doing(|| "ask whether a process has ended")? {
        0 => opened.map(|opened| Some(opened.into())).doing(|| format!("open the mount namespace of process {pid}")),
        _ => Ok(None),
    }
}

/// Joins a mount namespace, and first the user namespace that owns it, where that is not ours: it gives the right to.
/// Returns whether it was another.
pub fn join_mounts(namespace: &OwnedFd) -> Result<bool> {
    let owner = crate::kernel::owning_user_namespace(namespace).doing(|| "find out whose a mount namespace is")?;
    let ours = std::fs::metadata("/proc/self/ns/user").doing(|| "look at our own namespaces")?;
    let theirs = nix::sys::stat::fstat(&owner).doing(|| "look at a namespace")?;
    let is_another = theirs.st_ino != std::os::unix::fs::MetadataExt::ino(&ours);
    if is_another {
        explain::step("into the user namespace that owns the mounts", "nsenter --user=… …");
        calls::setns(&owner, libc::CLONE_NEWUSER).doing(|| "join a user namespace")?;
    }
    explain::step("into the mount namespace where it is mounted", "nsenter --mount=… …");
    calls::setns(namespace, libc::CLONE_NEWNS).doing(|| "join a mount namespace").map(|()| is_another)
}

/// The same namespaces for unshare(1), to be shown.
pub fn as_unshare_options(flags: u64) -> String {
    const OPTIONS: [(i32, &str); 6] = [
        (libc::CLONE_NEWUSER, "--user"),
        (libc::CLONE_NEWNS, "--mount"),
        (libc::CLONE_NEWPID, "--pid"),
        (libc::CLONE_NEWNET, "--net"),
        (libc::CLONE_NEWUTS, "--uts"),
        (libc::CLONE_NEWIPC, "--ipc"),
    ];
    let options = OPTIONS.iter().filter(|(flag, _)| flags & *flag as u64 != 0).map(|(_, option)| *option);
    options.collect::<Vec<_>>().join(" ")
}

pub fn flag(kind: Type) -> i32 {
    match kind {
        Type::Mount => libc::CLONE_NEWNS,
        Type::Cgroup => libc::CLONE_NEWCGROUP,
        Type::Uts => libc::CLONE_NEWUTS,
        Type::Ipc => libc::CLONE_NEWIPC,
        Type::User => libc::CLONE_NEWUSER,
        Type::Pid => libc::CLONE_NEWPID,
        Type::Network => libc::CLONE_NEWNET,
        Type::Time => 0x80,
    }
}

/// Which of process `pid`'s namespaces differ from ours, as CLONE_NEW*: joining one's own user namespace is EINVAL.
pub fn that_differ(pid: i32) -> Result<i32> {
    use std::os::unix::fs::MetadataExt;
    const NAMES: [(&str, i32); 7] = [
        ("user", libc::CLONE_NEWUSER),
        ("mnt", libc::CLONE_NEWNS),
        ("pid", libc::CLONE_NEWPID),
        ("uts", libc::CLONE_NEWUTS),
        ("ipc", libc::CLONE_NEWIPC),
        ("net", libc::CLONE_NEWNET),
        ("cgroup", libc::CLONE_NEWCGROUP),
    ];
    let mut flags = 0;
    for (name, flag) in NAMES {
        let theirs = std::fs::metadata(format!("/proc/{pid}/ns/{name}"))
            .doing(|| format!("look at the {name} namespace of process {pid}"))?;
        let ours = std::fs::metadata(format!("/proc/self/ns/{name}")).doing(|| "look at our own namespaces")?;
        if (theirs.dev(), theirs.ino()) != (ours.dev(), ours.ino()) {
            flags |= flag;
        }
    }
    Ok(flags)
}
