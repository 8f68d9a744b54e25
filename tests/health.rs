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
    let ebb = checked("sleep 1000", &["--health-retries", "1", "--health-timeout", "200ms"]);
    await_checks(&ebb, 2);
    assert_eq!(ebb.inspect("box", "{{.State.Health.Status}}"), "unhealthy");
    let log = ebb.inspect("box", "{{json .State.Health.Log}}");
    assert!(log.contains("Health check exceeded timeout (200ms)") && log.contains("\"ExitCode\":-1"), "{log}");
}

#[test]
fn a_check_that_cannot_be_started_has_failed() {
    let ebb = Ebb::new();
    let check = ["--health-cmd", "true", "--health-interval", "1ms", "--health-retries", "1"];
    let program = ["busybox", "sh", "-c", "rm /bin/sh; exec sleep 1000"];
    ebb.ok([&["run", "-d", "--name", "box"], &check[..], &program].concat());
    // Nobody tells of a verdict but the state, so the state is asked.
    while ebb.inspect("box", "{{.State.Health.Status}}") != "unhealthy" {}
    let log = ebb.inspect("box", "{{json .State.Health.Log}}");
    assert!(log.contains("/bin/sh: no such file or directory"), "{log}");
    ebb.ok(["rm", "-f", "box"]);
}

#[test]
fn a_check_more_often_than_the_floor_is_refused_in_dockers_words() {
    let ebb = Ebb::new();
    for (option, name) in
        [("--health-interval", "Interval"), ("--health-timeout", "Timeout"), ("--health-start-period", "StartPeriod")]
    {
        for time in ["1ns", "999us"] {
            let said = ebb.fails(125, ["run", "--rm", "--health-cmd", "true", option, time, "busybox", "true"]);
            assert!(said.contains(&format!("ebb: {name} in Healthcheck cannot be less than 1ms\n")), "{said}");
            assert!(said.contains("30s is Docker's interval"), "{said}");
        }
        let said = ebb.fails(125, ["create", "--health-cmd", "true", &format!("{option}=-1s"), "busybox"]);
        assert!(said.contains(&format!("{option} cannot be negative")), "{said}");
        ebb.ok(["create", "--health-cmd", "true", option, "1ms", "busybox"]);
    }
    let said = ebb.fails(125, ["create", "--no-healthcheck", "--health-interval", "5s", "busybox"]);
    assert!(said.contains("--no-healthcheck conflicts with --health-* options"), "{said}");
    assert_eq!(ebb.ok(["ps", "-aq"]).lines().count(), 3, "what was refused has made nothing");
}

/// Gives the image `busybox` a health check of its own, by the archive that it is saved to.
fn image_with_check(ebb: &Ebb, name: &str, check: &str) {
    ebb.ok(["save", "-o", "plain.tar", "busybox"]);
    let bytes = std::fs::read(ebb.dir.join("plain.tar")).expect("an archive");
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    for entry in tar::Archive::new(&bytes[..]).entries().expect("a tar") {
        let mut entry = entry.expect("an entry");
        let mut content = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut content).expect("its content");
        files.push((entry.path().expect("a path").to_string_lossy().into_owned(), content));
    }
    let content = |path: &str| &files.iter().find(|(name, _)| name == path).expect("a member").1;
    let manifest: serde_json::Value = serde_json::from_slice(content("manifest.json")).expect("JSON");
    let mut config: serde_json::Value =
        serde_json::from_slice(content(manifest[0]["Config"].as_str().expect("a path"))).expect("JSON");
    config["config"]["Healthcheck"] = serde_json::from_str(check).expect("JSON");
    let layer = manifest[0]["Layers"][0].as_str().expect("a path");
    let manifest = serde_json::json!([{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]);
    let mut builder = tar::Builder::new(std::fs::File::create(ebb.dir.join("checked.tar")).expect("a file"));
    for (path, bytes) in [
        ("manifest.json", manifest.to_string().as_bytes()),
        ("config.json", config.to_string().as_bytes()),
        ("layer.tar", content(layer)),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, path, bytes).expect("written");
    }
    builder.finish().expect("finished");
    ebb.ok(["load", "-q", "-i", "checked.tar"]);
}

#[test]
fn an_image_gets_no_check_below_the_floor_either() {
    let ebb = Ebb::new();
    image_with_check(&ebb, "hungry:1", r#"{"Test": ["CMD-SHELL", "true"], "Interval": 1}"#);
    let said = ebb.fails(125, ["run", "-d", "--name", "box", "hungry:1", "sleep", "1000"]);
    assert!(said.contains("Interval in Healthcheck cannot be less than 1ms, and the image has 1ns"), "{said}");
    assert!(said.contains("--health-interval 30s") && said.contains("--no-healthcheck"), "{said}");
    assert_eq!(ebb.ok(["ps", "-aq"]), "");
    ebb.ok(["create", "--name", "slow", "--health-interval", "30s", "hungry:1"]);
    ebb.ok(["create", "--name", "none", "--no-healthcheck", "hungry:1"]);
    assert_eq!(ebb.inspect("slow", "{{json .Config.Healthcheck.Interval}}"), "30000000000");
}

/// The pause is the host's: a check that takes long, or is killed for that, does not eat it up.
#[test]
fn the_interval_counts_from_the_end_of_the_check_before() {
    for (check, timeout) in [("true", "10s"), ("sleep 0.3", "10s"), ("sleep 1000", "100ms")] {
        let ebb = checked(check, &["--health-interval", "200ms", "--health-timeout", timeout]);
        await_checks(&ebb, 4);
        let times = ebb.inspect("box", "{{range .State.Health.Log}}{{json .Start}} {{json .End}}\n{{end}}");
        let times = times.replace("\\n", "\n");
        let read = |word: &str| word.trim_matches('"').parse::<jiff::Timestamp>().expect("a time");
        let probes: Vec<Vec<jiff::Timestamp>> =
            times.lines().map(|line| line.split_whitespace().map(read).collect()).collect();
        assert!(probes.len() >= 3, "{times}");
        for pair in probes.windows(2) {
            let pause = pair[1][0].duration_since(pair[0][1]);
            assert!(pause >= jiff::SignedDuration::from_millis(199), "{check}: {pause:?}\n{times}");
        }
    }
}

/// A check that had entered the container, and was killed with it before it could be started, was once left unreaped; the
/// kernel does not let a first process end before its pid namespace is empty. (It took one removal in thirty.)
#[test]
fn a_container_ends_at_whatever_moment_of_a_check_it_is_killed() {
    let ebb = Ebb::new();
    for _ in 0..40 {
        let check = ["--health-cmd", "true", "--health-interval", "1ms", "--health-timeout", "1ms"];
        ebb.ok([&["run", "-d", "--name", "box"], &check[..], &["busybox", "sleep", "1000"]].concat());
        let mut removal = std::process::Command::new("timeout");
        removal.args(["60", env!("CARGO_BIN_EXE_ebb"), "rm", "-f", "box"]).env("EBB_ROOT", ebb.store());
        assert_eq!(common::answer(&mut removal).stdout, "box\n");
    }
}

#[test]
fn without_a_check_there_is_no_health() {
    let ebb = Ebb::new();
    image_with_check(&ebb, "checked:1", r#"{"Test": ["CMD-SHELL", "true"]}"#);
    ebb.ok(["run", "-d", "--name", "box", "--no-healthcheck", "checked:1", "sleep", "1000"]);
    assert_eq!(ebb.inspect("box", "{{json .State}}").find("Health"), None);
}

/// With --privileged a container sees the host's names of its cgroups.
#[test]
fn a_check_is_under_the_containers_limits_wherever_that_has_moved_its_first_process() {
    if !common::is_root() {
        // An ordinary user's containers cannot count on a cgroup.
        return;
    }
    let ebb = Ebb::new();
    let away = "for tree in /sys/fs/cgroup/cpu /sys/fs/cgroup/cpuacct /sys/fs/cgroup/memory /sys/fs/cgroup/freezer \
        /sys/fs/cgroup/blkio /sys/fs/cgroup/pids /sys/fs/cgroup; do \
        mount -o remount,rw,bind $tree 2>/dev/null; \
        mkdir $tree/sub 2>/dev/null && echo 1 > $tree/sub/cgroup.procs; done; echo moved; exec sleep 10000";
    let check = ["--health-cmd", "cat /proc/self/cgroup", "--health-interval", "20ms", "--cpus", "0.5"];
    ebb.ok([&["run", "-d", "--privileged", "--name", "box"], &check[..], &["busybox", "sh", "-c", away]].concat());
    ebb.await_line("box", "moved");
    let id = ebb.inspect("box", "{{.Id}}");
    let is_within = |seen: &str| seen.contains(&format!("pids:/ebb/{id}")) || seen.contains(&format!("0::/ebb/{id}"));
    let seen = ebb.ok(["exec", "box", "cat", "/proc/self/cgroup"]);
    assert!(is_within(&seen), "{seen}");
    // The check that was under way when it moved may have seen the old place; the next ones have not.
    while ebb.inspect("box", "{{len .State.Health.Log}}") != "5" {}
    let log = ebb.inspect("box", "{{json (index .State.Health.Log 4).Output}}");
    assert!(is_within(&log), "{log}");
}
