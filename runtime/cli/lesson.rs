//! lesson

use super::Execute;
use crate::error::{Error, Result};

/// TO BE WRITTEN
#[derive(Debug, clap::Parser)]
pub struct Lesson {}

impl Execute for Lesson {
    fn execute(self) -> Result<i32> {
        Err(Error::new("being written"))
    }
}
