//! version, info, completions, man

use super::Execute;
use crate::error::{Error, Result};

/// TO BE WRITTEN
#[derive(Debug, clap::Parser)]
pub struct Info {}

impl Execute for Info {
    fn execute(self) -> Result<i32> {
        Err(Error::new("being written"))
    }
}

/// TO BE WRITTEN
#[derive(Debug, clap::Parser)]
pub struct Version {}

impl Execute for Version {
    fn execute(self) -> Result<i32> {
        Err(Error::new("being written"))
    }
}

/// TO BE WRITTEN
#[derive(Debug, clap::Parser)]
pub struct Completions {}

impl Execute for Completions {
    fn execute(self) -> Result<i32> {
        Err(Error::new("being written"))
    }
}

/// TO BE WRITTEN
#[derive(Debug, clap::Parser)]
pub struct Man {}

impl Execute for Man {
    fn execute(self) -> Result<i32> {
        Err(Error::new("being written"))
    }
}
