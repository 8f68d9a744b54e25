//! Which images an archive holds: docker-save's manifest.json, or an OCI layout's index.json and what it leads to. All of it is
//! a stranger's: each document is read once, however often it is named, and what is followed is counted.

use super::members::{At, Members};
use super::{ImageFile, architecture, digest, or_default, parse, reference};
use crate::error::{Doing, Error, Result};
use crate::store::bounds;
use serde::Deserialize;
use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::rc::Rc;

/// One image in an archive: its configuration, and the members that hold its layers.
pub struct Found {
    pub config: Rc<Config>,
    pub layers: Vec<String>,
    /// Normalised.
    pub names: Vec<String>,
}

/// An image's configuration, as its bytes say it.
pub struct Config {
    pub bytes: Vec<u8>,
    pub diff_ids: Vec<String>,
}

/// All images of the archive in `file`.
pub fn images(file: &File, members: &Members) -> Result<Vec<Found>> {
    let mut documents = Documents {
        file,
        members,
        bytes: 0,
        references: 0,
        names: 0,
        manifests: HashMap::new(),
        configs: HashMap::new(),
        found: Vec::new(),
    };
    if members.has("manifest.json") {
        documents.docker_images()?;
    } else if members.has("index.json") {
        documents.oci_images()?;
    } else {
        return Err(Error::new("the archive holds no image: it has neither manifest.json nor index.json")
            .with_cure("a root file system's tar comes in with `ebb import`"));
    }
    Ok(documents.found)
}

struct Documents<'a> {
    file: &'a File,
    members: &'a Members,
    /// How many were read, and references followed.
    bytes: u64,
    references: usize,
    names: usize,
    /// By the digest, and by the member's name.
    manifests: HashMap<String, Rc<Manifest>>,
    configs: HashMap<String, Rc<Config>>,
    found: Vec<Found>,
}

impl Documents<'_> {
    fn read(&mut self, name: &str) -> Result<Vec<u8>> {
        let (offset, length) = self.members.find(name)?;
        if length > bounds::DOCUMENT {
            return Err(Error::new(format!("{name} is too large to be what it should be")));
        }
        self.bytes += length;
        if self.bytes > bounds::DOCUMENTS {
            return Err(Error::new("the archive's manifests and configurations are larger than any honest ones"));
        }
        let mut bytes = Vec::new();
        let doing = || format!("read {name} of the archive");
        At { file: self.file.try_clone().doing(doing)?, offset, left: length }.read_to_end(&mut bytes).doing(doing)?;
        if let Some(hex) = name.strip_prefix("blobs/sha256/").filter(|hex| digest::of(&bytes) != **hex) {
            return Err(Error::new(format!("the content of blob sha256:{hex} has another digest")));
        }
        Ok(bytes)
    }

    fn config(&mut self, name: &str) -> Result<Rc<Config>> {
        if let Some(known) = self.configs.get(name) {
            return Ok(known.clone());
        }
        let bytes = self.read(name)?;
        // Older archives name the file by its digest, too.
        if let Some(hex) = name.strip_suffix(".json").filter(|hex| hex.len() == 64)
            && digest::of(&bytes) != hex
        {
            return Err(Error::new(format!("the configuration {name} has another digest")));
        }
        let file: ImageFile = parse(&bytes)?;
        if !matches!(file.os.as_str(), "" | "linux") {
            return Err(Error::new(format!("cannot load {} image on linux", file.os)));
        }
        let config = Rc::new(Config { bytes, diff_ids: file.rootfs.diff_ids });
        self.configs.insert(name.to_owned(), config.clone());
        Ok(config)
    }

    /// One more image, or one more name of one that was found before.
    fn add(&mut self, config: &str, layers: Vec<String>, names: &[String]) -> Result<()> {
        self.count(layers.len())?;
        self.name(names.len())?;
        if layers.len() > bounds::LAYERS_IN_IMAGE {
            return Err(Error::new(format!("an image of the archive has {} layers", layers.len()))
                .with_cure(format!("overlayfs mounts at most {}", bounds::LAYERS_IN_IMAGE)));
        }
        let config = self.config(config)?;
        if config.diff_ids.len() != layers.len() || config.diff_ids.iter().any(|id| !reference::valid_digest(id)) {
            return Err(Error::new("the image's configuration and its layers do not agree"));
        }
        // containerd may call an image by its own id, which is true, and no name.
        let own = |name: &str| reference::valid_digest(name) && name == format!("sha256:{}", digest::of(&config.bytes));
        let names = names.iter().filter(|name| !own(name)).map(|name| {
            let name = name.as_str();
            reference::given(name).doing(|| format!("an image of the archive is to be {name:?}"))
        });
        let names = names.collect::<Result<Vec<_>>>()?;
        match self.found.iter_mut().find(|found| Rc::ptr_eq(&found.config, &config) && found.layers == layers) {
            Some(found) => found.names.extend(names),
            None => self.found.push(Found { config, layers, names }),
        }
        if self.found.len() > bounds::IMAGES_IN_ARCHIVE {
            return Err(Error::new(format!("the archive has more than {} images", bounds::IMAGES_IN_ARCHIVE)));
        }
        Ok(())
    }

    fn name(&mut self, names: usize) -> Result<()> {
        self.names += names;
        match self.names > bounds::NAMES_GIVEN {
            true => Err(Error::new(format!("the archive has more than {} names of images", bounds::NAMES_GIVEN))),
            false => Ok(()),
        }
    }

    fn count(&mut self, references: usize) -> Result<()> {
        self.references += references;
        if self.references > bounds::REFERENCES {
            return Err(Error::new(format!(
                "the archive's indexes and manifests have more than {} references: no honest archive has so many",
                bounds::REFERENCES
            )));
        }
        Ok(())
    }

    fn docker_images(&mut self) -> Result<()> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Entry {
            config: String,
            repo_tags: Option<Vec<String>>,
            #[serde(deserialize_with = "or_default")]
            layers: Vec<String>,
        }
        let text = self.read("manifest.json")?;
        let entries: Vec<Entry> = serde_json::from_slice(&text).doing(|| "read manifest.json of the archive")?;
        self.count(entries.len())?;
        for entry in entries {
            let names = entry.repo_tags.unwrap_or_default();
            if let Some(name) = names.iter().find(|name| name.contains('@')) {
                return Err(Error::new(format!("invalid tag {name:?}")));
            }
            self.add(&entry.config, entry.layers, &names)?;
        }
        Ok(())
    }

    fn oci_images(&mut self) -> Result<()> {
        let index: Index =
            serde_json::from_slice(&self.read("index.json")?).doing(|| "read index.json of the archive")?;
        self.descend(&index.manifests, &[], 0)?;
        if self.found.is_empty() {
            return Err(Error::new(format!("the archive has no image for linux/{}", architecture())));
        }
        Ok(())
    }

    /// An index may point to indexes; of one that has an image for each platform, this machine's is taken.
    fn descend(&mut self, descriptors: &[Descriptor], names: &[String], depth: usize) -> Result<()> {
        if depth > bounds::INDEX_DEPTH {
            return Err(Error::new("the archive's indexes are nested too deep"));
        }
        // A descriptor that gives a name is counted as that.
        self.count(descriptors.iter().filter(|descriptor| descriptor.name().is_none()).count())?;
        for descriptor in descriptors {
            if descriptor.platform.as_ref().is_some_and(|platform| !platform.fits()) {
                continue;
            }
            let mut names = names.to_vec();
            if let Some(name) = descriptor.name() {
                self.name(1)?;
                names.push(name);
            }
            let manifest = self.manifest(&descriptor.digest)?;
            match (&manifest.manifests, &manifest.config, &manifest.layers) {
                (Some(manifests), None, None) => self.descend(manifests, &names, depth + 1)?,
                (None, Some(config), Some(layers)) => {
                    let layers = layers.iter().map(|layer| blob(&layer.digest)).collect::<Result<_>>()?;
                    self.add(&blob(&config.digest)?, layers, &names)?;
                }
                // A document that is both would be read as one by us and as the other by somebody else.
                _ => return Err(Error::new("a manifest of the archive is neither an image's nor an index")),
            }
        }
        Ok(())
    }

    fn manifest(&mut self, digest: &str) -> Result<Rc<Manifest>> {
        if let Some(known) = self.manifests.get(digest) {
            return Ok(known.clone());
        }
        let text = self.read(&blob(digest)?)?;
        let manifest: Manifest = serde_json::from_slice(&text).doing(|| "read a manifest of the archive")?;
        let lists = [&manifest.manifests, &manifest.layers];
        self.count(lists.into_iter().flatten().map(Vec::len).sum())?;
        let manifest = Rc::new(manifest);
        self.manifests.insert(digest.to_owned(), manifest.clone());
        Ok(manifest)
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
    #[serde(default, deserialize_with = "or_default")]
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
    /// containerd writes the whole name, other tools only a tag. What it knows by a digest has no tag for that.
    fn name(&self) -> Option<String> {
        let name = self.annotations.get("io.containerd.image.name");
        let name = name.or_else(|| self.annotations.get("org.opencontainers.image.ref.name"));
        name.filter(|name| name.contains([':', '/']) && !name.contains('@') && reference::normalise(name).is_ok())
            .cloned()
    }
}

fn blob(digest: &str) -> Result<String> {
    match digest.strip_prefix("sha256:") {
        Some(hex) if reference::valid_digest(digest) => Ok(format!("blobs/sha256/{hex}")),
        _ => Err(Error::new(format!("the digest {digest:?} is not a SHA-256"))),
    }
}
