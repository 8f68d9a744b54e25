//! Root in a container may send SIGSTOP to whoever enters it. Nobody outside waits for a process that is stopped so: not the
//! supervisor, not `exec`.

mod common;

use common::{Answer, Ebb};
use std::process::Command;

/// Stops, without a pause, all that its first process can see. That one says `heard` when it gets SIGUSR1.
const STOPPER: &str = "trap 'echo heard' USR1; echo ready; while :; do kill -STOP -1; done";

fn with_stopper(options: &[&str]) -> Ebb {
    let ebb = Ebb::new();
    let run = ["run", "-d", "--name", "box"];
    ebb.ok([&run[..], options, &["busybox", "sh", "-c", STOPPER]].concat());
    ebb.await_line("box", "ready");
    ebb
}

/// Ended by force after a minute: a failure, then, and not a test that never ends.
fn patiently(ebb: &Ebb, words: &[&str]) -> Answer {
    within(ebb, "60", words)
}

fn within(ebb: &Ebb, seconds: &str, words: &[&str]) -> Answer {
    let mut command = Command::new("timeout");
    command.args([seconds, env!("CARGO_BIN_EXE_ebb")]).args(words).env("EBB_ROOT", ebb.store());
    common::answer(&mut command)
}

#[test]
fn exec_into_a_container_that_stops_whoever_enters_ends_with_the_reason() {
    let ebb = with_stopper(&[]);
    for words in [&["exec", "box", "true"][..], &["exec", "-d", "box", "true"], &["exec", "-t", "box", "true"]] {
        // The program may be executed before the container's next turn, and is then stopped itself: that is no fault.
        let tries = (0..40).map(|_| within(&ebb, "3", words));
        let said =
            tries.map(|answer| answer.stderr).find(|said| said.contains("container stopped the process that was"));
        assert!(said.is_some(), "{words:?} ended with the reason");
    }
    assert_eq!(patiently(&ebb, &["rm", "-f", "box"]).code, 0);
}

#[test]
fn a_container_that_stops_its_health_checks_is_unhealthy_and_its_supervisor_goes_on() {
    let check =
        ["--health-cmd", "true", "--health-interval", "20ms", "--health-retries", "1", "--health-timeout", "2s"];
    let ebb = with_stopper(&check);
    let stopped = "until \"$0\" inspect -f '{{json .State.Health.Log}}' box | grep -q 'container stopped the process'; do :; done";
    let mut shell = Command::new("timeout");
    shell.args(["60", "sh", "-c", stopped, env!("CARGO_BIN_EXE_ebb")]).env("EBB_ROOT", ebb.store());
    assert_eq!(common::answer(&mut shell).code, 0, "the health check's verdict came within a minute");
    assert_eq!(ebb.inspect("box", "{{.State.Health.Status}}"), "unhealthy");
    // The container's output goes to its log, and the supervisor answers at its door.
    ebb.ok(["kill", "-s", "USR1", "box"]);
    let heard = "\"$0\" logs -f box | grep -m1 heard";
    let mut shell = Command::new("timeout");
    shell.args(["60", "sh", "-c", heard, env!("CARGO_BIN_EXE_ebb")]).env("EBB_ROOT", ebb.store());
    assert_eq!(common::answer(&mut shell).stdout, "heard\n");
    assert_eq!(patiently(&ebb, &["stop", "-t", "0", "box"]).code, 0);
    assert_eq!(ebb.inspect("box", "{{.State.Status}} {{.State.ExitCode}}"), "exited 137");
}

/// A time-out that is shorter than the look at who is stopped: the process that runs the check is told to give up.
#[test]
fn a_check_that_is_stopped_while_it_enters_is_killed_at_its_time_out() {
    let ebb = with_stopper(&[
        "--health-cmd",
        "true",
        "--health-interval",
        "1ms",
        "--health-retries",
        "1",
        "--health-timeout",
        "30ms",
    ]);
    let timed_out = "until \"$0\" inspect -f '{{json .State.Health.Log}}' box | grep -q exceeded; do :; done";
    let mut shell = Command::new("timeout");
    shell.args(["60", "sh", "-c", timed_out, env!("CARGO_BIN_EXE_ebb")]).env("EBB_ROOT", ebb.store());
    assert_eq!(common::answer(&mut shell).code, 0, "the time-out came within a minute");
    // No process of a check is left behind: with its container everything ends, and is reaped.
    let supervisor: i32 = supervisor_of(&ebb).parse().expect("a pid");
    assert_eq!(patiently(&ebb, &["rm", "-f", "box"]).code, 0);
    let left = std::fs::read_to_string(format!("/proc/{supervisor}/stat")).unwrap_or_default();
    assert!(!left.contains(" S "), "{left}");
}

fn supervisor_of(ebb: &Ebb) -> String {
    let init = ebb.inspect("box", "{{.State.Pid}}");
    let stat = std::fs::read_to_string(format!("/proc/{init}/stat")).expect("it runs");
    stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)).expect("a parent").to_owned()
}
