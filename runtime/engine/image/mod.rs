//! Images: content-addressed layers, a config, and names that point at them.

pub mod change;
pub mod compression;
pub mod digest;
pub mod inspect;
pub mod layer;
pub mod lease;
mod lenient;
pub mod load;
mod manifests;
mod members;
pub mod names;
mod passed;
pub mod recipe;
pub mod reference;
pub mod remove;
pub mod save;
pub mod split;
mod spool;
pub mod unpack;
pub mod whiteout;

pub use inspect::inspect;

use lenient::{labels, or_default, texts, words};

use crate::engine::events;
use crate::error::{Doing, Error, Kind, Result};
use crate::progress;
use crate::store::lock::Lock;
use crate::store::{Store, atomic};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;

/// An image that this store holds.
#[derive(Debug, Clone)]
pub struct Image {
    /// `sha256:` and the digest of its config.
    pub id: String,
    pub config: ImageConfig,
    /// The layers' directories, the bottom one first.
    pub layers: Vec<PathBuf>,
    /// `nginx:latest`, …, in Docker's familiar form, sorted.
    pub names: Vec<String>,
    /// RFC 3339.
    pub created: String,
    /// Bytes of all layers.
    pub size: u64,
    /// The whole configuration.
    pub file: ImageFile,
}

/// What an image says about the containers made of it: the `config` of the OCI image configuration, with Docker's
/// health check. Keys are Docker's; lists that are absent are empty.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ImageConfig {
    #[serde(deserialize_with = "or_default")]
    pub user: String,
    #[serde(deserialize_with = "or_default")]
    pub exposed_ports: BTreeMap<String, Value>,
    #[serde(deserialize_with = "texts")]
    pub env: Vec<String>,
    #[serde(deserialize_with = "words")]
    pub entrypoint: Option<Vec<String>>,
    #[serde(deserialize_with = "words")]
    pub cmd: Option<Vec<String>>,
    #[serde(deserialize_with = "or_default")]
    pub volumes: BTreeMap<String, Value>,
    #[serde(deserialize_with = "or_default")]
    pub working_dir: String,
    #[serde(deserialize_with = "labels")]
    pub labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "or_default")]
    pub stop_signal: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
}

/// Docker's health check; times are nanoseconds, 0 means the default.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", "…"]`.
    #[serde(deserialize_with = "texts")]
    pub test: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub interval: i64,
    #[serde(deserialize_with = "or_default")]
    pub timeout: i64,
    #[serde(deserialize_with = "or_default")]
    pub start_period: i64,
    #[serde(deserialize_with = "or_default")]
    pub retries: u32,
}

/// `--pull`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Pull {
    Never,
    Missing,
    Always,
}

/// Finds a local image by name, `name@digest`, id or unambiguous id prefix. `Kind::NotFound` otherwise.
pub fn find(store: &Store, reference: &str) -> Result<Image> {
    let index = names::read(store)?;
    let missing = || Error::not_found(format!("No such image: {}", shown(reference)));
    // An id is never shadowed by a name: neither a whole one, nor one as a list shows it.
    let whole = reference::digest(reference).map(str::to_owned);
    let whole = whole.or_else(|| reference::is_id(reference).then(|| format!("sha256:{reference}")));
    if let Some(id) = whole {
        return load(store, &id, &index).map_err(|error| if error.is_not_found() { missing() } else { error });
    }
    if reference::is_listed_id(reference)
        && let Ok(Some(id)) = by_prefix(store, reference)
    {
        return load(store, &id, &index);
    }
    if let Ok(name) = reference::given(reference)
        && let Some(id) = index.get(&name)
    {
        return load(store, id, &index);
    }
    let prefix = reference.strip_prefix("sha256:").unwrap_or(reference);
    if prefix.is_empty() || prefix.len() > 64 || !prefix.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(missing());
    }
    by_prefix(store, prefix)?.map_or_else(|| Err(missing()), |id| load(store, &id, &index))
}

fn by_prefix(store: &Store, prefix: &str) -> Result<Option<String>> {
    let mut found = ids(store)?.into_iter().filter(|id| id["sha256:".len()..].starts_with(prefix));
    match (found.next(), found.next()) {
        (Some(_), Some(_)) => Err(Error::new(format!("multiple IDs found with provided prefix: {prefix}"))),
        (one, _) => Ok(one),
    }
}

/// As Docker names what it did not find: with the tag that was meant.
fn shown(text: &str) -> String {
    if text.contains(['@', ':']) || reference::normalise(text).is_err() {
        text.to_owned()
    } else {
        format!("{text}:latest")
    }
}

/// [`find`], and where there is none and a recipe in images/ has that name, makes it, telling so on stderr:
/// `Unable to find image 'nginx:latest' locally`, then what is being done.
pub fn ensure(store: &Store, reference: &str, pull: Pull) -> Result<Image> {
    match find(store, reference) {
        Ok(image) if pull != Pull::Always => Ok(image),
        Err(error) if pull == Pull::Never || !error.is_not_found() => Err(error),
        found => {
            reference::normalise(reference)?;
            if found.is_err() && pull == Pull::Missing {
                progress::tell(&format!("Unable to find image '{}' locally", recipe::familiar(reference)));
            }
            let recipe = recipe::of(reference).ok_or_else(|| recipe::none_makes(reference))?;
            let made = recipe::make(store, recipe, || find(store, reference).ok().filter(|_| pull != Pull::Always))?;
            events::tell(store, &[events::of_pull(reference, &made.config)]);
            Ok(made)
        }
    }
}

/// [`ensure`], with the lease that keeps the image until the caller has published what it makes of it.
pub fn ensure_leased(store: &Store, reference: &str, pull: Pull) -> Result<(Image, Lock)> {
    let lease = lease::shared(store)?;
    if let Ok(image) = find(store, reference)
        && pull != Pull::Always
    {
        return Ok((image, lease));
    }
    // A recipe takes minutes, and nobody who removes another image waits for that.
    drop(lease);
    let made = ensure(store, reference, pull)?;
    let lease = lease::shared(store)?;
    Ok((find(store, &made.id)?, lease))
}

/// Gives an image one more name. `name` is a normalised one.
pub fn tag(store: &Store, reference: &str, name: &str) -> Result<()> {
    let _lease = lease::shared(store)?;
    let image = find(store, reference)?;
    names::set(store, name, &image.id)?;
    events::tell(store, &[events::of_image(&image.id, name, "tag", Some(&image.config))]);
    Ok(())
}

/// All images, the newest first.
pub fn list(store: &Store) -> Result<Vec<Image>> {
    let (all, unread) = list_readable(store)?;
    unread.into_iter().next().map_or(Ok(all), Err)
}

/// [`list`] for those who only show what there is: what cannot be read does not hide the others.
pub fn list_readable(store: &Store) -> Result<(Vec<Image>, Vec<Error>)> {
    let (index, mut unread) = match names::read(store) {
        Err(error) if error.kind == Kind::Newer => return Err(error),
        Err(error) => (names::Index::new(), vec![error.with_cure(UNREAD)]),
        Ok(index) => (index, Vec::new()),
    };
    let mut all = Vec::new();
    for id in ids(store)? {
        match load(store, &id, &index) {
            // Removed while we read.
            Err(error) if error.is_not_found() => {}
            Err(error) => unread.push(error.with_cure(UNREAD)),
            Ok(image) => all.push(image),
        }
    }
    all.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| a.id.cmp(&b.id)));
    Ok((all, unread))
}

const UNREAD: &str = "`ebb system check --repair` moves what cannot be read out of the way";

/// The ids of all images: each is the digest of its configuration, which is a file of that name.
pub fn ids(store: &Store) -> Result<Vec<String>> {
    let entries = match std::fs::read_dir(configs(store)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        result => result.doing(|| format!("read {}", configs(store).display()))?,
    };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    Ok(names.filter(|name| name.len() == 64).map(|name| format!("sha256:{name}")).collect())
}

pub fn configs(store: &Store) -> PathBuf {
    store.images().join("configs/sha256")
}

fn load(store: &Store, id: &str, index: &names::Index) -> Result<Image> {
    let file = configuration(store, id)?;
    let layers = file.rootfs.diff_ids.iter().map(|diff_id| layer::tree(store, diff_id)).collect();
    let size = file.rootfs.diff_ids.iter().map(|diff_id| layer::size(store, diff_id)).sum::<Result<u64>>()?;
    Ok(Image {
        id: id.to_owned(),
        layers,
        names: index.iter().filter(|(_, named)| *named == id).map(|(name, _)| name.clone()).collect(),
        created: file.created.clone().unwrap_or_else(|| "1970-01-01T00:00:00Z".into()),
        size,
        config: file.config.clone().unwrap_or_default(),
        file,
    })
}

/// An image's configuration, as its file says it (OCI image specification, config.md).
pub fn configuration(store: &Store, id: &str) -> Result<ImageFile> {
    let hex = id.strip_prefix("sha256:").unwrap_or(id);
    let path = configs(store).join(hex);
    let bytes = std::fs::read(&path).doing(|| format!("read {}", path.display()))?;
    parse(&bytes)
}

fn parse(bytes: &[u8]) -> Result<ImageFile> {
    serde_json::from_slice(bytes).doing(|| "read the image's configuration")
}

/// Adds an image of one layer, and gives it its name: `tar` is the root file system, plain.
pub fn add_rootfs(store: &Store, tar: impl Read, config: &ImageConfig, name: &str) -> Result<Image> {
    let file = ImageFile { config: Some(config.clone()), ..ImageFile::default() };
    add_layer(store, tar, file, Some(name), "")
}

/// [`add_rootfs`] with a configuration of the caller's, and with no name where there is none.
pub fn add_layer(
    store: &Store,
    tar: impl Read,
    mut file: ImageFile,
    name: Option<&str>,
    comment: &str,
) -> Result<Image> {
    let name = name.map(reference::given).transpose()?;
    let unpacked = layer::unpack(store, tar, None)?;
    let now = crate::engine::time::now();
    file.created.get_or_insert_with(|| now.clone());
    file.architecture = architecture().into();
    file.os = "linux".into();
    file.rootfs = RootFs { kind: "layers".into(), diff_ids: vec![unpacked.diff_id.clone()] };
    file.history = vec![History { created: file.created.clone(), comment: comment.into(), ..History::default() }];
    let bytes = serde_json::to_vec(&file).doing(|| "encode the image's configuration")?;
    let lease = lease::shared(store)?;
    let id = publish(store, vec![unpacked], &bytes, &lease)?;
    if let Some(name) = &name {
        names::set(store, name, &id)?;
    }
    load(store, &id, &names::read(store)?)
}

/// The durable end of every way in: layers, then the configuration that names them. Returns the image's id. Until there is
/// the configuration, nobody needs the layers but the lease's holder.
fn publish(store: &Store, layers: Vec<layer::Unpacked>, config: &[u8], _lease: &Lock) -> Result<String> {
    // What was unpacked reaches the disk before any name says that it is there.
    match layers.iter().find_map(layer::Unpacked::held) {
        Some(first) => first.sync()?,
        None => store.sync()?,
    }
    for layer in layers {
        layer.publish(store)?;
    }
    let hex = digest::of(config);
    let directory = configs(store);
    std::fs::create_dir_all(&directory).doing(|| format!("make {}", directory.display()))?;
    let path = directory.join(&hex);
    if !path.exists() {
        atomic::write(&path, config)?;
    }
    Ok(format!("sha256:{hex}"))
}

/// This machine's, in Go's words.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Says that the image's programs are for another machine, if they are: in Docker's words.
pub fn tell_platform(image: &Image) {
    let (wanted, here) = (image.file.architecture.as_str(), architecture());
    let runs_here =
        wanted.is_empty() || wanted == here || [("amd64", "386"), ("arm64", "arm")].contains(&(here, wanted));
    if !runs_here {
        eprintln!(
            "WARNING: The requested image's platform (linux/{}) does not match the detected host platform (linux/{here}) and \
             no specific platform was requested",
            wanted.escape_debug()
        );
    }
}

/// The image configuration of the OCI image specification. What Ebb does not know in one that it is given stays in its
/// file, whose bytes are never changed.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageFile {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "or_default")]
    pub author: String,
    #[serde(deserialize_with = "or_default")]
    pub architecture: String,
    #[serde(deserialize_with = "or_default")]
    pub os: String,
    pub config: Option<ImageConfig>,
    #[serde(deserialize_with = "or_default")]
    pub rootfs: RootFs,
    #[serde(deserialize_with = "or_default")]
    pub history: Vec<History>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RootFs {
    #[serde(rename = "type", deserialize_with = "or_default")]
    pub kind: String,
    /// The digests of the layers' uncompressed tars, the bottom one first.
    #[serde(deserialize_with = "or_default")]
    pub diff_ids: Vec<String>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "or_default")]
    pub created_by: String,
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "or_default")]
    pub comment: String,
    #[serde(skip_serializing_if = "std::ops::Not::not", deserialize_with = "or_default")]
    pub empty_layer: bool,
}
