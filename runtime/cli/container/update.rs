//! update: limits and the restart policy, changed on a container that exists.

use crate::cli::{Execute, for_each, store};
use crate::engine::container::{self, limits, update};
use crate::error::{Error, Result};

/// Update configuration of one or more containers
#[derive(Debug, clap::Parser)]
pub struct Update {
    /// CPU shares (relative weight)
    #[arg(short, long, value_name = "int")]
    cpu_shares: Option<i64>,
    /// Number of CPUs
    #[arg(long, value_name = "decimal")]
    cpus: Option<String>,
    /// CPUs in which to allow execution (0-3, 0,1)
    #[arg(long, value_name = "string")]
    cpuset_cpus: Option<String>,
    /// Memory limit
    #[arg(short, long, value_name = "bytes")]
    memory: Option<String>,
    /// Swap limit equal to memory plus swap: -1 to enable unlimited swap
    #[arg(long, value_name = "bytes", allow_negative_numbers = true)]
    memory_swap: Option<String>,
    /// Tune container pids limit (set -1 for unlimited)
    #[arg(long, value_name = "int", allow_negative_numbers = true)]
    pids_limit: Option<i64>,
    /// Restart policy to apply when a container exits
    #[arg(long, value_name = "string")]
    restart: Option<String>,
    #[arg(value_name = "CONTAINER", required = true)]
    containers: Vec<String>,
}

impl Execute for Update {
    fn execute(self) -> Result<i32> {
        let changes = update::Changes {
            restart: self.restart.as_deref().map(limits::restart_policy).transpose()?,
            memory: self.memory.as_deref().map(limits::memory).transpose()?,
            memory_swap: self.memory_swap.as_deref().map(limits::memory).transpose()?,
            nano_cpus: self.cpus.as_deref().map(limits::nano_cpus).transpose()?,
            cpu_shares: self.cpu_shares,
            cpuset_cpus: self.cpuset_cpus,
            pids_limit: self.pids_limit,
        };
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
