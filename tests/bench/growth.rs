//! How cost grows with the number of things that a command has nothing to do with.

use crate::measure::{Entrant, Line, Outcome, race};
use crate::stage::{IMAGE, Stage, text};
use std::path::Path;

const COUNTS: [usize; 4] = [1, 10, 100, 1000];

pub fn tables(stage: &Stage) {
    // A store of its own for each table: nothing else is in it.
    grown(
        stage,
        "volumes",
        &COUNTS,
        "volume create seed-",
        &["volume create probe", "volume inspect seed-0", "volume ls", "ps -a", "run --rm --network none IMG true"],
    );
    grown(
        stage,
        "containers",
        &COUNTS,
        "create --network none IMG true --name seed-",
        &[
            "ps",
            "ps -a",
            "inspect seed-0",
            "logs seed-0",
            "volume create probe",
            "volume ls",
            "volume rm VOL",
            "run --rm --network none IMG true",
            "rm NEW",
        ],
    );
    layers(stage);
}

fn store(stage: &Stage, name: &str) -> Line {
    let ebb = stage.ebb().env("EBB_ROOT", text(&stage.disk.join(format!("grown-{name}"))));
    ebb.with(["import", &text(&stage.disk.join("small.tar")), IMAGE]).run().expect("import");
    ebb
}

fn grown(stage: &Stage, what: &str, counts: &[usize], make: &str, asked: &[&str]) {
    let ebb = store(stage, what);
    let spell = |words: &str| ebb.words(&words.replace("IMG", IMAGE).replace("VOL", "probe").replace("NEW", "probe"));
    let mut made = 0;
    let mut columns = Vec::new();
    for count in counts {
        while made < *count {
            let (words, name) = match make.split_once(" --name ") {
                Some((words, stem)) => {
                    (words.replacen("create ", &format!("create --name {stem}{made} "), 1), String::new())
                }
                None => (make.to_owned(), made.to_string()),
            };
            spell(&format!("{words}{name}")).run().expect("made");
            made += 1;
        }
        let entrants: Vec<Entrant> = asked
            .iter()
            .map(|words| {
                let entrant = Entrant::new(*words, spell(words));
                match *words {
                    "volume create probe" => entrant.after(spell("volume rm probe")),
                    "volume rm VOL" => entrant.before(spell("volume create probe")),
                    "rm NEW" => entrant.before(spell(&format!("create --name probe --network none {IMAGE} true"))),
                    _ => entrant,
                }
            })
            .collect();
        columns.push(race(&entrants, stage.options.rounds));
    }
    table(what, counts, &columns);
    remove(&ebb, stage, what);
}

/// Medians in ms, and the last column's ratio to the first.
fn table(what: &str, counts: &[usize], columns: &[Vec<Outcome>]) {
    println!("### How cost grows with {what} (medians, ms)\n");
    let heads: Vec<String> = counts.iter().map(usize::to_string).collect();
    println!(
        "| with this many {what} | {} | last / first |\n|---|{}--:|",
        heads.join(" | "),
        "--:|".repeat(counts.len())
    );
    for index in 0..columns[0].len() {
        let medians: Vec<Option<f64>> = columns.iter().map(|column| column[index].median()).collect();
        let cells: Vec<String> =
            medians.iter().map(|median| median.map_or("-".into(), |ms| format!("{ms:.2}"))).collect();
        let ratio = match (medians.first().copied().flatten(), medians.last().copied().flatten()) {
            (Some(first), Some(last)) => format!("{:.2}", last / first),
            _ => columns.iter().find_map(|column| column[index].times.as_ref().err().cloned()).unwrap_or_default(),
        };
        println!("| `{}` | {} | {ratio} |", columns[0][index].name, cells.join(" | "));
    }
    println!();
}

/// Images of 1 to 125 layers, each of which is a directory with a file.
fn layers(stage: &Stage) {
    let counts = [1, 10, 100, 125];
    let ebb = store(stage, "layers");
    let mut columns = Vec::new();
    for count in counts {
        let archive = stage.disk.join("layers.tar");
        pile(stage, &archive, count);
        ebb.with(["load", "-q", "-i", &text(&archive)]).run().expect("load");
        let image = format!("pile-{count}");
        let named = |words: &str| Entrant::new(words, ebb.words(&words.replace("IMG", &image)));
        columns.push(race(
            &[
                named("run --rm --network none IMG true"),
                named("image inspect IMG"),
                named("image ls"),
                named("create --rm IMG true").after(ebb.words("container prune -f")),
            ],
            stage.options.rounds,
        ));
    }
    table("layers", &counts, &columns);
    remove(&ebb, stage, "layers");
}

fn pile(stage: &Stage, archive: &Path, count: usize) {
    use sha2::{Digest, Sha256};
    let mut layers = vec![std::fs::read(stage.disk.join("small.tar")).expect("the small image")];
    for number in 1..count {
        let mut layer = tar::Builder::new(Vec::new());
        add(&mut layer, &format!("layer-{number}/file"), number.to_string().as_bytes());
        layers.push(layer.into_inner().expect("a tar"));
    }
    let ids: Vec<String> =
        layers.iter().map(|layer| format!("sha256:{}", ebb::store::id::hex(&Sha256::digest(layer)))).collect();
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": ids},
    });
    let names: Vec<String> = (0..count).map(|number| format!("{number}/layer.tar")).collect();
    let manifest =
        serde_json::json!([{"Config": "config.json", "RepoTags": [format!("pile-{count}:latest")], "Layers": names}]);
    let mut out = tar::Builder::new(std::fs::File::create(archive).expect("a file"));
    for (name, bytes) in names.iter().zip(&layers) {
        add(&mut out, name, bytes);
    }
    add(&mut out, "config.json", config.to_string().as_bytes());
    add(&mut out, "manifest.json", manifest.to_string().as_bytes());
    out.finish().expect("a tar");
}

fn add<W: std::io::Write>(archive: &mut tar::Builder<W>, name: &str, bytes: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, name, bytes).expect("packed");
}

/// Nothing runs in it; as an ordinary user some of it can only be removed by Ebb.
fn remove(ebb: &Line, stage: &Stage, what: &str) {
    let _ = ebb.words("container prune -f").run();
    let _ = ebb.words("volume prune -af").run();
    let _ = ebb.words("image prune -af").run();
    let _ = std::fs::remove_dir_all(stage.disk.join(format!("grown-{what}")));
}
