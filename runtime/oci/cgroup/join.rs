//! How a process comes into its cgroup: born in it (version 2), or by its own word (version 1).

use super::{plain, v1};
use crate::error::{Doing, Result};
use crate::explain::{self, calls};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

/// A cgroup that a process is about to join.
#[derive(Debug, Default)]
pub struct Prepared {
    pub(super) path: String,
    /// Version 1: the `tasks` file of each tree, opened by us. The kernel checks a write against the opener's
    /// credentials, so the child may write in its own user namespace.
    pub(super) tasks: Vec<File>,
    /// Version 2, or the tree of version 2 of a hybrid host: the cgroup's directory, for CLONE_INTO_CGROUP.
    pub(super) directory: Option<File>,
}

/// A place below a container's cgroup: in the trees of some controllers of version 1, or in all (none is named).
#[derive(Debug, Clone, PartialEq)]
pub struct Below {
    pub controllers: Vec<String>,
    pub path: String,
}

/// The path of that place; that of the cgroup itself where there is none.
pub(super) fn below(cgroup: &str, place: Option<&Below>) -> Result<String> {
    place.map_or_else(|| Ok(cgroup.to_owned()), |place| plain(&format!("{cgroup}/{}", place.path)))
}

/// A hybrid host: the place of a process that is to be born in the tree of version 2. One that was made for it, and is not
/// [kept](Birthplace::keep), goes again.
#[derive(Debug)]
pub struct Birthplace {
    directory: File,
    made: Option<PathBuf>,
}

impl Birthplace {
    /// `None` where there is no such tree. In the caller's place there the container would see the caller's neighbours, and
    /// be killed and frozen with them.
    pub fn prepare(path: &str) -> Result<Option<Birthplace>> {
        let opened = match super::host() {
            super::Host::V1(_) => v1::open_to_be_born(&super::plain(path)?)?,
            _ => None,
        };
        Ok(opened.map(|(directory, made)| Birthplace { directory, made }))
    }

    pub fn as_cgroup_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// Removes what a start that was killed has left, before anything was written down of it.
    pub fn forget(path: &str) {
        let left = match super::host() {
            super::Host::V1(_) => v1::birthplace(path),
            _ => None,
        };
        if let Some(left) = left {
            let _ = v1::remove_tree(&left, v1::soon());
        }
    }

    /// The container lives in it, and [`super::remove`] takes it away.
    pub fn keep(mut self) {
        self.made = None;
    }
}

impl Drop for Birthplace {
    fn drop(&mut self) {
        if let Some(made) = self.made.take() {
            let _ = v1::remove_tree(&made, v1::soon());
        }
    }
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

    /// To be given to clone3(2), so that the child is born in the cgroup.
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
