//! A health check is run in the container, and its verdict shows.
//!
//! The checks tell of themselves through a FIFO that the container's first process copies to its output, so that the
//! tests wait for them by following the log. When a check begins, the verdict on the one before has been written.

mod common;

use common::Ebb;
use std::io::{BufRead, BufReader};

fn checked(check: &str, options: &[&str]) -> Ebb {
    let ebb = Ebb::new();
    let check = format!("echo checked > /fifo; {check}");
    let mut args = vec!["run", "-d", "--name", "box", "--health-cmd", &check, "--health-interval", "20ms"];
    args.extend(options);
    args.extend(["busybox", "sh", "-c", "mkfifo /fifo; while :; do cat /fifo; done"]);
    ebb.ok(args);
    ebb
}

/// Blocks until so many checks have begun.
fn await_checks(ebb: &Ebb, count: usize) {
    let mut logs = ebb.spawn(["logs", "-f", "box"]);
    let lines = BufReader::new(logs.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
    assert_eq!(lines.take(count).count(), count);
    logs.wait().expect("ends");
}

#[test]
fn a_check_that_succeeds_makes_it_healthy() {
    let ebb = checked("echo fine", &[]);
    await_checks(&ebb, 2);
    assert_eq!(ebb.inspect("box", "{{.State.Health.Status}} {{.State.Health.FailingStreak}}"), "healthy 0");
    assert_eq!(ebb.inspect("box", "{{(index .State.Health.Log 0).ExitCode}}"), "0");
    assert_eq!(ebb.inspect("box", "{{(index .State.Health.Log 0).Output}}").trim(), "fine");
    assert!(ebb.ok(["ps", "--format", "{{.Status}}"]).ends_with("(healthy)"));
}

#[test]
fn failures_in_a_row_make_it_unhealthy_and_one_success_heals_it() {
    let ebb = checked("test -f /ok", &["--health-retries", "2"]);
    await_checks(&ebb, 3);
    assert_eq!(ebb.inspect("box", "{{.State.Health.Status}}"), "unhealthy");
    ebb.ok(["exec", "box", "touch", "/ok"]);
    let seen = ebb.ok(["logs", "box"]).lines().count();
    await_checks(&ebb, seen + 3);
    assert_eq!(ebb.inspect("box", "{{.State.Health.Status}} {{.State.Health.FailingStreak}}"), "healthy 0");
    await_checks(&ebb, seen + 8);
    assert_eq!(ebb.inspect("box", "{{len .State.Health.Log}}"), "5");
}

#[test]
fn in_the_start_period_it_is_still_starting() {
    let ebb = checked("false", &["--health-retries", "1", "--health-start-period", "1h"]);
    await_checks(&ebb, 4);
    assert_eq!(ebb.inspect("box", "{{.State.Health.Status}} {{.State.Health.FailingStreak}}"), "starting 0");
}

#[test]
fn a_check_that_takes_too_long_is_killed_and_has_failed() {
    let ebb = checked("sleep 1000", &["--health-retries", "1", "--health-timeout", "20ms"]);
    await_checks(&ebb, 2);
    assert_eq!(ebb.inspect("box", "{{.State.Health.Status}}"), "unhealthy");
    let log = ebb.inspect("box", "{{json .State.Health.Log}}");
    assert!(log.contains("Health check exceeded timeout (20ms)") && log.contains("\"ExitCode\":-1"), "{log}");
}

#[test]
fn without_a_check_there_is_no_health() {
    let ebb = checked("true", &["--no-healthcheck"]);
    assert_eq!(ebb.inspect("box", "{{json .State}}").find("Health"), None);
}
