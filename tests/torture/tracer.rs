//! Runs a command under ptrace(2), and strikes at one of its system calls: kills the process that is about to make it, or
//! answers it with an error in the kernel's place.

use super::common::registers;
use nix::errno::Errno;
use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::collections::HashSet;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// What happens at the chosen call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blow {
    Kill,
    Error(i32),
}

impl Blow {
    pub fn words(self) -> &'static str {
        match self {
            Blow::Kill => "killed",
            Blow::Error(libc::ENOSPC) => "ENOSPC",
            Blow::Error(_) => "EIO",
        }
    }

    /// The calls at which it strikes: a kill at all that change something or talk to another process, an error at those
    /// that need the disk.
    fn strikes(self, call: i64, arguments: &[u64; 6]) -> bool {
        let makes_file = || match call {
            #[cfg(target_arch = "x86_64")]
            libc::SYS_open => arguments[1] as i32 & libc::O_CREAT != 0,
            libc::SYS_openat => arguments[2] as i32 & libc::O_CREAT != 0,
            _ => false,
        };
        let disk = DISK.contains(&call) || OLD_DISK.contains(&call);
        match self {
            Blow::Kill => KILLED_AT.contains(&call) || OLD_KILLED_AT.contains(&call) || disk || makes_file(),
            // What goes to stdout or stderr, or to a socket, is not the disk's.
            Blow::Error(_) => (disk && !(call == libc::SYS_write && arguments[0] < 3)) || makes_file(),
        }
    }
}

const DISK: &[i64] = &[
    libc::SYS_write,
    libc::SYS_pwrite64,
    libc::SYS_mkdirat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_symlinkat,
    libc::SYS_linkat,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_syncfs,
    libc::SYS_ftruncate,
    libc::SYS_mknodat,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_fsetxattr,
];

/// Those that x86-64 has kept from before a directory could be named by its descriptor, and that newer processors never had.
#[cfg(target_arch = "x86_64")]
const OLD_DISK: &[i64] = &[
    libc::SYS_mkdir,
    libc::SYS_rename,
    libc::SYS_symlink,
    libc::SYS_link,
    libc::SYS_mknod,
    libc::SYS_chown,
    libc::SYS_lchown,
];

#[cfg(target_arch = "x86_64")]
const OLD_KILLED_AT: &[i64] = &[libc::SYS_unlink, libc::SYS_rmdir, libc::SYS_poll, libc::SYS_chmod];

#[cfg(not(target_arch = "x86_64"))]
const OLD_DISK: &[i64] = &[];

#[cfg(not(target_arch = "x86_64"))]
const OLD_KILLED_AT: &[i64] = &[];

const KILLED_AT: &[i64] = &[
    libc::SYS_unlinkat,
    libc::SYS_openat2,
    libc::SYS_clone3,
    libc::SYS_mount,
    libc::SYS_move_mount,
    libc::SYS_fsmount,
    libc::SYS_pivot_root,
    libc::SYS_umount2,
    libc::SYS_setresuid,
    libc::SYS_seccomp,
    libc::SYS_execve,
    libc::SYS_sendmsg,
    libc::SYS_recvmsg,
    libc::SYS_flock,
    libc::SYS_pidfd_send_signal,
    libc::SYS_wait4,
    libc::SYS_waitid,
    libc::SYS_ppoll,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_utimensat,
    libc::SYS_exit_group,
];

/// What became of it.
pub struct Traced {
    /// Points at which the blow could have fallen, up to where the command ended.
    pub points: usize,
    /// The call that was struck.
    pub struck: Option<String>,
}

/// Runs `command`, and strikes at the `at`-th point (from 0) of all its processes together.
pub fn run(command: &mut Command, blow: Blow, at: usize) -> Traced {
    // SAFETY: ptrace(PTRACE_TRACEME) is a plain system call, which touches no memory of ours.
    unsafe { command.pre_exec(|| ptrace::traceme().map_err(Into::into)) };
    let child = command.spawn().expect("the command starts");
    let main = Pid::from_raw(child.id() as i32);
    assert!(matches!(waitpid(main, None), Ok(WaitStatus::Stopped(_, Signal::SIGTRAP))), "it stops at its execve");
    // Not PTRACE_O_TRACEVFORK: what the C library spawns (newuidmap) is another program, which a tracer would rob of its
    // setuid bit.
    let options = ptrace::Options::PTRACE_O_TRACESYSGOOD
        | ptrace::Options::PTRACE_O_TRACEFORK
        | ptrace::Options::PTRACE_O_TRACECLONE
        | ptrace::Options::PTRACE_O_TRACEEXEC;
    ptrace::setoptions(main, options).expect("options are set");
    ptrace::syscall(main, None).expect("it goes on");
    let mut trace = Trace { blow, at, points: 0, struck: None, inside: HashSet::new(), answered: HashSet::new() };
    while let Ok(status) = waitpid(None, Some(WaitPidFlag::__WALL)) {
        let Some(pid) = status.pid() else { continue };
        match status {
            WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..) if pid == main => break,
            WaitStatus::Exited(..) | WaitStatus::Signaled(..) => {}
            _ => trace.go_on(status, pid),
        }
    }
    // Those among them that have just been born have not been heard of, so the kernel is asked, until it knows of none:
    // one that ends and is not waited for by its tracer keeps its pid namespace, and so a container, from ending.
    loop {
        let left = tracees();
        if left.is_empty() {
            break;
        }
        left.into_iter().for_each(let_go);
    }
    // std has not been told of the end, which we have waited for.
    std::mem::forget(child);
    Traced { points: trace.points, struck: trace.struck }
}

struct Trace {
    blow: Blow,
    at: usize,
    points: usize,
    struck: Option<String>,
    /// Processes between the entry and the exit of a call.
    inside: HashSet<Pid>,
    /// Those whose call is to be answered with the error at its exit.
    answered: HashSet<Pid>,
}

impl Trace {
    fn go_on(&mut self, status: WaitStatus, pid: Pid) {
        let signal = match status {
            WaitStatus::PtraceSyscall(_) if self.inside.remove(&pid) => {
                if self.answered.remove(&pid) {
                    self.answer(pid);
                }
                None
            }
            WaitStatus::PtraceSyscall(_) => {
                self.inside.insert(pid);
                self.entry(pid);
                None
            }
            // A new process begins with a SIGSTOP of the tracer's making.
            WaitStatus::Stopped(_, Signal::SIGSTOP | Signal::SIGTRAP) => None,
            WaitStatus::Stopped(_, signal) => Some(signal),
            _ => None,
        };
        // It may have been killed meanwhile.
        let _ = ptrace::syscall(pid, signal);
    }

    fn entry(&mut self, pid: Pid) {
        let Ok(at) = ptrace::getregs(pid) else { return };
        let number = registers::number(&at);
        if !self.blow.strikes(number, &registers::arguments(&at)) {
            return;
        }
        let now = self.points;
        self.points += 1;
        if now != self.at {
            return;
        }
        self.struck = Some(format!("call {} of process {pid}", number));
        match self.blow {
            Blow::Kill => drop(kill(pid, Signal::SIGKILL)),
            Blow::Error(_) => {
                // The kernel does nothing, and its answer is replaced at the exit.
                if registers::leave_out(pid).is_ok() {
                    self.answered.insert(pid);
                }
            }
        }
    }

    fn answer(&self, pid: Pid) {
        if let Blow::Error(errno) = self.blow {
            let _ = registers::answer_with(pid, errno);
        }
    }
}

/// The processes whose tracer we are.
fn tracees() -> Vec<Pid> {
    let ours = format!("TracerPid:\t{}\n", std::process::id());
    let pids = std::fs::read_dir("/proc").expect("procfs").flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_traced =
        |pid: &i32| std::fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|status| status.contains(&ours));
    pids.filter(is_traced).map(Pid::from_raw).collect()
}

/// Lets a process that outlives the command (a supervisor, a container) go on by itself.
fn let_go(pid: Pid) {
    // One that has ended is waited for all the same.
    let _ = kill(pid, Signal::SIGSTOP);
    loop {
        match waitpid(pid, Some(WaitPidFlag::__WALL)) {
            Ok(WaitStatus::Stopped(_, Signal::SIGSTOP)) => {
                let _ = ptrace::detach(pid, None);
                let _ = kill(pid, Signal::SIGCONT);
                break;
            }
            Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..)) | Err(Errno::ECHILD | Errno::ESRCH) => break,
            Ok(WaitStatus::Stopped(_, signal)) => drop(ptrace::cont(pid, Some(signal))),
            Ok(_) => drop(ptrace::cont(pid, None)),
            Err(_) => break,
        }
    }
}
