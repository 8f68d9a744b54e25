//! A narration (`--explain=json`) beside what strace(1) recorded of the same run.

use super::is_root;
use super::strace::Recorded;
use serde_json::Value;
use std::collections::{BTreeMap, HashSet};
use std::path::Path;

/// No step that did not happen, no isolating call that goes untold; each in its order and with its line of source.
pub fn is_what_happened(told: &[Value], recorded: &BTreeMap<i64, Vec<Recorded>>, shown: &str) {
    every_isolating_call_is_told_in_order(told, recorded, shown);
    whatever_is_told_happened_in_order(told, recorded, shown);
    a_process_speaks_only_after_its_birth(told, shown);
    every_call_names_its_line(told, shown);
}

/// The calls that are to be recorded, as strace's `-e trace=` has them.
pub fn calls() -> String {
    [ISOLATING, ALSO_TOLD].concat().join(",")
}

/// The calls of which each must be told, as are writes to [`FILES`] and the ioctls of [`IOCTLS`].
const ISOLATING: &[&str] = &[
    "clone",
    "clone3",
    "fork",
    "vfork",
    "unshare",
    "setns",
    "mount",
    "umount2",
    "pivot_root",
    "chroot",
    "fsopen",
    "fsconfig",
    "fsmount",
    "fspick",
    "open_tree",
    "move_mount",
    "mount_setattr",
    "sethostname",
    "setdomainname",
    "capset",
    "prctl",
    "seccomp",
    "setuid",
    "setgid",
    "setreuid",
    "setregid",
    "setresuid",
    "setresgid",
    "setfsuid",
    "setfsgid",
    "setgroups",
    "execve",
    "execveat",
    "prlimit64",
    "keyctl",
];

/// Files of the kernel's that are settings: the id maps, who is killed when memory runs out, sysctls.
const FILES: &[&str] =
    &["uid_map>", "gid_map>", "setgroups>", "oom_score_adj>", "/sys/net/", "/sys/kernel/", "/sys/fs/"];

/// A network's loopback is brought up; a file becomes a disk.
const IOCTLS: &[&str] = &["SIOCSIFFLAGS", "LOOP_CONFIGURE"];

/// Others that are told, and must have happened.
const ALSO_TOLD: &[&str] = &[
    "ioctl",
    "write",
    "mkdir",
    "rename",
    "renameat2",
    "ftruncate",
    "unlink",
    "unlinkat",
    "symlink",
    "fchownat",
    "fsync",
    "fdatasync",
    "syncfs",
    "setsid",
    "pidfd_send_signal",
];

fn must_be_told(call: &Recorded) -> bool {
    // Questions change nothing.
    let asks = ["PR_CAPBSET_READ", "PR_GET", "PR_CAP_AMBIENT_IS_SET"].iter().any(|word| call.text.contains(word))
        || (call.name == "prlimit64" && [", NULL, {", ", NULL, 0x"].iter().any(|word| call.text.contains(word)));
    match call.name.as_str() {
        "write" => FILES.iter().any(|file| call.text.split('"').next().is_some_and(|fd| fd.contains(file))),
        "ioctl" => IOCTLS.iter().any(|request| call.text.contains(request)),
        name => ISOLATING.contains(&name) && !asks,
    }
}

/// Told calls as the kernel counts them: a line may stand for several, and one that failed is told again with its answer.
fn one_by_one(told: &[Value], pid: i64) -> Vec<(String, Vec<String>)> {
    let mut calls = Vec::new();
    for call in told.iter().filter(|call| call["pid"] == pid && call["again"] != true) {
        let name = call["syscall"].as_str().expect("a name").to_owned();
        // strace(1) names an open file by what its link in /proc shows, where `self` is a number.
        let arguments = call["arguments"].as_str().expect("arguments").replace("/proc/self/", &format!("/proc/{pid}/"));
        let arguments = tokens(&arguments);
        let times = call["times"].as_u64().expect("a number") as usize;
        if times == 1 {
            calls.push((name, arguments));
        } else {
            // `PR_CAPBSET_DROP, CAP_A CAP_B …`: what all have in common, then what each has.
            let shared = arguments.len() - times;
            for one in &arguments[shared..] {
                calls.push((name.clone(), [&arguments[..shared], std::slice::from_ref(one)].concat()));
            }
        }
    }
    calls
}

fn every_isolating_call_is_told_in_order(told: &[Value], recorded: &BTreeMap<i64, Vec<Recorded>>, shown: &str) {
    for (pid, calls) in recorded {
        let mut words = one_by_one(told, *pid).into_iter();
        for call in calls.iter().filter(|call| must_be_told(call)) {
            let found = words.any(|(name, arguments)| is_same(&name, &arguments, call));
            assert!(
                found,
                "process {pid} made a call that was not told, or not in this order:\n{}\n{shown}",
                call.text
            );
        }
    }
}

fn whatever_is_told_happened_in_order(told: &[Value], recorded: &BTreeMap<i64, Vec<Recorded>>, shown: &str) {
    let pids: HashSet<i64> = told.iter().map(|call| call["pid"].as_i64().expect("a pid")).collect();
    for pid in pids {
        let calls = recorded.get(&pid).unwrap_or_else(|| panic!("told of process {pid}, which did not exist: {shown}"));
        let mut calls = calls.iter();
        for (name, arguments) in one_by_one(told, pid) {
            let found = calls.any(|call| is_same(&name, &arguments, call));
            assert!(found, "told and did not happen, or not in this order: {pid} {name} {arguments:?}\n{shown}");
        }
    }
}

/// The same call with the same arguments: every word of what was told stands in strace's line.
fn is_same(name: &str, arguments: &[String], call: &Recorded) -> bool {
    let same_name =
        name == call.name || (name == "posix_spawn" && (call.name == "vfork" || call.text.contains("CLONE_VFORK")));
    if !same_name || name == "posix_spawn" {
        return same_name;
    }
    // The mask of a field, for which strace has no name, is the sum of its values.
    let text = call.text.replace("MOUNT_ATTR_NOATIME|MOUNT_ATTR_STRICTATIME|0x40", "MOUNT_ATTR__ATIME");
    let recorded: HashSet<String> = tokens(&text).into_iter().collect();
    // Who hides from the container hides from a tracer that is not root, too: it sees addresses for what they point to.
    if !is_root() && (text.contains("(0x") || text.contains(", 0x")) {
        return true;
    }
    arguments.iter().all(|word| recorded.contains(word))
}

fn a_process_speaks_only_after_its_birth(told: &[Value], shown: &str) {
    let mut known = HashSet::new();
    let mut births = 0;
    for call in told {
        let pid = call["pid"].as_i64().expect("a pid");
        if known.insert(pid) && known.len() > 1 {
            assert!(births >= known.len() - 1, "process {pid} speaks, and nobody has told of its birth: {shown}");
        }
        births += usize::from(call["syscall"] == "clone3" || call["syscall"] == "clone");
    }
}

/// The file and line are those of a call in the source.
fn every_call_names_its_line(told: &[Value], shown: &str) {
    for call in told {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(call["file"].as_str().expect("a file"));
        let text =
            std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}\n{shown}", file.display()));
        let line = call["line"].as_u64().expect("a line") as usize;
        let lines: Vec<&str> = text.lines().skip(line - 1).take(3).collect();
        assert!(lines.join(" ").contains("calls::"), "{}:{line} makes no call: {lines:?}", file.display());
        assert!(!call["step"].as_str().expect("words").is_empty(), "a call without words: {call}");
    }
}

fn tokens(text: &str) -> Vec<String> {
    text.split(|letter: char| !letter.is_alphanumeric() && !"_./-:".contains(letter))
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}
