//! Commands that look at a container.

use crate::cli::Execute;
use crate::error::{Error, Result};

/// TO BE WRITTEN
#[derive(Debug, clap::Parser)]
pub struct Ps {}

impl Execute for Ps {
    fn execute(self) -> Result<i32> {
        Err(Error::new("being written"))
    }
}

/// TO BE WRITTEN
#[derive(Debug, clap::Parser)]
pub struct Logs {}

impl Execute for Logs {
    fn execute(self) -> Result<i32> {
        Err(Error::new("being written"))
    }
}

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

/// TO BE WRITTEN
#[derive(Debug, clap::Parser)]
pub struct Diff {}

impl Execute for Diff {
    fn execute(self) -> Result<i32> {
        Err(Error::new("being written"))
    }
}

/// TO BE WRITTEN
#[derive(Debug, clap::Parser)]
pub struct Cp {}

impl Execute for Cp {
    fn execute(self) -> Result<i32> {
        Err(Error::new("being written"))
    }
}

/// TO BE WRITTEN
#[derive(Debug, clap::Parser)]
pub struct Export {}

impl Execute for Export {
    fn execute(self) -> Result<i32> {
        Err(Error::new("being written"))
    }
}

/// TO BE WRITTEN
#[derive(Debug, clap::Parser)]
pub struct Top {}

impl Execute for Top {
    fn execute(self) -> Result<i32> {
        Err(Error::new("being written"))
    }
}

/// TO BE WRITTEN
#[derive(Debug, clap::Parser)]
pub struct Stats {}

impl Execute for Stats {
    fn execute(self) -> Result<i32> {
        Err(Error::new("being written"))
    }
}
