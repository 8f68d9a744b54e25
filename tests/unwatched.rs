//! Nothing runs unwatched: a container that outlives its supervisor is ended by the next command that looks at it, and `rm -f`
//! ends a supervisor whatever that is at.

mod common;

use common::{Answer, Ebb};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::process::Command;

fn supervisor_of(ebb: &Ebb) -> Pid {
    let init = ebb.inspect("box", "{{.State.Pid}}");
    let stat = std::fs::read_to_string(format!("/proc/{init}/stat")).expect("it runs");
    let parent = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)).expect("a parent");
    Pid::from_raw(parent.parse().expect("a pid"))
}

/// A zombie has ended.
fn lives(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().next()).is_some_and(|state| !"ZX".contains(state))
}

/// Ended by force after a minute: a failure, then, and not a test that never ends.
fn patiently(ebb: &Ebb, words: &[&str]) -> Answer {
    let mut command = Command::new("timeout");
    command.args(["60", env!("CARGO_BIN_EXE_ebb")]).args(words).env("EBB_ROOT", ebb.store());
    common::answer(&mut command)
}

/// A container whose first process has changed its credentials, and so will not die with its supervisor, which is killed.
fn with_orphan() -> Option<(Ebb, Pid)> {
    if common::has_one_id() {
        // Who has one id has nobody else to become.
        return None;
    }
    let ebb = Ebb::new();
    let other = "echo 'other:x:1000:1000::/:/bin/sh' >> /etc/passwd; exec su other -c 'echo other; exec sleep 10000'";
    ebb.ok(["run", "-d", "--name", "box", "busybox", "sh", "-c", other]);
    ebb.await_line("box", "other");
    let init = Pid::from_raw(ebb.inspect("box", "{{.State.Pid}}").parse().expect("a pid"));
    let supervisor = supervisor_of(&ebb);
    kill(supervisor, Signal::SIGKILL).expect("killed");
    while lives(supervisor) {}
    assert!(lives(init), "the kernel did not end it with its supervisor");
    Some((ebb, init))
}

#[test]
fn the_next_command_ends_what_outlived_its_supervisor_and_says_so_once() {
    let Some((ebb, init)) = with_orphan() else { return };
    let told = "ebb: container box outlived its supervisor, so that nothing watched it any more: it was killed";
    let first = ebb.run(["ps", "-a", "--format", "{{.Status}}"]);
    assert!(!lives(init), "{}", first.shown());
    assert!(first.code == 0 && first.stdout.starts_with("Exited (137)"), "{}", first.shown());
    assert_eq!(first.stderr.matches(told).count(), 1, "{}", first.shown());
    let second = ebb.run(["ps", "-a", "--format", "{{.Status}}"]);
    assert!(second.stdout.starts_with("Exited (137)") && second.stderr.is_empty(), "{}", second.shown());
}

#[test]
fn whatever_command_comes_first_it_finds_an_end() {
    for words in [&["exec", "box", "true"][..], &["start", "box"], &["rm", "box"], &["stop", "box"], &["wait", "box"]] {
        let Some((ebb, init)) = with_orphan() else { return };
        let answer = patiently(&ebb, words);
        assert!(!lives(init) && answer.code != 124, "{}", answer.shown());
        assert_eq!(answer.stderr.matches("outlived its supervisor").count(), 1, "{}", answer.shown());
        match words[0] {
            "exec" => assert!(answer.stderr.contains("is not running"), "{}", answer.shown()),
            "start" => assert_eq!(ebb.inspect("box", "{{.State.Status}}"), "running"),
            "rm" => assert_eq!(ebb.ok(["ps", "-aq"]), ""),
            _ => assert_eq!(ebb.inspect("box", "{{.State.Status}} {{.State.ExitCode}}"), "exited 137"),
        }
    }
}

/// Not to be able to ask (no descriptor left on the machine, no memory) is not to know that it is gone.
#[test]
fn a_supervisor_that_cannot_be_asked_after_is_not_taken_for_dead() {
    let ebb = Ebb::new();
    ebb.ok(["run", "-d", "--name", "box", "busybox", "sleep", "10000"]);
    let supervisor = supervisor_of(&ebb);
    let stat = format!("/proc/{supervisor}/stat");
    let mut strace = std::process::Command::new("strace");
    strace.args([
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        "-P",
        &stat,
        "-e",
        "trace=openat",
        "-e",
        "inject=openat:error=ENFILE",
    ]);
    strace.arg(env!("CARGO_BIN_EXE_ebb")).args(["ps", "-a"]).env("EBB_ROOT", ebb.store()).current_dir(&ebb.dir);
    let listed = common::answer(&mut strace);
    assert!(!listed.stderr.contains("outlived"), "{}", listed.shown());
    assert!(lives(supervisor));
    assert_eq!(ebb.inspect("box", "{{.State.Status}}"), "running");
    ebb.ok(["rm", "-f", "box"]);
}

#[test]
fn rm_by_force_ends_a_supervisor_that_is_stopped() {
    for policy in ["no", "always"] {
        let ebb = Ebb::new();
        ebb.ok(["run", "-d", "--restart", policy, "--name", "box", "busybox", "sleep", "10000"]);
        let (init, supervisor) = (ebb.inspect("box", "{{.State.Pid}}"), supervisor_of(&ebb));
        kill(supervisor, Signal::SIGSTOP).expect("stopped");
        let removed = patiently(&ebb, &["rm", "-f", "box"]);
        assert_eq!(removed.code, 0, "{}", removed.shown());
        assert!(!lives(supervisor) && !lives(Pid::from_raw(init.parse().expect("a pid"))));
        assert_eq!(ebb.ok(["ps", "-aq"]), "");
    }
}

/// It is in no record yet.
#[test]
fn rm_by_force_ends_a_supervisor_that_has_not_got_as_far_as_to_claim_its_container() {
    let ebb = Ebb::new();
    let id = ebb.ok(["create", "--name", "box", "busybox", "sleep", "10000"]);
    let directory = std::fs::File::open(ebb.store().join("containers").join(&id)).expect("the container");
    directory.lock().expect("the container's lock");
    let mut start = ebb.spawn(["start", "box"]);
    let waiter = loop {
        let locks = std::fs::read_to_string("/proc/locks").expect("the kernel's locks");
        let pids = locks
            .lines()
            .filter(|line| line.contains("-> FLOCK"))
            .filter_map(|line| line.split_whitespace().nth(5).and_then(|pid| pid.parse::<i32>().ok()));
        let is_ours = |pid: &i32| {
            let root = format!("EBB_ROOT={}\0", ebb.store().display());
            std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm == "ebb:box\n")
                && std::fs::read_to_string(format!("/proc/{pid}/environ")).is_ok_and(|all| all.contains(&root))
        };
        if let Some(pid) = pids.into_iter().find(is_ours) {
            break Pid::from_raw(pid);
        }
        assert!(start.try_wait().expect("a child").is_none(), "it waits for the lock");
    };
    // Whether it still comes by the lock before it stops is a race: both are to end.
    kill(waiter, Signal::SIGSTOP).expect("stopped");
    drop(directory);
    let removed = patiently(&ebb, &["rm", "-f", "box"]);
    assert_eq!(removed.code, 0, "{}", removed.shown());
    assert!(!lives(waiter), "its supervisor is ended");
    assert!(!start.wait_with_output().map(|output| output.status.success()).expect("start ends"));
    assert_eq!(ebb.ok(["ps", "-aq"]), "");
}
