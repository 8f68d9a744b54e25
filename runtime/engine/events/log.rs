//! `events.jsonl` in the store, one event a line, and `events.jsonl.1`, which is what it was before it grew too long.
//!
//! Who appends takes no lock: the kernel puts what one write(2) brings to a file that is open with O_APPEND at its end, whole.
//! Nothing is forced to the disk. After a power cut, or on a full disk, a line may be torn, and the next begins in its midst.

use super::Event;
use crate::error::{Doing, Error, Result};
use crate::explain::{self, calls};
use crate::store::{Store, bounds};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use std::fs::{File, OpenOptions};
use std::io::{Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The newest file.
pub fn path(store: &Store) -> PathBuf {
    store.root().join("events.jsonl")
}

/// The one before.
pub fn older(store: &Store) -> PathBuf {
    store.root().join("events.jsonl.1")
}

/// Appends whole lines, or not: whoever tells of something has done it already.
pub fn append(store: &Store, lines: &[u8]) {
    let path = path(store);
    let opened = OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(libc::O_NOFOLLOW).open(&path);
    let Ok(mut file) = opened else { return };
    if is_beyond_limit(&file) {
        return;
    }
    if file.write(lines).is_ok() && file.stream_position().is_ok_and(|length| length > bounds::EVENTS) {
        let _ = rotate(&file, &path, &older(store));
    }
}

/// Whether the caller's limit on the size of files (`ulimit -f`) is no more than what the file may grow to: who writes beyond it is
/// killed by SIGXFSZ.
fn is_beyond_limit(file: &File) -> bool {
    let limit = getrlimit(Resource::RLIMIT_FSIZE).map_or(RLIM_INFINITY, |(soft, _)| soft);
    limit != RLIM_INFINITY && file.metadata().is_ok_and(|meta| meta.len() + ROOM > limit)
}

/// More than what is ever appended at once.
const ROOM: u64 = 1 << 20;

/// Begins a new file. Of several who see that the old one is long enough, one does it; whoever has that open still appends to it.
fn rotate(file: &File, path: &Path, older: &Path) -> Result<()> {
    let doing = || format!("begin a new {}", path.display());
    file.try_lock().map_err(|error| Error::new(error.to_string())).doing(doing)?;
    let (ours, now) = (file.metadata().doing(doing)?, std::fs::metadata(path).doing(doing)?);
    if (ours.dev(), ours.ino()) != (now.dev(), now.ino()) {
        return Ok(());
    }
    explain::step(
        "the store's events have grown long: a new file is begun for them, and the one before this goes",
        format_args!("mv {} {}", path.display(), older.display()),
    );
    calls::rename(path, older).doing(doing)
}

/// How every line begins, and what no line has in its midst, where a quotation mark stands behind a backslash.
const BEGINNING: &[u8] = b"{\"timeNano\":";

/// The event of a line; of one that was torn and glued to the next, the event of the next.
pub fn parse(line: &[u8]) -> Option<Event> {
    serde_json::from_slice(line).ok().or_else(|| {
        let last = line.windows(BEGINNING.len()).rposition(|window| window == BEGINNING)?;
        serde_json::from_slice(&line[last..]).ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_line_costs_only_itself() {
        let whole = br#"{"timeNano":1,"Type":"volume","Action":"create","ID":"{\"timeNano\":7","Attributes":{}}"#;
        let event = parse(whole).unwrap();
        assert_eq!((event.time, event.id.as_str()), (1, "{\"timeNano\":7"));
        for torn in 1..whole.len() {
            assert_eq!(parse(&[&whole[..torn], whole].concat()), Some(event.clone()));
            assert_eq!(parse(&whole[..torn]), None);
        }
        assert_eq!(parse(&[&[0; 100], &whole[..]].concat()), Some(event));
    }
}
