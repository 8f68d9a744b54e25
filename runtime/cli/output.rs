//! What goes to stdout: lines, tables, templates. A closed pipe ends the command quietly.

use crate::error::{Error, Kind, Result};
use std::io::{IsTerminal, Write};
use std::sync::OnceLock;

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

/// What could not be shown beside the rest: said, and not forgotten in the exit code.
pub fn complain_of(unread: &[Error]) -> Result<i32> {
    unread.iter().for_each(complain);
    if unread.is_empty() { Ok(0) } else { Err(Error::of(Kind::Reported, "")) }
}

fn complaint(error: &str) -> String {
    format!("ebb: {}\n", lines(&error))
}

/// An error has lines of its own, and names that an archive or a container chose.
pub fn lines(error: &impl std::fmt::Display) -> String {
    error.to_string().split('\n').map(printable).collect::<Vec<_>>().join("\n")
}

/// A path as a terminal may be shown it: a container chooses its files' names, and must not move the cursor with them.
pub fn printable(text: &str) -> String {
    escaped(text, char::is_control)
}

/// What an image or a container chose, in a row of stdout. A newline would forge a row. In a pipe all other bytes are as they
/// are, as in Docker.
pub fn in_row(text: &str) -> String {
    if is_terminal() { printable(text) } else { escaped(text, |letter| letter == '\n') }
}

/// The same where the user's own template says where lines end, as `inspect -f` does.
pub fn in_text(text: &str) -> String {
    match is_terminal() {
        true => escaped(text, |letter| letter.is_control() && !matches!(letter, '\n' | '\t')),
        false => text.to_owned(),
    }
}

/// JSON escapes most of them itself; what it leaves moves the cursor of some terminals, too.
pub fn in_json(text: &str) -> String {
    let left = |letter: char| letter.is_control() && letter != '\n';
    if !is_terminal() || !text.contains(left) {
        return text.to_owned();
    }
    let shown = |letter: char| match left(letter) {
        true => format!("\\u{:04x}", letter as u32),
        false => letter.to_string(),
    };
    text.chars().map(shown).collect()
}

fn escaped(text: &str, which: impl Fn(char) -> bool) -> String {
    let shown = |letter: char| match which(letter) {
        true => letter.escape_default().to_string(),
        false => letter.to_string(),
    };
    text.chars().map(shown).collect()
}

/// Whether stdout is one; asked once.
fn is_terminal() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| std::io::stdout().is_terminal())
}
