//! Commands that change a container.

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
pub struct Stop {}

impl Execute for Stop {
    fn execute(self) -> Result<i32> {
        Err(Error::new("being written"))
    }
}

/// TO BE WRITTEN
#[derive(Debug, clap::Parser)]
pub struct Restart {}

impl Execute for Restart {
    fn execute(self) -> Result<i32> {
        Err(Error::new("being written"))
    }
}

/// TO BE WRITTEN
#[derive(Debug, clap::Parser)]
pub struct Kill {}

impl Execute for Kill {
    fn execute(self) -> Result<i32> {
        Err(Error::new("being written"))
    }
}

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
pub struct Exec {}

impl Execute for Exec {
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

/// TO BE WRITTEN
#[derive(Debug, clap::Parser)]
pub struct Wait {}

impl Execute for Wait {
    fn execute(self) -> Result<i32> {
        Err(Error::new("being written"))
    }
}

/// TO BE WRITTEN
#[derive(Debug, clap::Parser)]
pub struct Rename {}

impl Execute for Rename {
    fn execute(self) -> Result<i32> {
        Err(Error::new("being written"))
    }
}

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

/// TO BE WRITTEN
#[derive(Debug, clap::Parser)]
pub struct Update {}

impl Execute for Update {
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
