//! Nothing lost: each command is killed at each of its system calls in turn, and is given each error that a full or a
//! broken disk gives. After each the store must be sound, other volumes untouched, and the command must go on.
//!
//! `cargo test --test torture` tries a sample, evenly spread; `just torture` tries every point, and prints the table.

mod commands;
#[path = "../common/mod.rs"]
mod common;
mod crowd;
mod prepared;
mod strike;
mod tracer;

use commands::COMMANDS;
use tracer::Blow;

/// How many points of a command are tried in a plain test run: a kill, and each of the two errors.
const SAMPLE: (usize, usize) = (24, 8);

fn main() {
    // What `cargo test` passes on: `--list` of an editor, or a filter.
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.iter().any(|word| word == "--list") {
        return;
    }
    let whole = std::env::var_os("EBB_TORTURE").is_some_and(|value| value == "all");
    let only: Vec<&String> = words.iter().filter(|word| !word.starts_with('-')).collect();
    let is_wanted = |name: &str| only.is_empty() || only.iter().any(|word| name.contains(word.as_str()));
    println!("| what is done | points | failed to go on | bytes lost |\n|---|---|---|---|");
    let mut failures = Vec::new();
    for command in COMMANDS.iter().filter(|command| is_wanted(command.name)) {
        if let Some(why) = (command.lacks)() {
            println!("| `{}`: {why} | | | |", command.name);
            continue;
        }
        let blows: &[Blow] = &[Blow::Kill, Blow::Error(libc::ENOSPC), Blow::Error(libc::EIO)];
        for blow in blows {
            let sample = if *blow == Blow::Kill { SAMPLE.0 } else { SAMPLE.1 };
            let row = strike::try_points(command, *blow, if whole { usize::MAX } else { sample });
            row.print(&format!("`{}`, {}", command.name, blow.words()));
            failures.extend(row.failures);
        }
    }
    for (name, crowd) in crowd::CROWDS.iter().filter(|(name, _)| is_wanted(name)) {
        let row = crowd(whole);
        row.print(name);
        failures.extend(row.failures);
    }
    if !failures.is_empty() {
        eprintln!("\n{} failures:\n{}", failures.len(), failures.join("\n\n"));
        std::process::exit(1);
    }
}

/// One line of the table.
#[derive(Default)]
pub struct Row {
    pub points: usize,
    pub lost: u64,
    /// What went wrong, in full.
    pub failures: Vec<String>,
}

impl Row {
    fn print(&self, name: &str) {
        println!("| {name} | {} | {} | {} |", self.points, self.failures.len(), self.lost);
    }
}
