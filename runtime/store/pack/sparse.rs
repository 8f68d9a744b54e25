//! Where a file has bytes, and where it has holes.

use nix::errno::Errno;
use nix::unistd::{Whence, lseek};
use std::fs::File;

/// The (offset, length) of each stretch of data, or `None` where the file system knows no holes, or the file has none.
pub fn map(file: &File, size: u64) -> nix::Result<Option<Vec<(u64, u64)>>> {
    let size = i64::try_from(size).map_err(|_| Errno::EOVERFLOW)?;
    let mut map = Vec::new();
    let mut at = 0;
    while at < size {
        let data = match lseek(file, at, Whence::SeekData) {
            // Nothing but a hole up to the end.
            Err(Errno::ENXIO) => break,
            Err(Errno::EINVAL) => return Ok(None),
            found => found?,
        };
        // The file may have grown since it was measured, or shrunk.
        if data >= size {
            break;
        }
        let hole = lseek(file, data, Whence::SeekHole)?.min(size);
        if hole <= data {
            break;
        }
        map.push((data as u64, (hole - data) as u64));
        at = hole;
    }
    let whole = [(0, size as u64)];
    lseek(file, 0, Whence::SeekSet)?;
    Ok((map != whole).then_some(map))
}
