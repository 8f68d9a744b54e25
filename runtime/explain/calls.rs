//! The system calls that isolate, mount, change who we are, and change the store: each tells what it does.
//! Nobody else makes them (`tests/tidy.rs`); the signatures are those of `kernel` and of nix.

mod files;
mod process;

pub use files::*;
pub use process::*;

use super::{Call, entered, names, secrets, tell, tell_first, tell_first_at, tell_last};
use crate::kernel::{self, Bpf, Cloned};
use caps::{CapSet, CapsHashSet};
use nix::mount::{MntFlags, MsFlags};
use nix::sched::CloneFlags;
use nix::unistd::{Gid, Uid};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::panic::Location;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};

fn zero<T>(_: &T) -> String {
    "0".into()
}

fn number(fd: &OwnedFd) -> String {
    fd.as_raw_fd().to_string()
}

fn fd(fd: impl AsFd) -> String {
    match fd.as_fd().as_raw_fd() {
        libc::AT_FDCWD => "AT_FDCWD".into(),
        number => number.to_string(),
    }
}

#[track_caller]
pub fn clone3(flags: u64, cgroup: Option<BorrowedFd>) -> nix::Result<Cloned> {
    let call = || {
        let into = if cgroup.is_some() { 0x2_0000_0000 } else { 0 };
        let signal = if flags & libc::CLONE_PARENT as u64 == 0 { "SIGCHLD" } else { "0" };
        let shown = names::flags(flags | into | libc::CLONE_PIDFD as u64, names::CLONE);
        Call::new("clone3", format!("{{flags={shown}, exit_signal={signal}}}"))
    };
    let cloned = tell_first(call, || kernel::clone3(flags, cgroup))?;
    if matches!(cloned, Cloned::Child) {
        entered(flags);
        super::process("child");
    }
    Ok(cloned)
}

/// clone(2) of a sibling: its parent is ours.
#[track_caller]
pub fn clone_sibling() -> nix::Result<Cloned> {
    let flags = names::flags((libc::CLONE_PARENT | libc::CLONE_PIDFD) as u64, names::CLONE);
    tell_first(|| Call::new("clone", format!("flags={flags}")), kernel::clone_sibling)
}

#[track_caller]
pub fn fork() -> nix::Result<Cloned> {
    clone3(0, None)
}

/// Runs another program to its end, and collects what it says.
#[track_caller]
pub fn output(command: &mut Command) -> std::io::Result<Output> {
    let call = spawned(command);
    let place = Location::caller();
    keeping_error(|make| tell_first_at(place, || call, make), || command.output())
}

/// Starts another program, which reads nothing, and whose complaints are to be collected.
#[track_caller]
pub fn spawn(command: &mut Command) -> std::io::Result<Child> {
    let call = spawned(command);
    let place = Location::caller();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    keeping_error(|make| tell_first_at(place, || call, make), || command.spawn())
}

/// Runs another program to its end.
#[track_caller]
pub fn status(command: &mut Command) -> std::io::Result<ExitStatus> {
    let call = spawned(command);
    let place = Location::caller();
    keeping_error(|make| tell_first_at(place, || call, make), || command.status())
}

/// The C library forks and executes for std; what the program then does is its own story.
fn spawned(command: &Command) -> Call {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    Call::new("posix_spawn", words.map(|word| format!("{:?}", word.to_string_lossy())).collect::<Vec<_>>().join(", "))
}

#[track_caller]
pub fn unshare(flags: CloneFlags) -> nix::Result<()> {
    let bits = flags.bits() as u64;
    tell(|| Call::new("unshare", names::flags(bits, names::CLONE)), zero, || nix::sched::unshare(flags))?;
    entered(bits);
    Ok(())
}

/// Of a namespace, or with a pidfd of several at once.
#[track_caller]
pub fn setns(target: impl AsFd, flags: i32) -> nix::Result<()> {
    let shown = || Call::new("setns", format!("{}, {}", fd(&target), names::flags(flags as u64, names::CLONE)));
    tell(shown, zero, || kernel::setns(&target, flags))?;
    entered(flags as u64);
    Ok(())
}

#[track_caller]
pub fn mount(
    source: Option<&str>,
    target: impl AsRef<Path>,
    kind: Option<&str>,
    flags: MsFlags,
    data: Option<&str>,
) -> nix::Result<()> {
    let target = target.as_ref();
    let call = || {
        let flags = names::flags(flags.bits(), names::MOUNT);
        let (source, kind, data) = (or_null(source), or_null(kind), or_null(data));
        Call::new("mount", format!("{source}, {target:?}, {kind}, {flags}, {data}"))
    };
    tell(call, zero, || nix::mount::mount(source, target, kind, flags, data))
}

#[track_caller]
pub fn umount2(target: impl AsRef<Path>, flags: MntFlags) -> nix::Result<()> {
    let target = target.as_ref();
    let call = || Call::new("umount2", format!("{target:?}, {}", names::flags(flags.bits() as u64, names::UMOUNT)));
    tell(call, zero, || nix::mount::umount2(target, flags))
}

#[track_caller]
pub fn open_tree(dir: impl AsFd, path: &CStr, flags: u32) -> nix::Result<OwnedFd> {
    let call = || {
        let flags = names::flags(flags as u64 | libc::OPEN_TREE_CLOEXEC as u64, names::OPEN_TREE);
        Call::new("open_tree", format!("{}, {}, {flags}", fd(&dir), quoted(path)))
    };
    tell(call, number, || kernel::open_tree(&dir, path, flags))
}

#[track_caller]
pub fn move_mount(mount: impl AsFd, target: impl AsFd) -> nix::Result<()> {
    let call = || {
        let flags = "MOVE_MOUNT_F_EMPTY_PATH|MOVE_MOUNT_T_EMPTY_PATH";
        Call::new("move_mount", format!("{}, \"\", {}, \"\", {flags}", fd(&mount), fd(&target)))
    };
    tell(call, zero, || kernel::move_mount(&mount, &target))
}

#[track_caller]
pub fn mount_setattr(
    mount: impl AsFd,
    recursive: bool,
    set: u64,
    clear: u64,
    propagation: u64,
    userns: Option<BorrowedFd>,
) -> nix::Result<()> {
    let call = || {
        let set = set | if userns.is_some() { libc::MOUNT_ATTR_IDMAP } else { 0 };
        let recursive = if recursive { "|AT_RECURSIVE" } else { "" };
        let (set, clear) = (names::flags(set, names::ATTRIBUTES), names::flags(clear, names::ATTRIBUTES));
        let propagation = names::flags(propagation, names::MOUNT);
        let userns = userns.map_or(String::new(), |userns| format!(", userns_fd={}", fd(userns)));
        let attributes = format!("{{attr_set={set}, attr_clr={clear}, propagation={propagation}{userns}}}");
        Call::new("mount_setattr", format!("{}, \"\", AT_EMPTY_PATH{recursive}, {attributes}", fd(&mount)))
    };
    tell(call, zero, || kernel::mount_setattr(&mount, recursive, set, clear, propagation, userns))
}

#[track_caller]
pub fn fsopen(kind: &CStr) -> nix::Result<OwnedFd> {
    tell(|| Call::new("fsopen", format!("{}, FSOPEN_CLOEXEC", quoted(kind))), number, || kernel::fsopen(kind))
}

#[track_caller]
pub fn fsconfig_string(context: impl AsFd, key: &CStr, value: &CStr) -> nix::Result<()> {
    let call = || {
        let (name, value) = (key.to_string_lossy(), value.to_string_lossy());
        let value = secrets::hidden_value(&name, &value);
        Call::new("fsconfig", format!("{}, FSCONFIG_SET_STRING, {name:?}, {value:?}, 0", fd(&context)))
    };
    tell(call, zero, || kernel::fsconfig_string(&context, key, value))
}

#[track_caller]
pub fn fsconfig_flag(context: impl AsFd, key: &CStr) -> nix::Result<()> {
    let call = || Call::new("fsconfig", format!("{}, FSCONFIG_SET_FLAG, {}, NULL, 0", fd(&context), quoted(key)));
    tell(call, zero, || kernel::fsconfig_flag(&context, key))
}

#[track_caller]
pub fn fsconfig_create(context: impl AsFd) -> nix::Result<()> {
    let call = || Call::new("fsconfig", format!("{}, FSCONFIG_CMD_CREATE, NULL, NULL, 0", fd(&context)));
    tell(call, zero, || kernel::fsconfig_create(&context))
}

#[track_caller]
pub fn fsmount(context: impl AsFd, attributes: u64) -> nix::Result<OwnedFd> {
    let call = || {
        let attributes = names::flags(attributes, names::ATTRIBUTES);
        Call::new("fsmount", format!("{}, FSMOUNT_CLOEXEC, {attributes}", fd(&context)))
    };
    tell(call, number, || kernel::fsmount(&context, attributes))
}

#[track_caller]
pub fn pivot_root_here() -> nix::Result<()> {
    tell(|| Call::new("pivot_root", "\".\", \".\"".into()), zero, kernel::pivot_root_here)
}

#[track_caller]
pub fn chroot(path: &str) -> nix::Result<()> {
    tell(|| Call::new("chroot", format!("{path:?}")), zero, || nix::unistd::chroot(path))
}

#[track_caller]
pub fn sethostname(name: &str) -> nix::Result<()> {
    tell(|| Call::new("sethostname", format!("{name:?}, {}", name.len())), zero, || nix::unistd::sethostname(name))
}

#[track_caller]
pub fn setdomainname(name: &str) -> nix::Result<()> {
    tell(|| Call::new("setdomainname", format!("{name:?}, {}", name.len())), zero, || kernel::set_domain_name(name))
}

#[track_caller]
pub fn setgroups(groups: &[Gid]) -> nix::Result<()> {
    let call = || {
        let list: Vec<String> = groups.iter().map(Gid::to_string).collect();
        Call::new("setgroups", format!("{}, [{}]", groups.len(), list.join(", ")))
    };
    tell(call, zero, || nix::unistd::setgroups(groups))
}

#[track_caller]
pub fn setresuid(uid: Uid) -> nix::Result<()> {
    tell(|| Call::new("setresuid", format!("{uid}, {uid}, {uid}")), zero, || nix::unistd::setresuid(uid, uid, uid))
}

#[track_caller]
pub fn setresgid(gid: Gid) -> nix::Result<()> {
    tell(|| Call::new("setresgid", format!("{gid}, {gid}, {gid}")), zero, || nix::unistd::setresgid(gid, gid, gid))
}

#[track_caller]
pub fn prctl(option: i32, argument: u64) -> nix::Result<i32> {
    let call = || {
        let argument = match option {
            libc::PR_SET_PDEATHSIG if argument == libc::SIGKILL as u64 => "SIGKILL".into(),
            libc::PR_CAPBSET_DROP => names::capability(argument),
            _ => argument.to_string(),
        };
        Call::new("prctl", format!("{}, {argument}", names::prctl(option)))
    };
    tell(call, zero, || kernel::prctl(option, argument))
}

/// prctl(PR_CAPBSET_DROP) of each of these numbers, told as one.
#[track_caller]
pub fn drop_bounding(numbers: &[u64]) -> nix::Result<()> {
    if numbers.is_empty() {
        return Ok(());
    }
    let call = || {
        let list: Vec<String> = numbers.iter().map(|number| names::capability(*number)).collect();
        Call { name: "prctl", arguments: format!("PR_CAPBSET_DROP, {}", list.join(" ")), times: numbers.len() }
    };
    tell(call, zero, || numbers.iter().try_for_each(|number| kernel::prctl(libc::PR_CAPBSET_DROP, *number).map(drop)))
}

/// capset(2) of one of the three sets; the other two stay as they are.
#[track_caller]
pub fn capset(which: CapSet, set: &CapsHashSet) -> Result<(), caps::errors::CapsError> {
    let call = || {
        let which = format!("{which:?}").to_lowercase();
        Call::new("capset", format!("{{{which}={}}}", bits(set)))
    };
    through_caps(call, || caps::set(None, which, set))
}

#[track_caller]
pub fn clear_ambient() -> Result<(), caps::errors::CapsError> {
    let call = || Call::new("prctl", "PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL".into());
    through_caps(call, || caps::clear(None, CapSet::Ambient))
}

#[track_caller]
pub fn raise_ambient(capability: caps::Capability) -> Result<(), caps::errors::CapsError> {
    let call = || {
        let name = names::capability(capability.index().into());
        Call::new("prctl", format!("PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, {name}"))
    };
    through_caps(call, || caps::raise(None, CapSet::Ambient, capability))
}

#[track_caller]
fn through_caps(
    call: impl FnOnce() -> Call,
    make: impl FnOnce() -> Result<(), caps::errors::CapsError>,
) -> Result<(), caps::errors::CapsError> {
    let mut failed = None;
    let told = tell(call, zero, || {
        make().map_err(|error| {
            failed = Some(error);
            nix::errno::Errno::last()
        })
    });
    match (told, failed) {
        (_, Some(error)) => Err(error),
        (told, None) => told.map_err(|errno| errno.to_string().as_str().into()),
    }
}

fn bits(set: &CapsHashSet) -> String {
    let mut numbers: Vec<u64> = set.iter().map(|capability| capability.index().into()).collect();
    numbers.sort_unstable();
    let names: Vec<String> = numbers.iter().map(|number| format!("1<<{}", names::capability(*number))).collect();
    if names.is_empty() { "0".into() } else { names.join("|") }
}

#[track_caller]
pub fn seccomp_load(program: &[Bpf], flags: u32) -> nix::Result<i32> {
    let call = || {
        let arguments = format!("SECCOMP_SET_MODE_FILTER, {}, {{len={}}}", seccomp_flags(flags), program.len());
        Call::new("seccomp", arguments)
    };
    tell(call, ToString::to_string, || kernel::seccomp_load(program, flags))
}

fn seccomp_flags(flags: u32) -> String {
    const NAMES: &[(u64, &str)] = &[
        (libc::SECCOMP_FILTER_FLAG_TSYNC, "SECCOMP_FILTER_FLAG_TSYNC"),
        (libc::SECCOMP_FILTER_FLAG_LOG, "SECCOMP_FILTER_FLAG_LOG"),
        (libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW, "SECCOMP_FILTER_FLAG_SPEC_ALLOW"),
        (libc::SECCOMP_FILTER_FLAG_NEW_LISTENER, "SECCOMP_FILTER_FLAG_NEW_LISTENER"),
    ];
    names::flags(flags.into(), NAMES)
}

#[track_caller]
pub fn execve(path: &CStr, arguments: &[CString], environment: &[CString]) -> nix::Result<std::convert::Infallible> {
    let call = || {
        let words: Vec<String> = arguments.iter().map(|word| quoted(word)).collect();
        Call::new("execve", format!("{}, [{}], /* {} vars */", quoted(path), words.join(", "), environment.len()))
    };
    tell_last(call, || nix::unistd::execve(path, arguments, environment))
}

/// execveat(2) of an open file.
#[track_caller]
pub fn execveat(
    file: &OwnedFd,
    arguments: &[CString],
    environment: &[CString],
) -> nix::Result<std::convert::Infallible> {
    let call = || {
        let words: Vec<String> = secrets::command(arguments).iter().map(|word| quoted(word)).collect();
        let count = environment.len();
        Call::new("execveat", format!("{}, \"\", [{}], /* {count} vars */, AT_EMPTY_PATH", fd(file), words.join(", ")))
    };
    tell_first(call, || nix::unistd::execveat(file, c"", arguments, environment, nix::fcntl::AtFlags::AT_EMPTY_PATH))
}

#[track_caller]
pub fn setsid() -> nix::Result<()> {
    tell(|| Call::new("setsid", String::new()), zero, || nix::unistd::setsid().map(drop))
}

#[track_caller]
pub fn pidfd_send_signal(pidfd: impl AsFd, signal: i32) -> nix::Result<()> {
    let name = nix::sys::signal::Signal::try_from(signal).map_or_else(|_| signal.to_string(), |name| name.to_string());
    let call = || Call::new("pidfd_send_signal", format!("{}, {name}, NULL, 0", fd(&pidfd)));
    tell(call, zero, || kernel::pidfd_send_signal(&pidfd, signal))
}

fn or_null(text: Option<&str>) -> String {
    text.map_or_else(|| "NULL".into(), |text| format!("{text:?}"))
}

fn quoted(text: &CStr) -> String {
    format!("{:?}", text.to_string_lossy())
}
