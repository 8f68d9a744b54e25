//! Limits as a Docker user types them, and as the OCI specification has them.

use super::record::{HostConfig, RestartPolicy};
use crate::error::{Error, Result};
use nix::unistd::{SysconfVar, sysconf};
use oci_spec::runtime::{LinuxCpu, LinuxMemory, LinuxPids, LinuxResources};

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
    if host.memory_swap > 0 && host.memory == 0 {
        return Err(Error::new("You should always set the Memory limit when using Memoryswap limit, see usage"));
    }
    if host.memory_swap > 0 && host.memory_swap < host.memory {
        return Err(Error::new("Minimum memoryswap limit should be larger than memory limit, see usage"));
    }
    check_cpu_list(&host.cpuset_cpus)?;
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

/// The kernel would say "math result not representable" of a CPU that is not there.
fn check_cpu_list(asked: &str) -> Result<()> {
    if asked.is_empty() {
        return Ok(());
    }
    let invalid = || Error::new(format!("Invalid value {asked} for cpuset cpus"));
    let wanted = cpu_ranges(asked).ok_or_else(invalid)?;
    let online = crate::procfs::read("/sys/devices/system/cpu/online").unwrap_or_default();
    let (online, Some(there)) = (online.trim(), cpu_ranges(&online)) else { return Ok(()) };
    let is_there = |mut cpu: u32, last: u32| loop {
        match there.iter().find(|(from, to)| (*from..=*to).contains(&cpu)) {
            None => return false,
            Some((_, to)) if *to >= last => return true,
            Some((_, to)) => cpu = to + 1,
        }
    };
    match wanted.iter().all(|(first, last)| is_there(*first, *last)) {
        true => Ok(()),
        false => Err(Error::new(format!("Requested CPUs are not available - requested {asked}, available: {online}"))),
    }
}

/// `0-3,7` as (first, last), in the form that the kernel has for lists of CPUs.
fn cpu_ranges(text: &str) -> Option<Vec<(u32, u32)>> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        (first <= last).then_some((first, last))
    };
    text.split(',').map(range).collect()
}

/// What the user limited, for the container's cgroup; what was left open is absent.
pub fn resources(host: &HostConfig) -> LinuxResources {
    let mut resources = LinuxResources::default();
    resources.set_devices(None);
    if host.memory > 0 || host.memory_swap != 0 {
        let mut memory = LinuxMemory::default();
        memory.set_limit(Some(host.memory).filter(|limit| *limit > 0));
        // Memory and swap together; where only memory is limited, Docker allows as much swap again.
        let swap = if host.memory_swap == 0 { host.memory.saturating_mul(2) } else { host.memory_swap };
        memory.set_swap(Some(swap));
        resources.set_memory(Some(memory));
    }
    if host.nano_cpus > 0 || host.cpu_shares > 0 || !host.cpuset_cpus.is_empty() {
        let mut cpu = LinuxCpu::default();
        if host.nano_cpus > 0 {
            cpu.set_period(Some(CPU_PERIOD as u64));
            cpu.set_quota(Some(host.nano_cpus / (1_000_000_000 / CPU_PERIOD)));
        }
        cpu.set_shares(u64::try_from(host.cpu_shares).ok().filter(|shares| *shares > 0));
        cpu.set_cpus(Some(host.cpuset_cpus.clone()).filter(|cpus| !cpus.is_empty()));
        resources.set_cpu(Some(cpu));
    }
    if let Some(limit) = host.pids_limit {
        let mut pids = LinuxPids::default();
        // 0 and -1 are Docker's words for no limit.
        pids.set_limit(if limit <= 0 { -1 } else { limit });
        resources.set_pids(Some(pids));
    }
    resources
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
        assert_eq!(resources(&host).cpu().as_ref().unwrap().quota(), Some(150_000));
    }
}
