//! export.

use crate::cli::Execute;
use crate::error::{Error, Result};

/// TO BE WRITTEN
#[derive(Debug, clap::Parser)]
pub struct Export {}

impl Execute for Export {
    fn execute(self) -> Result<i32> {
        Err(Error::new("being written"))
    }
}
