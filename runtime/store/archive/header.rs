//! One block of 512 bytes: what its fields say, and what a name in it means.

use super::Kind;
use crate::error::{Error, Result};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use tar::{EntryType, Header};

/// Whether a block is the header of a member: its checksum is right.
pub fn is_header(block: &[u8]) -> bool {
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    let own: u32 = block[148..156].iter().map(|byte| u32::from(*byte)).sum();
    // The field counts as eight blanks.
    sum > 0 && Header::from_byte_slice(block).cksum().ok() == Some(sum - own + 8 * 32)
}

/// A number of a header: octal digits (none are 0), or with its highest bit set in binary.
pub(super) fn number(bytes: &[u8]) -> Option<u64> {
    if bytes[0] & 0x80 != 0 {
        // The first bit of all is the mark.
        let first = u128::from(bytes[0] & 0x7f);
        let number = bytes[1..].iter().fold(first, |number, byte| number << 8 | u128::from(*byte));
        return u64::try_from(number).ok();
    }
    // What stands behind the first NUL is nobody's.
    let digits = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    match std::str::from_utf8(digits).ok()?.trim_matches(' ') {
        "" => Some(0),
        digits => u64::from_str_radix(digits, 8).ok(),
    }
}

pub(super) fn until_zero(mut text: Vec<u8>) -> Vec<u8> {
    let length = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
    text.truncate(length);
    text
}

pub(super) fn kind_of(header: &Header, name: &[u8], said: Option<&[u8]>) -> Result<Kind> {
    Ok(match header.entry_type() {
        EntryType::Regular if said == Some(b"socket") => Kind::Socket,
        // Before there was a type of their own, directories were files whose names end in a slash.
        EntryType::Regular if header.as_ustar().is_none() && name.ends_with(b"/") => Kind::Directory,
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => Kind::File,
        EntryType::Directory => Kind::Directory,
        EntryType::Symlink => Kind::Symlink,
        EntryType::Link => Kind::HardLink,
        EntryType::Fifo => Kind::Fifo,
        EntryType::Char | EntryType::Block => Kind::Device,
        // A directory of an incremental archive of GNU tar's: its contents are a list of names.
        other if other.as_byte() == b'D' => Kind::Directory,
        other => {
            let shown = (other.as_byte() as char).escape_default();
            return Err(Error::new(format!(
                "{}: entries of type {shown} are not known",
                String::from_utf8_lossy(name)
            )));
        }
    })
}

/// A name of the archive, relative. One with `..` is refused, whatever it would lead to: no honest archive has one.
pub(super) fn clean(bytes: &[u8]) -> Result<PathBuf> {
    let path = Path::new(OsStr::from_bytes(bytes));
    // A name may hold what moves a cursor, or a line that looks like ours.
    let shown = || path.to_string_lossy().escape_debug().to_string();
    if bytes.contains(&0) {
        return Err(Error::new(format!("the archive's {} has a zero in it", shown())));
    }
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(Error::new(format!("the archive's {} has a \"..\" in it", shown())));
            }
        }
    }
    Ok(clean)
}
