//! What goes to stdout: lines, tables, templates. A closed pipe ends the command quietly.

use crate::error::{Error, Kind, Result};
use std::io::Write;

/// One line on stdout.
pub fn line(text: &str) -> Result<()> {
    bytes(format!("{text}\n").as_bytes())
}

/// Bytes on stdout. A reader that went away ends the command without a word, as SIGPIPE would have.
pub fn bytes(bytes: &[u8]) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(|error| match error.kind() {
        std::io::ErrorKind::BrokenPipe => Error::of(Kind::Reported, ""),
        _ => Error::new(format!("write to stdout: {error}")),
    })
}

/// An error on stderr, in one write, so that those of commands that run side by side do not mix.
pub fn complain(error: &impl std::fmt::Display) {
    let _ = std::io::stderr().write_all(complaint(&error.to_string()).as_bytes());
}

/// An error has lines of its own, and names that an archive or a container chose.
fn complaint(error: &str) -> String {
    let lines: Vec<String> = error.split('\n').map(printable).collect();
    format!("ebb: {}\n", lines.join("\n"))
}

/// A path as a terminal may be shown it: a container chooses its files' names, and must not move the cursor with them.
pub fn printable(text: &str) -> String {
    let shown = |letter: char| match letter.is_control() {
        true => letter.escape_default().to_string(),
        false => letter.to_string(),
    };
    text.chars().map(shown).collect()
}
