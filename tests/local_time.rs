//! Local time is the caller's: what TZ says by name, by file or by rule.

mod common;

use common::record::Record;
use common::{Ebb, answer};
use std::process::Command;

fn in_zone(ebb: &Ebb, zone: &str, words: &[&str]) -> String {
    let mut command = ebb.command();
    command.args(words).env("TZ", zone);
    let answer = answer(&mut command);
    assert_eq!(answer.code, 0, "TZ={zone} {}", answer.shown());
    answer.stdout.trim_end().to_owned()
}

#[test]
fn what_is_listed_says_when_it_was_made_in_the_callers_zone() {
    let ebb = Ebb::empty();
    Record::new("box").created("2026-01-04T20:30:00Z").put(&ebb, "aa");
    for (zone, expected) in [
        ("Asia/Tokyo", "2026-01-05 05:30:00 +0900 JST"),
        (":America/New_York", "2026-01-04 15:30:00 -0500 EST"),
        ("/usr/share/zoneinfo/Asia/Tokyo", "2026-01-05 05:30:00 +0900 JST"),
        ("JST-9", "2026-01-05 05:30:00 +0900 JST"),
        ("UTC", "2026-01-04 20:30:00 +0000 UTC"),
        ("", "2026-01-04 20:30:00 +0000 UTC"),
        ("Mars/Phobos", "2026-01-04 20:30:00 +0000 UTC"),
        ("/dev/zero", "2026-01-04 20:30:00 +0000 UTC"),
    ] {
        assert_eq!(in_zone(&ebb, zone, &["ps", "-a", "--format", "{{.CreatedAt}}"]), expected, "{zone}");
    }
}

#[test]
fn images_and_their_history_do_too() {
    let ebb = Ebb::new();
    let created = in_zone(&ebb, "Asia/Tokyo", &["images", "--format", "{{.CreatedAt}}"]);
    assert!(created.ends_with(" +0900 JST"), "{created}");
    let history = in_zone(&ebb, "Asia/Tokyo", &["history", "--format", "{{.CreatedAt}}", "busybox"]);
    assert!(history.ends_with("+09:00"), "{history}");
    assert!(in_zone(&ebb, "UTC", &["history", "--format", "{{.CreatedAt}}", "busybox"]).ends_with('Z'));
}

#[test]
fn logs_take_a_time_of_day_in_the_callers_zone() {
    let ebb = Ebb::new();
    ebb.ok(["run", "--name", "box", "busybox", "echo", "said"]);
    for zone in ["Asia/Tokyo", "America/New_York", "Pacific/Kiritimati"] {
        let at = |offset: &str| {
            let mut date = Command::new("date");
            date.args(["-d", offset, "+%Y-%m-%dT%H:%M:%S"]).env("TZ", zone);
            String::from_utf8(date.output().expect("date starts").stdout).expect("text").trim().to_owned()
        };
        let (before, after) = (at("1 hour ago"), at("1 hour"));
        assert_eq!(in_zone(&ebb, zone, &["logs", "--since", &before, "--until", &after, "box"]), "said", "{zone}");
        assert_eq!(in_zone(&ebb, zone, &["logs", "--since", &after, "box"]), "", "{zone}");
        assert_eq!(in_zone(&ebb, zone, &["logs", "--until", &before, "box"]), "", "{zone}");
    }
}

#[test]
fn top_says_when_a_process_began_in_the_callers_zone() {
    let ebb = Ebb::new();
    ebb.ok(["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
    let minute = |zone: &str| {
        let shown = in_zone(&ebb, zone, &["top", "box"]);
        let time = shown.lines().nth(1).and_then(|line| line.split_whitespace().nth(4)).expect("STIME").to_owned();
        let (hours, minutes) = time.split_once(':').expect("a time of day");
        hours.parse::<i32>().expect("hours") * 60 + minutes.parse::<i32>().expect("minutes")
    };
    let ahead = (minute("Asia/Tokyo") - minute("UTC")).rem_euclid(24 * 60);
    // The age is whole seconds, and so the start may be one minute or the next.
    assert!((9 * 60 - 1..=9 * 60 + 1).contains(&ahead), "{ahead} minutes");
}
