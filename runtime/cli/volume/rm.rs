//! volume rm.

use crate::cli::{Execute, for_each, store};
use crate::engine::volume;
use crate::error::Result;

/// Remove one or more volumes
#[derive(Debug, clap::Parser)]
#[command(after_help = "Examples:
  ebb volume rm myvolume")]
pub struct Rm {
    /// Do not complain about volumes that are not there
    #[arg(short, long)]
    force: bool,
    #[arg(value_name = "VOLUME", required = true)]
    names: Vec<String>,
}

impl Execute for Rm {
    fn execute(self) -> Result<i32> {
        let store = store()?;
        for_each(&self.names, |name| match volume::remove(&store, name) {
            Err(error) if error.is_not_found() && self.force => Ok(Some(name.to_owned())),
            result => result.map(|()| Some(name.to_owned())),
        })
    }
}
