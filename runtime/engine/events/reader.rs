//! Reads the store's events, and waits for more.

use super::{Event, log};
use crate::error::{Doing, Result};
use crate::store::{Store, bounds};
use jiff::Timestamp;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Reads both files, each from where it was left.
pub struct Reader {
    /// The newest first: of two that change their names between, neither is missed.
    places: [PathBuf; 2],
    open: Vec<Tail>,
}

struct Tail {
    file: File,
    id: (u64, u64),
    /// What was read but is not a whole line yet.
    partial: Vec<u8>,
}

impl Reader {
    /// From the oldest event on, or with `only_new` from now on.
    pub fn open(store: &Store, only_new: bool) -> Result<Reader> {
        let mut reader = Reader { places: [log::path(store), log::older(store)], open: Vec::new() };
        if only_new {
            reader.find()?;
            for tail in &mut reader.open {
                tail.file.seek(SeekFrom::End(0)).doing(|| "read the store's events")?;
            }
        }
        Ok(reader)
    }

    /// What has come since, in the order in which it happened.
    pub fn drain(&mut self) -> Result<Vec<Event>> {
        let named = self.find()?;
        let mut events = Vec::new();
        for tail in &mut self.open {
            tail.read(&mut events)?;
        }
        // What has lost its name was read to its end, and is written to by nobody for long.
        self.open.retain(|tail| named.contains(&tail.id));
        events.sort_by_key(|event| event.time);
        Ok(events)
    }

    /// Opens what has come, and returns what there is.
    fn find(&mut self) -> Result<Vec<(u64, u64)>> {
        let mut named = Vec::new();
        for place in &self.places {
            let Some(file) = open(place)? else { continue };
            let meta = file.metadata().doing(|| format!("read {}", place.display()))?;
            let id = (meta.dev(), meta.ino());
            if !self.open.iter().any(|tail| tail.id == id) {
                self.open.push(Tail { file, id, partial: Vec::new() });
            }
            named.push(id);
        }
        Ok(named)
    }
}

fn open(place: &Path) -> Result<Option<File>> {
    match File::open(place) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        opened => opened.doing(|| format!("open {}", place.display())).map(Some),
    }
}

impl Tail {
    fn read(&mut self, events: &mut Vec<Event>) -> Result<()> {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let length = match self.file.read(&mut buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                length => length.doing(|| "read the store's events")?,
            };
            if length == 0 {
                return Ok(());
            }
            let mut rest = &buffer[..length];
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                self.partial.extend_from_slice(&rest[..end]);
                events.extend(log::parse(&self.partial));
                self.partial.clear();
                rest = &rest[end + 1..];
            }
            self.partial.extend_from_slice(rest);
            if self.partial.len() as u64 > bounds::EVENTS {
                self.partial.clear();
            }
        }
    }
}

/// Waits for more: the kernel's word on the store's directory.
pub struct Follow(Inotify);

impl Follow {
    /// To be made before the events are first read, so that none falls between.
    pub fn begin(store: &Store) -> Result<Follow> {
        let doing = || format!("watch {}", store.root().display());
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).doing(doing)?;
        let flags = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO;
        inotify.add_watch(store.root(), flags).doing(doing)?;
        Ok(Follow(inotify))
    }

    /// Returns true when there may be more to read; false when `until` has come, or nobody reads `output`.
    pub fn wait(&self, until: Option<Timestamp>, output: BorrowedFd) -> Result<bool> {
        let timeout = match until {
            None => PollTimeout::NONE,
            Some(until) => {
                let left = until.as_millisecond() - Timestamp::now().as_millisecond();
                PollTimeout::try_from((left + 1).clamp(0, i64::from(i32::MAX))).unwrap_or(PollTimeout::MAX)
            }
        };
        let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN), PollFd::new(output, PollFlags::empty())];
        match poll(&mut fds, timeout) {
            Err(Errno::EINTR) => return Ok(true),
            result => result.doing(|| "wait for events")?,
        };
        let unread = fds[1].revents().is_some_and(|events| !events.is_empty());
        while self.0.read_events().is_ok_and(|events| !events.is_empty()) {}
        Ok(!unread && until.is_none_or(|until| Timestamp::now() <= until))
    }
}
