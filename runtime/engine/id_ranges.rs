//! Which ids of the host a container of root's gets: 65536 that are nobody's, neither a user's subordinate ids nor another
//! container's.
//!
//! What users have stands in /etc/subuid, /etc/subgid, /etc/passwd and /etc/group, and is looked up at each start: the ids on
//! the disk are the container's own, so that its next life can have others. What containers have, the kernel knows: each
//! supervisor of root's, of whichever store, holds a lock on one byte of /run/ebb-ids for as long as its container lives.

use crate::error::{Doing, Error, Result};
use crate::oci::IdMap;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, FcntlArg, OFlag, fcntl, openat};
use nix::sys::stat::Mode;
use std::os::fd::OwnedFd;

/// Where systemd-nspawn takes its own, away from people's ids.
const FIRST: u64 = 524_288;
const LAST: u64 = 1_879_048_191;
const RANGE: u32 = 65_536;
const PLACES: u64 = (LAST - FIRST) / RANGE as u64;

/// The locks: one byte a place.
const LOCKS: &str = "/run/ebb-ids";

/// The ids of one life of a container: nobody else's for as long as this is held.
pub struct Range {
    first: u32,
    _lock: Option<OwnedFd>,
}

impl Range {
    pub fn map(&self) -> IdMap {
        map(self.first)
    }
}

fn map(first: u32) -> IdMap {
    IdMap { uids: vec![(0, first, RANGE)], gids: vec![(0, first, RANGE)] }
}

/// The first free range from the place on that follows from the container's id.
pub fn claim(container_id: &str) -> Result<Range> {
    let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let locks = match openat(AT_FDCWD, LOCKS, flags, Mode::from_bits_truncate(0o600)) {
        Ok(locks) => locks,
        // A root without /run, in a chroot: there is no place that all stores share.
        Err(Errno::ENOENT | Errno::EROFS) => return Ok(Range { first: free(container_id)?.next()?.1, _lock: None }),
        Err(errno) => return Err(errno).doing(|| format!("open {LOCKS}")),
    };
    let mut places = free(container_id)?;
    loop {
        let (place, first) = places.next()?;
        if lock(&locks, place)? {
            return Ok(Range { first, _lock: Some(locks) });
        }
    }
}

/// The range that the container would begin to look from now.
pub fn of_now(container_id: &str) -> Result<IdMap> {
    free(container_id)?.next().map(|(_, first)| map(first))
}

/// Locks one byte; false where another supervisor holds it. The lock belongs to the open file, and goes with it, whoever was
/// killed.
fn lock(locks: &OwnedFd, place: u64) -> Result<bool> {
    let byte = libc::flock {
        l_type: libc::F_WRLCK as _,
        l_whence: libc::SEEK_SET as _,
        l_start: place as _,
        l_len: 1,
        l_pid: 0,
    };
    match fcntl(locks, FcntlArg::F_OFD_SETLK(&byte)) {
        Ok(_) => Ok(true),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
        Err(errno) => Err(errno).doing(|| format!("lock {LOCKS}")),
    }
}

/// The places that no user of the host has, from the container's own on.
struct Places {
    from: u64,
    seen: u64,
    taken: Vec<(u32, u32)>,
}

fn free(container_id: &str) -> Result<Places> {
    let number = u64::from_str_radix(container_id.get(..12).unwrap_or("0"), 16).unwrap_or(0);
    let mut taken = Vec::new();
    for (file, field) in [("/etc/subuid", 1), ("/etc/subgid", 1), ("/etc/passwd", 2), ("/etc/group", 2)] {
        taken.extend(read(file, field)?);
    }
    Ok(Places { from: number % PLACES, seen: 0, taken })
}

/// The ids that a file gives to users or groups: a range from `field` on, or one id in it.
fn read(file: &str, field: usize) -> Result<Vec<(u32, u32)>> {
    let bytes = match std::fs::read(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.doing(|| format!("read {file}"))?,
    };
    // A user's full name may be in any encoding.
    let text = String::from_utf8_lossy(&bytes);
    let range = |line: &str| {
        let mut fields = line.split(':').skip(field);
        let first = fields.next()?.trim().parse().ok()?;
        // What reaches beyond all ids reaches to the last.
        let count: u64 = if field == 1 { fields.next()?.trim().parse().ok()? } else { 1 };
        Some((first, u32::try_from(count).unwrap_or(u32::MAX)))
    };
    // All others are below: that spares the comparing.
    let reaches = |&(first, count): &(u32, u32)| u64::from(first) + u64::from(count) > FIRST;
    Ok(text.lines().filter_map(range).filter(reaches).collect())
}

impl Places {
    /// The number of the next one, and its first id.
    fn next(&mut self) -> Result<(u64, u32)> {
        while self.seen < PLACES {
            let place = (self.from + self.seen) % PLACES;
            self.seen += 1;
            let first = FIRST + place * u64::from(RANGE);
            let overlaps = |&(start, count): &(u32, u32)| {
                u64::from(start) < first + u64::from(RANGE) && first < u64::from(start) + u64::from(count)
            };
            if !self.taken.iter().any(overlaps) {
                return Ok((place, first as u32));
            }
        }
        Err(Error::new(format!(
            "every range of {RANGE} ids from {FIRST} to {LAST} is a user's or a container's (/etc/subuid, /etc/subgid)"
        ))
        .with_cure("--userns host runs the container with the host's ids"))
    }
}

/// Who has been given ids of a range since: a line of /etc/subuid or /etc/subgid.
pub fn given_since(first: u32, count: u32) -> Option<String> {
    let overlaps = |line: &&str| {
        let mut fields = line.split(':').skip(1).map(|field| field.trim().parse::<u64>().ok());
        let (Some(Some(start)), Some(Some(length))) = (fields.next(), fields.next()) else { return false };
        start < u64::from(first) + u64::from(count) && u64::from(first) < start + length
    };
    ["/etc/subuid", "/etc/subgid"].iter().find_map(|file| {
        let text = std::fs::read_to_string(file).ok()?;
        text.lines().find(overlaps).map(|line| format!("{file}: {line}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first_of(from: u64, taken: &[(u32, u32)]) -> u32 {
        Places { from, seen: 0, taken: taken.to_vec() }.next().unwrap().1
    }

    #[test]
    fn a_container_of_root_is_put_where_nobody_has_subordinate_ids() {
        assert_eq!(first_of(0, &[]), 524_288);
        // u6 and ebb-ci of the machine that this was found on.
        assert_eq!(first_of(0, &[(493_216, 65_536), (558_752, 65_536)]), 655_360);
        assert_eq!(first_of(7, &[(493_216, 65_536)]), 524_288 + 7 * 65_536);
        // The last place is followed by the first.
        let last = PLACES - 1;
        assert_eq!(first_of(last, &[((FIRST + last * 65_536) as u32, 1)]), 524_288);
        let all = Places { from: 3, seen: 0, taken: vec![(1000, u32::MAX)] }.next();
        assert!(all.unwrap_err().to_string().contains("is a user's or a container's"));
    }
}
