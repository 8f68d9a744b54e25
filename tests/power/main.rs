//! The power goes: a machine of qemu's plays commands, and its disk remembers all that it was told. For many moments, that
//! disk is made which a power cut would have left: what was in the machine's memory is gone, and so is what nobody had
//! flushed. Whatever was answered before must be there, and whole.
//!
//! Not part of `cargo test`: `just power-cut`, as root, says what it needs. tests/power/README.md has the results.

#[path = "../common/mod.rs"]
mod common;
mod copy_up;
mod disk;
mod machine;
mod played;
mod scenarios;
mod unsynced;

use disk::Fate;
use machine::{Machine, sh};
use scenarios::{Host, SCENARIOS, Scenario};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// Moments of each scenario at which the power goes.
const CUTS: usize = 100;

fn main() {
    let mut words: Vec<String> = std::env::args().collect();
    if words.remove(0).ends_with(unsynced::NAME) {
        eprintln!("{}: {}", words.join(" "), unsynced::execute(&words));
        std::process::exit(127);
    }
    if words.iter().any(|word| word == "--list") {
        return;
    }
    let mut missing = machine::missing(&["qemu-system-x86_64", "busybox", "modprobe", "strip", "mkfs.ext4"]);
    if !common::is_root() {
        missing.push("root, to mount the disk again");
    }
    if !missing.is_empty() {
        eprintln!("power: needs {}", missing.join(", "));
        eprintln!("  apt-get install qemu-system-x86 linux-image-amd64 busybox-static kmod binutils e2fsprogs");
        std::process::exit(1);
    }
    let cuts = std::env::var("EBB_POWER_CUTS").map_or(CUTS, |text| text.parse().expect("a number of cuts"));
    let only = words.iter().find(|word| !word.starts_with('-'));
    let dir = common::scratch("power");
    let work = dir.join("work");
    let archives = dir.join("archives");
    for place in [&work, &archives] {
        std::fs::create_dir(place).expect("a directory");
    }
    for scenario in SCENARIOS {
        std::fs::write(work.join(scenario.name), format!("{}\n", scenario.script)).expect("a script");
        let script = format!("ebb() {{ /work/{} ebb \"$@\"; }}\n{}\n", unsynced::NAME, scenario.script);
        std::fs::write(work.join(format!("{}-{}", unsynced::NAME, scenario.name)), script).expect("a script");
    }
    let own = std::env::current_exe().expect("its own path");
    sh("strip -o \"$1/$2\" \"$0\"", &[&own, &work, Path::new(unsynced::NAME)]);
    scenarios::make_archives(&archives);
    let machine = Machine::new(&dir, &work, &["virtio_pci", "virtio_blk", "ext4", "overlay", "loop"], &[]);
    println!("| what is under way | cuts | with bytes lost | bytes that the disk lost | answers not kept |");
    println!("|---|--:|--:|--:|--:|");
    let mut failures = Vec::new();
    for scenario in SCENARIOS.iter().filter(|scenario| only.is_none_or(|only| scenario.name.contains(only.as_str()))) {
        let name = scenario.name.replace('-', " ");
        let row = play(&dir, &machine, scenario, scenario.name, cuts);
        row.print(&name);
        // What fails to lose without a sync shows nothing by keeping all with one.
        let mut control = row;
        if !scenario.is_control {
            failures.extend(control.wrong);
            control = play(&dir, &machine, scenario, &format!("{}-{}", unsynced::NAME, scenario.name), cuts);
            control.print(&format!("{name}, its syncs answered and not done"));
        }
        if control.not_kept == 0 {
            failures.push(format!("{name}: nothing is lost without syncs, either: these cuts are none to fear"));
        }
    }
    std::fs::remove_dir_all(&dir).expect("removed");
    if !failures.is_empty() {
        eprintln!("\n{} failures:\n{}", failures.len(), failures.join("\n\n"));
        std::process::exit(1);
    }
}

/// What became of one scenario: the rest of its line of the table, and what went wrong.
fn play(dir: &Path, machine: &Machine, scenario: &Scenario, script: &str, most: usize) -> Row {
    let base = dir.join("base.img");
    sh(
        "rm -f \"$0\" && truncate -s 256M \"$0\" && mkfs.ext4 -q -E lazy_itable_init=0,lazy_journal_init=0 \"$0\"",
        &[&base],
    );
    with_mounted(dir, &base, |host| {
        host.ok(["system", "check"]);
        (scenario.prepare)(host);
    });
    let image = dir.join("disk.img");
    sh("cp --sparse=always \"$0\" \"$1\"", &[&base, &image]);
    let seen = played::play(machine, &image, script, scenario.answers);
    let mut row = Row { wrong: seen.failed, ..Row::default() };
    for (round, moment) in seen.history.moments(most).into_iter().enumerate() {
        let fate = match round % 4 {
            0 => Fate::AllLost,
            3 => Fate::NoneLost,
            _ => Fate::SomeLost { seed: round as u64 * 1_000_003 },
        };
        sh("cp --sparse=always \"$0\" \"$1\"", &[&base, &image]);
        let lost = seen.history.replay(&image, moment, fate).expect("the disk is made");
        let answered = seen.history.answered(moment);
        let looked = catch_unwind(AssertUnwindSafe(|| {
            with_mounted(dir, &image, |host| {
                let wrong = (scenario.verify)(host, answered);
                (wrong, if scenario.is_control { Vec::new() } else { goes_on(host) })
            })
        }));
        let (not_kept, other) = looked.unwrap_or_else(|panic| {
            let said = panic.downcast_ref::<String>().cloned().unwrap_or_else(|| "it panicked".into());
            (vec![said], Vec::new())
        });
        row.cuts += 1;
        row.with_loss += usize::from(lost > 0);
        row.lost_bytes += lost;
        row.not_kept += not_kept.len();
        let shown = |wrong: String| format!("{script}, moment {moment}, {fate:?}, {answered} answered: {wrong}");
        row.wrong.extend(not_kept.into_iter().chain(other).map(shown));
    }
    row
}

/// A line of the table.
#[derive(Default)]
struct Row {
    cuts: usize,
    /// Cuts at which the disk had something to lose, and lost it.
    with_loss: usize,
    lost_bytes: u64,
    not_kept: usize,
    /// What went wrong, in full.
    wrong: Vec<String>,
}

impl Row {
    fn print(&self, name: &str) {
        println!("| {name} | {} | {} | {} | {} |", self.cuts, self.with_loss, self.lost_bytes, self.not_kept);
    }
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
    unmount(&host.disk);
    looked.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// The mounts of a container that has just ended hold the file system for a moment longer than its process lives.
fn unmount(disk: &Path) {
    for _ in 0..200 {
        let umount = std::process::Command::new("umount").arg(disk).stderr(std::process::Stdio::null()).status();
        if umount.expect("umount starts").success() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("{} stays busy", disk.display());
}
