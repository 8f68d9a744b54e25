//! oci …: runc's command line

use super::Execute;
use crate::error::{Error, Result};

/// TO BE WRITTEN
#[derive(Debug, clap::Parser)]
pub struct Create {}

impl Execute for Create {
    fn execute(self) -> Result<i32> {
        Err(Error::new("being written"))
    }
}

/// TO BE WRITTEN
#[derive(Debug, clap::Parser)]
pub struct Start {}

impl Execute for Start {
    fn execute(self) -> Result<i32> {
        Err(Error::new("being written"))
    }
}

/// TO BE WRITTEN
#[derive(Debug, clap::Parser)]
pub struct State {}

impl Execute for State {
    fn execute(self) -> Result<i32> {
        Err(Error::new("being written"))
    }
}

/// TO BE WRITTEN
#[derive(Debug, clap::Parser)]
pub struct Kill {}

impl Execute for Kill {
    fn execute(self) -> Result<i32> {
        Err(Error::new("being written"))
    }
}

/// TO BE WRITTEN
#[derive(Debug, clap::Parser)]
pub struct Delete {}

impl Execute for Delete {
    fn execute(self) -> Result<i32> {
        Err(Error::new("being written"))
    }
}

/// TO BE WRITTEN
#[derive(Debug, clap::Parser)]
pub struct Exec {}

impl Execute for Exec {
    fn execute(self) -> Result<i32> {
        Err(Error::new("being written"))
    }
}

/// TO BE WRITTEN
#[derive(Debug, clap::Parser)]
pub struct Ps {}

impl Execute for Ps {
    fn execute(self) -> Result<i32> {
        Err(Error::new("being written"))
    }
}

/// TO BE WRITTEN
#[derive(Debug, clap::Parser)]
pub struct List {}

impl Execute for List {
    fn execute(self) -> Result<i32> {
        Err(Error::new("being written"))
    }
}

/// TO BE WRITTEN
#[derive(Debug, clap::Parser)]
pub struct Pause {}

impl Execute for Pause {
    fn execute(self) -> Result<i32> {
        Err(Error::new("being written"))
    }
}

/// TO BE WRITTEN
#[derive(Debug, clap::Parser)]
pub struct Resume {}

impl Execute for Resume {
    fn execute(self) -> Result<i32> {
        Err(Error::new("being written"))
    }
}

/// TO BE WRITTEN
#[derive(Debug, clap::Parser)]
pub struct Events {}

impl Execute for Events {
    fn execute(self) -> Result<i32> {
        Err(Error::new("being written"))
    }
}

/// TO BE WRITTEN
#[derive(Debug, clap::Parser)]
pub struct Update {}

impl Execute for Update {
    fn execute(self) -> Result<i32> {
        Err(Error::new("being written"))
    }
}

/// TO BE WRITTEN
#[derive(Debug, clap::Parser)]
pub struct Features {}

impl Execute for Features {
    fn execute(self) -> Result<i32> {
        Err(Error::new("being written"))
    }
}

/// TO BE WRITTEN
#[derive(Debug, clap::Parser)]
pub struct Spec {}

impl Execute for Spec {
    fn execute(self) -> Result<i32> {
        Err(Error::new("being written"))
    }
}

/// TO BE WRITTEN
#[derive(Debug, clap::Parser)]
pub struct Run {}

impl Execute for Run {
    fn execute(self) -> Result<i32> {
        Err(Error::new("being written"))
    }
}

/// Finds the row of an `ebb oci …` command line, past runc's global options.
pub fn find(
    words: &[std::ffi::OsString],
) -> std::result::Result<(&'static super::table::Entry, Vec<std::ffi::OsString>), i32> {
    let name = words.first().and_then(|word| word.to_str()).unwrap_or("");
    match super::table::row_named(&format!("oci {name}")) {
        Some(entry) => Ok((entry, words[1..].to_vec())),
        None => Err(1),
    }
}
