//! A learner at a terminal: what is typed is understood as a shell would, and nobody is thrown out or loses the way.

mod common;

use common::Ebb;
use common::lesson::write;
use common::terminal::Terminal;

/// `ebb lesson NAME` on a terminal of 33 rows and 77 columns.
fn play(ebb: &Ebb, name: &str) -> Terminal {
    let mut command = ebb.command();
    Terminal::start(command.args(["lesson", name]).env("NO_COLOR", "1").env("TERM", "xterm")).plain()
}

fn play_own(ebb: &Ebb, text: &str) -> Terminal {
    play(ebb, write(ebb, text).to_str().expect("UTF-8"))
}

const ONE_STEP: &str = "# T\n```console\n$ echo the lesson speaks\nthe lesson speaks\n```\n";

#[test]
fn a_command_may_be_typed_over_as_many_lines_as_a_shell_asks_for() {
    let ebb = Ebb::empty();
    let mut terminal = play_own(&ebb, ONE_STEP);
    for (lines, answer) in [
        (vec!["for n in 1 2; do", "echo round $n; done"], "round 1\r\nround 2\r\n"),
        (vec!["echo one \\", "two"], "one two\r\n"),
        (vec!["echo 'first", "second'"], "first\r\nsecond\r\n"),
        (vec!["cat > file <<'END'", "a line", "another", "END"], "that was yours"),
        (vec!["cat file; echo $((1 << 4))"], "a line\r\nanother\r\n16\r\n"),
    ] {
        terminal.shows("$ ");
        let last = lines.len() - 1;
        for (index, line) in lines.iter().enumerate() {
            terminal.types(&format!("{line}\n"));
            terminal.shows(&format!("{line}\r\n"));
            if index < last {
                terminal.shows("> ");
            }
        }
        terminal.shows(answer);
    }
    terminal.shows("goes on without it:\r\n  echo the lesson speaks\r\n$ ");
    terminal.types("\n");
    terminal.shows("the lesson speaks\r\n");
    assert_eq!(terminal.ends(), 0);
}

#[test]
fn a_command_of_ones_own_shows_its_exit_code_and_again_puts_back_what_it_changed() {
    let ebb = Ebb::empty();
    let text = "# T\n```console\n$ ebb volume create one\none\n$ ebb volume ls -q\none\n$ echo end\nend\n```\n";
    let mut terminal = play_own(&ebb, text);
    terminal.shows("ebb volume create one\r\n$ ");
    terminal.types("\n");
    terminal.shows("ebb volume ls -q\r\n$ ");
    terminal.types("[ -t 1 ] && [ -t 2 ] && printf half && exit 7\n");
    terminal.shows("half\r\n[exit code 7]\r\nthat was yours; ");
    terminal.shows("$ ");
    terminal.types("ebb volume create two\n");
    terminal.shows("\r\ntwo\r\n");
    assert!(!terminal.shows("`again` first puts back").contains("exit code"), "0 is what one expects");
    terminal.shows("$ ");
    // The lesson's own command now answers otherwise than the lesson says; its cause can be undone.
    terminal.types("\n");
    terminal.shows("here the lesson expected on stdout");
    terminal.shows("go on? ");
    terminal.types("again\n");
    terminal.shows("everything goes back to where this step began");
    terminal.shows("ebb volume ls -q\r\n$ ");
    terminal.types("\n");
    let said = terminal.shows("echo end\r\n$ ");
    assert!(!said.contains("two") && !said.contains("expected"), "{said}");
    terminal.types("skip\n");
    assert_eq!(terminal.ends(), 0);
    assert_eq!(ebb.leftovers(), Vec::<String>::new());
}

#[test]
fn the_same_answer_by_another_spelling_is_the_same_and_not_run_twice() {
    let ebb = Ebb::empty();
    let text = "# T\n```console\n$ ebb volume create --label a=b one\none\n$ echo 'a  b'\na  b\n$ false\n[1]\n```\n";
    let mut terminal = play_own(&ebb, text);
    for (typed, next) in [
        ("ebb volume create one --label=a=b", "echo 'a  b'\r\n$ "),
        ("printf 'a  b\\n'", "false\r\n$ "),
        ("test -e nothing-here", ""),
    ] {
        terminal.types(&format!("{typed}\n"));
        let said = terminal.shows("✓ the same\r\n");
        assert!(!said.contains("yours"), "{said}");
        terminal.shows(next);
    }
    assert_eq!(terminal.ends(), 0);
}

#[test]
fn the_prompt_of_a_task_says_what_can_be_typed_and_a_check_says_in_words_what_it_saw() {
    let ebb = Ebb::new();
    let text = "# T\n<!-- images: busybox -->\n```check\nvolume vase holds flower = \"rose\"\ncontainer box is exited\n\
                $ cat card  # the card is in your directory, and says `dear`\ndear\n\nwhy: w\n```\n\
                ```hint\nh\n```\n```solve\ntrue\n```\n";
    let mut terminal = play_own(&ebb, text);
    let put = "ebb run --rm -v vase:/v busybox sh -c";
    for (typed, wanted, found) in [
        ("true".to_owned(), "volume vase holds flower, and in it \"rose\"", "there is no volume named vase"),
        ("ebb volume create vase".into(), "volume vase holds", "flower is not in it"),
        (format!("{put} 'echo lily > /v/flower'"), "volume vase", "flower is there, but holds \"lily\""),
        (
            format!("{put} 'echo rose > /v/flower'"),
            "container box is exited",
            "there is no container named box: it was never made, or it was\r\n            removed",
        ),
        (
            "ebb create --name box busybox sh -c 'exit 3'".into(),
            "container box is exited",
            "it was made, and never started",
        ),
        (
            "ebb start -a box".into(),
            "the card is in your directory, and says `dear`",
            "card: No such file or directory",
        ),
        ("echo duck > card".into(), "the card", "\"duck\", and not \"dear\""),
    ] {
        terminal.shows("Enter checks · hint · again · skip\r\nyour turn $ ");
        terminal.types(&format!("{typed}\n"));
        terminal.shows("Enter checks · hint · again · skip\r\nyour turn $ ");
        terminal.types("check\n");
        terminal.shows(&format!("✗ not yet\r\n  wanted    {wanted}"));
        let said = terminal.shows(found);
        assert!(said.contains("  found     ") && !said.contains("cat card"), "{said}");
    }
    terminal.shows("your turn $ ");
    terminal.types("echo dear > card\n");
    terminal.shows("✓ w");
    assert_eq!(terminal.ends(), 0);
}

#[test]
fn what_was_typed_is_found_again_by_the_arrows_and_a_line_is_mended_where_it_is_wrong() {
    let ebb = Ebb::empty();
    let mut terminal = play_own(&ebb, ONE_STEP);
    const UP: &str = "\x1b[A";
    for (keys, answer) in [
        ("echo first\n".to_owned(), "first\r\n"),
        ("for n in 1 2; do\n".into(), "> "),
        ("echo round $n; done\n".into(), "round 1\r\nround 2\r\n"),
        // Past both lines of the loop.
        (format!("{UP}{UP}{UP}\n"), "first\r\n"),
        // The loop comes back whole, over both its lines; the one after it is the last that was typed.
        (format!("{UP}{UP}\n"), "round 1\r\nround 2\r\n"),
        // To the line's beginning, two to the right, and a letter; backspace; and Ctrl-R, which looks for it.
        ("eco mended\x01\x1b[C\x1b[Ch\n".into(), "mended\r\n"),
        ("echo wrong\x7f\x7f\x7f\x7f\x7fright\n".into(), "\r\nright\r\n"),
        ("\x12men\n".into(), "mended\r\n"),
        // Nothing runs beside the one who reads.
        ("ls /proc/$PPID/task | wc -l | sed 's/^/tasks: /'\n".into(), "tasks: 1\r\n"),
    ] {
        if !keys.starts_with("echo round") {
            terminal.shows("$ ");
        }
        terminal.types(&keys);
        // What is typed is shown, too: the answer is what stands on a line of its own.
        let wanted = if answer == "> " { answer.to_owned() } else { format!("\n{}", answer.trim_start()) };
        terminal.shows(&wanted);
    }
    terminal.shows("$ ");
    terminal.types("\x04");
    assert_eq!(terminal.ends(), 0, "Ctrl-D leaves");
}

#[test]
fn who_is_killed_at_the_prompt_leaves_the_terminal_as_it_was() {
    let ebb = Ebb::empty();
    let mut terminal = play_own(&ebb, ONE_STEP);
    terminal.shows("$ ");
    terminal.types("quit\n");
    assert_eq!(terminal.ends(), 0);
    let before = terminal.modes();
    let go = ebb.dir.join("go");
    nix::unistd::mkfifo(&go, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    let mut terminal = play_own(&ebb, ONE_STEP);
    terminal.shows("$ ");
    terminal.types(&format!("(read line < {}; kill -TERM $PPID) & echo waiting\n", go.display()));
    terminal.shows("\nwaiting\r\n");
    terminal.shows("without it:\r\n  echo the lesson speaks\r\n$ ");
    assert_ne!(terminal.modes(), before, "while it reads, the keys are its own");
    std::fs::write(&go, "\n").expect("it waits");
    assert_eq!(terminal.ends(), 128 + 15);
    assert_eq!(terminal.modes(), before);
    assert_eq!(ebb.leftovers(), Vec::<String>::new());
}

#[test]
fn what_ends_with_its_line_is_said_to_end() {
    let ebb = Ebb::empty();
    let mut terminal = play_own(&ebb, ONE_STEP);
    for line in ["cd /", "TIDE=low"] {
        terminal.shows("$ ");
        terminal.types(&format!("{line}\n"));
        terminal.shows("every line is run by a shell of its own");
    }
    terminal.shows("$ ");
    terminal.types("cd / && pwd\n");
    let said = terminal.shows("that was yours");
    assert!(said.contains("\r\n/\r\n") && !said.contains("every line"), "{said}");
    terminal.shows("$ ");
    terminal.types("skip\n");
    assert_eq!(terminal.ends(), 0);
}

#[test]
fn ctrl_c_at_the_prompt_gives_up_the_line_and_once_more_leaves_the_lesson() {
    let ebb = Ebb::empty();
    let mut terminal = play_own(&ebb, ONE_STEP);
    terminal.shows("$ ");
    terminal.types("echo never run");
    terminal.shows("never run");
    terminal.types("\x03");
    terminal.shows("Ctrl-C once more, or `quit`, leaves the lesson\r\n$ ");
    terminal.types("echo still here\n");
    let said = terminal.shows("still here\r\nthat was yours");
    assert!(!said.contains("never run"), "{said}");
    terminal.shows("$ ");
    // The first one is answered before the second is pressed: what was said once counts for one question only.
    terminal.types("\x03");
    terminal.shows("leaves the lesson\r\n$ ");
    terminal.types("\x03");
    assert_eq!(terminal.ends(), 0);
    assert_eq!(ebb.leftovers(), Vec::<String>::new());
}

#[test]
fn a_lesson_that_was_left_goes_on_where_it_was_left() {
    let ebb = Ebb::new();
    let mut terminal = play(&ebb, "2");
    terminal.shows("$ ");
    terminal.types("\n");
    terminal.shows("$ ");
    terminal.shows("/note.txt'\r\n$ ");
    terminal.types("quit\n");
    terminal.shows("`ebb lesson 2` goes on here");
    assert_eq!(terminal.ends(), 0);
    assert_eq!(ebb.leftovers(), Vec::<String>::new());
    assert!(ebb.ok(["lesson"]).contains("   begun\n"), "{}", ebb.ok(["lesson"]));

    let mut terminal = play(&ebb, "2");
    terminal.shows("You have left this lesson at Write something.");
    terminal.types("\n");
    // The container was started unseen, so that the command which was next finds it; what led up to that is read again.
    terminal.shows("\r\nebb run -d --name writer busybox sleep 1000\r\n\r\n  ebb exec writer");
    terminal.shows("$ ");
    terminal.types("\n");
    terminal.shows("cat /note.txt\r\n$ ");
    terminal.types("\n");
    terminal.shows("\r\nbuy bread\r\n");
    terminal.shows("$ ");
    terminal.types("quit\n");
    assert_eq!(terminal.ends(), 0);

    let mut terminal = play(&ebb, "2");
    terminal.shows("go on? ");
    terminal.types("reset\n");
    terminal.shows("ebb run -d --name writer busybox sleep 1000\r\n$ ");
    terminal.types("quit\n");
    terminal.shows("`ebb lesson 2` begins again");
    assert_eq!(terminal.ends(), 0);
    assert!(!ebb.ok(["lesson"]).contains("begun"), "{}", ebb.ok(["lesson"]));
}

#[test]
fn who_skips_what_a_task_builds_on_is_not_thrown_out() {
    let ebb = Ebb::empty();
    let text = "# T\n```console\n$ ebb volume create one\none\n```\n```setup\nebb volume rename one broken\n```\n\
                ```check\nvolume broken is gone\nwhy: it was mended\n```\n```hint\nh\n```\n\
                ```solve\nebb volume rm broken\n```\n";
    let mut terminal = play_own(&ebb, text);
    terminal.shows("$ ");
    terminal.types("skip\n");
    terminal.shows("so that is played now, unseen");
    terminal.shows("your turn $ ");
    terminal.types("ebb volume rm broken\n");
    terminal.shows("it was mended");
    assert_eq!(terminal.ends(), 0);
    assert_eq!(ebb.leftovers(), Vec::<String>::new());
}

#[test]
fn again_takes_back_what_the_learner_has_given_away() {
    let ebb = Ebb::new();
    let text = "# T\n<!-- images: busybox -->\n```setup\nmkdir desk .hidden && echo dear > desk/book\n```\n\
                ```check\n$ cat desk/book\nmended\n\nwhy: it was mended\n```\n```hint\nh\n```\n\
                ```solve\necho mended > desk/book\n```\n";
    let mut terminal = play_own(&ebb, text);
    terminal.shows("your turn $ ");
    // Without root, the directory and the book in it now belong to a subordinate id.
    terminal.types("ebb run --rm -u 33 -v $PWD/desk:/desk:U busybox touch /desk/by-33\n");
    terminal.shows("your turn $ ");
    terminal.types("again\n");
    terminal.shows("where this task began");
    terminal.shows("your turn $ ");
    terminal.types("ls -A1 . desk; echo mended > desk/book\n");
    terminal.shows(".hidden\r\n");
    let listed = terminal.shows("it was mended");
    assert!(!listed.contains("by-33"), "{listed}");
    assert_eq!(terminal.ends(), 0);
    assert_eq!(ebb.leftovers(), Vec::<String>::new());
}

#[test]
fn a_text_that_is_longer_than_the_screen_waits_for_enter() {
    let ebb = Ebb::empty();
    let lines: String = (1..=40).map(|n| format!("- entry {n}.\n")).collect();
    let mut terminal = play_own(&ebb, &format!("# T\n{lines}{}", ONE_STEP.trim_start_matches("# T\n")));
    let page = terminal.shows("-- Enter -- ");
    assert!(page.lines().count() < 33 && page.contains("entry 20.") && !page.contains("entry 40."), "{page}");
    terminal.types("\n");
    terminal.shows("entry 40.");
    terminal.shows("$ ");
    terminal.types("\n");
    terminal.shows("the lesson speaks\r\n");
    assert_eq!(terminal.ends(), 0);
}

#[test]
fn a_state_that_is_not_reached_is_told_with_what_was_expected_what_was_found_and_why() {
    let ebb = Ebb::empty();
    let why = "a reason which is so long that no terminal of seventy-seven columns has room for all of it in one line";
    let text = format!(
        "# T\n```check\nvolume vase exists\nwhy: {why}\n```\n```hint\nh\n```\n```solve\nebb volume create vase\n```\n"
    );
    let mut terminal = play_own(&ebb, &text);
    terminal.shows("your turn $ ");
    terminal.types("\n");
    terminal.shows("✗ not yet\r\n  wanted    volume vase exists\r\n  found     there is no volume named vase\r\n");
    terminal.shows("  why       a reason which is so long that no terminal of seventy-seven\r\n");
    terminal.shows("            columns has room for all of it in one line\r\n");
    terminal.shows("your turn $ ");
    terminal.types("ebb volume create vase\n");
    terminal.shows("✓ a reason");
    assert_eq!(terminal.ends(), 0);
}
