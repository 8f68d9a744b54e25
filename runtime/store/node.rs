//! What has just been made under a name in a directory that others can write to, or what is there and cannot be opened as
//! it is. It is opened once, without following a link, looked at, and changed by that descriptor: by the time of a second
//! look at the name, a container that runs may have put a link there, to any path of the host.

use crate::error::{Doing, Error, Result};
use crate::kernel;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat};
use nix::sys::stat::{FchmodatFlags, FileStat, Mode, SFlag, fchmodat, fstat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchownat};
use std::os::fd::{AsRawFd, OwnedFd};

/// Opens (O_PATH) the node of this kind that we have just made under `name`, which has no other name yet. What else stands
/// there by now is somebody else's, and is refused.
pub fn just_made<N: nix::NixPath + ?Sized>(directory: &OwnedFd, name: &N, kind: SFlag) -> Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let node = openat(directory, name, flags, Mode::empty()).doing(|| "open what was made")?;
    let found = fstat(&node).doing(|| "look at what was made")?;
    if kind_of(&found) != kind || found.st_nlink > 1 {
        return Err(Error::conflict("another process has put something else in its place while it was made")
            .with_cure("stop the containers that write to that directory, and try again"));
    }
    Ok(node)
}

pub fn kind_of(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}

/// chown(2) of what is open with O_PATH.
pub fn set_owner(node: &OwnedFd, uid: Uid, gid: Gid) -> nix::Result<()> {
    fchownat(node, "", Some(uid), Some(gid), AtFlags::AT_EMPTY_PATH)
}

/// chmod(2) of what is open with O_PATH, which fchmod(2) refuses. The link in /proc leads to the open file itself, and not by a
/// path (proc_pid_fd(5)). Not for a process that sees a container's /proc: what is there, the container has chosen.
pub fn set_mode(node: &OwnedFd, mode: Mode) -> nix::Result<()> {
    let this = format!("/proc/self/fd/{}", node.as_raw_fd());
    fchmodat(AT_FDCWD, this.as_str(), mode, FchmodatFlags::FollowSymlink)
}

/// utimensat(2) of what is open with O_PATH.
pub fn set_times(node: &OwnedFd, accessed: TimeSpec, modified: TimeSpec) -> nix::Result<()> {
    kernel::set_times(node, accessed, modified)
}
