//! The contents of a file: its blocks shared where the file system can, else its data copied and its holes left holes.

use crate::error::{Doing, Result};
use crate::kernel;
use nix::errno::Errno;
use nix::unistd::{Whence, lseek};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

/// How much is copied at a time: often enough to be told of.
const PIECE: u64 = 16 << 20;

/// Makes the empty file `to` hold what `from` does; `told` hears of the bytes. What is written to the end of `from`
/// meanwhile is not waited for.
pub fn copy(from: &File, to: &File, told: &mut dyn FnMut(u64)) -> Result<()> {
    let size = from.metadata().doing(|| "look at it")?.len();
    if size == 0 {
        return Ok(());
    }
    if kernel::reflink(to, from).is_ok() {
        told(size);
        return Ok(());
    }
    let mut at = 0;
    while at < size {
        let data = data_from(from, at)?.unwrap_or(size).min(size);
        told(data - at);
        if data == size {
            break;
        }
        let end = hole_from(from, data, size)?.clamp(data, size);
        range(from, to, data, end, told)?;
        at = end;
    }
    // A hole at the end has no data to copy, but a length.
    let size = from.metadata().doing(|| "look at it")?.len().min(size);
    to.set_len(size).doing(|| "set its length")
}

/// Where the next data begins; `None` where there is none before the end.
fn data_from(file: &File, at: u64) -> Result<Option<u64>> {
    match lseek(file, offset(at), Whence::SeekData) {
        Ok(found) => Ok(Some(u64::try_from(found).unwrap_or(0))),
        Err(Errno::ENXIO) => Ok(None),
        // A file system that knows no holes.
        Err(Errno::EINVAL | Errno::EOPNOTSUPP) => Ok(Some(at)),
        Err(errno) => Err(errno).doing(|| "look for its data"),
    }
}

/// Where the next hole begins: at the end there is one in every file.
fn hole_from(file: &File, at: u64, size: u64) -> Result<u64> {
    match lseek(file, offset(at), Whence::SeekHole) {
        Ok(found) => Ok(u64::try_from(found).unwrap_or(0)),
        Err(Errno::ENXIO | Errno::EINVAL | Errno::EOPNOTSUPP) => Ok(size),
        Err(errno) => Err(errno).doing(|| "look for its holes"),
    }
}

fn offset(at: u64) -> i64 {
    i64::try_from(at).unwrap_or(i64::MAX)
}

/// Copies the bytes from `at` to `end`; std::io::copy does it in the kernel where that can (copy_file_range(2)).
fn range(mut from: &File, mut to: &File, mut at: u64, end: u64, told: &mut dyn FnMut(u64)) -> Result<()> {
    from.seek(SeekFrom::Start(at)).and_then(|_| to.seek(SeekFrom::Start(at))).doing(|| "go to its data")?;
    while at < end {
        let copied = std::io::copy(&mut from.take((end - at).min(PIECE)), &mut to).doing(|| "copy it")?;
        // It was cut shorter meanwhile.
        if copied == 0 {
            break;
        }
        at += copied;
        told(copied);
    }
    Ok(())
}
