//! The rows of the table: who takes part in each, and what each is held against.

use crate::floor::FULL;
use crate::measure::{Entrant, Line, race};
use crate::report::{Verdict, hold, times};
use crate::stage::{IMAGE, Stage, text};
use crate::{memory, peers};
use std::time::Instant;

pub type Row = fn(&mut Stage);

pub const ALL: [(&str, Row); 11] = [
    ("run", run),
    ("dirty", dirty),
    ("rootless", rootless),
    ("detach", detach),
    ("exec", exec),
    ("volume", volume),
    ("list", list),
    ("version", version),
    ("memory", remember),
    ("load", load),
    ("fifty", fifty),
];

/// `run --rm` of an engine, by its options.
fn once(line: &Line, no_net: &str) -> Line {
    line.words("run --rm").words(no_net).with([IMAGE, "true"])
}

fn ours(stage: &Stage) -> Line {
    once(&stage.ebb(), "--network none")
}

fn run(stage: &mut Stage) {
    if !stage.root {
        return;
    }
    let mut entrants = vec![
        Entrant::new("Ebb", ours(stage)),
        Entrant::new("bare floor: namespaces, overlay, pivot, exec", stage.floor("net,volatile")),
        Entrant::new("the same with a seccomp filter", stage.floor("net,volatile,seccomp")),
        Entrant::new("full floor", stage.floor(FULL)),
        Entrant::new("full floor with Ebb's ids", stage.floor(&format!("{FULL},ids"))),
    ];
    for runtime in &stage.runtimes {
        let name = format!("{} run of a ready bundle", runtime.name);
        entrants.push(Entrant::new(name, runtime.line.words("run --bundle").with([&runtime.once, "bench-run"])));
    }
    for engine in &stage.engines {
        entrants.push(Entrant::new(engine.name.clone(), once(&engine.line, &engine.no_net)));
    }
    let outcomes = race(&entrants, stage.options.rounds);
    times("`run --rm IMG true`, no network, root", &outcomes);
    for (limit, against) in [
        (1.5, "full floor"),
        (1.5, "full floor with Ebb's ids"),
        (0.7, "crun run of a ready bundle"),
        (1.0 / 28.0, "docker"),
    ] {
        hold(stage, "`run --rm`, root", &outcomes, "Ebb", limit, against);
    }
}

fn dirty(stage: &mut Stage) {
    if !stage.root {
        return;
    }
    // In the container's own layer, and right before it ends.
    let soil = "dd if=/dev/zero of=/dirty bs=1M count=200 2>/dev/null; true";
    let file = text(&stage.disk.join("dirty"));
    let write = Line::sh(format!("dd if=/dev/urandom of={file} bs=1M count=200 status=none"));
    let clean = Line::sh(format!("rm -f {file}; sync -f {}", text(&stage.disk)));
    let around = |entrant: Entrant| entrant.before(write.clone()).after(clean.clone());
    let mut entrants = vec![
        Entrant::new("Ebb, clean", ours(stage)),
        around(Entrant::new("Ebb, 200 MB of dirty data on the same disk", ours(stage))),
        around(Entrant::new("floor with a volatile overlay, dirty", stage.floor("net,volatile"))),
        around(Entrant::new("floor without, dirty", stage.floor("net"))),
    ];
    for engine in &stage.engines {
        entrants.push(around(Entrant::new(format!("{}, dirty", engine.name), once(&engine.line, &engine.no_net))));
    }
    let outcomes = race(&entrants, stage.options.rounds.min(10));
    times("`run --rm` beside 200 MB of unwritten data", &outcomes);
    hold(
        stage,
        "`run --rm` with 200 MB dirty on its disk",
        &outcomes,
        "Ebb, 200 MB of dirty data on the same disk",
        1.1,
        "Ebb, clean",
    );
    let writes = |line: &Line, no_net: &str| line.words("run --rm").words(no_net).with([IMAGE, "sh", "-c", soil]);
    let sync = Line::sh(format!("sync -f {}", text(&stage.disk)));
    let mut entrants = vec![
        Entrant::new(
            "dd of 200 MB beside the container",
            Line::sh(format!("dd if=/dev/zero of={file} bs=1M count=200 2>/dev/null; rm {file}")),
        )
        .after(sync.clone()),
        Entrant::new("Ebb", writes(&stage.ebb(), "--network none")).after(sync.clone()),
    ];
    for engine in &stage.engines {
        entrants.push(Entrant::new(engine.name.clone(), writes(&engine.line, &engine.no_net)).after(sync.clone()));
    }
    let outcomes = race(&entrants, stage.options.rounds.min(10));
    times("`run --rm` that writes 200 MB into its own layer", &outcomes);
}

fn rootless(stage: &mut Stage) {
    if stage.root && stage.user.is_none() {
        println!("No ordinary user with subordinate ids is here (`--user NAME`): the row without root is left out.\n");
        return;
    }
    let mut entrants = vec![
        Entrant::new("Ebb", once(&stage.ebb_of_user(), "--network none")),
        Entrant::new("floor", stage.floor_of_user("one-id,net")),
        Entrant::new("floor, overlay volatile", stage.floor_of_user("one-id,net,volatile")),
        Entrant::new("full floor, without cgroups", stage.floor_of_user("one-id,net,volatile,seccomp,state,log")),
    ];
    let podman = stage.user.as_ref().and_then(|user| peers::podman_of_user(stage, user));
    if let Some(podman) = &podman {
        entrants.push(Entrant::new("podman", once(&podman.line, &podman.no_net)));
    }
    let outcomes = race(&entrants, stage.options.rounds);
    let who = stage.user.as_ref().map_or("the user that runs this", |user| &user.name);
    times(&format!("`run --rm IMG true`, no network, as an ordinary user ({who})"), &outcomes);
    if let Some(podman) = podman {
        // Its pause process would keep the disk busy.
        let _ = podman.line.words("system migrate").run();
    }
    hold(stage, "`run --rm`, without root", &outcomes, "Ebb", 1.5, "floor");
}

fn detach(stage: &mut Stage) {
    if !stage.root {
        return;
    }
    let asleep = |line: &Line, no_net: &str| {
        line.words("run -d --name bench-d").words(no_net).words(IMAGE).words("sleep 100000")
    };
    let all: Vec<(String, Line, Line)> =
        std::iter::once(("Ebb".to_owned(), asleep(&stage.ebb(), "--network none"), stage.ebb().words("rm -f bench-d")))
            .chain(stage.engines.iter().map(|engine| {
                (
                    engine.name.clone(),
                    asleep(&engine.line, &engine.no_net),
                    engine.line.words(&engine.rm).words("bench-d"),
                )
            }))
            .collect();
    let starts: Vec<Entrant> =
        all.iter().map(|(name, start, rm)| Entrant::new(name.clone(), start.clone()).after(rm.clone())).collect();
    let outcomes = race(&starts, stage.options.rounds);
    times("`run -d`, no network", &outcomes);
    hold(stage, "`run -d`", &outcomes, "Ebb", 1.0 / 15.0, "podman");
    let ends: Vec<Entrant> =
        all.iter().map(|(name, start, rm)| Entrant::new(name.clone(), rm.clone()).before(start.clone())).collect();
    let outcomes = race(&ends, stage.options.rounds);
    times("`rm -f` of a running container", &outcomes);
    hold(stage, "`rm -f` of a running one", &outcomes, "Ebb", 1.0 / 14.0, "docker");
}

fn exec(stage: &mut Stage) {
    let ebb = stage.ebb();
    let _ = ebb.words("run -d --name bench-e --network none").words(IMAGE).words("sleep 100000").run();
    let mut entrants = vec![Entrant::new("Ebb", ebb.words("exec bench-e true"))];
    if let Ok(pid) = ebb.words("inspect -f {{.State.Pid}} bench-e").output() {
        // Into the root directory, too; not into the user namespace's ids, which its program does not need.
        entrants
            .push(Entrant::new("nsenter --all", Line::new(["nsenter", "-t", &pid, "--all", "-r", "-w", "/bin/true"])));
    }
    for runtime in &stage.runtimes {
        let started = runtime.line.words("run -d --bundle").with([&runtime.asleep, "bench-exec"]).run();
        if let Err(said) = started {
            eprintln!("left out: {said}");
        }
        let name = format!("{} exec", runtime.name);
        entrants.push(Entrant::new(name, runtime.line.words("exec bench-exec /bin/true")));
    }
    for engine in &stage.engines {
        let _ =
            engine.line.words("run -d --name bench-e").words(&engine.no_net).words(IMAGE).words("sleep 100000").run();
        entrants.push(Entrant::new(engine.name.clone(), engine.line.words("exec bench-e true")));
    }
    let outcomes = race(&entrants, stage.options.rounds);
    times("`exec CONTAINER true`", &outcomes);
    hold(stage, "`exec`", &outcomes, "Ebb", 2.0, "nsenter --all");
    hold(stage, "`exec`", &outcomes, "Ebb", 0.7, "crun exec");
    let _ = ebb.words("rm -f bench-e").run();
    for runtime in &stage.runtimes {
        let _ = runtime.line.words("delete -f bench-exec").run();
    }
    for engine in &stage.engines {
        let _ = engine.line.words(&engine.rm).words("bench-e").run();
    }
}

fn volume(stage: &mut Stage) {
    let dir = text(&stage.disk.join("a-directory"));
    let mut entrants = vec![
        Entrant::new("Ebb", stage.ebb().words("volume create bench-v")).after(stage.ebb().words("volume rm bench-v")),
        Entrant::new("mkdir in a fresh process", Line::new(["mkdir", &dir])).after(Line::new(["rmdir", &dir])),
        Entrant::new("mkdir, and sync of that directory", Line::sh(format!("mkdir {dir} && exec sync {dir}")))
            .after(Line::new(["rmdir", &dir])),
    ];
    for engine in &stage.engines {
        let rm = engine.line.words("volume rm bench-v");
        entrants.push(Entrant::new(engine.name.clone(), engine.line.words("volume create bench-v")).after(rm));
    }
    let outcomes = race(&entrants, stage.options.rounds);
    times("`volume create`", &outcomes);
    hold(stage, "`volume create`", &outcomes, "Ebb", 1.5, "mkdir in a fresh process");
    hold(stage, "`volume create`", &outcomes, "Ebb", 1.0 / 8.0, "docker");
    hold(stage, "`volume create`", &outcomes, "Ebb", 1.0 / 8.0, "podman");
}

fn list(stage: &mut Stage) {
    let mut all = vec![("Ebb".to_owned(), stage.ebb(), "--network none".to_owned())];
    all.extend(stage.engines.iter().map(|engine| (engine.name.clone(), engine.line.clone(), engine.no_net.clone())));
    for (name, line, no_net) in &all {
        eprintln!("  1000 volumes and 50 containers of {name} …");
        for number in 0..1000 {
            let _ = line.words("volume create").with([format!("bench-l{number}")]).run();
        }
        for number in 0..50 {
            let _ = line
                .words("run --name")
                .with([format!("bench-p{number}")])
                .words(no_net)
                .with([IMAGE, "echo", "hello"])
                .run();
        }
    }
    for (title, words) in [
        ("`volume ls` of 1000", "volume ls"),
        ("`ps -a` of 50", "ps -a"),
        ("`inspect`", "inspect bench-p7"),
        ("`logs`", "logs bench-p7"),
    ] {
        let entrants: Vec<Entrant> =
            all.iter().map(|(name, line, _)| Entrant::new(name.clone(), line.words(words))).collect();
        let outcomes = race(&entrants, stage.options.rounds);
        times(title, &outcomes);
        hold(stage, title, &outcomes, "Ebb", 1.0 / 8.0, "docker");
    }
    for (name, line, _) in &all {
        let numbered =
            |stem: &str, count: usize| (0..count).map(|number| format!("{stem}{number}")).collect::<Vec<_>>();
        let rm = if name == "podman" { "rm -f -t 0" } else { "rm -f" };
        let _ = line.words(rm).with(numbered("bench-p", 50)).run();
        let _ = line.words("volume rm").with(numbered("bench-l", 1000)).run();
    }
}

fn version(stage: &mut Stage) {
    let mut entrants = vec![
        Entrant::new("Ebb", stage.ebb().words("--version")),
        Entrant::new("/bin/true", Line::new(["/bin/true"])),
        Entrant::new("true of a static busybox", Line::new([text(&stage.rootfs.join("bin/true"))])),
    ];
    for runtime in &stage.runtimes {
        entrants.push(Entrant::new(runtime.name.clone(), Line::new([&runtime.name, "--version"])));
    }
    for engine in &stage.engines {
        entrants.push(Entrant::new(engine.name.clone(), engine.line.words("--version")));
    }
    let outcomes = race(&entrants, stage.options.rounds * 5);
    times("`--version`", &outcomes);
    hold(stage, "`--version`", &outcomes, "Ebb", 1.2, "/bin/true");
}

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

fn remember(stage: &mut Stage) {
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

    let mut runs = vec![("Ebb, with its supervisor".to_owned(), ours(stage))];
    runs.extend(
        stage.runtimes.iter().map(|runtime| {
            (runtime.name.clone(), runtime.line.words("run --bundle").with([&runtime.once, "bench-peak"]))
        }),
    );
    runs.extend(stage.engines.iter().map(|engine| (engine.name.clone(), once(&engine.line, &engine.no_net))));
    println!("### Peak resident memory of one `run`, kB\n\n| | largest process |\n|---|--:|");
    let file = stage.options.dir.join("peak");
    let mut peaks = std::collections::BTreeMap::new();
    for (name, line) in runs {
        let most = (0..3).filter_map(|_| {
            stage.this().with(["peak", &text(&file)]).after(&line).run().ok()?;
            std::fs::read_to_string(&file).ok()?.parse::<u64>().ok()
        });
        let Some(most) = most.min() else { continue };
        println!("| {name} | {most} |");
        peaks.insert(name, most as f64);
    }
    println!();
    let peak = |name: &str| peaks.get(name).copied().unwrap_or(0.0);
    judge(stage, "peak memory of one `run`", 1.0, (peak("Ebb, with its supervisor"), peak("crun")), "crun", "kB");
}

/// 187 MB of this machine's own files, as many as a small distribution has.
fn big(stage: &Stage) -> Result<String, String> {
    let tar = text(&stage.disk.join("big-rootfs.tar"));
    let list = "find /usr/bin /usr/share /usr/lib -xdev \\( -type f -o -type l \\) -printf '%s %p\\n' 2>/dev/null | sort -k2 | \
                awk '$1 < 20000000 { sum += $1; if (sum > 187000000) exit; print substr($0, index($0, \" \") + 1) }'";
    Line::sh(format!("{list} | tar -cf {tar} -T - 2>/dev/null; test -s {tar}")).run()?;
    Ok(tar)
}

fn load(stage: &mut Stage) {
    let tar = match big(stage) {
        Ok(tar) => tar,
        Err(said) => return println!("`load` is left out: {said}\n"),
    };
    let ebb = stage.ebb();
    let gzip = if Line::new(["pigz", "--version"]).run().is_ok() { "pigz" } else { "gzip" };
    let archive = text(&stage.disk.join("big.tar"));
    ebb.with(["import", &tar, "benchbig"]).run().expect("import");
    ebb.with(["save", "-o", &archive, "benchbig"]).run().expect("save");
    let _ = ebb.words("rmi -f benchbig").run();
    Line::sh(format!("{gzip} -k -f {tar} && {gzip} -k -f {archive}")).run().expect("gzip");
    let out = text(&stage.disk.join("out"));
    let (fresh, gone) =
        (Line::sh(format!("rm -rf {out}; mkdir {out}; sync -f {out}")), Line::sh(format!("rm -rf {out}")));
    let piped = format!("{gzip} -dc | tar x");
    let settle = Line::sh(format!("sync -f {}", text(&stage.disk)));
    let mut entrants = vec![
        Entrant::new("Ebb, .tar", ebb.with(["load", "-q", "-i", &archive]))
            .before(settle.clone())
            .after(ebb.words("rmi -f benchbig")),
        Entrant::new("tar x", Line::new(["tar", "-C", &out, "-xf", &tar])).before(fresh.clone()).after(gone.clone()),
        Entrant::new("tar x, and sync", Line::sh(format!("tar -C {out} -xf {tar} && sync -f {out}")))
            .before(fresh.clone())
            .after(gone.clone()),
        Entrant::new("Ebb, .tar.gz", ebb.with(["load", "-q", "-i", &format!("{archive}.gz")]))
            .before(settle.clone())
            .after(ebb.words("rmi -f benchbig")),
        Entrant::new(piped.clone(), Line::sh(format!("{gzip} -dc {tar}.gz | tar -C {out} -x")))
            .before(fresh)
            .after(gone),
        Entrant::new("sha256sum of it", Line::new(["sha256sum", &tar])),
    ];
    for engine in &stage.engines {
        let rm = engine.line.words("rmi -f benchbig");
        let packed = match engine.name.as_str() {
            // podman 4.3 cannot read a compressed archive itself.
            "podman" => Line::sh(format!("{gzip} -dc {archive}.gz | {}", engine.line.words("load").shell())),
            _ => engine.line.with(["load", "-i", &format!("{archive}.gz")]),
        };
        for (kind, line) in [(".tar", engine.line.with(["load", "-i", &archive])), (".tar.gz", packed)] {
            entrants
                .push(Entrant::new(format!("{}, {kind}", engine.name), line).before(settle.clone()).after(rm.clone()));
        }
    }
    let outcomes = race(&entrants, (stage.options.rounds / 3).max(3));
    times("`image load` of a 187 MB root file system, digests checked, durable (removal is not timed)", &outcomes);
    hold(stage, "`image load`, .tar", &outcomes, "Ebb, .tar", 1.3, "tar x");
    hold(stage, "`image load`, .tar.gz", &outcomes, "Ebb, .tar.gz", 1.0, &piped);
    let _ = Line::sh(format!("rm -f {tar}* {archive}*")).run();
}

fn fifty(stage: &mut Stage) {
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
    println!();
    let of = |name: &str| found.get(name).copied().unwrap_or_default();
    judge(stage, "50 containers, one after another", 0.1, (of("Ebb").0, of("podman").0), "podman", "ms each");
    judge(stage, "50 containers: memory", 0.5, (of("Ebb").1, of("podman").1), "podman", "MB");
}
