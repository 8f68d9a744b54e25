//! What a directory gets when all is in it.

use crate::error::{Doing, Result};
use crate::store::archive::Member;
use crate::store::{attribute, beneath};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, fchmod, fstat, futimens};
use nix::sys::time::TimeSpec;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// Its time changes with everything that is put into it, its mode may forbid us to, and its default list would be inherited
/// by files that have none in the archive.
pub struct Settled {
    path: PathBuf,
    mode: Mode,
    time: TimeSpec,
    default_list: Option<Vec<u8>>,
    /// Device and inode: a container that runs may have moved another directory to its path.
    identity: (u64, u64),
}

impl Settled {
    pub fn of(member: &Member, mode: Mode, time: TimeSpec, made: &File) -> Result<Settled> {
        let default = member.attributes.iter().find(|(name, _)| attribute::is_default_list(name));
        let default_list = default.map(|(_, list)| list.clone());
        Ok(Settled { path: member.path.clone(), mode, time, default_list, identity: identity(made)? })
    }

    /// How much memory it takes, about.
    pub fn kept(&self) -> usize {
        self.path.as_os_str().len() + self.default_list.as_ref().map_or(0, Vec::len)
    }
}

fn identity(directory: &File) -> Result<(u64, u64)> {
    fstat(directory).map(|stat| (stat.st_dev, stat.st_ino)).doing(|| "look at a directory")
}

/// What is below another directory comes first. Returns of how many not all of the list could be set.
pub fn settle(target: &OwnedFd, directories: &[Settled]) -> Result<u64> {
    let mut left_out = 0;
    // Of one that the archive names twice, the last word counts.
    let mut seen = HashSet::new();
    for settled in directories.iter().rev().filter(|one| seen.insert(&one.path)) {
        let Settled { path, mode, time, default_list, .. } = settled;
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
        let directory = match beneath::open(target, path, flags, Mode::empty()) {
            // Somebody else has put something in its place.
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => continue,
            opened => File::from(opened.doing(|| format!("open {}", path.display()))?),
        };
        if identity(&directory)? != settled.identity {
            continue;
        }
        if let Some(list) = default_list {
            let set = attribute::set(&directory, OsStr::new(attribute::DEFAULT_LIST), list);
            left_out += u64::from(!set.doing(|| format!("set the attributes of {}", path.display()))?);
        }
        let settled = fchmod(&directory, *mode).and_then(|()| futimens(&directory, time, time));
        settled.doing(|| format!("set the mode and the time of {}", path.display()))?;
    }
    Ok(left_out)
}
