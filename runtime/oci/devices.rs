//! /dev inside a container: the six devices that every program expects, the bundle's own, and links.

use super::mounts;
use crate::error::{Doing, Error, Result};
use crate::store::beneath;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, SFlag, fstat, makedev, mknodat};
use nix::unistd::{Gid, Uid, fchownat, symlinkat};
use oci_spec::runtime::{LinuxDeviceType, Spec};
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// OCI runtime specification, config-linux.md, "Default Devices".
const DEFAULT: [(&str, u64, u64); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// How the kernel shows an owner that is not mapped (/proc/sys/kernel/overflowuid).
const NOBODY: u32 = 65534;

struct Device {
    path: PathBuf,
    /// Where the host has it.
    source: PathBuf,
    kind: SFlag,
    number: u64,
    mode: u32,
    owner: Option<(u32, u32)>,
}

/// Fills the tmpfs that was just mounted at /dev.
pub fn populate(spec: &Spec, root: &OwnedFd) -> Result<()> {
    let defaults = DEFAULT.iter().map(|(name, major, minor)| Device {
        path: Path::new("/dev").join(name),
        source: Path::new("/dev").join(name),
        kind: SFlag::S_IFCHR,
        number: makedev(*major, *minor),
        mode: 0o666,
        owner: None,
    });
    let asked = spec.linux().iter().filter_map(|linux| linux.devices().as_ref()).flatten().filter_map(|device| {
        let kind = match device.typ() {
            LinuxDeviceType::B => SFlag::S_IFBLK,
            LinuxDeviceType::P => SFlag::S_IFIFO,
            LinuxDeviceType::C | LinuxDeviceType::U => SFlag::S_IFCHR,
            LinuxDeviceType::A => return None,
        };
        Some(Device {
            path: device.path().clone(),
            source: source(spec, device.path()),
            kind,
            number: makedev(device.major() as u64, device.minor() as u64),
            mode: device.file_mode().unwrap_or(0o666) & 0o7777,
            owner: device.uid().zip(device.gid()),
        })
    });
    let dev = beneath::open(root, Path::new("dev"), OFlag::O_PATH | OFlag::O_DIRECTORY, Mode::empty());
    let dev = dev.doing(|| "open /dev in the container")?;
    let mut can_make = true;
    for device in defaults.chain(asked) {
        make(root, &dev, &device, &mut can_make).doing(|| format!("make {}", device.path.display()))?;
    }
    for (name, target) in LINKS {
        match symlinkat(target, &dev, name) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno).doing(|| format!("link /dev/{name}")),
        }
    }
    Ok(())
}

/// mknod(2) where the kernel allows it; in a user namespace it does not, and the host's device is bound there instead.
/// What it has said once (`can_make`) holds for all.
fn make(root: &OwnedFd, dev: &OwnedFd, device: &Device, can_make: &mut bool) -> Result<()> {
    let name = device.path.file_name().ok_or_else(|| Error::new("a device needs a name"))?;
    let parent = device.path.parent().unwrap_or(Path::new("/"));
    let elsewhere = match parent == Path::new("/dev") {
        true => None,
        false => Some(beneath::make_dirs(root, parent, Mode::from_bits_truncate(0o755))?),
    };
    let directory = elsewhere.as_ref().unwrap_or(dev);
    if *can_make {
        match node(directory, name, device) {
            Ok(()) => return Ok(()),
            Err(Errno::EEXIST) if device.owner.is_none() => return Ok(()),
            Err(Errno::EPERM) => *can_make = false,
            Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno).doing(|| "mknod"),
        }
    }
    bind(directory, name, device)
}

fn node(directory: &OwnedFd, name: &OsStr, device: &Device) -> nix::Result<()> {
    // The mode is the bundle's, not what the caller's umask leaves of it.
    let umask = crate::kernel::umask(0);
    let made = mknodat(directory, name, device.kind, Mode::from_bits_truncate(device.mode), device.number);
    crate::kernel::umask(umask);
    made?;
    match device.owner {
        Some((uid, gid)) => {
            let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
            fchownat(directory, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)
        }
        None => Ok(()),
    }
}

fn source(spec: &Spec, path: &Path) -> PathBuf {
    let key = format!("{}{}", super::DEVICE_SOURCE, path.display());
    let named = spec.annotations().as_ref().and_then(|all| all.get(&key));
    named.map_or_else(|| path.to_owned(), PathBuf::from)
}

/// Shows the host's device, checked to be the one that was asked for.
fn bind(directory: &OwnedFd, name: &OsStr, device: &Device) -> Result<()> {
    let copy = mounts::copy(&device.source, false)?;
    let found = fstat(&copy).doing(|| "look at the host's device")?;
    if SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT != device.kind || found.st_rdev != device.number {
        return Err(Error::new("the host has another device there"));
    }
    // Where the host's owner is nobody in here, the kernel protects it already.
    if found.st_uid != NOBODY {
        mounts::protect_node(&copy)?;
    }
    let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_WRONLY;
    match openat(directory, name, flags, Mode::from_bits_truncate(0o644)) {
        Ok(_) | Err(Errno::EEXIST) => {}
        Err(errno) => return Err(errno).doing(|| "make a file to bind it to"),
    }
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let place = openat(directory, name, flags, Mode::empty()).doing(|| "open the file to bind it to")?;
    mounts::attach(&copy, &place)
}
