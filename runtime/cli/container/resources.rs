//! The options that limit what a container takes of the machine: those that `update` can change, too, and those of
//! `run` and `create` alone.

use super::values;
use crate::engine::container::limits;
use crate::engine::container::record::{DeviceLimit, HostConfig};
use crate::engine::container::update::Changes;
use crate::error::Result;

/// What can be changed while the container runs; what is absent was not typed.
#[derive(Debug, clap::Args)]
pub struct Changeable {
    /// Block IO (relative weight), between 10 and 1000, or 0 to disable
    #[arg(long, value_name = "uint16")]
    blkio_weight: Option<u16>,
    /// Limit CPU CFS (Completely Fair Scheduler) period, in microseconds
    #[arg(long, value_name = "int")]
    cpu_period: Option<i64>,
    /// Limit CPU CFS (Completely Fair Scheduler) quota, in microseconds
    #[arg(long, value_name = "int")]
    cpu_quota: Option<i64>,
    /// CPU shares (relative weight)
    #[arg(short, long, value_name = "int")]
    cpu_shares: Option<i64>,
    /// Number of CPUs
    #[arg(long, value_name = "decimal")]
    cpus: Option<String>,
    /// CPUs in which to allow execution (0-3, 0,1)
    #[arg(long, value_name = "string")]
    cpuset_cpus: Option<String>,
    /// MEMs in which to allow execution (0-3, 0,1)
    #[arg(long, value_name = "string")]
    cpuset_mems: Option<String>,
    /// Memory limit
    #[arg(short, long, value_name = "bytes")]
    memory: Option<String>,
    /// Memory soft limit
    #[arg(long, value_name = "bytes")]
    memory_reservation: Option<String>,
    /// Swap limit equal to memory plus swap: '-1' to enable unlimited swap
    #[arg(long, value_name = "bytes")]
    memory_swap: Option<String>,
    /// Tune container pids limit (set -1 for unlimited)
    #[arg(long, value_name = "int")]
    pids_limit: Option<i64>,
}

impl Changeable {
    pub fn changes(&self) -> Result<Changes> {
        let size = |text: &Option<String>| text.as_deref().map(limits::memory).transpose();
        Ok(Changes {
            restart: None,
            memory: size(&self.memory)?,
            memory_reservation: size(&self.memory_reservation)?,
            memory_swap: size(&self.memory_swap)?,
            nano_cpus: self.cpus.as_deref().map(limits::nano_cpus).transpose()?,
            cpu_period: self.cpu_period,
            cpu_quota: self.cpu_quota,
            cpu_shares: self.cpu_shares,
            cpuset_cpus: self.cpuset_cpus.clone(),
            cpuset_mems: self.cpuset_mems.clone(),
            blkio_weight: self.blkio_weight,
            pids_limit: self.pids_limit,
        })
    }
}

/// What is settled when the container is made.
#[derive(Debug, clap::Args)]
pub struct Settled {
    /// Block IO weight (relative device weight)
    #[arg(long, value_name = "list", value_parser = values::device_weight)]
    blkio_weight_device: Vec<DeviceLimit>,
    /// Optional parent cgroup for the container
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    cgroup_parent: String,
    /// Add a rule to the cgroup allowed devices list
    #[arg(long, value_name = "list", value_parser = values::device_rule)]
    device_cgroup_rule: Vec<String>,
    /// Limit read rate (bytes per second) from a device
    #[arg(long, value_name = "list", value_parser = values::bytes_a_second)]
    device_read_bps: Vec<DeviceLimit>,
    /// Limit read rate (IO per second) from a device
    #[arg(long, value_name = "list", value_parser = values::operations_a_second)]
    device_read_iops: Vec<DeviceLimit>,
    /// Limit write rate (bytes per second) to a device
    #[arg(long, value_name = "list", value_parser = values::bytes_a_second)]
    device_write_bps: Vec<DeviceLimit>,
    /// Limit write rate (IO per second) to a device
    #[arg(long, value_name = "list", value_parser = values::operations_a_second)]
    device_write_iops: Vec<DeviceLimit>,
    /// Tune container memory swappiness (0 to 100)
    #[arg(long, value_name = "int", default_value_t = -1, hide_default_value = true)]
    memory_swappiness: i64,
    /// Disable OOM Killer
    #[arg(long)]
    oom_kill_disable: bool,
}

impl Settled {
    pub fn settle(&self, host: &mut HostConfig) {
        host.blkio_weight_device.clone_from(&self.blkio_weight_device);
        host.cgroup_parent.clone_from(&self.cgroup_parent);
        host.device_cgroup_rules.clone_from(&self.device_cgroup_rule);
        host.blkio_device_read_bps.clone_from(&self.device_read_bps);
        host.blkio_device_read_iops.clone_from(&self.device_read_iops);
        host.blkio_device_write_bps.clone_from(&self.device_write_bps);
        host.blkio_device_write_iops.clone_from(&self.device_write_iops);
        host.memory_swappiness = Some(self.memory_swappiness).filter(|value| *value != -1);
        host.oom_kill_disable = self.oom_kill_disable;
    }
}
