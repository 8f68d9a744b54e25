//! A volume as a tar and back, beside plain tar, podman's export, and what Docker's users type.

use crate::measure::{Entrant, Line, race};
use crate::report::{hold, times};
use crate::stage::{IMAGE, Stage, text};

/// Half of it random and half text, as a volume of data and logs is.
const FILL_LARGE: &str =
    "head -c 100000000 /dev/urandom > r; yes 'high water at 04:12, low water at 10:31' | head -c 100000000 > t";
const FILL_MANY: &str = "for d in $(seq 200); do mkdir d$d; for f in $(seq 100); do \
                         yes \"$d $f a line of text\" | head -c 1500 > d$d/f$f; done; done";

pub fn backup(stage: &mut Stage) {
    if !stage.root {
        return;
    }
    for (what, volume, fill) in [("200 MB", "bench-large", FILL_LARGE), ("20,000 files", "bench-many", FILL_MANY)] {
        let ebb = stage.ebb();
        let Ok(data) = made(&ebb, volume) else { return println!("`backup` is left out: no volume can be made\n") };
        if let Err(said) = Line::sh(format!("cd {data} && {fill}")).run() {
            return println!("`backup` is left out: {said}\n");
        }
        export(stage, what, volume, &data);
        import(stage, what, volume);
        let _ = ebb.words("volume rm --now").with([volume]).run();
    }
}

/// Makes a volume, and says where its data lies.
fn made(engine: &Line, volume: &str) -> Result<String, String> {
    engine.words("volume create").with([volume]).run()?;
    let place = engine.words("volume inspect -f").with(["{{.Mountpoint}}", volume]).output()?;
    Ok(place.trim().to_owned())
}

fn export(stage: &mut Stage, what: &str, volume: &str, data: &str) {
    let (ebb, disk) = (stage.ebb(), text(&stage.disk));
    let settle = Line::sh(format!("rm -f {disk}/backup.*; sync -f {disk}"));
    let to = |name: &str| format!("{disk}/backup.{name}");
    let ours = |name: &str| ebb.words("volume export -o").with([&to(name), volume]);
    let tar = format!("tar -C {data} -cf {} .", to("plain"));
    let mut entrants = vec![
        Entrant::new("Ebb, .tar", ours("tar")),
        Entrant::new("tar c", Line::sh(format!("exec {tar}"))),
        Entrant::new("tar c, and sync", Line::sh(format!("{tar} && sync -f {disk}"))),
        Entrant::new("Ebb, .tar.zst", ours("tar.zst")),
        Entrant::new("floor: open, fstat, read, close of each", stage.this().words("reads plain").with([data])),
        Entrant::new("floor, and listxattr", stage.this().words("reads attributes").with([data])),
    ];
    for engine in &stage.engines {
        let Ok(theirs) = made(&engine.line, volume) else { continue };
        if Line::sh(format!("cp -a {data}/. {theirs}/")).run().is_err() {
            continue;
        }
        let idiom = engine.line.words("run --rm").words(&engine.no_net).words("-v").with([format!("{volume}:/data")]);
        let idiom = idiom.words("-v").with([format!("{disk}:/backup")]).with([IMAGE]);
        let idiom = idiom.words("tar czf /backup/backup.tgz -C /data .");
        entrants.push(Entrant::new(format!("{}: run --rm … tar czf", engine.name), idiom));
        if engine.name == "podman" {
            let line = engine.line.words("volume export -o").with([&to("podman"), volume]);
            entrants.push(Entrant::new("podman volume export", line));
        }
    }
    let entrants: Vec<Entrant> = entrants.into_iter().map(|entrant| entrant.before(settle.clone())).collect();
    let outcomes = race(&entrants, (stage.options.rounds / 3).max(3));
    let title = format!("`volume export` of {what}");
    times(&title, &outcomes);
    hold(stage, &title, &outcomes, "Ebb, .tar", 1.2, "tar c");
    hold(stage, &title, &outcomes, "Ebb, .tar", 1.2, "tar c, and sync");
    hold(stage, &title, &outcomes, "Ebb, .tar.zst", 0.1, "docker: run --rm … tar czf");
    hold(stage, &format!("{title}, only read"), &outcomes, "floor, and listxattr", 0.1, "docker: run --rm … tar czf");
    let _ = settle.run();
}

fn import(stage: &mut Stage, what: &str, volume: &str) {
    let (ebb, disk) = (stage.ebb(), text(&stage.disk));
    let (tar, out) = (format!("{disk}/backup.tar"), format!("{disk}/unpacked"));
    if let Err(said) = ebb.words("volume export -o").with([&tar, volume]).run() {
        return println!("`volume import` is left out: {said}\n");
    }
    let settle = Line::sh(format!("rm -rf {out}; mkdir {out}; sync -f {disk}"));
    let mut entrants = vec![
        Entrant::new("Ebb", ebb.words("volume import").with([volume, &tar])),
        Entrant::new("tar x", Line::new(["tar", "-C", &out, "-xf", &tar])),
        Entrant::new("tar x, and sync", Line::sh(format!("tar -C {out} -xf {tar} && sync -f {disk}"))),
    ];
    for engine in stage.engines.iter().filter(|engine| engine.name == "podman") {
        let line = engine.line.words("volume import").with([volume, &tar]);
        entrants.push(Entrant::new("podman volume import", line));
    }
    let entrants: Vec<Entrant> = entrants.into_iter().map(|entrant| entrant.before(settle.clone())).collect();
    let outcomes = race(&entrants, (stage.options.rounds / 3).max(3));
    let title = format!("`volume import` of {what}");
    times(&title, &outcomes);
    hold(stage, &title, &outcomes, "Ebb", 1.2, "tar x");
    hold(stage, &title, &outcomes, "Ebb", 1.0, "tar x, and sync");
    for engine in &stage.engines {
        let _ = engine.line.words("volume rm").with([volume]).run();
    }
    let _ = Line::sh(format!("rm -rf {out} {disk}/backup.*")).run();
}
