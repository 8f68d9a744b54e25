//! The last steps before execve(2), the same for a container's first process and for those that `exec` adds: terminal,
//! working directory, user, capabilities, no_new_privs, seccomp.

use super::capabilities::{self, Lent};
use super::program::{self, Candidates};
use super::share::{self, Share};
use super::wire::{self, Message};
use super::{rlimits, seccomp};
use crate::error::{Doing, Error, Kind, Result};
use crate::explain::{self, calls};
use crate::kernel::{self, Bpf};
use crate::store::beneath;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::signal::SigSet;
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid};
use oci_spec::runtime::{PosixRlimit, Process, Spec};
use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// What a process needs, worked out before the clone, so that little is left that can fail in the child.
pub struct Plan {
    process: Process,
    arguments: Vec<CString>,
    environment: Vec<CString>,
    filter: Option<(Vec<Bpf>, u32)>,
    share: Share,
    /// Given back once the filter is loaded.
    lent: Lent,
    pub die_with_parent: bool,
    /// Signals are blocked when the program begins.
    pub hold_signals: bool,
    /// [`Plan::reset_signals`] has been called.
    has_default_signals: bool,
    pub preserve_fds: u32,
    /// A working directory that is missing is made: for a container's first process, not for one that comes later.
    pub makes_directory: bool,
}

/// Checks `process` and compiles the bundle's seccomp filter.
pub fn plan(spec: &Spec, process: &Process) -> Result<Plan> {
    let words = process.args().clone().unwrap_or_default();
    if words.is_empty() {
        return Err(Error::new("no command specified: process.args of the bundle is empty"));
    }
    let c_strings = |words: &[String]| -> Result<Vec<CString>> {
        let one = |word: &String| CString::new(word.as_str()).map_err(|_| Error::new("a NUL byte in an argument"));
        words.iter().map(one).collect()
    };
    let filter = match spec.linux().as_ref().and_then(|linux| linux.seccomp().as_ref()) {
        Some(wanted) => Some((seccomp::compile(wanted)?, seccomp::flags(wanted))),
        None => None,
    };
    Ok(Plan {
        arguments: c_strings(&words)?,
        environment: c_strings(process.env().as_deref().unwrap_or_default())?,
        process: process.clone(),
        filter,
        share: share::read(spec, process)?,
        lent: Lent::default(),
        die_with_parent: false,
        hold_signals: false,
        has_default_signals: false,
        preserve_fds: 0,
        makes_directory: true,
    })
}

/// Makes `stdio` descriptors 0, 1 and 2, and the terminal, if it is one, this session's.
pub fn take_stdio(stdio: [&OwnedFd; 3], terminal: bool) -> Result<()> {
    // A descriptor that is itself 0, 1 or 2 would be overwritten before its turn comes.
    let copy = |fd: &OwnedFd| fd.try_clone().doing(|| "copy a descriptor");
    let (stdin, stdout, stderr) = (copy(stdio[0])?, copy(stdio[1])?, copy(stdio[2])?);
    nix::unistd::dup2_stdin(stdin).doing(|| "make it descriptor 0")?;
    nix::unistd::dup2_stdout(stdout).doing(|| "make it descriptor 1")?;
    nix::unistd::dup2_stderr(stderr).doing(|| "make it descriptor 2")?;
    if terminal {
        kernel::set_controlling_terminal(std::io::stdin()).doing(|| "take the terminal as controlling terminal")?;
    }
    Ok(())
}

/// The last part of the way to execve(2), `then`, with no descriptor open but 0, 1, 2, `preserve_fds` more, and `sockets`; the
/// first of these hears why it failed.
///
/// The program's path is looked up, at the latest by execve(2) itself, before what is only marked (O_CLOEXEC) is closed: a
/// directory of the host's that is still open then is a way out of the container, as /proc/self/fd/N in the path of the
/// program, in PATH, or in the first line of a script (CVE-2024-21626). So all of it is closed before anything is looked up.
/// A socket leads nowhere: it can be neither passed through nor opened by a path.
pub fn with_nothing_open(preserve_fds: u32, sockets: &[&OwnedFd], then: impl FnOnce() -> Result<Error>) -> ! {
    let mut kept = explain::keep_open();
    kept.extend(sockets.iter().map(|socket| socket.as_raw_fd()));
    let first = i32::try_from(preserve_fds).map_or(i32::MAX, |more| more.saturating_add(3));
    kernel::close_all_but(first, &kept, |closed| {
        let closed = closed.doing(|| "close what the program is not to have");
        let (Ok(error) | Err(error)) = closed.and_then(|()| then());
        if let Some(socket) = sockets.first() {
            let _ = wire::send(socket, &Message::Failed(error));
        }
        kernel::exit_now(1)
    })
}

/// The program as execve(2) takes it.
pub struct Program {
    path: PathBuf,
    environment: Vec<CString>,
}

impl Plan {
    pub fn user(&self) -> u32 {
        self.process.user().uid()
    }

    pub fn rlimits(&self) -> &[PosixRlimit] {
        self.process.rlimits().as_deref().unwrap_or_default()
    }

    /// Becomes who the bundle asks for, as far as execve itself; [`with_nothing_open`], since it looks for the program.
    pub fn settle(&mut self) -> Result<Program> {
        self.set_umask();
        self.enter_directory()?;
        let candidates = self.candidates()?;
        let environment = self.with_home();
        self.give_up_rights()?;
        if self.die_with_parent {
            // After the change of credentials, which clears it (prctl(2), PR_SET_PDEATHSIG). A parent that has died before
            // this is found gone by the message that comes next.
            explain::step("when its supervisor dies it dies too: nothing runs unwatched", "setpriv --pdeathsig KILL …");
            calls::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong)
                .doing(|| "set the parent death signal")?;
        }
        self.find_program(&candidates, environment)
    }

    pub fn set_umask(&self) {
        kernel::umask(self.process.user().umask().unwrap_or(0o022));
    }

    /// Becomes the user, with no right more than the program is to have: whatever else needs one is done. Only the right to
    /// load a filter stays, where no_new_privs does not give it to everybody: the filter comes last, since a profile that was
    /// written for a program need not know the calls that come before it.
    pub fn give_up_rights(&mut self) -> Result<()> {
        self.share.take()?;
        let no_new_privs = self.has_no_new_privs();
        let capabilities = self.process.capabilities().as_ref();
        if let Some(capabilities) = capabilities {
            capabilities::drop_bounding(capabilities)?;
        }
        self.become_user()?;
        self.lent = capabilities::set_sets(capabilities, self.filter.is_some() && !no_new_privs)?;
        hide()?;
        if no_new_privs {
            explain::step(
                "no program that it executes can give it more rights: setuid bits do nothing",
                "setpriv --no-new-privs …",
            );
            calls::prctl(libc::PR_SET_NO_NEW_PRIVS, 1).doing(|| "set no_new_privs")?;
        }
        Ok(())
    }

    fn has_no_new_privs(&self) -> bool {
        self.process.no_new_privileges().unwrap_or(false)
    }

    /// Loads the filter now, after [`Plan::give_up_rights`], where it lets pass all that is left to do until execve(2). A
    /// profile that was written for the program alone need not: it is loaded by [`Plan::execute`]. `may_keep_right` says
    /// whether this process may be born with the right that this takes without no_new_privs.
    pub fn load_filter_early(&mut self, may_keep_right: bool) -> Result<()> {
        let Some((program, _)) = &self.filter else { return Ok(()) };
        let may_wait = may_keep_right || self.has_no_new_privs();
        if !may_wait || seccomp::lets_pass(program, LEFT_TO_DO) {
            self.load_filter()?;
            self.filter = None;
        }
        Ok(())
    }

    /// Ahead of time: each of these 64 calls passes the filter, once that is loaded.
    pub fn reset_signals(&mut self) {
        kernel::default_signals();
        self.has_default_signals = true;
    }

    /// Where the program may be, as it is to be looked up in the working directory.
    pub fn candidates(&self) -> Result<Candidates> {
        let path = self.environment.iter().find_map(|pair| pair.to_str().ok()?.strip_prefix("PATH="));
        program::candidates(&self.arguments[0].to_string_lossy(), path)
    }

    /// The environment, with the user's HOME where it names none.
    pub fn with_home(&self) -> Vec<CString> {
        let mut environment = self.environment.clone();
        if !environment.iter().any(|pair| pair.to_bytes().starts_with(b"HOME=")) {
            environment.extend(CString::new(format!("HOME={}", super::home::of(self.user()))));
        }
        environment
    }

    /// The last that needs more descriptors than the program may have.
    pub fn find_program(&self, candidates: &Candidates, environment: Vec<CString>) -> Result<Program> {
        let path = candidates.find()?;
        rlimits::lower_own(self.rlimits())?;
        Ok(Program { path, environment })
    }

    /// The very end. Returns only where it fails.
    pub fn execute(&self, program: &Program) -> Error {
        match self.try_execute(program) {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    fn try_execute(&self, program: &Program) -> Result<std::convert::Infallible> {
        if !self.has_default_signals {
            kernel::default_signals();
        }
        let mask = if self.hold_signals { SigSet::all() } else { SigSet::empty() };
        mask.thread_set_mask().doing(|| "reset the signal mask")?;
        let path = super::rootfs::c_path(&program.path)?;
        self.load_filter()?;
        explain::step(
            "everything is in place: this process becomes the container's program",
            self.arguments.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" "),
        );
        calls::execve(&path, &self.arguments, &program.environment).map_err(|errno| {
            let kind = if errno == Errno::ENOENT { Kind::CommandNotFound } else { Kind::NotExecutable };
            let error = Error::of(kind, format!("exec {}: {}", program.path.display(), errno.desc().to_lowercase()));
            match capabilities::demanded_in_vain(&program.path).as_slice() {
                missing if errno == Errno::EPERM && !missing.is_empty() => {
                    let options: Vec<String> = missing.iter().map(|name| format!("--cap-add {name}")).collect();
                    error.with_cure(format!(
                        "the program's file capabilities demand what the container was made without: {}",
                        options.join(" ")
                    ))
                }
                _ => error,
            }
        })
    }

    fn load_filter(&self) -> Result<()> {
        match &self.filter {
            Some((program, flags)) => {
                seccomp::load(program, *flags)?;
                self.lent.give_back()
            }
            None => Ok(()),
        }
    }

    /// The working directory is made where it is missing, as Docker's `-w` promises. It must be reachable from the
    /// container's root, and not by a descriptor of ours (`/proc/self/fd/7`), which is where CVE-2024-21626 began:
    /// openat2(2) follows no such link.
    pub fn enter_directory(&self) -> Result<()> {
        let cwd = self.process.cwd();
        let shown = cwd.display();
        if !cwd.is_absolute() {
            return Err(Error::new(format!(
                "the working directory '{shown}' is invalid, it needs to be an absolute path"
            )));
        }
        let root = beneath::root(Path::new("/"))?;
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        let open = || beneath::open(&root, cwd, flags, Mode::empty());
        let directory = match open() {
            Err(Errno::ENOENT) if self.makes_directory => {
                let made = beneath::make_dirs(&root, cwd, Mode::from_bits_truncate(0o755));
                made.doing(|| format!("make the working directory {shown}"))?
            }
            // runc's words, which Docker passes on.
            Err(errno @ (Errno::ENOENT | Errno::ENOTDIR)) if !self.makes_directory => {
                let why =
                    format!("chdir to cwd (\"{shown}\") set in config.json failed: {}", errno.desc().to_lowercase());
                return Err(Error::of(Kind::CommandNotFound, why));
            }
            result => result.doing(|| format!("enter the working directory {shown}"))?,
        };
        nix::unistd::fchdir(&directory).doing(|| format!("enter the working directory {shown}"))?;
        // getcwd(2) of a place outside the root begins with "(unreachable)".
        match nix::unistd::getcwd() {
            Ok(reached) if reached.is_absolute() => Ok(()),
            _ => Err(Error::new(format!("the working directory {shown} leads out of the container's root"))),
        }
    }

    fn become_user(&self) -> Result<()> {
        let user = self.process.user();
        let (uid, gid) = (Uid::from_raw(user.uid()), Gid::from_raw(user.gid()));
        let groups: Vec<Gid> = user.additional_gids().iter().flatten().map(|gid| Gid::from_raw(*gid)).collect();
        explain::step(
            format_args!("it becomes the user that the container runs as: {uid}:{gid}"),
            format_args!("setpriv --reuid {uid} --regid {gid} --groups … …"),
        );
        match calls::setgroups(&groups) {
            // In a user namespace of one id the right to set groups was given up; there are none to drop by choice.
            Err(Errno::EPERM) if groups.iter().all(|group| *group == gid) => {}
            result => result.doing(|| "set the supplementary groups")?,
        }
        calls::prctl(libc::PR_SET_KEEPCAPS, 1).doing(|| "keep capabilities over the change of user")?;
        calls::setresgid(gid).doing(|| format!("become group {gid}"))?;
        calls::setresuid(uid).doing(|| format!("become user {uid}"))?;
        calls::prctl(libc::PR_SET_KEEPCAPS, 0).map(drop).doing(|| "stop keeping capabilities")
    }
}

/// Until execve this is the host's program, with descriptors of the host's: not dumpable, no process that shares its pid
/// namespace may look at it or open its /proc/PID/exe (CVE-2019-5736). execve(2) makes it dumpable again; and so does, where
/// fs.suid_dumpable is 1, every change of credentials: to be called again after each.
pub fn hide() -> Result<()> {
    explain::step("from now on no other process may look into this one, which is still the host's program", "");
    calls::prctl(libc::PR_SET_DUMPABLE, 0).doing(|| "hide from other processes").map(drop)
}

/// A session keyring of its own, so that the container inherits none of the host's keys.
pub fn take_own_keyring() -> Result<()> {
    explain::step("an empty keyring of its own: it gets none of the host's keys", "keyctl session - …");
    match calls::new_session_keyring() {
        // A kernel without keyrings has no keys. EPERM is what the filter of a container around us answers, and that holds for
        // all that we start: no key can be reached from in here.
        Ok(_) | Err(Errno::ENOSYS | Errno::EPERM) => Ok(()),
        Err(Errno::EDQUOT) => Err(Error::new("make a session keyring: the user has as many keys as allowed")
            .with_cure("raise the sysctls kernel.keys.maxkeys and maxbytes (root: root_maxkeys and root_maxbytes)")),
        Err(errno) => Err(errno).doing(|| "make a session keyring"),
    }
}

/// What a process that `exec` adds does between its birth and execve(2): the calls, and what matters of their first argument.
const LEFT_TO_DO: &[(&str, u64)] = &[
    ("clone", (libc::CLONE_PARENT | libc::CLONE_PIDFD) as u64),
    ("brk", 0),
    ("close", 0),
    ("close_range", 0),
    ("access", 0),
    ("capget", 0),
    ("capset", 0),
    ("execve", 0),
    ("exit_group", 0),
    ("faccessat2", 0),
    ("fchdir", 0),
    ("fcntl", 0),
    ("fstat", 0),
    ("getcwd", 0),
    ("ioctl", 0),
    ("mmap", 0),
    ("munmap", 0),
    ("openat", 0),
    ("openat2", 0),
    ("prlimit64", 0),
    ("read", 0),
    ("readlinkat", 0),
    ("recvmsg", 0),
    ("rt_sigaction", 0),
    ("rt_sigprocmask", 0),
    ("sendmsg", 0),
    ("setsid", 0),
    ("statx", 0),
    ("write", 0),
];

/// Becomes a process with these ids and capabilities, and executes nothing.
pub fn become_asker(uid: u32, gid: u32, groups: &[u32], capabilities: u64) -> Result<()> {
    explain::step(
        format_args!("it becomes who the container's process is, {uid}:{gid}, to ask the kernel what that one may do"),
        format_args!("setpriv --reuid {uid} --regid {gid} --groups … --bounding-set … …"),
    );
    let all: Vec<Gid> = groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
    match calls::setgroups(&all) {
        // In a user namespace of one id the right to set groups was given up, for the container as for us.
        Err(Errno::EPERM) => {}
        result => result.doing(|| "set the supplementary groups")?,
    }
    let unmapped = |what: &str, id: u32| format!("{what} {id} is none of the container's");
    calls::prctl(libc::PR_SET_KEEPCAPS, 1).doing(|| "keep capabilities over the change of user")?;
    calls::setresgid(Gid::from_raw(gid)).doing(|| unmapped("group", gid))?;
    calls::setresuid(Uid::from_raw(uid)).doing(|| unmapped("user", uid))?;
    hide()?;
    self::capabilities::lower(capabilities)
}
