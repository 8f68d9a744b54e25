//! `--explain` cannot lie: what it tells is compared with what strace(1) recorded of the very same run, in both
//! directions. No step that did not happen, and no isolating call that goes untold.

mod common;

use common::strace::{Recorded, read_traces};
use common::{Ebb, has_one_id, is_root, skip};
use serde_json::Value;
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

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

#[test]
fn what_is_told_is_what_the_kernel_was_asked_as_root_or_with_one_id() {
    if !is_root() && !has_one_id() {
        // newuidmap(1) is setuid, and loses that under a tracer that is not root: see the test below, which root runs.
        return;
    }
    let ebb = Ebb::new();
    story(&ebb, &Tracer { user: None, binary: env!("CARGO_BIN_EXE_ebb").into() });
}

#[test]
fn what_is_told_is_what_the_kernel_was_asked_with_subordinate_ids() {
    if !is_root() {
        return; // Only root can trace a setuid program at work; in CI root does.
    }
    let Some(user) = user_with_subordinate_ids() else {
        return skip("no user of this machine has subordinate ids");
    };
    let ebb = Ebb::empty();
    // The build may lie where only root can go.
    let binary = ebb.dir.join("ebb");
    std::fs::copy(env!("CARGO_BIN_EXE_ebb"), &binary).expect("copied");
    let archive = ebb.dir.join("busybox.tar");
    std::fs::copy(common::busybox_archive(), &archive).expect("copied");
    let given = Command::new("chown").arg("-R").arg(format!("{user}:")).arg(&ebb.dir).status();
    assert!(given.expect("chown starts").success());
    let tracer = Tracer { user: Some(user), binary };
    tracer.plain(&ebb, &["image", "load", "-q", "-i", archive.to_str().expect("UTF-8")]);
    story(&ebb, &tracer);
    tracer.plain(&ebb, &["volume", "prune", "-af"]);
    tracer.plain(&ebb, &["volume", "trash", "empty", "-f"]);
    tracer.plain(&ebb, &["rmi", "-f", "busybox"]);
}

/// Every command that the kernel has steps to tell of.
fn story(ebb: &Ebb, tracer: &Tracer) {
    std::fs::write(ebb.dir.join("file"), "text\n").expect("a file");
    if let Some(user) = &tracer.user {
        assert!(
            Command::new("chown").arg(format!("{user}:")).arg(ebb.dir.join("file")).status().expect("chown").success()
        );
    }
    tracer.compare(ebb, &["volume", "create", "vase"], &["mkdir", "renameat2", "fsync"]);
    let isolated = [
        "clone3",
        "mount",
        "fsmount",
        "move_mount",
        "pivot_root",
        "umount2",
        "sethostname",
        "capset",
        "seccomp",
        "prctl",
        "setresuid",
        "execve",
    ];
    tracer.compare(
        ebb,
        &["run", "--rm", "-v", "vase:/data", "busybox", "sh", "-c", "echo kept > /data/kept"],
        &isolated,
    );
    tracer.compare(ebb, &["create", "--name", "box", "busybox", "sleep", "1000"], &["mkdir", "symlink", "renameat2"]);
    let started = tracer.begin_detached(ebb, &["start", "box"]);
    tracer.compare(ebb, &["exec", "box", "echo", "inside"], &["clone3", "setns", "setresuid", "execve", "keyctl"]);
    if !has_one_id() {
        tracer.compare(ebb, &["exec", "-u", "1000", "box", "true"], &["setresuid", "execve"]);
    }
    tracer.compare(ebb, &["cp", "file", "box:/file"], &["clone3", "setns"]);
    tracer.compare(ebb, &["cp", "box:/etc/passwd", "passwd"], &["clone3", "setns"]);
    tracer.compare(ebb, &["stop", "-t", "0", "box"], &["pidfd_send_signal"]);
    started.compare(&isolated);
    tracer.compare(ebb, &["cp", "file", "box:/again"], &["clone3", "move_mount", "mount"]);
    tracer.compare(ebb, &["diff", "box"], &[]);
    tracer.compare(ebb, &["rename", "box", "other"], &["rename"]);
    tracer.compare(ebb, &["rm", "other"], &["rename", "unlinkat"]);
    let given = ebb.dir.join("given");
    std::fs::create_dir_all(given.join("d")).expect("a directory");
    std::fs::write(given.join("f"), "").expect("a file");
    if let Some(user) = &tracer.user {
        let given = Command::new("chown").args(["-R", &format!("{user}:")]).arg(&given).status();
        assert!(given.expect("chown starts").success());
    }
    let chowned: &[&str] = if has_one_id() { &[] } else { &["fchownat"] };
    let mount = format!("{}:/c:U", given.display());
    tracer.compare(ebb, &["run", "--rm", "-u", "33", "-v", &mount, "busybox", "true"], chowned);
    let mount = format!("{}:/c:idmap", given.display());
    if tracer.user.is_none() {
        tracer.compare(ebb, &["run", "--name", "mapped", "-u", "44", "-v", &mount, "busybox", "true"], &["execve"]);
        tracer.compare(ebb, &["where", "mapped:/c/f"], &["setresuid", "capset"]);
        tracer.compare(ebb, &["rm", "mapped"], &[]);
    } else {
        let kept = ["run", "--rm", "--userns", "keep-id", "busybox", "true"];
        tracer.compare(ebb, &kept, &["execve"]);
    }
    let run = tracer.begin_detached(ebb, &["run", "-d", "--name", "box", "--read-only", "busybox", "sleep", "1000"]);
    tracer.compare(ebb, &["rm", "-f", "box"], &["pidfd_send_signal", "unlinkat"]);
    run.compare(&isolated);
    tracer.compare(ebb, &["volume", "rm", "vase"], &["renameat2", "fsync"]);
    tracer.compare(ebb, &["volume", "restore", "vase"], &["renameat2", "fsync"]);
    tracer.compare(ebb, &["volume", "clone", "vase", "copy"], &["renameat2", "syncfs"]);
    tracer.compare(ebb, &["volume", "rename", "vase", "jug"], &["renameat2", "fsync"]);
    tracer.compare(ebb, &["volume", "rm", "--now", "jug"], &["rename", "unlinkat"]);
    let limited = ["run", "--rm", "--ulimit", "nofile=32:48", "--ulimit", "core=0", "--oom-score-adj", "500"];
    let limited = [&limited[..], &["--sysctl", "net.ipv4.ip_default_ttl=63", "busybox", "true"]].concat();
    tracer.compare(ebb, &limited, &["prlimit64", "keyctl", "ioctl", "write"]);
    // What fails is told as it was answered.
    tracer.compare(ebb, &["run", "--rm", "busybox", "/no/such/program"], &["clone3"]);
}

struct Tracer {
    user: Option<String>,
    binary: PathBuf,
}

impl Tracer {
    /// The command without a tracer, as the tracer's user.
    fn plain(&self, ebb: &Ebb, words: &[&str]) {
        let user = self.user.as_deref().expect("only where it is another user");
        let mut command = Command::new("setpriv");
        command.args(["--reuid", user, "--regid", user, "--init-groups"]).arg(&self.binary).args(words);
        let answer = common::answer(self.environment(ebb, &mut command));
        assert_eq!(answer.code, 0, "{}", answer.shown());
    }

    fn environment<'a>(&self, ebb: &Ebb, command: &'a mut Command) -> &'a mut Command {
        command.env("EBB_ROOT", ebb.store()).env("NO_COLOR", "1").current_dir(&ebb.dir)
    }

    /// Runs the command under strace, and compares what it told with what was recorded. `expected` are names of calls
    /// that must be among them, so that nothing compared with nothing passes.
    fn compare(&self, ebb: &Ebb, words: &[&str], expected: &[&str]) {
        self.begin(ebb, words).compare(expected);
    }

    /// Starts the command, and returns when it has answered. strace itself stays for as long as the container lives.
    fn begin_detached(&self, ebb: &Ebb, words: &[&str]) -> Run {
        let mut run = self.begin(ebb, words);
        let mut line = String::new();
        let mut out = std::io::BufReader::new(run.child.stdout.take().expect("a pipe"));
        std::io::BufRead::read_line(&mut out, &mut line).expect("an answer");
        run
    }

    fn begin(&self, ebb: &Ebb, words: &[&str]) -> Run {
        let traces = common::scratch("traces");
        let calls = [ISOLATING, ALSO_TOLD].concat().join(",");
        let mut strace = Command::new("strace");
        // Each process to a file of its own; paths beside descriptors; nothing cut short.
        strace.args(["-ff", "-y", "-qq", "-s", "1000000", "-e", "signal=none", "-e", &format!("trace={calls}"), "-o"]);
        strace.arg(traces.join("trace"));
        if let Some(user) = &self.user {
            strace.args(["-u", user]);
        }
        strace.arg(&self.binary).arg("--explain=json").args(words);
        let strace = self.environment(ebb, &mut strace);
        // To a file: nobody reads while the container lives, and a pipe would be full.
        let told = std::fs::File::create(traces.join("told")).expect("a file");
        strace.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(told);
        Run { child: strace.spawn().expect("strace starts"), traces, words: words.join(" ") }
    }
}

/// A command under strace.
struct Run {
    child: Child,
    traces: PathBuf,
    words: String,
}

impl Run {
    fn compare(self, expected: &[&str]) {
        let traces = self.traces;
        self.child.wait_with_output().expect("strace ends");
        let stderr = std::fs::read_to_string(traces.join("told")).expect("what was told");
        std::fs::remove_file(traces.join("told")).expect("removed");
        let shown = &format!("$ ebb {}\n{stderr}", self.words);
        let told: Vec<Value> = stderr
            .lines()
            .filter(|line| line.starts_with('{'))
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}\n{shown}")))
            .collect();
        for name in expected {
            assert!(told.iter().any(|call| call["syscall"] == *name), "no {name} was told: {shown}");
        }
        let recorded = read_traces(&traces);
        every_isolating_call_is_told_in_order(&told, &recorded, shown);
        whatever_is_told_happened_in_order(&told, &recorded, shown);
        a_process_speaks_only_after_its_birth(&told, shown);
        every_call_names_its_line(&told, shown);
        std::fs::remove_dir_all(traces).expect("removed");
    }
}

fn must_be_told(call: &Recorded) -> bool {
    // Questions change nothing.
    let asks = ["PR_CAPBSET_READ", "PR_GET", "PR_CAP_AMBIENT_IS_SET"].iter().any(|word| call.text.contains(word))
        || (call.name == "prlimit64" && call.text.contains(", NULL, {"));
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
        births += usize::from(call["syscall"] == "clone3");
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

fn user_with_subordinate_ids() -> Option<String> {
    let subuid = std::fs::read_to_string("/etc/subuid").ok()?;
    let passwd = std::fs::read_to_string("/etc/passwd").ok()?;
    let exists = |name: &&str| *name != "root" && passwd.lines().any(|line| line.split(':').next() == Some(name));
    subuid.lines().filter_map(|line| line.split(':').next()).find(exists).map(str::to_owned)
}
