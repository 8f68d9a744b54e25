//! export.

use crate::cli::target::Target;
use crate::cli::{Execute, store};
use crate::engine::container::{self, export};
use crate::error::Result;
use std::path::PathBuf;

/// Export a container's filesystem as a tar archive
#[derive(Debug, clap::Parser)]
#[command(after_help = "Examples:
  ebb export -o rootfs.tar mycontainer
  ebb export mycontainer | ebb import - mine:1")]
pub struct Export {
    /// Write to a file, instead of stdout
    #[arg(short, long, value_name = "string")]
    output: Option<PathBuf>,
    #[arg(value_name = "CONTAINER")]
    container: String,
}

impl Execute for Export {
    fn execute(self) -> Result<i32> {
        let store = store()?;
        let container = container::find(&store, &self.container)?;
        let target = Target::open(self.output.as_ref())?;
        let exported = export::export(&store, &container, &target.file);
        target.finish(exported)?;
        Ok(0)
    }
}
