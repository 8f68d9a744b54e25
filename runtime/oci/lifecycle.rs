//! create, start, kill, delete: a container's life over several commands, as runc's command line cuts it.

use super::state::{self, Container, Record, Status};
use super::{CreateOptions, Io, cgroup, hooks};
use crate::error::{Doing, Error, Result};
use crate::explain::calls;
use crate::store::{atomic, bounds, lock, tree};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use oci_spec::runtime::{Hook, Spec};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// A container just created, and what only its creator can hold.
pub struct Created {
    pub container: Container,
    pub pidfd: OwnedFd,
    /// The master of its terminal.
    pub console: Option<OwnedFd>,
}

/// Reads and checks a bundle's configuration.
pub fn load(bundle: &Path) -> Result<Spec> {
    let path = bundle.join("config.json");
    let text = match bounds::read_named(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && bundle.is_dir() => {
            return Err(Error::not_found("JSON specification file config.json not found"));
        }
        other => other.doing(|| format!("read {}", path.display()))?,
    };
    let spec: Spec = serde_json::from_str(&text).doing(|| format!("decode {}", path.display()))?;
    let version = spec.version();
    if !version.starts_with("1.") {
        return Err(Error::new(format!(
            "{}: ociVersion \"{version}\" is not one that ebb knows (1.x)",
            path.display()
        )));
    }
    Ok(spec)
}

/// Creates the container: it waits, isolated, for [`start`], which may come from another process.
pub fn create(root: &Path, id: &str, bundle: &Path, io: Io, options: &CreateOptions) -> Result<Created> {
    let spec = load(bundle)?;
    let dir = state::claim(root, id)?;
    let made = create_in(&dir, id, bundle, &spec, io, options);
    if made.is_err() {
        let _ = tree::remove(&dir);
    }
    made
}

fn create_in(dir: &Path, id: &str, bundle: &Path, spec: &Spec, io: Io, options: &CreateOptions) -> Result<Created> {
    let _lock = lock::exclusive(dir)?;
    // A socket's address holds 108 bytes, and an id alone may have more: it is bound by way of its directory.
    let here = File::open(dir).doing(|| format!("open {}", dir.display()))?;
    let gate = by_descriptor(&here, "gate");
    let options = CreateOptions { gate: Some(gate), ..options.clone() };
    let init = super::begin(spec.clone(), bundle, id, io, options)?.create(&mut |_, _| Ok(()))?;
    let kept = keep_config(bundle, dir, &init.cgroup);
    let rootfs = spec.root().as_ref().map(|root| bundle.join(root.path())).unwrap_or_default();
    let record = Record {
        oci_version: spec.version().clone(),
        id: id.to_owned(),
        bundle: bundle.to_owned(),
        rootfs,
        created: jiff::Timestamp::now().to_string(),
        annotations: spec.annotations().clone().unwrap_or_default(),
        pid: init.pid.as_raw(),
        start_time: super::process_stat(init.pid.as_raw()).map_or(0, |(_, start)| start),
        boot_id: state::boot_id(),
        cgroup: init.cgroup.clone(),
    };
    let container = Container { dir: dir.to_owned(), record };
    if let Err(error) = kept.and_then(|()| container.save()) {
        end(&container, Some(&init.pidfd));
        return Err(error);
    }
    Ok(Created { container, pidfd: init.pidfd, console: init.console })
}

/// The bundle may change or go while the container lives; what it said is kept, with the cgroup's real place in it.
fn keep_config(bundle: &Path, dir: &Path, cgroup: &str) -> Result<()> {
    let mut config: serde_json::Value = atomic::read_json(&bundle.join("config.json"))?;
    if !cgroup.is_empty() {
        config["linux"]["cgroupsPath"] = cgroup.into();
    }
    atomic::write_json(&dir.join("config.json"), &config)
}

fn by_descriptor(dir: &File, name: &str) -> PathBuf {
    format!("/proc/self/fd/{}/{name}", dir.as_raw_fd()).into()
}

/// Lets the created container run its program. Returns when execve(2) has succeeded.
pub fn start(container: &Container) -> Result<()> {
    let _lock = lock::exclusive(&container.dir)?;
    match container.status() {
        Status::Created => {}
        Status::Stopped => return Err(Error::conflict("cannot start a container that has stopped")),
        Status::Running | Status::Paused => return Err(Error::conflict("cannot start an already running container")),
    }
    let here = File::open(&container.dir).doing(|| format!("open {}", container.dir.display()))?;
    let started = super::start_through(&by_descriptor(&here, "gate"));
    // Whatever came of it, nobody waits at the gate any more.
    let _ = std::fs::remove_file(container.gate());
    started?;
    let spec = container.spec()?;
    let poststart = spec.hooks().as_ref().and_then(|hooks| hooks.poststart().clone());
    hooks::run_and_warn(&poststart, "poststart", &container.oci_state(&spec));
    Ok(())
}

/// Sends a signal to the first process, or with `all` to every process of the cgroup.
pub fn kill(container: &Container, signal: i32, all: bool) -> Result<()> {
    let frozen = container.status() == Status::Paused;
    let first = container.pidfd()?;
    if all && !container.record.cgroup.is_empty() {
        cgroup::signal(&container.record.cgroup, signal)?;
    } else {
        let pidfd = first.ok_or_else(|| Error::conflict("container not running"))?;
        calls::pidfd_send_signal(pidfd, signal).doing(|| format!("send signal {signal}"))?;
    }
    // A frozen process dies of SIGKILL only once it is thawed (cgroup v1).
    if signal == libc::SIGKILL && frozen {
        cgroup::thaw(&container.record.cgroup)?;
    }
    Ok(())
}

/// Removes a stopped container, a created one, and with `force` a running one.
pub fn delete(container: &Container, force: bool) -> Result<()> {
    let _lock = lock::exclusive(&container.dir)?;
    let status = container.status();
    if !force && matches!(status, Status::Running | Status::Paused) {
        let id = &container.record.id;
        return Err(Error::conflict(format!("cannot delete container {id} that is not stopped: {}", status.word())));
    }
    end(container, container.pidfd()?.as_ref());
    cgroup::remove(&container.record.cgroup)?;
    let spec = container.spec();
    tree::remove(&container.dir)?;
    if let Ok(spec) = spec {
        let poststop: Option<Vec<Hook>> = spec.hooks().as_ref().and_then(|hooks| hooks.poststop().clone());
        hooks::run_and_warn(&poststop, "poststop", &container.oci_state(&spec));
    }
    Ok(())
}

/// Kills what is left of a container, and waits until its first process has ended: with it the kernel ends the others
/// of its pid namespace. Those of a container without one are found by the cgroup.
fn end(container: &Container, first: Option<&OwnedFd>) {
    let cgroup = &container.record.cgroup;
    if let Some(pidfd) = first {
        let _ = calls::pidfd_send_signal(pidfd, libc::SIGKILL);
    }
    if !cgroup.is_empty() {
        let _ = cgroup::signal(cgroup, libc::SIGKILL);
        if cgroup::is_frozen(cgroup) {
            let _ = cgroup::thaw(cgroup);
        }
    }
    if let Some(pidfd) = first {
        let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        let _ = poll(&mut fds, PollTimeout::from(10_000u16));
    }
}
