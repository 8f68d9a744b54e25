//! image …: how images come, look and go.

pub use super::pull::Pull;

use super::Execute;
use crate::error::{Error, Result};

/// TO BE WRITTEN
#[derive(Debug, clap::Parser)]
pub struct Ls {}

impl Execute for Ls {
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
pub struct History {}

impl Execute for History {
    fn execute(self) -> Result<i32> {
        Err(Error::new("being written"))
    }
}

/// TO BE WRITTEN
#[derive(Debug, clap::Parser)]
pub struct Load {}

impl Execute for Load {
    fn execute(self) -> Result<i32> {
        Err(Error::new("being written"))
    }
}

/// TO BE WRITTEN
#[derive(Debug, clap::Parser)]
pub struct Save {}

impl Execute for Save {
    fn execute(self) -> Result<i32> {
        Err(Error::new("being written"))
    }
}

/// TO BE WRITTEN
#[derive(Debug, clap::Parser)]
pub struct Import {}

impl Execute for Import {
    fn execute(self) -> Result<i32> {
        Err(Error::new("being written"))
    }
}

/// TO BE WRITTEN
#[derive(Debug, clap::Parser)]
pub struct Tag {}

impl Execute for Tag {
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
pub struct Prune {}

impl Execute for Prune {
    fn execute(self) -> Result<i32> {
        Err(Error::new("being written"))
    }
}
