//! volume rm.

use super::{tell_trashed, tidy};
use crate::cli::{Execute, for_each, store};
use crate::engine::volume::{self, Removal};
use crate::error::Result;

/// Remove one or more volumes: into the trash, from where they can be brought back
#[derive(Debug, clap::Parser)]
#[command(after_help = "\
A removed volume stays in the trash for 7 days (see 'ebb volume trash --help').

Examples:
  ebb volume rm myvolume
  ebb volume restore myvolume      and it is back
  ebb volume rm --now myvolume     no way back, and its space is free at once")]
pub struct Rm {
    /// Do not complain about volumes that are not there
    #[arg(short, long)]
    force: bool,
    /// Remove it for good, and free its space at once
    #[arg(long)]
    now: bool,
    #[arg(value_name = "VOLUME", required = true)]
    names: Vec<String>,
}

impl Execute for Rm {
    fn execute(self) -> Result<i32> {
        let store = store()?;
        tidy(&store);
        let removal = if self.now { Removal::Now } else { Removal::Trash };
        let mut trashed = Vec::new();
        let done = for_each(&self.names, |name| match volume::remove(&store, name, removal) {
            Err(error) if error.is_not_found() && self.force => Ok(Some(name.to_owned())),
            result => result.map(|aside| {
                trashed.extend(aside);
                Some(name.to_owned())
            }),
        });
        tell_trashed(&store, &trashed);
        done
    }
}
