//! /sys/fs/cgroup inside a container: its own cgroup as the root, to look at; and to write to where the bundle does not say
//! that it is read-only, as other engines' privileged containers have it (an engine inside one needs that).

use super::mounts;
use super::options::Options;
use crate::error::{Doing, Result};
use crate::explain::calls;
use crate::store::beneath;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::symlinkat;
use oci_spec::runtime::{Mount, Spec};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Mounts what the host has: the one tree of version 2, or a tmpfs with the container's own directory of each tree of
/// version 1 in which it has one (`cgroup` is its path). Of another tree it would see the host's.
///
/// `below` is what the bundle mounts in it afterwards (podman the tree of systemd, `--systemd=always`): directories for that
/// are made before the tmpfs is read-only.
pub fn mount(place: &OwnedFd, options: &Options, cgroup: &str, below: &[PathBuf]) -> Result<()> {
    let attributes = options.attributes | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;
    if is_version_2()? {
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
    for (controllers, directory) in super::cgroup::directories(cgroup) {
        match mounts::copy(&directory, false) {
            Err(error) if error.is_not_found() => {}
            tree => one_tree(&tmpfs, &controllers, &tree?, attributes)?,
        }
    }
    for directory in below {
        let made = beneath::make_dirs(&tmpfs, directory, Mode::from_bits_truncate(0o755));
        made.map(drop).doing(|| format!("make {} in /sys/fs/cgroup", directory.display()))?;
    }
    calls::mount_setattr(&tmpfs, false, attributes, 0, 0, None).doing(|| "make /sys/fs/cgroup read-only")
}

/// Where the bundle mounts more inside the mount of the cgroups.
pub fn places_below(spec: &Spec) -> Vec<PathBuf> {
    let all = || spec.mounts().iter().flatten();
    let is_cgroup = |mount: &&Mount| matches!(mount.typ().as_deref(), Some("cgroup" | "cgroup2"));
    let Some(cgroups) = all().find(is_cgroup).map(Mount::destination) else { return Vec::new() };
    let below = all().filter_map(|mount| mount.destination().strip_prefix(cgroups).ok());
    below.filter(|below| !below.as_os_str().is_empty()).map(Path::to_owned).collect()
}

/// The very mount of the host's, from the container's cgroup on: another one of the file system would be another super
/// block, six of which are dear.
fn one_tree(tmpfs: &OwnedFd, controllers: &str, tree: &OwnedFd, attributes: u64) -> Result<()> {
    calls::mount_setattr(tree, false, attributes, 0, 0, None)
        .doing(|| format!("set the options of the cgroup tree {controllers}"))?;
    mkdirat(tmpfs, controllers, Mode::from_bits_truncate(0o755))
        .doing(|| format!("make /sys/fs/cgroup/{controllers}"))?;
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let place = openat(tmpfs, controllers, flags, Mode::empty()).doing(|| format!("open {controllers}"))?;
    mounts::attach(tree, &place).doing(|| format!("mount the cgroup tree {controllers}"))?;
    if controllers.contains(',') {
        for single in controllers.split(',') {
            let _ = symlinkat(controllers, tmpfs, single);
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

/// Its one line of /proc/self/cgroup names no controllers: `0::/path`.
fn is_version_2() -> Result<bool> {
    let text = crate::procfs::read("/proc/self/cgroup").doing(|| "read /proc/self/cgroup")?;
    Ok(text.lines().all(|line| line.starts_with("0::")))
}
