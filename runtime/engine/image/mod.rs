//! Images: content-addressed layers, a config, and names that point at them.

pub mod inspect;
pub mod recipe;

pub use inspect::inspect;

use crate::error::{Error, Result};
use crate::store::Store;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
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
}

/// What an image says about the containers made of it: the `config` of the OCI image configuration, with Docker's
/// health check. Keys are Docker's; lists that are absent are empty.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ImageConfig {
    pub user: String,
    #[serde(deserialize_with = "or_default")]
    pub exposed_ports: BTreeMap<String, Value>,
    #[serde(deserialize_with = "or_default")]
    pub env: Vec<String>,
    pub entrypoint: Option<Vec<String>>,
    pub cmd: Option<Vec<String>>,
    #[serde(deserialize_with = "or_default")]
    pub volumes: BTreeMap<String, Value>,
    pub working_dir: String,
    #[serde(deserialize_with = "or_default")]
    pub labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stop_signal: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
}

/// Docker's health check; times are nanoseconds, 0 means the default.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", "…"]`.
    pub test: Vec<String>,
    pub interval: i64,
    pub timeout: i64,
    pub start_period: i64,
    pub retries: u32,
}

/// Docker's JSON has null where a list or a map is empty.
fn or_default<'de, D: serde::Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> std::result::Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
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
    let _ = store;
    Err(Error::not_found(format!("No such image: {reference}")))
}

/// [`find`], and where there is none and a recipe in images/ has that name, makes it, telling so on stderr:
/// `Unable to find image 'nginx:latest' locally`, then what is being done.
pub fn ensure(store: &Store, reference: &str, pull: Pull) -> Result<Image> {
    match find(store, reference) {
        Ok(image) if pull != Pull::Always => Ok(image),
        Err(error) if pull == Pull::Never || !error.is_not_found() => Err(error),
        found => {
            if found.is_err() && pull == Pull::Missing {
                eprintln!("Unable to find image '{}' locally", recipe::familiar(reference));
            }
            let recipe = recipe::of(reference).ok_or_else(|| recipe::none_makes(reference))?;
            recipe::make(store, recipe, || find(store, reference).ok().filter(|_| pull != Pull::Always))
        }
    }
}

/// All images, the newest first.
pub fn list(store: &Store) -> Result<Vec<Image>> {
    let _ = store;
    Ok(Vec::new())
}

/// Adds an image of one layer, and gives it its name: `tar` is the root file system, plain.
pub fn add_rootfs(store: &Store, tar: impl std::io::Read, config: &ImageConfig, name: &str) -> Result<Image> {
    let _ = (store, tar, config);
    Err(Error::new(format!("cannot add {name} yet")))
}
