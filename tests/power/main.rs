//! The power goes: a machine of qemu's is killed at some moment after, or within, a command, and with it all that was in its
//! memory; its disk has lost what nobody had flushed. Whatever was answered before must be there, and whole.
//!
//! Not part of `cargo test`: `just power-cut`, as root, says what it needs. tests/power/README.md has the results.

#[path = "../common/mod.rs"]
mod common;
mod disk;
mod machine;
mod scenarios;

use disk::Fate;
use machine::{Cut, Machine, sh};
use scenarios::{Host, SCENARIOS, Scenario};
use std::path::Path;
use std::time::Duration;

/// Rounds of each scenario, each with a cut at another moment.
const ROUNDS: u32 = 20;
/// Milliseconds from an answer to the cut.
const DELAYS: &[u64] = &[0, 0, 1, 0, 20, 3, 0, 100, 10, 50, 0, 400];

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.iter().any(|word| word == "--list") {
        return;
    }
    let missing = missing();
    if !missing.is_empty() {
        eprintln!("power: needs {}", missing.join(", "));
        eprintln!("  apt-get install qemu-system-x86 linux-image-amd64 busybox-static kmod binutils e2fsprogs");
        std::process::exit(1);
    }
    let rounds = std::env::var("EBB_POWER_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(ROUNDS);
    let only = words.iter().find(|word| !word.starts_with('-'));
    let dir = common::scratch("power");
    let work = dir.join("work");
    let archives = dir.join("archives");
    for place in [&work, &archives] {
        std::fs::create_dir(place).expect("a directory");
    }
    for scenario in SCENARIOS {
        std::fs::write(work.join(scenario.name), format!("{}\n", scenario.script)).expect("a script");
    }
    scenarios::make_archives(&archives);
    let machine = Machine::new(&dir, &work);
    println!("| what is under way | cuts | answers given before | bytes that the disk lost | answers not kept |");
    println!("|---|--:|--:|--:|--:|");
    let mut failures = Vec::new();
    for scenario in SCENARIOS.iter().filter(|scenario| only.is_none_or(|only| scenario.name.contains(only.as_str()))) {
        failures.extend(cut_often(&dir, &machine, scenario, rounds));
    }
    std::fs::remove_dir_all(&dir).expect("removed");
    if !failures.is_empty() {
        eprintln!("\n{} failures:\n{}", failures.len(), failures.join("\n\n"));
        std::process::exit(1);
    }
}

fn missing() -> Vec<&'static str> {
    let found = |program: &str| {
        let mut which = std::process::Command::new("sh");
        which.args(["-c", "command -v \"$0\" >/dev/null", program]).status().is_ok_and(|status| status.success())
    };
    let mut missing: Vec<_> = ["qemu-system-x86_64", "busybox", "modprobe", "strip", "mkfs.ext4"]
        .into_iter()
        .filter(|program| !found(program))
        .collect();
    if !common::is_root() {
        missing.push("root, to mount the disk again");
    }
    missing
}

/// The rounds of one scenario, and its line of the table.
fn cut_often(dir: &Path, machine: &Machine, scenario: &Scenario, rounds: u32) -> Vec<String> {
    let base = dir.join("base.img");
    sh(
        "rm -f \"$0\" && truncate -s 256M \"$0\" && mkfs.ext4 -q -E lazy_itable_init=0,lazy_journal_init=0 \"$0\"",
        &[&base],
    );
    with_mounted(dir, &base, |host| {
        host.ok(["system", "check"]);
        (scenario.prepare)(host);
    });
    let (mut answers, mut lost_bytes, mut lost) = (0, 0, 0);
    let mut failures = Vec::new();
    for round in 0..rounds {
        let image = dir.join("disk.img");
        sh("cp --sparse=always \"$0\" \"$1\"", &[&base, &image]);
        let seed = u64::from(round);
        let cut = Cut {
            after: 1 + round * 5 % scenario.answers,
            delay: Duration::from_millis(DELAYS[round as usize % DELAYS.len()]),
            fate: if round % 2 == 0 { Fate::AllLost } else { Fate::SomeLost { seed } },
        };
        let seen = machine.run(&image, scenario.name, cut);
        answers += seen.answered;
        lost_bytes += seen.lost_bytes;
        let mut wrong = with_mounted(dir, &image, |host| {
            let mut wrong = (scenario.verify)(host, seen.answered);
            lost += wrong.len();
            if !scenario.is_control {
                wrong.extend(goes_on(host));
            }
            wrong
        });
        wrong.extend(seen.failed);
        if !scenario.is_control {
            let shown = wrong.iter().map(|wrong| format!("{}, round {round}, {cut:?}: {wrong}", scenario.name));
            failures.extend(shown);
        }
    }
    println!("| {} | {rounds} | {answers} | {lost_bytes} | {lost} |", scenario.name.replace('-', " "));
    if scenario.is_control && lost == 0 && rounds > 2 {
        failures.push("the control lost nothing: this disk is none to fear".into());
    }
    failures
}

/// The store is sound, the next command works, and clears what was left.
fn goes_on(host: &Host) -> Vec<String> {
    let mut wrong = Vec::new();
    let check = host.run(["system", "check"]);
    if check.code != 0 {
        wrong.push(check.shown().to_owned());
    }
    for words in [&["import", "/dev/null", "probe"][..], &["volume", "create", "probe"], &["volume", "rm", "probe"]] {
        let answer = host.run(words);
        if answer.code != 0 {
            wrong.push(answer.shown().to_owned());
        }
    }
    for place in ["tmp", "trash"] {
        let left = std::fs::read_dir(host.disk.join("store").join(place)).into_iter().flatten().flatten();
        wrong.extend(left.map(|entry| format!("{} is left", entry.path().display())));
    }
    wrong
}

/// The file system on `image`, mounted: its journal is played back, as at the next start of the machine.
fn with_mounted<T>(dir: &Path, image: &Path, look: impl FnOnce(&Host) -> T) -> T {
    let disk = dir.join("disk");
    std::fs::create_dir_all(&disk).expect("a directory");
    sh("mount -o loop \"$0\" \"$1\"", &[image, &disk]);
    let host = Host { disk };
    // A panic would leave the mount behind.
    let looked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| look(&host)));
    sh("umount \"$0\"", &[&host.disk]);
    looked.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
