//! Handles on processes of which only the numbers are known.

use crate::error::Result;
use crate::kernel;
use nix::unistd::Pid;
use std::os::fd::OwnedFd;

/// A handle on each of `pids` that `again` lists, too. A number that was read from a list can be another process's by the time
/// it is opened; one that is listed still, now that its handle is open, is not, or its handle is on one that has ended.
pub fn of_listed(pids: Vec<i32>, again: impl FnOnce() -> Result<Vec<i32>>) -> Result<Vec<(i32, OwnedFd)>> {
    let open = |pid: i32| kernel::pidfd_open(Pid::from_raw(pid)).ok().map(|pidfd| (pid, pidfd));
    let mut opened: Vec<(i32, OwnedFd)> = pids.into_iter().filter_map(open).collect();
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
