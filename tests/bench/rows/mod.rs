//! The rows of the table: who takes part in each, and what each is held against.

use crate::floor::{FULL, PROMISED};
use crate::measure::{Entrant, Line, race};
use crate::peers;
use crate::report::{hold, times};
use crate::stage::{IMAGE, Stage, text};

mod backup;
mod memory;
mod objects;

pub type Row = fn(&mut Stage);

pub const ALL: [(&str, Row); 12] = [
    ("run", run),
    ("dirty", dirty),
    ("rootless", rootless),
    ("detach", detach),
    ("exec", exec),
    ("volume", objects::volume),
    ("list", objects::list),
    ("version", objects::version),
    ("memory", memory::remember),
    ("load", objects::load),
    ("backup", backup::backup),
    ("fifty", memory::fifty),
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
        Entrant::new("and with a supervisor", stage.floor(&format!("{FULL},ids,supervisor"))),
        Entrant::new("and with a record", stage.floor(&format!("{FULL},ids,supervisor,record"))),
        Entrant::new("floor of what Ebb promises", stage.floor(&format!("{FULL},{PROMISED}"))),
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
        (1.5, "floor of what Ebb promises"),
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
        Entrant::new(
            "floor of what Ebb promises",
            stage.floor_of_user("one-id,subordinate,net,volatile,seccomp,dev,state,log,supervisor,record"),
        ),
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
    hold(stage, "`run --rm`, without root", &outcomes, "Ebb", 1.5, "floor of what Ebb promises");
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
