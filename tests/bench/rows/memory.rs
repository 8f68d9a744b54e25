//! Rows about what stays: the memory beside containers that sleep, and fifty of them.

use super::{once, ours};
use crate::floor::{self, FULL};
use crate::measure::Line;
use crate::memory;
use crate::report::Verdict;
use crate::stage::{IMAGE, Stage, text};
use std::collections::BTreeMap;
use std::time::Instant;

fn judge(stage: &mut Stage, work: &str, limit: f64, (ours, theirs): (f64, f64), against: &str, unit: &str) {
    let aim = format!("≤ {limit} × {against}");
    let (measured, held) = match theirs > 0.0 {
        true => (
            format!("{:.2} × ({ours:.0} {unit}; {against} {theirs:.0} {unit})", ours / theirs),
            Some(ours <= limit * theirs),
        ),
        false => (format!("{ours:.0} {unit}; {against} is not here"), None),
    };
    stage.verdicts.push(Verdict { work: work.into(), aim, measured, held });
}

pub fn remember(stage: &mut Stage) {
    const COUNT: usize = 10;
    let mut all = vec![("Ebb".to_owned(), stage.ebb(), "--network none".to_owned(), "rm -f".to_owned())];
    all.extend(
        stage
            .engines
            .iter()
            .map(|engine| (engine.name.clone(), engine.line.clone(), engine.no_net.clone(), engine.rm.clone())),
    );
    for (_, line, no_net, _) in &all {
        for number in 0..COUNT {
            let _ = line
                .words("run -d --name")
                .with([format!("bench-m{number}")])
                .words(no_net)
                .words(IMAGE)
                .words("sleep 100000")
                .run();
        }
    }
    println!(
        "### Memory of what stays beside {COUNT} idle containers\n\n| process | of them | proportional set size each, kB |\n|---|--:|--:|"
    );
    let each = |name: &str, exe: &str, word: &str| -> f64 {
        let (count, kb) = memory::proportional(exe, word);
        if count > 0 {
            println!("| {name} | {count} | {} |", kb / count as u64);
        }
        if count > 0 { kb as f64 / count as f64 } else { 0.0 }
    };
    let supervisor = each("Ebb's supervisor", &text(stage.ebb_path()), "");
    let conmon = each("conmon (podman)", "conmon", &text(&stage.disk));
    each("containerd-shim-runc-v2 (docker)", "containerd-shim-runc-v2", &text(&stage.options.dir));
    each("dockerd", "dockerd", &text(&stage.options.dir));
    each("containerd (docker)", "containerd", &text(&stage.options.dir));
    println!();
    for (_, line, _, rm) in &all {
        let names: Vec<String> = (0..COUNT).map(|number| format!("bench-m{number}")).collect();
        let _ = line.words(rm).with(names).run();
    }
    judge(stage, "supervisor of a detached container, PSS", 0.6, (supervisor, conmon), "conmon", "kB");

    peak(stage);
}

fn peak(stage: &mut Stage) {
    let mut runs = vec![("Ebb, with its supervisor".to_owned(), ours(stage))];
    runs.extend(
        stage.runtimes.iter().map(|runtime| {
            (runtime.name.clone(), runtime.line.words("run --bundle").with([&runtime.once, "bench-peak"]))
        }),
    );
    runs.extend(stage.engines.iter().map(|engine| (engine.name.clone(), once(&engine.line, &engine.no_net))));
    println!(
        "### Peak resident memory of one `run`, kB\n\n| | largest process | the same, its files read anew from the disk |\n|---|--:|--:|"
    );
    let (mut peaks, mut anew) = (BTreeMap::new(), BTreeMap::new());
    for (name, line) in &runs {
        peaks.extend(largest(stage, line).map(|most| (name.as_str(), most)));
    }
    // How much of a file the kernel maps at a fault depends on the pages that hold it, which are larger for what has just been
    // written than for what was read: all begin alike.
    nix::unistd::sync();
    let dropped = std::fs::write("/proc/sys/vm/drop_caches", "1").is_ok();
    for (name, line) in runs.iter().filter(|_| dropped) {
        let _ = line.run();
        anew.extend(largest(stage, line).map(|most| (name.as_str(), most)));
    }
    for (name, most) in &peaks {
        println!("| {name} | {most} | {} |", anew.get(name).map_or("-".to_owned(), ToString::to_string));
    }
    println!();
    for (what, peaks) in [("peak memory of one `run`", &peaks), ("the same, files read anew", &anew)] {
        let of = |name: &str| peaks.get(name).copied().unwrap_or(0.0);
        judge(stage, what, 1.0, (of("Ebb, with its supervisor"), of("crun")), "crun", "kB");
    }
}

/// The smallest of three runs' peaks: what it needs at least.
fn largest(stage: &Stage, line: &Line) -> Option<f64> {
    let file = stage.options.dir.join("peak");
    let peaks = (0..3).filter_map(|_| {
        stage.this().with(["peak", &text(&file)]).after(line).run().ok()?;
        std::fs::read_to_string(&file).ok()?.parse::<u64>().ok()
    });
    peaks.min().map(|most| most as f64)
}

pub fn fifty(stage: &mut Stage) {
    const COUNT: usize = 50;
    let mut all = vec![("Ebb".to_owned(), stage.ebb(), "--network none".to_owned(), "rm -f".to_owned())];
    all.extend(
        stage
            .engines
            .iter()
            .map(|engine| (engine.name.clone(), engine.line.clone(), engine.no_net.clone(), engine.rm.clone())),
    );
    println!("### {COUNT} containers started detached, one after another\n");
    println!(
        "| | ms each | the first ten | the last ten | all memory that supervises them, MB | `rm -f` of all, ms |\n|---|--:|--:|--:|--:|--:|"
    );
    let mut found = std::collections::BTreeMap::new();
    for (name, line, no_net, rm) in &all {
        let _ = Line::sh("sync; echo 1 > /proc/sys/vm/drop_caches").run();
        let before = memory::in_use();
        let mut spans = Vec::new();
        for number in 0..COUNT {
            let start = line
                .words("run -d --name")
                .with([format!("bench-s{number}")])
                .words(no_net)
                .words(IMAGE)
                .words("sleep 100000");
            let began = Instant::now();
            if let Err(said) = start.run() {
                eprintln!("{said}");
            }
            spans.push(began.elapsed().as_secs_f64() * 1e3);
        }
        let held = (memory::in_use() - before) as f64 / 1024.0;
        let names: Vec<String> = (0..COUNT).map(|number| format!("bench-s{number}")).collect();
        let began = Instant::now();
        let _ = line.words(rm).with(names).run();
        let removal = began.elapsed().as_secs_f64() * 1e3;
        let mean = |spans: &[f64]| spans.iter().sum::<f64>() / spans.len() as f64;
        println!(
            "| {name} | {:.1} | {:.1} | {:.1} | {held:.1} | {removal:.0} |",
            mean(&spans),
            mean(&spans[..10]),
            mean(&spans[COUNT - 10..])
        );
        found.insert(name.clone(), (mean(&spans), held));
    }
    let alone = unwatched(stage, COUNT);
    println!("| the same containers, and nobody who watches them | | | | {alone:.1} | |\n");
    let of = |name: &str| found.get(name).copied().unwrap_or_default();
    judge(stage, "50 containers, one after another", 0.1, (of("Ebb").0, of("podman").0), "podman", "ms each");
    judge(stage, "50 containers: memory", 0.5, (of("Ebb").1, of("podman").1), "podman", "MB");
    let (ours, podmans) = (of("Ebb").1 - alone, of("podman").1 - alone);
    judge(stage, "50 containers: memory beside the containers' own", 0.5, (ours, podmans), "podman", "MB");
}

/// What `count` containers hold in MB that nobody supervises: namespaces, mounts, cgroups and a sleeping process each.
fn unwatched(stage: &Stage, count: usize) -> f64 {
    let features = format!("{},ids,six,record,leave", FULL.replace(",log", ""));
    let line = stage.floor_of(&features, "/bin/sleep 100000");
    let _ = Line::sh("sync; echo 1 > /proc/sys/vm/drop_caches").run();
    let before = memory::in_use();
    let told: Vec<String> = (0..count).filter_map(|_| line.output().ok()).collect();
    let held = (memory::in_use() - before) as f64 / 1024.0;
    told.iter().for_each(|one| floor::clear_left(one));
    held
}
