//! Tables, in Markdown.

use crate::measure::{Line, Outcome};
use crate::stage::Stage;

/// An aim of the issue, and what came out.
pub struct Verdict {
    pub work: String,
    pub aim: String,
    pub measured: String,
    /// None where what it is held against is not installed.
    pub held: Option<bool>,
}

/// Machine, kernel, versions, command and date.
pub fn machine(stage: &Stage) {
    let first = |line: Line| line.output().ok().and_then(|text| text.lines().next().map(str::to_owned));
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map(|rest| rest.trim_start_matches([' ', '\t', ':']));
    let cpus = cpu.lines().filter(|line| line.starts_with("processor")).count();
    let memory = read("/proc/meminfo");
    let memory = memory.split_whitespace().nth(1).and_then(|kb| kb.parse::<u64>().ok()).unwrap_or(0) >> 20;
    println!("- command: `just bench {}`", stage.options.words.join(" "));
    println!("- date: {}", first(Line::sh("date -u +'%Y-%m-%d %H:%M UTC'")).unwrap_or_default());
    println!("- machine: {cpus} × {}, {memory} GiB, load {}", model.unwrap_or("cpu"), read("/proc/loadavg").trim());
    println!("- kernel: {}", read("/proc/sys/kernel/osrelease").trim());
    println!("- storage: {}", stage.storage);
    let mut versions = vec![first(stage.ebb().words("--version")).unwrap_or_default()];
    for peer in ["crun", "runc", "podman", "dockerd", "conmon"] {
        versions.extend(first(Line::new([peer, "--version"])));
    }
    println!("- versions: {}", versions.join("; "));
    let (found, all) = super::order::found(stage.measured_program());
    println!(
        "- order: {found} of the {all} functions that the linker was to lay side by side have the names of the list"
    );
    println!("- user: {}\n", if stage.root { "root" } else { "an ordinary user: rows of root's are left out" });
}

/// One table of times; the last column is the ratio to the first row that was measured.
pub fn times(title: &str, outcomes: &[Outcome]) {
    println!("### {title}\n");
    println!("| | rounds | best, ms | median, ms | ratio |\n|---|--:|--:|--:|--:|");
    let base = outcomes.iter().find_map(Outcome::median);
    for outcome in outcomes {
        match (&outcome.times, outcome.best(), outcome.median(), base) {
            (Ok(times), Some(best), Some(median), Some(base)) => {
                println!("| {} | {} | {best:.2} | {median:.2} | {:.2} |", outcome.name, times.len(), median / base);
            }
            (Err(said), ..) => println!("| {} | | | | not measured: {} |", outcome.name, said.replace('|', "/")),
            _ => {}
        }
    }
    println!();
}

/// Holds `whose` median against `limit` times `against`'s.
pub fn hold(stage: &mut Stage, work: &str, outcomes: &[Outcome], whose: &str, limit: f64, against: &str) {
    let median = |name: &str| outcomes.iter().find(|outcome| outcome.name == name).and_then(Outcome::median);
    let aim = format!("≤ {} × {against}", number(limit));
    match (median(whose), median(against)) {
        (Some(ours), Some(theirs)) => {
            let measured = format!("{} × ({ours:.2} ms; {against} {theirs:.2} ms)", number(ours / theirs));
            stage.verdicts.push(Verdict { work: work.into(), aim, measured, held: Some(ours <= limit * theirs) });
        }
        _ => stage.verdicts.push(Verdict { work: work.into(), aim, measured: "not measured here".into(), held: None }),
    }
}

fn number(ratio: f64) -> String {
    match ratio {
        ratio if ratio < 0.3 => format!("1/{}", (1.0 / ratio).round()),
        ratio => format!("{ratio:.2}"),
    }
}

pub fn verdicts(verdicts: &[Verdict]) {
    println!("### The aims\n\n| work | aim | measured | held |\n|---|---|---|---|");
    for verdict in verdicts {
        let held = match verdict.held {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "",
        };
        println!("| {} | {} | {} | {held} |", verdict.work, verdict.aim, verdict.measured);
    }
    println!();
}
