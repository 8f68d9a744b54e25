//! Limits as a Docker user types them, and as the OCI specification has them.

use super::record::{DeviceLimit, HostConfig, RestartPolicy};
use crate::error::{Doing, Error, Result};
use crate::oci;
use nix::unistd::{SysconfVar, sysconf};
use oci_spec::runtime::{
    LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxPids, LinuxResources, LinuxThrottleDevice, LinuxThrottleDeviceBuilder,
    LinuxWeightDeviceBuilder,
};
use std::os::unix::fs::{FileTypeExt, MetadataExt};

/// Docker's floor; below it a container's first process hardly starts.
const SMALLEST_MEMORY: i64 = 6 << 20;
/// The period of the CPU quota, in microseconds: the kernel's default.
const CPU_PERIOD: i64 = 100_000;

/// `512m`, `1.5g`, `4096`: binary multiples, as Docker's `units.RAMInBytes`. `-1` is -1.
pub fn memory(text: &str) -> Result<i64> {
    if text == "-1" {
        return Ok(-1);
    }
    let bad = || Error::new(format!("invalid size: '{text}'"));
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == ' ');
    let unit = text[digits.len()..].trim().to_ascii_lowercase();
    let number: f64 = digits.parse().ok().filter(|number| *number >= 0.0).ok_or_else(bad)?;
    let shift = match unit.trim_end_matches('b').trim_end_matches('i') {
        "" if unit != "i" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ => return Err(bad()),
    };
    let bytes = number * (1u64 << shift) as f64;
    if bytes > i64::MAX as f64 { Err(bad()) } else { Ok(bytes as i64) }
}

/// `--cpus 1.5` in billionths of a CPU.
pub fn nano_cpus(text: &str) -> Result<i64> {
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0);
    let number = number.ok_or_else(|| Error::new(format!("failed to parse {text} as a rational number")))?;
    Ok((number * 1e9).round() as i64)
}

/// `no`, `always`, `unless-stopped`, `on-failure[:n]`.
pub fn restart_policy(text: &str) -> Result<RestartPolicy> {
    let (name, count) = text.split_once(':').map_or((text, None), |(name, count)| (name, Some(count)));
    let maximum_retry_count = match count {
        None => 0,
        Some(_) if name != "on-failure" => {
            return Err(Error::new("invalid restart policy: maximum retry count can only be used with 'on-failure'"));
        }
        Some(count) => count
            .parse()
            .map_err(|_| Error::new("invalid restart policy format: maximum retry count must be an integer"))?,
    };
    match name {
        "" => Ok(RestartPolicy::default()),
        "no" | "always" | "unless-stopped" | "on-failure" => {
            Ok(RestartPolicy { name: name.to_owned(), maximum_retry_count })
        }
        _ => Err(Error::new(format!(
            "invalid restart policy: unknown policy '{name}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
        ))),
    }
}

/// Refuses limits that contradict each other or make no sense here, in Docker's words.
pub fn check(host: &HostConfig) -> Result<()> {
    if host.memory != 0 && host.memory < SMALLEST_MEMORY {
        return Err(Error::new("Minimum memory limit allowed is 6MB"));
    }
    if host.memory_reservation != 0 && host.memory_reservation < SMALLEST_MEMORY {
        return Err(Error::new("Minimum memory reservation allowed is 6MB"));
    }
    if host.memory > 0 && host.memory < host.memory_reservation {
        return Err(Error::new("Minimum memory limit can not be less than memory reservation limit, see usage"));
    }
    if let Some(swappiness) = host.memory_swappiness.filter(|value| !(0..=100).contains(value)) {
        return Err(Error::new(format!("Invalid value: {swappiness}, valid memory swappiness range is 0-100")));
    }
    for (option, is_asked) in
        [("--memory-swappiness", host.memory_swappiness.is_some()), ("--oom-kill-disable", host.oom_kill_disable)]
    {
        if is_asked && oci::cgroup::available() == Ok("v2") {
            return Err(Error::new(format!("{option} cannot be honoured: cgroup v2 has no such setting")));
        }
    }
    if host.memory_swap > 0 && host.memory == 0 {
        return Err(Error::new("You should always set the Memory limit when using Memoryswap limit, see usage"));
    }
    if host.memory_swap > 0 && host.memory_swap < host.memory {
        return Err(Error::new("Minimum memoryswap limit should be larger than memory limit, see usage"));
    }
    if host.blkio_weight > 0 && !(10..=1000).contains(&host.blkio_weight) {
        return Err(Error::new("Range of blkio weight is from 10 to 1000"));
    }
    check_list("cpus", "CPUs", &host.cpuset_cpus, "/sys/devices/system/cpu/online")?;
    check_list("mems", "memory nodes", &host.cpuset_mems, "/sys/devices/system/node/online")?;
    check_cpu_time(host)?;
    // What names devices that are not there is refused before anything is made.
    resources(host).map(drop)
}

fn check_cpu_time(host: &HostConfig) -> Result<()> {
    if host.nano_cpus > 0 && (host.cpu_period > 0 || host.cpu_quota > 0) {
        let other = if host.cpu_period > 0 { "CPU Period" } else { "CPU Quota" };
        return Err(Error::new(format!("Conflicting options: Nano CPUs and {other} cannot both be set")));
    }
    if host.cpu_period != 0 && !(1000..=1_000_000).contains(&host.cpu_period) {
        return Err(Error::new("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"));
    }
    if host.cpu_quota > 0 && host.cpu_quota < 1000 {
        return Err(Error::new("CPU cfs quota can not be less than 1ms (i.e. 1000)"));
    }
    if host.nano_cpus == 0 {
        return Ok(());
    }
    let cpus = sysconf(SysconfVar::_NPROCESSORS_ONLN).ok().flatten().unwrap_or(1);
    if host.nano_cpus < 0 || host.nano_cpus > cpus * 1_000_000_000 || (1..10_000_000).contains(&host.nano_cpus) {
        return Err(Error::new(format!(
            "Range of CPUs is from 0.01 to {cpus}.00, as there are only {cpus} CPUs available"
        )));
    }
    Ok(())
}

/// A list of processors or of memory nodes. The kernel would say "math result not representable" of one that is not there.
fn check_list(file: &str, what: &str, asked: &str, online: &str) -> Result<()> {
    if asked.is_empty() {
        return Ok(());
    }
    let wanted = ranges(asked).ok_or_else(|| Error::new(format!("Invalid value {asked} for cpuset {file}")))?;
    // Where nothing is told (a kernel without NUMA has no nodes there), the kernel answers when it is asked.
    let online = crate::procfs::read(online).unwrap_or_default();
    let (online, Some(there)) = (online.trim(), ranges(&online)) else { return Ok(()) };
    let is_there = |mut number: u32, last: u32| loop {
        match there.iter().find(|(from, to)| (*from..=*to).contains(&number)) {
            None => return false,
            Some((_, to)) if *to >= last => return true,
            Some((_, to)) => number = to + 1,
        }
    };
    match wanted.iter().all(|(first, last)| is_there(*first, *last)) {
        true => Ok(()),
        false => {
            Err(Error::new(format!("Requested {what} are not available - requested {asked}, available: {online}")))
        }
    }
}

/// `0-3,7` as (first, last), in the form that the kernel has for lists of CPUs.
fn ranges(text: &str) -> Option<Vec<(u32, u32)>> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        (first <= last).then_some((first, last))
    };
    text.split(',').map(range).collect()
}

/// What the user limited, for the container's cgroup; what was left open is absent. Errors: a device that is not there.
pub fn resources(host: &HostConfig) -> Result<LinuxResources> {
    let mut resources = LinuxResources::default();
    resources
        .set_devices(None)
        .set_memory(memory_limits(host))
        .set_cpu(cpu_limits(host))
        .set_block_io(io_limits(host)?);
    if let Some(limit) = host.pids_limit {
        let mut pids = LinuxPids::default();
        // 0 and -1 are Docker's words for no limit.
        pids.set_limit(if limit <= 0 { -1 } else { limit });
        resources.set_pids(Some(pids));
    }
    Ok(resources)
}

fn memory_limits(host: &HostConfig) -> Option<LinuxMemory> {
    let mut memory = LinuxMemory::default();
    if host.memory > 0 || host.memory_swap != 0 {
        memory.set_limit(Some(host.memory).filter(|limit| *limit > 0));
        // Memory and swap together; where only memory is limited, Docker allows as much swap again.
        let swap = if host.memory_swap == 0 { host.memory.saturating_mul(2) } else { host.memory_swap };
        memory.set_swap(Some(swap));
    }
    memory.set_reservation(Some(host.memory_reservation).filter(|bytes| *bytes > 0));
    memory.set_swappiness(host.memory_swappiness.and_then(|value| u64::try_from(value).ok()));
    memory.set_disable_oom_killer(host.oom_kill_disable.then_some(true));
    (memory != LinuxMemory::default()).then_some(memory)
}

fn cpu_limits(host: &HostConfig) -> Option<LinuxCpu> {
    let mut cpu = LinuxCpu::default();
    let positive = |number: i64| u64::try_from(number).ok().filter(|number| *number > 0);
    let given = |list: &String| Some(list.clone()).filter(|list| !list.is_empty());
    cpu.set_period(positive(host.cpu_period)).set_quota(Some(host.cpu_quota).filter(|quota| *quota != 0));
    if host.nano_cpus > 0 {
        cpu.set_period(Some(CPU_PERIOD as u64));
        cpu.set_quota(Some(host.nano_cpus / (1_000_000_000 / CPU_PERIOD)));
    }
    cpu.set_shares(positive(host.cpu_shares)).set_cpus(given(&host.cpuset_cpus)).set_mems(given(&host.cpuset_mems));
    (cpu != LinuxCpu::default()).then_some(cpu)
}

fn io_limits(host: &HostConfig) -> Result<Option<LinuxBlockIo>> {
    let throttle = |limits: &[DeviceLimit]| -> Result<Option<Vec<LinuxThrottleDevice>>> {
        let one = |limit: &DeviceLimit| {
            let (major, minor) = block_device(&limit.path)?;
            let built = LinuxThrottleDeviceBuilder::default().major(major).minor(minor).rate(limit.rate).build();
            built.doing(|| format!("describe the limit of {}", limit.path))
        };
        let all = limits.iter().map(one).collect::<Result<Vec<_>>>()?;
        Ok(Some(all).filter(|all| !all.is_empty()))
    };
    let weigh = |limit: &DeviceLimit| {
        let (major, minor) = block_device(&limit.path)?;
        let weight = u16::try_from(limit.rate).unwrap_or(u16::MAX);
        let built = LinuxWeightDeviceBuilder::default().major(major).minor(minor).weight(weight).build();
        built.doing(|| format!("describe the weight of {}", limit.path))
    };
    let weights = host.blkio_weight_device.iter().map(weigh).collect::<Result<Vec<_>>>()?;
    let mut io = LinuxBlockIo::default();
    io.set_weight(Some(host.blkio_weight).filter(|weight| *weight > 0))
        .set_weight_device(Some(weights).filter(|all| !all.is_empty()))
        .set_throttle_read_bps_device(throttle(&host.blkio_device_read_bps)?)
        .set_throttle_write_bps_device(throttle(&host.blkio_device_write_bps)?)
        .set_throttle_read_iops_device(throttle(&host.blkio_device_read_iops)?)
        .set_throttle_write_iops_device(throttle(&host.blkio_device_write_iops)?);
    Ok((io != LinuxBlockIo::default()).then_some(io))
}

/// The numbers by which the kernel's block layer knows the device.
fn block_device(path: &str) -> Result<(i64, i64)> {
    let found = std::fs::metadata(path).doing(|| format!("find the device {path}, whose rate is to be limited"))?;
    if !found.file_type().is_block_device() {
        return Err(Error::new(format!("{path} is no block device: no rate of it can be limited"))
            .with_cure("`lsblk` lists those of this host"));
    }
    Ok((nix::sys::stat::major(found.rdev()) as i64, nix::sys::stat::minor(found.rdev()) as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_binary_as_in_docker() {
        assert_eq!(memory("512m").unwrap(), 512 << 20);
        assert_eq!(memory("1.5GiB").unwrap(), 3 << 29);
        assert_eq!(memory("4096").unwrap(), 4096);
        assert_eq!(memory("64kb").unwrap(), 65536);
        assert_eq!(memory("-1").unwrap(), -1);
        for bad in ["", "x", "1x", "-5m", "5i"] {
            assert!(memory(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_restart_policy_has_a_count_only_on_failure() {
        assert_eq!(restart_policy("on-failure:3").unwrap().maximum_retry_count, 3);
        assert_eq!(restart_policy("always").unwrap().name, "always");
        for bad in ["always:3", "on-failure:x", "sometimes"] {
            assert!(restart_policy(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_cpu_and_a_half_is_a_quota() {
        let host = HostConfig { nano_cpus: nano_cpus("1.5").unwrap(), ..HostConfig::default() };
        assert_eq!(resources(&host).unwrap().cpu().as_ref().unwrap().quota(), Some(150_000));
    }
}
