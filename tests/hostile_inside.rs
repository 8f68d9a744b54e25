//! A container that turns its own /proc, directories and links against whoever comes in, and a caller with open files.

mod common;

use common::Ebb;
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
    let mut entered = 0;
    for _ in 0..60 {
        let answer = in_time(&ebb, &["exec", "-w", "/s/d", "box", "sh", "-c", "[ -e canary ] && echo out || echo in"]);
        assert_ne!(answer.stdout, "out\n", "{}", answer.shown());
        entered += usize::from(answer.code == 0);
    }
    assert!(entered > 0, "at least once it was a directory");
}
