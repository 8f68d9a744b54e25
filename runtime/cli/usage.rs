//! Usage, help and errors of the command line, in Docker's words.

use super::Globals;
use super::table::Entry;
use crate::error::{Error, Kind, Result};
use std::ffi::OsString;

pub const ABOUT: &str = "A container runtime small enough to read in an afternoon";

/// Takes the global options off the front of the arguments.
pub fn globals(arguments: &[OsString]) -> Result<(Globals, Vec<OsString>)> {
    let mut globals = Globals::default();
    let mut words = arguments.iter().skip(1).peekable();
    while let Some(word) = words.peek().and_then(|word| word.to_str()) {
        if word == "--root" {
            words.next();
            let value = words.next().ok_or_else(|| Error::of(Kind::Usage, "flag needs an argument: --root"))?;
            globals.root = Some(value.into());
        } else if let Some(value) = word.strip_prefix("--root=") {
            globals.root = Some(value.into());
            words.next();
        } else if word == "--debug" || word == "-D" {
            globals.debug = true;
            words.next();
        } else {
            break;
        }
    }
    Ok((globals, words.cloned().collect()))
}

/// Prints an error, and gives the exit code that Docker gives: 125, 126, 127 for `run`, `create` and `exec`, 1 for the rest.
pub fn report(error: &Error, entry: Option<&'static Entry>) -> i32 {
    if error.kind != Kind::Reported {
        eprintln!("ebb: {error}");
    }
    let name = entry.map_or("", |entry| entry.alias_of.unwrap_or(entry.path));
    match (name, error.kind) {
        ("run" | "create" | "exec" | "start", Kind::NotExecutable) => 126,
        ("run" | "create" | "exec" | "start", Kind::CommandNotFound) => 127,
        ("run" | "create", kind) if kind != Kind::Reported => 125,
        (_, Kind::Usage) => 125,
        _ => 1,
    }
}

/// What clap would not take: `--help` and `--version` are printed, the rest is said as Docker says it.
pub fn rejected(_entry: &'static Entry, error: &clap::Error) -> Result<i32> {
    let _ = error.print();
    Ok(if error.use_stderr() { 125 } else { 0 })
}

/// No row of the table begins with these words: help, version, or an unknown command.
pub fn no_command(words: &[OsString]) -> i32 {
    match words.first().and_then(|word| word.to_str()) {
        Some("--version" | "-v") => {
            println!("ebb version {}", env!("CARGO_PKG_VERSION"));
            0
        }
        _ => {
            let _ = super::table::whole().print_help();
            1
        }
    }
}
