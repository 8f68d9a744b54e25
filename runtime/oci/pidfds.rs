//! Handles on processes of which only the numbers are known.

use crate::error::{Doing, Result};
use crate::kernel;
use nix::errno::Errno;
use nix::unistd::Pid;
use std::os::fd::OwnedFd;

/// A handle on the process that has this number now; `None` where none has.
///
/// Where the kernel lacks the call that is an error: who took a process for one that has ended would wait for ever for what
/// its end brings.
pub fn open(pid: i32) -> Result<Option<OwnedFd>> {
    match kernel::pidfd_open(Pid::from_raw(pid)) {
        // EINVAL: 0, of what has never run, or a thread's number.
        Err(Errno::ESRCH | Errno::EINVAL) => Ok(None),
        opened => opened.map(Some).doing(|| format!("open process {pid}")),
    }
}

/// A handle on each of `pids` that `again` lists, too. A number that was read from a list can be another process's by the time
/// it is opened; one that is listed still, now that its handle is open, is not, or its handle is on one that has ended.
pub fn of_listed(pids: Vec<i32>, again: impl FnOnce() -> Result<Vec<i32>>) -> Result<Vec<(i32, OwnedFd)>> {
    let mut opened = Vec::new();
    for pid in pids {
        opened.extend(open(pid)?.map(|pidfd| (pid, pidfd)));
    }
    if !opened.is_empty() {
        let listed = again()?;
        opened.retain(|(pid, _)| listed.contains(pid));
    }
    Ok(opened)
}

#[cfg(test)]
mod tests {
    use super::of_listed;

    #[test]
    fn a_process_that_is_in_the_list_no_more_is_not_held() {
        let own = std::process::id() as i32;
        assert!(of_listed(vec![own], || Ok(vec![1])).unwrap().is_empty());
        assert_eq!(of_listed(vec![own, i32::MAX], || Ok(vec![own, i32::MAX])).unwrap().len(), 1);
    }
}
