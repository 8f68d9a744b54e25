//! volume rename.

use crate::cli::{Execute, store};
use crate::engine::volume;
use crate::error::Result;

/// Rename a volume that no container uses
#[derive(Debug, clap::Parser)]
#[command(after_help = "\
Examples:
  ebb volume rename myvolume archive
  ebb volume rename $(ebb volume ls -qf dangling=true) db     an anonymous volume that has a name is none any more")]
pub struct Rename {
    #[arg(value_name = "VOLUME")]
    old: String,
    #[arg(value_name = "NEW_NAME")]
    new: String,
}

impl Execute for Rename {
    fn execute(self) -> Result<i32> {
        volume::rename(&store()?, &self.old, &self.new)?;
        Ok(0)
    }
}
