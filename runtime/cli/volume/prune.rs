//! volume prune.

use crate::cli::confirm::confirm;
use crate::cli::format::filter::Filters;
use crate::cli::format::units;
use crate::cli::{Execute, output, store};
use crate::engine::volume;
use crate::error::{Error, Kind, Result};

/// Remove unused local volumes
#[derive(Debug, clap::Parser)]
#[command(after_help = "Examples:
  ebb volume prune           anonymous volumes that no container uses
  ebb volume prune -a -f     named ones too, without a question")]
pub struct Prune {
    /// Remove all unused volumes, not just anonymous ones
    #[arg(short, long)]
    all: bool,
    /// Provide filter values: label, label!
    #[arg(long, value_name = "filter")]
    filter: Vec<String>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    force: bool,
}

impl Execute for Prune {
    fn execute(self) -> Result<i32> {
        let (wanted, unwanted): (Vec<String>, Vec<String>) =
            self.filter.iter().cloned().partition(|text| !text.starts_with("label!="));
        let filters = Filters::parse(&wanted, &["label", "all"])?;
        let unwanted: Vec<String> = unwanted.iter().map(|text| text.replacen("label!=", "label=", 1)).collect();
        let unwanted = Filters::parse(&unwanted, &["label"])?;
        let all = self.all || filters.boolean("all")? == Some(true);
        let which = if all { "all" } else { "anonymous" };
        if !self.force
            && !confirm(&format!("This will remove {which} local volumes not used by at least one container."))?
        {
            return Ok(0);
        }
        let pruned = volume::prune(&store()?, |volume| {
            (all || volume.is_anonymous())
                && filters.labels(&volume.labels)
                && (unwanted.is_empty() || !unwanted.labels(&volume.labels))
        })?;
        if !pruned.names.is_empty() {
            output::line(&format!("Deleted Volumes:\n{}\n", pruned.names.join("\n")))?;
        }
        output::line(&format!("Total reclaimed space: {}", units::human_size(pruned.bytes)))?;
        match pruned.result {
            Ok(()) => Ok(0),
            Err(error) => Err(Error::of(Kind::Other, error.message)),
        }
    }
}
