//! `run`: exit codes, streams, environment, user, and what it refuses.

mod common;

use common::Ebb;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;

#[test]
fn the_exit_code_is_the_programs_or_says_why_there_was_none() {
    let ebb = Ebb::new();
    ebb.fails(7, ["run", "--rm", "busybox", "sh", "-c", "exit 7"]);
    let said = ebb.fails(127, ["run", "--rm", "busybox", "nosuch"]);
    assert!(said.contains("exec: \"nosuch\": executable file not found in $PATH"), "{said}");
    assert!(ebb.fails(127, ["run", "--rm", "busybox", "/nosuch"]).contains("no such file or directory"));
    assert!(ebb.fails(126, ["run", "--rm", "busybox", "/etc"]).contains("exec: \"/etc\": permission denied"));
    assert!(ebb.fails(126, ["run", "--rm", "busybox", "/etc/passwd"]).contains("permission denied"));
    ebb.fails(125, ["run", "--rm", "--bogus", "busybox"]);
    ebb.fails(137, ["run", "--rm", "--init", "busybox", "sh", "-c", "kill -9 $$"]);
    // A pid namespace's first process does not get signals that it has no handler for, not even from itself.
    ebb.ok(["run", "--rm", "busybox", "sh", "-c", "kill -9 $$"]);
    assert_eq!(ebb.ok(["ps", "-aq"]), "", "--rm leaves none of them");
}

#[test]
fn stdout_and_stderr_are_told_apart_and_kept_in_the_log() {
    let ebb = Ebb::new();
    let ran = ebb.run(["run", "--name", "two", "busybox", "sh", "-c", "echo out; echo err >&2"]);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("out\n", "err\n"));
    let logs = ebb.run(["logs", "two"]);
    assert_eq!((logs.stdout.as_str(), logs.stderr.as_str()), ("out\n", "err\n"));
}

#[test]
fn stdin_is_closed_unless_it_is_asked_for() {
    let ebb = Ebb::new();
    assert_eq!(ebb.run_with(b"lost", ["run", "--rm", "busybox", "cat"]).stdout, "");
    assert_eq!(ebb.run_with(b"kept", ["run", "--rm", "-i", "busybox", "cat"]).stdout, "kept");
}

#[test]
fn megabytes_go_in_and_come_out_without_a_standstill() {
    let ebb = Ebb::new();
    let input: Vec<u8> = (0..5_000_000u32).map(|n| b'a' + (n % 26) as u8).collect();
    let ran = ebb.run_with(&input, ["run", "--rm", "-i", "--log-driver", "none", "busybox", "cat"]);
    assert_eq!(ran.stdout.len(), input.len());
    assert!(ran.stdout.as_bytes() == input, "every byte, in order");
}

#[test]
fn the_last_line_of_much_output_arrives_and_is_in_the_log() {
    let ebb = Ebb::new();
    let script = "i=0; while [ $i -lt 20000 ]; do echo line-$i-0123456789012345678901234567890123456789; i=$((i+1)); done; echo the-end";
    let ran = ebb.run(["run", "--name", "loud", "busybox", "sh", "-c", script]);
    assert_eq!(ran.stdout.lines().count(), 20001);
    assert!(ran.stdout.ends_with("the-end\n"));
    assert_eq!(ebb.ok(["logs", "--tail", "1", "loud"]), "the-end");
}

#[test]
fn the_environment_is_docker_s_then_the_users() {
    let ebb = Ebb::new();
    std::fs::write(ebb.dir.join("vars"), "# none\nFROM_FILE=1\nPASSED\nABSENT_ONE\n").expect("written");
    let mut command = ebb.command();
    command.env("PASSED", "on").args([
        "run",
        "--rm",
        "--env-file",
        "vars",
        "-e",
        "A=b c",
        "-e",
        "PASSED",
        "-h",
        "here",
        "busybox",
        "env",
    ]);
    let env = common::answer(&mut command).stdout;
    for wanted in [
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOSTNAME=here",
        "HOME=/root",
        "A=b c",
        "PASSED=on",
        "FROM_FILE=1",
    ] {
        assert!(env.lines().any(|line| line == wanted), "{wanted} is missing: {env}");
    }
    assert!(!env.contains("ABSENT_ONE") && !env.contains("TERM="), "{env}");
}

#[test]
fn user_workdir_hostname_and_entrypoint_are_honoured() {
    let ebb = Ebb::new();
    assert_eq!(ebb.ok(["run", "--rm", "-u", "101:102", "busybox", "sh", "-c", "id -u; id -g"]), "101\n102");
    assert!(
        ebb.fails(125, ["run", "--rm", "-u", "nobodyknows", "busybox", "id"])
            .contains("unable to find user nobodyknows")
    );
    assert_eq!(ebb.ok(["run", "--rm", "-w", "/made/for/me", "busybox", "pwd"]), "/made/for/me");
    assert!(
        ebb.fails(125, ["run", "--rm", "-w", "relative", "busybox", "pwd"]).contains("it needs to be an absolute path")
    );
    assert_eq!(ebb.ok(["run", "--rm", "-h", "lighthouse", "busybox", "hostname"]), "lighthouse");
    assert_eq!(ebb.ok(["run", "--rm", "--entrypoint", "echo", "busybox", "a", "b"]), "a b");
    assert_eq!(ebb.ok(["run", "--rm", "busybox", "sh", "-c", "echo $$"]), "1");
}

#[test]
fn read_only_and_tmpfs_do_what_they_say() {
    let ebb = Ebb::new();
    assert!(ebb.fails(1, ["run", "--rm", "--read-only", "busybox", "touch", "/x"]).contains("Read-only file system"));
    ebb.ok(["run", "--rm", "--read-only", "--tmpfs", "/t", "busybox", "touch", "/t/x"]);
    let line = ebb.ok(["run", "--rm", "--tmpfs", "/t:size=1m", "busybox", "grep", " /t ", "/proc/mounts"]);
    for word in ["tmpfs", "nosuid", "nodev", "noexec", "size=1024k"] {
        assert!(line.contains(word), "{word}: {line}");
    }
    assert!(
        !ebb.ok(["run", "--rm", "--tmpfs", "/t:exec", "busybox", "grep", " /t ", "/proc/mounts"]).contains("noexec")
    );
}

#[test]
fn names_are_unique_and_the_holder_is_named() {
    let ebb = Ebb::new();
    let id = ebb.ok(["create", "--name", "taken", "busybox"]);
    let said = ebb.fails(125, ["run", "-d", "--name", "taken", "busybox"]);
    assert!(
        said.starts_with(&format!(
            "ebb: Conflict. The container name \"/taken\" is already in use by container \"{id}\"."
        )),
        "{said}"
    );
    assert!(ebb.fails(125, ["run", "--name", "g", "busybox"]).contains("Invalid container name (g), only"));
    // An ambiguous prefix is refused; a name wins over a prefix.
    assert!(ebb.ok(["inspect", "-f", "{{.Name}}", &id[..6]]).contains("/taken"));
    let children: Vec<_> = (0..20).map(|_| ebb.spawn(["create", "--name", "prize", "busybox"])).collect();
    let won = children.into_iter().filter(|_| true).map(|child| child.wait_with_output().expect("it ends"));
    assert_eq!(won.filter(|output| output.status.success()).count(), 1, "one wins, the others are told");
}

#[test]
fn cidfile_is_written_once() {
    let ebb = Ebb::new();
    let id = ebb.ok(["create", "--cidfile", "cid", "busybox"]);
    assert_eq!(std::fs::read_to_string(ebb.dir.join("cid")).expect("the file"), id);
    let said = ebb.fails(125, ["create", "--cidfile", "cid", "busybox"]);
    assert!(
        said.contains("container ID file found, make sure the other container isn't running or delete cid"),
        "{said}"
    );
}

#[test]
fn what_is_not_here_yet_is_refused_with_a_sentence() {
    let ebb = Ebb::new();
    assert!(
        ebb.fails(125, ["run", "-p", "80:80", "busybox"]).contains("comes with Ebb's networks, which are not here yet")
    );
    assert!(ebb.fails(125, ["run", "--network", "web", "busybox"]).contains("network web not found"));
    assert!(
        ebb.fails(125, ["run", "--rm", "--restart", "always", "busybox"])
            .contains("conflicting options: cannot specify both --restart and --rm")
    );
    assert!(ebb.fails(125, ["run", "--sysctl", "kernel.hostname=x", "busybox"]).contains("would change the host's"));
    assert_eq!(ebb.ok(["ps", "-aq"]), "");
}

#[test]
fn loopback_is_up_and_is_all_there_is() {
    let ebb = Ebb::new();
    let devices = ebb.ok(["run", "--rm", "busybox", "cat", "/proc/net/dev"]);
    let names: Vec<&str> = devices.lines().skip(2).filter_map(|line| line.split(':').next()).map(str::trim).collect();
    assert!(names.contains(&"lo") && !names.iter().any(|name| name.starts_with("eth")), "{devices}");
    assert_eq!(ebb.ok(["run", "--rm", "busybox", "cat", "/sys/class/net/lo/flags"]), "0x9", "up, and a loopback");
}

#[test]
fn signals_to_an_attached_run_reach_the_container() {
    let ebb = Ebb::new();
    let script = "trap 'echo got-term; exit 9' TERM; echo ready; while :; do sleep 0.05; done";
    let mut child = ebb.spawn(["run", "--rm", "busybox", "sh", "-c", script]);
    let mut out = child.stdout.take().expect("a pipe");
    let mut ready = [0u8; 6];
    out.read_exact(&mut ready).expect("ready");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id() as i32), nix::sys::signal::Signal::SIGTERM)
        .expect("sent");
    let mut rest = String::new();
    out.read_to_string(&mut rest).expect("the rest");
    assert_eq!(rest, "got-term\n");
    assert_eq!(common::exit_code(child.wait().expect("it ends")), 9);
}

#[test]
fn the_container_outlives_the_client_and_dies_with_its_supervisor() {
    let ebb = Ebb::new();
    let mut child = ebb.spawn(["run", "--name", "box", "busybox", "sh", "-c", "echo ready; sleep 1000"]);
    let mut ready = [0u8; 6];
    child.stdout.take().expect("a pipe").read_exact(&mut ready).expect("ready");
    child.kill().expect("killed");
    child.wait().expect("gone");
    assert_eq!(ebb.ok(["inspect", "-f", "{{.State.Status}}", "box"]), "running");
    let state = ebb.store().join("containers").join(ebb.ok(["inspect", "-f", "{{.Id}}", "box"])).join("state.json");
    let state: serde_json::Value = serde_json::from_slice(&std::fs::read(state).expect("the state")).expect("JSON");
    let supervisor = state["Supervisor"]["Pid"].as_i64().expect("a pid") as i32;
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(supervisor), nix::sys::signal::Signal::SIGKILL).expect("sent");
    assert_eq!(ebb.ok(["wait", "box"]), "137");
    assert!(ebb.ok(["ps", "-a", "--format", "{{.Status}}"]).starts_with("Exited (137)"));
    ebb.ok(["rm", "box"]);
}

#[test]
fn an_init_reaps_orphans_and_passes_signals_on() {
    let ebb = Ebb::new();
    // Each `sh` leaves a child behind, which then belongs to process 1.
    let script = "i=0; while [ $i -lt 200 ]; do sh -c 'true & exec true'; i=$((i+1)); done; \
                  while ps -o stat | grep -q Z; do :; done; echo reaped";
    assert_eq!(ebb.ok(["run", "--rm", "--init", "busybox", "sh", "-c", script]), "reaped");
    // However soon after the start.
    for _ in 0..20 {
        ebb.ok(["run", "-d", "--init", "--name", "box", "busybox", "sleep", "1000"]);
        ebb.ok(["stop", "-t", "5", "box"]);
        let code = ebb.ok(["inspect", "-f", "{{.State.ExitCode}}", "box"]);
        assert_eq!(code, "143", "the program got SIGTERM, and was not killed");
        ebb.ok(["rm", "box"]);
    }
    let blocked = ebb.ok(["run", "--rm", "--init", "busybox", "grep", "SigBlk", "/proc/self/status"]);
    assert_eq!(blocked, "SigBlk:\t0000000000000000");
}

/// Without root the container's root is the binary's owner, and CAP_SYS_ADMIN can make a read-only mount writable; not this one.
#[test]
fn an_init_cannot_be_changed_from_inside_whatever_the_container_may_do() {
    let ebb = Ebb::new();
    let look = || {
        let meta = std::fs::metadata(env!("CARGO_BIN_EXE_ebb")).expect("the binary");
        (meta.mode(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec(), meta.len())
    };
    let before = look();
    let script = "init=/sbin/docker-init; mount -o remount,rw,bind $init; mount -o remount,rw $init
        chmod 4777 $init; touch -d 2001-02-03 $init; (: >> $init); grep -c 'docker-init ro,' /proc/self/mountinfo";
    for options in [&["--cap-add", "SYS_ADMIN"][..], &["--privileged"], &["--cap-add", "ALL", "--userns", "host"]] {
        let words = [&["run", "--rm", "--init"], options, &["busybox", "sh", "-c", script]].concat();
        let ran = ebb.run(&words);
        assert_eq!((ran.code, ran.stdout.as_str()), (0, "1\n"), "{}", ran.shown());
        assert!(ran.stderr.contains("Read-only file system"), "{}", ran.shown());
        assert_eq!(look(), before, "{}", ran.shown());
    }
    ebb.ok(["run", "-d", "--init", "--name", "box", "busybox", "sleep", "1000"]);
    let exec = ebb.run(["exec", "--privileged", "box", "sh", "-c", script]);
    assert_eq!((exec.stdout.as_str(), look()), ("1\n", before), "{}", exec.shown());
}

#[test]
fn restart_policies_count_and_obey_a_stop() {
    let ebb = Ebb::new();
    ebb.ok(["run", "-d", "--name", "failing", "--restart", "on-failure:2", "busybox", "sh", "-c", "exit 3"]);
    // Its log is followed until its supervisor has ended, over all of its lives.
    ebb.ok(["logs", "-f", "failing"]);
    let said = ebb.ok(["inspect", "-f", "{{.RestartCount}} {{.State.ExitCode}} {{.State.Status}}", "failing"]);
    assert_eq!(said, "2 3 exited");
    ebb.ok(["run", "-d", "--name", "loop", "--restart", "always", "busybox", "sleep", "1000"]);
    ebb.ok(["stop", "-t", "0", "loop"]);
    assert_eq!(ebb.ok(["inspect", "-f", "{{.State.Status}}", "loop"]), "exited", "a stop by hand is the last word");
}

#[test]
fn attached_input_can_be_a_conversation() {
    let ebb = Ebb::new();
    let mut child = ebb.spawn(["run", "--rm", "-i", "busybox", "sh"]);
    let mut stdin = child.stdin.take().expect("a pipe");
    let mut stdout = child.stdout.take().expect("a pipe");
    for word in ["one", "two"] {
        writeln!(stdin, "echo {word}").expect("typed");
        let mut answer = vec![0u8; word.len() + 1];
        stdout.read_exact(&mut answer).expect("answered");
        assert_eq!(answer, format!("{word}\n").as_bytes());
    }
    drop(stdin);
    assert!(child.wait().expect("it ends").success());
}
