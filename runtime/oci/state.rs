//! What `ebb oci` remembers of a container between two commands, in a directory of its own as runc does.
//!
//! ```text
//!   /run/ebb-oci/ID/         $XDG_RUNTIME_DIR/ebb-oci/ID without root
//!     state.json             the record below: which process, which cgroup, which bundle
//!     config.json            the bundle's configuration as it was at `create`
//!     gate                   the socket on which a created container waits for `start`; gone after it
//! ```
//!
//! The status is never stored: it follows from the process, from the gate and from the freezer.

use super::{cgroup, process_stat};
use crate::error::{Doing, Error, Result};
use crate::store::atomic;
use oci_spec::runtime::{ContainerState, Spec, State};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    pub oci_version: String,
    pub id: String,
    pub bundle: PathBuf,
    pub rootfs: PathBuf,
    /// RFC 3339
    pub created: String,
    pub annotations: HashMap<String, String>,
    /// The first process, with what makes it unmistakable: a pid may be used again.
    pub pid: i32,
    pub start_time: u64,
    pub boot_id: String,
    pub cgroup: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Created,
    Running,
    Paused,
    Stopped,
}

impl Status {
    pub fn word(self) -> &'static str {
        match self {
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Stopped => "stopped",
        }
    }
}

/// A container of this root.
#[derive(Debug, Clone)]
pub struct Container {
    pub dir: PathBuf,
    pub record: Record,
}

/// The directory of all containers: `given` (`--root`), or the user's own. Rootless podman calls us as root of a user
/// namespace, to whom the host's /run does not belong.
pub fn root(given: Option<&Path>) -> PathBuf {
    if let Some(given) = given {
        return given.to_owned();
    }
    let own = std::env::var_os("XDG_RUNTIME_DIR").filter(|own| !own.is_empty() && !super::is_root_of_host());
    match own {
        Some(own) => Path::new(&own).join("ebb-oci"),
        None if nix::unistd::geteuid().is_root() => "/run/ebb-oci".into(),
        None => std::env::temp_dir().join(format!("ebb-oci-{}", nix::unistd::geteuid())),
    }
}

/// Makes the directory of a new container; only one process can.
pub fn claim(root: &Path, id: &str) -> Result<PathBuf> {
    check_id(id)?;
    let mut private = std::fs::DirBuilder::new();
    private.mode(0o700);
    private.recursive(true).create(root).doing(|| format!("make {}", root.display()))?;
    is_ours(root)?;
    let dir = root.join(id);
    match private.recursive(false).create(&dir) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            Err(Error::conflict("container with given ID already exists"))
        }
        other => other.doing(|| format!("make {}", dir.display())).map(|()| dir),
    }
}

/// The container `id`. One whose `create` has not finished does not exist yet.
pub fn find(root: &Path, id: &str) -> Result<Container> {
    check_id(id)?;
    if !is_ours(root)? {
        return Err(Error::not_found("container does not exist"));
    }
    let dir = root.join(id);
    match atomic::read_json(&dir.join("state.json")) {
        Ok(record) => Ok(Container { dir, record }),
        Err(error) if error.is_not_found() => Err(Error::not_found("container does not exist")),
        Err(error) => Err(error),
    }
}

/// All containers of this root, by id.
pub fn list(root: &Path) -> Result<Vec<Container>> {
    is_ours(root)?;
    let entries = std::fs::read_dir(root).into_iter().flatten().flatten();
    let mut ids: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    ids.sort();
    Ok(ids.iter().filter_map(|id| find(root, id).ok()).collect())
}

/// Whether there is such a root. One that another user made, or can write to, is refused: what it says of a container is
/// done as us, hooks and all, and the place in /tmp can be made by anybody before we do.
fn is_ours(root: &Path) -> Result<bool> {
    let meta = match std::fs::symlink_metadata(root) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        other => other.doing(|| format!("look at {}", root.display()))?,
    };
    let why = if !meta.is_dir() {
        "is no directory"
    } else if meta.uid() != nix::unistd::geteuid().as_raw() {
        "belongs to another user"
    } else if meta.mode() & 0o022 != 0 {
        "can be written to by other users"
    } else {
        return Ok(true);
    };
    Err(Error::new(format!("the state of containers is not taken from {}: it {why}", root.display()))
        .with_cure("give --root DIR, or set XDG_RUNTIME_DIR to a directory of your own"))
}

fn check_id(id: &str) -> Result<()> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_+-.".contains(&byte);
    if id.is_empty() || id == "." || id == ".." || !id.bytes().all(allowed) {
        return Err(Error::new("invalid container ID format"));
    }
    Ok(())
}

pub fn boot_id() -> String {
    static BOOT_ID: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    let read = || crate::procfs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned();
    BOOT_ID.get_or_init(read).clone()
}

impl Container {
    pub fn status(&self) -> Status {
        if !self.is_alive() {
            Status::Stopped
        } else if self.gate().exists() {
            Status::Created
        } else if !self.record.cgroup.is_empty() && cgroup::is_frozen(&self.record.cgroup) {
            Status::Paused
        } else {
            Status::Running
        }
    }

    fn is_alive(&self) -> bool {
        let is_ours = |(state, start)| start == self.record.start_time && !matches!(state, 'Z' | 'X');
        process_stat(self.record.pid).is_some_and(is_ours) && self.record.boot_id == boot_id()
    }

    /// A handle on the first process; `None` when it has ended. Checked after it was opened, so it can be no other's.
    pub fn pidfd(&self) -> Result<Option<OwnedFd>> {
        let pidfd = super::pidfds::open(self.record.pid)?;
        Ok(pidfd.filter(|_| self.is_alive()))
    }

    pub fn gate(&self) -> PathBuf {
        self.dir.join("gate")
    }

    /// The configuration as it was at `create`, whatever became of the bundle.
    pub fn spec(&self) -> Result<Spec> {
        atomic::read_json(&self.dir.join("config.json"))
    }

    pub fn save(&self) -> Result<()> {
        atomic::write_json(&self.dir.join("state.json"), &self.record)
    }

    /// The OCI state, for hooks.
    pub fn oci_state(&self, spec: &Spec) -> State {
        let (status, pid) = match self.status() {
            Status::Created => (ContainerState::Created, self.record.pid),
            Status::Running | Status::Paused => (ContainerState::Running, self.record.pid),
            Status::Stopped => (ContainerState::Stopped, 0),
        };
        super::hooks::state(spec, &self.record.id, &self.record.bundle, status, pid)
    }
}
