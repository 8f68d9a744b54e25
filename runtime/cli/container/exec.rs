//! exec: one more process in a running container.

use crate::cli::Execute;
use crate::error::{Error, Result};

/// TO BE WRITTEN
#[derive(Debug, clap::Parser)]
pub struct Exec {}

impl Execute for Exec {
    fn execute(self) -> Result<i32> {
        Err(Error::new("being written"))
    }
}
