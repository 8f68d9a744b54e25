//! Starting what was made, and looking on.

use crate::cli::Execute;
use crate::error::{Error, Result};

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
pub struct Attach {}

impl Execute for Attach {
    fn execute(self) -> Result<i32> {
        Err(Error::new("being written"))
    }
}
