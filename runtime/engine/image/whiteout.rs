//! How a layer says that something of the layers below is gone: in a tar by names (`.wh.NAME`, `.wh..wh..opq`; OCI image
//! specification, layer.md), in an overlay by a 0/0 character device and by an attribute of the directory.

use crate::error::{Doing, Error, Result};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstatat, mknodat};
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use xattr::FileExt;

/// What a whiteout's name hides.
pub enum Hidden<'a> {
    Name(&'a OsStr),
    /// All that lower layers have in this directory.
    Everything,
    /// A name that AUFS keeps for itself.
    Nothing,
}

/// Whether this name in a tar is a whiteout.
pub fn hidden(name: &OsStr) -> Result<Option<Hidden<'_>>> {
    let Some(rest) = name.as_bytes().strip_prefix(b".wh.") else { return Ok(None) };
    Ok(Some(match rest {
        b".wh..opq" => Hidden::Everything,
        b"" | b"." | b".." => return Err(Error::new("a whiteout that hides no name")),
        rest if rest.starts_with(b".wh.") => Hidden::Nothing,
        rest => Hidden::Name(OsStr::from_bytes(rest)),
    }))
}

pub fn make(parent: &OwnedFd, hidden: Hidden) -> Result<()> {
    let name = match hidden {
        Hidden::Nothing => return Ok(()),
        Hidden::Everything => {
            let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
            let directory = openat(parent, ".", flags, Mode::empty()).doing(|| "open the directory")?;
            return make_opaque(&File::from(directory));
        }
        Hidden::Name(name) => name,
    };
    match mknodat(parent, name, SFlag::S_IFCHR, Mode::empty(), 0) {
        // What this layer itself has there stays: a whiteout is about the layers below (layer.md).
        Err(Errno::EEXIST) => match look(parent, name).map(kind) {
            Ok(SFlag::S_IFDIR) => make(&open(parent, name)?, Hidden::Everything),
            _ => Ok(()),
        },
        result => result.doing(|| "make the whiteout"),
    }
}

/// The overlay is always mounted with `userxattr`, as root too, so that this one attribute serves both.
pub fn make_opaque(directory: &File) -> Result<()> {
    directory.set_xattr("user.overlay.opaque", b"y").doing(|| "make the directory opaque")
}

/// Whether `name` is an overlay's whiteout.
pub fn is_one(parent: &OwnedFd, name: &OsStr) -> bool {
    look(parent, name).is_ok_and(|stat| kind(stat) == SFlag::S_IFCHR && stat.st_rdev == 0)
}

fn look(parent: &OwnedFd, name: &OsStr) -> nix::Result<FileStat> {
    fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW)
}

fn kind(stat: FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}

fn open(parent: &OwnedFd, name: &OsStr) -> Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(parent, name, flags, Mode::empty()).doing(|| "open the directory")
}
