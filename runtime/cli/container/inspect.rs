//! inspect.

use crate::cli::Execute;
use crate::error::{Error, Result};

/// TO BE WRITTEN
#[derive(Debug, clap::Parser)]
pub struct Inspect {}

impl Execute for Inspect {
    fn execute(self) -> Result<i32> {
        Err(Error::new("being written"))
    }
}

/// TO BE WRITTEN
#[derive(Debug, clap::Parser)]
pub struct InspectContainer {}

impl Execute for InspectContainer {
    fn execute(self) -> Result<i32> {
        Err(Error::new("being written"))
    }
}
