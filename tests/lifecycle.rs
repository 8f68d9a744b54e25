//! A container stops, dies, restarts, waits and changes as a Docker user expects.

mod common;

use common::{Ebb, is_root, skip};

/// Runs until it is told otherwise, and says when its traps are set.
fn run_trapping(ebb: &Ebb, name: &str, trap: &str, options: &[&str]) {
    let script = format!("{trap}; echo ready; while :; do sleep 1000 & wait; done");
    let mut args = vec!["run", "-d", "--name", name];
    args.extend(options);
    args.extend(["busybox", "sh", "-c", &script]);
    ebb.ok(args);
    ebb.await_line(name, "ready");
}

fn run_sleeping(ebb: &Ebb, name: &str) {
    ebb.ok(["run", "-d", "--name", name, "busybox", "sleep", "1000"]);
}

fn status(ebb: &Ebb, name: &str) -> String {
    ebb.inspect(name, "{{.State.Status}} {{.State.ExitCode}}")
}

#[test]
fn stop_sends_the_stop_signal_and_the_container_ends_in_its_own_way() {
    let ebb = Ebb::new();
    run_trapping(&ebb, "polite", "trap 'exit 7' TERM", &[]);
    assert_eq!(ebb.ok(["stop", "polite"]), "polite");
    assert_eq!(status(&ebb, "polite"), "exited 7");
    run_trapping(&ebb, "own", "trap 'exit 8' USR1", &["--stop-signal", "USR1"]);
    ebb.ok(["stop", "own"]);
    assert_eq!(status(&ebb, "own"), "exited 8");
    run_trapping(&ebb, "asked", "trap 'exit 9' HUP", &[]);
    ebb.ok(["stop", "-s", "HUP", "asked"]);
    assert_eq!(status(&ebb, "asked"), "exited 9");
}

#[test]
fn a_container_that_does_not_stop_in_time_is_killed() {
    let ebb = Ebb::new();
    run_trapping(&ebb, "deaf", "trap '' TERM", &[]);
    ebb.ok(["stop", "-t", "0", "deaf"]);
    assert_eq!(status(&ebb, "deaf"), "exited 137");
    run_trapping(&ebb, "short", "trap '' TERM", &["--stop-timeout", "0"]);
    ebb.ok(["stop", "short"]);
    assert_eq!(status(&ebb, "short"), "exited 137");
}

#[test]
fn stopping_what_is_stopped_succeeds_and_several_names_are_all_tried() {
    let ebb = Ebb::new();
    ebb.ok(["create", "--name", "made", "busybox", "true"]);
    run_sleeping(&ebb, "box");
    let answer = ebb.run(["stop", "-t", "0", "made", "nope", "box"]);
    assert_eq!((answer.code, answer.stdout.as_str()), (1, "made\nbox\n"), "{}", answer.shown());
    assert_eq!(answer.stderr, "ebb: No such container: nope\n");
    assert_eq!(ebb.ok(["stop", "box"]), "box");
}

#[test]
fn kill_sends_any_signal_and_refuses_what_does_not_run() {
    let ebb = Ebb::new();
    run_trapping(&ebb, "box", "trap 'echo heard' USR1", &[]);
    assert_eq!(ebb.ok(["kill", "-s", "USR1", "box"]), "box");
    ebb.await_line("box", "heard");
    assert_eq!(ebb.fails(1, ["kill", "-s", "BOGUS", "box"]), "ebb: Invalid signal: BOGUS\n");
    assert_eq!(ebb.ok(["kill", "box"]), "box");
    assert_eq!(status(&ebb, "box"), "exited 137");
    let refused = ebb.fails(1, ["kill", "box"]);
    assert!(
        refused.starts_with("ebb: Cannot kill container: box: container ") && refused.ends_with("is not running\n")
    );
    assert_eq!(ebb.fails(1, ["kill", "nope"]), "ebb: Cannot kill container: nope: No such container: nope\n");
}

#[test]
fn a_container_that_is_stopped_by_hand_is_not_restarted_by_its_policy() {
    let ebb = Ebb::new();
    for (name, end) in [("one", "stop"), ("two", "kill")] {
        ebb.ok(["run", "-d", "--restart", "always", "--name", name, "busybox", "sleep", "1000"]);
        match end {
            "stop" => ebb.ok(["stop", "-t", "0", name]),
            _ => ebb.ok(["kill", name]),
        };
        assert_eq!(status(&ebb, name), "exited 137");
    }
}

#[test]
fn a_container_between_two_restarts_can_be_stopped_and_removed() {
    let ebb = Ebb::new();
    ebb.ok(["run", "-d", "--restart", "always", "--name", "failing", "busybox", "sh", "-c", "echo began; exit 3"]);
    ebb.await_line("failing", "began");
    ebb.ok(["stop", "failing"]);
    assert_eq!(ebb.inspect("failing", "{{.State.Status}}"), "exited");
    ebb.ok(["start", "failing"]);
    ebb.ok(["rm", "-f", "failing"]);
    assert_eq!(ebb.ok(["ps", "-aq"]), "");
}

#[test]
fn restart_keeps_the_layer_and_starts_what_was_stopped() {
    let ebb = Ebb::new();
    run_sleeping(&ebb, "box");
    ebb.ok(["exec", "box", "sh", "-c", "echo kept > /layer"]);
    let first = ebb.inspect("box", "{{.State.Pid}}");
    assert_eq!(ebb.ok(["restart", "-t", "0", "box"]), "box");
    assert_ne!(ebb.inspect("box", "{{.State.Pid}}"), first);
    assert_eq!(ebb.ok(["exec", "box", "cat", "/layer"]), "kept");
    ebb.ok(["stop", "-t", "0", "box"]);
    ebb.ok(["restart", "box"]);
    assert_eq!(ebb.inspect("box", "{{.State.Status}}"), "running");
}

#[test]
fn restart_of_a_container_made_with_rm_keeps_it_until_it_ends_by_itself() {
    let ebb = Ebb::new();
    ebb.ok(["run", "-d", "--rm", "--name", "box", "busybox", "sleep", "1000"]);
    ebb.ok(["restart", "-t", "0", "box"]);
    assert_eq!(ebb.inspect("box", "{{.State.Status}}"), "running");
    ebb.ok(["stop", "-t", "0", "box"]);
    assert_eq!(ebb.ok(["ps", "-aq"]), "");
}

#[test]
fn wait_blocks_until_the_end_and_prints_the_exit_code() {
    let ebb = Ebb::new();
    run_trapping(&ebb, "one", "trap 'exit 4' TERM", &[]);
    ebb.ok(["run", "--name", "two", "busybox", "true"]);
    let waiting = ebb.spawn(["wait", "one", "two"]);
    ebb.ok(["stop", "one"]);
    let output = waiting.wait_with_output().expect("wait ends");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "4\n0\n");
    assert_eq!(ebb.fails(1, ["wait", "nope"]), "ebb: No such container: nope\n");
}

#[test]
fn wait_knows_how_a_container_ended_that_is_removed_at_its_end() {
    let ebb = Ebb::new();
    run_trapping(&ebb, "gone", "trap 'exit 5' TERM", &["--rm"]);
    let mut waiting = ebb.spawn(["wait", "gone"]);
    // Not before it has reached the supervisor: the socket that it holds open says so.
    let descriptors = format!("/proc/{}/fd", waiting.id());
    let is_socket = |entry: std::fs::DirEntry| {
        std::fs::read_link(entry.path()).is_ok_and(|target| target.to_string_lossy().starts_with("socket:"))
    };
    while !std::fs::read_dir(&descriptors).into_iter().flatten().flatten().any(is_socket) {
        assert!(waiting.try_wait().expect("a child").is_none(), "wait ended early");
        std::thread::yield_now();
    }
    ebb.ok(["stop", "gone"]);
    let output = waiting.wait_with_output().expect("wait ends");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "5\n");
}

#[test]
fn a_name_can_be_changed_and_its_old_one_taken() {
    let ebb = Ebb::new();
    ebb.ok(["create", "--name", "old", "busybox", "true"]);
    assert_eq!(ebb.ok(["rename", "old", "new"]), "");
    assert_eq!(ebb.fails(1, ["rm", "old"]), "ebb: No such container: old\n");
    ebb.ok(["create", "--name", "old", "busybox", "true"]);
    let taken = ebb.fails(1, ["rename", "old", "new"]);
    assert!(taken.contains("Conflict. The container name \"/new\" is already in use by container"), "{taken}");
    let same = ebb.fails(1, ["rename", "new", "new"]);
    assert!(same.contains("Renaming a container with the same name as its current name"), "{same}");
    let bad = ebb.fails(1, ["rename", "new", "@bad"]);
    assert!(bad.contains("Invalid container name (@bad), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"), "{bad}");
    assert_eq!(ebb.ok(["rm", "new", "old"]), "new\nold");
}

/// Why nothing can be frozen or limited here, if so.
fn without_cgroup(ebb: &Ebb) -> Option<String> {
    run_sleeping(ebb, "probe");
    let answer = ebb.run(["pause", "probe"]);
    ebb.ok(["rm", "-f", "probe"]);
    if answer.code == 0 {
        return None;
    }
    assert!(
        answer.stderr.contains("the container has no cgroup, and only a cgroup can be frozen: "),
        "{}",
        answer.shown()
    );
    Some(answer.stderr)
}

#[test]
fn a_paused_container_stands_still_and_can_still_be_ended() {
    let ebb = Ebb::new();
    if let Some(why) = without_cgroup(&ebb) {
        return if is_root() { skip(&why) } else { eprintln!("refused with its reason: {why}") };
    }
    run_trapping(&ebb, "box", "trap 'exit 6' TERM", &[]);
    assert_eq!(ebb.ok(["pause", "box"]), "box");
    assert_eq!(ebb.inspect("box", "{{.State.Status}} {{.State.Paused}}"), "paused true");
    assert!(ebb.fails(1, ["pause", "box"]).contains("is already paused"));
    assert!(ebb.fails(1, ["exec", "box", "true"]).contains("is paused, unpause the container before exec"));
    let refused = ebb.fails(1, ["rm", "box"]);
    assert!(refused.contains("container is paused and must be unpaused first"), "{refused}");
    ebb.ok(["unpause", "box"]);
    assert!(ebb.fails(1, ["unpause", "box"]).contains("is not paused"));
    ebb.ok(["pause", "box"]);
    ebb.ok(["stop", "box"]);
    assert_eq!(status(&ebb, "box"), "exited 6");
    ebb.ok(["start", "box"]);
    ebb.ok(["pause", "box"]);
    ebb.ok(["kill", "box"]);
    assert_eq!(status(&ebb, "box"), "exited 137");
    ebb.ok(["start", "box"]);
    ebb.ok(["pause", "box"]);
    assert_eq!(ebb.ok(["rm", "-f", "box"]), "box");
}

#[test]
fn update_changes_limits_of_a_running_container_or_says_why_not() {
    let ebb = Ebb::new();
    run_sleeping(&ebb, "box");
    assert_eq!(ebb.ok(["update", "--restart", "on-failure:3", "box"]), "box");
    assert_eq!(ebb.inspect("box", "{{.HostConfig.RestartPolicy.Name}}"), "on-failure");
    let contradiction = ebb.fails(1, ["update", "--memory", "1m", "box"]);
    assert!(contradiction.contains("Minimum memory limit allowed is 6MB"), "{contradiction}");
    let answer = ebb.run(["update", "--pids-limit", "77", "box"]);
    if answer.code == 0 {
        assert_eq!(ebb.inspect("box", "{{.HostConfig.PidsLimit}}"), "77");
    } else {
        assert!(answer.stderr.starts_with("ebb: limit container box: "), "{}", answer.shown());
        assert_ne!(ebb.inspect("box", "{{.HostConfig.PidsLimit}}"), "77");
    }
}

#[test]
fn a_container_whose_supervisor_was_killed_has_ended_and_can_be_used_again() {
    let ebb = Ebb::new();
    run_sleeping(&ebb, "box");
    let id = ebb.inspect("box", "{{.Id}}");
    let state = std::fs::read_to_string(ebb.store().join("containers").join(id).join("state.json")).expect("a state");
    let state: serde_json::Value = serde_json::from_str(&state).expect("JSON");
    let supervisor = state["Supervisor"]["Pid"].to_string();
    let waiting = ebb.spawn(["wait", "box"]);
    let killed = std::process::Command::new("kill").args(["-9", &supervisor]).status().expect("kill runs");
    assert!(killed.success());
    let output = waiting.wait_with_output().expect("wait ends");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "137\n");
    assert_eq!(status(&ebb, "box"), "exited 137");
    ebb.ok(["start", "box"]);
    assert_eq!(ebb.inspect("box", "{{.State.Status}}"), "running");
    ebb.ok(["rm", "-f", "box"]);
}

#[test]
fn top_shows_the_processes_with_the_columns_of_ps() {
    let ebb = Ebb::new();
    run_sleeping(&ebb, "box");
    let shown = ebb.ok(["top", "box"]);
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(
        lines[0],
        "UID                 PID                 PPID                C                   STIME               TTY                 TIME                CMD"
    );
    assert_eq!(lines.len(), 2, "{shown}");
    assert!(lines[1].ends_with("sleep 1000"), "{shown}");
    assert_eq!(lines[1].split_whitespace().nth(1), Some(ebb.inspect("box", "{{.State.Pid}}").as_str()));
    ebb.ok(["kill", "box"]);
    assert!(ebb.fails(1, ["top", "box"]).contains("is not running"));
}

#[test]
fn stats_counts_what_runs() {
    let ebb = Ebb::new();
    run_sleeping(&ebb, "box");
    let shown = ebb.ok(["stats", "--no-stream"]);
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines.len(), 2, "{shown}");
    for header in ["CONTAINER ID", "NAME", "CPU %", "MEM USAGE / LIMIT", "MEM %", "NET I/O", "BLOCK I/O", "PIDS"] {
        assert!(lines[0].contains(header), "{shown}");
    }
    assert!(lines[1].contains("box") && lines[1].trim_end().ends_with(" 1"), "{shown}");
    assert_eq!(ebb.ok(["stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}}", "box"]), "box 1");
    assert_eq!(ebb.fails(1, ["stats", "--no-stream", "nope"]), "ebb: No such container: nope\n");
}

#[test]
fn a_detached_container_keeps_nothing_open_of_the_script_that_started_it() {
    let ebb = Ebb::new();
    // A script holds a lock on descriptor 9, starts a container, and lets go: the lock must be free again.
    let script =
        r#"exec 9>lock; flock 9; "$0" run -d --name box busybox sleep 1000 >&2; exec 9>&-; flock -n lock echo free"#;
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", script, env!("CARGO_BIN_EXE_ebb")]).env("EBB_ROOT", ebb.store()).current_dir(&ebb.dir);
    let answer = common::answer(&mut shell);
    assert_eq!((answer.code, answer.stdout.as_str()), (0, "free\n"), "{}", answer.shown());
}
