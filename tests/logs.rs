//! What a container wrote is kept, in order, within bounds, and read as Docker reads it.

mod common;

use common::Ebb;
use std::io::{BufRead, BufReader};

fn ran(script: &str, options: &[&str]) -> Ebb {
    let ebb = Ebb::new();
    let mut args = vec!["run", "-d", "--name", "box"];
    args.extend(options);
    args.extend(["busybox", "sh", "-c", script]);
    ebb.ok(args);
    ebb.ok(["wait", "box"]);
    ebb
}

#[test]
fn each_stream_goes_where_it_came_from_and_stays_after_the_end() {
    let ebb = ran("echo out; echo err >&2; printf unended", &[]);
    let answer = ebb.run(["logs", "box"]);
    assert_eq!((answer.code, answer.stdout.as_str(), answer.stderr.as_str()), (0, "out\nunended", "err\n"));
    assert_eq!(ebb.fails(1, ["logs", "nope"]), "ebb: No such container: nope\n");
}

#[test]
fn on_the_disk_it_is_dockers_json_file() {
    let ebb = ran("echo 'a <b> \"c\"'", &[]);
    let id = ebb.inspect("box", "{{.Id}}");
    let log = std::fs::read_to_string(ebb.store().join("containers").join(id).join("log.jsonl")).expect("a log");
    assert!(log.starts_with(r#"{"log":"a \u003cb\u003e \"c\"\n","stream":"stdout","time":"20"#), "{log}");
    assert!(log.ends_with("Z\"}\n"), "{log}");
}

#[test]
fn tail_since_until_and_timestamps_choose_and_mark_lines() {
    let ebb = ran("for i in 1 2 3 4 5; do echo $i; done", &[]);
    assert_eq!(ebb.ok(["logs", "--tail", "2", "box"]), "4\n5");
    assert_eq!(ebb.ok(["logs", "-n", "0", "box"]), "");
    assert_eq!(ebb.ok(["logs", "-n", "all", "box"]).lines().count(), 5);
    assert_eq!(ebb.ok(["logs", "-n", "99", "box"]).lines().count(), 5);
    let stamped = ebb.ok(["logs", "-t", "box"]);
    let times: Vec<&str> = stamped.lines().map(|line| line.split(' ').next().expect("a time")).collect();
    assert!(times.iter().all(|time| time.len() == "2026-11-23T10:52:02.896220685Z".len()), "{stamped}");
    assert_eq!(ebb.ok(["logs", "--since", times[4], "box"]).lines().last(), Some("5"));
    assert_eq!(ebb.ok(["logs", "--until", times[0], "box"]).lines().next(), Some("1"));
    assert_eq!(ebb.ok(["logs", "--since", "1h", "box"]).lines().count(), 5);
    assert_eq!(ebb.ok(["logs", "--until", "1h", "box"]), "");
    assert_eq!(ebb.ok(["logs", "--since", "2100-01-01", "box"]), "");
    assert_eq!(ebb.ok(["logs", "--details", "--tail", "1", "box"]), " 5");
    let bad = ebb.fails(1, ["logs", "--since", "yesterday", "box"]);
    assert!(bad.contains("failed to parse value as time or duration"), "{bad}");
}

#[test]
fn following_ends_with_the_container_and_loses_nothing() {
    let ebb = Ebb::new();
    let script = "mkfifo /go; echo first; read x < /go; seq 1 20000; echo last";
    ebb.ok(["run", "-d", "--name", "box", "busybox", "sh", "-c", script]);
    let mut follow = ebb.spawn(["logs", "-f", "box"]);
    let mut lines = BufReader::new(follow.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
    assert_eq!(lines.next().as_deref(), Some("first"));
    ebb.ok(["exec", "box", "sh", "-c", "echo > /go"]);
    let rest: Vec<String> = lines.collect();
    assert_eq!((rest.len(), rest.last().map(String::as_str)), (20_001, Some("last")));
    assert!(follow.wait().expect("ends").success());
    assert_eq!(ebb.ok(["logs", "-f", "box"]).lines().count(), 20_002);
}

#[test]
fn following_survives_the_removal_of_the_container() {
    let ebb = Ebb::new();
    ebb.ok(["run", "-d", "--name", "box", "busybox", "sh", "-c", "echo ready; exec sleep 1000"]);
    let mut follow = ebb.spawn(["logs", "-f", "box"]);
    let mut lines = BufReader::new(follow.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
    assert_eq!(lines.next().as_deref(), Some("ready"));
    ebb.ok(["rm", "-f", "box"]);
    assert_eq!(lines.next(), None);
    assert!(follow.wait().expect("ends").success());
}

#[test]
fn a_reader_that_goes_away_ends_following() {
    let ebb = Ebb::new();
    ebb.ok(["run", "-d", "--name", "box", "busybox", "sh", "-c", "echo ready; exec sleep 1000"]);
    let mut follow = ebb.spawn(["logs", "-f", "box"]);
    let mut lines = BufReader::new(follow.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
    assert_eq!(lines.next().as_deref(), Some("ready"));
    drop(lines);
    follow.wait().expect("ends");
}

#[test]
fn a_log_is_rotated_within_its_bounds_and_logs_says_that_lines_were_dropped() {
    let ebb = ran("seq 1 20000", &["--log-opt", "max-size=100k", "--log-opt", "max-file=3"]);
    let id = ebb.inspect("box", "{{.Id}}");
    let dir = ebb.store().join("containers").join(id);
    let sizes: Vec<u64> = ["log.jsonl", "log.jsonl.1", "log.jsonl.2"]
        .iter()
        .map(|name| std::fs::metadata(dir.join(name)).expect("a log file").len())
        .collect();
    assert!(sizes.iter().all(|size| *size <= 100_000) && !dir.join("log.jsonl.3").exists(), "{sizes:?}");
    let answer = ebb.run(["logs", "box"]);
    assert!(answer.stderr.contains("older lines were dropped"), "{}", answer.stderr);
    let lines: Vec<u64> = answer.stdout.lines().map(|line| line.parse().expect("a number")).collect();
    assert_eq!(lines.last(), Some(&20_000));
    assert!(lines.windows(2).all(|pair| pair[1] == pair[0] + 1), "a line is missing in the middle");
    let tail: Vec<u64> = (18_001..=20_000).collect();
    let shown = ebb.ok(["logs", "--tail", "2000", "box"]);
    let shown: Vec<u64> = shown.lines().map(|line| line.parse().expect("a number")).collect();
    assert!(shown == tail, "{:?}..{:?}", shown.first(), shown.last());
}

#[test]
fn a_flood_and_then_the_end_keeps_the_last_line() {
    let ebb = ran("head -c 20000000 /dev/zero | tr '\\0' x | fold -w 100; echo; echo last", &[]);
    assert_eq!(ebb.ok(["logs", "--tail", "1", "box"]), "last");
}

#[test]
fn bytes_that_are_no_text_and_lines_without_end_are_kept() {
    let ebb = ran("printf 'a\\377b\\n'; head -c 50000 /dev/zero | tr '\\0' x; echo", &[]);
    let shown = ebb.ok(["logs", "box"]);
    let mut lines = shown.lines();
    assert_eq!(lines.next(), Some("a\u{fffd}b"));
    assert_eq!(lines.next().map(str::len), Some(50_000));
}

#[test]
fn a_torn_line_is_left_out_and_the_rest_is_read() {
    let ebb = ran("echo one; echo two", &[]);
    let id = ebb.inspect("box", "{{.Id}}");
    let path = ebb.store().join("containers").join(id).join("log.jsonl");
    let whole = std::fs::read(&path).expect("a log");
    std::fs::write(&path, &whole[..whole.len() - 20]).expect("torn");
    assert_eq!(ebb.ok(["logs", "box"]), "one");
    ebb.ok(["start", "box"]);
    ebb.ok(["wait", "box"]);
    assert_eq!(ebb.ok(["logs", "box"]), "one\none\ntwo");
}

#[test]
fn without_a_log_driver_nothing_is_kept() {
    let ebb = ran("echo out", &["--log-driver", "none"]);
    let refused = ebb.fails(1, ["logs", "box"]);
    assert!(refused.starts_with("ebb: configured logging driver does not support reading"), "{refused}");
    let unknown = ebb.fails(125, ["run", "--log-driver", "syslog", "busybox", "true"]);
    assert!(unknown.contains("no log driver named 'syslog' is registered"), "{unknown}");
    let option = ebb.fails(125, ["run", "--log-opt", "colour=red", "busybox", "true"]);
    assert!(option.contains("unknown log opt 'colour' for json-file log driver"), "{option}");
    assert_eq!(ebb.ok(["ps", "-aq"]).lines().count(), 1);
}
