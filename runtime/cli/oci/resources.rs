//! oci pause, resume, update: the cgroup of a running container.

use super::{Execute, Globals};
use crate::engine::container::limits;
use crate::error::{Doing, Error, Result};
use crate::oci::cgroup;
use crate::oci::state::{Container, Status};
use crate::store::bounds;
use oci_spec::runtime::LinuxResources;
use serde_json::{Value, json};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Stop all processes of a container where they are
#[derive(Debug, clap::Parser)]
pub struct Pause {
    #[command(flatten)]
    globals: Globals,
    #[arg(value_name = "CONTAINER-ID")]
    id: String,
}

impl Execute for Pause {
    fn execute(self) -> Result<i32> {
        self.globals.report(|| {
            let container = self.globals.container(&self.id)?;
            match container.status() {
                Status::Running | Status::Created => cgroup::freeze(&container.record.cgroup).map(|()| 0),
                Status::Paused | Status::Stopped => Err(Error::conflict("container not running")),
            }
        })
    }
}

/// Let a paused container go on
#[derive(Debug, clap::Parser)]
pub struct Resume {
    #[command(flatten)]
    globals: Globals,
    #[arg(value_name = "CONTAINER-ID")]
    id: String,
}

impl Execute for Resume {
    fn execute(self) -> Result<i32> {
        self.globals.report(|| {
            let container = self.globals.container(&self.id)?;
            // A created one may be frozen too, and is shown as created.
            let frozen = container.status() != Status::Stopped && cgroup::is_frozen(&container.record.cgroup);
            if !frozen {
                return Err(Error::conflict("container not paused"));
            }
            cgroup::thaw(&container.record.cgroup).map(|()| 0)
        })
    }
}

/// Change the limits of a container
#[derive(Debug, clap::Parser)]
pub struct Update {
    #[command(flatten)]
    globals: Globals,

    /// File with the new limits as in linux.resources, "-" for stdin; all other options are then ignored
    #[arg(short, long, value_name = "FILE")]
    resources: Option<PathBuf>,
    /// Weight of block I/O, 10 to 1000
    #[arg(long, value_name = "N")]
    blkio_weight: Option<u16>,
    /// CPU period in microseconds
    #[arg(long, value_name = "N")]
    cpu_period: Option<u64>,
    /// CPU time in each period, in microseconds
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    cpu_quota: Option<i64>,
    /// CPU shares, relative to other containers
    #[arg(long, value_name = "N")]
    cpu_share: Option<u64>,
    /// Realtime CPU period in microseconds
    #[arg(long, value_name = "N")]
    cpu_rt_period: Option<u64>,
    /// Realtime CPU time in each period, in microseconds
    #[arg(long, value_name = "N")]
    cpu_rt_runtime: Option<i64>,
    /// Processors to use
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,
    /// Memory nodes to use
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<String>,
    /// Memory limit
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true)]
    memory: Option<String>,
    /// Memory that is kept when the host runs short
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true)]
    memory_reservation: Option<String>,
    /// Limit of memory and swap together, -1 for none
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true)]
    memory_swap: Option<String>,
    /// Most processes
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pids_limit: Option<i64>,
    /// Refused: Ebb does not use Intel RDT
    #[arg(long, hide = true)]
    l3_cache_schema: Option<String>,
    /// Refused: Ebb does not use Intel RDT
    #[arg(long, hide = true)]
    mem_bw_schema: Option<String>,

    #[arg(value_name = "CONTAINER-ID")]
    id: String,
}

impl Execute for Update {
    fn execute(self) -> Result<i32> {
        self.globals.report(|| {
            let container = self.globals.container(&self.id)?;
            super::lifecycle::running(&container, "container not running")?;
            let asked = match &self.resources {
                Some(file) => from_file(file)?,
                None => self.asked_by_options()?,
            };
            refuse_new_rules(&container, &asked)?;
            cgroup::update(&container.record.cgroup, &asked)?;
            Ok(0)
        })
    }
}

fn from_file(file: &Path) -> Result<LinuxResources> {
    let what = || format!("read the resources from {}", file.display());
    let mut text = String::new();
    if file.as_os_str() == "-" {
        std::io::stdin().take(bounds::NAMED_FILE).read_to_string(&mut text).doing(what)?;
    } else {
        text = bounds::read_named(file).doing(what)?;
    }
    serde_json::from_str(&text).doing(what)
}

/// The rules for devices stay what they were at `create`. An engine that sends them again, with new limits beside them, is
/// heard; other rules are not passed over in silence.
fn refuse_new_rules(container: &Container, asked: &LinuxResources) -> Result<()> {
    let Some(rules) = asked.devices().as_ref().filter(|rules| !rules.is_empty()) else { return Ok(()) };
    let spec = container.spec()?;
    let resources = spec.linux().as_ref().and_then(|linux| linux.resources().as_ref());
    match resources.and_then(|resources| resources.devices().as_ref()) == Some(rules) {
        true => Ok(()),
        false => {
            Err(Error::new("the rules for a container's devices are set by create, and cannot be changed by update")
                .with_cure("delete the container, and create it with the new rules"))
        }
    }
}

impl Update {
    fn asked_by_options(&self) -> Result<LinuxResources> {
        if self.l3_cache_schema.is_some() || self.mem_bw_schema.is_some() {
            return Err(Error::new("Intel RDT: not used by ebb, neither by create nor by update"));
        }
        let bytes = |text: &Option<String>| text.as_deref().map(limits::memory).transpose();
        let asked = json!({
            "memory": given([
                ("limit", json!(bytes(&self.memory)?)),
                ("reservation", json!(bytes(&self.memory_reservation)?)),
                ("swap", json!(bytes(&self.memory_swap)?)),
            ]),
            "cpu": given([
                ("shares", json!(self.cpu_share)),
                ("quota", json!(self.cpu_quota)),
                ("period", json!(self.cpu_period)),
                ("realtimePeriod", json!(self.cpu_rt_period)),
                ("realtimeRuntime", json!(self.cpu_rt_runtime)),
                ("cpus", json!(self.cpuset_cpus)),
                ("mems", json!(self.cpuset_mems)),
            ]),
            "pids": given([("limit", json!(self.pids_limit))]),
            "blockIO": given([("weight", json!(self.blkio_weight))]),
        });
        serde_json::from_value(asked).doing(|| "decode the resources")
    }
}

/// An object of the values that were given; null when none was.
fn given<const N: usize>(values: [(&str, Value); N]) -> Value {
    let object: serde_json::Map<String, Value> =
        values.into_iter().filter(|(_, value)| !value.is_null()).map(|(key, value)| (key.to_owned(), value)).collect();
    if object.is_empty() { Value::Null } else { object.into() }
}
