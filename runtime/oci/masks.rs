//! What of /proc and /sys a container must not see, and what it must not change.

use super::mounts;
use crate::error::{Doing, Error, Result};
use crate::explain::{self, calls};
use crate::store::beneath;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::{Mode, SFlag, fstat, makedev};
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};
use oci_spec::runtime::Spec;
use std::os::fd::OwnedFd;
use std::path::Path;

/// `linux.maskedPaths`: a file is covered by the host's /dev/null, a directory by an empty tmpfs.
pub fn mask(spec: &Spec, root: &OwnedFd) -> Result<()> {
    let Some(paths) = spec.linux().as_ref().and_then(|linux| linux.masked_paths().as_ref()) else { return Ok(()) };
    let (mut null, mut empty) = (None, None);
    for path in paths {
        let Some(place) = existing(root, Path::new(path))? else { continue };
        explain::step(
            format_args!("{path} tells of the host, so it is covered"),
            format_args!("mount --bind /dev/null ROOTFS{path}    # a directory: mount -t tmpfs -o ro"),
        );
        let directory = is_directory(&place)?;
        let known = if directory { &mut empty } else { &mut null };
        let cover = match known {
            Some(known) => again(known)?,
            None if directory => empty_directory()?,
            None => null_device()?,
        };
        mounts::attach(&cover, &place).doing(|| format!("mask {path}"))?;
        known.get_or_insert(cover);
    }
    Ok(())
}

/// One more mount of a cover that is attached elsewhere already: a file system of its own for each would be dearer.
fn again(cover: &OwnedFd) -> Result<OwnedFd> {
    calls::open_tree(cover, c"", libc::OPEN_TREE_CLONE | libc::AT_EMPTY_PATH as u32).doing(|| "copy a cover")
}

fn empty_directory() -> Result<OwnedFd> {
    mounts::new(c"tmpfs", &["size=0".into(), "nr_inodes=1".into()], libc::MOUNT_ATTR_RDONLY).doing(|| "make a tmpfs")
}

/// A mount of the host's /dev/null, whose mode nobody changes through it. It is checked to be that very device: the one inside
/// could have been made a link to a file of /proc, which the mask would then show in the place of hiding it (CVE-2025-31133).
pub fn null_device() -> Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let opened = openat(AT_FDCWD, "/dev/null", flags, Mode::empty()).doing(|| "open /dev/null")?;
    let found = fstat(&opened).doing(|| "look at /dev/null")?;
    if SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT != SFlag::S_IFCHR || found.st_rdev != makedev(1, 3) {
        return Err(Error::new("the host's /dev/null is not the null device"));
    }
    let copy = calls::open_tree(&opened, c"", libc::OPEN_TREE_CLONE | libc::AT_EMPTY_PATH as u32)
        .doing(|| "copy /dev/null")?;
    mounts::protect_node(&copy)?;
    Ok(copy)
}

/// `linux.readonlyPaths`: each becomes a mount of itself, read-only.
pub fn protect(spec: &Spec, root: &OwnedFd) -> Result<()> {
    let Some(paths) = spec.linux().as_ref().and_then(|linux| linux.readonly_paths().as_ref()) else { return Ok(()) };
    for path in paths {
        let Some(place) = existing(root, Path::new(path))? else { continue };
        explain::step(
            format_args!("{path} may be read and not changed"),
            format_args!("mount --bind -o ro ROOTFS{path} ROOTFS{path}"),
        );
        let flags = libc::OPEN_TREE_CLONE | (libc::AT_EMPTY_PATH | libc::AT_RECURSIVE) as u32;
        let copy = calls::open_tree(&place, c"", flags).doing(|| format!("copy {path}"))?;
        calls::mount_setattr(&copy, true, libc::MOUNT_ATTR_RDONLY, 0, 0, None)
            .doing(|| format!("make {path} read-only"))?;
        mounts::attach(&copy, &place).doing(|| format!("make {path} read-only"))?;
    }
    Ok(())
}

/// `linux.sysctl`, written through the container's own /proc, which is checked to be one (CVE-2025-52881).
pub fn sysctls(spec: &Spec, root: &OwnedFd) -> Result<()> {
    for (name, value) in spec.linux().iter().filter_map(|linux| linux.sysctl().as_ref()).flatten() {
        let path = Path::new("proc/sys").join(name.replace('.', "/"));
        let file = beneath::open(root, &path, OFlag::O_WRONLY, Mode::empty()).doing(|| format!("set sysctl {name}"))?;
        if fstatfs(&file).doing(|| "look at /proc/sys")?.filesystem_type() != PROC_SUPER_MAGIC {
            return Err(Error::new(format!("set sysctl {name}: /proc/sys is not the kernel's")));
        }
        explain::step(
            format_args!("a setting of the kernel's that each namespace has for itself: {name} is {value} in here"),
            format_args!("sysctl -w {name}={value}"),
        );
        calls::write_to(&file.into(), value).doing(|| format!("set sysctl {name} to {value}"))?;
    }
    Ok(())
}

/// Opens a path to be covered; one that does not exist needs no cover.
fn existing(root: &OwnedFd, path: &Path) -> Result<Option<OwnedFd>> {
    match beneath::open(root, path, OFlag::O_PATH, Mode::empty()) {
        Ok(opened) => Ok(Some(opened)),
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        Err(errno) => Err(errno).doing(|| format!("open {} in the container", path.display())),
    }
}

fn is_directory(fd: &OwnedFd) -> Result<bool> {
    let stat = fstat(fd).doing(|| "look at a path to mask")?;
    Ok(SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR)
}
