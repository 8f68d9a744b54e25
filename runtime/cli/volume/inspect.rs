//! volume inspect.

use crate::cli::format::inspect;
use crate::cli::{Execute, store};
use crate::engine::volume;
use crate::error::Result;

/// Display detailed information on one or more volumes
#[derive(Debug, clap::Parser)]
#[command(after_help = "Examples:
  ebb volume inspect myvolume
  ls $(ebb volume inspect -f '{{.Mountpoint}}' myvolume)")]
pub struct Inspect {
    /// Format output: 'json', or a Go template
    #[arg(short, long, value_name = "string")]
    format: Option<String>,
    #[arg(value_name = "VOLUME", required = true)]
    names: Vec<String>,
}

impl Execute for Inspect {
    fn execute(self) -> Result<i32> {
        let store = store()?;
        inspect::print(&self.names, self.format.as_deref(), |name| {
            Ok(volume::inspect(&store, &volume::get(&store, name)?))
        })
    }
}
