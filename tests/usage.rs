//! The command line's own answers: usage, help and errors, in Docker's words and with its exit codes.

mod common;

use common::terminal::Terminal;
use common::{Ebb, answer};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

/// Runs `ebb ARGS` and compares all three answers.
fn says(args: &[&str], code: i32, stdout: &str, stderr: &str) {
    let answer = Ebb::empty().run(args);
    assert_eq!(
        (answer.code, answer.stdout.as_str(), answer.stderr.as_str()),
        (code, stdout, stderr),
        "{}",
        answer.shown()
    );
}

#[test]
fn an_unknown_flag_is_named_with_the_usage() {
    let usage = "\n\nUsage:  ebb rm [OPTIONS] CONTAINER [CONTAINER...]\n\nRun 'ebb rm --help' for more information\n";
    says(&["rm", "--bogus", "x"], 125, "", &format!("unknown flag: --bogus{usage}"));
    says(&["rm", "--bogus=1", "x"], 125, "", &format!("unknown flag: --bogus{usage}"));
    says(&["rm", "-x", "y"], 125, "", &format!("unknown shorthand flag: 'x' in -x{usage}"));
    says(&["rm", "-fx", "y"], 125, "", &format!("unknown shorthand flag: 'x' in -fx{usage}"));
    let usage = "\n\nUsage:  ebb [OPTIONS] COMMAND [ARG...]\n\nRun 'ebb --help' for more information\n";
    says(&["--bogus"], 125, "", &format!("unknown flag: --bogus{usage}"));
    says(&["--root"], 125, "", &format!("flag needs an argument: --root{usage}"));
}

#[test]
fn a_flag_without_its_argument_or_with_a_wrong_one_is_named() {
    let usage = "\n\nUsage:  ebb ps [OPTIONS]\n\nRun 'ebb ps --help' for more information\n";
    says(&["ps", "--format"], 125, "", &format!("flag needs an argument: --format{usage}"));
    says(&["ps", "-an"], 125, "", &format!("flag needs an argument: 'n' in -an{usage}"));
    let answer = Ebb::empty().run(["ps", "-n", "x"]);
    assert_eq!(answer.code, 125, "{}", answer.shown());
    assert!(answer.stderr.starts_with("invalid argument \"x\" for \"-n, --last\" flag: "), "{}", answer.shown());
}

#[test]
fn too_few_and_too_many_arguments_are_counted() {
    let rest = |path: &str, usage: &str| {
        format!("\n\nUsage:  ebb {path}{usage}\n\nSee 'ebb {path} --help' for more information\n")
    };
    let usage = rest("rm", " [OPTIONS] CONTAINER [CONTAINER...]");
    says(&["rm"], 1, "", &format!("ebb: 'ebb rm' requires at least 1 argument{usage}"));
    let usage = rest("volume rm", " [OPTIONS] VOLUME [VOLUME...]");
    says(&["volume", "rm"], 1, "", &format!("ebb: 'ebb volume rm' requires at least 1 argument{usage}"));
    says(&["ps", "x"], 1, "", &format!("ebb: 'ebb ps' accepts no arguments{}", rest("ps", " [OPTIONS]")));
    let usage = rest("logs", " [OPTIONS] CONTAINER");
    says(&["logs"], 1, "", &format!("ebb: 'ebb logs' requires 1 argument{usage}"));
    says(&["logs", "a", "b"], 1, "", &format!("ebb: 'ebb logs' requires 1 argument{usage}"));
}

#[test]
fn an_unknown_command_is_named_with_the_one_that_was_meant() {
    let rest = "\n\nRun 'ebb --help' for more information\n";
    says(&["vollume"], 1, "", &format!("ebb: unknown command: ebb vollume\n\nDid you mean 'ebb volume'?{rest}"));
    says(&["something"], 1, "", &format!("ebb: unknown command: ebb something{rest}"));
    let rest = "\n\nRun 'ebb volume --help' for more information\n";
    says(
        &["volume", "isnpect"],
        1,
        "",
        &format!("ebb: unknown command: ebb volume isnpect\n\nDid you mean 'ebb volume inspect'?{rest}"),
    );
}

#[test]
fn what_docker_has_and_ebb_has_not_is_refused_with_what_does_its_work() {
    for (command, instead) in [
        (&["build", "."][..], "`ebb import`"),
        (&["commit", "box", "image"], "`ebb export CONTAINER | ebb import - IMAGE`"),
        (&["push", "image"], "`ebb save`"),
        (&["network", "ls"], "`--network host`"),
        (&["compose", "up"], "`ebb volume create`"),
    ] {
        let ebb = Ebb::empty();
        let said = ebb.fails(1, command);
        assert!(said.contains(&format!("ebb: ebb {} is not here yet\n  ", command[0])), "{said}");
        assert!(said.contains(instead) && !said.contains("Did you mean"), "{said}");
    }
}

#[test]
fn help_on_a_terminal_breaks_no_word() {
    let ebb = Ebb::empty();
    for family in [&["--help"][..], &["volume", "--help"]] {
        let whole = ebb.ok(family);
        let mut terminal = Terminal::start(ebb.command().args(family));
        // The last words of either: after them there is nothing more to be shown.
        let shown = terminal.shows("for more information on a command.");
        assert_eq!(terminal.ends(), 0);
        assert!(whole.lines().any(|line| line.chars().count() > 77), "there is something to break: {whole}");
        assert!(shown.lines().all(|line| line.chars().count() <= 77), "{shown}");
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let end = words("for more information on a command.");
        assert_eq!([words(&shown), end].concat(), words(&whole));
    }
}

#[test]
fn a_family_alone_shows_its_commands_on_stderr_and_succeeds() {
    let ebb = Ebb::empty();
    for family in ["container", "image", "volume", "system"] {
        let alone = ebb.run([family]);
        assert_eq!((alone.code, alone.stdout.as_str()), (0, ""), "{}", alone.shown());
        assert!(alone.stderr.starts_with(&format!("Usage:  ebb {family} COMMAND\n\nManage ")), "{}", alone.shown());
        assert!(alone.stderr.contains("\nCommands:\n  "), "{}", alone.shown());
        let asked = ebb.run([family, "--help"]);
        assert_eq!((asked.code, asked.stdout, asked.stderr.as_str()), (0, alone.stderr, ""));
    }
}

#[test]
fn ebb_alone_and_its_help_name_every_group_with_examples() {
    let ebb = Ebb::empty();
    let alone = ebb.run::<&str>([]);
    assert_eq!((alone.code, alone.stdout.as_str()), (0, ""), "{}", alone.shown());
    let help = ebb.ok(["--help"]);
    assert_eq!(alone.stderr.trim_end(), help);
    for title in ["Lessons:", "Containers:", "Images:", "Volumes:", "Options:", "Examples:"] {
        assert!(help.lines().any(|line| line == title), "{title}\n{help}");
    }
    assert!(help.lines().all(|line| line.chars().count() <= 120), "one line a command\n{help}");
    assert_eq!(ebb.ok(["help"]), help);
    assert_eq!(ebb.ok(["help", "rm"]), ebb.ok(["rm", "--help"]));
}

#[test]
fn the_version_is_told_in_one_line() {
    let line = format!("ebb version {}\n", env!("CARGO_PKG_VERSION"));
    says(&["--version"], 0, &line, "");
    says(&["-v"], 0, &line, "");
}

/// Every command that `--help` and the families' help list.
fn commands(ebb: &Ebb) -> Vec<String> {
    let listed = |text: &str, under: &[&str]| -> Vec<String> {
        let mut inside = false;
        let mut found = Vec::new();
        for line in text.lines() {
            if !line.starts_with(' ') {
                inside = under.contains(&line);
            } else if inside {
                let name = line.trim().split("  ").next().unwrap_or_default();
                found.push(if under.len() > 1 {
                    name.to_owned()
                } else {
                    name.split(' ').next().unwrap_or_default().to_owned()
                });
            }
        }
        found
    };
    let mut all = listed(&ebb.ok(["--help"]), &["Lessons:", "Containers:", "Images:", "Ebb itself:"]);
    for family in ["container", "image", "volume", "system"] {
        all.extend(listed(&ebb.ok([family, "--help"]), &["Commands:"]).iter().map(|name| format!("{family} {name}")));
    }
    let first_words =
        |name: String| name.split(' ').take(2).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    all.into_iter().map(first_words).collect()
}

#[test]
fn the_help_of_every_command_has_its_usage_and_examples() {
    let ebb = Ebb::empty();
    let commands = commands(&ebb);
    assert!(commands.len() > 40, "{commands:?}");
    let mut lacking = Vec::new();
    for command in commands {
        let help = ebb.ok(command.split(' ').chain(["--help"]));
        assert!(help.starts_with(&format!("Usage:  ebb {command}")), "{command}\n{help}");
        if help.contains("TO BE WRITTEN") || !help.contains("Examples:\n") {
            lacking.push(command);
        }
    }
    assert!(lacking.is_empty(), "no examples in the help of {lacking:?}");
}

#[test]
fn a_switch_may_be_given_as_true_or_false_and_a_flag_twice() {
    let ebb = Ebb::empty();
    assert_eq!(ebb.ok(["ps", "-a=true", "--quiet=true", "--no-trunc=false"]), "");
    assert_eq!(ebb.ok(["ps", "--format", "x", "--format", "json", "-a", "-a"]), "");
    assert_eq!(ebb.ok(["ps", "--quiet=false"]).lines().count(), 1);
}

#[test]
fn a_reader_that_goes_away_ends_a_command_quietly() {
    let ebb = Ebb::empty();
    for args in [&["--help"][..], &["ps"], &["info"], &["completions", "bash"], &["man"], &["inspect", "nope"]] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = ebb.command();
        let output = command.args(args).stdout(writer).stderr(std::process::Stdio::piped()).output().expect("it runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!stderr.contains("panic") && !stderr.contains("roken pipe"), "{args:?} {stderr}");
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let status =
            ebb.command().args(args).arg("--bogus").stdout(std::process::Stdio::null()).stderr(writer).status();
        let code = common::exit_code(status.expect("it runs"));
        assert!(code == 125 || code == 0 || code == 1, "{args:?} {code}");
    }
}

#[test]
fn words_that_are_not_utf_8_are_refused_and_never_a_panic() {
    let ebb = Ebb::empty();
    let bad = OsString::from_vec(vec![b'a', 0xff, b'b']);
    let flag = OsString::from_vec(b"--filter=\xff".to_vec());
    let root = OsString::from_vec([ebb.dir.as_os_str().as_encoded_bytes(), b"/st\xffre"].concat());
    for args in [
        vec![bad.clone()],
        vec!["volume".into(), bad.clone()],
        vec!["rm".into(), bad.clone()],
        vec!["ps".into(), flag],
        vec!["help".into(), bad.clone()],
        vec!["inspect".into(), "-f".into(), bad.clone(), "x".into()],
        vec!["--root".into(), root, "ps".into()],
    ] {
        let mut command = ebb.command();
        let answer = answer(command.args(&args));
        assert!(answer.code == 125 || answer.code == 1 || answer.code == 0, "{}", answer.shown());
        assert!(!answer.stderr.contains("panicked"), "{}", answer.shown());
    }
}

#[test]
fn completions_and_man_pages_come_from_the_same_definitions() {
    let ebb = Ebb::empty();
    for shell in ["bash", "zsh", "fish"] {
        let script = ebb.ok(["completions", shell]);
        for word in ["volume", "inspect", "no-trunc"] {
            assert!(script.contains(word), "{shell} lacks {word}");
        }
    }
    assert!(ebb.fails(125, ["completions", "tcsh"]).contains("must be one of bash, zsh, fish"));
    assert!(ebb.ok(["man"]).contains(".TH EBB 1"));
    let dir = ebb.dir.join("man");
    ebb.ok(["man", dir.to_str().expect("UTF-8")]);
    let page = std::fs::read_to_string(dir.join("ebb-volume-rm.1")).expect("a page");
    assert!(page.contains(r"ebb\-volume\-rm"), "{page}");
    assert!(dir.join("ebb.1").exists() && dir.join("ebb-ps.1").exists());
}

#[test]
fn a_failing_run_says_where_to_read_on() {
    let ebb = Ebb::new();
    let rest = "\n\nRun 'ebb run --help' for more information\n";
    let error = ebb.fails(125, ["run", "nosuchimage:1", "true"]);
    assert!(
        error.starts_with("Unable to find image 'nosuchimage:1' locally\nebb: ") && error.ends_with(rest),
        "{error}"
    );
    let error = ebb.fails(127, ["run", "--rm", "busybox", "nosuch"]);
    assert!(error.contains("exec: \"nosuch\": executable file not found in $PATH") && error.ends_with(rest), "{error}");
    let error = ebb.fails(125, ["run", "--restart", "always", "--rm", "busybox", "true"]);
    assert_eq!(error, format!("ebb: conflicting options: cannot specify both --restart and --rm{rest}"));
    assert_eq!(ebb.fails(1, ["run", "-it", "busybox", "true"]), "ebb: the input device is not a TTY\n");
    assert_eq!(ebb.ok(["ps", "-aq"]), "", "what was refused left nothing behind");
}

#[test]
fn what_stands_after_the_image_belongs_to_the_command() {
    let ebb = Ebb::new();
    let echo = ["run", "--rm=true", "--init=false", "busybox", "echo", "--rm=true", "-d", "--", "--help"];
    assert_eq!(ebb.ok(echo), "--rm=true -d -- --help");
    assert_eq!(ebb.ok(["ps", "-aq"]), "");
}
