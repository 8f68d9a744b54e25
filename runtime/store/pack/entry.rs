//! One file's header: what fits stands in the ustar header, what does not in pax records before it (pax(1)).

use super::Keep;
use super::blocks::Blocks;
use crate::error::{Doing, Result};
use crate::store::attribute;
use nix::sys::stat::{FileStat, major, minor};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use tar::{EntryType, Header};

pub struct Entry {
    header: Header,
    records: Vec<u8>,
}

/// The largest number that the eleven octal digits of a size hold.
const LARGEST: u64 = (1 << 33) - 1;

impl Entry {
    pub fn new(path: &Path, stat: &FileStat, kind: EntryType, keep: Keep) -> Entry {
        let mut header = Header::new_ustar();
        let mut records = Vec::new();
        header.set_entry_type(kind);
        header.set_mode(stat.st_mode & 0o7777);
        for (key, id) in [(&b"uid"[..], stat.st_uid), (b"gid", stat.st_gid)] {
            // Seven octal digits; nobody (-1) and the like do not fit.
            let fits = if id < 1 << 21 { id } else { 0 };
            match key {
                b"uid" => header.set_uid(fits.into()),
                _ => header.set_gid(fits.into()),
            }
            if fits != id {
                record(&mut records, key, id.to_string().as_bytes());
            }
        }
        let seconds = u64::try_from(stat.st_mtime).unwrap_or(0).min(LARGEST);
        header.set_mtime(seconds);
        let fraction = keep.nanoseconds && stat.st_mtime_nsec != 0;
        if fraction || i64::try_from(seconds) != Ok(stat.st_mtime) {
            record(
                &mut records,
                b"mtime",
                decimal(stat.st_mtime, if fraction { stat.st_mtime_nsec } else { 0 }).as_bytes(),
            );
        }
        let number = |part: u64| u32::try_from(part).unwrap_or(0);
        if matches!(kind, EntryType::Char | EntryType::Block) {
            // A ustar header has fields for both, so neither call can fail.
            let _ = header.set_device_major(number(major(stat.st_rdev)));
            let _ = header.set_device_minor(number(minor(stat.st_rdev)));
        }
        let mut entry = Entry { header, records };
        place(&mut entry.header.as_old_mut().name, path.as_os_str().as_bytes(), b"path", &mut entry.records);
        entry
    }

    /// The target of a symlink, or the first name of a file with several.
    pub fn link(&mut self, target: &[u8]) {
        place(&mut self.header.as_old_mut().linkname, target, b"linkpath", &mut self.records);
    }

    pub fn record(&mut self, key: &[u8], value: &[u8]) {
        record(&mut self.records, key, value);
    }

    /// The attributes that its owner gave it, its ACLs and its capabilities, as containers see them; none of the overlay's
    /// own, and none that mean something to one host only (`trusted.*`, other `security.*`).
    pub fn attributes(&mut self, file: &File) -> Result<()> {
        for name in attribute::names(file).doing(|| "read its attributes")? {
            if is_kept(name.as_bytes())
                && let Some(value) = attribute::get(file, &name).doing(|| "read its attributes")?
            {
                self.record(&[b"SCHILY.xattr.", name.as_bytes()].concat(), &value);
            }
        }
        Ok(())
    }

    /// Makes it an entry of a sparse file, in GNU's format 1.0. Returns the map, which goes before the contents.
    pub fn sparse(&mut self, path: &Path, size: u64, map: &[(u64, u64)]) -> Vec<u8> {
        for (key, value) in [("major", "1"), ("minor", "0")] {
            self.record(format!("GNU.sparse.{key}").as_bytes(), value.as_bytes());
        }
        self.record(b"GNU.sparse.name", path.as_os_str().as_bytes());
        self.record(b"GNU.sparse.realsize", size.to_string().as_bytes());
        // A reader that knows no sparse files makes this one, and not one with other contents under the true name.
        let name = b"GNUSparseFile.0/";
        let base = path.file_name().unwrap_or_default().as_bytes();
        let field = &mut self.header.as_old_mut().name;
        field.fill(0);
        let base = &base[..base.len().min(field.len() - name.len())];
        field[..name.len()].copy_from_slice(name);
        field[name.len()..name.len() + base.len()].copy_from_slice(base);
        // The last entry, of no bytes, says where the file ends.
        let ends: &[(u64, u64)] =
            if map.last().is_some_and(|(at, length)| at + length == size) { &[] } else { &[(size, 0)] };
        let mut text = format!("{}\n", map.len() + ends.len());
        for (offset, length) in map.iter().chain(ends) {
            text.push_str(&format!("{offset}\n{length}\n"));
        }
        let mut head = text.into_bytes();
        head.resize(head.len().next_multiple_of(512), 0);
        head
    }

    /// Writes it, before `stored` bytes of contents.
    pub fn write<W: Write>(mut self, out: &mut Blocks<W>, stored: u64) -> io::Result<()> {
        self.header.set_size(stored.min(LARGEST));
        if stored > LARGEST {
            record(&mut self.records, b"size", stored.to_string().as_bytes());
        }
        self.header.set_cksum();
        if !self.records.is_empty() {
            let mut extended = Header::new_ustar();
            extended.set_entry_type(EntryType::XHeader);
            extended.set_path("PaxHeaders.0/header")?;
            extended.set_mode(0o644);
            extended.set_size(self.records.len() as u64);
            extended.set_cksum();
            out.bytes(extended.as_bytes())?;
            out.bytes(&self.records)?;
            out.pad()?;
        }
        out.bytes(self.header.as_bytes())
    }
}

/// Whether an extended attribute of this name goes into an archive, and comes out of one.
pub fn is_kept(name: &[u8]) -> bool {
    attribute::is_acl(name)
        || attribute::is_capabilities(name)
        || (name.starts_with(b"user.") && !name.starts_with(b"user.overlay."))
}

/// Seconds with a fraction, where a time before 1970 counts down from it: -1.5 is a second and a half before.
fn decimal(seconds: i64, nanoseconds: i64) -> String {
    let total = i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
    let (sign, total) = if total < 0 { ("-", -total) } else { ("", total) };
    let fraction = format!("{:09}", total % 1_000_000_000);
    match fraction.trim_end_matches('0') {
        "" => format!("{sign}{}", total / 1_000_000_000),
        fraction => format!("{sign}{}.{fraction}", total / 1_000_000_000),
    }
}

/// Puts `bytes` into a field of the header, or into a pax record where they do not fit (pax(1), "Extended Header").
fn place(field: &mut [u8], bytes: &[u8], key: &[u8], records: &mut Vec<u8>) {
    let fits = bytes.len().min(field.len());
    field[..fits].copy_from_slice(&bytes[..fits]);
    if bytes.len() > fits {
        record(records, key, bytes);
    }
}

/// `LENGTH KEY=VALUE\n`, where the length counts its own digits.
fn record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    records.extend_from_slice(length.to_string().as_bytes());
    for part in [b" ", key, b"=", value, b"\n"] {
        records.extend_from_slice(part);
    }
}
