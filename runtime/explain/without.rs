//! `--without STEP`: one isolating step is left out, so that a learner can see what it was for.

use crate::error::{Error, Result};
use std::str::FromStr;
use std::sync::OnceLock;

/// A step that can be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    PivotRoot,
    Pid,
    Mount,
    Net,
    User,
    Seccomp,
    Capabilities,
    Masks,
    Overlay,
}

const NAMES: [(&str, Step); 9] = [
    ("pivot_root", Step::PivotRoot),
    ("pid", Step::Pid),
    ("mount", Step::Mount),
    ("net", Step::Net),
    ("user", Step::User),
    ("seccomp", Step::Seccomp),
    ("capabilities", Step::Capabilities),
    ("masks", Step::Masks),
    ("overlay", Step::Overlay),
];

/// For completions and messages.
pub fn names() -> Vec<&'static str> {
    NAMES.iter().map(|(name, _)| *name).collect()
}

static LEFT_OUT: OnceLock<Vec<Step>> = OnceLock::new();

/// What the command line leaves out; set once, before anything runs.
pub fn set(steps: Vec<Step>) {
    let _ = LEFT_OUT.set(steps);
}

/// Whether the command line leaves `step` out.
pub fn leaves_out(step: Step) -> bool {
    left_out().contains(&step)
}

pub fn left_out() -> &'static [Step] {
    LEFT_OUT.get().map_or(&[], Vec::as_slice)
}

impl Step {
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(_, step)| *step == self).map_or("", |(name, _)| name)
    }

    /// What is lost without it, for the warning.
    pub fn loss(self) -> &'static str {
        match self {
            Step::PivotRoot => {
                "the container's root is only a chroot: the host's files stay mounted below it, and a process with \
                 CAP_SYS_CHROOT can walk back to them"
            }
            Step::Pid => "the container sees the host's processes, and its program is not process 1",
            Step::Mount => "the container's mounts would be the host's: the kernel refuses the first of them",
            Step::Net => "the container uses the host's network: its ports, and its services on 127.0.0.1",
            Step::User => "root in the container is root on the host, held back by capabilities and the filter only",
            Step::Seccomp => "every system call of the kernel can be tried",
            Step::Capabilities => "the container's root keeps every capability of its user namespace",
            Step::Masks => "the container sees what /proc and /sys tell of the host, and may try to change it",
            Step::Overlay => "the whole image is copied for this one container, and all of it counts as written by it",
        }
    }
}

impl FromStr for Step {
    type Err = Error;

    fn from_str(text: &str) -> Result<Step> {
        NAMES.iter().find(|(name, _)| *name == text).map(|(_, step)| *step).ok_or_else(|| {
            Error::new(format!("invalid value {text:?} for --without: it is one of {}", names().join(", ")))
        })
    }
}
