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
    /// A time namespace to make, with the offsets of its clocks in the kernel's words.
    pub time: Option<String>,
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

    fn lists(&self, kind: Type) -> bool {
        match kind {
            Type::Cgroup => self.cgroup || self.has(kind),
            Type::Time => self.time.is_some() || self.has(kind),
            Type::Pid => self.join_pid.is_some() || self.has(kind),
            _ => self.has(kind),
        }
    }

    pub fn has(&self, kind: Type) -> bool {
        self.is_new(kind) || self.join.iter().any(|(joined, _)| *joined == flag(kind))
    }
}

impl Namespaces {
    /// Whether the container has this kind for itself, or with other containers: not the one that we are in.
    pub fn is_its_own(&self, kind: Type) -> Result<bool> {
        if self.is_new(kind) {
            return Ok(true);
        }
        let Some((_, joined)) = self.join.iter().find(|(joined, _)| *joined == flag(kind)) else { return Ok(false) };
        let name = NAMES.iter().find(|(_, flag_of)| *flag_of == flag(kind)).map_or("", |(name, _)| *name);
        let ours = std::fs::metadata(format!("/proc/self/ns/{name}")).doing(|| "look at our own namespaces")?;
        let theirs = nix::sys::stat::fstat(joined).doing(|| "look at a namespace")?;
        Ok(theirs.st_ino != std::os::unix::fs::MetadataExt::ino(&ours))
    }
}

/// Reads `linux.namespaces`. What is not listed there is shared with the host.
pub fn read(spec: &Spec) -> Result<Namespaces> {
    let mut namespaces = Namespaces::default();
    for namespace in spec.linux().iter().filter_map(|linux| linux.namespaces().as_ref()).flatten() {
        let kind = namespace.typ();
        if namespaces.lists(kind) {
            return Err(Error::new(format!("the bundle lists two {kind} namespaces; a process is in one")));
        }
        match namespace.path() {
            None if kind == Type::Cgroup => namespaces.cgroup = true,
            None if kind == Type::Time => namespaces.time = Some(time_offsets(spec)?),
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
    if namespaces.time.is_none() && spec.linux().as_ref().is_some_and(|linux| linux.time_offsets().is_some()) {
        return Err(Error::new("linux.timeOffsets are those of a new time namespace, and the bundle lists none"));
    }
    // In a user namespace the kernel itself refuses every mount outside a mount namespace that belongs to it.
    if !namespaces.has(Type::Mount) && !namespaces.is_new(Type::User) {
        return Err(Error::new("the bundle lists no mount namespace; a container cannot do without"));
    }
    // A user namespace is joined first: it gives the right to join the others.
    namespaces.join.sort_by_key(|(kind, _)| *kind != libc::CLONE_NEWUSER);
    Ok(namespaces)
}

/// `linux.timeOffsets` as the kernel reads them: `monotonic 86400 0`.
fn time_offsets(spec: &Spec) -> Result<String> {
    let given = spec.linux().as_ref().and_then(|linux| linux.time_offsets().as_ref());
    let mut lines = String::new();
    for (clock, offset) in given.into_iter().flatten() {
        if !matches!(clock.as_str(), "monotonic" | "boottime") {
            return Err(Error::new(format!("linux.timeOffsets: there is no offset for the clock {clock:?}"))
                .with_cure("the clocks are monotonic and boottime"));
        }
        lines += &format!("{clock} {} {}\n", offset.secs().unwrap_or(0), offset.nanosecs().unwrap_or(0));
    }
    Ok(lines)
}

/// Makes the time namespace that the bundle asks for. unshare(2) makes it for the children to come only, until a process is in
/// it; its clocks can be set for as long as none is. So it is made, its clocks are set, and then it is joined.
pub fn make_time(namespaces: &Namespaces) -> Result<()> {
    let Some(offsets) = &namespaces.time else { return Ok(()) };
    explain::step("clocks of its own: how long the machine has run, as it will see it", "unshare --time …");
    let flags = nix::sched::CloneFlags::from_bits_retain(libc::CLONE_NEWTIME);
    calls::unshare(flags).doing(|| "make a time namespace")?;
    if !offsets.is_empty() {
        let place = "/proc/self/timens_offsets";
        explain::step("what they are ahead of the host's", format_args!("printf '{}' > {place}", offsets.trim_end()));
        calls::write(std::path::Path::new(place), offsets).doing(|| format!("write linux.timeOffsets to {place}"))?;
    }
    let made = std::fs::File::open("/proc/self/ns/time_for_children").doing(|| "open the new time namespace")?;
    explain::step("and it comes into it", "nsenter --time=/proc/self/ns/time_for_children …");
    calls::setns(&made, libc::CLONE_NEWTIME).doing(|| "join the new time namespace")
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

/// Whether this process is in the first user namespace, where root is the host's: all ids are mapped, to themselves.
pub fn is_in_first_user_namespace() -> bool {
    let map = crate::procfs::read("/proc/self/uid_map").unwrap_or_default();
    map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// Whether this is the host's root. Root of a user namespace (in rootless podman, in many a container) has the number 0, and
/// of the host's files and rights no more than the user whose it is.
pub fn is_root_of_host() -> bool {
    nix::unistd::geteuid().is_root() && is_in_first_user_namespace()
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
        Type::Time => libc::CLONE_NEWTIME,
    }
}

/// As /proc/PID/ns calls them.
const NAMES: [(&str, i32); 7] = [
    ("user", libc::CLONE_NEWUSER),
    ("mnt", libc::CLONE_NEWNS),
    ("pid", libc::CLONE_NEWPID),
    ("uts", libc::CLONE_NEWUTS),
    ("ipc", libc::CLONE_NEWIPC),
    ("net", libc::CLONE_NEWNET),
    ("cgroup", libc::CLONE_NEWCGROUP),
];

/// The bundle's own time namespace, for who joins a process: most have none, and a kernel may not know of any.
pub fn time_of(spec: &Spec) -> i32 {
    let listed = spec.linux().as_ref().and_then(|linux| linux.namespaces().as_ref());
    let has = listed.into_iter().flatten().any(|namespace| namespace.typ() == Type::Time);
    if has { libc::CLONE_NEWTIME } else { 0 }
}

/// Which of process `pid`'s namespaces differ from ours, as CLONE_NEW*: joining one's own user namespace is EINVAL.
pub fn that_differ(pid: i32) -> Result<i32> {
    use std::os::unix::fs::MetadataExt;
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
