//! `image load`: docker-save archives and OCI layouts, plain, gzip or zstd, from a file or a pipe.

use super::digest::{self, Digesting};
use super::layer::{self, Unpacked};
use super::{ImageFile, architecture, compression, lease, names, parse, passed, publish, reference, spool};
use crate::error::{Doing, Error, Result};
use crate::store::archive::{self, End, Kind};
use crate::store::{Store, bounds};
use serde::Deserialize;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::Path;

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
    let images = archive.images()?;
    let total = images.iter().flat_map(|image| &image.layers).map(|name| archive.length(name)).sum();
    let mut done = 0;
    let mut unpacked: Vec<(Found, Vec<Unpacked>)> = Vec::new();
    for image in images {
        let file: ImageFile = parse(&image.config)?;
        let diff_ids = &file.rootfs.diff_ids;
        if diff_ids.len() != image.layers.len() || diff_ids.iter().any(|diff_id| !reference::valid_digest(diff_id)) {
            return Err(Error::new("the image's configuration and its layers do not agree"));
        }
        let mut layers: Vec<Unpacked> = Vec::new();
        for (diff_id, name) in diff_ids.iter().zip(&image.layers) {
            let mut before = unpacked.iter().flat_map(|(_, layers)| layers).chain(&layers);
            let layer = match before.any(|layer| layer.diff_id == *diff_id) {
                true => layer::known(diff_id),
                false => archive.layer(store, name, diff_id).doing(|| format!("load the layer {name}"))?,
            };
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
        let id = publish(store, layers, &image.config, &lease)?;
        let mut named = Vec::new();
        for name in &image.names {
            let name = reference::normalise(name)?;
            names::set(store, &name, &id)?;
            named.push(name);
        }
        loaded.push(Loaded { id, names: named });
    }
    Ok(loaded)
}

/// One image in an archive: its configuration's bytes, and the members that hold its layers.
struct Found {
    config: Vec<u8>,
    layers: Vec<String>,
    names: Vec<String>,
}

/// An archive on the disk, where its members can be read in any order.
struct Archive {
    file: File,
    /// `file` is a copy of ours, without a name.
    spooled: bool,
    members: HashMap<String, Member>,
    /// By their offsets, what is no longer in `file`, since it was unpacked as it came by.
    ahead: HashMap<u64, Result<Unpacked>>,
}

#[derive(Clone)]
enum Member {
    At {
        offset: u64,
        length: u64,
    },
    /// Old docker-save archives link a layer that two images share.
    Link(String),
}

impl Archive {
    fn open(store: &Store, mut input: File) -> Result<Archive> {
        let mut start = [0u8; 4];
        let seekable = input.stream_position().is_ok() && input.metadata().is_ok_and(|meta| meta.is_file());
        let length = if seekable { read_up_to(&mut input, &mut start)? } else { 0 };
        if seekable {
            input.rewind().doing(|| "read the archive")?;
        }
        let spooled = !seekable || compression::is_compressed(&start[..length]);
        let (file, ahead) = match spooled {
            true => spool::spool(store, input).map(|spooled| (spooled.file, spooled.layers))?,
            false => (input, HashMap::new()),
        };
        let members = members(&file)?;
        Ok(Archive { file, spooled, members, ahead })
    }

    /// Gives back the disk space of a copy, and of what turned out to be no layer that is needed.
    fn forget(self) {
        if self.spooled {
            let _ = self.file.set_len(0);
        }
    }

    fn member(&self, name: &str) -> Result<(u64, u64)> {
        let mut name = name.trim_start_matches("./").to_owned();
        for _ in 0..8 {
            match self.members.get(&name) {
                Some(Member::At { offset, length }) => return Ok((*offset, *length)),
                Some(Member::Link(target)) => name.clone_from(target),
                None => return Err(Error::new(format!("the archive has no {name}"))),
            }
        }
        Err(Error::new(format!("{name} is a link to a link to a link")))
    }

    fn length(&self, name: &str) -> u64 {
        self.member(name).map_or(0, |(_, length)| length)
    }

    fn reader(&self, name: &str) -> Result<impl Read> {
        let (offset, length) = self.member(name)?;
        // By its own position, so that a child that reads a layer moves nobody else's.
        Ok(At { file: self.file.try_clone().doing(|| "read the archive")?, offset, left: length })
    }

    fn document(&self, name: &str) -> Result<Vec<u8>> {
        let (_, length) = self.member(name)?;
        if length > bounds::DOCUMENT {
            return Err(Error::new(format!("{name} is too large to be what it should be")));
        }
        let mut bytes = Vec::new();
        self.reader(name)?.read_to_end(&mut bytes).doing(|| format!("read {name} of the archive"))?;
        if let Some(hex) = name.strip_prefix("blobs/sha256/").filter(|hex| digest::of(&bytes) != **hex) {
            return Err(Error::new(format!("the content of blob sha256:{hex} has another digest")));
        }
        Ok(bytes)
    }

    fn images(&mut self) -> Result<Vec<Found>> {
        if self.members.contains_key("manifest.json") {
            return self.docker_images();
        }
        if self.members.contains_key("index.json") {
            return self.oci_images();
        }
        Err(Error::new("the archive holds no image: it has neither manifest.json nor index.json")
            .with_cure("a root file system's tar comes in with `ebb import`"))
    }

    fn docker_images(&self) -> Result<Vec<Found>> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Entry {
            config: String,
            repo_tags: Option<Vec<String>>,
            layers: Vec<String>,
        }
        let text = self.document("manifest.json")?;
        let entries: Vec<Entry> = serde_json::from_slice(&text).doing(|| "read manifest.json of the archive")?;
        let found = |entry: Entry| -> Result<Found> {
            let config = self.document(&entry.config)?;
            // Older archives name the file by its digest, too.
            if let Some(hex) = entry.config.strip_suffix(".json").filter(|hex| hex.len() == 64)
                && digest::of(&config) != hex
            {
                return Err(Error::new(format!("the configuration {} has another digest", entry.config)));
            }
            Ok(Found { config, layers: entry.layers, names: entry.repo_tags.unwrap_or_default() })
        };
        entries.into_iter().map(found).collect()
    }

    fn oci_images(&self) -> Result<Vec<Found>> {
        let index: Index =
            serde_json::from_slice(&self.document("index.json")?).doing(|| "read index.json of the archive")?;
        let mut found = Vec::new();
        self.descend(&index, &[], 0, &mut found)?;
        if found.is_empty() {
            return Err(Error::new(format!("the archive has no image for linux/{}", architecture())));
        }
        Ok(found)
    }

    /// An index may point to indexes; of one that has an image for each platform, this machine's is taken.
    fn descend(&self, index: &Index, names: &[String], depth: u32, found: &mut Vec<Found>) -> Result<()> {
        if depth > 4 {
            return Err(Error::new("the archive's indexes are nested too deep"));
        }
        for descriptor in &index.manifests {
            if descriptor.platform.as_ref().is_some_and(|platform| !platform.fits()) {
                continue;
            }
            let mut names = names.to_vec();
            names.extend(descriptor.name());
            let text = self.document(&blob(&descriptor.digest)?)?;
            let manifest: Manifest = serde_json::from_slice(&text).doing(|| "read a manifest of the archive")?;
            match (manifest.manifests, manifest.config, manifest.layers) {
                (Some(manifests), None, None) => self.descend(&Index { manifests }, &names, depth + 1, found)?,
                (None, Some(config), Some(layers)) => {
                    let config = self.document(&blob(&config.digest)?)?;
                    let layers = layers.iter().map(|layer| blob(&layer.digest)).collect::<Result<_>>()?;
                    found.push(Found { config, layers, names });
                }
                // A document that is both would be read as one by us and as the other by somebody else.
                _ => return Err(Error::new("a manifest of the archive is neither an image's nor an index")),
            }
        }
        Ok(())
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
        let (offset, _) = self.member(name)?;
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
        let mut start = [0; 4];
        let length = read_up_to(&mut self.reader(name)?, &mut start)?;
        match compression::is_compressed(&start[..length]) {
            true => layer::unpack(store, passed::start(self.reader(name)?)?, Some(diff_id)),
            // To pass it on costs as much as to digest it.
            false => layer::unpack(store, self.reader(name)?, Some(diff_id)),
        }
    }
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Manifest {
    manifests: Option<Vec<Descriptor>>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: String,
    platform: Option<Platform>,
    #[serde(default)]
    annotations: HashMap<String, String>,
}

#[derive(Deserialize)]
struct Platform {
    architecture: String,
    os: String,
}

impl Platform {
    fn fits(&self) -> bool {
        self.os == "linux" && self.architecture == architecture()
    }
}

impl Descriptor {
    /// containerd writes the whole name, other tools only a tag.
    fn name(&self) -> Option<String> {
        let name = self.annotations.get("io.containerd.image.name");
        let name = name.or_else(|| self.annotations.get("org.opencontainers.image.ref.name"));
        name.filter(|name| name.contains([':', '/']) && reference::normalise(name).is_ok()).cloned()
    }
}

fn blob(digest: &str) -> Result<String> {
    match digest.strip_prefix("sha256:") {
        Some(hex) if reference::valid_digest(digest) => Ok(format!("blobs/sha256/{hex}")),
        _ => Err(Error::new(format!("the digest {digest:?} is not a SHA-256"))),
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

/// Where each member of the tar lies.
fn members(file: &File) -> Result<HashMap<String, Member>> {
    let (mut members, mut kept) = (HashMap::new(), 0);
    let mut archive = archive::Archive::unbuffered(file, End::Optional);
    while let Some(found) = archive.next_member()? {
        let name = found.path.to_string_lossy().into_owned();
        let member = match found.kind {
            Kind::File if found.map.is_none() => {
                let offset = archive.position().doing(|| "read the archive")?;
                Some(Member::At { offset, length: archive.left() })
            }
            Kind::Symlink => Some(Member::Link(join(&name, &found.link.to_string_lossy()))),
            Kind::HardLink => Some(Member::Link(found.link.to_string_lossy().into_owned())),
            _ => None,
        };
        archive.seek_over().doing(|| "read the archive")?;
        let Some(member) = member else { continue };
        kept += name.len() + found.link.as_os_str().len();
        members.insert(name, member);
        if members.len() > bounds::MEMBERS_IN_ARCHIVE || kept > bounds::NAMES_KEPT {
            return Err(Error::new("the archive has more members than any image"));
        }
    }
    Ok(members)
}

/// A link's target as a member's name: relative to the link's own directory.
fn join(name: &str, target: &str) -> String {
    let mut parts: Vec<&str> = Path::new(name).parent().and_then(Path::to_str).unwrap_or("").split('/').collect();
    for part in target.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." | "" => {}
            part => parts.push(part),
        }
    }
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
}

/// A piece of a file, read by pread(2).
struct At {
    file: File,
    offset: u64,
    left: u64,
}

impl Read for At {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let length = std::os::unix::fs::FileExt::read_at(&self.file, &mut buffer[..most], self.offset)?;
        if length == 0 && most > 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the archive was cut off"));
        }
        self.offset += length as u64;
        self.left -= length as u64;
        Ok(length)
    }
}
