//! Archives of images, put together by hand.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::io::Read;

pub fn digest(bytes: &[u8]) -> String {
    ebb::store::id::hex(&Sha256::digest(bytes))
}

/// A tar of these members.
pub fn tar(members: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, &bytes[..]).expect("written");
    }
    builder.into_inner().expect("a tar")
}

/// The configuration of an image of these layers; `config` is what it says of its containers.
pub fn config(layers: &[Vec<u8>], config: Value) -> Value {
    let architecture = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
    let diff_ids: Vec<String> = layers.iter().map(|layer| format!("sha256:{}", digest(layer))).collect();
    json!({"architecture": architecture, "os": "linux", "config": config,
        "rootfs": {"type": "layers", "diff_ids": diff_ids}})
}

/// A docker-save archive of one image with these names.
pub fn docker(names: &[&str], config: &Value, layers: &[Vec<u8>]) -> Vec<u8> {
    let blob = |bytes: &[u8]| format!("blobs/sha256/{}", digest(bytes));
    let config = config.to_string().into_bytes();
    let manifest = json!([{"Config": blob(&config), "RepoTags": names,
        "Layers": layers.iter().map(|layer| blob(layer)).collect::<Vec<_>>()}]);
    let mut members: Vec<(String, Vec<u8>)> = layers.iter().map(|layer| (blob(layer), layer.clone())).collect();
    members.push((blob(&config), config));
    members.push(("manifest.json".into(), manifest.to_string().into_bytes()));
    tar(&members)
}

/// A member of a tar.
pub fn member(archive: &[u8], name: &str) -> Option<Vec<u8>> {
    let mut archive = tar::Archive::new(archive);
    let mut entries = archive.entries().expect("a tar").map(|entry| entry.expect("whole"));
    let mut entry = entries.find(|entry| entry.path().is_ok_and(|path| path.to_str() == Some(name)))?;
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes).expect("read");
    Some(bytes)
}
