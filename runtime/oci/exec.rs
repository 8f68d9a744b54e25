//! `exec`: one more process in a running container.
//!
//! Two clones: the first, the *door*, joins the container's namespaces, all at once through a pidfd; since joining a pid
//! namespace only counts for one's children, it then clones the second, as its sibling (CLONE_PARENT), and ends. The second is
//! ours to wait for.
//!
//! The container's processes see the second from its birth, and never the first. One with CAP_SYS_PTRACE and no user namespace
//! between may seize it at that very moment. So it is born with nothing: whatever takes a right, the terminal, the change of
//! user, the filter, is done at the door, which gives up all that the program is not to have, closes what is the host's, and
//! forgets the words that it was called with.

use super::namespaces;
use super::wire::{self, Message};
use super::{ExecOptions, Init, Io, cgroup, console, create, entering, ids, process, rlimits};
use crate::error::{Doing, Error, Result};
use crate::explain::{self, calls};
use crate::kernel::{self, Cloned};
use crate::store::beneath;
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use oci_spec::runtime::{Process, Spec};
use std::ffi::{CString, OsStr};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

pub fn exec(
    target: Pid,
    pidfd: OwnedFd,
    spec: &Spec,
    process: &Process,
    io: Io,
    options: &ExecOptions,
    leash: Option<BorrowedFd>,
) -> Result<Init> {
    let mut plan = process::plan(spec, process)?;
    plan.makes_directory = false;
    plan.preserve_fds = options.preserve_fds;
    create::give_pipes(&io, spec, process.user().uid())?;
    let flags = namespaces::that_differ(target.as_raw())? | namespaces::time_of(spec);
    let joined = cgroup::open_to_join(&cgroup_of(target, spec, !options.cgroups.is_empty())?, &options.cgroups)?;
    let mut entry = Entry { plan, pidfd, flags, cgroup: joined, oom_score: process.oom_score_adj(), io };
    let (ours, theirs) = wire::pair()?;
    explain::step("a process that will go through the door into the container", "");
    match calls::clone3(0, entry.cgroup.into_cgroup_fd()).doing(|| "clone")? {
        Cloned::Child => {
            explain::process("door");
            drop(ours);
            let error = enter(&mut entry, &theirs);
            let _ = wire::send(&theirs, &Message::Failed(error));
            kernel::exit_now(1)
        }
        Cloned::Parent { pid: door, pidfd } => {
            drop(theirs);
            let entered = accompany(&ours, &pidfd, leash);
            if entered.is_err() {
                // It may be waiting for what never comes: a file system of the container's that does not answer.
                let _ = calls::pidfd_send_signal(&pidfd, libc::SIGKILL);
            }
            // Before the start: as long as the door lives it holds the socket, too, whose end says that execve has succeeded.
            entering::see_out(door, &pidfd);
            let (pid, pidfd, console) = entered?;
            let cgroup = entry.cgroup.path().to_owned();
            Ok(Init { pid, pidfd, console, cgroup, gate: Some(ours), let_go: false })
        }
    }
}

/// The cgroup that the container was given, if it was given one: what the kernel says of its first process. `own`: where that
/// was at first.
fn cgroup_of(target: Pid, spec: &Spec, own: bool) -> Result<String> {
    let asked = spec.linux().as_ref().and_then(|linux| linux.cgroups_path().as_ref());
    let Some(name) = asked.and_then(|path| path.file_name()) else { return Ok(String::new()) };
    let path = format!("/proc/{target}/cgroup");
    let text = std::fs::read_to_string(&path).doing(|| format!("read {path}"))?;
    Ok(within_own(&text, name, own).map_or_else(String::new, |path| cgroup::as_mounted(&path).to_owned()))
}

/// The container may have moved its first process further down, where it may make cgroups: what enters it is under the same
/// limits. On version 2 a cgroup with others below it takes no process, and so theirs is joined.
fn within_own(cgroups: &str, name: &OsStr, its_own: bool) -> Option<String> {
    cgroups.lines().find_map(|line| {
        let path = Path::new(line.splitn(3, ':').nth(2)?);
        let own = path.ancestors().find(|above| above.file_name() == Some(name))?;
        let joined = if line.starts_with("0::") && !its_own { path } else { own };
        Some(joined.to_string_lossy().into_owned())
    })
}

struct Entry {
    plan: process::Plan,
    pidfd: OwnedFd,
    flags: i32,
    cgroup: cgroup::Prepared,
    oom_score: Option<i32>,
    io: Io,
}

/// Sees the new process to where it waits for its start. On an error it is killed and reaped: unreaped it would keep the
/// container's first process from ever ending, which waits in the kernel until its pid namespace is empty.
fn accompany(socket: &OwnedFd, door: &OwnedFd, leash: Option<BorrowedFd>) -> Result<(Pid, OwnedFd, Option<OwnedFd>)> {
    let (pid, pidfd, console) = hear_who_entered(socket, door, leash)?;
    let ready = await_program(socket, pid, &pidfd, leash);
    if ready.is_err() {
        reap(pid, &pidfd);
    }
    ready.map(|()| (pid, pidfd, console))
}

fn reap(pid: Pid, pidfd: &OwnedFd) {
    let _ = calls::pidfd_send_signal(pidfd, libc::SIGKILL);
    let _ = waitpid(pid, None);
}

/// The new process, and the master of its terminal, if it has one.
fn hear_who_entered(
    socket: &OwnedFd,
    door: &OwnedFd,
    leash: Option<BorrowedFd>,
) -> Result<(Pid, OwnedFd, Option<OwnedFd>)> {
    let mut master = None;
    loop {
        // The new process holds the other end as well: where the door was killed before it said whom it let in, the end of
        // the line would never come.
        entering::await_word(socket, door, leash, "the process at the container's door was killed")?;
        match wire::receive(socket)? {
            Message::Terminal(terminal) => master = Some(terminal),
            Message::Entered(pid, pidfd) => return Ok((Pid::from_raw(pid), pidfd, master)),
            other => return Err(why(other)),
        }
    }
}

fn await_program(socket: &OwnedFd, pid: Pid, pidfd: &OwnedFd, leash: Option<BorrowedFd>) -> Result<()> {
    wire::send(socket, &Message::Numbered(pid.as_raw()))?;
    entering::await_word(socket, pidfd, leash, ENDED)?;
    match wire::receive(socket)? {
        Message::Ready => Ok(()),
        other => Err(why(other)),
    }
}

/// Why what came is not what was waited for.
fn why(message: Message) -> Error {
    match message {
        Message::Failed(error) => error,
        _ => Error::new(ENDED),
    }
}

pub const ENDED: &str = "the container ended while the new process entered it";

/// The first clone. Returns only the error that ended it.
fn enter(entry: &mut Entry, socket: &OwnedFd) -> Error {
    match cross(entry, socket) {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

fn cross(entry: &mut Entry, socket: &OwnedFd) -> Result<std::convert::Infallible> {
    // Inherited by the program. Once we are hidden, the file belongs to the host's root.
    if let Some(score) = entry.oom_score {
        create::set_oom_score("self", score)?;
    }
    rlimits::apply_to_self(entry.plan.rlimits())?;
    process::hide()?;
    kernel::forget_words("ebb", false);
    explain::step("out of the caller's session, whose terminal is not the container's", "setsid …");
    calls::setsid().doing(|| "leave the caller's session")?;
    entry.cgroup.join_self()?;
    join(&entry.pidfd, entry.flags)?;
    process::take_own_keyring()?;
    take_streams(entry, socket)?;
    entry.plan.set_umask();
    // Once more, as the user, by who is born inside: /proc/self is somebody there, and nobody is here.
    let entered = entry.plan.enter_directory();
    let environment = entry.plan.with_home();
    entry.plan.give_up_rights()?;
    entry.plan.reset_signals();
    // Where a user namespace lies between, nobody in there may seize it: this program was started outside.
    entry.plan.load_filter_early(entry.flags & libc::CLONE_NEWUSER != 0)?;
    process::with_nothing_open(entry.plan.preserve_fds, &[socket], || {
        explain::step("joining a pid namespace counts for one's children only, so the program will be a child", "");
        match calls::clone_sibling().doing(|| "clone into the container").map_err(may_be_filtered)? {
            Cloned::Parent { pid, pidfd } => {
                wire::send(socket, &Message::Entered(pid.as_raw(), pidfd))?;
                kernel::exit_now(0)
            }
            Cloned::Child => inside(entry, entered.is_ok(), environment, socket),
        }
    })
}

/// With no_new_privs, or a user namespace, the filter is loaded last where it forbids these; else the right to load one goes
/// before the birth.
fn may_be_filtered(error: Error) -> Error {
    error.with_cure(
        "where the container's seccomp profile forbids it: without no-new-privileges and without a user namespace the profile \
         must allow what comes before the program (clone, setsid, sendmsg, recvmsg)",
    )
}

/// Makes the container's descriptors 0, 1 and 2. The master of a terminal is not to be seen inside: it is handed over at once.
fn take_streams(entry: &Entry, socket: &OwnedFd) -> Result<()> {
    match &entry.io {
        Io::Terminal { rows, columns } => {
            let root = beneath::root(Path::new("/"))?;
            let console = console::open(&root, *rows, *columns, entry.plan.user())?;
            process::take_stdio([&console.slave; 3], false)?;
            wire::send(socket, &Message::Terminal(console.master))
        }
        Io::Descriptors { stdin, stdout, stderr } => process::take_stdio([stdin, stdout, stderr], false),
        Io::Inherit => Ok(()),
    }
}

/// Joins namespaces (CLONE_NEW*) of the process behind `pidfd`, and becomes root of its user namespace.
pub fn join(pidfd: &OwnedFd, flags: i32) -> Result<()> {
    if flags != 0 {
        explain::step("into all namespaces of the container at once", "nsenter --target PID --all …");
        calls::setns(pidfd, flags).doing(|| "join the container's namespaces")?;
    }
    if flags & libc::CLONE_NEWUSER != 0 { ids::become_root() } else { Ok(()) }
}

/// The second clone: in every namespace of the container, and as the user that the program will be.
fn inside(entry: &Entry, entered: bool, environment: Vec<CString>, socket: &OwnedFd) -> Result<Error> {
    let plan = &entry.plan;
    let Message::Numbered(pid) = wire::receive(socket)? else {
        return Err(Error::new("the process that entered the container is gone"));
    };
    explain::process_numbered("exec", pid);
    explain::step("a session of its own", "setsid …");
    calls::setsid().doing(|| "begin a session")?;
    if matches!(entry.io, Io::Terminal { .. }) {
        kernel::set_controlling_terminal(std::io::stdin()).doing(|| "take the terminal as controlling terminal")?;
    }
    if !entered {
        plan.enter_directory()?;
    }
    let program = plan.find_program(&plan.candidates()?, environment)?;
    wire::send(socket, &Message::Ready)?;
    if !matches!(wire::receive(socket)?, Message::Start) {
        kernel::exit_now(1);
    }
    Ok(plan.execute(&program))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_enters_a_container_is_under_its_limits_wherever_that_has_moved_its_first_process() {
        let own = |text: &str| within_own(text, OsStr::new("abc"), false);
        assert_eq!(own("4:memory:/ebb/abc\n0::/\n").as_deref(), Some("/ebb/abc"));
        assert_eq!(own("4:memory:/ebb/abc/sub/more\n0::/\n").as_deref(), Some("/ebb/abc"));
        assert_eq!(own("0::/user/ebb/abc/init.scope\n").as_deref(), Some("/user/ebb/abc/init.scope"));
        assert_eq!(own("0::/user/other\n"), None);
        let first = within_own("0::/user/ebb/abc/init.scope\n", OsStr::new("abc"), true);
        assert_eq!(first.as_deref(), Some("/user/ebb/abc"));
    }
}
