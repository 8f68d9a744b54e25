//! A terminal works as in Docker: its size, its keys, leaving it and coming back.

mod common;

use common::Ebb;
use common::terminal::Terminal;

fn start(ebb: &Ebb, args: &[&str]) -> Terminal {
    let mut command = ebb.command();
    command.args(args);
    Terminal::start(&command)
}

#[test]
fn a_shell_has_the_users_window_and_ends_with_its_own_exit_code() {
    let ebb = Ebb::new();
    let mut terminal = start(&ebb, &["run", "-it", "--rm", "busybox"]);
    terminal.shows("# ");
    terminal.types("tty; stty size; echo $TERM; exit 7\r");
    terminal.shows("/dev/pts/0");
    terminal.shows("33 77");
    terminal.shows("xterm");
    assert_eq!(terminal.ends(), 7);
    assert_eq!(ebb.ok(["ps", "-aq"]), "");
}

#[test]
fn a_change_of_the_windows_size_reaches_the_program() {
    let ebb = Ebb::new();
    let script = "trap 'stty size' WINCH; echo ready; while :; do read -t 1 x; done";
    let mut terminal = start(&ebb, &["run", "-it", "--rm", "--name", "box", "busybox", "sh", "-c", script]);
    terminal.shows("ready");
    terminal.resize(41, 90);
    terminal.shows("41 90");
    ebb.ok(["kill", "box"]);
    assert_eq!(terminal.ends(), 137);
}

#[test]
fn ctrl_c_interrupts_the_foreground_command_and_not_ebb() {
    let ebb = Ebb::new();
    let mut terminal = start(&ebb, &["run", "-it", "--rm", "busybox"]);
    terminal.shows("# ");
    terminal.types("sh -c 'echo sleeps; sleep 1000'\r");
    terminal.shows("\nsleeps");
    terminal.types("\x03");
    terminal.shows("# ");
    terminal.types("echo still-$((40+2)); exit\r");
    terminal.shows("still-42");
    assert_eq!(terminal.ends(), 0);
}

#[test]
fn a_user_can_leave_and_come_back() {
    let ebb = Ebb::new();
    let mut terminal = start(&ebb, &["run", "-it", "--name", "box", "busybox", "sh"]);
    let modes_of_a_shell = start(&ebb, &["version"]).modes();
    terminal.shows("# ");
    terminal.types("word=kept\r");
    terminal.types("\x10\x11");
    assert_eq!(terminal.ends(), 0);
    assert_eq!(terminal.modes(), modes_of_a_shell, "the terminal is as it was");
    assert_eq!(ebb.inspect("box", "{{.State.Running}}"), "true");
    let mut again = start(&ebb, &["attach", "box"]);
    again.types("echo it-was-$word; stty size; exit 3\r");
    again.shows("it-was-kept");
    again.shows("33 77");
    assert_eq!(again.ends(), 3);
    assert_eq!(ebb.inspect("box", "{{.State.ExitCode}}"), "3");
    // What a terminal shows is what the log has: one stream, with the terminal's line ends.
    assert!(ebb.run(["logs", "box"]).stdout.contains("it-was-kept\r\n"));
}

#[test]
fn the_keys_that_leave_can_be_chosen() {
    let ebb = Ebb::new();
    let mut terminal = start(&ebb, &["run", "-it", "--name", "box", "--detach-keys", "ctrl-x,q", "busybox", "sh"]);
    terminal.shows("# ");
    terminal.types("echo a\x10\x11b\r");
    terminal.shows("# ");
    terminal.types("\x18q");
    assert_eq!(terminal.ends(), 0);
    assert_eq!(ebb.inspect("box", "{{.State.Running}}"), "true");
    let said = ebb.fails(125, ["run", "-t", "--detach-keys", "ctrl-nonsense", "busybox"]);
    assert!(said.contains("ctrl-nonsense"), "{said}");
}

#[test]
fn a_container_that_was_started_with_a_terminal_can_be_attached_to_at_its_start() {
    let ebb = Ebb::new();
    ebb.ok(["create", "-it", "--name", "box", "busybox", "sh", "-c", "read word; echo got-$word; exit 5"]);
    let mut terminal = start(&ebb, &["start", "-ai", "box"]);
    terminal.types("hello\r");
    terminal.shows("got-hello");
    assert_eq!(terminal.ends(), 5);
}

#[test]
fn a_terminal_is_asked_for_only_where_there_is_one() {
    let ebb = Ebb::new();
    // Docker refuses `-t` with a stdin that is no terminal, before anything is made.
    let said = ebb.fails(1, ["run", "-it", "--rm", "busybox", "true"]);
    assert!(said.contains("the input device is not a TTY"), "{said}");
    // With `-t` alone it runs: the container has a terminal, whatever the user has.
    assert_eq!(ebb.run(["run", "-t", "--rm", "busybox", "tty"]).stdout, "/dev/pts/0\r\n");
    assert_eq!(ebb.ok(["ps", "-aq"]), "");
}

#[test]
fn megabytes_pass_through_a_terminal_without_a_standstill() {
    let ebb = Ebb::new();
    let script = "stty raw -echo; dd if=/dev/zero bs=64k count=64 2>/dev/null | tr '\\0' x; echo; echo the-end";
    let mut terminal = start(&ebb, &["run", "-it", "--rm", "busybox", "sh", "-c", script]);
    let before = terminal.shows("\nthe-end");
    assert_eq!(before.matches('x').count(), 64 * 65536);
    assert_eq!(terminal.ends(), 0);
}

/// Nobody is left whom the command could serve; Docker's `run` stays there for ever.
#[test]
fn a_window_that_is_closed_ends_the_command_and_not_the_container() {
    let ebb = Ebb::new();
    let mut run = ebb.command();
    // What says nothing more, and has nothing to be told by.
    run.args(["run", "-it", "--name", "quiet", "busybox", "sh", "-c", "echo up; exec sleep 1000"]);
    let mut terminal = Terminal::start(&run);
    terminal.shows("up");
    assert_eq!(terminal.closes(), 129);
    let script = "trap '' HUP; while :; do echo up; sleep 0.1; done";
    ebb.ok(["run", "-dit", "--name", "box", "busybox", "sh", "-c", script]);
    for words in [&["attach", "box"][..], &["exec", "-it", "box", "sh", "-c", script]] {
        let mut command = ebb.command();
        let mut terminal = Terminal::start(command.args(words));
        terminal.shows("up");
        assert_eq!(terminal.closes(), 129, "{words:?}");
    }
    assert_eq!(ebb.ok(["ps", "--format", "{{.Names}}"]), "box\nquiet");
}
