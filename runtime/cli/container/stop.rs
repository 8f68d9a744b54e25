//! stop, restart, kill: ends that the user asks for.

use crate::cli::{Execute, close_callers_descriptors, for_each, store};
use crate::engine::container::{self, namespaces, stop};
use crate::engine::signal;
use crate::error::{Doing, Result};

/// Stop one or more running containers
#[derive(Debug, clap::Parser)]
pub struct Stop {
    #[command(flatten)]
    how: How,
    #[arg(value_name = "CONTAINER", required = true)]
    containers: Vec<String>,
}

/// How a container is asked to stop.
#[derive(Debug, clap::Args)]
struct How {
    /// Signal to send to the container
    #[arg(short, long, value_name = "string")]
    signal: Option<String>,
    /// Seconds to wait before killing the container (-1: for ever)
    #[arg(short, long, visible_alias = "timeout", value_name = "int", allow_negative_numbers = true)]
    time: Option<i64>,
}

impl How {
    fn signal(&self) -> Result<Option<i32>> {
        self.signal.as_deref().map(signal::parse).transpose()
    }
}

impl Execute for Stop {
    fn execute(self) -> Result<i32> {
        let signal = self.how.signal()?;
        let store = store()?;
        for_each(&self.containers, |name| {
            stop::stop(&store, &container::find(&store, name)?, signal, self.how.time)?;
            Ok(Some(name.to_owned()))
        })
    }
}

/// Restart one or more containers
#[derive(Debug, clap::Parser)]
pub struct Restart {
    #[command(flatten)]
    how: How,
    #[arg(value_name = "CONTAINER", required = true)]
    containers: Vec<String>,
}

impl Execute for Restart {
    fn execute(self) -> Result<i32> {
        let signal = self.how.signal()?;
        let store = store()?;
        for name in &self.containers {
            if let Ok(container) = container::find(&store, name) {
                namespaces::keep_binary_from(&container.host_config)?;
            }
        }
        close_callers_descriptors();
        for_each(&self.containers, |name| {
            stop::restart(&store, &container::find(&store, name)?, signal, self.how.time)
                .doing(|| format!("Cannot restart container {name}"))?;
            Ok(Some(name.to_owned()))
        })
    }
}

/// Kill one or more running containers
#[derive(Debug, clap::Parser)]
pub struct Kill {
    /// Signal to send to the container
    #[arg(short, long, value_name = "string", default_value = "KILL")]
    signal: String,
    #[arg(value_name = "CONTAINER", required = true)]
    containers: Vec<String>,
}

impl Execute for Kill {
    fn execute(self) -> Result<i32> {
        let signal = signal::parse(&self.signal)?;
        let store = store()?;
        for_each(&self.containers, |name| {
            container::find(&store, name)
                .and_then(|container| stop::kill(&store, &container, signal))
                .doing(|| format!("Cannot kill container: {name}"))?;
            Ok(Some(name.to_owned()))
        })
    }
}
