//! What of the bundle's `linux.resources` version 1 is told, file by file.

use super::super::{devices, read_number, set};
use super::{Tree, directory, directory_of, join_late, tree_of};
use crate::error::{Error, Result};
use oci_spec::runtime::LinuxResources;

pub fn limit(trees: &[Tree], cgroup: &str, resources: &LinuxResources, new: bool) -> Result<()> {
    if resources.unified().as_ref().is_some_and(|unified| !unified.is_empty()) {
        return Err(Error::new("linux.resources.unified is cgroup v2's, and this host has v1"));
    }
    limit_memory(trees, cgroup, resources)?;
    limit_cpu(trees, cgroup, resources)?;
    if let Some(pids) = resources.pids().as_ref().filter(|pids| pids.limit() != 0) {
        let limit = if pids.limit() > 0 { pids.limit().to_string() } else { "max".into() };
        set(&directory_of(trees, "pids", cgroup)?, "pids.max", &limit)?;
    }
    limit_block_io(trees, cgroup, resources)?;
    for huge in resources.hugepage_limits().iter().flatten() {
        let file = format!("hugetlb.{}.limit_in_bytes", huge.page_size());
        set(&directory_of(trees, "hugetlb", cgroup)?, &file, &huge.limit().to_string())?;
    }
    match (resources.devices(), tree_of(trees, "devices")) {
        (Some(rules), Some(tree)) if new => devices::list(&directory(tree, cgroup), rules),
        _ => Ok(()),
    }
}

fn limit_memory(trees: &[Tree], cgroup: &str, resources: &LinuxResources) -> Result<()> {
    const LIMIT: &str = "memory.limit_in_bytes";
    const WITH_SWAP: &str = "memory.memsw.limit_in_bytes";
    let Some(memory) = resources.memory() else { return Ok(()) };
    let asked = |bytes: Option<i64>| bytes.filter(|bytes| *bytes != 0);
    let (limit, swap) = (asked(memory.limit()), asked(memory.swap()));
    let (swappiness, keeps_going) = (memory.swappiness(), memory.disable_oom_killer() == Some(true));
    if [limit, swap, asked(memory.reservation())].iter().all(Option::is_none) && swappiness.is_none() && !keeps_going {
        return Ok(());
    }
    let here = directory_of(trees, "memory", cgroup)?;
    if swap.is_some() && !here.join(WITH_SWAP).exists() {
        return Err(Error::new(
            "a limit of memory and swap together cannot be honoured: this kernel does not account swap",
        )
        .with_cure("boot it with swapaccount=1, or limit memory only"));
    }
    // At each moment the limit of both must be at least that of memory alone: whichever grows is written first.
    let grows =
        swap.is_some_and(|bytes| bytes < 0 || read_number(&here, WITH_SWAP).is_some_and(|now| bytes as u64 > now));
    let mut writes = vec![(LIMIT, limit), (WITH_SWAP, swap)];
    if grows {
        writes.reverse();
    }
    writes.push(("memory.soft_limit_in_bytes", asked(memory.reservation())));
    for (file, bytes) in writes {
        if let Some(bytes) = bytes {
            set(&here, file, &bytes.to_string())?;
        }
    }
    if let Some(swappiness) = swappiness {
        set(&here, "memory.swappiness", &swappiness.to_string())?;
    }
    if keeps_going {
        set(&here, "memory.oom_control", "1")?;
    }
    Ok(())
}

fn limit_cpu(trees: &[Tree], cgroup: &str, resources: &LinuxResources) -> Result<()> {
    let Some(cpu) = resources.cpu() else { return Ok(()) };
    let quota = cpu.quota().filter(|quota| *quota != 0);
    let writes = [
        ("cpu", "cpu.shares", cpu.shares().filter(|shares| *shares > 0).map(|shares| shares.to_string())),
        ("cpu", "cpu.cfs_period_us", cpu.period().filter(|period| *period > 0).map(|period| period.to_string())),
        ("cpu", "cpu.cfs_quota_us", quota.map(|quota| quota.to_string())),
        ("cpu", "cpu.cfs_burst_us", cpu.burst().map(|burst| burst.to_string())),
        ("cpu", "cpu.idle", cpu.idle().map(|idle| idle.to_string())),
        (
            "cpu",
            "cpu.rt_period_us",
            cpu.realtime_period().filter(|period| *period > 0).map(|period| period.to_string()),
        ),
        ("cpu", "cpu.rt_runtime_us", cpu.realtime_runtime().filter(|time| *time > 0).map(|time| time.to_string())),
        ("cpuset", "cpuset.cpus", cpu.cpus().clone().filter(|list| !list.is_empty())),
        ("cpuset", "cpuset.mems", cpu.mems().clone().filter(|list| !list.is_empty())),
    ];
    for (controller, file, value) in writes {
        if let Some(value) = value {
            join_late(trees, cgroup, controller)?;
            set(&directory_of(trees, controller, cgroup)?, file, &value)?;
        }
    }
    Ok(())
}

fn limit_block_io(trees: &[Tree], cgroup: &str, resources: &LinuxResources) -> Result<()> {
    let Some(block_io) = resources.block_io() else { return Ok(()) };
    let here = directory_of(trees, "blkio", cgroup)?;
    // The scheduler that weighs is CFQ in old kernels and BFQ in those that load it.
    let weight_file = if here.join("blkio.weight").exists() { "blkio.weight" } else { "blkio.bfq.weight" };
    if let Some(weight) = block_io.weight().filter(|weight| *weight > 0) {
        set(&here, weight_file, &weight.to_string())?;
    }
    for device in block_io.weight_device().iter().flatten() {
        if let Some(weight) = device.weight() {
            let value = format!("{}:{} {weight}", device.major(), device.minor());
            set(&here, &format!("{weight_file}_device"), &value)?;
        }
    }
    let throttles = [
        ("blkio.throttle.read_bps_device", block_io.throttle_read_bps_device()),
        ("blkio.throttle.write_bps_device", block_io.throttle_write_bps_device()),
        ("blkio.throttle.read_iops_device", block_io.throttle_read_iops_device()),
        ("blkio.throttle.write_iops_device", block_io.throttle_write_iops_device()),
    ];
    for (file, devices) in throttles {
        for device in devices.iter().flatten() {
            set(&here, file, &format!("{}:{} {}", device.major(), device.minor(), device.rate()))?;
        }
    }
    Ok(())
}
