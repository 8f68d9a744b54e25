//! A start that fails is no life: what is known of the life before stays, beside the reason. As Docker 20.10 has it.

mod common;

use common::Ebb;
use std::path::{Path, PathBuf};

/// All that `inspect` says of how it went, but the reason.
const LIFE: &str = "{{.State.Status}} {{.State.Running}} {{.State.Pid}} {{.State.StartedAt}} {{.State.FinishedAt}}";

fn exit_code(ebb: &Ebb) -> String {
    ebb.inspect("box", "{{.State.ExitCode}}")
}

fn reason(ebb: &Ebb) -> String {
    ebb.inspect("box", "{{.State.Error}}")
}

/// A program of the host's for the container, which exits with 6.
fn program(ebb: &Ebb) -> PathBuf {
    let path = ebb.dir.join("programs/program");
    std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
    std::fs::write(&path, "#!/bin/sh\nexit 6\n").expect("a file");
    allow(&path, 0o755);
    path
}

fn allow(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).expect("its mode");
}

#[test]
fn the_life_before_stays_known_when_its_program_has_gone() {
    let ebb = Ebb::new();
    let program = program(&ebb);
    let mount = format!("{}:/programs", program.parent().expect("a parent").display());
    let run = ["run", "--name", "box", "-v", &mount, "--entrypoint", "/programs/program", "busybox"];
    assert_eq!(ebb.run(run).code, 6);
    let life = ebb.inspect("box", LIFE);
    assert!(life.starts_with("exited false 0 2") && !life.contains("0001-01-01"), "{life}");

    std::fs::remove_file(&program).expect("removed");
    let said = ebb.fails(1, ["start", "box"]);
    let why = "exec: \"/programs/program\": stat /programs/program: no such file or directory";
    assert_eq!(said, format!("ebb: {why}\nebb: failed to start containers: box\n"));
    assert_eq!((ebb.inspect("box", LIFE), exit_code(&ebb), reason(&ebb)), (life.clone(), "127".into(), why.into()));

    std::fs::write(&program, "#!/bin/sh\nexit 7\n").expect("a file");
    ebb.fails(1, ["start", "box"]);
    let why = "exec: \"/programs/program\": permission denied";
    assert_eq!((ebb.inspect("box", LIFE), exit_code(&ebb), reason(&ebb)), (life.clone(), "126".into(), why.into()));
    assert!(ebb.ok(["ps", "-a", "--format", "{{.Status}}"]).starts_with("Exited (126) "));

    // The next life is one again, and nothing of the failures is left.
    allow(&program, 0o755);
    assert_eq!(ebb.run(["start", "-a", "box"]).code, 7);
    assert_ne!(ebb.inspect("box", LIFE), life);
    assert_eq!((exit_code(&ebb), reason(&ebb)), ("7".into(), String::new()));
}

#[test]
fn a_missing_bind_source_is_made_again_for_v_and_refused_for_mount_which_changes_nothing() {
    let ebb = Ebb::new();
    let source = ebb.dir.join("source");
    std::fs::create_dir(&source).expect("a directory");
    let mount = format!("type=bind,src={},dst=/d", source.display());
    assert_eq!(ebb.run(["run", "--name", "box", "--mount", &mount, "busybox", "sh", "-c", "exit 3"]).code, 3);
    let life = ebb.inspect("box", LIFE);
    std::fs::remove_dir(&source).expect("removed");
    for words in [&["start", "box"][..], &["start", "-a", "box"]] {
        let said = ebb.fails(1, words);
        let why = format!(
            "ebb: invalid mount config for type \"bind\": bind source path does not exist: {}\n",
            source.display()
        );
        assert!(said.starts_with(&why), "{said}");
        let now = (ebb.inspect("box", LIFE), exit_code(&ebb), reason(&ebb));
        assert_eq!(now, (life.clone(), "3".into(), String::new()));
        assert!(!source.exists());
    }
    ebb.ok(["rm", "box"]);

    let mount = format!("{}:/d", source.display());
    ebb.run(["run", "--name", "box", "-v", &mount, "busybox", "true"]);
    std::fs::remove_dir(&source).expect("removed");
    let started = ebb.run(["start", "box"]);
    assert_eq!((started.code, started.stdout.as_str()), (0, "box\n"), "{}", started.shown());
    assert!(started.stderr.contains("made the host directory"), "{}", started.shown());
    assert!(source.is_dir());
}

#[test]
fn what_failed_for_another_reason_keeps_the_exit_code_of_its_life_unless_that_was_good() {
    let ebb = Ebb::new();
    let device = ebb.dir.join("device");
    let option = format!("device={}", device.display());
    std::fs::create_dir(&device).expect("a directory");
    ebb.ok(["volume", "create", "-o", "type=none", "-o", "o=bind", "-o", &option, "shown"]);
    for (life, after) in [("3", "3"), ("0", "128")] {
        let script = format!("exit {life}");
        ebb.run(["run", "--name", "box", "-v", "shown:/d", "busybox", "sh", "-c", &script]);
        let before = ebb.inspect("box", LIFE);
        std::fs::remove_dir(&device).expect("removed");
        ebb.fails(1, ["start", "box"]);
        assert_eq!((ebb.inspect("box", LIFE), exit_code(&ebb).as_str()), (before, after));
        assert!(reason(&ebb).contains("failed to mount local volume"), "{}", reason(&ebb));
        std::fs::create_dir(&device).expect("a directory");
        ebb.ok(["rm", "box"]);
    }
}

#[test]
fn one_that_never_ran_is_still_created_and_goes_where_it_was_to_be_removed_at_its_end() {
    let ebb = Ebb::new();
    ebb.ok(["create", "--name", "box", "--entrypoint", "/nope", "busybox"]);
    ebb.fails(1, ["start", "box"]);
    let never = "0001-01-01T00:00:00Z";
    assert_eq!(ebb.inspect("box", LIFE), format!("created false 0 {never} {never}"));
    assert_eq!(exit_code(&ebb), "127");
    ebb.ok(["rm", "box"]);
    let source = ebb.dir.join("source");
    std::fs::create_dir(&source).expect("a directory");
    let mount = format!("type=bind,src={},dst=/d", source.display());
    ebb.ok(["create", "--rm", "--name", "box", "--mount", &mount, "busybox"]);
    std::fs::remove_dir(&source).expect("removed");
    assert!(ebb.fails(1, ["start", "box"]).contains("bind source path does not exist"));
    assert_eq!((ebb.ok(["ps", "-aq"]), ebb.leftovers()), (String::new(), Vec::new()));
}

#[test]
fn what_goes_with_its_end_does_not_stay_where_its_supervisor_cannot_be_forked() {
    let ebb = Ebb::new();
    let refusing = |which: usize| {
        let inject = format!("inject=clone3:error=EAGAIN:when={which}");
        let mut strace = std::process::Command::new("strace");
        strace.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=clone3", "-e", &inject]);
        strace.arg(env!("CARGO_BIN_EXE_ebb")).args(["run", "--rm", "--name", "box", "busybox", "true"]);
        let refused = common::answer(strace.env("EBB_ROOT", ebb.store()).current_dir(&ebb.dir));
        // Whichever child it was that could not be born.
        assert_eq!(ebb.ok(["ps", "-aq"]), "", "{}", refused.shown());
        refused.code == 125 && refused.stderr.contains("fork the supervisor")
    };
    // Who is root has asked what the file system can do before, in a child.
    assert!((1..=3).any(refusing), "the supervisor was forked by one of them");
    assert!(std::fs::read_dir(ebb.store().join("names")).expect("it").next().is_none(), "its name is free");
}

#[test]
fn what_goes_with_its_end_goes_with_its_supervisor_too_while_a_command_is_attached() {
    let ebb = Ebb::new();
    let run = ["run", "--rm", "--name", "box", "-v", "/anonymous", "busybox", "sh", "-c", "echo up; exec sleep 1000"];
    let mut run = ebb.spawn(run);
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(run.stdout.take().expect("a pipe")));
    assert_eq!(lines.next().expect("a line").expect("UTF-8"), "up");
    let init = ebb.inspect("box", "{{.State.Pid}}");
    let stat = std::fs::read_to_string(format!("/proc/{init}/stat")).expect("it runs");
    let parent = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)).expect("a parent");
    let supervisor = nix::unistd::Pid::from_raw(parent.parse().expect("a pid"));
    nix::sys::signal::kill(supervisor, nix::sys::signal::Signal::SIGKILL).expect("killed");
    let ended = run.wait_with_output().expect("it ends");
    assert_eq!(ended.status.code(), Some(125), "{}", String::from_utf8_lossy(&ended.stderr));
    assert_eq!((ebb.ok(["ps", "-aq"]), ebb.ok(["volume", "ls", "-q"])), (String::new(), String::new()));
}
