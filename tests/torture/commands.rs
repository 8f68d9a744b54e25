//! The commands that are struck, the state that each begins with, and what must hold after it.

use crate::Row;
use crate::common::Ebb;
use crate::tracer::{self, Blow};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A command under torture.
pub struct Command {
    pub name: &'static str,
    words: &'static [&'static str],
    /// Commands that make what it needs; run again before each point.
    before: &'static [&'static [&'static str]],
    /// What must answer after the blow and the next ordinary command: the old state or the new one.
    either: &'static [&'static [&'static str]],
    /// What is neither the old state nor the new one, looked at right after the blow and the next ordinary command.
    holds: fn(&Ebb) -> Result<(), String>,
    /// Commands that clear away what it made, whatever became of it.
    after: &'static [&'static [&'static str]],
}

const RUN_BOX: &[&str] = &["run", "-d", "--name", "box", "busybox", "sleep", "1000"];
const NO_BOX: &[&str] = &["rm", "-f", "box"];
/// A volume with two files in it, the second below a directory.
const FILLED: &[&str] =
    &["run", "--rm", "-v", "vase:/v", "busybox", "sh", "-c", "echo old > /v/a; mkdir /v/sub; echo old > /v/sub/b"];
const NO_VOLUMES: &[&[&str]] = &[&["volume", "rm", "-f", "--now", "vase", "urn"], &["volume", "trash", "empty", "-f"]];
const RESTORED: &[&str] = &["volume", "restore", "vase"];

pub const COMMANDS: &[Command] = &[
    Command {
        name: "volume create",
        words: &["volume", "create", "vase"],
        before: &[],
        either: &[&["volume", "create", "vase"]],
        holds: |_| Ok(()),
        after: NO_VOLUMES,
    },
    Command {
        name: "volume rm",
        words: &["volume", "rm", "vase"],
        before: &[FILLED],
        // Wherever it is now, it can be removed and brought back.
        either: &[&["volume", "rm", "-f", "vase"], RESTORED],
        holds: |ebb| one_of(ebb, &[("vase", OLD)], true),
        after: NO_VOLUMES,
    },
    Command {
        name: "volume rm --now",
        words: &["volume", "rm", "--now", "vase"],
        before: &[FILLED],
        either: &[&["volume", "rm", "-f", "--now", "vase"]],
        holds: |_| Ok(()),
        after: NO_VOLUMES,
    },
    Command {
        name: "volume restore",
        words: RESTORED,
        before: &[FILLED, &["volume", "rm", "vase"]],
        either: &[&["volume", "rm", "-f", "vase"], RESTORED],
        holds: |ebb| one_of(ebb, &[("vase", OLD)], true),
        after: NO_VOLUMES,
    },
    Command {
        name: "volume trash empty",
        words: &["volume", "trash", "empty", "-f"],
        before: &[FILLED, &["volume", "rm", "vase"]],
        either: &[&["volume", "trash", "empty", "-f"]],
        holds: |_| Ok(()),
        after: NO_VOLUMES,
    },
    Command {
        name: "volume prune",
        words: &["volume", "prune", "-f"],
        before: &[&["run", "--name", "box", "-v", "/anonymous", "busybox", "touch", "/anonymous/a"], &["rm", "box"]],
        either: &[&["volume", "prune", "-f"]],
        holds: one_anonymous,
        after: NO_VOLUMES,
    },
    Command {
        name: "volume rename",
        words: &["volume", "rename", "vase", "urn"],
        before: &[FILLED],
        either: &[],
        holds: |ebb| one_of(ebb, &[("vase", OLD), ("urn", OLD)], false),
        after: NO_VOLUMES,
    },
    Command {
        name: "volume clone",
        words: &["volume", "clone", "vase", "urn"],
        before: &[FILLED],
        either: &[&["volume", "rm", "-f", "--now", "urn"], &["volume", "clone", "vase", "urn"]],
        holds: |ebb| one_of(ebb, &[("vase", OLD)], false).and_then(|()| whole_or_not_there(ebb, "urn", OLD)),
        after: NO_VOLUMES,
    },
    Command {
        name: "volume import",
        words: &["volume", "import", "vase", "new.tar"],
        before: &[FILLED],
        either: &[&["volume", "import", "vase", "new.tar"]],
        holds: |ebb| match whole_or_not_there(ebb, "vase", OLD) {
            Err(_) => whole_or_not_there(ebb, "vase", NEW),
            old => old,
        },
        after: NO_VOLUMES,
    },
    Command {
        name: "create",
        words: &["create", "--name", "box", "-v", "vase:/etc", "busybox", "true"],
        before: &[],
        // Copy-up is finished by whoever comes next.
        either: &[
            NO_BOX,
            &["run", "--rm", "-v", "vase:/etc", "busybox", "test", "-s", "/etc/passwd", "-a", "-s", "/etc/group"],
            &["create", "--name", "box", "-v", "vase:/etc", "busybox", "true"],
        ],
        holds: |_| Ok(()),
        after: &[NO_BOX, &["volume", "rm", "-f", "--now", "vase"]],
    },
    Command {
        name: "run -d",
        words: RUN_BOX,
        before: &[],
        either: &[NO_BOX, RUN_BOX],
        holds: |_| Ok(()),
        after: &[NO_BOX],
    },
    Command {
        name: "run --rm",
        words: &["run", "--rm", "--name", "box", "-v", "/anonymous", "busybox", "sh", "-c", "echo x > /x; sync"],
        before: &[],
        either: &[NO_BOX, RUN_BOX],
        holds: |_| Ok(()),
        after: &[NO_BOX, &["volume", "prune", "-f"], &["volume", "trash", "empty", "-f"]],
    },
    Command {
        name: "stop",
        words: &["stop", "-t", "0", "box"],
        before: &[RUN_BOX],
        either: &[&["stop", "-t", "0", "box"], &["start", "box"]],
        holds: |_| Ok(()),
        after: &[NO_BOX],
    },
    Command {
        name: "rm -f",
        words: &["rm", "-fv", "box"],
        before: &[&[
            "run",
            "-d",
            "--name",
            "box",
            "-v",
            "/anonymous",
            "busybox",
            "sh",
            "-c",
            "mkdir -p /d/e; touch /d/e/f; exec sleep 1000",
        ]],
        either: &[NO_BOX, RUN_BOX],
        holds: |_| Ok(()),
        after: &[NO_BOX, &["volume", "prune", "-f"], &["volume", "trash", "empty", "-f"]],
    },
    Command {
        name: "exec",
        words: &["exec", "box", "sh", "-c", "echo x > /x"],
        before: &[RUN_BOX],
        either: &[&["exec", "box", "true"]],
        holds: |_| Ok(()),
        after: &[NO_BOX],
    },
    Command {
        name: "image load",
        words: &["image", "load", "-q", "-i", "ARCHIVE"],
        before: &[&["rmi", "-f", "busybox"]],
        either: &[&["image", "load", "-q", "-i", "ARCHIVE"], &["run", "--rm", "busybox", "true"]],
        holds: |_| Ok(()),
        after: &[],
    },
    Command {
        name: "image rm",
        words: &["image", "rm", "other"],
        before: &[&["tag", "busybox", "other"]],
        either: &[&["run", "--rm", "busybox", "true"]],
        holds: |_| Ok(()),
        after: &[&["rmi", "-f", "other"]],
    },
    Command {
        name: "cp",
        words: &["cp", "tree", "box:/copied"],
        before: &[&["create", "--name", "box", "busybox", "true"]],
        either: &[&["cp", "tree", "box:/copied"], &["start", "box"]],
        holds: |_| Ok(()),
        after: &[NO_BOX],
    },
    Command {
        name: "rename",
        words: &["rename", "box", "other"],
        before: &[&["create", "--name", "box", "busybox", "true"]],
        either: &[],
        holds: |ebb| {
            let names = ["box", "other"].map(|name| ebb.run(["inspect", "-f", "{{.Name}}", name]));
            let found: Vec<_> =
                names.iter().filter(|answer| answer.code == 0).map(|answer| answer.stdout.trim()).collect();
            if found.len() == 1 { Ok(()) } else { Err(format!("it has {} names: {found:?}", found.len())) }
        },
        after: &[NO_BOX, &["rm", "-f", "other"]],
    },
];

/// What is in the volume of [`FILLED`], as [`listing`] shows it.
const OLD: &str = "a old; sub/b old";
/// What is in new.tar.
const NEW: &str = "c new; tree/0 new; tree/1 new";

/// The files of a volume and what is in them; `None` where there is no such volume.
fn listing(ebb: &Ebb, name: &str) -> Option<String> {
    if ebb.run(["volume", "inspect", name]).code != 0 {
        return None;
    }
    let script = "cd /v; find . -type f | sort | while read -r f; do echo \"${f#./} $(cat $f)\"; done";
    let mount = format!("{name}:/v:ro");
    let shown = ebb.run(["run", "--rm", "-v", &mount, "busybox", "sh", "-c", script]);
    Some(shown.stdout.trim_end().replace('\n', "; "))
}

fn whole_or_not_there(ebb: &Ebb, name: &str, wanted: &str) -> Result<(), String> {
    match listing(ebb, name) {
        Some(found) if found != wanted => Err(format!("{name} holds {found:?}, and not {wanted:?}")),
        _ => Ok(()),
    }
}

/// Exactly one of the volumes is there, whole; or else it is in the trash, where that is as good.
fn one_of(ebb: &Ebb, volumes: &[(&str, &str)], or_in_trash: bool) -> Result<(), String> {
    let found: Vec<_> = volumes.iter().filter_map(|(name, wanted)| Some((name, wanted, listing(ebb, name)?))).collect();
    let trash = ebb.run(["volume", "trash", "ls", "-q"]).stdout.lines().count();
    match found.as_slice() {
        [(_, wanted, now)] if now == *wanted && trash == 0 => Ok(()),
        [] if or_in_trash && trash == 1 => Ok(()),
        _ => Err(format!("there are {found:?}, and {trash} in the trash")),
    }
}

fn one_anonymous(ebb: &Ebb) -> Result<(), String> {
    let unnamed = ["volume", "ls", "-q", "-f", "label=com.docker.volume.anonymous"];
    let (here, trash) = (ebb.run(unnamed).stdout, ebb.run(["volume", "trash", "ls", "-q"]).stdout);
    match here.lines().count() + trash.lines().count() {
        1 => Ok(()),
        _ => Err(format!("there is {here:?}, and {trash:?} in the trash")),
    }
}

/// Strikes `command` at up to `most` of its points, evenly spread, and holds each against the invariants.
pub fn try_points(command: &Command, blow: Blow, most: usize) -> Row {
    let ebb = Ebb::new();
    std::fs::create_dir_all(ebb.dir.join("tree/sub")).expect("a tree");
    for number in 0..5 {
        std::fs::write(ebb.dir.join(format!("tree/sub/{number}")), "x".repeat(1000)).expect("a file");
    }
    for number in 0..2 {
        std::fs::create_dir_all(ebb.dir.join("new/tree")).expect("a tree");
        std::fs::write(ebb.dir.join(format!("new/tree/{number}")), "new\n").expect("a file");
    }
    std::fs::write(ebb.dir.join("new/c"), "new\n").expect("a file");
    let mut tar = std::process::Command::new("tar");
    assert!(
        tar.args(["-C", "new", "-cf", "new.tar", "."]).current_dir(&ebb.dir).status().expect("tar starts").success()
    );
    // Another's volume, of which no byte may change.
    ebb.ok(["run", "--rm", "-v", "bystander:/v", "busybox", "sh", "-c", "seq 1 1000 > /v/numbers"]);
    let bystander = bystander(&ebb);
    let others = cgroups();
    let mut row = Row::default();
    let all = strike(&ebb, command, blow, usize::MAX, &mut row, &bystander).unwrap_or(0);
    let step = (all as f64 / most.min(all.max(1)) as f64).max(1.0);
    let mut at = 0.0;
    while (at as usize) < all {
        strike(&ebb, command, blow, at as usize, &mut row, &bystander);
        row.points += 1;
        at += step;
    }
    ebb.run(["rm", "-f", "box"]);
    clean_at_the_end(&ebb, &mut row, command.name);
    let mut left: Vec<_> = cgroups().difference(&others).cloned().collect();
    if !left.is_empty() {
        // Other stores have their cgroups beside ours: of a container of theirs that was about to start or to end, nothing
        // is left by now.
        ebb.run(["run", "--rm", "busybox", "true"]);
        let still = cgroups();
        left.retain(|cgroup| still.contains(cgroup));
    }
    if !left.is_empty() {
        row.failures.push(format!("`{}`, in the end: cgroups are left: {left:?}", command.name));
    }
    row
}

/// Ebb's cgroups in which there is no process, of every store: those of version 1's trees, and of version 2's only one.
fn cgroups() -> BTreeSet<PathBuf> {
    let entries = |place: &Path| std::fs::read_dir(place).into_iter().flatten().flatten().map(|entry| entry.path());
    let root = Path::new("/sys/fs/cgroup");
    let places = entries(root).chain([root.to_owned()]).map(|tree| tree.join("ebb"));
    let is_empty = |cgroup: &PathBuf| std::fs::read_to_string(cgroup.join("tasks")).unwrap_or_default().is_empty();
    places
        .flat_map(|place| entries(&place).filter(|entry| entry.is_dir()).collect::<Vec<_>>())
        .filter(is_empty)
        .collect()
}

fn words(words: &[&str]) -> Vec<String> {
    let archive = crate::common::busybox_archive().to_str().expect("UTF-8");
    words.iter().map(|word| if *word == "ARCHIVE" { archive.to_owned() } else { (*word).to_owned() }).collect()
}

fn bystander(ebb: &Ebb) -> Vec<u8> {
    let place = ebb.ok(["volume", "inspect", "-f", "{{.Mountpoint}}", "bystander"]);
    std::fs::read(Path::new(&place).join("numbers")).unwrap_or_default()
}

/// One point: what it begins with, the blow, the next ordinary command, the invariants. Returns the number of points.
fn strike(ebb: &Ebb, command: &Command, blow: Blow, at: usize, row: &mut Row, known: &[u8]) -> Option<usize> {
    for before in command.before {
        let answer = ebb.run(words(before));
        if answer.code != 0 {
            row.failures.push(format!("{} at {at}, before it: {}", command.name, answer.shown()));
            return None;
        }
    }
    let mut struck = ebb.command();
    let null = || std::process::Stdio::null();
    struck.args(words(command.words)).stdout(null()).stderr(null());
    let traced = tracer::run(&mut struck, blow, at);
    let mut fail = |what: String| {
        let call = traced.struck.clone().unwrap_or_default();
        row.failures.push(format!("`{}`, {}, at point {at} ({call}): {what}", command.name, blow.words()));
    };
    // The next ordinary command clears what is left.
    let next = ebb.run(["volume", "create", "probe"]);
    if next.code != 0 {
        fail(format!("the next command fails: {}", next.shown()));
    }
    ebb.run(["volume", "rm", "--now", "probe"]);
    let check = ebb.run(["system", "check"]);
    if check.code != 0 {
        fail(format!("the store is not sound: {}", check.shown()));
    }
    if let Err(what) = (command.holds)(ebb) {
        fail(what);
    }
    for either in command.either {
        let answer = ebb.run(words(either));
        // To remove what is not there is as good, and to bring back what was never away.
        let is_so =
            ["No such container", "restore vase: there is a volume vase"].iter().any(|so| answer.stderr.contains(so));
        if answer.code != 0 && !is_so {
            fail(format!("it does not go on: {}", answer.shown()));
        }
    }
    for after in command.after {
        ebb.run(words(after));
    }
    let now = bystander(ebb);
    if now != known {
        row.lost += known.len().abs_diff(now.len()).max(1) as u64;
    }
    Some(traced.points)
}

/// At the end nothing is left: no mount, no process, nothing half-made.
fn clean_at_the_end(ebb: &Ebb, row: &mut Row, name: &str) {
    let mut fail = |what: String| row.failures.push(format!("`{name}`, in the end: {what}"));
    ebb.run(["create", "--name", "last", "busybox", "true"]);
    ebb.run(["rm", "last"]);
    let store = ebb.store();
    for directory in ["tmp", "trash", "containers"] {
        let left: Vec<_> = std::fs::read_dir(store.join(directory)).expect("the store").flatten().collect();
        if !left.is_empty() {
            fail(format!("{directory}/ holds {left:?}"));
        }
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("procfs");
    let shown = store.display().to_string();
    if let Some(mount) = mounts.lines().find(|line| line.contains(&shown)) {
        fail(format!("a mount is left: {mount}"));
    }
    let processes = processes_of(&store);
    if !processes.is_empty() {
        fail(format!("processes are left: {processes:?}"));
    }
}

/// Those with this store in their environment. A container's own process has another; it dies with its supervisor.
fn processes_of(store: &Path) -> Vec<String> {
    let wanted = format!("EBB_ROOT={}", store.display());
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").expect("procfs").flatten() {
        let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        if environment.split(|byte| *byte == 0).any(|word| word == wanted.as_bytes()) {
            let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let state = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            // One that has ended and is not yet reaped is no process any more.
            if !state.contains(") Z") {
                found.push(String::from_utf8_lossy(&command).replace('\0', " "));
            }
        }
    }
    found
}
