//! pause and unpause.

use crate::cli::Execute;
use crate::error::{Error, Result};

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
pub struct Unpause {}

impl Execute for Unpause {
    fn execute(self) -> Result<i32> {
        Err(Error::new("being written"))
    }
}
