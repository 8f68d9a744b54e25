//! wait: blocks until containers end.

use crate::cli::Execute;
use crate::error::{Error, Result};

/// TO BE WRITTEN
#[derive(Debug, clap::Parser)]
pub struct Wait {}

impl Execute for Wait {
    fn execute(self) -> Result<i32> {
        Err(Error::new("being written"))
    }
}
