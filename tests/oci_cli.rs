//! `ebb oci` is runc's command line: what another engine types, and what it must then find.

mod common;

use common::bundle::Bundle;
use common::{answer, answer_to, is_root, skip};
use serde_json::{Value, json};
use std::io::Read;
use std::process::Stdio;

fn without_cgroups() -> Option<String> {
    ebb::oci::cgroup::available().err()
}

#[test]
fn a_container_is_created_then_started_then_killed_then_deleted() {
    let bundle = Bundle::new(&["sh", "-c", "echo started; exec sleep 1000"]);
    bundle.create("c1");
    let state = bundle.state("c1");
    assert_eq!((&state["status"], &state["id"]), (&json!("created"), &json!("c1")));
    assert_eq!(state["ociVersion"], bundle.config["ociVersion"]);
    assert_eq!(state["bundle"], json!(bundle.dir.canonicalize().unwrap()));
    assert!(state["created"].as_str().unwrap().ends_with('Z') && state["rootfs"].is_string() && state["owner"] == "");
    let pid = state["pid"].as_i64().unwrap();
    assert_eq!(bundle.said(), "", "the program runs only after start");

    bundle.ok(&["start", "c1"]);
    assert_eq!(bundle.state("c1")["status"], "running");
    assert_eq!(bundle.state("c1")["pid"], pid, "start makes no new process");
    assert!(bundle.fails(1, &["start", "c1"]).contains("cannot start an already running container"));
    assert!(bundle.fails(1, &["delete", "c1"]).contains("cannot delete container c1 that is not stopped: running"));

    bundle.ok(&["kill", "c1", "KILL"]);
    wait_until_stopped(&bundle, "c1");
    assert_eq!((&bundle.state("c1")["status"], &bundle.state("c1")["pid"]), (&json!("stopped"), &json!(0)));
    assert!(bundle.fails(1, &["kill", "c1", "9"]).contains("container not running"));
    assert!(bundle.fails(1, &["start", "c1"]).contains("cannot start a container that has stopped"));
    bundle.ok(&["delete", "c1"]);
    assert!(bundle.fails(1, &["state", "c1"]).contains("container does not exist"));
    assert_eq!(std::fs::read_dir(bundle.root()).unwrap().count(), 0, "nothing is left behind");
}

/// Until the kernel says that the container's first process has ended.
fn wait_until_stopped(bundle: &Bundle, id: &str) {
    let record = std::fs::read_to_string(bundle.root().join(id).join("state.json")).unwrap();
    let pid = serde_json::from_str::<Value>(&record).unwrap()["pid"].as_i64().unwrap();
    if let Ok(pidfd) = ebb::kernel::pidfd_open(nix::unistd::Pid::from_raw(pid as i32)) {
        use std::os::fd::AsFd;
        let mut fds = [nix::poll::PollFd::new(pidfd.as_fd(), nix::poll::PollFlags::POLLIN)];
        nix::poll::poll(&mut fds, nix::poll::PollTimeout::NONE).unwrap();
    }
}

#[test]
fn a_created_container_can_be_deleted_without_ever_running() {
    let bundle = Bundle::new(&["touch", "/tmp/never"]);
    bundle.create("c1");
    bundle.ok(&["delete", "c1"]);
    assert_eq!(bundle.ok(&["list", "-q"]), "");
}

#[test]
fn options_may_stand_before_the_command_and_behind_the_id() {
    let bundle = Bundle::new(&["true"]);
    bundle.create("c1");
    let root = bundle.root();
    let root = root.to_str().unwrap();
    let ebb = common::Ebb::empty();
    let before = ebb.ok(["oci", "--debug", "--rootless", "auto", "--root", root, "list", "--quiet"]);
    let behind = ebb.ok(["oci", "list", "--quiet", &format!("--root={root}"), "--systemd-cgroup"]);
    assert_eq!((before.as_str(), behind.as_str()), ("c1", "c1"));
    bundle.ok(&["delete", "c1", "--force"]);
}

#[test]
fn a_link_named_ebb_oci_is_the_runtime_itself() {
    let bundle = Bundle::new(&["echo", "by its name"]);
    bundle.ok(&["list"]); // Writes config.json.
    let link = bundle.dir.join("ebb-oci");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_ebb"), &link).unwrap();
    let mut command = std::process::Command::new(link);
    command.arg("--root").arg(bundle.root()).args(["run", "--bundle"]).arg(&bundle.dir).arg("c1").stdin(Stdio::null());
    assert_eq!(answer(&mut command).stdout, "by its name\n");
    assert_eq!(bundle.run(&["create", "--no-such-option", "c1"]).code, 1, "runc knows one code");
}

#[test]
fn run_waits_and_exits_with_the_containers_code() {
    let bundle = Bundle::new(&["sh", "-c", "cat; echo to stderr >&2; exit 7"]);
    let answer = answer_to(bundle.oci().args(["run", "c1"]), b"from stdin\n");
    assert_eq!(answer.code, 7, "{}", answer.shown());
    assert_eq!((answer.stdout.as_str(), answer.stderr.as_str()), ("from stdin\n", "to stderr\n"));
    assert_eq!(bundle.ok(&["list", "-q"]), "", "run deletes what it has made");
}

#[test]
fn run_passes_signals_on() {
    let bundle = Bundle::new(&["sh", "-c", "trap 'exit 5' TERM; echo ready; while :; do sleep 1000 & wait; done"]);
    let mut child = bundle.oci().args(["run", "c1"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut ready = [0; 6];
    child.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id() as i32), nix::sys::signal::Signal::SIGTERM).unwrap();
    assert_eq!(common::exit_code(child.wait().unwrap()), 5);
}

#[test]
fn run_detached_leaves_a_container_that_is_nobodys_zombie() {
    let bundle = Bundle::new(&["sleep", "1000"]);
    let pid_file = bundle.dir.join("pid");
    let output = std::fs::File::create(bundle.dir.join("output")).unwrap();
    let mut command = bundle.oci();
    command.args(["run", "--detach", "--pid-file", pid_file.to_str().unwrap(), "c1"]);
    assert!(
        command.stdout(output.try_clone().unwrap()).stderr(output).status().unwrap().success(),
        "{}",
        bundle.said()
    );
    let pid = std::fs::read_to_string(pid_file).unwrap();
    assert_eq!(bundle.state("c1")["pid"].to_string(), pid);
    let pids: Value = serde_json::from_str(&bundle.ok(&["ps", "--format", "json", "c1"])).unwrap();
    assert_eq!(pids, json!([pid.parse::<i32>().unwrap()]));
    let table = bundle.ok(&["list"]);
    assert!(table.starts_with("ID          PID") && table.contains("running"), "{table}");
    let all: Value = serde_json::from_str(&bundle.ok(&["list", "--format", "json"])).unwrap();
    assert_eq!(all[0]["id"], "c1");
    bundle.ok(&["delete", "-f", "c1"]);
    assert!(!std::path::Path::new(&format!("/proc/{pid}/stat")).exists() || !is_alive(&pid));
}

fn is_alive(pid: &str) -> bool {
    ebb::oci::process_stat(pid.parse().unwrap()).is_some_and(|(state, _)| state != 'Z')
}

#[test]
fn exec_runs_one_more_process_with_what_its_options_say() {
    let bundle = Bundle::new(&["sleep", "1000"]);
    bundle.create("c1");
    bundle.ok(&["start", "c1"]);
    assert_eq!(bundle.ok(&["exec", "--cwd", "/proc", "-e", "A=b c", "c1", "sh", "-c", "pwd; echo $A"]), "/proc\nb c");
    assert_eq!(bundle.run(&["exec", "c1", "sh", "-c", "exit 9"]).code, 9);
    assert_eq!(bundle.run(&["exec", "c1", "sh", "-c", "kill -9 $$"]).code, 137);
    let missing = bundle.fails(255, &["exec", "c1", "no-such-program"]);
    assert!(missing.contains("exec failed") && missing.contains("executable file not found in $PATH"), "{missing}");
    let sets = bundle.ok(&["exec", "--cap", "CAP_SYS_TIME", "c1", "grep", "-E", "Cap(Inh|Bnd)", "/proc/self/status"]);
    let mask = |name: &str| {
        let line = sets.lines().find(|line| line.starts_with(name)).unwrap();
        u64::from_str_radix(line.split_whitespace().last().unwrap(), 16).unwrap()
    };
    assert_eq!(mask("CapInh"), 0, "{sets}");
    assert_ne!(mask("CapBnd") & 1 << 25, 0, "{sets}");
    let process = bundle.dir.join("process.json");
    let described =
        json!({"user": {"uid": 0, "gid": 0}, "args": ["echo", "by file"], "env": ["PATH=/bin"], "cwd": "/"});
    std::fs::write(&process, described.to_string()).unwrap();
    assert_eq!(bundle.ok(&["exec", "--process", process.to_str().unwrap(), "c1"]), "by file");
    bundle.ok(&["kill", "c1", "KILL"]);
    wait_until_stopped(&bundle, "c1");
    assert!(bundle.fails(255, &["exec", "c1", "true"]).contains("cannot exec in a stopped container"));
}

#[test]
fn pause_stops_a_container_and_resume_lets_it_go_on() {
    if let Some(why) = without_cgroups() {
        if !is_root() {
            let bundle = Bundle::new(&["sleep", "1000"]);
            bundle.create("c1");
            bundle.ok(&["start", "c1"]);
            let said = bundle.fails(1, &["pause", "c1"]);
            assert!(said.contains(&why), "{said}");
            return;
        }
        return skip(&why);
    }
    let bundle = Bundle::new(&["sleep", "1000"]);
    bundle.create("c1");
    bundle.ok(&["start", "c1"]);
    bundle.ok(&["pause", "c1"]);
    assert_eq!(bundle.state("c1")["status"], "paused");
    assert!(bundle.fails(255, &["exec", "c1", "true"]).contains("cannot exec in a paused container"));
    bundle.ok(&["resume", "c1"]);
    assert_eq!(bundle.state("c1")["status"], "running");
    assert!(bundle.fails(1, &["resume", "c1"]).contains("container not paused"));
    bundle.ok(&["pause", "c1"]);
    bundle.ok(&["delete", "--force", "c1"]);
}

#[test]
fn limits_are_set_shown_and_updated() {
    if let Some(why) = without_cgroups() {
        if !is_root() {
            let mut bundle = Bundle::new(&["true"]);
            bundle.config["linux"]["resources"] = json!({"memory": {"limit": 64 << 20}});
            let said = bundle.fails(1, &["create", "c1"]);
            assert!(said.contains("a memory limit cannot be honoured") && said.contains(&why), "{said}");
            assert_eq!(bundle.ok(&["list", "-q"]), "");
            return;
        }
        return skip(&why);
    }
    let offered = ebb::oci::cgroup::controllers();
    if let Some(missing) = ["memory", "pids"].iter().find(|name| !offered.iter().any(|offer| offer == *name)) {
        return skip(&format!("the host offers no {missing} controller"));
    }
    let mut bundle = Bundle::new(&["sleep", "1000"]);
    bundle.config["linux"]["resources"] = json!({"memory": {"limit": 64 << 20}, "pids": {"limit": 30}});
    bundle.config["linux"]["cgroupsPath"] =
        json!(format!("/ebb/{}", bundle.dir.file_name().unwrap().to_str().unwrap()));
    bundle.create("c1");
    bundle.ok(&["start", "c1"]);
    let statistics = |bundle: &Bundle| -> Value {
        let events: Value = serde_json::from_str(&bundle.ok(&["events", "--stats", "c1"])).unwrap();
        assert_eq!((&events["type"], &events["id"]), (&json!("stats"), &json!("c1")));
        events["data"].clone()
    };
    let now = statistics(&bundle);
    assert_eq!((&now["memory"]["usage"]["limit"], &now["pids"]["limit"]), (&json!(64 << 20), &json!(30)));
    assert_eq!(now["pids"]["current"], 1);
    bundle.ok(&["update", "--memory", "128M", "--pids-limit", "40", "c1"]);
    let now = statistics(&bundle);
    assert_eq!((&now["memory"]["usage"]["limit"], &now["pids"]["limit"]), (&json!(128 << 20), &json!(40)));
    let answer = answer_to(bundle.oci().args(["update", "-r", "-", "c1"]), br#"{"pids":{"limit":50}}"#);
    assert_eq!(answer.code, 0, "{}", answer.shown());
    assert_eq!(statistics(&bundle)["pids"]["limit"], 50);
    let cgroup = bundle.config["linux"]["cgroupsPath"].as_str().unwrap().to_owned();
    assert_eq!(ebb::oci::cgroup::processes(&cgroup).unwrap().len(), 1);
    bundle.ok(&["delete", "-f", "c1"]);
    assert!(ebb::oci::cgroup::processes(&cgroup).unwrap_or_default().is_empty());
}

#[test]
fn limits_are_enforced_and_the_oom_killer_is_counted() {
    if without_cgroups().is_some() && !is_root() {
        return; // Refused: the test above.
    }
    if let Some(why) = without_cgroups() {
        return skip(&why);
    }
    let offered = ebb::oci::cgroup::controllers();
    if let Some(missing) = ["memory", "pids"].iter().find(|name| !offered.iter().any(|offer| offer == *name)) {
        return skip(&format!("the host offers no {missing} controller"));
    }
    let mut bundle = Bundle::new(&["sleep", "1000"]);
    let memory = match ebb::oci::cgroup::can_limit_swap() {
        true => json!({"limit": 32 << 20, "swap": 32 << 20}),
        false => json!({"limit": 32 << 20}),
    };
    bundle.config["linux"]["resources"] = json!({"memory": memory, "pids": {"limit": 8}});
    bundle.create("c1");
    bundle.ok(&["start", "c1"]);
    let oom_kills = |bundle: &Bundle| -> Value {
        let events: Value = serde_json::from_str(&bundle.ok(&["events", "--stats", "c1"])).unwrap();
        events["data"]["memory"]["usage"]["failcnt"].clone()
    };
    assert_eq!(oom_kills(&bundle), 0);
    // One line without an end: tail keeps all of it in memory.
    assert_eq!(bundle.ok(&["exec", "c1", "sh", "-c", "tail /dev/zero; echo $?"]), "137");
    assert_eq!(oom_kills(&bundle), 1);
    let forks = "for i in 1 2 3 4 5 6 7 8 9 10; do sleep 1000 > /dev/null 2>&1 & done";
    let said = bundle.run(&["exec", "c1", "sh", "-c", forks]);
    assert!(said.stderr.contains("can't fork"), "{}", said.shown());
}

#[test]
fn hooks_run_at_their_moments_with_the_state_on_stdin() {
    let mut bundle = Bundle::new(&["ls", "/dev/shm"]);
    let log = bundle.dir.join("hooks");
    let hook = |name: &str| {
        let script = format!("read -r state; echo \"{name} $state\" >> {}", log.display());
        json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}])
    };
    for moment in ["prestart", "createRuntime", "createContainer", "poststart", "poststop"] {
        bundle.config["hooks"][moment] = hook(moment);
    }
    // This one runs inside, where the container's programs are.
    bundle.config["hooks"]["startContainer"] = json!([{"path": "/bin/touch", "args": ["touch", "/dev/shm/hooked"]}]);
    bundle.create("c1");
    bundle.ok(&["start", "c1"]);
    wait_until_stopped(&bundle, "c1");
    assert_eq!(bundle.said(), "hooked\n");
    bundle.ok(&["delete", "c1"]);
    let said = std::fs::read_to_string(&log).unwrap();
    let lines: Vec<(&str, Value)> = said
        .lines()
        .map(|line| line.split_once(' ').unwrap())
        .map(|(moment, state)| (moment, serde_json::from_str(state).unwrap()))
        .collect();
    let moments: Vec<&str> = lines.iter().map(|(moment, _)| *moment).collect();
    assert_eq!(moments, ["prestart", "createRuntime", "createContainer", "poststart", "poststop"]);
    assert!(lines.iter().all(|(_, state)| state["id"] == "c1" && state["ociVersion"].is_string()), "{said}");
    assert_eq!(lines.last().unwrap().1["status"], "stopped");
}

#[test]
fn a_hook_that_fails_or_does_not_end_keeps_the_container_from_being_created() {
    let mut bundle = Bundle::new(&["true"]);
    bundle.config["hooks"] =
        json!({"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", "echo it says no >&2; exit 3"]}]});
    let said = bundle.fails(1, &["create", "c1"]);
    assert!(said.contains("createRuntime hook #0") && said.contains("it says no"), "{said}");
    bundle.config["hooks"] =
        json!({"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", "exec sleep 1000"], "timeout": 1}]});
    assert!(bundle.fails(1, &["create", "c1"]).contains("did not end within 1 s"));
    assert_eq!(bundle.ok(&["list", "-q"]), "");
}

#[test]
fn a_root_of_states_that_others_may_have_filled_is_not_believed() {
    use std::os::unix::fs::PermissionsExt;
    let bundle = Bundle::new(&["sleep", "1000"]);
    bundle.create("c1");
    let ran = bundle.dir.join("ran");
    let config = bundle.root().join("c1/config.json");
    let mut planted: Value = serde_json::from_str(&std::fs::read_to_string(&config).unwrap()).unwrap();
    planted["hooks"] = json!({"poststop": [{"path": "/bin/touch", "args": ["touch", ran]}]});
    std::fs::write(&config, planted.to_string()).unwrap();
    let open = |mode| std::fs::set_permissions(bundle.root(), std::fs::Permissions::from_mode(mode)).unwrap();
    let refused = |why: &str| {
        let commands: [&[&str]; 5] =
            [&["list"], &["state", "c1"], &["delete", "-f", "c1"], &["kill", "c1"], &["create", "c2"]];
        for command in commands {
            let said = bundle.fails(1, command);
            assert!(said.contains(why), "{command:?}: {said}");
        }
        assert!(!ran.exists(), "a hook of somebody else's ran");
    };
    open(0o777);
    refused("can be written to by other users");
    open(0o700);
    let aside = bundle.dir.join("aside");
    std::fs::rename(bundle.root(), &aside).unwrap();
    std::os::unix::fs::symlink(&aside, bundle.root()).unwrap();
    refused("is no directory");
    std::fs::remove_file(bundle.root()).unwrap();
    std::fs::rename(&aside, bundle.root()).unwrap();
    if is_root() {
        std::os::unix::fs::chown(bundle.root(), Some(1), None).unwrap();
        refused("belongs to another user");
        std::os::unix::fs::chown(bundle.root(), Some(0), None).unwrap();
    }
    bundle.ok(&["delete", "-f", "c1"]);
    assert!(ran.exists(), "one's own hooks do run");
}

#[test]
fn a_user_that_is_no_id_is_refused_and_does_not_stay_root() {
    let mut bundle = Bundle::new(&["id"]);
    for user in [json!({"uid": u32::MAX, "gid": 0}), json!({"uid": 0, "gid": u32::MAX})] {
        bundle.config["process"]["user"] = user;
        let said = bundle.fails(1, &["run", "c1"]);
        assert!(said.contains("4294967295 is no id"), "{said}");
    }
    assert_eq!(bundle.ok(&["list", "-q"]), "");
}

#[test]
fn errors_are_written_to_the_log_as_runc_writes_them() {
    let bundle = Bundle::new(&["true"]);
    let log = bundle.dir.join("log");
    let answer = answer(bundle.oci().args(["--log", log.to_str().unwrap(), "--log-format", "json", "state", "nope"]));
    assert_eq!(answer.code, 1);
    let line: Value = serde_json::from_str(std::fs::read_to_string(&log).unwrap().trim()).unwrap();
    assert_eq!((&line["level"], &line["msg"]), (&json!("error"), &json!("container does not exist")));
    assert!(line["time"].as_str().unwrap().ends_with('Z'));
}

#[test]
fn bad_input_is_refused_and_changes_nothing() {
    let mut bundle = Bundle::new(&["sleep", "1000"]);
    assert!(bundle.fails(1, &["create", "../escape"]).contains("invalid container ID format"));
    assert!(bundle.fails(1, &["create", "--bundle", "/no/such", "c1"]).contains("/no/such"));
    assert!(bundle.fails(1, &["kill", "nope"]).contains("container does not exist"));
    assert_eq!(bundle.run(&["delete", "--force", "nope"]).code, 0);
    bundle.create("c1");
    assert!(bundle.fails(1, &["create", "c1"]).contains("container with given ID already exists"));
    assert!(bundle.fails(1, &["kill", "c1", "SIGNOPE"]).contains("unknown signal \"SIGNOPE\""));
    bundle.ok(&["delete", "c1"]);
    bundle.config["process"]["args"] = json!(["no-such-program"]);
    let missing = bundle.fails(1, &["create", "c1"]);
    assert!(missing.contains("exec: \"no-such-program\": executable file not found in $PATH"), "{missing}");
    bundle.config["ociVersion"] = json!("2.0.0");
    assert!(bundle.fails(1, &["create", "c1"]).contains("ociVersion \"2.0.0\""));
    assert_eq!(bundle.ok(&["list", "-q"]), "");
}

#[test]
fn spec_writes_a_bundle_that_runs_and_features_says_what_it_can() {
    let bundle = Bundle::new(&["true"]);
    let fresh = bundle.dir.join("fresh");
    std::fs::create_dir(&fresh).unwrap();
    let fresh = fresh.to_str().unwrap();
    let arguments: &[&str] = if is_root() { &["spec", "-b", fresh] } else { &["spec", "--rootless", "-b", fresh] };
    bundle.ok(arguments);
    assert!(bundle.fails(1, arguments).contains("File config.json exists. Remove it first"));
    let written: Value =
        serde_json::from_str(&std::fs::read_to_string(bundle.dir.join("fresh/config.json")).unwrap()).unwrap();
    assert_eq!(written["process"]["args"], json!(["sh"]));
    let features: Value = serde_json::from_str(&bundle.ok(&["features"])).unwrap();
    assert_eq!(features["linux"]["seccomp"]["enabled"], true);
    assert!(features["linux"]["capabilities"].as_array().unwrap().contains(&json!("CAP_CHOWN")));
}
