//! Reading a log: `logs`, beside the writer, over rotations, and after `rm`.

use super::{Stream, aged};
use crate::engine::container::state::ProcessId;
use crate::error::{Doing, Result};
use jiff::Timestamp;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// One record.
pub struct Entry<'a> {
    pub text: &'a str,
    pub stream: Stream,
    pub time: Timestamp,
}

/// Which records are asked for.
#[derive(Debug, Default, Clone, Copy)]
pub struct Query {
    /// Only so many of the last records; `None` is all of them.
    pub tail: Option<u64>,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
}

/// Reads the log of the container in `dir`, the oldest record first.
pub struct Reader {
    dir: PathBuf,
    query: Query,
    /// The files still to be read, the oldest first; the first one is being read.
    files: VecDeque<File>,
    /// What was read but is not a whole line yet.
    partial: Vec<u8>,
}

#[derive(Deserialize)]
struct Record<'a> {
    #[serde(borrow)]
    log: Cow<'a, str>,
    #[serde(borrow)]
    stream: Cow<'a, str>,
    #[serde(borrow)]
    time: Cow<'a, str>,
}

impl Reader {
    pub fn open(dir: &Path, query: Query) -> Result<Reader> {
        let mut files = chain(dir, None)?;
        if let Some(wanted) = query.tail {
            keep_last(&mut files, wanted).doing(|| format!("read the log in {}", dir.display()))?;
        }
        Ok(Reader { dir: dir.to_owned(), query, files, partial: Vec::new() })
    }

    /// Gives every record that is there by now, and returns whether more may be wanted: not once `until` has passed.
    pub fn drain(&mut self, each: &mut impl FnMut(&Entry) -> Result<()>) -> Result<bool> {
        loop {
            if !self.read_first(each)? {
                return Ok(false);
            }
            if self.files.len() < 2 {
                let newer = chain(&self.dir, self.files.front())?;
                if newer.is_empty() {
                    return Ok(true);
                }
                self.files.extend(newer);
                // It has been rotated; what was written to it between our last read and that is still to be had.
                if !self.read_first(each)? {
                    return Ok(false);
                }
            }
            self.files.pop_front();
            self.partial.clear();
        }
    }

    /// Reads the first file to its end.
    fn read_first(&mut self, each: &mut impl FnMut(&Entry) -> Result<()>) -> Result<bool> {
        let Some(mut file) = self.files.front() else { return Ok(true) };
        let mut block = vec![0u8; 64 * 1024];
        loop {
            let length = file.read(&mut block).doing(|| format!("read the log in {}", self.dir.display()))?;
            if length == 0 {
                return Ok(true);
            }
            self.partial.extend_from_slice(&block[..length]);
            let mut start = 0;
            while let Some(end) = self.partial[start..].iter().position(|byte| *byte == b'\n') {
                let line = &self.partial[start..start + end];
                start += end + 1;
                // What a killed writer left half-written is no record; the ones after it are.
                let Ok(record) = serde_json::from_slice::<Record>(line) else { continue };
                let Ok(time) = record.time.parse::<Timestamp>() else { continue };
                if self.query.until.is_some_and(|until| time > until) {
                    return Ok(false);
                }
                if self.query.since.is_none_or(|since| time >= since) {
                    let stream = if record.stream == "stderr" { Stream::Stderr } else { Stream::Stdout };
                    each(&Entry { text: &record.log, stream, time })?;
                }
            }
            self.partial.drain(..start);
        }
    }
}

/// The files of a log that are newer than `than`, or all of them, the oldest first. Opened from the newest on: a
/// rotation meanwhile shows a file twice, which is noticed, and never hides one.
fn chain(dir: &Path, than: Option<&File>) -> Result<VecDeque<File>> {
    let identity = |file: &File| file.metadata().map(|meta| (meta.dev(), meta.ino()));
    let doing = || format!("read the log in {}", dir.display());
    let known = than.map(identity).transpose().doing(doing)?;
    let mut files: VecDeque<File> = VecDeque::new();
    let mut previous = None;
    for age in 0.. {
        let file = match File::open(aged(dir, age)) {
            Ok(file) => file,
            // Between two of its renames, a rotation leaves the newest name free.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && age == 0 => continue,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => break,
            Err(error) => return Err(error).doing(doing),
        };
        let this = Some(identity(&file).doing(doing)?);
        if this == known {
            break;
        }
        if this != previous {
            files.push_front(file);
        }
        previous = this;
    }
    Ok(files)
}

/// Drops, and seeks past, all but the last `wanted` lines of these files.
fn keep_last(files: &mut VecDeque<File>, wanted: u64) -> std::io::Result<()> {
    let mut missing = wanted;
    let mut whole = 0;
    for file in files.iter_mut().rev() {
        let (start, found) = last_lines(file, missing)?;
        file.seek(SeekFrom::Start(start))?;
        missing -= found;
        whole += 1;
        if missing == 0 {
            break;
        }
    }
    files.drain(..files.len() - whole);
    Ok(())
}

/// Where the last `wanted` whole lines of a file begin, and how many there are, read backwards from the end.
fn last_lines(file: &File, wanted: u64) -> std::io::Result<(u64, u64)> {
    let mut end = file.metadata()?.len();
    let mut block = vec![0u8; 64 * 1024];
    let mut newlines = 0;
    while end > 0 {
        let length = end.min(block.len() as u64);
        let part = &mut block[..length as usize];
        file.read_exact_at(part, end - length)?;
        for at in (0..part.len()).rev().filter(|at| part[*at] == b'\n') {
            // The newline before the line that we want first; a line being written has none yet and counts for none.
            if newlines == wanted {
                return Ok((end - length + at as u64 + 1, wanted));
            }
            newlines += 1;
        }
        end -= length;
    }
    Ok((0, newlines))
}

/// Waits for more: the kernel's word on the container's directory, and on the supervisor's end.
pub struct Follow {
    inotify: Inotify,
    supervisor: OwnedFd,
}

impl Follow {
    /// To be made before the log is first read, so that nothing falls between. `None` where nobody writes any more.
    pub fn begin(dir: &Path, supervisor: &ProcessId) -> Result<Option<Follow>> {
        let Some(supervisor) = supervisor.open()? else { return Ok(None) };
        let doing = || format!("watch {}", dir.display());
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).doing(doing)?;
        let flags = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO;
        inotify.add_watch(dir, flags).doing(doing)?;
        Ok(Some(Follow { inotify, supervisor }))
    }

    /// Returns true when there may be more to read, false when what is there now is the last: the container has ended,
    /// `until` has come, or nobody reads `output`.
    pub fn wait(&self, until: Option<Timestamp>, output: BorrowedFd) -> Result<bool> {
        let timeout = match until {
            None => PollTimeout::NONE,
            Some(until) => {
                let left = until.as_millisecond() - Timestamp::now().as_millisecond();
                PollTimeout::try_from(left.max(0)).unwrap_or(PollTimeout::MAX)
            }
        };
        let mut fds = [
            PollFd::new(self.inotify.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.supervisor.as_fd(), PollFlags::POLLIN),
            PollFd::new(output, PollFlags::empty()),
        ];
        match poll(&mut fds, timeout) {
            Ok(0) => return Ok(until.is_none_or(|until| Timestamp::now() < until)),
            Err(Errno::EINTR) => return Ok(true),
            result => result.doing(|| "wait for output")?,
        };
        let seen = |index: usize| fds[index].revents().is_some_and(|events| !events.is_empty());
        let (ended, unread) = (seen(1), seen(2));
        while self.inotify.read_events().is_ok_and(|events| !events.is_empty()) {}
        Ok(!ended && !unread)
    }
}
