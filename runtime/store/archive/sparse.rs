//! The four ways in which GNU tar has written sparse files: its old format's type `S`, and three in pax records.

use super::pax::number;
use super::{Archive, BLOCK, Sources};
use crate::error::{Doing, Error, Result};
use crate::store::bounds::MAP_OF_SPARSE_FILE;
use std::io::Read;

/// Where a sparse file has bytes.
pub struct Map {
    /// (offset, length), in order, without overlaps.
    pub stretches: Vec<(u64, u64)>,
    /// The file's true size.
    pub size: u64,
    /// Its true name, where the member's is made up.
    pub name: Option<Vec<u8>>,
}

fn damaged() -> Error {
    Error::new("the map of a sparse file in the archive is damaged")
}

impl<R: Read> Archive<R> {
    /// The map of the member whose contents come next, or `None` where it is not sparse.
    pub(super) fn sparse_map(&mut self, read: &Sources) -> Result<Option<Map>> {
        let local = read.local;
        let size = match local.get("GNU.sparse.realsize").or_else(|| local.get("GNU.sparse.size")) {
            Some(text) => Some(number(text).ok_or_else(damaged)?),
            None => None,
        };
        let name = local.get("GNU.sparse.name").map(<[u8]>::to_vec);
        let version = (local.get("GNU.sparse.major"), local.get("GNU.sparse.minor"));
        let found = match (read.header.entry_type().is_gnu_sparse(), version, size) {
            (true, ..) => Some(self.old_map(read)?),
            (_, (Some(b"1"), Some(b"0")), Some(size)) => {
                Some(Map { stretches: self.map_before_contents()?, size, name })
            }
            (_, (Some(_), _), _) => return Err(Error::new("a sparse file is in a format newer than GNU's 1.0")),
            (_, (None, _), Some(size)) => Some(Map { stretches: map_in_records(read)?, size, name }),
            _ => None,
        };
        if let Some(map) = &found {
            self.check(map)?;
        }
        Ok(found)
    }

    fn check(&self, map: &Map) -> Result<()> {
        let mut end = 0;
        let mut sum = 0u64;
        for (offset, length) in &map.stretches {
            let last = offset.checked_add(*length).filter(|last| *offset >= end && *last <= map.size);
            end = last.ok_or_else(damaged)?;
            sum += length;
        }
        if sum == self.left { Ok(()) } else { Err(damaged()) }
    }

    /// Type `S`: four stretches in the header, and 21 in each block that follows it.
    fn old_map(&mut self, read: &Sources) -> Result<Map> {
        let bytes = read.header.as_bytes();
        let mut stretches = Vec::new();
        collect(&bytes[386..482], &mut stretches)?;
        let mut more = bytes[482] != 0;
        while more {
            let block = self.block().doing(|| "read the archive")?.ok_or_else(super::cut_off)?;
            collect(&block[..504], &mut stretches)?;
            more = block[504] != 0;
            if stretches.len() > MAP_OF_SPARSE_FILE {
                return Err(damaged());
            }
        }
        Ok(Map { stretches, size: super::header::number(&bytes[483..495]).ok_or_else(damaged)?, name: None })
    }

    /// Format 1.0: lines of decimal numbers, the first of them their count, in whole blocks before the contents.
    fn map_before_contents(&mut self) -> Result<Vec<(u64, u64)>> {
        let mut stretches = Vec::new();
        let (mut wanted, mut offset) = (None, None);
        let mut digits = Vec::new();
        while wanted.is_none_or(|wanted| stretches.len() < wanted) {
            self.left = self.left.checked_sub(BLOCK as u64).ok_or_else(damaged)?;
            let block = self.block().doing(|| "read the archive")?.ok_or_else(super::cut_off)?;
            for byte in block {
                if *byte != b'\n' {
                    digits.push(*byte);
                    continue;
                }
                let found = number(&digits).ok_or_else(damaged)?;
                digits.clear();
                match (wanted, offset.take()) {
                    (None, _) => {
                        let count = usize::try_from(found).ok().filter(|count| *count <= MAP_OF_SPARSE_FILE);
                        wanted = Some(count.ok_or_else(damaged)?);
                    }
                    (Some(_), None) => offset = Some(found),
                    (Some(_), Some(offset)) => stretches.push((offset, found)),
                }
                if wanted == Some(stretches.len()) {
                    break;
                }
            }
            if digits.len() > 20 {
                return Err(damaged());
            }
        }
        Ok(stretches)
    }
}

/// Formats 0.0 (a record for each number) and 0.1 (all of them in one).
fn map_in_records(read: &Sources) -> Result<Vec<(u64, u64)>> {
    if let Some(text) = read.local.get("GNU.sparse.map") {
        let parts = text.split(|byte| *byte == b',').filter(|part| !part.is_empty());
        let numbers = parts.map(|part| number(part).ok_or_else(damaged)).collect::<Result<Vec<_>>>()?;
        return if numbers.len() % 2 == 0 { Ok(pairs(&numbers)) } else { Err(damaged()) };
    }
    let mut stretches = Vec::new();
    let mut offset = None;
    for (key, value) in read.local.all() {
        match key {
            b"GNU.sparse.offset" => offset = Some(number(value).ok_or_else(damaged)?),
            b"GNU.sparse.numbytes" => {
                stretches.push((offset.take().ok_or_else(damaged)?, number(value).ok_or_else(damaged)?));
            }
            _ => {}
        }
    }
    Ok(stretches)
}

fn pairs(numbers: &[u64]) -> Vec<(u64, u64)> {
    numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()
}

/// Entries of two fields of 12 bytes; an empty one ends the list.
fn collect(entries: &[u8], stretches: &mut Vec<(u64, u64)>) -> Result<()> {
    for entry in entries.chunks_exact(24).take_while(|entry| entry[0] != 0) {
        stretches.push((
            super::header::number(&entry[..12]).ok_or_else(damaged)?,
            super::header::number(&entry[12..]).ok_or_else(damaged)?,
        ));
    }
    Ok(())
}
