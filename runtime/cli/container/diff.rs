//! diff: what a container has written.

use crate::cli::{Execute, output, store};
use crate::engine::container::{self, diff};
use crate::error::Result;

/// Inspect changes to files or directories on a container's filesystem
#[derive(Debug, clap::Parser)]
#[command(after_help = "Examples:
  ebb diff mycontainer     A added, C changed, D deleted; volumes are not the container's")]
pub struct Diff {
    #[arg(value_name = "CONTAINER")]
    name: String,
}

impl Execute for Diff {
    fn execute(self) -> Result<i32> {
        let store = store()?;
        let container = container::find(&store, &self.name)?;
        for change in diff::diff(&store, &container)? {
            output::line(&format!("{} {}", change.kind, change.path))?;
        }
        Ok(0)
    }
}
