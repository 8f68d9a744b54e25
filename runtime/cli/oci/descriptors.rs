//! What the caller has open, of which a container gets what it is to get.

use crate::error::{Error, Result};
use crate::kernel;
use nix::sys::stat::{SFlag, fstat};
use std::os::fd::{AsFd, RawFd};
use std::path::Path;

/// How many descriptors beyond 2 a new container gets: those of `--preserve-fds`, and those that a service manager has opened
/// for us (sd_listen_fds(3)).
pub fn preserved(asked: u32) -> Result<u32> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u32>().ok());
    let ours = number("LISTEN_PID").is_none_or(|pid| pid == std::process::id());
    all_open(asked, number("LISTEN_FDS").filter(|_| ours).unwrap_or(0))
}

/// How many one more process of a container gets. A service manager's sockets are for the container, which has them.
pub fn preserved_in_exec(asked: u32) -> Result<u32> {
    all_open(asked, 0)
}

fn all_open(asked: u32, listening: u32) -> Result<u32> {
    let count = asked.saturating_add(listening);
    if count == 0 {
        return Ok(0);
    }
    // A number that the caller has left free would be that of a file of ours.
    let open = kernel::inherited();
    let mut numbers = (0..count).map(|more| i64::from(more) + 3);
    match numbers.find(|number| !open.iter().any(|fd| i64::from(*fd) == *number)) {
        None => Ok(count),
        Some(number) => Err(Error::new(format!(
            "--preserve-fds {asked} and LISTEN_FDS={listening} ask for descriptors 3 to {}, and {number} is not open",
            i64::from(count) + 2
        ))),
    }
}

/// Closes what the caller has left open by oversight: neither 0, 1, 2, nor the `preserved` ones, nor what one of `paths` leads
/// through (`/proc/self/fd/9/console.sock`).
pub fn close_others<'a>(preserved: u32, paths: impl IntoIterator<Item = Option<&'a Path>>) {
    let mut kept: Vec<RawFd> = paths.into_iter().flatten().filter_map(number_in).collect();
    kept.extend((3..).take(preserved as usize));
    kernel::close_inherited(&kept);
}

fn number_in(path: &Path) -> Option<RawFd> {
    let rest = path.strip_prefix("/proc/self/fd").or_else(|_| path.strip_prefix("/dev/fd")).ok()?;
    rest.iter().next()?.to_str()?.parse().ok()
}

/// A container that is given our own 0, 1 and 2 is not to be given a directory by one of them: it leads to the host's files.
pub fn refuse_directories() -> Result<()> {
    let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    for (number, fd) in [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()].into_iter().enumerate() {
        let is_directory = |mode: u32| SFlag::from_bits_truncate(mode) & SFlag::S_IFMT == SFlag::S_IFDIR;
        if fstat(fd).is_ok_and(|stat| is_directory(stat.st_mode)) {
            return Err(Error::new(format!(
                "descriptor {number} is a directory, by which the container's program could leave the container"
            ))
            .with_cure("</dev/null, or a file or a pipe in its place"));
        }
    }
    Ok(())
}
