//! update: limits and the restart policy, changed on a container that exists.

use crate::cli::Execute;
use crate::error::{Error, Result};

/// TO BE WRITTEN
#[derive(Debug, clap::Parser)]
pub struct Update {}

impl Execute for Update {
    fn execute(self) -> Result<i32> {
        Err(Error::new("being written"))
    }
}
