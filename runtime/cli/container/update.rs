//! update: limits and the restart policy, changed on a container that exists.

use super::resources::Changeable;
use crate::cli::{Execute, for_each, store};
use crate::engine::container::{self, limits, update};
use crate::error::{Error, Result};

/// Update configuration of one or more containers
#[derive(Debug, clap::Parser)]
pub struct Update {
    #[command(flatten)]
    limits: Changeable,
    /// Restart policy to apply when a container exits
    #[arg(long, value_name = "string")]
    restart: Option<String>,
    #[arg(value_name = "CONTAINER", required = true)]
    containers: Vec<String>,
}

impl Execute for Update {
    fn execute(self) -> Result<i32> {
        let restart = self.restart.as_deref().map(limits::restart_policy).transpose()?;
        let changes = update::Changes { restart, ..self.limits.changes()? };
        if changes.is_empty() {
            return Err(Error::new("you must provide one or more flags when using this command"));
        }
        let store = store()?;
        for_each(&self.containers, |name| {
            update::update(&store, &container::find(&store, name)?, &changes)?;
            Ok(Some(name.to_owned()))
        })
    }
}
