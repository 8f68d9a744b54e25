//! The program's path, looked up in the container's root as execve(2) will look it up, but through no link of the kernel's.
//!
//! /proc/PID/fd/N, exe, cwd and root are symlinks only to readlink(2): who follows one comes to the file itself, wherever it
//! is, and so out of the container (CVE-2024-21626). Nothing of the host's is open when the program is executed
//! ([`super::process::with_nothing_open`]), which is the wall; this is the sentence for an image that tries.

use crate::error::{Error, Kind, Result};
use crate::store::beneath;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::AccessFlags;
use std::path::{Path, PathBuf};

/// Where execve(2) is to look when PATH says nothing.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Where a program may be that is there at all: itself, if it is a path, or as often as it is found in `path`.
pub struct Candidates {
    program: String,
    places: Vec<PathBuf>,
    /// An entry of PATH was left out.
    led_out: bool,
}

/// To be called before a seccomp filter is loaded, which may know nothing of openat2(2); who may execute what was found is
/// asked later, by [`Candidates::find`].
pub fn candidates(program: &str, path: Option<&str>) -> Result<Candidates> {
    let mut found = Candidates { program: program.to_owned(), places: Vec::new(), led_out: false };
    let look = |place: &Path| beneath::open_here(place, OFlag::O_PATH);
    if program.contains('/') {
        let place = PathBuf::from(program);
        // A circle of ordinary symlinks has the same errno, and is reported as what it is.
        if look(&place).err() == Some(Errno::ELOOP) && errno_of(&place) != Some(Errno::ELOOP) {
            return Err(leads_out(program));
        }
        found.places.push(place);
        return Ok(found);
    }
    for directory in path.unwrap_or(PATH).split(':') {
        let place = Path::new(if directory.is_empty() { "." } else { directory }).join(program);
        match look(&place) {
            Err(Errno::ENOENT | Errno::ENOTDIR) => {}
            Err(Errno::ELOOP) => found.led_out = true,
            _ => found.places.push(place),
        }
    }
    Ok(found)
}

impl Candidates {
    /// The first that this process's user may execute; Docker's words where there is none.
    pub fn find(&self) -> Result<PathBuf> {
        let program = &self.program;
        let denied = || Error::of(Kind::NotExecutable, format!("exec: \"{program}\": permission denied"));
        if program.contains('/') {
            let place = Path::new(program);
            return match std::fs::metadata(place) {
                Err(error) => {
                    let errno = error.raw_os_error().map_or(Errno::EIO, Errno::from_raw);
                    let kind = if errno == Errno::ENOENT { Kind::CommandNotFound } else { Kind::NotExecutable };
                    let why = errno.desc().to_lowercase();
                    Err(Error::of(kind, format!("exec: \"{program}\": stat {program}: {why}")))
                }
                Ok(meta) if meta.is_file() && executable(place) => Ok(place.to_owned()),
                Ok(_) => Err(denied()),
            };
        }
        let files = || self.places.iter().filter(|place| place.is_file());
        if let Some(place) = files().find(|place| executable(place)) {
            return Ok(place.clone());
        }
        if files().next().is_some() {
            return Err(denied());
        }
        let missing = format!("exec: \"{program}\": executable file not found in $PATH");
        Err(Error::of(Kind::CommandNotFound, missing)).map_err(|error| match self.led_out {
            true => error.with_cure(format!("an entry of $PATH was not looked at, since it {LEADS_OUT}")),
            false => error,
        })
    }
}

const LEADS_OUT: &str =
    "leads through a link of the kernel's (/proc/PID/fd, exe, cwd or root), and so out of the container";

fn leads_out(program: &str) -> Error {
    Error::of(Kind::NotExecutable, format!("exec: \"{program}\": permission denied: it {LEADS_OUT}"))
}

fn errno_of(place: &Path) -> Option<Errno> {
    std::fs::metadata(place).err().and_then(|error| error.raw_os_error()).map(Errno::from_raw)
}

fn executable(path: &Path) -> bool {
    nix::unistd::access(path, AccessFlags::X_OK).is_ok()
}
