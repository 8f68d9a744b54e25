//! Making containers and running them.

use crate::cli::Execute;
use crate::error::{Error, Result};

/// TO BE WRITTEN
#[derive(Debug, clap::Parser)]
pub struct Run {}

impl Execute for Run {
    fn execute(self) -> Result<i32> {
        Err(Error::new("being written"))
    }
}

/// TO BE WRITTEN
#[derive(Debug, clap::Parser)]
pub struct Create {}

impl Execute for Create {
    fn execute(self) -> Result<i32> {
        Err(Error::new("being written"))
    }
}
