//! What strace(1) has recorded: with `-ff`, a file of each process.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

/// One line of strace's.
#[derive(Debug, Clone)]
pub struct Recorded {
    pub name: String,
    pub text: String,
}

/// The calls of each process, up to the moment when it became another program: what that does is not Ebb's.
pub fn read_traces(traces: &Path) -> BTreeMap<i64, Vec<Recorded>> {
    let mut all = BTreeMap::new();
    let mut foreign = HashSet::new();
    let mut first = true;
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(traces).expect("the traces").map(|entry| entry.expect("an entry").path()).collect();
    files.sort_by_key(|path| pid_of(path));
    for path in files {
        let text = String::from_utf8_lossy(&std::fs::read(&path).expect("a trace")).into_owned();
        let mut calls = Vec::new();
        // The first process begins with the execve that strace itself made.
        for line in text.lines().skip(usize::from(first)) {
            let Some((name, _)) = line.split_once('(') else { continue };
            let call = Recorded { name: name.to_owned(), text: line.to_owned() };
            // posix_spawn(3): the child shares our memory until it is the other program.
            if call.text.contains("CLONE_VFORK") || name == "vfork" {
                foreign.extend(line.rsplit(" = ").next().and_then(|pid| pid.trim().parse::<i64>().ok()));
            }
            let became_another = name.starts_with("execve") && line.ends_with(" = 0");
            calls.push(call);
            if became_another {
                break;
            }
        }
        first = false;
        all.insert(pid_of(&path), calls);
    }
    all.retain(|pid, _| !foreign.contains(pid));
    all
}

fn pid_of(path: &Path) -> i64 {
    path.extension().and_then(|pid| pid.to_str()?.parse().ok()).expect("trace.PID")
}
