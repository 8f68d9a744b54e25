//! system prune: what nobody uses, of everything; volumes only where that is asked for.

use crate::cli::confirm::confirm;
use crate::cli::format::units;
use crate::cli::image::unused;
use crate::cli::volume::tell_trashed;
use crate::cli::{Execute, output, store};
use crate::engine::container::prune as containers;
use crate::engine::image::remove as images;
use crate::engine::volume::{self, Volume};
use crate::error::Result;
use jiff::Timestamp;

/// Remove stopped containers, unused images, and with --volumes anonymous volumes
#[derive(Debug, clap::Parser)]
#[command(after_help = "\
A named volume is never removed by this command: `ebb volume prune -a` does that.

Examples:
  ebb system prune
  ebb system prune -a --volumes -f
  ebb system prune --filter until=24h --filter label!=keep")]
pub struct Prune {
    /// Remove all unused images, not just dangling ones
    #[arg(short, long)]
    all: bool,
    /// Provide filter values: label, label!, until
    #[arg(long, value_name = "filter")]
    filter: Vec<String>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    force: bool,
    /// Prune anonymous volumes
    #[arg(long)]
    volumes: bool,
}

impl Execute for Prune {
    fn execute(self) -> Result<i32> {
        // All are read before anything goes.
        let stopped = containers::Filter::parse(&self.filter)?;
        let image = unused(&self.filter, self.all)?;
        let volume = anonymous(&self.filter)?;
        let store = store()?;
        if !self.force && !confirm(&self.warning())? {
            return Ok(0);
        }
        let mut result = Ok(());
        let containers = containers::prune(&store, &stopped)?;
        tell("Deleted Containers", &containers.ids)?;
        let mut bytes = containers.bytes;
        result = result.and(containers.result);
        if self.volumes {
            let pruned = volume::prune(&store, volume)?;
            tell("Deleted Volumes", &pruned.names)?;
            tell_trashed(&store, &pruned.trashed);
            bytes += pruned.bytes;
            result = result.and(pruned.result);
        }
        let pruned = images::prune(&store, image)?;
        let lines = pruned.lines.iter().map(|line| line.replacen("Untagged:", "untagged:", 1));
        tell("Deleted Images", &lines.map(|line| line.replacen("Deleted:", "deleted:", 1)).collect::<Vec<_>>())?;
        bytes += pruned.bytes;
        output::line(&format!("Total reclaimed space: {}", units::human_size_exact(bytes)))?;
        result.and(pruned.result).map(|()| 0)
    }
}

impl Prune {
    /// Docker's list, of what there is here.
    fn warning(&self) -> String {
        let mut lines = vec!["This will remove:".to_owned(), "  - all stopped containers".to_owned()];
        if self.volumes {
            lines.push("  - all anonymous volumes not used by at least one container".to_owned());
        }
        lines.push(match self.all {
            true => "  - all images without at least one container associated to them".to_owned(),
            false => "  - all dangling images".to_owned(),
        });
        if !self.filter.is_empty() {
            lines.push("\n  Items to be pruned will be filtered with:".to_owned());
            lines.extend(self.filter.iter().map(|filter| format!("  - {filter}")));
        }
        lines.join("\n") + "\n"
    }
}

fn tell(title: &str, lines: &[String]) -> Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    output::line(&format!("{title}:\n{}\n", lines.join("\n")))
}

/// Which volumes go: anonymous ones that the filters fit.
fn anonymous(filter: &[String]) -> Result<impl Fn(&Volume) -> bool> {
    let filters = crate::cli::format::filter::Filters::parse(filter, &["label", "label!", "until"])?;
    let until = filters.until()?;
    Ok(move |volume: &Volume| {
        let created = volume.created_at.parse::<Timestamp>();
        volume.is_anonymous()
            && filters.labels(&volume.labels)
            && until.is_none_or(|until| created.is_ok_and(|created| created < until))
    })
}
