//! Scripts in containers of busybox.

use super::{Answer, Ebb};

/// `ebb run --rm WORDS busybox sh -c SCRIPT`.
pub fn shell(ebb: &Ebb, words: &[&str], script: &str) -> Answer {
    ebb.run(["run", "--rm"].iter().chain(words).chain(&["busybox", "sh", "-c", script]))
}

pub fn says(ebb: &Ebb, words: &[&str], script: &str) -> String {
    let answer = shell(ebb, words, script);
    assert_eq!(answer.code, 0, "{}", answer.shown());
    answer.stdout.trim_end().to_owned()
}

pub fn make(ebb: &Ebb, directory: &str, file: &str, text: &str) {
    std::fs::create_dir_all(ebb.dir.join(directory)).expect("a directory");
    std::fs::write(ebb.dir.join(directory).join(file), text).expect("a file");
}
