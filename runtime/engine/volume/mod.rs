//! Volumes: directories that no `rm` of a container reaches.

pub mod inspect;

pub use inspect::inspect;

use crate::error::{Error, Result};
use crate::store::Store;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The label that Docker gives a volume nobody named.
pub const ANONYMOUS: &str = "com.docker.volume.anonymous";

/// volumes/NAME/volume.json
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Volume {
    /// The version of this file's format.
    pub version: u32,
    pub name: String,
    pub created_at: String,
    pub driver: String,
    pub labels: BTreeMap<String, String>,
    pub options: BTreeMap<String, String>,
}

impl Volume {
    pub fn is_anonymous(&self) -> bool {
        self.labels.contains_key(ANONYMOUS)
    }
}

/// Where the volume's data lies on the host: `volumes/NAME/_data`.
pub fn mountpoint(store: &Store, name: &str) -> PathBuf {
    store.volumes().join(name).join("_data")
}

/// What `volume create` is asked for.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// `None`: a random name, and the anonymous label.
    pub name: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub options: BTreeMap<String, String>,
}

/// Makes a volume, or finds the one of that name with the same options. Durable when it returns.
pub fn create(store: &Store, request: &Request) -> Result<Volume> {
    let _ = (store, request);
    Err(Error::new("being written"))
}

/// `get NAME: no such volume` (`Kind::NotFound`) where there is none.
pub fn get(store: &Store, name: &str) -> Result<Volume> {
    let _ = store;
    Err(Error::not_found(format!("get {name}: no such volume")))
}

/// Removes a volume that no container uses; refuses otherwise, naming who does.
pub fn remove(store: &Store, name: &str) -> Result<()> {
    let _ = store;
    Err(Error::not_found(format!("get {name}: no such volume")))
}
