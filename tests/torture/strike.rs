//! A command is struck at each of its points, and held against what must be so after it.

use crate::Row;
use crate::commands::Command;
use crate::common::Ebb;
use crate::prepared;
use crate::tracer::{self, Blow};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Strikes `command` at up to `most` of its points, evenly spread, and holds each against the invariants.
pub fn try_points(command: &Command, blow: Blow, most: usize) -> Row {
    let ebb = Ebb::new();
    prepared::files(&ebb.dir);
    (command.once)(&ebb);
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
    if !crate::common::is_root() {
        // An ordinary user makes none there, and root's tests are no business of this one's.
        return BTreeSet::new();
    }
    let entries = |place: &Path| std::fs::read_dir(place).into_iter().flatten().flatten().map(|entry| entry.path());
    let root = Path::new("/sys/fs/cgroup");
    let places = entries(root).chain([root.to_owned()]).map(|tree| tree.join("ebb"));
    let listed = |cgroup: &Path, file: &str| std::fs::read_to_string(cgroup.join(file));
    let is_empty = |cgroup: &PathBuf| {
        listed(cgroup, "tasks").or_else(|_| listed(cgroup, "cgroup.procs")).unwrap_or_default().is_empty()
    };
    places
        .flat_map(|place| entries(&place).filter(|entry| entry.is_dir()).collect::<Vec<_>>())
        .filter(is_empty)
        .collect()
}

fn bystander(ebb: &Ebb) -> Vec<u8> {
    let place = ebb.ok(["volume", "inspect", "-f", "{{.Mountpoint}}", "bystander"]);
    std::fs::read(Path::new(&place).join("numbers")).unwrap_or_default()
}

/// One point: what it begins with, the blow, the next ordinary command, the invariants. Returns the number of points.
fn strike(ebb: &Ebb, command: &Command, blow: Blow, at: usize, row: &mut Row, known: &[u8]) -> Option<usize> {
    for before in command.before {
        let answer = ebb.run(prepared::words(before));
        if answer.code != 0 {
            row.failures.push(format!("{} at {at}, before it: {}", command.name, answer.shown()));
            return None;
        }
    }
    (command.prepare)(ebb);
    let mut struck = ebb.command();
    struck.args(prepared::words(command.words)).stdout(std::process::Stdio::null());
    struck.stderr(prepared::stderr_of_the_struck(ebb));
    let traced = tracer::run(&mut struck, blow, at);
    let mut fail = |what: String| {
        let call = traced.struck.clone().unwrap_or_default();
        row.failures.push(format!("`{}`, {}, at point {at} ({call}): {what}", command.name, blow.words()));
    };
    // The next ordinary command clears what is left.
    let next = ebb.run(["volume", "create", "probe"]);
    prepared::also_said(ebb, &next.stderr);
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
        let answer = ebb.run(prepared::words(either));
        // To remove what is not there is as good, and to bring back what was never away.
        let is_so =
            ["No such container", "restore vase: there is a volume vase"].iter().any(|so| answer.stderr.contains(so));
        if answer.code != 0 && !is_so {
            fail(format!("it does not go on: {}", answer.shown()));
        }
    }
    for after in command.after {
        ebb.run(prepared::words(after));
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
    let mut left = ebb.leftovers();
    let containers = std::fs::read_dir(store.join("containers")).expect("the store").flatten();
    left.extend(containers.map(|entry| entry.path().display().to_string()));
    if !left.is_empty() {
        fail(format!("the store holds {left:?}"));
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("procfs");
    let shown = store.display().to_string();
    if let Some(device) = loop_devices().iter().find(|file| file.contains(&shown)) {
        fail(format!("a loop device is left: {device}"));
    }
    if let Some(mount) = mounts.lines().find(|line| line.contains(&shown)) {
        fail(format!("a mount is left: {mount}"));
    }
    // A supervisor that has just removed a container's files is about to end.
    let processes = (0..100).map(|_| processes_of(&store)).find(Vec::is_empty).unwrap_or_else(|| processes_of(&store));
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

/// The files that loop devices have.
fn loop_devices() -> Vec<String> {
    let devices = std::fs::read_dir("/sys/block").into_iter().flatten().flatten();
    devices.filter_map(|device| std::fs::read_to_string(device.path().join("loop/backing_file")).ok()).collect()
}
