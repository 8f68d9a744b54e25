//! Flags and capabilities by name, as strace(1) and the man pages write them.

use std::fmt::Write;

type Names = &'static [(u64, &'static str)];

pub const CLONE: Names = &[
    (libc::CLONE_NEWUSER as u64, "CLONE_NEWUSER"),
    (libc::CLONE_NEWNS as u64, "CLONE_NEWNS"),
    (libc::CLONE_NEWPID as u64, "CLONE_NEWPID"),
    (libc::CLONE_NEWNET as u64, "CLONE_NEWNET"),
    (libc::CLONE_NEWUTS as u64, "CLONE_NEWUTS"),
    (libc::CLONE_NEWIPC as u64, "CLONE_NEWIPC"),
    (libc::CLONE_NEWCGROUP as u64, "CLONE_NEWCGROUP"),
    (libc::CLONE_NEWTIME as u64, "CLONE_NEWTIME"),
    (libc::CLONE_PARENT as u64, "CLONE_PARENT"),
    (libc::CLONE_PIDFD as u64, "CLONE_PIDFD"),
    (0x2_0000_0000, "CLONE_INTO_CGROUP"),
];

/// The namespaces as `lsns` and /proc/PID/ns name them.
pub const NAMESPACES: Names = &[
    (libc::CLONE_NEWUSER as u64, "user"),
    (libc::CLONE_NEWNS as u64, "mnt"),
    (libc::CLONE_NEWPID as u64, "pid"),
    (libc::CLONE_NEWNET as u64, "net"),
    (libc::CLONE_NEWUTS as u64, "uts"),
    (libc::CLONE_NEWIPC as u64, "ipc"),
    (libc::CLONE_NEWCGROUP as u64, "cgroup"),
    (libc::CLONE_NEWTIME as u64, "time"),
];

pub const MOUNT: Names = &[
    (libc::MS_RDONLY, "MS_RDONLY"),
    (libc::MS_NOSUID, "MS_NOSUID"),
    (libc::MS_NODEV, "MS_NODEV"),
    (libc::MS_NOEXEC, "MS_NOEXEC"),
    (libc::MS_BIND, "MS_BIND"),
    (libc::MS_REC, "MS_REC"),
    (libc::MS_PRIVATE, "MS_PRIVATE"),
    (libc::MS_SLAVE, "MS_SLAVE"),
    (libc::MS_SHARED, "MS_SHARED"),
    (libc::MS_UNBINDABLE, "MS_UNBINDABLE"),
];

/// mount_setattr(2) and fsmount(2). The kinds of atime are a number in one field; 0, relatime, is not written.
pub const ATTRIBUTES: Names = &[
    (libc::MOUNT_ATTR_RDONLY, "MOUNT_ATTR_RDONLY"),
    (libc::MOUNT_ATTR_NOSUID, "MOUNT_ATTR_NOSUID"),
    (libc::MOUNT_ATTR_NODEV, "MOUNT_ATTR_NODEV"),
    (libc::MOUNT_ATTR_NOEXEC, "MOUNT_ATTR_NOEXEC"),
    (libc::MOUNT_ATTR__ATIME, "MOUNT_ATTR__ATIME"),
    (libc::MOUNT_ATTR_NOATIME, "MOUNT_ATTR_NOATIME"),
    (libc::MOUNT_ATTR_STRICTATIME, "MOUNT_ATTR_STRICTATIME"),
    (libc::MOUNT_ATTR_NODIRATIME, "MOUNT_ATTR_NODIRATIME"),
    (libc::MOUNT_ATTR_IDMAP, "MOUNT_ATTR_IDMAP"),
    (libc::MOUNT_ATTR_NOSYMFOLLOW, "MOUNT_ATTR_NOSYMFOLLOW"),
];

pub const OPEN_TREE: Names = &[
    (libc::OPEN_TREE_CLONE as u64, "OPEN_TREE_CLONE"),
    (libc::OPEN_TREE_CLOEXEC as u64, "OPEN_TREE_CLOEXEC"),
    (libc::AT_EMPTY_PATH as u64, "AT_EMPTY_PATH"),
    (libc::AT_RECURSIVE as u64, "AT_RECURSIVE"),
];

pub const UMOUNT: Names = &[(libc::MNT_DETACH as u64, "MNT_DETACH")];

/// By number, as linux/capability.h counts them.
const CAPABILITIES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

pub fn capability(number: u64) -> String {
    match CAPABILITIES.get(number as usize) {
        Some(name) => format!("CAP_{name}"),
        None => number.to_string(),
    }
}

/// `A|B`, with what has no name as a number; `0` for none.
pub fn flags(value: u64, names: Names) -> String {
    let mut left = value;
    let mut text = String::new();
    for (flag, name) in names {
        // A field's whole mask comes before its values, which are then no longer left.
        if left & flag == *flag {
            left &= !flag;
            let _ = write!(text, "{}{name}", if text.is_empty() { "" } else { "|" });
        }
    }
    if left != 0 || text.is_empty() {
        let _ = write!(text, "{}{}", if text.is_empty() { "" } else { "|" }, hexadecimal(left));
    }
    text
}

fn hexadecimal(number: u64) -> String {
    if number == 0 { "0".into() } else { format!("{number:#x}") }
}

pub fn prctl(option: i32) -> String {
    let name = match option {
        libc::PR_CAPBSET_DROP => "PR_CAPBSET_DROP",
        libc::PR_SET_KEEPCAPS => "PR_SET_KEEPCAPS",
        libc::PR_SET_NO_NEW_PRIVS => "PR_SET_NO_NEW_PRIVS",
        libc::PR_SET_PDEATHSIG => "PR_SET_PDEATHSIG",
        libc::PR_SET_DUMPABLE => "PR_SET_DUMPABLE",
        libc::PR_SET_CHILD_SUBREAPER => "PR_SET_CHILD_SUBREAPER",
        libc::PR_CAP_AMBIENT => "PR_CAP_AMBIENT",
        other => return other.to_string(),
    };
    name.into()
}

/// A limit as strace(1) writes it: whole kibibytes as such.
pub fn limit(value: u64) -> String {
    match value {
        u64::MAX => "RLIM64_INFINITY".into(),
        value if value > 1024 && value % 1024 == 0 => format!("{}*1024", value / 1024),
        value => value.to_string(),
    }
}

/// What prlimit(2) limits, by number.
pub fn resource(number: u32) -> String {
    let name = match number {
        libc::RLIMIT_AS => "RLIMIT_AS",
        libc::RLIMIT_CORE => "RLIMIT_CORE",
        libc::RLIMIT_CPU => "RLIMIT_CPU",
        libc::RLIMIT_DATA => "RLIMIT_DATA",
        libc::RLIMIT_FSIZE => "RLIMIT_FSIZE",
        libc::RLIMIT_LOCKS => "RLIMIT_LOCKS",
        libc::RLIMIT_MEMLOCK => "RLIMIT_MEMLOCK",
        libc::RLIMIT_MSGQUEUE => "RLIMIT_MSGQUEUE",
        libc::RLIMIT_NICE => "RLIMIT_NICE",
        libc::RLIMIT_NOFILE => "RLIMIT_NOFILE",
        libc::RLIMIT_NPROC => "RLIMIT_NPROC",
        libc::RLIMIT_RSS => "RLIMIT_RSS",
        libc::RLIMIT_RTPRIO => "RLIMIT_RTPRIO",
        libc::RLIMIT_RTTIME => "RLIMIT_RTTIME",
        libc::RLIMIT_SIGPENDING => "RLIMIT_SIGPENDING",
        libc::RLIMIT_STACK => "RLIMIT_STACK",
        other => return other.to_string(),
    };
    name.into()
}
