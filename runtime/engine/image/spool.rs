//! An archive that comes through a pipe, or compressed as a whole, on the disk: its members are needed in another order.
//! But what says which of them are layers comes last, and most of an archive are its layers. So what begins as a tar does
//! is unpacked as it comes by, aside, and not written down: where it is a layer it need not be read again, and where it is
//! none it is thrown away.

use super::layer::{self, Unpacked};
use super::{passed, reference};
use crate::engine::idmap::{self, StoreIds};
use crate::engine::leftovers;
use crate::error::{Doing, Result};
use crate::explain::calls;
use crate::oci;
use crate::store::buffer::Buffered;
use crate::store::{Store, archive, tree};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, Read, Seek};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use tar::{EntryType, Header};

/// An archive as a file without a name, with holes in the place of what was unpacked already: that, or why it could not
/// be, by its offset in the archive.
pub struct Spooled {
    pub file: File,
    pub layers: HashMap<u64, Result<Unpacked>>,
}

/// Takes in all of `input`, decompressed.
pub fn spool(store: &Store, input: File) -> Result<Spooled> {
    leftovers::clear(store);
    let held = Rc::new(store.make_tmp("spool")?);
    let path = held.path.join("archive");
    let opened = File::options().read(true).write(true).create_new(true).open(&path);
    let mut file = opened.doing(|| format!("make {}", path.display()))?;
    std::fs::remove_file(&path).doing(|| format!("remove {}", path.display()))?;
    let passed = passed::start(input)?;
    let ids = idmap::store_ids()?;
    let flattened = matches!(ids, StoreIds::Single(_));
    let taken = oci::with_ids(ids.map(), || {
        let is_known = |diff_id: &str| reference::valid_digest(diff_id) && layer::exists(store, diff_id);
        let from = Buffered::new(passed);
        Intake { directory: &held.path, from, to: &file, at: 0, is_known: &is_known, flattened }.whole()
    });
    // Also after an error: what was unpacked until then may be of any of the store's ids.
    let layers = taken.map(|taken| {
        let unpacked = |(at, made): (u64, Result<String>)| {
            (at, made.map(|hex| Unpacked::new(&hex, place(&held.path, at), held.clone())))
        };
        taken.into_iter().map(unpacked).collect()
    });
    if layers.is_err() {
        let _ = layer::remove_tree(&held.path);
    }
    file.rewind().doing(|| "read the archive")?;
    Ok(Spooled { file, layers: layers? })
}

fn place(directory: &Path, at: u64) -> PathBuf {
    directory.join(format!("layer.{at}"))
}

const BLOCK: usize = 512;

/// More of a pax header than this is not looked into.
const LONGEST: u64 = 64 << 10;

struct Intake<'a, R> {
    directory: &'a Path,
    from: Buffered<R>,
    to: &'a File,
    /// How far it is written down.
    at: u64,
    /// Whether the store has a layer of this digest.
    is_known: &'a dyn Fn(&str) -> bool,
    flattened: bool,
}

impl<R: Read> Intake<'_, R> {
    /// Everything; what was unpacked comes back by its offset, with its digest.
    fn whole(mut self) -> Result<Vec<(u64, Result<String>)>> {
        let mut made = Vec::new();
        while let Some(header) = self.header()? {
            let Ok(size) = header.entry_size() else { break };
            match header.entry_type() {
                EntryType::Regular | EntryType::Continuous => {
                    if size > 0 && size % BLOCK as u64 == 0 && !self.has(&header) && self.tar_is_next()? {
                        made.push((self.at, self.unpack(size)?));
                        continue;
                    }
                }
                EntryType::GNULongName | EntryType::GNULongLink => {}
                // It may say that the next member is longer than that one's header can.
                EntryType::XHeader if size <= LONGEST && !self.size_is_next(size)? => {}
                EntryType::Directory | EntryType::Symlink | EntryType::Link if size == 0 => {}
                _ => break,
            }
            self.copy(size.div_ceil(BLOCK as u64).saturating_mul(BLOCK as u64))?;
        }
        // What is not understood here is left to who reads it all.
        self.copy(u64::MAX)?;
        self.to.set_len(self.at).doing(|| "write the archive down")?;
        Ok(made)
    }

    /// The next header, written down; `None`, with nothing taken, where none comes next.
    fn header(&mut self) -> Result<Option<Header>> {
        if !self.tar_is_next()? {
            return Ok(None);
        }
        let mut header = Header::new_old();
        header.as_mut_bytes().copy_from_slice(&self.ahead(BLOCK)?[..BLOCK]);
        self.copy(BLOCK as u64)?;
        Ok(Some(header))
    }

    fn ahead(&mut self, wanted: usize) -> Result<&[u8]> {
        self.from.ahead(wanted).doing(|| "read the archive")
    }

    fn tar_is_next(&mut self) -> Result<bool> {
        Ok(self.ahead(BLOCK)?.get(..BLOCK).is_some_and(archive::is_header))
    }

    fn size_is_next(&mut self, length: u64) -> Result<bool> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let text = self.ahead(length)?;
        Ok(text[..length.min(text.len())].windows(5).any(|word| word == b"size="))
    }

    /// Whether the store has this member, whose name is the digest of a layer.
    fn has(&self, header: &Header) -> bool {
        let name = header.path_bytes();
        let hex = name.strip_prefix(b"blobs/sha256/").and_then(|hex| std::str::from_utf8(hex).ok());
        hex.is_some_and(|hex| (self.is_known)(&format!("sha256:{hex}")))
    }

    /// Unpacks the next `size` bytes, and leaves a hole for them. What cannot be unpacked is passed over.
    fn unpack(&mut self, size: u64) -> Result<Result<String>> {
        let directory = place(self.directory, self.at);
        calls::mkdir(&directory, 0o700).doing(|| format!("make {}", directory.display()))?;
        let mut layer = (&mut self.from).take(size);
        let made = layer::fill(&directory, &mut layer, self.flattened);
        if made.is_err() {
            io::copy(&mut layer, &mut io::sink()).doing(|| "read the archive")?;
            let _ = tree::remove(&directory);
        }
        self.at += size;
        Ok(made)
    }

    /// Writes down at most `length` bytes, or as many as there are.
    fn copy(&mut self, mut length: u64) -> Result<()> {
        while length > 0 {
            let ready = self.from.fill_buf().doing(|| "read the archive")?;
            let ready = &ready[..usize::try_from(length).unwrap_or(usize::MAX).min(ready.len())];
            if ready.is_empty() {
                break;
            }
            self.to.write_all_at(ready, self.at).doing(|| "write the archive down")?;
            let written = ready.len();
            self.from.consume(written);
            (self.at, length) = (self.at + written as u64, length - written as u64);
        }
        Ok(())
    }
}
