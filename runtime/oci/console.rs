//! A terminal for the container: a pseudo-terminal of its own devpts, whose master the outside keeps.

use super::{mounts, place};
use crate::error::{Doing, Error, Result};
use crate::explain::{self, calls};
use crate::kernel;
use crate::store::beneath;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::sys::statfs::{FsType, fstatfs};
use nix::unistd::{Gid, Uid, fchown};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

const DEVPTS_SUPER_MAGIC: FsType = FsType(0x1cd1);

pub struct Console {
    pub master: OwnedFd,
    pub slave: OwnedFd,
}

/// Opens a terminal in the devpts at /dev/pts of `root`. The slave is opened through the master, never by its path
/// (CVE-2025-52565), and belongs to `uid`, as a login's terminal would.
pub fn open(root: impl AsFd, rows: u16, columns: u16, uid: u32) -> Result<Console> {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY;
    let master = beneath::open(root, Path::new("dev/pts/ptmx"), flags, Mode::empty()).doing(|| "open /dev/pts/ptmx")?;
    if fstatfs(&master).doing(|| "look at /dev/pts/ptmx")?.filesystem_type() != DEVPTS_SUPER_MAGIC {
        return Err(Error::new("/dev/pts in the container is no devpts, so there is no terminal to be had"));
    }
    let slave = kernel::open_terminal_slave(&master).doing(|| "open the container's terminal")?;
    let none: Option<Gid> = None;
    // Where the user is not mapped the terminal stays root's; it is open already, and works.
    let _ = fchown(&slave, Some(Uid::from_raw(uid)), none);
    if rows > 0 {
        kernel::set_window_size(&master, rows, columns).doing(|| "set the terminal's size")?;
    }
    Ok(Console { master, slave })
}

/// Shows the slave as /dev/console of the container.
pub fn mount(root: &OwnedFd, console: &Console) -> Result<()> {
    let place = place::place_for(root, Path::new("/dev/console"), false)?;
    let flags = libc::OPEN_TREE_CLONE | libc::AT_EMPTY_PATH as u32;
    explain::step("its terminal is also its console", "mount --bind /dev/pts/0 ROOTFS/dev/console");
    let copy = calls::open_tree(&console.slave, c"", flags).doing(|| "copy the terminal's mount")?;
    mounts::attach(&copy, &place).doing(|| "mount /dev/console")
}
