//! Who comes into a container comes into the container, and nowhere else; and whoever is on the way in is seen by nobody.

mod common;

use common::terminal::Terminal;
use common::{Ebb, is_root};
use std::path::Path;

/// A container that is being started, and waits at the step before its file system is mounted: its first process is in
/// the host's root still. (`--step` waits for Enter.)
fn just_being_started(ebb: &Ebb, name: &str) -> Terminal {
    let mut command = ebb.command();
    command.args(["--step", "run", "-d", "--name", name, "busybox", "sleep", "1000"]);
    let mut starting = Terminal::start(&command);
    // Before its birth a command whose binary is the user's own mounts something, too.
    while !starting.shows("⏎").contains("born into namespaces of its own") {
        starting.types("\n");
    }
    starting.types("\n");
    while !starting.shows("⏎").contains("not seen outside") {
        starting.types("\n");
    }
    starting
}

/// Lets the start go on to its end.
fn go_on(starting: &mut Terminal) {
    starting.types(&"\n".repeat(200));
    starting.shows("execve");
    starting.ends();
}

/// Its first process was once recorded before it had left the host's root, so that `cp` wrote to the host.
#[test]
fn cp_waits_until_the_container_has_left_the_hosts_root() {
    let ebb = Ebb::new();
    let name = ebb.dir.file_name().expect("a name").to_string_lossy().into_owned();
    std::fs::write(ebb.dir.join("payload"), "payload").expect("a file");
    let mut starting = just_being_started(&ebb, "early");
    let copying = ebb.spawn_waiting(&["cp", "payload", &format!("early:/tmp/{name}.proof")]);
    go_on(&mut starting);
    let copied = copying.wait_with_output().expect("cp ends");
    assert!(copied.status.success(), "{copied:?}");
    assert!(!Path::new(&format!("/tmp/{name}.proof")).exists(), "it was written to the host");
    assert_eq!(ebb.ok(["exec", "early", "cat", &format!("/tmp/{name}.proof")]), "payload");
}

#[test]
fn exec_waits_until_the_container_has_left_the_hosts_root() {
    let ebb = Ebb::new();
    let mut starting = just_being_started(&ebb, "early");
    let executing = ebb.spawn_waiting(&["exec", "early", "sh", "-c", "echo $(readlink /proc/1/exe) $(ls /)"]);
    go_on(&mut starting);
    let executed = executing.wait_with_output().expect("exec ends");
    let said = String::from_utf8_lossy(&executed.stdout).into_owned();
    assert!(executed.status.success() && said.starts_with("/bin/busybox ") && !said.contains("boot"), "{executed:?}");
}

/// The child of the clone once went back to the pid namespace of its parent, failed, and played supervisor.
#[test]
fn pid_container_shares_the_others_processes_and_needs_root() {
    let ebb = Ebb::new();
    ebb.ok(["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
    let args = ["run", "--rm", "--pid", "container:box", "busybox", "ps", "-o", "pid,args"];
    if !is_root() {
        let said = ebb.fails(125, args);
        assert!(said.contains("--pid container:box needs root"), "{said}");
        return;
    }
    let shown = ebb.ok(args);
    let lines: Vec<&str> = shown.lines().map(str::trim).collect();
    assert!(lines.len() == 3 && lines[1] == "1 sleep 1000" && lines[2].ends_with(" ps -o pid,args"), "{shown}");
    assert_eq!(ebb.ok(["ps", "-aq"]).lines().count(), 1);
    // Who shares itself waits for nobody.
    let said = ebb.fails(125, ["run", "--name", "self", "--pid", "container:self", "busybox", "true"]);
    assert!(said.contains("self"), "{said}");
}

#[test]
fn a_start_whose_pid_namespace_is_gone_fails_after_a_stop_too() {
    let ebb = Ebb::new();
    if !is_root() {
        // Refused before it is created, as above.
        return;
    }
    ebb.ok(["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
    ebb.ok(["run", "-d", "--name", "guest", "--pid", "container:box", "busybox", "sleep", "1000"]);
    ebb.ok(["stop", "-t", "0", "guest"]);
    ebb.ok(["rm", "-f", "box"]);
    ebb.fails(1, ["start", "guest"]);
    let state = ebb.ok(["inspect", "-f", "{{.State.Status}} {{.State.Running}}", "guest"]);
    assert_eq!(state, "exited false");
}

/// A process that shares the pid namespace, and the host's ids, looks at every other as fast as it can while containers
/// start beside it: it must not get hold of the host's program, nor of its descriptors.
#[test]
fn nobody_looks_into_a_container_that_is_being_made() {
    let ebb = Ebb::new();
    if !is_root() {
        // Of another user namespace nothing is to be seen anyway, and the host's processes are not shared without root.
        assert!(ebb.run(["run", "--rm", "--pid", "host", "busybox", "ls", "/proc/1/fd"]).code != 0);
        return;
    }
    ebb.ok(["run", "-d", "--name", "box", "--userns", "host", "busybox", "sleep", "1000"]);
    let look = "while :; do for p in /proc/[0-9]*; do [ $p/exe -ef /ebb ] && echo seen; done; done";
    let program = concat!(env!("CARGO_BIN_EXE_ebb"), ":/ebb:ro");
    let spy = ["--pid", "container:box", "--userns", "host", "-v", program, "busybox", "sh", "-c", look];
    ebb.ok([&["run", "-d", "--name", "spy"], &spy[..]].concat());
    for _ in 0..60 {
        ebb.ok(["run", "--rm", "--pid", "container:box", "--userns", "host", "busybox", "true"]);
    }
    assert_eq!(ebb.ok(["logs", "spy"]), "");
}

/// A child that sees a container's files has descriptors of the host's, and ids that are a container's, too.
#[test]
fn nobody_looks_into_a_child_that_sees_a_containers_files() {
    use std::io::Read;
    use std::os::unix::fs::MetadataExt;
    let ebb = Ebb::new();
    ebb.ok(["run", "--name", "box", "busybox", "dd", "if=/dev/zero", "of=/large", "bs=1M", "count=4"]);
    ebb.ok(["run", "-d", "--name", "runs", "busybox", "sleep", "1000"]);
    ebb.ok(["exec", "runs", "dd", "if=/dev/zero", "of=/large", "bs=1M", "count=4"]);
    for words in [&["export", "box"][..], &["export", "runs"], &["cp", "box:/large", "-"], &["cp", "runs:/large", "-"]]
    {
        let mut command = ebb.spawn(words);
        // It writes more than a pipe holds, and waits.
        command.stdout.as_mut().expect("a pipe").read_exact(&mut [0]).expect("it has begun");
        let children = format!("/proc/{0}/task/{0}/children", command.id());
        let children = std::fs::read_to_string(children).expect("its children");
        assert!(!children.trim().is_empty(), "{words:?}");
        for child in children.split_whitespace() {
            // What belongs to root there is what only root may look at (proc(5)).
            let owner = std::fs::metadata(format!("/proc/{child}/environ")).expect("it waits").uid();
            assert_eq!(owner, 0, "{words:?}");
        }
        let _ = command.kill();
        let _ = command.wait();
    }
}

/// The limits are the program's, not those of the process that makes its view.
#[test]
fn a_small_limit_on_open_files_does_not_keep_a_container_from_starting() {
    let ebb = Ebb::new();
    let limited = ["run", "-d", "--name", "box", "--ulimit", "nofile=5:5", "busybox", "sleep", "1000"];
    ebb.ok(limited);
    assert_eq!(ebb.ok(["exec", "box", "sh", "-c", "ulimit -n"]), "5");
}

#[test]
fn exec_takes_over_the_containers_oom_score() {
    let ebb = Ebb::new();
    ebb.ok(["run", "-d", "--name", "box", "--oom-score-adj", "300", "busybox", "sleep", "1000"]);
    assert_eq!(ebb.ok(["exec", "box", "cat", "/proc/self/oom_score_adj"]), "300");
}

/// Without a keyring of its own a container would be handed the keys of who started it. (A kernel without keyrings has none;
/// EPERM is what the filter of a container around Ebb answers, to Ebb's own containers, too.)
#[test]
fn nobody_comes_in_with_the_hosts_keys() {
    if !is_root() {
        // Under a tracer that is not root, newuidmap(1) is not setuid; the code is the same.
        return;
    }
    let ebb = Ebb::new();
    ebb.ok(["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
    for words in [&["run", "--rm", "busybox", "true"][..], &["exec", "box", "true"]] {
        for error in ["ENOSYS", "EPERM"] {
            let answer = common::strace::tampered(&ebb, &format!("keyctl:error={error}"), words);
            assert_eq!(answer.code, 0, "{}", answer.shown());
        }
        for (error, said) in [("EDQUOT", "kernel.keys.maxkeys"), ("ENOMEM", "make a session keyring")] {
            let answer = common::strace::tampered(&ebb, &format!("keyctl:error={error}"), words);
            assert_ne!(answer.code, 0, "{}", answer.shown());
            assert!(answer.stderr.contains(said), "{}", answer.shown());
        }
    }
}

/// Its supervisor is killed before it has asked to die with it (PR_SET_PDEATHSIG): it finds that one gone, and does not begin.
#[test]
fn a_container_whose_supervisor_dies_while_it_is_set_up_does_not_begin() {
    if !is_root() {
        return;
    }
    let ebb = Ebb::new();
    let name = format!("orphan-{}", std::process::id());
    let mut stops = 0;
    let words = ["run", "-d", "--name", &name, "busybox", "sh", "-c", "echo begun; exec sleep 1000"];
    let answer = common::strace::stopped_after(&ebb, "setresuid", &words, &mut || {
        stops += 1;
        // The first is in becoming root of its user namespace, the second in becoming the program's user.
        if stops == 2 {
            let only = std::fs::read_dir(ebb.store().join("containers")).expect("the store").next();
            let state = std::fs::read_to_string(only.expect("it").expect("it").path().join("state.json"));
            let state: serde_json::Value = serde_json::from_str(&state.expect("it is claimed")).expect("JSON");
            let supervisor = state["Supervisor"]["Pid"].as_i64().expect("a pid") as i32;
            let supervisor = nix::unistd::Pid::from_raw(supervisor);
            nix::sys::signal::kill(supervisor, nix::sys::signal::Signal::SIGKILL).expect("it lives");
        }
    });
    assert!(stops >= 2 && answer.code != 0, "{}", answer.shown());
    assert_eq!(ebb.run(["logs", &name]).stdout, "");
    assert_ne!(ebb.inspect(&name, "{{.State.Status}}"), "running");
}
