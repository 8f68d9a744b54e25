//! stop, restart, kill: ends that the user asks for.

use crate::cli::Execute;
use crate::error::{Error, Result};

/// TO BE WRITTEN
#[derive(Debug, clap::Parser)]
pub struct Stop {}

impl Execute for Stop {
    fn execute(self) -> Result<i32> {
        Err(Error::new("being written"))
    }
}

/// TO BE WRITTEN
#[derive(Debug, clap::Parser)]
pub struct Restart {}

impl Execute for Restart {
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
