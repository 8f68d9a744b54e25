//! volume prune.

use super::{tell_trashed, tidy};
use crate::cli::confirm::confirm;
use crate::cli::format::filter::Filters;
use crate::cli::format::units;
use crate::cli::{Execute, output, store};
use crate::engine::volume::{self, Removal, Volume};
use crate::error::{Error, Kind, Result};
use jiff::Timestamp;

/// Remove unused local volumes: into the trash, from where they can be brought back
#[derive(Debug, clap::Parser)]
#[command(after_help = "\
What is in the trash still takes its space: only what is given back at once is counted as reclaimed.

Examples:
  ebb volume prune              anonymous volumes that no container uses
  ebb volume prune -a -f        named ones too, without a question
  ebb volume prune -f --now     no way back, and their space is free at once
  ebb volume prune -a --filter until=240h --filter label!=keep")]
pub struct Prune {
    /// Remove all unused volumes, not just anonymous ones
    #[arg(short, long)]
    all: bool,
    /// Provide filter values: label, label!, until (created before)
    #[arg(long, value_name = "filter")]
    filter: Vec<String>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    force: bool,
    /// Remove them for good, and free their space at once
    #[arg(long)]
    now: bool,
}

impl Execute for Prune {
    fn execute(self) -> Result<i32> {
        let filters = Filters::parse(&self.filter, &["label", "label!", "until", "all"])?;
        let until = filters.until()?;
        let all = self.all || filters.boolean("all")? == Some(true);
        let which = if all { "all" } else { "anonymous" };
        if !self.force
            && !confirm(&format!("This will remove {which} local volumes not used by at least one container."))?
        {
            return Ok(0);
        }
        let store = store()?;
        tidy(&store);
        let removal = if self.now { Removal::Now } else { Removal::Trash };
        let old = |volume: &Volume| {
            let created = volume.created_at.parse::<Timestamp>();
            until.is_none_or(|until| created.is_ok_and(|created| created < until))
        };
        let pruned = volume::prune_by(&store, removal, |volume| {
            (all || volume.is_anonymous()) && filters.labels(&volume.labels) && old(volume)
        })?;
        if !pruned.names.is_empty() {
            output::line(&format!("Deleted Volumes:\n{}\n", pruned.names.join("\n")))?;
        }
        output::line(&format!("Total reclaimed space: {}", units::human_size(pruned.bytes)))?;
        tell_trashed(&store, &pruned.trashed);
        match pruned.result {
            Ok(()) => Ok(0),
            Err(error) => Err(Error { kind: Kind::Other, ..error }),
        }
    }
}
