//! Which device nodes a container may open and make. Version 1 has a controller with a list; version 2 asks a small
//! eBPF program, attached to the cgroup, at each open(2) and mknod(2) of a device.
//!
//! Where the container has a user namespace, the kernel refuses it host devices anyway; this is for those without one.

mod list;
mod program;

use super::set;
use crate::error::{Doing, Error, Result};
use crate::kernel;
use nix::errno::Errno;
use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};
use std::fs::File;
use std::path::Path;

/// One rule of a bundle.
#[derive(Debug, Clone, PartialEq)]
struct Rule {
    allow: bool,
    /// `None`: both kinds.
    block: Option<bool>,
    major: Option<u32>,
    minor: Option<u32>,
    access: u32,
}

// linux/bpf.h, BPF_DEVCG_*
const MKNOD: u32 = 1;
const READ: u32 = 2;
const WRITE: u32 = 4;
// The kernel's MINORBITS is 20.
const MOST_MAJOR: u32 = (1 << 12) - 1;
const MOST_MINOR: u32 = (1 << 20) - 1;
const BLOCK: i32 = 1;
const CHARACTER: i32 = 2;

/// What every container may use (null, zero, full, random, urandom, tty, console, ptmx, pts), and that it may make, but
/// not use, any node: the specification's default devices. They count where the bundle begins by denying all.
const ALWAYS: &[(bool, Option<u32>, Option<u32>, u32)] = &[
    (true, None, None, MKNOD),
    (false, None, None, MKNOD),
    (false, Some(1), Some(3), MKNOD | READ | WRITE),
    (false, Some(1), Some(5), MKNOD | READ | WRITE),
    (false, Some(1), Some(7), MKNOD | READ | WRITE),
    (false, Some(1), Some(8), MKNOD | READ | WRITE),
    (false, Some(1), Some(9), MKNOD | READ | WRITE),
    (false, Some(5), Some(0), MKNOD | READ | WRITE),
    (false, Some(5), Some(1), MKNOD | READ | WRITE),
    (false, Some(5), Some(2), MKNOD | READ | WRITE),
    (false, Some(136), None, MKNOD | READ | WRITE),
];

/// What the bundle says, in its order. A word that would have to be guessed at is refused: a guess would open what was to be
/// shut.
fn rules(given: &[LinuxDeviceCgroup]) -> Result<Vec<Rule>> {
    let mut rules = given.iter().map(rule).collect::<Result<Vec<Rule>>>()?;
    // Right behind the last rule that denies all, so that what the bundle says after that counts for these, too.
    if let Some(at) = rules.iter().rposition(|rule| !rule.allow && rule.is_all()) {
        let always = |&(block, major, minor, access): &(bool, Option<u32>, Option<u32>, u32)| Rule {
            allow: true,
            block: Some(block),
            major,
            minor,
            access,
        };
        rules.splice(at + 1..at + 1, ALWAYS.iter().map(always));
    }
    Ok(rules)
}

fn rule(given: &LinuxDeviceCgroup) -> Result<Rule> {
    let block = match given.typ() {
        None | Some(LinuxDeviceType::A) => None,
        Some(LinuxDeviceType::B) => Some(true),
        Some(LinuxDeviceType::C | LinuxDeviceType::U) => Some(false),
        Some(LinuxDeviceType::P) => {
            return Err(Error::new("linux.resources.devices: a rule has the type p, and a FIFO is no device")
                .with_cure("the types are a, b and c"));
        }
    };
    Ok(Rule {
        allow: given.allow(),
        block,
        major: number("major", given.major(), MOST_MAJOR)?,
        minor: number("minor", given.minor(), MOST_MINOR)?,
        access: access(given.access().as_deref().unwrap_or("rwm"))?,
    })
}

/// `None` and -1 mean every number. The kernel's numbers have 12 and 20 bits: beyond them there is no device, and version 1
/// would take the largest number of 32 bits for a wildcard.
fn number(what: &str, given: Option<i64>, most: u32) -> Result<Option<u32>> {
    match given {
        None | Some(-1) => Ok(None),
        Some(number) => u32::try_from(number).ok().filter(|number| *number <= most).map(Some).ok_or_else(|| {
            Error::new(format!("linux.resources.devices: no device has the {what} number {number} (0 to {most})"))
        }),
    }
}

fn access(letters: &str) -> Result<u32> {
    let bit = |letter| match letter {
        'm' => Some(MKNOD),
        'r' => Some(READ),
        'w' => Some(WRITE),
        _ => None,
    };
    let bits = letters.chars().try_fold(0, |all, letter| bit(letter).map(|bit| all | bit));
    bits.filter(|bits| *bits != 0).ok_or_else(|| {
        Error::new(format!("linux.resources.devices: the access \"{letters}\" is not made of the letters r, w and m"))
    })
}

impl Rule {
    fn is_all(&self) -> bool {
        self.block.is_none() && self.major.is_none() && self.minor.is_none() && self.access == MKNOD | READ | WRITE
    }
}

/// Version 1: the list, rule by rule.
pub(super) fn list(directory: &Path, given: &[LinuxDeviceCgroup]) -> Result<()> {
    let standing = super::read(directory, "devices.list").unwrap_or_default();
    for (allow, line) in list::lines(&rules(given)?, &standing)? {
        set(directory, if allow { "devices.allow" } else { "devices.deny" }, &line)?;
    }
    Ok(())
}

/// Whether something is to be kept from the container.
pub(super) fn deny_something(given: &[LinuxDeviceCgroup]) -> bool {
    given.iter().any(|rule| !rule.allow())
}

/// Version 2: compiles the rules and attaches the program. An ordinary user may attach none, nor may root of a user
/// namespace, and needs none: it has no right to any device that it could give away.
pub(super) fn attach(directory: &Path, given: &[LinuxDeviceCgroup]) -> Result<()> {
    let program = program::compile(&rules(given)?);
    let cgroup = File::open(directory).doing(|| format!("open {}", directory.display()))?;
    match kernel::bpf_device_program(&program).and_then(|program| kernel::bpf_attach_device(&cgroup, program)) {
        Err(Errno::EPERM) if !crate::oci::is_root_of_host() => Ok(()),
        other => other.doing(|| format!("attach the device rules to {}", directory.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_would_have_to_be_guessed_at_is_refused() {
        let read = |json: &str| rules(&serde_json::from_str::<Vec<_>>(json).unwrap());
        for (bad, why) in [
            (r#"[{"allow":true,"type":"p"}]"#, "type p"),
            (r#"[{"allow":true,"type":"c","major":4294967295}]"#, "major number 4294967295"),
            (r#"[{"allow":false,"type":"c","major":1,"minor":-2}]"#, "minor number -2"),
            (r#"[{"allow":false,"access":""}]"#, "access \"\""),
            (r#"[{"allow":false,"access":"RWM"}]"#, "access \"RWM\""),
        ] {
            assert!(read(bad).unwrap_err().to_string().contains(why), "{bad}");
        }
        assert!(read(r#"[{"allow":true,"type":"c","major":-1,"minor":-1,"access":"m"}]"#).is_ok());
    }
}
