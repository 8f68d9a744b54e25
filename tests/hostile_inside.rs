//! A container that turns its own /proc, directories and links against whoever comes in, and a caller with open files.

mod common;

use common::Ebb;
use common::bundle::Bundle;
use std::process::Command;

/// Runs `ebb ARGS`; what has not ended after a minute hangs.
fn in_time(ebb: &Ebb, args: &[&str]) -> common::Answer {
    let mut command = Command::new("timeout");
    command.args(["60", env!("CARGO_BIN_EXE_ebb")]).args(args).env("EBB_ROOT", ebb.store()).current_dir(&ebb.dir);
    let answer = common::answer(&mut command);
    assert_ne!(answer.code, 124, "it hangs: {}", answer.shown());
    answer
}

/// A shell keeps files open for its children, as a careless script or a service manager does (CVE-2024-21626).
#[test]
fn what_the_caller_has_open_is_not_open_in_the_container_and_no_way_out() {
    let ebb = Ebb::new();
    let script = r#"
        exec 3</etc/passwd 4</ 5</etc 6</proc 7</tmp 8<"$1" 9</usr
        "$0" run --rm busybox ls /proc/self/fd /proc/1/fd
        "$0" run -d --name box busybox sleep 1000 >/dev/null
        "$0" exec box ls /proc/self/fd /proc/1/fd
        "$0" restart -t 0 box >/dev/null
        "$0" exec box ls /proc/self/fd /proc/1/fd
        for number in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do
            for way in self 1 self/task/1; do
                "$0" run --rm -w /proc/$way/fd/$number/ busybox true && echo "run: $way $number"
                "$0" exec -w /proc/$way/fd/$number/ box true && echo "exec: $way $number"
            done
        done 2>/dev/null
        exit 0
    "#;
    let mut shell = Command::new("sh");
    shell.args(["-c", script, env!("CARGO_BIN_EXE_ebb")]).arg(&ebb.dir).env("EBB_ROOT", ebb.store());
    let answer = common::answer(shell.current_dir(&ebb.dir));
    assert_eq!(answer.code, 0, "{}", answer.shown());
    // ls opens what it lists, which is its own directory where it is the first process.
    let open: Vec<&str> = answer.stdout.lines().filter(|line| !line.is_empty() && !line.ends_with(':')).collect();
    let (both, first) = (["0", "1", "2", "3"], ["0", "1", "2"]);
    let with_exec = [&first[..], &both].concat();
    assert_eq!(open, [&both[..], &both, &with_exec, &with_exec].concat(), "{}", answer.shown());
}

/// A lock or a pipe of a script's is let go of at once: what waits for its end does not wait for the container's.
#[test]
fn no_command_that_starts_a_program_holds_what_its_caller_has_open() {
    let ebb = Ebb::new();
    let bundle = Bundle::new(&["sleep", "1000"]);
    ebb.ok(["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
    bundle.oci();
    let states = bundle.root().to_str().expect("UTF-8").to_owned();
    let script = r#"
        held() {
            mkfifo line
            "$@" >/dev/null 2>&1 9>line &
            timeout 20 cat line && echo let go || echo "held: $*"
            rm line
        }
        held "$0" run --rm --name attached busybox sleep 1000
        held "$0" run -d --name detached busybox sleep 1000
        held "$0" exec box sleep 1000
        held "$0" exec -d box sleep 1000
        cd "$2"
        held "$0" oci --root "$1" create made
        wait %5
        held "$0" oci --root "$1" run runs
        held "$0" oci --root "$1" exec runs sleep 1000
        exit 0"#;
    let mut shell = Command::new("sh");
    shell.args(["-mc", script, env!("CARGO_BIN_EXE_ebb"), &states]).arg(&bundle.dir).env("EBB_ROOT", ebb.store());
    let answer = common::answer(shell.current_dir(&ebb.dir));
    assert_eq!(answer.stdout, "let go\n".repeat(7), "{}", answer.shown());
}

/// What a caller names is read before it is closed.
#[test]
fn what_an_option_names_by_its_descriptor_is_read() {
    let ebb = Ebb::new();
    std::fs::write(ebb.dir.join("environment"), "NAMED=here\n").expect("a file");
    ebb.ok(["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
    for words in ["run --rm --env-file /dev/fd/9 busybox", "exec --env-file /proc/self/fd/9 box"] {
        let script = format!(r#"exec 9<environment; exec "$0" {words} sh -c 'echo $NAMED'"#);
        let mut shell = Command::new("sh");
        shell.args(["-c", &script, env!("CARGO_BIN_EXE_ebb")]).env("EBB_ROOT", ebb.store());
        let answer = common::answer(shell.current_dir(&ebb.dir));
        assert_eq!(answer.stdout, "here\n", "{}", answer.shown());
    }
}

#[test]
fn a_bundle_is_given_the_descriptors_that_it_is_to_have_and_no_directory_by_oversight() {
    let bundle = Bundle::new(&["sh", "-c", "cat <&3; ls /proc/self/fd"]);
    std::fs::write(bundle.dir.join("note"), "passed\n").expect("a file");
    bundle.oci();
    let run = |before: &str, options: &str| {
        let script = format!(r#"{before} "$0" oci --root "$1" run {options} c1"#);
        let mut shell = Command::new("sh");
        shell.args(["-c", &script, env!("CARGO_BIN_EXE_ebb")]).arg(bundle.root());
        common::answer(shell.current_dir(&bundle.dir))
    };
    // `ls` opens one more, to read the directory.
    let passed = run("exec 3<note 4<note 9</;", "--preserve-fds 1");
    assert_eq!(passed.stdout, "passed\n0\n1\n2\n3\n4\n", "{}", passed.shown());
    let listening = run("exec 3<note 9</; export LISTEN_FDS=1;", "");
    assert_eq!(listening.stdout, "passed\n0\n1\n2\n3\n4\n", "{}", listening.shown());
    let anothers = run("exec 3<note 9</; export LISTEN_FDS=1 LISTEN_PID=1;", "");
    assert!(!anothers.stdout.contains("passed"), "{}", anothers.shown());
    let missing = run("exec 3<note;", "--preserve-fds 3");
    assert!(
        missing.code == 1 && missing.stderr.contains("descriptors 3 to 5, and 4 is not open"),
        "{}",
        missing.shown()
    );
    let missing = run("exec 3<note;", "--preserve-fds 4294967295");
    assert!(missing.code == 1 && missing.stderr.contains("4 is not open"), "{}", missing.shown());
    for standard in ["0</", "1</", "2</ 1>/dev/null"] {
        let refused = run(&format!("exec 7>&2; exec {standard};"), "--log said");
        let said = std::fs::read_to_string(bundle.dir.join("said")).unwrap_or_default();
        let _ = std::fs::remove_file(bundle.dir.join("said"));
        assert!(refused.code == 1 && said.contains("is a directory"), "{standard}: {said} {}", refused.shown());
    }
    assert_eq!(bundle.ok(&["list", "-q"]), "");
}

/// Where /proc should be there are FIFOs, at which an open would wait for ever. (Its user namespace is the container's own.)
#[test]
fn nobody_who_comes_in_opens_what_the_container_has_put_in_the_place_of_proc() {
    let ebb = Ebb::new();
    let files = "self/exe self/cgroup self/mountinfo self/status self/stat self/setgroups self/uid_map self/gid_map \
                 self/attr/exec self/attr/current self/oom_score_adj self/loginuid thread-self/attr/exec mounts 1/cgroup \
                 1/stat 1/root sys/kernel/ngroups_max sys/fs/file-max";
    let script = format!(
        "mount -t tmpfs none /proc && cd /proc && for f in {files}; do mkdir -p ${{f%/*}}; mkfifo $f; done && \
         mkdir -p self/fd self/task && mkdir /data && echo up && exec sleep 1000"
    );
    ebb.ok(["run", "-d", "--name", "box", "--privileged", "busybox", "sh", "-c", &script]);
    ebb.await_line("box", "up");
    std::fs::write(ebb.dir.join("note"), "text").expect("a file");
    for (words, shown) in [
        (&["exec", "box", "echo", "inside"][..], "inside"),
        (&["exec", "-t", "box", "echo", "inside"], "inside"),
        (&["exec", "-w", "/data", "-u", "0:0", "box", "pwd"], "/data"),
        (&["cp", "note", "box:/data"], ""),
        (&["cp", "box:/data/note", "back"], ""),
        (&["top", "box"], "sleep 1000"),
        (&["where", "box:/data/note"], "the container's own layer"),
        (&["diff", "box"], "A /data/note"),
        (&["export", "-o", "box.tar", "box"], ""),
        (&["inspect", "-f", "{{.State.Status}}", "box"], "running"),
        (&["exec", "box", "cat", "/data/note"], "text"),
        (&["restart", "-t", "0", "box"], "box"),
    ] {
        let answer = in_time(&ebb, words);
        assert!(answer.code == 0 && answer.stdout.contains(shown), "{}", answer.shown());
    }
    assert_eq!(std::fs::read_to_string(ebb.dir.join("back")).expect("it was copied"), "text");
}

/// `exec -w` while the container makes a directory a link to somewhere else, and back, as fast as it can.
#[test]
fn exec_is_led_out_of_the_container_by_no_directory_that_is_swapped_with_a_link() {
    let ebb = Ebb::new();
    std::fs::write(ebb.dir.join("canary"), "").expect("a file");
    let up = "../".repeat(20);
    let place = ebb.dir.to_str().expect("UTF-8");
    let script = format!(
        "cd /s; echo up; while :; do mkdir d; rmdir d; ln -s /proc/1/root/{up}{place} d; rm d; ln -s {up}{place} d; rm d; done"
    );
    ebb.ok(["run", "-d", "--name", "box", "-v", "vase:/s", "busybox", "sh", "-c", &script]);
    ebb.await_line("box", "up");
    let (mut entered, mut tried) = (0, 0);
    // At least once it must have been a directory.
    while tried < 60 || (entered == 0 && tried < 6000) {
        tried += 1;
        let answer = in_time(&ebb, &["exec", "-w", "/s/d", "box", "sh", "-c", "[ -e canary ] && echo out || echo in"]);
        assert_ne!(answer.stdout, "out\n", "{}", answer.shown());
        entered += usize::from(answer.code == 0);
    }
    assert!(entered > 0, "never was it a directory");
}
