//! Docker's own profile format, for `--security-opt seccomp=FILE`: the OCI format with conditions on capabilities,
//! architecture and kernel version, to be decided before the bundle is written.

use crate::error::{Doing, Error, Result};
use oci_spec::runtime::{
    Arch, Capabilities, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompFilterFlag, LinuxSyscall,
};
use serde::Deserialize;
use std::path::PathBuf;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    default_action: LinuxSeccompAction,
    default_errno_ret: Option<u32>,
    listener_path: Option<PathBuf>,
    listener_metadata: Option<String>,
    flags: Option<Vec<LinuxSeccompFilterFlag>>,
    architectures: Option<Vec<Arch>>,
    arch_map: Option<Vec<ArchMap>>,
    #[serde(default)]
    syscalls: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ArchMap {
    architecture: Arch,
    sub_architectures: Option<Vec<Arch>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    /// Older profiles name one call here.
    name: Option<String>,
    names: Option<Vec<String>>,
    action: LinuxSeccompAction,
    errno_ret: Option<u32>,
    args: Option<Vec<LinuxSeccompArg>>,
    includes: Option<Condition>,
    excludes: Option<Condition>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Condition {
    caps: Option<Vec<String>>,
    arches: Option<Vec<String>>,
    min_kernel: Option<String>,
}

/// The filter that a profile means for a container whose bounding set is `capabilities`, on this machine.
pub fn from_docker_json(text: &str, capabilities: &Capabilities) -> Result<LinuxSeccomp> {
    let profile: Profile = serde_json::from_str(text).doing(|| "decode the seccomp profile")?;
    if profile.architectures.is_some() && profile.arch_map.is_some() {
        return Err(Error::new("the seccomp profile has both architectures and archMap, use one of them"));
    }
    let held: Vec<String> = capabilities.iter().map(|capability| format!("CAP_{capability}")).collect();
    let mut rules = Vec::new();
    for rule in profile.syscalls {
        if rule.name.is_some() && rule.names.is_some() {
            return Err(Error::new("a rule of the seccomp profile has both name and names, use one of them"));
        }
        if !applies(&rule, &held)? {
            continue;
        }
        let mut made = LinuxSyscall::default();
        made.set_names(rule.names.unwrap_or_else(|| rule.name.into_iter().collect()))
            .set_action(rule.action)
            .set_errno_ret(rule.errno_ret)
            .set_args(rule.args.filter(|arguments| !arguments.is_empty()));
        rules.push(made);
    }
    let mut seccomp = LinuxSeccomp::default();
    seccomp
        .set_default_action(profile.default_action)
        .set_default_errno_ret(profile.default_errno_ret)
        .set_architectures(profile.architectures.or_else(|| profile.arch_map.map(architectures)))
        .set_flags(profile.flags)
        .set_listener_path(profile.listener_path)
        .set_listener_metadata(profile.listener_metadata.filter(|metadata| !metadata.is_empty()))
        .set_syscalls(Some(rules));
    Ok(seccomp)
}

/// All capabilities of `includes` must be held, one of `excludes` is enough to leave the rule out.
fn applies(rule: &Rule, held: &[String]) -> Result<bool> {
    if let Some(includes) = &rule.includes {
        let caps = includes.caps.iter().flatten().all(|name| held.contains(name));
        let arches = includes
            .arches
            .as_ref()
            .is_none_or(|arches| arches.is_empty() || arches.iter().any(|arch| arch == machine()));
        if !caps || !arches || !new_enough(includes)? {
            return Ok(false);
        }
    }
    if let Some(excludes) = &rule.excludes {
        let caps = excludes.caps.iter().flatten().any(|name| held.contains(name));
        let arches = excludes.arches.iter().flatten().any(|arch| arch == machine());
        if caps || arches || (excludes.min_kernel.is_some() && new_enough(excludes)?) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// As Docker calls it.
fn machine() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }
}

fn new_enough(condition: &Condition) -> Result<bool> {
    let Some(wanted) = condition.min_kernel.as_deref().filter(|wanted| !wanted.is_empty()) else {
        return Ok(true);
    };
    let wanted =
        version(wanted).ok_or_else(|| Error::new(format!("invalid minKernel \"{wanted}\" in the seccomp profile")))?;
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").doing(|| "ask for the kernel's version")?;
    Ok(version(&release).is_some_and(|here| here >= wanted))
}

fn version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn architectures(map: Vec<ArchMap>) -> Vec<Arch> {
    let native = if cfg!(target_arch = "aarch64") { Arch::ScmpArchAarch64 } else { Arch::ScmpArchX86_64 };
    let ours = map.into_iter().find(|entry| entry.architecture == native);
    ours.map(|entry| std::iter::once(native).chain(entry.sub_architectures.into_iter().flatten()).collect())
        .unwrap_or_else(|| vec![native])
}
