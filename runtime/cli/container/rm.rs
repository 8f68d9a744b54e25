//! rm and container prune.

use crate::cli::Execute;
use crate::error::{Error, Result};

/// TO BE WRITTEN
#[derive(Debug, clap::Parser)]
pub struct Rm {}

impl Execute for Rm {
    fn execute(self) -> Result<i32> {
        Err(Error::new("being written"))
    }
}

/// TO BE WRITTEN
#[derive(Debug, clap::Parser)]
pub struct Prune {}

impl Execute for Prune {
    fn execute(self) -> Result<i32> {
        Err(Error::new("being written"))
    }
}
