//! volume inspect.

use crate::cli::format::inspect;
use crate::cli::{Execute, store};
use crate::engine::volume;
use crate::error::Result;

/// Display detailed information on one or more volumes
#[derive(Debug, clap::Parser)]
#[command(after_help = "Examples:
  ebb volume inspect myvolume
  ebb volume inspect -s myvolume        with its size, its files, and who uses it
  ls $(ebb volume inspect -f '{{.Mountpoint}}' myvolume)")]
pub struct Inspect {
    /// Format output: 'json', or a Go template
    #[arg(short, long, value_name = "string")]
    format: Option<String>,
    /// Add its size, the number of its files, and the containers that use it, running or not
    #[arg(short, long)]
    size: bool,
    #[arg(value_name = "VOLUME", required = true)]
    names: Vec<String>,
}

impl Execute for Inspect {
    fn execute(self) -> Result<i32> {
        let store = store()?;
        inspect::print(&self.names, self.format.as_deref(), |name| {
            volume::inspect(&store, &volume::get(&store, name)?, self.size)
        })
    }
}
