//! A directory of the host's, and whose it is.

use super::Ebb;
use serde_json::Value;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What `where` answers.
pub fn asked(ebb: &Ebb, words: &[&str]) -> Value {
    serde_json::from_str(&ebb.ok([&["where", "--format", "json"], words].concat())).expect("JSON")
}

/// A directory of the test's own on the host, with two files and a directory in it.
pub fn host_directory(ebb: &Ebb) -> PathBuf {
    let path = ebb.dir.join("host");
    std::fs::create_dir_all(path.join("d")).expect("a directory");
    for file in ["a", "d/b"] {
        std::fs::write(path.join(file), "text\n").expect("a file");
    }
    path
}

pub fn owner(path: &Path) -> (u32, u32) {
    let meta = std::fs::symlink_metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    (meta.uid(), meta.gid())
}

/// Subordinate ids own files there that only a container can remove.
pub fn empty(ebb: &Ebb, path: &Path) {
    ebb.ok([
        "run",
        "--rm",
        "-u",
        "0",
        "-v",
        &format!("{}:/c", path.display()),
        "busybox",
        "sh",
        "-c",
        "rm -rf /c/* /c/.p",
    ]);
    ebb.ok(["run", "--rm", "-u", "0", "-v", &format!("{}:/c:U", path.display()), "busybox", "true"]);
}
