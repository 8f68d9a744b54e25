//! What a Docker user's fingers type, and what Docker 20.10 answered to it beside Ebb.

mod common;

use common::layers::{image, image_changed};
use common::terminal::Terminal;
use common::{Ebb, has_one_id};
use std::os::unix::fs::PermissionsExt;

/// The refusals of a command line, or of what it means: the exit code and the first line.
#[test]
fn words_that_mean_nothing_are_refused_in_dockers_words() {
    let ebb = Ebb::new();
    ebb.ok(["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
    let environment =
        |word: &str| format!("invalid argument {word:?} for \"-e, --env\" flag: invalid environment variable: {word}");
    for word in ["", "=x"] {
        for words in [&["run", "--rm", "-e", word, "busybox", "true"][..], &["exec", "-e", word, "box", "true"]] {
            assert_eq!(ebb.fails(125, words).lines().next(), Some(environment(word).as_str()));
        }
    }
    std::fs::write(ebb.dir.join("vars"), "GOOD=1\n=x\n").expect("written");
    let said = ebb.fails(125, ["run", "--rm", "--env-file", "vars", "busybox", "true"]);
    assert!(said.starts_with("ebb: no variable name on line '=x'\n"), "{said}");
    let ulimit = "invalid argument \"foo=1\" for \"--ulimit\" flag: invalid ulimit type: foo";
    for (words, wanted) in [
        (&["--ulimit", "foo=1"][..], ulimit),
        (&["--cap-add", "FOO"], "ebb: invalid CapAdd: unknown capability: \"CAP_FOO\""),
        (&["--cap-drop", "cap_foo"], "ebb: invalid CapDrop: unknown capability: \"CAP_FOO\""),
        (&["-v", ""], "ebb: invalid empty volume spec"),
        (&["-v", ":/y"], "ebb: invalid spec: :/y: empty section between colons"),
        (&["-v", "vv:"], "ebb: invalid spec: vv:: empty section between colons"),
        (&["-v", "m1::/a"], "ebb: invalid spec: m1::/a: empty section between colons"),
        (
            &["--mount", "foo"],
            "invalid argument \"foo\" for \"--mount\" flag: invalid field 'foo' must be a key=value pair",
        ),
        (&["--shm-size", "-1"], "invalid argument \"-1\" for \"--shm-size\" flag: invalid size: '-1'"),
        (&["--shm-size=x"], "invalid argument \"x\" for \"--shm-size\" flag: invalid size: 'x'"),
        (&["--dns", "x"], "invalid argument \"x\" for \"--dns\" flag: IP address is not correctly formatted: x"),
        (&["-l", "=x"], "invalid argument \"=x\" for \"-l, --label\" flag: invalid label '=x': empty name"),
        (&["-l", "a b=x"], "invalid argument \"a b=x\" for \"-l, --label\" flag: label 'a b' contains whitespaces"),
        (
            &["--expose", "99999"],
            "ebb: invalid range format for --expose: 99999, error: strconv.ParseUint: parsing \"99999\": value out of range",
        ),
        (
            &["--expose", "NaN/tcp"],
            "ebb: invalid range format for --expose: NaN/tcp, error: strconv.ParseUint: parsing \"NaN\": invalid syntax",
        ),
        (
            &["--expose", "9-8"],
            "ebb: invalid range format for --expose: 9-8, error: invalid range specified for port: 9-8",
        ),
        (&["--expose", "80:80"], "ebb: invalid port format for --expose: 80:80"),
    ] {
        let said = ebb.fails(125, [&["create"], words, &["busybox", "true"]].concat());
        assert_eq!(said.lines().next(), Some(wanted));
    }
    ebb.ok(["create", "--name", "ports", "--expose", "80-82/udp", "--expose", "7", "--dns", "::1", "busybox"]);
    assert_eq!(
        ebb.inspect("ports", "{{json .Config.ExposedPorts}} {{.HostConfig.Dns}}"),
        r#"{"7/tcp":{},"80/udp":{},"81/udp":{},"82/udp":{}} [::1]"#
    );
    ebb.ok(["rm", "ports"]);
    let said = ebb.fails(125, ["volume", "create", "--label", "=x", "vol"]);
    assert!(said.starts_with("invalid argument \"=x\" for \"--label\" flag: invalid label '=x': empty name"), "{said}");
    assert_eq!(ebb.ok(["ps", "-a", "--format", "{{.Names}}"]), "box", "and nothing was made");
    assert!(ebb.ok(["volume", "ls", "-q"]).is_empty());
}

/// `rm -f "$UNSET"` is a mistake, not something that is gone already.
/// What an image says may be no signal; what a person types must be one.
#[test]
fn a_container_whose_image_names_no_signal_is_stopped_by_term() {
    let ebb = Ebb::new();
    image_changed(&ebb, "odd", &[], |config| config["StopSignal"] = "SIGNONSENSE".into());
    let program = "trap 'exit 7' TERM; echo ready; while :; do read -t 1 x; done";
    ebb.ok(["run", "-d", "-i", "--name", "box", "odd", "sh", "-c", program]);
    ebb.await_line("box", "ready");
    ebb.ok(["stop", "box"]);
    assert_eq!(ebb.inspect("box", "{{.State.ExitCode}} {{.Config.StopSignal}}"), "7 SIGNONSENSE");
    let said = ebb.fails(125, ["create", "--stop-signal", "NONSENSE", "busybox"]);
    assert!(said.contains("Invalid signal: NONSENSE"), "{said}");
}

/// Scripts and compose files that are shared by many hosts have it everywhere.
#[test]
fn a_label_for_selinux_is_taken_in_silence_and_explained_once_on_a_terminal() {
    let ebb = Ebb::new();
    let words = ["create", "-v", "v1:/x:z", "-v", "v2:/y:Z", "busybox"];
    let answer = ebb.run(words);
    assert_eq!((answer.code, answer.stderr.as_str()), (0, ""), "{}", answer.shown());
    let mut command = ebb.command();
    command.args(words);
    let mut terminal = Terminal::start(&command).plain();
    terminal.shows(":z at /x changes nothing");
    assert!(!terminal.shows("\r\n").contains("changes nothing"));
    let rest = terminal.shows("\r\n");
    assert!(!rest.contains("changes nothing") && rest.trim().len() == 64, "{rest}");
}

#[test]
fn an_empty_name_is_refused_in_dockers_words_also_by_force() {
    let ebb = Ebb::empty();
    for name in ["vase", "jug"] {
        ebb.ok(["volume", "create", name]);
    }
    let volume = "ebb: invalid volume name or ID: value is empty\n";
    assert_eq!(ebb.fails(1, ["volume", "rm", ""]), volume);
    assert_eq!(ebb.fails(1, ["volume", "rm", "-f", ""]), volume);
    let both = ebb.run(["volume", "rm", "--now", "", "vase"]);
    assert_eq!((both.code, &*both.stdout, &*both.stderr), (1, "vase\n", volume), "the others go");
    for words in [&["volume", "inspect", ""][..], &["inspect", "--type", "volume", ""]] {
        let shown = ebb.run(words);
        assert_eq!((shown.code, &*shown.stdout, &*shown.stderr), (1, "[]\n", volume));
    }
    let shown = ebb.run(["volume", "inspect", "-f", "{{.Name}}", "", "jug"]);
    assert_eq!((shown.code, &*shown.stdout, &*shown.stderr), (1, "jug\n", volume));
    let container = "ebb: invalid container name or ID: value is empty\n";
    for words in [&["stop", ""][..], &["logs", ""], &["exec", "", "true"], &["wait", ""], &["container", "inspect", ""]]
    {
        assert_eq!(ebb.fails(1, words), container, "{words:?}");
    }
    for words in [&["rm", ""][..], &["rm", "-f", ""], &["rm", "-f", "--dry-run", ""]] {
        assert_eq!(ebb.fails(1, words), "ebb: container name cannot be empty\n", "{words:?}");
    }
    assert_eq!(ebb.fails(1, ["rename", "", "box"]), "ebb: Neither old nor new names may be empty\n");
    assert_eq!(ebb.ok(["volume", "ls", "-q"]), "jug");
}

/// `umask` is about the caller's own files; the store's and the containers' have the modes that they need.
#[test]
fn the_callers_umask_has_no_say_in_the_store_and_in_containers() {
    let ebb = Ebb::new();
    let script = r#"
        set -e
        umask "$1"; ebb="$0"
        "$ebb" run --name box -v vase:/v -v jug:/deep/er -w /made/here busybox sh -c \
            'umask; stat -c "%a %n" / /v /deep /deep/er /made /made/here /etc/hosts; echo kept > /v/f; stat -c %a /v/f'
        "$ebb" start -a box > again
        "$ebb" exec box true 2> /dev/null || "$ebb" volume export -o v.tar vase > /dev/null
        "$ebb" volume rm vase 2> /dev/null && exit 9
        "$ebb" volume clone vase copy
        "$ebb" volume import copy v.tar > /dev/null
        "$ebb" run -d --name sleeper busybox sleep 1000 > /dev/null
        "$ebb" exec sleeper sh -c umask
        "$ebb" create --cidfile "id$1" busybox > /dev/null
        "$ebb" volume create new
        "$ebb" rm -f sleeper
        "$ebb" volume rm new 2> /dev/null
        "$ebb" volume restore new
        "$ebb" system check
    "#;
    let run = |umask: &str, ebb: &Ebb| {
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", script, env!("CARGO_BIN_EXE_ebb"), umask]).env("EBB_ROOT", ebb.store()).current_dir(&ebb.dir);
        let answer = common::answer(&mut shell);
        assert_eq!(answer.code, 0, "{umask}: {}", answer.shown());
        answer.stdout
    };
    let usual = run("022", &ebb);
    assert!(usual.starts_with("0022\n755 /\n755 /v\n755 /deep\n755 /deep/er\n755 /made\n"), "{usual}");
    for umask in ["0777", "0077", "0"] {
        let other = Ebb::new();
        assert_eq!(run(umask, &other), usual, "{umask}");
        let mode = |name: &str| std::fs::metadata(other.dir.join(name)).expect("a file").permissions().mode() & 0o777;
        let umask = u32::from_str_radix(umask, 8).expect("octal");
        assert_eq!(mode(&format!("id{umask:04o}").replace("id0000", "id0")), 0o666 & !umask, "what is the caller's");
    }
}

#[test]
fn a_volume_can_be_named_by_the_flag_that_docker_still_takes() {
    let ebb = Ebb::empty();
    assert_eq!(ebb.ok(["volume", "create", "--name", "vase"]), "vase");
    let said = ebb.fails(1, ["volume", "create", "--name", "vase", "jug"]);
    assert!(
        said.starts_with("ebb: conflicting options: cannot specify a volume-name through both --name and"),
        "{said}"
    );
    assert_eq!(ebb.ok(["volume", "ls", "-q"]), "vase");
}

#[test]
fn an_empty_host_name_is_none_and_an_empty_command_is_not_found() {
    let ebb = Ebb::new();
    let name = ebb.ok(["run", "--name", "box", "--hostname", "", "busybox", "hostname"]);
    assert_eq!(name, ebb.inspect("box", "{{slice .Id 0 12}}"));
    let said = ebb.fails(127, ["run", "--rm", "busybox", ""]);
    assert!(said.contains("exec: \"\": executable file not found in $PATH"), "{said}");
}

#[test]
fn inspect_shows_the_places_that_v_gave_no_source() {
    let ebb = Ebb::new();
    ebb.ok(["create", "--name", "box", "-v", "/a", "-v", "vase:/v", "--mount", "dst=/m", "busybox"]);
    assert_eq!(ebb.inspect("box", "{{json .Config.Volumes}}"), r#"{"/a":{}}"#);
}

/// `run -w` makes it; `exec -w` finds it or fails, and leaves nothing behind.
#[test]
fn exec_makes_no_working_directory() {
    let ebb = Ebb::new();
    ebb.ok(["run", "-d", "--name", "box", "-w", "/made", "busybox", "sleep", "1000"]);
    assert_eq!(ebb.ok(["exec", "box", "pwd"]), "/made");
    let said = ebb.fails(127, ["exec", "-w", "/nope", "box", "true"]);
    let why = "chdir to cwd (\"/nope\") set in config.json failed: no such file or directory";
    assert!(said.contains(&format!("unable to start container process: {why}\n")), "{said}");
    assert_ne!(ebb.run(["exec", "-w", "/etc/passwd", "box", "true"]).code, 0);
    assert_eq!(ebb.run(["exec", "box", "ls", "-d", "/nope"]).code, 1);
}

/// Docker refuses it at `create`, and nothing is left; what only a mount brings is seen at the start, as there.
#[test]
fn no_container_is_made_whose_working_directory_is_a_file_of_the_image() {
    let ebb = Ebb::new();
    image(&ebb, "two", &[&[("link", None, "/etc/passwd"), ("loft", None, "/var"), ("d/f", Some("x"), "")]]);
    for (path, said) in [
        ("/etc/passwd", "Cannot mkdir: /etc/passwd is not a directory"),
        ("/d/../etc/passwd/", "Cannot mkdir: /d/../etc/passwd/ is not a directory"),
        ("/link", "Cannot mkdir: /link is not a directory"),
        ("/d/f", "Cannot mkdir: /d/f is not a directory"),
        ("/d/f/deeper", "lstat /d/f/deeper: not a directory"),
    ] {
        for words in
            [&["run", "-v", "vase:/v", "-w"][..], &["create", "-v", "vase:/v", "-w"], &["run", "-d", "--rm", "-w"]]
        {
            let answer = ebb.fails(125, [words, &[path, "two", "true"]].concat());
            assert_eq!(answer.lines().next(), Some(format!("ebb: {said}").as_str()), "{words:?}");
        }
    }
    assert_eq!(ebb.ok(["ps", "-aq"]), "");
    assert_eq!(ebb.ok(["volume", "ls", "-q"]), "", "nor is a volume made");
    assert_eq!(ebb.leftovers(), Vec::<String>::new());
    for path in ["/loft/made", "/d", "/new/one", "/"] {
        ebb.ok(["run", "--rm", "-w", path, "two", "true"]);
    }
    let mounted = ["run", "--name", "box", "-v", "/etc/hostname:/work", "-w", "/work", "two", "true"];
    assert!(ebb.fails(125, mounted).contains("enter the working directory /work: not a directory"));
    assert_eq!(ebb.ok(["ps", "-a", "--format", "{{.Names}}"]), "box");
}

/// Its own group is among a process's supplementary ones (CVE-2022-36109), as `id` in a container of Docker's shows.
#[test]
fn the_groups_of_a_process_are_its_own_one_and_those_that_were_added() {
    let ebb = Ebb::new();
    ebb.ok(["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
    let show = ["grep", "Groups:", "/proc/self/status"];
    let run = |options: &[&str]| ebb.ok([&["run", "--rm"], options, &["busybox"], &show].concat());
    let exec = |options: &[&str]| ebb.ok([&["exec"], options, &["box"], &show].concat());
    let groups = |line: String| line.replace("Groups:", "").split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    if has_one_id() {
        // Who maps one id must give setgroups(2) up.
        return;
    }
    assert_eq!(groups(run(&[])), ["0", "10"], "busybox's root is one of wheel");
    let both = |options: &[&str]| {
        let line = run(options);
        assert_eq!(exec(options), line, "{options:?}");
        groups(line)
    };
    assert_eq!(both(&["-u", "1000:50"]), ["50"]);
    assert_eq!(both(&["-u", "1000"]), ["0"]);
    assert_eq!(both(&["-u", "nobody"]), ["65534"]);
    assert_eq!(groups(run(&["-u", "1000:50", "--group-add", "77"])), ["50", "77"]);
}

/// `… | head -1` ends when `head` does, as Docker's client does, and what runs in the container goes on.
#[test]
fn a_command_whose_output_nobody_reads_any_more_ends_and_the_container_goes_on() {
    let ebb = Ebb::new();
    let endless = "while :; do echo tick; done";
    ebb.ok(["create", "--name", "later", "busybox", "sh", "-c", endless]);
    ebb.ok(["run", "-d", "--name", "box", "busybox", "sh", "-c", endless]);
    for words in [
        &["run", "--name", "first", "busybox", "sh", "-c", endless][..],
        &["run", "--name", "second", "-t", "busybox", "sh", "-c", endless],
        &["start", "-a", "later"],
        &["attach", "--no-stdin", "box"],
        &["exec", "-t", "box", "sh", "-c", endless],
    ] {
        let mut child = ebb.spawn(words);
        let mut stdout = std::io::BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        std::io::BufRead::read_line(&mut stdout, &mut line).expect("a line");
        drop(stdout);
        let output = child.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), &*said), (Some(1), "ebb: write /dev/stdout: broken pipe\n"), "{words:?}");
        // Who attaches later may come in the middle of a word.
        assert!("tick".ends_with(line.trim_end()), "{line:?}");
    }
    let running = ebb.ok(["ps", "--format", "{{.Names}}"]);
    assert_eq!(running, "second\nfirst\nbox\nlater");
    // What has pipes of its own hears of it by itself.
    let mut child = ebb.spawn(["exec", "box", "sh", "-c", endless]);
    drop(child.stdout.take());
    assert_eq!(common::exit_code(child.wait_with_output().expect("it ends").status), 141);
    // A full disk is no reader either.
    let mut command = ebb.command();
    command.args(["run", "--rm", "busybox", "echo", "lost"]);
    let full = std::fs::File::options().write(true).open("/dev/full").expect("a device");
    let child = command.stdout(full).stderr(std::process::Stdio::piped()).spawn().expect("ebb starts");
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), &*said), (Some(1), "ebb: write /dev/stdout: no space left on device\n"));
}

/// The first process of a pid namespace ignores what it has no handler for: `run busybox sleep 100` and Ctrl-C.
#[test]
fn who_asks_three_times_for_an_end_leaves_the_container_behind() {
    let ebb = Ebb::new();
    let script = "trap 'n=$((n+1)); echo asked $n' INT TERM; echo up; while :; do sleep 0.05; done";
    let mut run = ebb.spawn(["run", "--name", "box", "busybox", "sh", "-c", script]);
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(run.stdout.take().expect("a pipe")));
    let mut shows = |wanted: &str| lines.by_ref().map_while(Result::ok).any(|line| line == wanted);
    assert!(shows("up"));
    let pid = nix::unistd::Pid::from_raw(run.id() as i32);
    for (signal, answer) in [(nix::sys::signal::SIGINT, "asked 1"), (nix::sys::signal::SIGTERM, "asked 2")] {
        nix::sys::signal::kill(pid, signal).expect("sent");
        assert!(shows(answer), "the container hears of each");
    }
    nix::sys::signal::kill(pid, nix::sys::signal::SIGINT).expect("sent");
    let output = run.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    let wanted = "\ngot 3 SIGTERM/SIGINTs, forcefully exiting\n  box goes on: `ebb kill box` ends it\n";
    assert_eq!((output.status.code(), &*said), (Some(1), wanted));
    ebb.await_line("box", "asked 3");
    assert_eq!(ebb.inspect("box", "{{.State.Status}}"), "running");
}

#[test]
fn who_asks_twice_for_an_end_that_pid_1_does_not_hear_of_is_told_why() {
    for (init, told) in [(&[][..], true), (&["--init"][..], false)] {
        let ebb = Ebb::new();
        // With --init the program is another process, which hears of the signal and may ignore it.
        let script = if told { "echo up; exec sleep 1000" } else { "trap '' INT TERM; echo up; exec sleep 1000" };
        let words = [&["run", "--name", "box"], init, &["busybox", "sh", "-c", script]].concat();
        let mut run = ebb.spawn(words);
        let mut lines = std::io::BufRead::lines(std::io::BufReader::new(run.stdout.take().expect("a pipe")));
        assert!(lines.by_ref().map_while(Result::ok).any(|line| line == "up"));
        let pid = nix::unistd::Pid::from_raw(run.id() as i32);
        // Two of one kind could be one to who reads them late.
        for signal in [nix::sys::signal::SIGINT, nix::sys::signal::SIGTERM] {
            nix::sys::signal::kill(pid, signal).expect("sent");
        }
        if told {
            let mut said = std::io::BufReader::new(run.stderr.as_mut().expect("a pipe"));
            let mut lines = String::new();
            for _ in 0..3 {
                std::io::BufRead::read_line(&mut said, &mut lines).expect("it says why");
            }
            assert!(lines.starts_with("\nebb: sh is PID 1 in its container, and the kernel keeps SIG"), "{lines}");
            assert!(lines.contains("with `--init` there is an init") && lines.contains("`ebb kill box`"), "{lines}");
        }
        ebb.ok(["kill", "box"]);
        let output = run.wait_with_output().expect("it ends");
        let rest = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), rest.as_str()), (Some(137), ""));
    }
}

#[test]
fn all_of_a_running_container_is_copied_but_what_the_kernel_shows_of_itself() {
    let ebb = Ebb::new();
    ebb.ok([
        "run",
        "-d",
        "--name",
        "box",
        "-v",
        "vase:/v",
        "busybox",
        "sh",
        "-c",
        "echo kept > /v/f; echo up; exec sleep 1000",
    ]);
    ebb.await_line("box", "up");
    for words in [["cp", "box:", "out"], ["cp", "x", "box:"]] {
        assert!(ebb.fails(1, words).starts_with("ebb: bad parameter: path cannot be empty\n"));
    }
    let copied = ebb.run(["cp", "box:/", "out"]);
    assert_eq!(copied.code, 0, "{}", copied.shown());
    let count = |name: &str| std::fs::read_dir(ebb.dir.join("out").join(name)).expect("a directory").count();
    assert_eq!((count("proc"), count("sys")), (0, 0));
    assert_eq!(std::fs::read_to_string(ebb.dir.join("out/v/f")).expect("it"), "kept\n");
    assert!(ebb.dir.join("out/bin/busybox").symlink_metadata().is_ok());
    // Who asks for it gets it.
    ebb.ok(["cp", "box:/proc/version", "version"]);
    assert!(std::fs::read_to_string(ebb.dir.join("version")).is_ok());
}
