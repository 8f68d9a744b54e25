//! Files that the kernel writes while they are read: /proc, and the files of cgroups.

use std::fs::File;
use std::io::{Read, Result};
use std::path::Path;

/// Reads such a file whole. It has no size to ask for, and the kernel composes its text at every read(2), so a page at a
/// time and not the 32 bytes that [`std::fs::read_to_string`] begins with.
pub fn read(path: impl AsRef<Path>) -> Result<String> {
    let mut text = String::with_capacity(4096);
    // `take` keeps std from asking for the size, which is always 0.
    File::open(path)?.take(u64::MAX).read_to_string(&mut text)?;
    Ok(text)
}
