//! The command line: a table of commands, and one thin file per family of them.
//!
//! Only the command that is asked for is built and parsed; the whole tree exists for `--help`, completions and man pages.

pub mod confirm;
pub mod container;
pub mod events;
pub mod examples;
pub mod format;
pub mod help;
pub mod image;
pub mod init;
pub mod lesson;
pub mod manual;
pub mod oci;
pub mod output;
pub mod place;
pub mod pull;
pub mod system;
pub mod table;
pub mod target;
pub mod usage;
pub mod volume;

use crate::error::{Error, Kind, Result};
use crate::explain::{self, Manner, without};
use crate::oci::binary;
use crate::store::Store;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::OnceLock;

/// What stands before the command: `ebb --root DIR run …`.
#[derive(Debug, Default, Clone)]
pub struct Globals {
    pub root: Option<PathBuf>,
    pub debug: bool,
    pub explain: Manner,
    /// Wait for Enter before each step that is explained.
    pub step: bool,
    /// Isolating steps to leave out.
    pub without: Vec<without::Step>,
}

static GLOBALS: OnceLock<Globals> = OnceLock::new();

pub fn globals() -> &'static Globals {
    GLOBALS.get_or_init(Globals::default)
}

/// The store that the command line names.
pub fn store() -> Result<Store> {
    Store::open(globals().root.as_deref())
}

/// A command: clap's definition of its words, and what it does. The exit code is its own, or an error's.
pub trait Execute: clap::Parser {
    fn execute(self) -> Result<i32>;
}

/// Runs the command line and returns the process's exit code. Reports the error, once, here.
pub fn main(arguments: Vec<OsString>) -> i32 {
    crate::kernel::keep_freed_memory();
    if init::is_init(&arguments) {
        return init::main(&arguments);
    }
    // A reader that went away (`ebb ps | head -1`) ends us as it ends any other tool: quietly.
    let arguments = oci::by_name(arguments);
    crate::umask::set_own();
    let (globals, words) = match usage::globals(&arguments) {
        Ok(found) => found,
        Err(error) => return usage::report(&error, None),
    };
    let _ = GLOBALS.set(globals);
    let (entry, rest) = match table::find(&words) {
        Ok(found) => found,
        Err(code) => return code,
    };
    match explaining(entry).and_then(|()| (entry.run)(entry, rest)) {
        Ok(code) => code,
        Err(error) => usage::report(&error, Some(entry)),
    }
}

/// For a command that starts a program, once it has read what its options name (`--env-file <(…)` is a descriptor's name):
/// what the caller had open beside 0, 1 and 2 is not the container's, and a lock or a pipe of a script's would be held by the
/// supervisor for as long as it lives.
pub fn close_callers_descriptors() {
    crate::kernel::close_inherited(&[]);
}

/// Begins the narration, and leaves out what is to be left out, before anything else is done. The command may begin anew
/// here, with its program where no container can write to it.
fn explaining(entry: &table::Entry) -> Result<()> {
    let globals = globals();
    let path = entry.alias_of.unwrap_or(entry.path);
    if !globals.without.is_empty() && !["run", "start", "restart"].contains(&path) {
        return Err(Error::new(format!("--without leaves out a step of run, start or restart, and {path} has none")));
    }
    explain::begin(globals.explain, globals.step)?;
    if globals.without.is_empty() {
        return if STARTERS.contains(&path) { binary::keep_from_own_containers() } else { Ok(()) };
    }
    // What is left out may be the user namespace, or the words that follow may ask for none; and it is warned of once.
    binary::keep_from_containers()?;
    for step in &globals.without {
        output::complain(&format!("WARNING: without {}: {}", step.name(), step.loss()));
    }
    without::set(globals.without.clone());
    Ok(())
}

/// The commands that start a program in a container.
const STARTERS: &[&str] = &["run", "start", "restart", "exec", "oci create", "oci run", "oci exec"];

/// Applies `each` to every name, prints what worked, reports what did not, and exits 1 if any did not.
pub fn for_each<N: AsRef<str>>(names: &[N], mut each: impl FnMut(&str) -> Result<Option<String>>) -> Result<i32> {
    let mut failed = false;
    for name in names {
        match each(name.as_ref()) {
            Ok(Some(line)) => output::line(&line)?,
            Ok(None) => {}
            Err(error) => {
                failed = true;
                output::complain(&volume::with_cure_for_no_room(&error));
            }
        }
    }
    if failed { Err(Error::of(Kind::Reported, "")) } else { Ok(0) }
}
