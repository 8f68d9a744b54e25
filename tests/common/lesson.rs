//! A lesson of the test's own, and what one has left behind.

use super::Ebb;
use std::path::PathBuf;

pub fn write(ebb: &Ebb, text: &str) -> PathBuf {
    let path = ebb.dir.join("own.md");
    std::fs::write(&path, text).expect("written");
    path
}

pub fn leftovers(ebb: &Ebb) -> Vec<String> {
    let tmp = ebb.store().join("tmp");
    std::fs::read_dir(tmp)
        .expect("tmp/")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}
