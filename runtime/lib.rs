//! Ebb, in reading order. Who may know whom is held by `tests/tidy.rs`:
//! `cli -> engine -> oci`, `engine -> store`; `oci` knows no image, volume or container name.

/// std's own ones panic where stderr is a pipe that nobody reads any more; an unheard word of ours is no reason to.
macro_rules! eprint {
    ($($words:tt)*) => {{
        use std::io::Write as _;
        let _ = write!(std::io::stderr(), $($words)*);
    }};
}

macro_rules! eprintln {
    ($($words:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($words)*);
    }};
}

pub mod cli;
pub mod engine;
pub mod lessons;
pub mod oci;
pub mod store;

pub mod ansi;
pub mod error;
pub mod explain;
pub mod kernel;
pub mod procfs;
pub mod programs;
pub mod progress;
pub mod required;
pub mod umask;
