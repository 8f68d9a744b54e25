//! rm and container prune.

use crate::cli::format::units;
use crate::cli::{Execute, confirm, for_each, output, store};
use crate::engine::container::{self, prune, remove};
use crate::error::{Doing, Result};

/// Remove one or more containers
#[derive(Debug, clap::Parser)]
pub struct Rm {
    /// Force the removal of a running container (uses SIGKILL)
    #[arg(short, long)]
    force: bool,
    /// Remove anonymous volumes associated with the container
    #[arg(short, long)]
    volumes: bool,
    #[arg(value_name = "CONTAINER", required = true)]
    containers: Vec<String>,
}

impl Execute for Rm {
    fn execute(self) -> Result<i32> {
        let store = store()?;
        let options = remove::Options { force: self.force, volumes: self.volumes };
        for_each(&self.containers, |name| {
            let removed =
                container::find(&store, name).and_then(|container| match remove::remove(&store, &container, options) {
                    Err(error) if !error.is_not_found() => {
                        Err(error).doing(|| format!("cannot remove container {name:?}"))
                    }
                    result => result,
                });
            match removed {
                Ok(()) => Ok(Some(name.to_owned())),
                // As in Docker: said, but what was wanted is so.
                Err(error) if self.force && error.is_not_found() => {
                    output::complain(&error);
                    Ok(None)
                }
                Err(error) => Err(error),
            }
        })
    }
}

/// Remove all stopped containers
#[derive(Debug, clap::Parser)]
pub struct Prune {
    /// Provide filter values (e.g. "until=<timestamp>")
    #[arg(long, value_name = "filter")]
    filter: Vec<String>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    force: bool,
}

impl Execute for Prune {
    fn execute(self) -> Result<i32> {
        let filter = prune::Filter::parse(&self.filter)?;
        let store = store()?;
        if !self.force && !confirm::confirm("This will remove all stopped containers.")? {
            return Ok(0);
        }
        let pruned = prune::prune(&store, &filter)?;
        if !pruned.ids.is_empty() {
            output::line(&format!("Deleted Containers:\n{}\n", pruned.ids.join("\n")))?;
        }
        output::line(&format!("Total reclaimed space: {}", units::human_size_exact(pruned.bytes)))?;
        pruned.result.map(|()| 0)
    }
}
