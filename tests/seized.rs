//! Who comes into a container brings nothing along that the container has not: a process with SYS_PTRACE in there can seize
//! whoever it sees, at the moment of its birth, and has then what that one has.

mod common;

use common::tracer::{self, capabilities, field};
use common::{Ebb, is_root};
use std::collections::BTreeSet;

const SETS: [&str; 4] = ["CapPrm", "CapEff", "CapBnd", "CapInh"];

/// What whoever comes in had in excess of `init`, the container's first process, at some moment.
fn excess_of(pid: i32, init: i32, excess: &mut BTreeSet<String>) {
    for set in SETS {
        let more = capabilities(pid, set) & !capabilities(init, set);
        if more != 0 {
            excess.insert(format!("{set} {more:x}"));
        }
    }
    for (name, why) in [("Seccomp", "no filter"), ("NoNewPrivs", "no no_new_privs")] {
        if field(pid, name) != field(init, name) {
            excess.insert(why.to_owned());
        }
    }
    let mut sockets = 0;
    for entry in std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten() {
        let number: i32 = entry.file_name().to_str().and_then(|text| text.parse().ok()).expect("a number");
        let shown = std::fs::read_link(entry.path()).unwrap_or_default().display().to_string();
        // A socket to who started it, to say how it goes; and what it finds its program by is the container's own.
        sockets += usize::from(shown.starts_with("socket:"));
        let is_own = shown.starts_with("socket:") && sockets == 1 || is_of_the_container(pid, number, init);
        if number > 2 && !is_own {
            excess.insert(format!("descriptor {number}: {shown}"));
        }
    }
    for area in ["cmdline", "environ"] {
        let text = std::fs::read(format!("/proc/{pid}/{area}")).unwrap_or_default();
        if String::from_utf8_lossy(&text).contains("SECRET") {
            excess.insert(format!("the caller's secret in {area}"));
        }
    }
    let mounts = |pid| std::fs::read_link(format!("/proc/{pid}/ns/mnt"));
    // Who is not root may not look: it hides from its own user, too.
    if mounts(pid).is_ok_and(|seen| mounts(init).is_ok_and(|init| seen != init)) {
        excess.insert("another mount namespace".to_owned());
    }
}

/// Whether the mount that a descriptor is on is one of the container's.
fn is_of_the_container(pid: i32, number: i32, init: i32) -> bool {
    let info = std::fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).unwrap_or_default();
    let Some(mount) = info.lines().find_map(|line| line.strip_prefix("mnt_id:")) else { return false };
    let table = std::fs::read_to_string(format!("/proc/{init}/mountinfo")).unwrap_or_default();
    table.lines().any(|line| line.split(' ').next() == Some(mount.trim()))
}

/// Runs `ebb exec WORDS` and returns what was to be had of who came in, and how often it was looked at.
fn seized(ebb: &Ebb, name: &str, words: &[&str]) -> (BTreeSet<String>, usize) {
    let init: i32 = ebb.inspect(name, "{{.State.Pid}}").parse().expect("a pid");
    let (mut excess, mut looks) = (BTreeSet::new(), 0);
    let mut command = ebb.command();
    command.arg("exec").args(words).env("TOKEN", "SECRET-of-the-caller").stdout(std::process::Stdio::null());
    let code = tracer::watch_those_who_come_in(&mut command, &mut |pid| {
        looks += 1;
        excess_of(pid, init, &mut excess);
    });
    assert_eq!(code, 0, "{words:?}");
    (excess, looks)
}

#[test]
fn who_comes_in_by_exec_has_nothing_from_its_birth_that_the_container_has_not() {
    let ebb = Ebb::new();
    let mut kinds: Vec<&[&str]> = vec![&["--cap-drop", "SETUID"], &["--security-opt", "no-new-privileges=false"]];
    if is_root() {
        kinds.push(&["--cap-add", "SYS_PTRACE", "--userns", "host"]);
        kinds.push(&["--cap-add", "SYS_PTRACE", "--network", "host"]);
        kinds.push(&["--userns", "host", "--cap-drop", "ALL", "--security-opt", "no-new-privileges=false"]);
    } else {
        kinds.push(&["--cap-add", "SYS_PTRACE"]);
    }
    for (number, options) in kinds.into_iter().enumerate() {
        let name = format!("box{number}");
        let run = [&["run", "-d", "--name", &name], options, &["busybox", "sleep", "1000"]].concat();
        ebb.ok(run);
        for words in [
            &["-e", "T=SECRET", &name, "true"][..],
            &["-t", &name, "sh", "-c", "exec true"],
            &["-w", "/proc/self", &name, "true"],
        ] {
            let (excess, looks) = seized(&ebb, &name, words);
            assert!(looks > 5, "it was looked at {looks} times");
            assert!(excess.is_empty(), "{options:?} {words:?}: {excess:#?}");
        }
    }
}

/// Its first process mounts, and so has rights that nobody there may get at.
#[test]
fn a_container_is_not_born_among_the_processes_of_one_that_could_seize_it() {
    if !is_root() {
        // Without root, `--pid container:` is refused in any case.
        return;
    }
    let ebb = Ebb::new();
    let ptrace = ["--cap-add", "SYS_PTRACE"];
    ebb.ok(["run", "-d", "--name", "plain", "--userns", "host", "busybox", "sleep", "1000"]);
    ebb.ok(["run", "-d", "--name", "mapped", "--cap-add", "SYS_PTRACE", "busybox", "sleep", "1000"]);
    // A container that looks into another: the usual way to trace one.
    ebb.ok([&["run", "--rm", "--pid", "container:plain"], &ptrace[..], &["busybox", "true"]].concat());
    ebb.ok([&["run", "--rm", "--pid", "container:mapped"], &ptrace[..], &["busybox", "true"]].concat());
    // While it looks, it could look into who comes next.
    ebb.ok([
        &["run", "-d", "--name", "tracer", "--pid", "container:plain"],
        &ptrace[..],
        &["busybox", "sleep", "1000"],
    ]
    .concat());
    for other in ["plain", "tracer"] {
        let refused = ebb.fails(125, ["run", "--rm", "--pid", &format!("container:{other}"), "busybox", "true"]);
        assert!(refused.contains("CAP_SYS_PTRACE") && refused.contains("ebb exec"), "{refused}");
    }
    let (excess, _) = seized(&ebb, "plain", &["-e", "T=SECRET", "plain", "true"]);
    assert!(excess.is_empty(), "{excess:#?}");
    ebb.ok(["rm", "-f", "tracer"]);
    ebb.ok(["run", "--rm", "--pid", "container:plain", "busybox", "true"]);
}

#[test]
fn the_words_that_a_container_was_made_with_are_seen_by_no_other() {
    if !is_root() {
        return;
    }
    let ebb = Ebb::new();
    ebb.ok(["run", "-d", "--name", "plain", "--userns", "host", "busybox", "sleep", "1000"]);
    let init: i32 = ebb.inspect("plain", "{{.State.Pid}}").parse().expect("a pid");
    let mut seen = BTreeSet::new();
    let mut command = ebb.command();
    command.args(["run", "--rm", "--pid", "container:plain", "-e", "T=SECRET", "busybox", "true"]).env("T", "SECRET");
    let code = tracer::watch_those_who_come_in(&mut command, &mut |pid| {
        // (At its birth it has them still: it has made no call by then. What it says of itself it says after that.)
        if field(pid, "NSpid").split_whitespace().count() == field(init, "NSpid").split_whitespace().count() {
            let text = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            seen.insert(String::from_utf8_lossy(&text).trim_end_matches('\0').replace('\0', " "));
        }
    });
    assert_eq!(code, 0);
    assert!(seen.contains("ebb"), "{seen:?}");
}

/// On the host everybody can read a command line, and a supervisor lives for as long as its container.
#[test]
fn the_supervisors_command_line_tells_no_secret() {
    let ebb = Ebb::new();
    ebb.ok(["run", "-d", "--name", "box", "-e", "T=SECRET", "busybox", "sleep", "1000"]);
    let init: i32 = ebb.inspect("box", "{{.State.Pid}}").parse().expect("a pid");
    let supervisor = field(init, "PPid");
    let words = std::fs::read(format!("/proc/{supervisor}/cmdline")).expect("its command line");
    let words = String::from_utf8_lossy(&words).trim_end_matches('\0').to_owned();
    assert_eq!(words, "ebb:box");
    // What it needs of the environment it has: the container can be started again by it.
    ebb.ok(["restart", "-t", "0", "box"]);
    assert_eq!(ebb.ok(["exec", "box", "sh", "-c", "echo $T"]), "SECRET");
}

/// A profile that was written for the program alone says nothing of what comes before it.
#[test]
fn a_filter_that_forbids_the_way_in_is_loaded_at_its_end() {
    let ebb = Ebb::new();
    let profile = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["setsid", "clone", "clone3", "recvmsg"], "action": "SCMP_ACT_ERRNO"}]}"#;
    let path = ebb.dir.join("profile.json");
    std::fs::write(&path, profile).expect("a file");
    let filter = format!("seccomp={}", path.display());
    ebb.ok(["run", "-d", "--name", "box", "--security-opt", &filter, "busybox", "sleep", "1000"]);
    assert_eq!(ebb.ok(["exec", "box", "grep", "Seccomp:", "/proc/self/status"]), "Seccomp:\t2");
    assert_ne!(ebb.run(["exec", "box", "setsid", "true"]).code, 0, "the filter holds");
}

/// Who comes in is one process more of the user's, and the door is none.
#[test]
fn a_limit_on_processes_counts_no_door() {
    let ebb = Ebb::new();
    let user = if common::has_one_id() { "0" } else { "1000" };
    ebb.ok(["run", "-d", "--name", "box", "-u", user, "--ulimit", "nproc=40:50", "busybox", "sleep", "1000"]);
    assert_eq!(ebb.ok(["exec", "box", "sh", "-c", "ulimit -Su; ulimit -Hu"]), "40\n50");
    if is_root() {
        ebb.ok(["run", "-d", "--name", "full", "-u", "1000", "--ulimit", "nproc=2", "busybox", "sleep", "1000"]);
        assert_eq!(ebb.ok(["exec", "full", "echo", "in"]), "in");
    }
}

/// A change of credentials makes a process dumpable where the host has fs.suid_dumpable at 1, so it hides after each again.
#[test]
fn whoever_enters_hides_again_after_every_change_of_credentials() {
    let ebb = Ebb::new();
    ebb.ok(["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
    let user = if common::has_one_id() { "0" } else { "1000" };
    for (words, process) in [
        (&["exec", "-u", user, "box", "true"][..], "door"),
        (&["run", "--rm", "-u", user, "busybox", "true"], "container"),
    ] {
        let answer = ebb.run([&["--explain=json"], words].concat());
        assert_eq!(answer.code, 0, "{}", answer.shown());
        let mut hidden = None;
        for line in answer.stderr.lines().filter(|line| line.starts_with('{')) {
            let call: serde_json::Value = serde_json::from_str(line).expect("JSON");
            let arguments = call["arguments"].as_str().unwrap_or_default();
            match call["syscall"].as_str().unwrap_or_default() {
                _ if call["process"] != process => {}
                "prctl" if arguments == "PR_SET_DUMPABLE, 0" => hidden = Some(true),
                "setns" | "setresuid" | "setresgid" => hidden = Some(false),
                // What comes in between is one step: it has lost nothing yet that a container could use.
                "clone" | "execve" | "seccomp" | "mount" => {
                    assert_eq!(hidden, Some(true), "{process} is visible at {arguments}: {}", answer.shown());
                }
                _ => {}
            }
        }
        assert_eq!(hidden, Some(true), "{}", answer.shown());
    }
}
