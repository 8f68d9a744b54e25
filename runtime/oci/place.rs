//! The place inside the container's root where a mount goes: symlinks are followed as inside, and never out.

use crate::error::{Doing, Error, Result};
use crate::store::beneath;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, readlinkat};
use nix::sys::stat::{Mode, SFlag, fstat};
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

/// So many the kernel follows: path_resolution(7).
const MOST_LINKS: usize = 40;

/// Finds the place, or makes it: an empty directory, or an empty file.
pub fn place_for(root: &OwnedFd, destination: &Path, directory: bool) -> Result<OwnedFd> {
    let open = || beneath::open(root, destination, OFlag::O_PATH, Mode::empty());
    match open() {
        Err(Errno::ENOENT) => {}
        result => return result.doing(|| format!("open {} in the container", destination.display())),
    }
    if directory {
        return make_directory(root, destination);
    }
    make_file(root, destination)?;
    open().doing(|| format!("open {} in the container", destination.display()))
}

/// What the kernel shows of itself goes on an ordinary directory, as with runc: an image whose /proc is a symlink would have
/// it elsewhere, and what is masked and guarded at /proc would be something else (CVE-2019-19921).
pub fn refuse_link(root: &OwnedFd, destination: &Path, kind: &str) -> Result<()> {
    let is_kernels = matches!(kind, "proc" | "sysfs") || [Path::new("/proc"), Path::new("/sys")].contains(&destination);
    if !is_kernels {
        return Ok(());
    }
    match beneath::open(root, destination, OFlag::O_PATH | OFlag::O_NOFOLLOW, Mode::empty()) {
        Err(Errno::ENOENT) => return Ok(()),
        Ok(found) => {
            let mode = fstat(&found).doing(|| format!("look at {} in the container", destination.display()))?.st_mode;
            if SFlag::from_bits_truncate(mode) & SFlag::S_IFMT == SFlag::S_IFDIR {
                return Ok(());
            }
        }
        Err(errno) => return Err(errno).doing(|| format!("open {} in the container", destination.display())),
    }
    let cure = format!("{} of the root is a symlink, or a file: make it a directory", destination.display());
    Err(Error::new(format!("filesystem \"{kind}\" must be mounted on ordinary directory")).with_cure(cure))
}

/// Makes an empty file, or where a symlink leads nowhere (an image's /etc/resolv.conf, to what systemd makes in /run) the
/// file that it would lead to.
fn make_file(root: &OwnedFd, destination: &Path) -> Result<()> {
    let mut path = destination.to_owned();
    for _ in 0..MOST_LINKS {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Error::new("a file cannot be mounted on /"));
        };
        let directory = make_directory(root, parent)?;
        let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_WRONLY;
        match openat(&directory, name, flags, Mode::from_bits_truncate(0o644)) {
            Ok(_) => return Ok(()),
            Err(Errno::EEXIST) => {}
            Err(errno) => {
                let made = Err(errno).doing(|| format!("make {} in the container", path.display()));
                return made.map_err(|error| closed(error, "file"));
            }
        }
        match readlinkat(&directory, name) {
            Ok(target) => path = led(parent, Path::new(&target)),
            // Somebody else was faster.
            Err(_) => return Ok(()),
        }
    }
    Ok(())
}

/// Where a symlink in `parent` leads, by its letters: good enough for what is to be made, since each step is made inside
/// the root by the kernel, which has the last word on where the mount goes.
fn led(parent: &Path, target: &Path) -> PathBuf {
    let mut led = PathBuf::from("/");
    for part in parent.join(target).components() {
        match part {
            Component::Normal(name) => led.push(name),
            Component::ParentDir => drop(led.pop()),
            _ => {}
        }
    }
    led
}

/// Makes a directory and what is missing above it; where a symlink on the way leads nowhere, what it would lead to.
fn make_directory(root: &OwnedFd, destination: &Path) -> Result<OwnedFd> {
    let mut path = destination.to_owned();
    let mut links = 0;
    loop {
        let made = beneath::make_dirs(root, &path, Mode::from_bits_truncate(0o755));
        match made.map_err(|error| closed(error, "directory")) {
            Err(error) => match led_nowhere(root, &path).filter(|_| links < MOST_LINKS) {
                Some(further) => (path, links) = (further, links + 1),
                None => return Err(error),
            },
            made => return made,
        }
    }
}

/// `path` with the first symlink on it that leads nowhere replaced by where it would lead; `None` where there is none.
fn led_nowhere(root: &OwnedFd, path: &Path) -> Option<PathBuf> {
    let mut above: Vec<&Path> = path.ancestors().filter(|ancestor| ancestor.file_name().is_some()).collect();
    above.reverse();
    for link in above {
        let opened = beneath::open(root, link, OFlag::O_PATH | OFlag::O_NOFOLLOW, Mode::empty()).ok()?;
        // Of what is no symlink the kernel tells none.
        let Ok(target) = readlinkat(&opened, "") else { continue };
        if beneath::open(root, link, OFlag::O_PATH, Mode::empty()).is_err_and(|errno| errno == Errno::ENOENT) {
            let rest = path.strip_prefix(link).ok()?;
            return Some(led(link.parent()?, Path::new(&target)).join(rest));
        }
    }
    None
}

fn closed(error: Error, kind: &str) -> Error {
    let closed = ["read-only file system", "permission denied"].iter().any(|reason| error.message.ends_with(reason));
    match closed {
        true => error.with_cure(format!(
            "a mount needs a {kind} to lie on: make the {kind} in what is mounted above it, or mount that writable"
        )),
        false => error,
    }
}
