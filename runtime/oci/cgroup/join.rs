//! How a process comes into its cgroup: born in it (version 2), or by its own word (version 1).

use crate::error::{Doing, Result};
use crate::explain::{self, calls};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A cgroup that a process is about to join.
#[derive(Debug, Default)]
pub struct Prepared {
    pub(super) path: String,
    /// Version 1: the `tasks` file of each tree, opened by us. The kernel checks a write against the opener's
    /// credentials, so the child may write in its own user namespace.
    pub(super) tasks: Vec<File>,
    /// Version 2: the cgroup's directory, for CLONE_INTO_CGROUP.
    pub(super) directory: Option<File>,
}

impl Prepared {
    /// Where it is, below the root of every tree; empty where there is none.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Version 1: what [`join`] needs, to be sent to a process that was cloned before this was prepared.
    pub fn into_tasks(self) -> Vec<OwnedFd> {
        self.tasks.into_iter().map(OwnedFd::from).collect()
    }

    /// Version 2: to be given to clone3(2), so that the child is born in the cgroup.
    pub fn into_cgroup_fd(&self) -> Option<BorrowedFd<'_>> {
        self.directory.as_ref().map(File::as_fd)
    }

    /// [`join`]s it.
    pub fn join_self(&self) -> Result<()> {
        join(&self.tasks, &self.path)
    }
}

/// Version 1: moves the calling thread into the cgroup. Called by the child, before it makes its cgroup namespace.
///
/// Through `tasks` and not through `cgroup.procs`: to move a whole process the kernel waits for an RCU grace period
/// (milliseconds), to move one thread it does not, and the child has one thread.
pub fn join(tasks: &[File], path: &str) -> Result<()> {
    explain::step("it moves into the cgroup, whose limits hold from here on", format_args!("echo 0 > …{path}/tasks"));
    for tasks in tasks {
        calls::write_to(tasks, "0").doing(|| format!("join the cgroup {path}"))?;
    }
    Ok(())
}
