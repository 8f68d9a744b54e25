//! Volumes with one file in them, in the trash and out of it.

use super::Ebb;
use std::path::{Path, PathBuf};

/// What is in the trash, the newest first, as `restore` takes it.
pub fn trashed(ebb: &Ebb) -> Vec<String> {
    ebb.ok(["volume", "trash", "ls", "-q"]).lines().map(str::to_owned).collect()
}

pub fn data(ebb: &Ebb, name: &str) -> PathBuf {
    ebb.store().join("volumes").join(name).join("_data")
}

/// A volume with one file in it, which says `text`.
pub fn volume(ebb: &Ebb, name: &str, text: &str) {
    ebb.ok(["volume", "create", name]);
    std::fs::write(data(ebb, name).join("note"), text).expect("a file");
}

pub fn note(ebb: &Ebb, name: &str) -> String {
    std::fs::read_to_string(data(ebb, name).join("note")).expect("the file")
}

/// Makes what is in the trash that many hours older: its directory's name says when it was removed.
pub fn age(ebb: &Ebb, id: &str, hours: i64) {
    let (name, time) = id.split_once('@').expect("NAME@TIME");
    let time: jiff::Timestamp = time.parse().expect("a time");
    let older = time - jiff::SignedDuration::from_hours(hours);
    let trash = ebb.store().join("volume-trash");
    let older = format!("{name}@{}", older.strftime("%Y-%m-%dT%H:%M:%S%.6fZ"));
    std::fs::rename(trash.join(id), trash.join(older)).expect("renamed");
}

pub fn entries(directory: &Path) -> usize {
    std::fs::read_dir(directory).expect("a directory").count()
}
