//! What a bundle asks for and Ebb does not do, where it would be a wall: refused, since a wall that is passed over in silence
//! is a hole. So is what is simply not done: who asked for it is told.

use super::namespaces::Namespaces;
use crate::error::{Error, Result};
use oci_spec::runtime::{LinuxNamespaceType as Type, LinuxResources, Process, Spec};
use std::collections::HashMap;

/// Looks through a bundle before anything is made of it.
pub fn check(spec: &Spec, namespaces: &Namespaces) -> Result<()> {
    if let Some(wanted) = spec.process() {
        process(wanted)?;
    }
    let Some(linux) = spec.linux() else { return Ok(()) };
    // Read here, before there is anything to be removed; the process reads it once more.
    spec.process().as_ref().map_or(Ok(()), |wanted| super::share::read(spec, wanted).map(drop))?;
    if linux.mount_label().as_ref().is_some_and(|label| !label.is_empty()) {
        return Err(no_labels("linux.mountLabel", "SELinux"));
    }
    if linux.net_devices().as_ref().is_some_and(|devices| !devices.is_empty()) {
        return Err(Error::new("linux.netDevices cannot be honoured: ebb moves no network devices into a container"));
    }
    if linux.intel_rdt().is_some() {
        return Err(Error::new("linux.intelRdt cannot be honoured: ebb does not use Intel RDT"));
    }
    let maps = [linux.uid_mappings(), linux.gid_mappings()];
    if maps.iter().any(|map| map.as_ref().is_some_and(|map| !map.is_empty())) && !namespaces.has(Type::User) {
        return Err(Error::new("linux.uidMappings and gidMappings are of no use: the bundle lists no user namespace")
            .with_cure("list one, or leave them out: the container's root is the host's then"));
    }
    linux.resources().as_ref().map_or(Ok(()), resources)?;
    linux.sysctl().as_ref().map_or(Ok(()), |wanted| sysctls(wanted, namespaces))
}

/// What is asked for a process, a container's first or one more.
pub fn process(process: &Process) -> Result<()> {
    let is_asked = |word: &Option<String>| word.as_ref().is_some_and(|word| !word.is_empty() && word != "unconfined");
    if is_asked(process.apparmor_profile()) {
        return Err(no_labels("process.apparmorProfile", "AppArmor"));
    }
    if is_asked(process.selinux_label()) {
        return Err(no_labels("process.selinuxLabel", "SELinux"));
    }
    Ok(())
}

fn no_labels(what: &str, which: &str) -> Error {
    Error::new(format!("{what} cannot be honoured: ebb loads no {which} profiles and sets no labels"))
        .with_cure("leave it out; engines have an option for that (--security-opt apparmor=unconfined, label=disable)")
}

fn resources(resources: &LinuxResources) -> Result<()> {
    let marks = resources.network().as_ref().is_some_and(|network| {
        network.class_id().is_some() || network.priorities().as_ref().is_some_and(|all| !all.is_empty())
    });
    if marks {
        return Err(Error::new(
            "linux.resources.network cannot be honoured: ebb does not mark packets, and a firewall would wait for the mark",
        ));
    }
    if resources.rdma().as_ref().is_some_and(|limits| !limits.is_empty()) {
        return Err(Error::new("linux.resources.rdma cannot be honoured: ebb does not limit RDMA"));
    }
    Ok(())
}

/// Only what the kernel has once for each namespace, and only where that namespace is the container's: every other setting
/// is the host's.
fn sysctls(wanted: &HashMap<String, String>, namespaces: &Namespaces) -> Result<()> {
    for name in wanted.keys() {
        let refuse = |why: &str| Err(Error::new(format!("linux.sysctl: {name:?} {why}")));
        let words: Vec<&str> = name.split(['.', '/']).collect();
        if words.iter().any(|word| word.is_empty()) || name.contains('\0') {
            return refuse("is not the name of a setting");
        }
        let kind = match words[..] {
            ["kernel", "msgmax" | "msgmnb" | "msgmni" | "sem" | "shmall" | "shmmax" | "shmmni" | "shm_rmid_forced"]
            | ["kernel", "msg_next_id" | "sem_next_id" | "shm_next_id" | "auto_msgmni"]
            | ["fs", "mqueue", _] => Type::Ipc,
            ["net", ..] => Type::Network,
            ["kernel", "domainname" | "hostname"] => Type::Uts,
            ["user", _] => Type::User,
            _ => return refuse("is one for the whole host: no namespace has it for itself"),
        };
        if !namespaces.is_its_own(kind)? {
            return refuse(&format!("would be the host's: the container has no {kind} namespace of its own"));
        }
    }
    Ok(())
}
