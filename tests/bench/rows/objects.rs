//! Rows about what lies in the store: volumes, lists, images; and about a command that does nothing.

use crate::measure::{Entrant, Line, race};
use crate::report::{hold, times};
use crate::stage::{IMAGE, Stage, text};

pub fn volume(stage: &mut Stage) {
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

pub fn list(stage: &mut Stage) {
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

pub fn version(stage: &mut Stage) {
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

/// 187 MB of this machine's own files, as many as a small distribution has.
fn big(stage: &Stage) -> Result<String, String> {
    let tar = text(&stage.disk.join("big-rootfs.tar"));
    let list = "find /usr/bin /usr/share /usr/lib -xdev \\( -type f -o -type l \\) -printf '%s %p\\n' 2>/dev/null | sort -k2 | \
                awk '$1 < 20000000 { sum += $1; if (sum > 187000000) exit; print substr($0, index($0, \" \") + 1) }'";
    Line::sh(format!("{list} | tar -cf {tar} -T - 2>/dev/null; test -s {tar}")).run()?;
    Ok(tar)
}

pub fn load(stage: &mut Stage) {
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
            .before(fresh.clone())
            .after(gone.clone()),
        Entrant::new(
            format!("{piped}, and sync"),
            Line::sh(format!("{gzip} -dc {tar}.gz | tar -C {out} -x && sync -f {out}")),
        )
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
    hold(stage, "`image load`, .tar", &outcomes, "Ebb, .tar", 1.0, "tar x, and sync");
    hold(stage, "`image load`, .tar.gz", &outcomes, "Ebb, .tar.gz", 1.0, &piped);
    let _ = Line::sh(format!("rm -f {tar}* {archive}*")).run();
}
