//! `image load`: docker-save archives and OCI layouts, plain or compressed, from a file or a pipe.

use super::digest::Digesting;
use super::layer::{self, Unpacked};
use super::manifests::{self, Found};
use super::members::{At, Members};
use super::{compression, lease, names, passed, publish, spool};
use crate::engine::events;
use crate::error::{Doing, Error, Result};
use crate::store::{Store, bounds};
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read, Seek};

/// What came in.
#[derive(Debug)]
pub struct Loaded {
    pub id: String,
    /// None for an image that the archive gives no name.
    pub names: Vec<String>,
}

/// Loads every image of the archive. `told` hears of progress: bytes of layers done, and their number where known.
pub fn load(store: &Store, input: File, told: &mut dyn FnMut(u64, Option<u64>)) -> Result<Vec<Loaded>> {
    let mut archive = Archive::open(store, input)?;
    let images = manifests::images(&archive.file, &archive.members)?;
    let total = images.iter().flat_map(|image| &image.layers).map(|name| archive.length(name)).sum();
    let mut done = 0;
    let (mut packed, mut inflated) = (0, 0);
    let mut before = HashSet::new();
    let mut unpacked: Vec<(Found, Vec<Unpacked>)> = Vec::new();
    for image in images {
        let mut layers: Vec<Unpacked> = Vec::new();
        for (diff_id, name) in image.config.diff_ids.iter().zip(&image.layers) {
            let layer = match before.insert(diff_id.clone()) {
                false => layer::known(diff_id),
                true => archive.layer(store, name, diff_id).doing(|| format!("load the layer {name}"))?,
            };
            if layer.held().is_some() {
                packed += archive.length(name);
                inflated += layer.tar_size()?;
            }
            if inflated > bounds::INFLATED && inflated / bounds::INFLATED_TIMES > packed {
                return Err(Error::new("its layers unpack to more than 200 times their size: a decompression bomb"));
            }
            layers.push(layer);
            done += archive.length(name);
            told(done, Some(total));
        }
        unpacked.push((image, layers));
    }
    let lease = lease::shared(store)?;
    archive.stay(store, &mut unpacked)?;
    // Before the store is synced: of a copy that nobody needs any more nothing has to reach the disk.
    archive.forget();
    let mut loaded = Vec::new();
    for (image, layers) in unpacked {
        let id = publish(store, layers, &image.config.bytes, &lease)?;
        names::set_all(store, &image.names, &id)?;
        events::tell(store, &[events::of_image(&id, &id, "load", None)]);
        loaded.push(Loaded { id, names: image.names });
    }
    Ok(loaded)
}

/// An archive on the disk, where its members can be read in any order.
struct Archive {
    file: File,
    /// `file` is a copy of ours, without a name.
    spooled: bool,
    members: Members,
    /// By their offsets, what is no longer in `file`, since it was unpacked as it came by.
    ahead: HashMap<u64, Result<Unpacked>>,
}

impl Archive {
    fn open(store: &Store, mut input: File) -> Result<Archive> {
        let mut start = [0u8; compression::TELLING];
        let seekable = input.stream_position().is_ok() && input.metadata().is_ok_and(|meta| meta.is_file());
        let length = if seekable { read_up_to(&mut input, &mut start)? } else { 0 };
        if seekable {
            input.rewind().doing(|| "read the archive")?;
            compression::refuse_unknown(&start[..length])?;
        }
        let spooled = !seekable || compression::is_compressed(&start[..length]);
        let (file, ahead) = match spooled {
            true => spool::spool(store, input).map(|spooled| (spooled.file, spooled.layers))?,
            false => (input, HashMap::new()),
        };
        let members = Members::of(&file)?;
        Ok(Archive { file, spooled, members, ahead })
    }

    /// Gives back the disk space of a copy, and of what turned out to be no layer that is needed.
    fn forget(self) {
        if self.spooled {
            let _ = self.file.set_len(0);
        }
    }

    fn length(&self, name: &str) -> u64 {
        self.members.find(name).map_or(0, |(_, length)| length)
    }

    fn reader(&self, name: &str) -> Result<impl Read> {
        let (offset, length) = self.members.find(name)?;
        Ok(At { file: self.file.try_clone().doing(|| "read the archive")?, offset, left: length })
    }

    /// Unpacks again what the store had when it was looked for, and has no longer: under the lease it stays.
    fn stay(&mut self, store: &Store, unpacked: &mut [(Found, Vec<Unpacked>)]) -> Result<()> {
        let layers = unpacked.iter().flat_map(|(_, layers)| layers).filter(|layer| layer.held().is_some());
        let mut made: HashSet<String> = layers.map(|layer| layer.diff_id.clone()).collect();
        for (image, layers) in unpacked {
            for (layer, name) in layers.iter_mut().zip(&image.layers) {
                if !made.contains(&layer.diff_id) && !layer::exists(store, &layer.diff_id) {
                    let again = self.layer(store, name, &layer.diff_id);
                    *layer = again.doing(|| format!("load the layer {name}"))?;
                    made.insert(layer.diff_id.clone());
                }
            }
        }
        Ok(())
    }

    fn layer(&mut self, store: &Store, name: &str, diff_id: &str) -> Result<Unpacked> {
        if layer::exists(store, diff_id) {
            return Ok(layer::known(diff_id));
        }
        let (offset, _) = self.members.find(name)?;
        if let Some(ahead) = self.ahead.remove(&offset) {
            let layer = ahead?;
            return layer.is(diff_id).map(|()| layer);
        }
        // The digest of the blob as it lies in the archive, besides that of the tar in it.
        if let Some(hex) = name.strip_prefix("blobs/sha256/").filter(|hex| format!("sha256:{hex}") != diff_id) {
            let mut digesting = Digesting::new(self.reader(name)?);
            io::copy(&mut digesting, &mut io::sink()).doing(|| "read the layer")?;
            if digesting.finish() != hex {
                return Err(Error::new(format!("the content of blob sha256:{hex} has another digest")));
            }
        }
        let mut start = [0; compression::TELLING];
        let length = read_up_to(&mut self.reader(name)?, &mut start)?;
        match compression::is_compressed(&start[..length]) {
            true => layer::unpack(store, passed::start(self.reader(name)?)?, Some(diff_id)),
            // To pass it on costs as much as to digest it.
            false => layer::unpack(store, self.reader(name)?, Some(diff_id)),
        }
    }
}

fn read_up_to(file: &mut impl Read, buffer: &mut [u8]) -> Result<usize> {
    let mut length = 0;
    loop {
        match file.read(&mut buffer[length..]).doing(|| "read the archive")? {
            0 => return Ok(length),
            more => length += more,
        }
    }
}
