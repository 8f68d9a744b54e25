//! The last steps before execve(2), the same for a container's first process and for those that `exec` adds: terminal,
//! working directory, user, capabilities, no_new_privs, seccomp.

use super::program::{self, Candidates};
use super::wire::{self, Message};
use super::{capabilities, rlimits, seccomp};
use crate::error::{Doing, Error, Kind, Result};
use crate::explain::{self, calls};
use crate::kernel::{self, Bpf};
use crate::store::beneath;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::signal::SigSet;
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid};
use oci_spec::runtime::{Process, Spec};
use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// What a process needs, worked out before the clone, so that little is left that can fail in the child.
pub struct Plan {
    process: Process,
    arguments: Vec<CString>,
    environment: Vec<CString>,
    filter: Option<(Vec<Bpf>, u32)>,
    pub die_with_parent: bool,
    /// Signals are blocked when the program begins.
    pub hold_signals: bool,
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
        die_with_parent: false,
        hold_signals: false,
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

    /// Becomes who the bundle asks for, as far as execve itself; [`with_nothing_open`], since it looks for the program.
    pub fn settle(&self) -> Result<Program> {
        let process = &self.process;
        let user = process.user();
        if let Some(umask) = user.umask() {
            kernel::umask(umask);
        } else {
            kernel::umask(0o022);
        }
        self.enter_directory()?;
        let candidates = self.candidates()?;
        let environment = self.with_home();
        let no_new_privs = process.no_new_privileges().unwrap_or(false);
        if let Some(capabilities) = process.capabilities() {
            capabilities::drop_bounding(capabilities)?;
        }
        if !no_new_privs {
            // Without no_new_privs only CAP_SYS_ADMIN may load a filter, and that goes in the next steps.
            self.load_filter()?;
        }
        self.become_user()?;
        if let Some(capabilities) = process.capabilities() {
            capabilities::set_sets(capabilities)?;
        }
        if no_new_privs {
            explain::step(
                "no program that it executes can give it more rights: setuid bits do nothing",
                "setpriv --no-new-privs …",
            );
            calls::prctl(libc::PR_SET_NO_NEW_PRIVS, 1).doing(|| "set no_new_privs")?;
        }
        if self.die_with_parent {
            // After the change of credentials, which clears it (prctl(2), PR_SET_PDEATHSIG).
            explain::step("when its supervisor dies it dies too: nothing runs unwatched", "setpriv --pdeathsig KILL …");
            calls::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong)
                .doing(|| "set the parent death signal")?;
        }
        let path = candidates.find()?;
        rlimits::lower_own(process.rlimits().as_deref().unwrap_or_default())?;
        Ok(Program { path, environment })
    }

    fn candidates(&self) -> Result<Candidates> {
        let path = self.environment.iter().find_map(|pair| pair.to_str().ok()?.strip_prefix("PATH="));
        program::candidates(&self.arguments[0].to_string_lossy(), path)
    }

    fn with_home(&self) -> Vec<CString> {
        let mut environment = self.environment.clone();
        if !environment.iter().any(|pair| pair.to_bytes().starts_with(b"HOME=")) {
            environment.extend(CString::new(format!("HOME={}", super::home::of(self.user()))));
        }
        environment
    }

    /// The very end. Returns only where it fails.
    pub fn execute(&self, program: &Program) -> Error {
        match self.try_execute(program) {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    fn try_execute(&self, program: &Program) -> Result<std::convert::Infallible> {
        kernel::default_signals();
        let mask = if self.hold_signals { SigSet::all() } else { SigSet::empty() };
        mask.thread_set_mask().doing(|| "reset the signal mask")?;
        let path = super::rootfs::c_path(&program.path)?;
        if self.process.no_new_privileges().unwrap_or(false) {
            self.load_filter()?;
        }
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
            Some((program, flags)) => seccomp::load(program, *flags),
            None => Ok(()),
        }
    }

    /// The working directory is made where it is missing, as Docker's `-w` promises. It must be reachable from the
    /// container's root, and not by a descriptor of ours (`/proc/self/fd/7`), which is where CVE-2024-21626 began:
    /// openat2(2) follows no such link.
    fn enter_directory(&self) -> Result<()> {
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
    // The change of user has made us visible to others of that user again.
    calls::prctl(libc::PR_SET_DUMPABLE, 0).doing(|| "hide from the container")?;
    self::capabilities::lower(capabilities)
}
