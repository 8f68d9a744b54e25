//! A container that runs is known to run whatever becomes of its record: the kernel is asked.

mod common;

use common::Ebb;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::path::PathBuf;

const WRITES: &str = "trap 'exit 0' TERM; echo here; while :; do echo o >> /d/log; sleep 0.2; done";

/// One that runs, and writes into the volume `gold`; its directory.
fn writer(options: &[&str]) -> (Ebb, PathBuf) {
    let ebb = Ebb::new();
    let mut words = vec!["run", "-d", "--name", "orf", "-v", "gold:/d"];
    words.extend(options);
    words.extend(["busybox", "sh", "-c", WRITES]);
    let id = ebb.ok(words);
    ebb.await_line("orf", "here");
    let directory = ebb.store().join("containers").join(id);
    (ebb, directory)
}

/// A zombie has ended.
fn lives(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().next()).is_some_and(|state| !"ZX".contains(state))
}

fn init_of(ebb: &Ebb) -> i32 {
    ebb.inspect("orf", "{{.State.Pid}}").parse().expect("a pid")
}

fn supervisor_of(init: i32) -> i32 {
    let stat = std::fs::read_to_string(format!("/proc/{init}/stat")).expect("it runs");
    let parent = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)).expect("a parent");
    parent.parse().expect("a pid")
}

/// The three ways in which a state is lost while its container runs.
fn lose(state: &std::path::Path, how: &str) {
    match how {
        "removed" => std::fs::remove_file(state).expect("removed"),
        "emptied" => std::fs::write(state, "").expect("emptied"),
        _ => std::fs::write(state, "{\"Version\": 1, \"Sta").expect("damaged"),
    }
}

#[test]
fn without_its_state_it_is_up_is_not_started_twice_and_keeps_its_volume() {
    for how in ["removed", "emptied", "damaged"] {
        let (ebb, directory) = writer(&[]);
        let init = init_of(&ebb);
        lose(&directory.join("state.json"), how);
        let listed = ebb.ok(["ps", "-a", "--format", "{{.Status}}"]);
        assert!(listed.starts_with("Up "), "{how}: {listed}");
        assert_eq!(ebb.inspect("orf", "{{.State.Status}} {{.State.Pid}}"), format!("running {init}"), "{how}");
        // Docker's `start` of what runs already is silent; it is not to begin a second one.
        ebb.ok(["start", "orf"]);
        assert_eq!(init_of(&ebb), init, "{how}");
        assert!(ebb.fails(1, ["rm", "orf"]).contains("container is running"), "{how}");
        assert!(ebb.fails(1, ["volume", "rm", "gold"]).contains("in use"), "{how}");
        ebb.ok(["container", "prune", "-f"]);
        ebb.ok(["volume", "prune", "-af"]);
        assert!(lives(init) && ebb.store().join("volumes/gold").exists(), "{how}");
        assert_eq!(ebb.ok(["exec", "orf", "echo", "in"]), "in", "{how}");
        ebb.ok(["stop", "orf"]);
        assert!(!lives(init), "{how}");
        let stopped = ebb.ok(["ps", "-a", "--format", "{{.Status}}"]);
        assert!(stopped.starts_with("Exited (0) ") && !stopped.contains("year"), "{how}: {stopped}");
        ebb.ok(["start", "orf"]);
    }
}

#[test]
fn check_names_its_process_and_writes_down_what_the_kernel_knows() {
    for how in ["removed", "emptied", "damaged"] {
        let (ebb, directory) = writer(&[]);
        let supervisor = supervisor_of(init_of(&ebb));
        let before = std::fs::read_to_string(directory.join("state.json")).expect("it");
        lose(&directory.join("state.json"), how);
        let found = ebb.run(["system", "check"]);
        let said = format!("and it runs, as process {supervisor}");
        assert!(found.code == 1 && found.stdout.contains(&said), "{how}: {}", found.shown());
        let mended = ebb.ok(["system", "check", "--repair"]);
        assert!(mended.contains("what the kernel knows was written down: running"), "{how}: {mended}");
        let pid = |text: &str, whose: &str| -> serde_json::Value {
            serde_json::from_str::<serde_json::Value>(text).expect("JSON")[whose].clone()
        };
        let after = std::fs::read_to_string(directory.join("state.json")).expect("it");
        for whose in ["Init", "Supervisor", "Cgroup", "Status"] {
            assert_eq!(pid(&before, whose), pid(&after, whose), "{how}: {whose}");
        }
        assert!(ebb.ok(["system", "check"]).ends_with(": sound"));
    }
}

#[test]
fn what_ended_without_a_state_has_ended_when_the_file_was_changed() {
    for how in ["removed", "emptied", "damaged"] {
        let ebb = Ebb::new();
        let id = ebb.ok(["create", "--name", "orf", "busybox", "sleep", "1000"]);
        assert_eq!(ebb.ok(["ps", "-a", "--format", "{{.Status}}"]), "Created");
        ebb.ok(["start", "orf"]);
        ebb.ok(["kill", "orf"]);
        lose(&ebb.store().join("containers").join(id).join("state.json"), how);
        let listed = ebb.ok(["ps", "-a", "--format", "{{.Status}}"]);
        assert!(listed.starts_with("Exited (137) ") && listed.contains("second"), "{how}: {listed}");
        let found = ebb.ok(["system", "check", "--repair"]);
        assert!(found.contains("its state.json") && found.ends_with(": sound"), "{how}: {found}");
        assert!(!ebb.ok(["system", "check"]).contains("state.json"), "{how}");
        ebb.ok(["start", "orf"]);
        assert_eq!(ebb.inspect("orf", "{{.State.Status}}"), "running", "{how}");
    }
}

#[test]
fn without_its_state_its_bundle_and_its_log_it_is_up_all_the_same() {
    let (ebb, directory) = writer(&[]);
    let init = init_of(&ebb);
    for name in ["state.json", "config.json", "log.jsonl"] {
        std::fs::remove_file(directory.join(name)).expect("removed");
    }
    assert!(ebb.ok(["ps", "-a", "--format", "{{.Status}}"]).starts_with("Up "));
    ebb.ok(["start", "orf"]);
    assert!(ebb.fails(1, ["rm", "orf"]).contains("container is running"));
    assert_eq!(init_of(&ebb), init);
    ebb.ok(["rm", "-f", "orf"]);
    assert!(!lives(init));
}

#[test]
fn one_that_was_never_started_needs_no_state() {
    let ebb = Ebb::new();
    ebb.ok(["create", "--name", "box", "busybox", "true"]);
    assert_eq!(ebb.ok(["ps", "-a", "--format", "{{.Status}}"]), "Created");
    assert_eq!(ebb.ok(["system", "check"]), "1 containers, 0 volumes, 1 images: sound");
}

#[test]
fn without_its_directory_nothing_is_taken_from_under_it_and_check_ends_it() {
    let (ebb, directory) = writer(&[]);
    let init = init_of(&ebb);
    let supervisor = supervisor_of(init);
    ebb.ok(["volume", "create", "other"]);
    take_away(&ebb, &directory);
    let listed = ebb.run(["ps", "-a"]);
    let said = format!("runs, as process {supervisor}, and is in no list");
    assert!(listed.code == 1 && listed.stderr.contains(&said), "{}", listed.shown());
    for words in [
        &["volume", "rm", "gold"][..],
        &["volume", "prune", "-af"],
        &["volume", "rename", "gold", "silver"],
        &["rmi", "-f", "busybox"],
        &["image", "prune", "-af"],
        &["run", "--rm", "--name", "orf", "busybox", "true"],
    ] {
        let refused = ebb.run(words);
        let told = refused.stderr.contains(&format!("process {supervisor}")) && refused.stderr.contains("--repair");
        assert!(refused.code != 0 && told, "{}", refused.shown());
    }
    let missing = ebb.fails(1, ["start", "orf"]);
    assert!(missing.contains("No such container: orf") && missing.contains("rm -f orf"), "{missing}");
    assert!(lives(init) && ebb.store().join("volumes/gold").exists());
    let found = ebb.run(["system", "check"]);
    let said = format!("its directory is gone, and it runs, as process {supervisor}");
    assert!(found.code == 1 && found.stdout.contains(&said), "{}", found.shown());
    assert!(lives(init), "it is only said");
    assert!(ebb.ok(["system", "check", "--repair"]).contains("it was ended"));
    assert!(!lives(init) && !lives(supervisor));
    assert!(ebb.ok(["system", "check"]).ends_with(": sound"));
    ebb.ok(["volume", "rm", "gold"]);
}

/// What somebody's `rm -r` would do. (The overlay's own directory is closed to all, and files may be a container's user's.)
fn take_away(ebb: &Ebb, directory: &std::path::Path) {
    let work = directory.join("work/work");
    std::fs::set_permissions(&work, std::os::unix::fs::PermissionsExt::from_mode(0o700)).expect("ours");
    std::fs::remove_dir_all(directory).expect("removed");
    assert!(!ebb.store().join("containers").read_dir().expect("it").any(|_| true));
}

#[test]
fn without_its_directory_rm_by_force_ends_it_by_its_name_and_by_its_id() {
    for by_name in [true, false] {
        // Between two starts, too, there would be nobody but its supervisor.
        let (ebb, directory) = writer(&["--restart", "always"]);
        let init = init_of(&ebb);
        let supervisor = supervisor_of(init);
        let id = directory.file_name().expect("a name").to_string_lossy().into_owned();
        take_away(&ebb, &directory);
        let name = if by_name { "orf" } else { &id[..12] };
        assert!(ebb.fails(1, ["rm", name]).contains("its directory is gone, but it runs"));
        assert_eq!(ebb.ok(["rm", "-f", name]), name);
        assert!(!lives(init) && !lives(supervisor));
        assert!(ebb.run(["rm", "-f", name]).stderr.contains("No such container"));
    }
}

#[test]
fn what_outlived_its_supervisor_is_ended_though_no_state_tells_of_it() {
    if common::has_one_id() {
        // Who has one id has nobody else to become.
        return;
    }
    let ebb = Ebb::new();
    let other = "echo 'other:x:1000:1000::/:/bin/sh' >> /etc/passwd; exec su other -c 'echo other; exec sleep 10000'";
    let id = ebb.ok(["run", "-d", "--name", "orf", "busybox", "sh", "-c", other]);
    ebb.await_line("orf", "other");
    let init = init_of(&ebb);
    let supervisor = supervisor_of(init);
    kill(Pid::from_raw(supervisor), Signal::SIGKILL).expect("killed");
    while lives(supervisor) {}
    assert!(lives(init), "the kernel did not end it with its supervisor");
    std::fs::remove_file(ebb.store().join("containers").join(id).join("state.json")).expect("removed");
    let listed = ebb.run(["ps", "-a", "--format", "{{.Status}}"]);
    assert!(!lives(init) && listed.stdout.starts_with("Exited (137)"), "{}", listed.shown());
    assert!(listed.stderr.contains("outlived its supervisor"), "{}", listed.shown());
}

#[test]
fn without_its_record_its_volume_is_in_use_and_its_name_is_taken() {
    for how in ["removed", "emptied", "damaged"] {
        let (ebb, directory) = writer(&[]);
        let init = init_of(&ebb);
        let whole = std::fs::read(directory.join("container.json")).expect("it");
        lose(&directory.join("container.json"), how);
        assert_ne!(ebb.run(["volume", "rm", "gold"]).code, 0, "{how}");
        let pruned = ebb.run(["volume", "prune", "-af"]);
        assert!(pruned.code != 0 && ebb.store().join("volumes/gold").exists(), "{how}: {}", pruned.shown());
        assert_ne!(ebb.run(["run", "--rm", "--name", "orf", "busybox", "true"]).code, 0, "{how}");
        ebb.ok(["create", "--name", "whole", "busybox", "true"]);
        let listed = ebb.run(["ps", "-a", "--format", "{{.Names}}"]);
        assert!(listed.code == 1 && listed.stdout == "whole\n", "{how}: {}", listed.shown());
        assert!(listed.stderr.contains("system check --repair"), "{how}: {}", listed.shown());
        assert!(lives(init), "{how}");
        std::fs::write(directory.join("container.json"), whole).expect("whole again");
    }
}
