//! Capabilities: root's power cut into forty pieces, of which a container keeps few.
//!
//! A thread has five sets. *Bounding* is the ceiling: what is not in it can never be gained again, not by a setuid
//! program either. *Permitted* is what the thread may use, *effective* what it uses now. *Inheritable* and *ambient*
//! decide what survives execve(2) of a program without capabilities of its own.

use crate::error::{Cause, Doing, Error, Result};
use crate::explain::{self, calls};
use crate::kernel;
use crate::store::attribute;
use caps::{CapSet, Capability, CapsHashSet};
use oci_spec::runtime::{Capabilities, LinuxCapabilities};
use std::path::Path;
use std::str::FromStr;

/// Those that this process may use, by name: no process that it starts can have others.
pub fn held() -> Result<Vec<String>> {
    let held = caps::read(None, CapSet::Permitted).doing(|| "read the permitted capabilities")?;
    Ok(held.iter().map(ToString::to_string).collect())
}

/// Lowers the ceiling. To be called while the thread still holds CAP_SETPCAP, hence before [`set_sets`], and before its
/// user changes.
pub fn drop_bounding(wanted: &LinuxCapabilities) -> Result<()> {
    let keep = set_of(wanted.bounding());
    // By number and past the last one that the caps crate knows, so that a newer kernel's capabilities go too.
    let kept = |number: u64| keep.iter().any(|capability| u64::from(capability.index()) == number);
    let mut dropped = Vec::new();
    for number in (0..64).filter(|number| !kept(*number)) {
        match kernel::prctl(libc::PR_CAPBSET_READ, number) {
            Ok(1) => dropped.push(number),
            Ok(_) => {}
            // The first that this kernel does not know: there is nothing to drop from here on.
            Err(_) => break,
        }
    }
    explain::step(
        format_args!("root's power is cut into pieces; {} of them can from now on never be had here", dropped.len()),
        "setpriv --bounding-set -all,+… …",
    );
    calls::drop_bounding(&dropped).doing(|| "drop capabilities from the bounding set")
}

/// Sets the other four, after the change of user: setuid(2) away from 0 empties permitted and effective, unless
/// PR_SET_KEEPCAPS asked the kernel to keep permitted. Without `wanted` they stay what they are.
///
/// What is asked for but not held (a rootless container, a nested one) is left out, as runc leaves it out.
///
/// With `may_filter` CAP_SYS_ADMIN is left for a while, by which a filter is loaded: [`Lent::give_back`].
pub fn set_sets(wanted: Option<&LinuxCapabilities>, may_filter: bool) -> Result<Lent> {
    let read = |which| caps::read(None, which).doing(|| format!("read the {which:?} capabilities"));
    let held = read(CapSet::Permitted)?;
    let only_held = |set: &Option<Capabilities>| -> CapsHashSet { set_of(set).intersection(&held).copied().collect() };
    let (effective, permitted) = match wanted {
        None if !may_filter => return Ok(Lent(None)),
        None => (read(CapSet::Effective)?, held.clone()),
        Some(wanted) => {
            let permitted = only_held(wanted.permitted());
            (only_held(wanted.effective()).intersection(&permitted).copied().collect(), permitted)
        }
    };
    let right = [Capability::CAP_SYS_ADMIN].into_iter().filter(|right| may_filter && held.contains(right));
    let with_right = |set: &CapsHashSet| -> CapsHashSet { set.iter().copied().chain(right.clone()).collect() };
    let inheritable: CapsHashSet = wanted.map_or_else(CapsHashSet::new, |wanted| {
        only_held(wanted.inheritable()).intersection(&permitted).copied().collect()
    });
    explain::step(
        format_args!("of the others it keeps {} for use", permitted.len()),
        "setpriv --inh-caps … --ambient-caps … …",
    );
    let set = |which, set: &CapsHashSet| calls::capset(which, set).doing(|| format!("set the {which:?} capabilities"));
    // Each of the three must at every moment be one that capset(2) allows: effective within permitted, and inheritable
    // grows only while permitted still covers it.
    if wanted.is_some() {
        set(CapSet::Inheritable, &inheritable)?;
    }
    set(CapSet::Effective, &with_right(&effective))?;
    set(CapSet::Permitted, &with_right(&permitted))?;
    if let Some(wanted) = wanted {
        let ambient = set_of(wanted.ambient());
        calls::clear_ambient().doing(|| "clear the ambient capabilities")?;
        for capability in ambient.intersection(&inheritable) {
            calls::raise_ambient(*capability).doing(|| format!("raise {capability} in the ambient set"))?;
        }
    }
    let is_lent = with_right(&effective) != effective || with_right(&permitted) != permitted;
    Ok(Lent(is_lent.then_some((effective, permitted))))
}

/// A right that a process has only for as long as it has no filter: what its two sets are to be without.
#[derive(Default)]
pub struct Lent(Option<(CapsHashSet, CapsHashSet)>);

impl Lent {
    /// The last before execve(2), and after the filter, which must let these calls pass: capget and capset.
    pub fn give_back(&self) -> Result<()> {
        let Some((effective, permitted)) = &self.0 else { return Ok(()) };
        explain::step("the right by which the filter was loaded is given up", "");
        for (which, set) in [(CapSet::Effective, effective), (CapSet::Permitted, permitted)] {
            calls::capset(which, set).doing(|| format!("set the {which:?} capabilities"))?;
        }
        Ok(())
    }
}

/// Leaves permitted and effective only those of `bits` (1 << CAP_…), as /proc/PID/status has them in hexadecimal.
pub fn lower(bits: u64) -> Result<()> {
    let held = caps::read(None, CapSet::Permitted).doing(|| "read the permitted capabilities")?;
    let kept: CapsHashSet = held.into_iter().filter(|capability| bits & capability.bitmask() != 0).collect();
    for which in [CapSet::Effective, CapSet::Permitted] {
        calls::capset(which, &kept).doing(|| format!("set the {which:?} capabilities"))?;
    }
    Ok(())
}

/// The same set as bits (1 << CAP_…).
pub fn bits(set: &Option<Capabilities>) -> u64 {
    set_of(set).iter().map(Capability::bitmask).fold(0, |all, one| all | one)
}

/// What a program's file capabilities say that it must have and this process's ceiling does not allow, by name (`NET_RAW`).
/// The kernel does not execute such a program, since it was not written to do without (capabilities(7), "Safety checking for
/// capability-dumb binaries").
pub fn demanded_in_vain(program: &Path) -> Vec<String> {
    let Ok(Some(value)) = xattr::get_deref(program, attribute::CAPABILITIES) else { return Vec::new() };
    // Behind a version: permitted and inheritable, the lower 32 of each, and then the upper (linux/capability.h).
    let word = |at: usize| {
        let bytes = value.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        u64::from(bytes.map_or(0, u32::from_le_bytes))
    };
    let permitted = word(4) | word(12) << 32;
    let is_missing = |capability: &Capability| {
        let ceiling = kernel::prctl(libc::PR_CAPBSET_READ, u64::from(capability.index()));
        permitted & capability.bitmask() != 0 && ceiling == Ok(0)
    };
    let missing = caps::all().into_iter().filter(is_missing).map(|capability| capability.to_string());
    let mut missing: Vec<String> = missing.map(|name| name.trim_start_matches("CAP_").to_owned()).collect();
    missing.sort();
    missing
}

/// The names that this kernel knows, sorted: `CAP_AUDIT_CONTROL`, …
pub fn known() -> Vec<String> {
    let mut names: Vec<String> = caps::runtime::thread_all_supported().iter().map(Capability::to_string).collect();
    names.sort();
    names
}

fn set_of(set: &Option<Capabilities>) -> CapsHashSet {
    let names = set.iter().flatten().map(|capability| format!("CAP_{capability}"));
    names.filter_map(|name| Capability::from_str(&name).ok()).collect()
}

impl Cause for caps::errors::CapsError {
    fn into_error(self) -> Error {
        Error::new(self.to_string())
    }
}
