//! volume restore.

use crate::cli::{Execute, for_each, store};
use crate::engine::volume::trash;
use crate::error::Result;

/// Bring one or more volumes back from the trash
#[derive(Debug, clap::Parser)]
#[command(after_help = "\
A volume comes back with its contents and labels. Of several with one name it is the one that was removed last; TIME,
or its beginning, chooses another ('ebb volume trash ls' shows them).

Examples:
  ebb volume restore myvolume
  ebb volume restore myvolume@2026-11-25T18:54")]
pub struct Restore {
    #[arg(value_name = "VOLUME[@TIME]", required = true)]
    names: Vec<String>,
}

impl Execute for Restore {
    fn execute(self) -> Result<i32> {
        let store = store()?;
        for_each(&self.names, |name| trash::restore(&store, name).map(Some))
    }
}
