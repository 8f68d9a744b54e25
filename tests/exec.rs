//! exec: one more process in a running container, with the container's environment, limits and end.

mod common;

use common::Ebb;
use common::terminal::Terminal;
use std::io::Read;

/// A store with a container `box` that runs until it is told otherwise.
fn running(options: &[&str]) -> Ebb {
    let ebb = Ebb::new();
    let mut args = vec!["run", "-d", "--name", "box"];
    args.extend(options);
    args.extend(["busybox", "sleep", "1000"]);
    ebb.ok(args);
    ebb
}

#[test]
fn its_output_and_exit_code_are_the_commands() {
    let ebb = running(&[]);
    let answer = ebb.run(["exec", "box", "sh", "-c", "echo out; echo err >&2; exit 5"]);
    assert_eq!(
        (answer.code, answer.stdout.as_str(), answer.stderr.as_str()),
        (5, "out\n", "err\n"),
        "{}",
        answer.shown()
    );
    assert_eq!(ebb.run(["exec", "box", "sh", "-c", "kill -9 $$"]).code, 137);
    // After the container's name everything belongs to the command.
    assert_eq!(ebb.ok(["exec", "box", "echo", "-i", "--privileged"]), "-i --privileged");
}

#[test]
fn what_cannot_be_executed_is_126_and_what_is_not_there_127() {
    let ebb = running(&[]);
    let missing = ebb.fails(127, ["exec", "box", "nosuch"]);
    assert!(missing.contains("exec: \"nosuch\": executable file not found in $PATH"), "{missing}");
    let directory = ebb.fails(126, ["exec", "box", "/tmp"]);
    assert!(directory.contains("permission denied"), "{directory}");
    ebb.ok(["exec", "box", "sh", "-c", "echo > /plain"]);
    ebb.fails(126, ["exec", "box", "/plain"]);
}

#[test]
fn stdin_is_empty_unless_it_is_asked_for() {
    let ebb = running(&[]);
    assert_eq!(ebb.run_with(b"typed\n", ["exec", "box", "cat"]).stdout, "");
    assert_eq!(ebb.run_with(b"typed\n", ["exec", "-i", "box", "cat"]).stdout, "typed\n");
    let much = vec![b'x'; 3 << 20];
    assert_eq!(ebb.run_with(&much, ["exec", "-i", "box", "cat"]).stdout.len(), much.len());
    // One that never reads does not keep us.
    assert_eq!(ebb.run_with(&much, ["exec", "-i", "box", "echo", "done"]).stdout, "done\n");
}

#[test]
fn its_environment_is_the_containers_and_what_is_laid_over_it() {
    let ebb = running(&["-e", "FROM=container", "-e", "BOTH=container"]);
    std::fs::write(ebb.dir.join("env"), "# a comment\nFILED=file\nBOTH=file\n").expect("a file");
    let show = ["box", "sh", "-c", "echo $FROM $BOTH $FILED $HOME $HOSTNAME"];
    let shown = ebb.ok([&["exec", "--env-file", "env", "-e", "BOTH=exec"], &show[..]].concat());
    assert!(shown.starts_with("container exec file /root "), "{shown}");
    assert_eq!(shown.split(' ').next_back(), ebb.inspect("box", "{{.Id}}").get(..12));
    assert_eq!(ebb.ok(["exec", "-w", "/tmp", "box", "pwd"]), "/tmp");
    let relative = ebb.fails(1, ["exec", "-w", "tmp", "box", "pwd"]);
    assert!(relative.contains("needs to be an absolute path"), "{relative}");
}

#[test]
fn a_user_is_looked_up_in_the_container() {
    let ebb = running(&[]);
    let files = "echo web:x:101:102::/srv:/bin/sh >> /etc/passwd; echo web:x:102: >> /etc/group; \
                 echo more:x:103:web >> /etc/group";
    ebb.ok(["exec", "box", "sh", "-c", files]);
    let nobody = ebb.fails(126, ["exec", "-u", "nosuch", "box", "true"]);
    assert!(nobody.contains("unable to find user nosuch: no matching entries in passwd file"), "{nobody}");
    let answer = ebb.run(["exec", "-u", "web", "box", "sh", "-c", "id -u; id -g; id -G; echo $HOME"]);
    if answer.code != 0 {
        // With one id only there is nobody to become.
        assert!(!common::is_root(), "{}", answer.shown());
        return;
    }
    assert_eq!(answer.stdout.lines().last(), Some("/srv"), "{}", answer.shown());
    if common::is_root() {
        assert_eq!(answer.stdout, "101\n102\n102 103\n/srv\n");
        assert_eq!(ebb.ok(["exec", "-u", "7:9", "box", "sh", "-c", "id -u; id -g; id -G"]), "7\n9\n9");
    }
}

#[test]
fn a_container_that_does_not_run_is_refused() {
    let ebb = running(&[]);
    ebb.ok(["kill", "box"]);
    let id = ebb.inspect("box", "{{.Id}}");
    assert_eq!(ebb.fails(1, ["exec", "box", "true"]), format!("ebb: container {id} is not running\n"));
    assert_eq!(ebb.fails(1, ["exec", "nope", "true"]), "ebb: No such container: nope\n");
}

#[test]
fn a_terminal_is_refused_where_there_is_none() {
    let ebb = running(&[]);
    assert_eq!(ebb.fails(1, ["exec", "-it", "box", "true"]), "ebb: the input device is not a TTY\n");
    assert_eq!(ebb.ok(["exec", "-t", "box", "sh", "-c", "test -t 1 && echo yes"]).trim_end(), "yes");
}

#[test]
fn a_detached_one_goes_on_and_dies_with_the_container() {
    let ebb = running(&[]);
    let script = "echo $$ > /pid; mkfifo /go; echo ready > /go; exec sleep 2000";
    assert_eq!(ebb.ok(["exec", "-d", "box", "sh", "-c", script]), "");
    // The FIFO gives its line when the detached process is there.
    assert_eq!(ebb.ok(["exec", "box", "sh", "-c", "until test -p /go; do :; done; cat /go"]), "ready");
    let top = ebb.ok(["top", "box"]);
    let row = top.lines().find(|line| line.ends_with("sleep 2000")).unwrap_or_else(|| panic!("{top}"));
    let pid = row.split_whitespace().nth(1).expect("a pid").to_owned();
    let mut attached = ebb.spawn(["exec", "box", "sh", "-c", "echo up; exec sleep 3000"]);
    read_until(attached.stdout.as_mut().expect("a pipe"), "up");
    ebb.ok(["kill", "box"]);
    assert_eq!(common::exit_code(attached.wait_with_output().expect("exec ends").status), 137);
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    assert!(!command.starts_with(b"sleep\x002000"), "pid {pid} lives on");
}

#[test]
fn only_three_descriptors_are_open_in_it() {
    let ebb = running(&[]);
    // ls itself opens the directory that it lists.
    assert_eq!(ebb.ok(["exec", "box", "ls", "/proc/self/fd"]), "0\n1\n2\n3");
}

#[test]
fn it_gets_no_more_than_the_container_unless_privileged() {
    let ebb = running(&["--cap-drop", "ALL"]);
    let capabilities = |answer: String| answer.split_whitespace().last().map(str::to_owned).unwrap_or_default();
    let show = ["box", "grep", "CapEff", "/proc/self/status"];
    let mine = capabilities(ebb.ok([&["exec"], &show[..]].concat()));
    assert_eq!(mine, "0000000000000000");
    let inherited = capabilities(ebb.ok(["exec", "box", "grep", "CapInh", "/proc/self/status"]));
    assert_eq!(inherited, "0000000000000000");
    assert_eq!(ebb.ok(["exec", "box", "grep", "NoNewPrivs", "/proc/self/status"]), "NoNewPrivs:\t1");
    let lifted = capabilities(ebb.ok([&["exec", "--privileged"], &show[..]].concat()));
    assert_ne!(lifted, mine);
}

#[test]
fn a_background_child_that_keeps_the_output_open_does_not_keep_exec() {
    let ebb = running(&[]);
    assert_eq!(ebb.ok(["exec", "box", "sh", "-c", "sleep 1000 & echo done"]), "done");
}

#[test]
fn a_terminal_works_both_ways_with_its_size_and_is_put_right_after() {
    let ebb = running(&[]);
    let mut exec = ebb.command();
    exec.args(["exec", "-it", "box", "sh", "-c", "stty size; read word; echo got:$word; exit 4"]);
    let mut terminal = Terminal::start(&exec);
    let before = terminal.modes();
    terminal.shows("33 77");
    assert_ne!(terminal.modes(), before, "raw while the container has it");
    terminal.types("hello\r");
    terminal.shows("got:hello");
    assert_eq!(terminal.ends(), 4);
    assert_eq!(terminal.modes(), before);
}

#[test]
fn ctrl_c_goes_to_the_process_and_the_detach_keys_leave_it_running() {
    let ebb = running(&[]);
    let script = "trap 'echo interrupted' INT; echo ready; while :; do read x; done";
    let mut exec = ebb.command();
    exec.args(["exec", "-it", "box", "sh", "-c", script]);
    let mut terminal = Terminal::start(&exec);
    terminal.shows("ready");
    terminal.types("\x03");
    terminal.shows("interrupted");
    terminal.types("\x10\x11");
    terminal.shows("read escape sequence");
    assert_eq!(terminal.ends(), 0);
    assert!(ebb.ok(["top", "box"]).contains("echo interrupted"));
}

/// Reads until `wanted` has come.
fn read_until(from: &mut impl Read, wanted: &str) {
    let mut text = String::new();
    let mut buffer = [0u8; 1024];
    while !text.contains(wanted) {
        let length = from.read(&mut buffer).unwrap_or(0);
        assert!(length > 0, "ended without {wanted:?}: {text:?}");
        text.push_str(&String::from_utf8_lossy(&buffer[..length]));
    }
}

#[test]
fn a_client_that_is_suspended_does_not_hold_up_the_containers_end() {
    let ebb = running(&[]);
    let mut client = ebb.spawn(["exec", "-i", "box", "sh", "-c", "echo up; exec sleep 3000"]);
    read_until(client.stdout.as_mut().expect("a pipe"), "up");
    let signal = |name: nix::sys::signal::Signal| {
        let pid = nix::unistd::Pid::from_raw(client.id() as i32);
        nix::sys::signal::kill(pid, name).expect("a signal is sent");
    };
    signal(nix::sys::signal::Signal::SIGSTOP);
    ebb.ok(["kill", "box"]);
    signal(nix::sys::signal::Signal::SIGCONT);
    assert_eq!(common::exit_code(client.wait_with_output().expect("exec ends").status), 137);
}

#[test]
fn its_working_directory_is_never_one_of_the_hosts() {
    let ebb = running(&[]);
    for number in 0..20 {
        let path = format!("/proc/self/fd/{number}");
        assert_ne!(ebb.run(["exec", "-w", &path, "box", "true"]).code, 0, "{path}");
    }
}
