//! The default filter, as data: what programs need, by purpose. Everything else gets EPERM, and what is newer than
//! this list ENOSYS.
//!
//! Absent on purpose, with any capabilities: the kernel's keyrings (add_key, keyctl, request_key), which no namespace
//! separates; io_uring, whose requests no filter sees; userfaultfd, which makes kernel races easy to win; kexec, swap
//! and the calls that only old kernels had.

use oci_spec::runtime::{
    Arch, Capabilities, Capability, LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArgBuilder,
    LinuxSeccompOperator as Op, LinuxSyscall,
};

/// The filter for a container whose bounding set is `capabilities`.
pub fn default_profile(capabilities: &Capabilities) -> LinuxSeccomp {
    let mut rules: Vec<LinuxSyscall> = ALLOWED.iter().map(|(_, names)| allow(names)).collect();
    let holds =
        |needed: &&(&[Capability], &[&str])| needed.0.iter().any(|capability| capabilities.contains(capability));
    rules.extend(WITH_CAPABILITY.iter().filter(holds).map(|(_, names)| allow(names)));
    rules.extend(PERSONALITIES.iter().map(|value| allow_if("personality", 0, Op::ScmpCmpEq, *value, None)));
    rules.extend(SOCKET_FAMILIES.iter().map(|family| allow_if("socket", 0, Op::ScmpCmpEq, *family as u64, None)));
    if !capabilities.contains(&Capability::SysAdmin) {
        // clone3 hides its flags behind a pointer that a filter cannot follow. "No such call" makes the C library use
        // clone, whose flags are an argument.
        rules.push(LinuxSyscall::default().with(&["clone3"], Action::ScmpActErrno, Some(libc::ENOSYS as u32)));
        rules.push(allow_if("clone", 0, Op::ScmpCmpMaskedEq, NEW_NAMESPACES, Some(0)));
    }
    let mut profile = LinuxSeccomp::default();
    profile
        .set_default_action(Action::ScmpActErrno)
        .set_default_errno_ret(Some(libc::EPERM as u32))
        .set_architectures(Some(vec![if cfg!(target_arch = "aarch64") {
            Arch::ScmpArchAarch64
        } else {
            Arch::ScmpArchX86_64
        }]))
        .set_syscalls(Some(rules));
    profile
}

/// CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET: in a namespace of its own a process has
/// capabilities, and with them reaches far more of the kernel.
const NEW_NAMESPACES: u64 = 0x7e02_0000;

/// PER_LINUX, PER_LINUX32, both with UNAME26, and "tell me which". The others switch off protections or address spaces.
const PERSONALITIES: &[u64] = &[0x0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// What a container talks through. Not AF_VSOCK, which reaches the hypervisor and which no namespace separates, nor
/// AF_ALG and the rare families whose modules are the kernel's least read code.
const SOCKET_FAMILIES: &[i32] = &[libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK, libc::AF_PACKET];

#[rustfmt::skip]
const ALLOWED: &[(&str, &[&str])] = &[
    ("files: open, read, write, close", &[
        "open", "openat", "openat2", "creat", "close", "close_range", "read", "write", "readv", "writev", "pread64",
        "pwrite64", "preadv", "pwritev", "preadv2", "pwritev2", "lseek", "truncate", "ftruncate", "fallocate",
        "fadvise64", "readahead", "copy_file_range", "sendfile", "splice", "tee", "vmsplice", "dup", "dup2", "dup3",
        "fcntl", "flock", "ioctl", "fsync", "fdatasync", "sync", "syncfs", "sync_file_range", "cachestat",
    ]),
    ("files: what they are", &[
        "stat", "fstat", "lstat", "newfstatat", "statx", "statfs", "fstatfs", "access", "faccessat", "faccessat2",
        "readlink", "readlinkat", "getdents", "getdents64", "getcwd", "chdir", "fchdir", "umask", "getxattr",
        "lgetxattr", "fgetxattr", "listxattr", "llistxattr", "flistxattr", "name_to_handle_at",
    ]),
    ("files: change them", &[
        "mkdir", "mkdirat", "rmdir", "mknod", "mknodat", "link", "linkat", "symlink", "symlinkat", "unlink",
        "unlinkat", "rename", "renameat", "renameat2", "chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown",
        "lchown", "fchownat", "utime", "utimes", "utimensat", "futimesat", "setxattr", "lsetxattr", "fsetxattr",
        "removexattr", "lremovexattr", "fremovexattr",
    ]),
    ("waiting for many descriptors, and for changes", &[
        "poll", "ppoll", "select", "pselect6", "epoll_create", "epoll_create1", "epoll_ctl", "epoll_wait",
        "epoll_pwait", "epoll_pwait2", "eventfd", "eventfd2", "signalfd", "signalfd4", "timerfd_create",
        "timerfd_settime", "timerfd_gettime", "inotify_init", "inotify_init1", "inotify_add_watch",
        "inotify_rm_watch", "fanotify_mark", "io_setup", "io_destroy", "io_submit", "io_cancel", "io_getevents",
        "io_pgetevents",
    ]),
    ("memory", &[
        "brk", "mmap", "munmap", "mremap", "mprotect", "madvise", "process_madvise", "process_mrelease", "mincore",
        "msync", "mlock", "mlock2", "munlock", "mlockall", "munlockall", "remap_file_pages", "memfd_create",
        "memfd_secret", "membarrier", "mseal", "map_shadow_stack", "pkey_alloc", "pkey_free", "pkey_mprotect",
    ]),
    ("processes and threads", &[
        "fork", "vfork", "execve", "execveat", "exit", "exit_group", "wait4", "waitid", "kill", "tkill", "tgkill",
        "pidfd_open", "pidfd_send_signal", "getpid", "getppid", "gettid", "getpgid", "getpgrp", "setpgid", "getsid",
        "setsid", "set_tid_address", "set_robust_list", "get_robust_list", "rseq", "futex", "futex_waitv",
        "futex_wake", "futex_wait", "futex_requeue", "prctl", "arch_prctl", "modify_ldt", "restart_syscall",
        // The kernel itself puts this one into a process that is measured (uprobes).
        "uretprobe",
        // On itself and its children; since Linux 4.8 a traced process cannot be made to skip its filter.
        "ptrace", "process_vm_readv", "process_vm_writev",
    ]),
    ("signals", &[
        "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigpending", "rt_sigsuspend", "rt_sigtimedwait",
        "rt_sigqueueinfo", "rt_tgsigqueueinfo", "sigaltstack", "pause", "alarm",
    ]),
    ("who one is", &[
        "getuid", "geteuid", "getgid", "getegid", "getresuid", "getresgid", "getgroups", "setuid", "setgid",
        "setreuid", "setregid", "setresuid", "setresgid", "setfsuid", "setfsgid", "setgroups", "capget", "capset",
    ]),
    ("giving up rights, which anyone may", &[
        "seccomp", "landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self",
    ]),
    ("scheduling and limits", &[
        "sched_yield", "sched_getaffinity", "sched_setaffinity", "sched_getparam", "sched_setparam",
        "sched_getscheduler", "sched_setscheduler", "sched_getattr", "sched_setattr", "sched_get_priority_max",
        "sched_get_priority_min", "sched_rr_get_interval", "getpriority", "setpriority", "ioprio_get", "ioprio_set",
        "getrlimit", "setrlimit", "prlimit64", "getrusage", "getcpu",
    ]),
    ("time", &[
        "time", "gettimeofday", "clock_gettime", "clock_getres", "clock_nanosleep", "nanosleep", "times", "getitimer",
        "setitimer", "timer_create", "timer_settime", "timer_gettime", "timer_getoverrun", "timer_delete",
        // Reading is free; to change the clock the kernel wants CAP_SYS_TIME on the host.
        "adjtimex", "clock_adjtime",
    ]),
    ("network", &[
        "socketpair", "bind", "listen", "accept", "accept4", "connect", "shutdown", "getsockname", "getpeername",
        "getsockopt", "setsockopt", "sendto", "recvfrom", "sendmsg", "recvmsg", "sendmmsg", "recvmmsg",
    ]),
    ("pipes and System V and POSIX IPC", &[
        "pipe", "pipe2", "shmget", "shmat", "shmdt", "shmctl", "semget", "semop", "semtimedop", "semctl", "msgget",
        "msgsnd", "msgrcv", "msgctl", "mq_open", "mq_unlink", "mq_timedsend", "mq_timedreceive", "mq_notify",
        "mq_getsetattr",
    ]),
    ("the machine", &["uname", "sysinfo", "getrandom"]),
];

/// What is also allowed to a container that holds one of these. The kernel checks the capability itself; that these are
/// missing without it keeps code out of reach that would only have answered EPERM.
#[rustfmt::skip]
const WITH_CAPABILITY: &[(&[Capability], &[&str])] = &[
    (&[Capability::SysAdmin], &[
        "mount", "umount2", "mount_setattr", "open_tree", "move_mount", "fsopen", "fsconfig", "fsmount", "fspick",
        "clone", "clone3", "unshare", "setns", "sethostname", "setdomainname", "quotactl", "quotactl_fd",
        "fanotify_init", "lookup_dcookie",
    ]),
    (&[Capability::SysAdmin, Capability::Bpf], &["bpf"]),
    (&[Capability::SysAdmin, Capability::Perfmon], &["perf_event_open"]),
    (&[Capability::SysAdmin, Capability::Syslog], &["syslog"]),
    (&[Capability::DacReadSearch], &["open_by_handle_at"]),
    (&[Capability::SysPtrace], &["kcmp", "pidfd_getfd"]),
    (&[Capability::SysChroot], &["chroot"]),
    (&[Capability::SysModule], &["init_module", "finit_module", "delete_module"]),
    (&[Capability::SysBoot], &["reboot"]),
    (&[Capability::SysPacct], &["acct"]),
    (&[Capability::SysRawio], &["iopl", "ioperm"]),
    (&[Capability::SysTime], &["settimeofday", "clock_settime"]),
    (&[Capability::SysTtyConfig], &["vhangup"]),
    (&[Capability::SysNice], &["get_mempolicy", "set_mempolicy", "set_mempolicy_home_node", "mbind"]),
];

fn allow(names: &[&str]) -> LinuxSyscall {
    LinuxSyscall::default().with(names, Action::ScmpActAllow, None)
}

fn allow_if(name: &str, index: usize, op: Op, value: u64, second: Option<u64>) -> LinuxSyscall {
    let argument = LinuxSeccompArgBuilder::default().index(index).op(op).value(value).value_two(second.unwrap_or(0));
    let mut rule = allow(&[name]);
    // Every field has a default, so build() has no way to fail; were there one, the rule would be left out.
    match argument.build() {
        Ok(argument) => rule.set_args(Some(vec![argument])),
        Err(_) => rule.set_names(Vec::new()),
    };
    rule
}

/// A rule in one expression.
pub(super) trait With {
    fn with(self, names: &[&str], action: Action, errno: Option<u32>) -> Self;
}

impl With for LinuxSyscall {
    fn with(mut self, names: &[&str], action: Action, errno: Option<u32>) -> LinuxSyscall {
        self.set_names(names.iter().map(|name| (*name).to_owned()).collect()).set_action(action).set_errno_ret(errno);
        self
    }
}
