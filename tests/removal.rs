//! rm takes the container and what it wrote, and nothing else.

mod common;

use common::Ebb;
use common::terminal::Terminal;

fn entries(ebb: &Ebb, dir: &str) -> usize {
    std::fs::read_dir(ebb.store().join(dir)).expect("a directory of the store").count()
}

/// Nothing of any container is left in the store.
fn assert_clean(ebb: &Ebb) {
    for dir in ["containers", "names"] {
        assert_eq!(entries(ebb, dir), 0, "{dir} is not empty");
    }
    assert_eq!(ebb.leftovers(), Vec::<String>::new());
}

/// There is no process yet to kill then; that it is not wanted any more is found by the one that would start it.
#[test]
fn a_container_that_is_just_being_started_can_be_removed() {
    let ebb = Ebb::new();
    let mut starting = started_as_far_as_its_bundle(&ebb);
    let removal = meanwhile(&ebb, &["rm", "-f", "box"]);
    starting.types(&"\n".repeat(200));
    let removal = removal.wait_with_output().expect("rm ends");
    assert!(removal.status.success(), "{removal:?}");
    starting.ends();
    assert_clean(&ebb);
}

#[test]
fn a_container_that_is_just_being_started_can_be_stopped() {
    let ebb = Ebb::new();
    let mut starting = started_as_far_as_its_bundle(&ebb);
    // The first process of a pid namespace does not hear it: the supervisor looks before it lets it go.
    let stop = meanwhile(&ebb, &["stop", "-t", "1000", "box"]);
    starting.types(&"\n".repeat(200));
    starting.shows("it was stopped before it began");
    let stop = stop.wait_with_output().expect("stop ends");
    assert!(stop.status.success(), "{stop:?}");
    starting.ends();
    assert_eq!(ebb.ok(["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "box"]), "exited 137");
    ebb.ok(["rm", "box"]);
    assert_clean(&ebb);
}

#[test]
fn a_container_that_is_removed_just_before_its_supervisor_takes_it_is_not_there() {
    let ebb = Ebb::new();
    ebb.ok(["create", "--name", "box", "busybox", "true"]);
    let mut command = ebb.command();
    command.args(["--step", "start", "box"]);
    let mut starting = Terminal::start(&command);
    while !starting.shows("⏎").contains("it leaves the user's session") {
        starting.types("\n");
    }
    ebb.ok(["rm", "box"]);
    starting.types("\n");
    starting.shows("No such container: box");
    assert_eq!(starting.ends(), 1);
    assert_clean(&ebb);
}

/// The supervisor has taken the container, and is about to write its bundle.
fn started_as_far_as_its_bundle(ebb: &Ebb) -> Terminal {
    let mut command = ebb.command();
    command.args(["--step", "run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
    let mut starting = Terminal::start(&command);
    while !starting.shows("⏎").contains("config.json") {
        starting.types("\n");
    }
    starting
}

/// Begins a command that stops the container, and returns when it has said so in the container's state.
fn meanwhile(ebb: &Ebb, words: &[&str]) -> std::process::Child {
    let begun = ebb.spawn(words);
    let marked = || {
        let containers = std::fs::read_dir(ebb.store().join("containers")).expect("containers").flatten();
        let states = containers.map(|entry| std::fs::read_to_string(entry.path().join("state.json")));
        states.flatten().any(|state| state.contains("\"StoppedByHand\": true"))
    };
    while !marked() {
        std::thread::yield_now();
    }
    begun
}

#[test]
fn a_running_container_is_removed_only_by_force() {
    let ebb = Ebb::new();
    ebb.ok(["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
    assert_eq!(
        ebb.fails(1, ["rm", "box"]),
        "ebb: cannot remove container \"box\": container is running: stop the container before removing or force remove\n"
    );
    assert_eq!(ebb.ok(["rm", "-f", "box"]), "box");
    assert_clean(&ebb);
}

#[test]
fn a_missing_container_is_an_error_and_with_force_a_remark() {
    let ebb = Ebb::new();
    assert_eq!(ebb.fails(1, ["rm", "nope"]), "ebb: No such container: nope\n");
    let answer = ebb.run(["rm", "-f", "nope"]);
    assert_eq!(
        (answer.code, answer.stdout.as_str(), answer.stderr.as_str()),
        (0, "", "ebb: No such container: nope\n")
    );
    ebb.ok(["create", "--name", "box", "busybox", "true"]);
    let answer = ebb.run(["rm", "nope", "box", "gone"]);
    assert_eq!((answer.code, answer.stdout.as_str()), (1, "box\n"), "{}", answer.shown());
}

#[test]
fn whatever_a_container_made_in_its_layer_can_be_removed() {
    let ebb = Ebb::new();
    let script = "mkdir -p /a/b/c && touch /a/b/c/f && chmod 000 /a/b/c /a/b /a; ln -s /etc /link; mkfifo /fifo; \
                  chown -R 33:33 /var 2>/dev/null; mkdir /deep && cd /deep && \
                  for i in $(seq 1 300); do mkdir d && cd d || exit 1; done; rm -r /bin/../etc/passwd";
    ebb.run(["run", "--name", "box", "busybox", "sh", "-c", script]);
    assert_eq!(ebb.ok(["rm", "box"]), "box");
    assert_clean(&ebb);
    ebb.ok(["run", "--rm", "busybox", "sh", "-c", script]);
    assert_clean(&ebb);
}

#[test]
fn anonymous_volumes_go_with_v_and_named_ones_never() {
    let ebb = Ebb::new();
    ebb.ok(["run", "--name", "one", "-v", "/anonymous", "-v", "named:/data", "busybox", "true"]);
    ebb.ok(["rm", "one"]);
    assert_eq!(ebb.ok(["volume", "ls", "-q"]).lines().count(), 2);
    ebb.ok(["volume", "prune", "-f"]);
    ebb.ok(["run", "--name", "two", "-v", "/anonymous", "-v", "named:/data", "busybox", "touch", "/data/kept"]);
    ebb.ok(["rm", "-v", "two"]);
    assert_eq!(ebb.ok(["volume", "ls", "-q"]), "named");
    ebb.ok(["run", "--rm", "-v", "/anonymous", "-v", "named:/data", "busybox", "true"]);
    assert_eq!(ebb.ok(["volume", "ls", "-q"]), "named");
    assert_eq!(ebb.ok(["run", "--rm", "-v", "named:/data", "busybox", "ls", "/data"]), "kept");
}

#[test]
fn of_two_removals_at_once_each_ends_and_the_container_is_gone() {
    let ebb = Ebb::new();
    for _ in 0..5 {
        ebb.ok(["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
        let both: Vec<_> = (0..2).map(|_| ebb.spawn(["rm", "-f", "box"])).collect();
        for removal in both {
            let output = removal.wait_with_output().expect("rm ends");
            assert_eq!(common::exit_code(output.status), 0, "{}", String::from_utf8_lossy(&output.stderr));
        }
        assert_clean(&ebb);
    }
}

#[test]
fn prune_removes_what_is_stopped_and_tells_what_it_gave_back() {
    let ebb = Ebb::new();
    ebb.ok(["run", "-d", "--name", "runs", "busybox", "sleep", "1000"]);
    ebb.ok(["run", "--name", "ended", "busybox", "sh", "-c", "head -c 1000 /dev/zero > /written"]);
    ebb.ok(["create", "--name", "made", "--label", "keep=yes", "busybox", "true"]);
    let id = ebb.inspect("ended", "{{.Id}}");
    let declined = ebb.run_with(b"n\n", ["container", "prune"]);
    assert!(declined.stdout.starts_with("WARNING! This will remove all stopped containers.\n"), "{}", declined.shown());
    assert_eq!(ebb.ok(["ps", "-aq"]).lines().count(), 3);
    assert_eq!(ebb.ok(["container", "prune", "-f", "--filter", "until=1h"]), "Total reclaimed space: 0B");
    let pruned = ebb.ok(["container", "prune", "-f", "--filter", "label!=keep"]);
    assert_eq!(pruned, format!("Deleted Containers:\n{id}\n\nTotal reclaimed space: 1kB"));
    let pruned = ebb.run_with(b"y\n", ["container", "prune"]);
    assert!(pruned.stdout.contains("Deleted Containers:\n"), "{}", pruned.shown());
    assert_eq!(ebb.ok(["ps", "-a", "--format", "{{.Names}}"]), "runs");
    ebb.fails(1, ["container", "prune", "-f", "--filter", "colour=red"]);
}

/// After a power cut: what its volatile overlay had not written yet is lost, and nobody knows what.
#[test]
fn a_container_of_another_boot_that_was_to_be_removed_is_not_started_again() {
    let ebb = Ebb::new();
    let id =
        ebb.ok(["run", "-d", "--rm", "--name", "box", "busybox", "sh", "-c", "echo kept > /f; echo up; sleep 1000"]);
    ebb.await_line("box", "up");
    let path = ebb.store().join("containers").join(&id).join("state.json");
    let text = || std::fs::read_to_string(&path).expect("a state");
    let state: serde_json::Value = serde_json::from_str(&text()).expect("JSON");
    let supervisor = nix::unistd::Pid::from_raw(state["Supervisor"]["Pid"].as_i64().expect("a pid") as i32);
    nix::sys::signal::kill(supervisor, nix::sys::signal::Signal::SIGKILL).expect("killed");
    ebb.run(["wait", "box"]);
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("procfs");
    let today = text();
    std::fs::write(&path, today.replace(boot.trim(), "00000000-0000-0000-0000-000000000000")).expect("written");
    let said = ebb.fails(1, ["start", "box"]);
    let why = "container box has run before the machine was restarted, and with --rm nothing that it wrote was forced to the disk";
    assert!(said.contains(why) && said.contains("`ebb rm box` removes it"), "{said}");
    // As its cure says.
    ebb.ok(["cp", "box:/f", "taken"]);
    assert_eq!(std::fs::read_to_string(ebb.dir.join("taken")).expect("it"), "kept\n");
    assert!(ebb.fails(1, ["start", "box"]).contains(why), "a look inside makes it no better");
    // Of this boot it is whole.
    std::fs::write(&path, today).expect("written");
    ebb.ok(["start", "box"]);
    ebb.await_line("box", "up");
    ebb.ok(["rm", "-f", "box"]);
}
