//! A lesson of the test's own.

use super::Ebb;
use std::path::PathBuf;

pub fn write(ebb: &Ebb, text: &str) -> PathBuf {
    let path = ebb.dir.join("own.md");
    std::fs::write(&path, text).expect("written");
    path
}
