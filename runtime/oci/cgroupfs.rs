//! /sys/fs/cgroup inside a container: its own cgroup as the root, to look at and never to write.

use super::mounts;
use super::options::Options;
use crate::error::{Doing, Result};
use crate::explain::calls;
use crate::store::beneath;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::symlinkat;
use std::os::fd::OwnedFd;
use std::path::Path;

/// Mounts the host's version: the one tree of version 2, or a tmpfs with every tree of version 1.
pub fn mount(place: &OwnedFd, options: &Options) -> Result<()> {
    let attributes = options.attributes | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;
    let trees = version_1_trees()?;
    if trees.is_empty() {
        return match mounts::new(c"cgroup2", &[], attributes) {
            Ok(made) => mounts::attach(&made, place).doing(|| "mount cgroup2"),
            // Without a cgroup namespace of our own the kernel refuses; the host's tree is shown, read-only.
            Err(Errno::EPERM | Errno::EBUSY) => host_tree(place, attributes),
            Err(errno) => Err(errno).doing(|| "mount cgroup2"),
        };
    }
    let writable = attributes & !libc::MOUNT_ATTR_RDONLY;
    let tmpfs = mounts::new(c"tmpfs", &["mode=755".into()], writable).doing(|| "mount a tmpfs for the cgroups")?;
    mounts::attach(&tmpfs, place).doing(|| "mount a tmpfs for the cgroups")?;
    for tree in trees {
        one_tree(&tmpfs, &tree, attributes)?;
    }
    calls::mount_setattr(&tmpfs, false, attributes, 0, 0, None).doing(|| "make /sys/fs/cgroup read-only")
}

fn one_tree(tmpfs: &OwnedFd, controllers: &str, attributes: u64) -> Result<()> {
    let name = controllers.strip_prefix("name=").unwrap_or(controllers);
    let data: Vec<String> = match controllers.strip_prefix("name=") {
        // A tree that systemd made has no controller; `none` says that none is wanted.
        Some(name) => vec!["none".into(), format!("name={name}")],
        None => controllers.split(',').map(str::to_owned).collect(),
    };
    let made = match mounts::new(c"cgroup", &data, attributes) {
        Ok(made) => made,
        // A tree that cannot be mounted again here is left out: it is for looking only.
        Err(Errno::EPERM | Errno::EBUSY | Errno::EINVAL | Errno::ENOENT) => return Ok(()),
        Err(errno) => return Err(errno).doing(|| format!("mount the cgroup tree {controllers}")),
    };
    mkdirat(tmpfs, name, Mode::from_bits_truncate(0o755)).doing(|| format!("make /sys/fs/cgroup/{name}"))?;
    let place = beneath::open(tmpfs, Path::new(name), OFlag::O_PATH, Mode::empty()).doing(|| format!("open {name}"))?;
    mounts::attach(&made, &place).doing(|| format!("mount the cgroup tree {controllers}"))?;
    if name.contains(',') {
        for single in name.split(',') {
            let _ = symlinkat(name, tmpfs, single);
        }
    }
    Ok(())
}

fn host_tree(place: &OwnedFd, attributes: u64) -> Result<()> {
    let copy = mounts::copy(Path::new("/sys/fs/cgroup"), true)?;
    calls::mount_setattr(&copy, true, attributes | libc::MOUNT_ATTR_RDONLY, 0, 0, None)
        .doing(|| "make /sys/fs/cgroup read-only")?;
    mounts::attach(&copy, place).doing(|| "show /sys/fs/cgroup")
}

/// The second column of /proc/self/cgroup: `cpu,cpuacct`, `name=systemd`; version 2 has an empty one.
fn version_1_trees() -> Result<Vec<String>> {
    let text = std::fs::read_to_string("/proc/self/cgroup").doing(|| "read /proc/self/cgroup")?;
    let column = |line: &str| line.split(':').nth(1).filter(|column| !column.is_empty()).map(str::to_owned);
    Ok(text.lines().filter_map(column).collect())
}
