//! `--explain` as a learner sees it, `--step`, which waits, and `--without`, which shows what a step is for.

mod common;

use common::terminal::Terminal;
use common::{Ebb, is_root};

#[test]
fn a_step_has_words_the_call_the_shell_command_and_the_line_of_source() {
    let ebb = Ebb::new();
    let answer = ebb.run(["--explain", "run", "--rm", "busybox", "echo", "hello"]);
    assert_eq!((answer.code, answer.stdout.as_str()), (0, "hello\n"), "{}", answer.shown());
    let lines: Vec<&str> = answer.stderr.lines().collect();
    let at = lines.iter().position(|line| line.contains("the new root becomes /")).expect("the step");
    assert!(lines[at].starts_with("● ") && lines[at].contains("[container ") && lines[at].contains("its own user mnt"));
    assert_eq!(lines[at + 1], "    $ pivot_root . .");
    let call = lines[at + 2];
    assert!(call.starts_with("    pivot_root(\".\", \".\") = 0  runtime/oci/rootfs.rs:"), "{call}");
    // In a pipe: no colour, no link.
    assert!(!answer.stderr.contains('\x1b'));
}

#[test]
fn the_environment_asks_for_it_too_and_nothing_is_told_unasked() {
    let ebb = Ebb::empty();
    let with = |value: &str| common::answer(ebb.command().env("EBB_EXPLAIN", value).args(["volume", "create", "vase"]));
    assert!(with("1").stderr.contains("● a new volume is made aside"));
    ebb.ok(["volume", "rm", "vase"]);
    let object: serde_json::Value =
        serde_json::from_str(with("json").stderr.lines().next().expect("a line")).expect("an object");
    assert_eq!(object["syscall"], "mkdir");
    for silent in ["", "0"] {
        ebb.ok(["volume", "rm", "vase"]);
        assert_eq!(with(silent).stderr, "");
    }
    let said = with("loud").stderr;
    assert!(said.contains("invalid value \"loud\" for --explain"), "{said}");
}

#[test]
fn on_a_terminal_the_line_of_source_is_a_link() {
    let ebb = Ebb::empty();
    let mut command = ebb.command();
    command.args(["--explain", "volume", "create", "vase"]);
    let mut terminal = Terminal::start(&command);
    terminal.shows("\x1b]8;;file:///");
    terminal.shows("/runtime/engine/volume/mod.rs#L");
    terminal.shows("vase");
    assert_eq!(terminal.ends(), 0);
    // NO_COLOR is about colours alone (no-color.org); a link is none.
    command.env("NO_COLOR", "1");
    ebb.ok(["volume", "rm", "--now", "vase"]);
    let mut terminal = Terminal::start(&command);
    let shown = terminal.shows("/runtime/engine/volume/mod.rs#L");
    assert!(!shown.contains("\x1b[") && shown.contains("\x1b]8;;"), "{shown}");
    let shown = terminal.shows("\nvase\r\n");
    assert!(!shown.contains("\x1b["), "{shown}");
    terminal.ends();
}

#[test]
fn a_terminal_that_reads_no_escape_sequences_gets_none() {
    let ebb = Ebb::empty();
    for term in [Some("dumb"), Some(""), None] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_ebb"));
        command.args(["--explain", "volume", "create", "vase"]).env("EBB_ROOT", ebb.store()).current_dir(&ebb.dir);
        match term {
            Some(term) => command.env("TERM", term),
            None => command.env_remove("TERM"),
        };
        let mut terminal = Terminal::start(&command);
        // Its last line, after all that is told.
        let shown = terminal.shows("\nvase\r\n");
        assert!(shown.contains("runtime/engine/volume/mod.rs:") && !shown.contains('\x1b'), "{term:?}: {shown:?}");
        assert_eq!(terminal.ends(), 0);
        ebb.ok(["volume", "rm", "--now", "vase"]);
    }
}

#[test]
fn each_step_waits_for_enter_and_a_second_terminal_sees_the_world_as_it_is_between() {
    let ebb = Ebb::empty();
    let mut command = ebb.command();
    command.args(["--step", "volume", "create", "vase"]);
    let mut terminal = Terminal::start(&command);
    for step in ["a new volume is made aside", "what the volume holds", "volume.json is written"] {
        terminal.shows(step);
        terminal.types("\n");
    }
    terminal.shows("it is whole now, and appears in its place in one rename");
    assert_eq!(ebb.ok(["volume", "ls", "-q"]), "", "until the rename it does not exist");
    terminal.types("\n");
    terminal.shows("renameat2(");
    assert_eq!(terminal.ends(), 0);
    assert_eq!(ebb.ok(["volume", "ls", "-q"]), "vase");
}

#[test]
fn waiting_needs_a_terminal() {
    let ebb = Ebb::empty();
    let mut command = std::process::Command::new("setsid");
    command.args(["--wait", env!("CARGO_BIN_EXE_ebb"), "--step", "volume", "create", "vase"]);
    command.env("EBB_ROOT", ebb.store()).stdin(std::process::Stdio::null());
    let answer = common::answer(&mut command);
    assert!(answer.code == 1 && answer.stderr.contains("needs a terminal"), "{}", answer.shown());
    assert_eq!(ebb.ok(["volume", "ls", "-q"]), "", "nothing was done");
}

/// What a container without `step` prints of itself.
fn without(ebb: &Ebb, step: &str, script: &str) -> String {
    let answer = ebb.run(["--without", step, "run", "--rm", "busybox", "sh", "-c", script]);
    assert_eq!(answer.code, 0, "{}", answer.shown());
    assert!(answer.stderr.contains(&format!("WARNING: without {step}: ")), "{}", answer.shown());
    answer.stdout.trim_end().to_owned()
}

#[test]
fn without_a_step_one_sees_what_it_is_for() {
    let ebb = Ebb::new();
    let with = |script: &str| ebb.ok(["run", "--rm", "busybox", "sh", "-c", script]);
    assert_eq!(with("echo $$"), "1");
    assert_ne!(without(&ebb, "pid", "echo $$"), "1", "its program is not process 1");
    let host = std::fs::read_link("/proc/self/ns/net").expect("procfs").display().to_string();
    assert_ne!(with("readlink /proc/self/ns/net"), host);
    assert_eq!(without(&ebb, "net", "readlink /proc/self/ns/net"), host);
    let filter = "grep Seccomp: /proc/self/status | cut -f 2";
    assert_eq!((with(filter), without(&ebb, "seccomp", filter)), ("2".into(), "0".into()));
    let bounding = "grep CapBnd /proc/self/status | cut -f 2";
    assert!(without(&ebb, "capabilities", bounding) > with(bounding));
    let masks = "grep -c ' /proc/' /proc/self/mountinfo";
    assert_ne!(with(masks), "0");
    assert_eq!(without(&ebb, "masks", "grep ' /proc/' /proc/self/mountinfo | wc -l"), "0");
    let root = "awk '$5 == \"/\"' /proc/self/mountinfo | grep -c ' - overlay '";
    assert_eq!(with(root), "1");
    assert_eq!(without(&ebb, "overlay", &format!("{root} || touch /written")), "0");
    // The root is changed all the same, only not for good.
    assert_eq!(without(&ebb, "pivot_root", "ls / | grep -c etc"), "1");
    let told = ebb.run(["--explain=json", "--without", "pivot_root", "run", "--rm", "busybox", "true"]).stderr;
    assert!(told.contains("\"syscall\":\"chroot\"") && !told.contains("\"syscall\":\"pivot_root\""), "{told}");
}

#[test]
fn without_mounts_of_its_own_the_kernel_refuses_and_without_the_user_namespace_who_may_is_root() {
    let ebb = Ebb::new();
    let said = ebb.fails(125, ["--without", "mount", "run", "--rm", "busybox", "true"]);
    assert!(said.contains("operation not permitted"), "{said}");
    if is_root() {
        assert_eq!(without(&ebb, "user", "awk '{print $3}' /proc/self/uid_map"), "4294967295");
    } else {
        let said = ebb.fails(125, ["--without", "user", "run", "--rm", "busybox", "true"]);
        assert!(said.contains("--without user is refused"), "{said}");
    }
    assert_eq!(ebb.ok(["ps", "-aq"]), "");
}

#[test]
fn what_would_harm_the_host_is_refused() {
    let ebb = Ebb::new();
    if is_root() {
        // No user namespace: the container's root is the host's.
        for step in ["pivot_root", "mount", "capabilities", "masks", "pid", "net"] {
            let run = ["--without", step, "run", "--rm", "--userns", "host", "busybox", "true"];
            let said = ebb.fails(125, run);
            assert!(said.contains(&format!("--without {step} is refused: ")), "{said}");
            // Nor beside a user namespace that is left out itself, whichever is named first.
            for both in [[step, "user"], ["user", step]] {
                let run = ["--without", both[0], "--without", both[1], "run", "--rm", "busybox", "true"];
                let said = ebb.fails(125, run);
                assert!(said.contains(&format!("--without {step} is refused: ")), "{both:?}: {said}");
            }
        }
    }
    assert!(ebb.fails(125, ["--without", "sanity", "run", "busybox"]).contains("it is one of pivot_root, pid"));
    assert!(ebb.fails(1, ["--without", "pid", "volume", "ls"]).contains("and volume ls has none"));
    assert_eq!(ebb.ok(["ps", "-aq"]), "");
}
