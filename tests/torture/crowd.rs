//! Many at once, and the things that go wrong while a container runs.

use crate::Row;
use crate::common::Ebb;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader};

pub type Crowd = fn(bool) -> Row;

pub const CROWDS: &[(&str, Crowd)] = &[
    ("50 processes at once create, run, rename and remove one name and one volume", one_name),
    ("`rm -f` races `run -d`", rm_races_run),
    ("the supervisor is killed while numbered lines are printed", killed_supervisor),
    ("a boot id that changed", another_boot),
    ("a frozen container is stopped, killed and removed", frozen),
    ("a small file system, full", full_disk),
    ("1000 orphans under `--init`", orphans),
    ("100 MB of output, the last line kept; the log stays within its cap", much_output),
];

fn sound(ebb: &Ebb, row: &mut Row) {
    let check = ebb.run(["system", "check"]);
    if check.code != 0 {
        row.failures.push(format!("the store is not sound: {}", check.shown()));
    }
}

fn one_name(whole: bool) -> Row {
    let ebb = Ebb::new();
    let mut row = Row::default();
    ebb.ok(["run", "--rm", "-v", "shared:/v", "busybox", "sh", "-c", "echo kept > /v/kept"]);
    let commands: &[&[&str]] = &[
        &["create", "--name", "one", "-v", "shared:/v", "busybox", "true"],
        &["run", "--rm", "--name", "one", "-v", "shared:/v", "busybox", "cat", "/v/kept"],
        &["run", "-d", "--name", "one", "-v", "shared:/v", "busybox", "sleep", "1000"],
        &["rename", "one", "other"],
        &["rm", "-f", "one", "other"],
        &["volume", "create", "shared"],
        &["volume", "rm", "vase"],
        &["volume", "create", "vase"],
        &["ps", "-a"],
        &["volume", "ls"],
    ];
    for _ in 0..if whole { 10 } else { 2 } {
        let children: Vec<_> = (0..50).map(|index| ebb.spawn(commands[index % commands.len()])).collect();
        for child in children {
            let output = child.wait_with_output().expect("it ends");
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            row.points += 1;
            // A refusal is an answer; what a command never may do is to fall over.
            if said.contains("panicked") || output.status.code().is_none() || said.contains("not sound") {
                row.failures.push(said);
            }
        }
        sound(&ebb, &mut row);
    }
    ebb.run(["rm", "-f", "one", "other"]);
    for name in ["one", "other"] {
        if ebb.run(["inspect", name]).code == 0 {
            row.failures.push(format!("{name} is still there"));
        }
    }
    let kept = ebb.run(["run", "--rm", "-v", "shared:/v", "busybox", "cat", "/v/kept"]);
    if kept.stdout != "kept\n" {
        row.lost += 5;
        row.failures.push(format!("the volume: {}", kept.shown()));
    }
    row
}

fn rm_races_run(whole: bool) -> Row {
    let ebb = Ebb::new();
    let mut row = Row::default();
    for _ in 0..if whole { 100 } else { 15 } {
        let run = ebb.spawn(["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
        let rm = ebb.spawn(["rm", "-f", "box"]);
        let (run, rm) = (run.wait_with_output().expect("it ends"), rm.wait_with_output().expect("it ends"));
        row.points += 1;
        let said = String::from_utf8_lossy(&run.stderr).into_owned() + &String::from_utf8_lossy(&rm.stderr);
        if said.contains("panicked") {
            row.failures.push(said);
        }
        ebb.run(["rm", "-f", "box"]);
        if !ebb.run(["ps", "-aq"]).stdout.is_empty() {
            row.failures.push("a container is left that rm -f does not remove".into());
            break;
        }
        sound(&ebb, &mut row);
    }
    row
}

/// Every line that the container wrote and that was read is in the log, whole and in order; the container is told to have
/// ended.
fn killed_supervisor(whole: bool) -> Row {
    let ebb = Ebb::new();
    let mut row = Row::default();
    for round in 0..if whole { 30 } else { 4 } {
        let script = "i=0; while :; do i=$((i+1)); echo line $i; done";
        let id = ebb.ok(["run", "-d", "--name", "box", "busybox", "sh", "-c", script]);
        let mut logs = ebb.spawn(["logs", "-f", "box"]);
        let mut lines = BufReader::new(logs.stdout.take().expect("a pipe")).lines();
        for _ in 0..(round * 137 % 1000 + 1) {
            lines.next();
        }
        // What a reader has been shown was written by the container before its supervisor is killed.
        let state =
            std::fs::read_to_string(ebb.store().join("containers").join(&id).join("state.json")).expect("a state");
        let state: serde_json::Value = serde_json::from_str(&state).expect("JSON");
        let supervisor =
            state["Supervisor"]["Pid"].as_i64().or_else(|| state["Supervisor"]["pid"].as_i64()).expect("a pid");
        kill(Pid::from_raw(supervisor as i32), Signal::SIGKILL).expect("killed");
        let shown = (round * 137 % 1000 + 1) + lines.map_while(Result::ok).count();
        let _ = logs.wait();
        row.points += 1;
        let log = ebb.run(["logs", "box"]).stdout;
        let kept = log.lines().count();
        if kept < shown {
            row.lost += (shown - kept) as u64;
            row.failures.push(format!("{shown} lines were shown, and the log has {kept}"));
        }
        for (index, line) in log.lines().enumerate() {
            if line != format!("line {}", index + 1) {
                row.failures.push(format!("line {} of the log is {line:?}", index + 1));
                break;
            }
        }
        // Its first process dies of its supervisor's end, and not before that: for a moment the container still runs.
        ebb.ok(["wait", "box"]);
        let ended = ebb.inspect("box", "{{.State.Status}} {{.State.ExitCode}}");
        if ended != "exited 137" {
            row.failures.push(format!("after its supervisor was killed it is {ended}"));
        }
        sound(&ebb, &mut row);
        ebb.ok(["rm", "-f", "box"]);
    }
    row
}

/// After a restart of the machine a pid means another process: nothing is taken for running, and nothing is killed.
fn another_boot(_whole: bool) -> Row {
    let ebb = Ebb::new();
    let mut row = Row { points: 1, ..Row::default() };
    let id = ebb.ok(["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
    let path = ebb.store().join("containers").join(id).join("state.json");
    let before = std::fs::read_to_string(&path).expect("a state");
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("procfs");
    std::fs::write(&path, before.replace(boot.trim(), "00000000-0000-0000-0000-000000000000")).expect("written");
    let status = ebb.inspect("box", "{{.State.Status}}");
    if status != "exited" {
        row.failures.push(format!("of another boot it is {status}"));
    }
    ebb.run(["stop", "box"]);
    std::fs::write(&path, before).expect("written");
    if ebb.inspect("box", "{{.State.Status}}") != "running" {
        row.failures.push("a process of this boot was killed for one of another".into());
    }
    sound(&ebb, &mut row);
    row
}

fn frozen(_whole: bool) -> Row {
    let ebb = Ebb::new();
    let mut row = Row::default();
    for end in [&["stop", "-t", "1", "box"][..], &["kill", "box"], &["rm", "-f", "box"]] {
        ebb.ok(["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
        row.points += 1;
        // Without a cgroup nothing can be frozen, which is said; the rest of the promise holds all the same.
        ebb.run(["pause", "box"]);
        let answer = ebb.run(end);
        if answer.code != 0 {
            row.failures.push(answer.shown().to_owned());
        }
        ebb.run(["rm", "-f", "box"]);
        sound(&ebb, &mut row);
    }
    row
}

/// On a full disk commands fail with a sentence, or succeed; when there is room again, all go on.
fn full_disk(_whole: bool) -> Row {
    let ebb = Ebb::empty();
    let mut row = Row::default();
    if !crate::common::is_root() {
        return row; // Only root can mount a small file system.
    }
    let store = ebb.store();
    std::fs::create_dir(&store).expect("a directory");
    let mount = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=64m,mode=700", "tmpfs"])
        .arg(&store)
        .status();
    assert!(mount.expect("mount starts").success());
    ebb.ok(["image", "load", "-q", "-i", crate::common::busybox_archive().to_str().expect("UTF-8")]);
    ebb.ok(["run", "--rm", "-v", "bystander:/v", "busybox", "sh", "-c", "seq 1 1000 > /v/numbers"]);
    ebb.ok(["run", "-d", "--name", "runs", "busybox", "sleep", "1000"]);
    ebb.ok(["create", "--name", "made", "busybox", "true"]);
    let filler = store.join("filler");
    let mut file = std::fs::File::create(&filler).expect("a file");
    while std::io::Write::write_all(&mut file, &[0; 4096]).is_ok() {}
    drop(file);
    let commands: &[&[&str]] = &[
        &["volume", "create", "vase"],
        &["create", "--name", "more", "busybox", "true"],
        &["run", "--rm", "busybox", "true"],
        &["run", "-d", "--name", "again", "busybox", "sleep", "1000"],
        &["exec", "runs", "sh", "-c", "echo x > /x"],
        &["rename", "made", "named"],
        &["tag", "busybox", "other"],
        &["stop", "-t", "0", "runs"],
        &["start", "runs"],
        &["ps", "-a"],
    ];
    for command in commands {
        let answer = ebb.run(*command);
        row.points += 1;
        if answer.stderr.contains("panicked")
            || (answer.code != 0 && answer.stderr.trim().is_empty() && command[0] != "exec")
        {
            row.failures.push(answer.shown().to_owned());
        }
    }
    std::fs::remove_file(&filler).expect("removed");
    ebb.run(["rm", "-f", "more", "again"]);
    sound(&ebb, &mut row);
    for command in [&["volume", "create", "vase"][..], &["run", "--rm", "busybox", "true"], &["rm", "-f", "runs"]] {
        let answer = ebb.run(command);
        if answer.code != 0 {
            row.failures.push(format!("with room again: {}", answer.shown()));
        }
    }
    let numbers = ebb.run(["run", "--rm", "-v", "bystander:/v", "busybox", "sh", "-c", "wc -l < /v/numbers"]);
    if numbers.stdout != "1000\n" {
        row.lost += 1;
        row.failures.push(numbers.shown().to_owned());
    }
    for name in ["made", "named"] {
        ebb.run(["rm", "-f", name]);
    }
    let umount = std::process::Command::new("umount").arg(&store).status();
    if !umount.expect("umount starts").success() {
        row.failures.push("something still holds the file system".into());
    }
    row
}

fn orphans(_whole: bool) -> Row {
    let ebb = Ebb::new();
    let mut row = Row { points: 1, ..Row::default() };
    // Each child of a child that ends is process 1's to wait for.
    let script = "i=0; while [ $i -lt 1000 ]; do (true & ); i=$((i+1)); done; \
                  while ps -o stat | grep -q Z; do :; done; echo reaped";
    let answer = ebb.run(["run", "--rm", "--init", "busybox", "sh", "-c", script]);
    if answer.stdout != "reaped\n" {
        row.failures.push(answer.shown().to_owned());
    }
    row
}

fn much_output(_whole: bool) -> Row {
    let ebb = Ebb::new();
    let mut row = Row { points: 1, ..Row::default() };
    let line = "x".repeat(99);
    let script = format!("yes {line} | head -n 1000000; echo the last line");
    let log = ["--log-opt", "max-size=1m", "--log-opt", "max-file=3"];
    let id = ebb.ok([&["run", "-d", "--name", "box"][..], &log, &["busybox", "sh", "-c", &script]].concat());
    ebb.ok(["wait", "box"]);
    if !ebb.run(["logs", "--tail", "1", "box"]).stdout.ends_with("the last line\n") {
        row.failures.push("the last line is not in the log".into());
    }
    let directory = ebb.store().join("containers").join(id);
    let logs = std::fs::read_dir(directory).expect("the container").flatten();
    let bytes: u64 = logs
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("log.jsonl"))
        .map(|entry| entry.metadata().map_or(0, |meta| meta.len()))
        .sum();
    if bytes > 3 * 1_100_000 {
        row.failures.push(format!("the log takes {bytes} bytes, more than its cap"));
    }
    row
}
