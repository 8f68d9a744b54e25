//! update: limits and the restart policy of a container that exists, running or not.

use super::limits;
use super::record::{Container, HostConfig, RestartPolicy};
use super::state;
use crate::engine::events;
use crate::error::{Doing, Error, Result};
use crate::oci;
use crate::store::{Store, atomic, lock};

/// What is to change; `None` leaves it.
#[derive(Debug, Default, Clone)]
pub struct Changes {
    pub restart: Option<RestartPolicy>,
    pub memory: Option<i64>,
    pub memory_reservation: Option<i64>,
    pub memory_swap: Option<i64>,
    pub nano_cpus: Option<i64>,
    pub cpu_period: Option<i64>,
    pub cpu_quota: Option<i64>,
    pub cpu_shares: Option<i64>,
    pub cpuset_cpus: Option<String>,
    pub cpuset_mems: Option<String>,
    pub blkio_weight: Option<u16>,
    pub pids_limit: Option<i64>,
}

impl Changes {
    pub fn is_empty(&self) -> bool {
        self.restart.is_none() && !self.limits_anything()
    }

    fn limits_anything(&self) -> bool {
        let numbers = [
            self.memory,
            self.memory_reservation,
            self.memory_swap,
            self.nano_cpus,
            self.cpu_period,
            self.cpu_quota,
            self.cpu_shares,
            self.pids_limit,
        ];
        numbers.iter().any(Option::is_some)
            || self.cpuset_cpus.is_some()
            || self.cpuset_mems.is_some()
            || self.blkio_weight.is_some()
    }

    fn apply(&self, host: &mut HostConfig) -> Result<()> {
        if let (Some(memory), None) = (self.memory, self.memory_swap)
            && host.memory_swap > 0
            && memory > host.memory_swap
        {
            return Err(Error::new(
                "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
            ));
        }
        self.refuse_two_ways_to_limit_cpus(host)?;
        self.lay_over(host);
        limits::check(host)
    }

    /// Docker's words where the container has one of the two ways already.
    fn refuse_two_ways_to_limit_cpus(&self, host: &HostConfig) -> Result<()> {
        let asked = |value: Option<i64>| value.is_some_and(|value| value > 0);
        let cases = [
            (asked(self.nano_cpus) && host.cpu_period > 0, "Nano CPUs", "CPU Period has"),
            (asked(self.nano_cpus) && host.cpu_quota > 0, "Nano CPUs", "CPU Quota has"),
            (asked(self.cpu_period) && host.nano_cpus > 0, "CPU Period", "NanoCPUs has"),
            (asked(self.cpu_quota) && host.nano_cpus > 0, "CPU Quota", "NanoCPUs has"),
        ];
        match cases.iter().find(|(conflicts, ..)| *conflicts) {
            Some((_, asked, there)) => {
                Err(Error::new(format!("Conflicting options: {asked} cannot be updated as {there} already been set")))
            }
            None => Ok(()),
        }
    }

    /// What was asked for replaces what was there; nothing is checked.
    pub fn lay_over(&self, host: &mut HostConfig) {
        let set = |place: &mut i64, value: Option<i64>| *place = value.unwrap_or(*place);
        set(&mut host.memory, self.memory);
        set(&mut host.memory_reservation, self.memory_reservation);
        set(&mut host.memory_swap, self.memory_swap);
        set(&mut host.nano_cpus, self.nano_cpus);
        set(&mut host.cpu_period, self.cpu_period);
        set(&mut host.cpu_quota, self.cpu_quota);
        set(&mut host.cpu_shares, self.cpu_shares);
        host.blkio_weight = self.blkio_weight.unwrap_or(host.blkio_weight);
        host.pids_limit = self.pids_limit.or(host.pids_limit);
        for (place, value) in [(&mut host.cpuset_cpus, &self.cpuset_cpus), (&mut host.cpuset_mems, &self.cpuset_mems)] {
            if let Some(list) = value {
                place.clone_from(list);
            }
        }
        if let Some(restart) = &self.restart {
            host.restart_policy = restart.clone();
        }
    }
}

/// Changes the container's record, and the cgroup of a running one, which is asked first: what the kernel refuses is
/// not written down.
pub fn update(store: &Store, container: &Container, changes: &Changes) -> Result<()> {
    let dir = super::dir(store, &container.id);
    let _lock = lock::exclusive(&dir)?;
    let mut record = super::load(store, &container.id)?;
    changes.apply(&mut record.host_config)?;
    if changes.restart.as_ref().is_some_and(|restart| restart.name != "no") && record.host_config.auto_remove {
        return Err(Error::new("Restart policy cannot be updated because AutoRemove is enabled for the container"));
    }
    if changes.limits_anything() {
        limit(store, &record)?;
    }
    atomic::write_json(&dir.join("container.json"), &record)?;
    events::tell(store, &[events::of_container(&record, "update", &[])]);
    Ok(())
}

fn limit(store: &Store, container: &Container) -> Result<()> {
    let doing = || format!("limit container {}", container.name);
    oci::cgroup::available().map_err(Error::new).doing(doing)?;
    let state = state::current(store, container)?;
    if !state.is_running() {
        return Ok(());
    }
    if state.cgroup.is_empty() {
        return Err(Error::new("it was started without a cgroup")).doing(doing);
    }
    oci::cgroup::update(&state.cgroup, &limits::resources(&container.host_config)?).doing(doing)
}
