//! `ebb events`: what happens is told as Docker tells it, without a daemon, and is never in the way.

mod common;

use common::Ebb;
use std::io::{BufRead, BufReader, Write};

/// What `events` says of all that was, each event by `template`.
fn told(ebb: &Ebb, template: &str, filters: &[&str]) -> Vec<String> {
    let mut words = vec!["events", "--since", "1h", "--until", "0s", "--format", template];
    for filter in filters {
        words.extend(["--filter", filter]);
    }
    ebb.ok(words).lines().map(str::to_owned).collect()
}

const WHAT: &str = "{{.Type}} {{.Action}} {{.Actor.Attributes.name}}";

#[test]
fn the_life_of_a_container_is_told_in_dockers_words_and_order() {
    let ebb = Ebb::new();
    ebb.fails(3, ["run", "--rm", "--name", "box", "-v", "vase:/data", "-l", "team=a", "busybox", "sh", "-c", "exit 3"]);
    let wanted = [
        "volume create <no value>",
        "container create box",
        "container attach box",
        "volume mount <no value>",
        "container start box",
        "container die box",
        "volume unmount <no value>",
        "container destroy box",
    ];
    assert_eq!(told(&ebb, WHAT, &["type=container", "type=volume"]), wanted);
    let id = &told(&ebb, "{{.Actor.ID}}", &["event=die"])[0];
    let line = |filter: &str| {
        let mut command = ebb.command();
        command.args(["events", "--since", "1h", "--until", "0s", "--filter", filter]).env("TZ", "UTC");
        common::answer(&mut command).stdout
    };
    let (time, die) = line("event=die").split_once(' ').map(|(a, b)| (a.to_owned(), b.to_owned())).expect("a line");
    assert_eq!(die, format!("container die {id} (execDuration=0, exitCode=3, image=busybox, name=box, team=a)\n"));
    assert!(time.len() == "2026-11-30T23:12:29.200029148Z".len() && time.ends_with('Z'), "{time}");
    let mount =
        format!("volume mount vase (container={id}, destination=/data, driver=local, propagation=, read/write=true)");
    assert_eq!(line("event=mount").trim_end().split_once(' ').expect("a line").1, mount);
    let unmount = format!("volume unmount vase (container={id}, driver=local)");
    assert_eq!(line("event=unmount").trim_end().split_once(' ').expect("a line").1, unmount);
}

#[test]
fn json_has_the_keys_of_dockers_api() {
    let ebb = Ebb::new();
    ebb.ok(["create", "--name", "box", "busybox"]);
    let id = ebb.inspect("box", "{{.Id}}");
    for format in ["json", "{{json .}}"] {
        let line = told(&ebb, format, &["event=create"]).remove(0);
        let nanoseconds: i64 = told(&ebb, "{{.TimeNano}}", &["event=create"])[0].parse().expect("a number");
        let seconds = nanoseconds / 1_000_000_000;
        let wanted = format!(
            "{{\"status\":\"create\",\"id\":\"{id}\",\"from\":\"busybox\",\"Type\":\"container\",\"Action\":\"create\",\
             \"Actor\":{{\"ID\":\"{id}\",\"Attributes\":{{\"image\":\"busybox\",\"name\":\"box\"}}}},\
             \"scope\":\"local\",\"time\":{seconds},\"timeNano\":{nanoseconds}}}"
        );
        assert_eq!(line, wanted);
    }
    let fields = "{{.Status}} {{.From}} {{.Scope}} {{.ID}} {{.Actor.Attributes.nope}}";
    assert_eq!(told(&ebb, fields, &["event=create"]), [format!("create busybox local {id} <no value>")]);
    assert!(ebb.fails(1, ["events", "--until", "0s", "--format", "{{.Nope}}", "--since", "1h"]).contains("Nope"));
}

#[test]
fn what_is_done_to_a_container_is_told_by_who_does_it() {
    let ebb = Ebb::new();
    ebb.ok(["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
    ebb.ok(["rename", "box", "crate"]);
    ebb.fails(7, ["exec", "crate", "sh", "-c", "exit 7"]);
    ebb.ok(["stop", "-t", "0", "crate"]);
    ebb.ok(["start", "crate"]);
    ebb.ok(["restart", "-t", "0", "crate"]);
    ebb.ok(["kill", "-s", "USR1", "crate"]);
    ebb.ok(["rm", "-f", "crate"]);
    let of = |template: &str| told(&ebb, template, &["type=container"]);
    let ended = ["kill", "kill", "die", "stop"];
    let wanted = [
        &["create", "start", "rename", "exec_create: sh -c exit 7", "exec_start: sh -c exit 7", "exec_die"][..],
        &ended,
        &["start"],
        &ended,
        &["start", "restart", "kill", "kill", "die", "destroy"],
    ]
    .concat();
    assert_eq!(of("{{.Action}}"), wanted);
    let signals = told(&ebb, "{{.Actor.Attributes.signal}}", &["event=kill"]);
    assert_eq!(signals, ["15", "9", "15", "9", "10", "9"]);
    assert_eq!(told(&ebb, "{{.Actor.Attributes.exitCode}}", &["event=exec_die"]), ["7"]);
    let ids = told(&ebb, "{{.Actor.Attributes.execID}}", &["event=exec_create", "event=exec_start", "event=exec_die"]);
    assert!(ids.len() == 3 && ids[0].len() == 64 && ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    let renamed = told(&ebb, "{{.Actor.Attributes.oldName}} {{.Actor.Attributes.name}}", &["event=rename"]);
    assert_eq!(renamed, ["/box crate"]);
    let ends = told(&ebb, "{{.Actor.Attributes.exitCode}} {{.Actor.Attributes.name}}", &["event=die"]);
    assert_eq!(ends, ["137 crate"; 3]);
}

#[test]
fn a_verdict_on_a_containers_health_is_told_when_it_changes() {
    let ebb = Ebb::new();
    let check = ["--health-cmd", "test -e /ok", "--health-interval", "20ms", "--health-retries", "1"];
    ebb.ok([&["run", "-d", "--name", "box"], &check[..], &["busybox", "sleep", "1000"]].concat());
    let mut events =
        ebb.spawn(["events", "--since", "1h", "--filter", "event=health_status", "--format", "{{.Action}}"]);
    let mut lines = BufReader::new(events.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
    assert_eq!(lines.next().as_deref(), Some("health_status: unhealthy"));
    ebb.ok(["exec", "box", "touch", "/ok"]);
    assert_eq!(lines.next().as_deref(), Some("health_status: healthy"));
    events.kill().expect("killed");
    events.wait().expect("ended");
}

#[test]
fn images_and_volumes_come_and_go_by_name() {
    let ebb = Ebb::new();
    let id = ebb.ok(["image", "inspect", "-f", "{{.Id}}", "busybox"]);
    ebb.ok(["tag", "busybox", "mine:1"]);
    ebb.ok(["rmi", "mine:1"]);
    ebb.ok(["create", "--name", "base", "busybox"]);
    ebb.ok(["export", "-o", "root.tar", "base"]);
    let imported = ebb.ok(["import", "root.tar", "own:1"]);
    ebb.ok(["rmi", "own:1"]);
    let seen = told(&ebb, "{{.Action}} {{.Actor.ID}} {{.Actor.Attributes.name}}", &["type=image"]);
    let wanted = [
        format!("load {id} {id}"),
        format!("tag {id} mine:1"),
        format!("untag {id} {id}"),
        format!("import {imported} {imported}"),
        format!("untag {imported} {imported}"),
        format!("delete {imported} {imported}"),
    ];
    assert_eq!(seen, wanted);
    ebb.ok(["volume", "create", "vase"]);
    ebb.ok(["volume", "create", "vase"]);
    ebb.ok(["volume", "rm", "vase"]);
    ebb.ok(["volume", "restore", "vase"]);
    let seen = told(&ebb, "{{.Action}} {{.Actor.ID}}", &["volume=vase"]);
    assert_eq!(seen, ["create vase", "destroy vase", "create vase"]);
}

#[test]
fn filters_are_dockers() {
    let ebb = Ebb::new();
    ebb.ok(["create", "--name", "web", "-l", "tier=front", "busybox"]);
    ebb.ok(["create", "--name", "db", "busybox"]);
    ebb.ok(["volume", "create", "web"]);
    let names = |filters: &[&str]| told(&ebb, WHAT, filters);
    let id = ebb.inspect("web", "{{.Id}}");
    for filters in [
        &["container=web"][..],
        &["container=we"],
        &[&format!("container={}", &id[..12])],
        &["label=tier"],
        &["label=tier=front"],
        &["type=container", "label=tier", "event=create", "scope=local"],
        &["image=busybox", "event=create", "label=tier"],
    ] {
        assert_eq!(names(filters), ["container create web"], "{filters:?}");
    }
    assert_eq!(names(&["container=web", "container=db"]).len(), 2, "the same key is or");
    assert_eq!(names(&["type=volume"]), ["volume create <no value>"]);
    for filters in [&["type=network"][..], &["network=x"], &["label=tier=back"], &["event=creat"], &["image=nginx"]] {
        assert_eq!(names(filters), [""; 0], "{filters:?}");
    }
    assert!(ebb.fails(1, ["events", "--filter", "colour=red"]).contains("invalid filter 'colour'"));
    assert!(ebb.fails(125, ["events", "--filter", "type"]).contains("bad format of filter (expected name=value)"));
    for word in ["--since", "--until"] {
        let said = ebb.fails(1, ["events", word, "foo"]);
        assert!(said.contains("failed to parse value as time or duration: \"foo\"\n"), "{said}");
    }
    let said = ebb.fails(1, ["events", "--since", "1m", "--until", "2m"]);
    assert!(said.contains("`since` time (1m) cannot be after `until` time (2m)"), "{said}");
    assert_eq!(ebb.ok(["system", "events", "--since", "1h", "--until", "2s"]), "", "nothing is as old as that");
}

/// Begins to follow, and returns when it has: the first event is shown from before.
fn follow(ebb: &Ebb) -> (std::process::Child, impl Iterator<Item = String>) {
    ebb.ok(["volume", "create", "first"]);
    let words = ["events", "--since", "1h", "--filter", "type=volume", "--format", "{{.Action}} {{.Actor.ID}}"];
    let mut events = ebb.spawn(words);
    let mut lines = BufReader::new(events.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
    assert!(lines.any(|line| line == "create first"));
    (events, lines)
}

#[test]
fn who_follows_sees_what_happens_and_ends_by_ctrl_c() {
    let ebb = Ebb::new();
    let (mut events, mut lines) = follow(&ebb);
    ebb.ok(["volume", "create", "second"]);
    assert_eq!(lines.next().as_deref(), Some("create second"));
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(events.id() as i32), nix::sys::signal::SIGINT).expect("sent");
    assert_eq!(common::exit_code(events.wait().expect("ended")), 130);
    assert_eq!(lines.next(), None);
}

#[test]
fn following_ends_at_the_moment_that_was_asked_for() {
    let ebb = Ebb::new();
    ebb.ok(["volume", "create", "first"]);
    let answer = ebb.run(["events", "--until=-300ms", "--filter", "type=volume", "--format", "{{.Actor.ID}}"]);
    assert_eq!((answer.code, answer.stdout.as_str()), (0, "first\n"), "{}", answer.shown());
}

#[test]
fn the_file_is_bounded_and_who_follows_misses_nothing_when_a_new_one_is_begun() {
    let ebb = Ebb::new();
    let (mut events, mut lines) = follow(&ebb);
    let (file, older) = (ebb.store().join("events.jsonl"), ebb.store().join("events.jsonl.1"));
    let filler =
        format!(r#"{{"timeNano":1,"Type":"image","Action":"load","ID":"{}","Attributes":{{}}}}"#, "x".repeat(1000));
    for round in 0..2 {
        let mut open = std::fs::File::options().append(true).open(&file).expect("the events");
        open.write_all(format!("{filler}\n").repeat(4 << 10).as_bytes()).expect("written");
        ebb.ok(["volume", "create", &format!("before-{round}")]);
        assert!(older.exists() && !file.exists(), "it had grown too long");
        ebb.ok(["volume", "create", &format!("after-{round}")]);
        assert_eq!(lines.next(), Some(format!("create before-{round}")));
        assert_eq!(lines.next(), Some(format!("create after-{round}")));
    }
    let length = |path| std::fs::metadata(path).expect("a file").len();
    assert!(length(&file) < 1000 && length(&older) < 5 << 20);
    assert_eq!(told(&ebb, "{{.Actor.ID}}", &["type=volume"]), ["after-0", "before-1", "after-1"]);
    events.kill().expect("killed");
    events.wait().expect("ended");
}

#[test]
fn a_line_that_a_full_disk_has_torn_costs_only_itself() {
    let ebb = Ebb::new();
    ebb.ok(["volume", "create", "whole"]);
    let file = ebb.store().join("events.jsonl");
    let mut open = std::fs::File::options().append(true).open(&file).expect("the events");
    open.write_all(b"{\"timeNano\":1,\"Type\":\"vol").expect("written");
    ebb.ok(["volume", "create", "next"]);
    open.write_all(b"\0\0\0\0 no event\n\n{}\n").expect("written");
    ebb.ok(["volume", "create", "last"]);
    assert_eq!(told(&ebb, "{{.Actor.ID}}", &["type=volume"]), ["whole", "next", "last"]);
}

#[test]
fn that_an_event_cannot_be_written_is_nobodys_failure() {
    let ebb = Ebb::new();
    std::fs::remove_file(ebb.store().join("events.jsonl")).expect("there were events");
    std::fs::create_dir(ebb.store().join("events.jsonl")).expect("made");
    let answer = ebb.run(["run", "--rm", "-v", "vase:/v", "busybox", "echo", "well"]);
    assert_eq!((answer.code, answer.stdout.as_str(), answer.stderr.as_str()), (0, "well\n", ""));
    assert_eq!(ebb.ok(["volume", "rm", "vase"]), "vase");
}

/// Who writes beyond `ulimit -f` is killed.
#[test]
fn a_limit_on_the_size_of_files_ends_no_command_because_of_its_event() {
    let ebb = Ebb::new();
    std::fs::write(ebb.store().join("events.jsonl"), "\n".repeat(2 << 20)).expect("written");
    let mut shell = std::process::Command::new("bash");
    let script = format!("ulimit -f 1500; exec {} run --rm busybox echo well", env!("CARGO_BIN_EXE_ebb"));
    shell.args(["-c", &script]).env("EBB_ROOT", ebb.store());
    let answer = common::answer(&mut shell);
    assert_eq!((answer.code, answer.stdout.as_str()), (0, "well\n"), "{}", answer.shown());
}

#[test]
fn what_takes_a_cgroup_is_told_too() {
    if !common::is_root() {
        // An ordinary user's containers cannot count on a cgroup.
        return;
    }
    let ebb = Ebb::new();
    ebb.ok(["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
    ebb.ok(["pause", "box"]);
    ebb.ok(["unpause", "box"]);
    ebb.ok(["update", "--memory", "64m", "box"]);
    assert_eq!(told(&ebb, "{{.Action}}", &["container=box"]), ["create", "start", "pause", "unpause", "update"]);
    for options in [&["--name", "hungry"][..], &["--name", "hungrier", "--rm"]] {
        let swap: &[&str] = if ebb::oci::cgroup::can_limit_swap() { &["--memory-swap", "32m"] } else { &[] };
        let words = [&["run", "-m", "32m"], swap, options, &["busybox", "tail", "/dev/zero"]].concat();
        ebb.fails(137, words);
        let seen = told(&ebb, "{{.Action}}", &[&format!("container={}", options[1])]);
        assert_eq!(seen[..5], ["create", "attach", "start", "oom", "die"], "{seen:?}");
        ebb.run(["rm", "hungry"]);
    }
}

#[test]
fn of_many_at_once_each_tells_a_whole_line() {
    let ebb = Ebb::new();
    let all: Vec<_> =
        (0..24).map(|number| ebb.spawn(["volume", "create", &format!("vase-{number}"), "--label", "x=y"])).collect();
    for child in all {
        assert!(child.wait_with_output().expect("ended").status.success());
    }
    let mut names = told(&ebb, "{{.Actor.ID}}", &["type=volume"]);
    names.sort();
    let mut wanted: Vec<String> = (0..24).map(|number| format!("vase-{number}")).collect();
    wanted.sort();
    assert_eq!(names, wanted);
}

/// What a label or a command holds must not forge a line of its own.
#[test]
fn foreign_text_stays_within_its_line() {
    let ebb = Ebb::new();
    ebb.ok(["create", "--name", "box", "-l", "x=a\nforged container die \u{1b}[2J", "busybox"]);
    let said = ebb.ok(["events", "--since", "1h", "--until", "0s", "--filter", "container=box"]);
    assert!(said.lines().count() == 1 && said.contains("x=a\\nforged container die \\u{1b}[2J"), "{said:?}");
}

#[test]
fn one_that_nobody_watched_is_told_of_when_its_end_is_found() {
    let ebb = Ebb::new();
    ebb.ok(["run", "-d", "--name", "box", "-v", "vase:/v", "busybox", "sleep", "1000"]);
    let id = ebb.inspect("box", "{{.Id}}");
    let state = std::fs::read(ebb.store().join("containers").join(&id).join("state.json")).expect("its state");
    let state: serde_json::Value = serde_json::from_slice(&state).expect("JSON");
    let supervisor = state["Supervisor"]["Pid"].as_i64().expect("a pid") as i32;
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(supervisor), nix::sys::signal::SIGKILL).expect("killed");
    assert_eq!(ebb.ok(["wait", "box"]), "137");
    ebb.ok(["start", "box"]);
    ebb.ok(["kill", "box"]);
    ebb.ok(["rm", "box"]);
    let seen = told(&ebb, "{{.Action}} {{.Actor.Attributes.exitCode}}", &["container=box"]);
    let wanted = ["create", "start", "die 137", "start", "kill", "die 137", "destroy"];
    let seen: Vec<_> = seen.iter().map(|line| line.trim_end_matches(" <no value>")).collect();
    assert_eq!(seen, wanted);
}
