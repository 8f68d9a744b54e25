//! `--explain` cannot lie: what it tells is compared with what strace(1) recorded of the very same run, in both
//! directions. No step that did not happen, and no isolating call that goes untold.

mod common;

use common::strace::read_traces;
use common::{Ebb, has_one_id, is_root, narrated, skip};
use serde_json::Value;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

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
    a_volume_of_a_size(ebb, tracer);
    let limited = ["run", "--rm", "--ulimit", "nofile=32:48", "--ulimit", "core=0", "--oom-score-adj", "500"];
    let limited = [&limited[..], &["--sysctl", "net.ipv4.ip_default_ttl=63", "busybox", "true"]].concat();
    tracer.compare(ebb, &limited, &["prlimit64", "keyctl", "ioctl", "write"]);
    tracer.compare(ebb, &["image", "save", "-o", "saved.tar", "busybox"], &[]);
    let packed = Command::new("gzip").arg("saved.tar").current_dir(&ebb.dir).status();
    assert!(packed.expect("gzip starts").success());
    tracer.compare(ebb, &["rmi", "-f", "busybox"], &[]);
    tracer.compare(ebb, &["image", "load", "-q", "-i", "saved.tar.gz"], &["clone3", "prctl", "syncfs", "renameat2"]);
    // What fails is told as it was answered.
    tracer.compare(ebb, &["run", "--rm", "busybox", "/no/such/program"], &["clone3"]);
}

/// Of root's it is a disk: a file, a file system in it, a loop device. Of anybody's a tmpfs. Either is mounted by who uses it.
fn a_volume_of_a_size(ebb: &Ebb, tracer: &Tracer) {
    let (options, created, used): (&[&str], &[&str], &[&str]) = match is_root() && tracer.user.is_none() {
        true => (
            &["--opt", "size=10m"],
            &["ftruncate", "posix_spawn", "clone3", "ioctl", "fsopen", "fsmount", "unlinkat", "syncfs", "fsync"],
            &["ioctl"],
        ),
        false => (&["--opt", "type=tmpfs", "--opt", "device=tmpfs", "--opt", "size=10m"], &["renameat2"], &[]),
    };
    tracer.compare(ebb, &[&["volume", "create"], options, &["limited"]].concat(), created);
    let mounted = ["fsopen", "fsconfig", "fsmount", "move_mount", "open_tree"];
    let run = ["run", "--rm", "-v", "limited:/data", "busybox", "sh", "-c", "df -m /data"];
    tracer.compare(ebb, &run, &[&mounted[..], used].concat());
    // A second user takes the first one's mount.
    let first =
        tracer.begin_detached(ebb, &["run", "-d", "--name", "box", "-v", "limited:/d", "busybox", "sleep", "1000"]);
    tracer.compare(ebb, &run, &["setns", "open_tree", "move_mount"]);
    let paused = tracer.begin(ebb, &["volume", "export", "--pause", "-o", "paused.tar", "limited"]);
    paused.compare(&["setns", "setsid"]);
    tracer.compare(ebb, &["rm", "-f", "box"], &["pidfd_send_signal"]);
    first.compare(&mounted);
    tracer.compare(ebb, &["volume", "export", "-o", "limited.tar", "limited"], &["clone3", "fsmount", "prctl"]);
    tracer.compare(ebb, &["volume", "import", "back", "limited.tar"], &["clone3", "renameat2", "prctl"]);
    tracer.compare(ebb, &["volume", "import", "back", "limited.tar"], &["renameat2", "setsid"]);
    tracer.compare(ebb, &["volume", "rm", "--now", "back"], &["unlinkat"]);
    if created.contains(&"ioctl") {
        tracer.compare(ebb, &["volume", "clone", "limited", "double"], &["ioctl", "fsmount", "renameat2"]);
        tracer.compare(ebb, &["volume", "rm", "--now", "double"], &["unlinkat"]);
    }
    tracer.compare(ebb, &["volume", "rm", "--now", "limited"], &["unlinkat"]);
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
        let calls = narrated::calls();
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
        narrated::is_what_happened(&told, &recorded, shown);
        std::fs::remove_dir_all(traces).expect("removed");
    }
}

fn user_with_subordinate_ids() -> Option<String> {
    let subuid = std::fs::read_to_string("/etc/subuid").ok()?;
    let passwd = std::fs::read_to_string("/etc/passwd").ok()?;
    let exists = |name: &&str| *name != "root" && passwd.lines().any(|line| line.split(':').next() == Some(name));
    subuid.lines().filter_map(|line| line.split(':').next()).find(exists).map(str::to_owned)
}
