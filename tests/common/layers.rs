//! Images of several layers, without a builder: what is to lie on top of busybox, as a docker-save archive.

use super::{Ebb, busybox_archive};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::io::Read;

/// A file (its contents) or a symlink (where it leads), at a path.
pub type Entry<'a> = (&'a str, Option<&'a str>, &'a str);

/// Loads an image `name`: busybox, and these layers on top of it.
pub fn image(ebb: &Ebb, name: &str, layers: &[&[Entry]]) {
    image_changed(ebb, name, layers, |_| {});
}

/// [`image`], whose configuration `change` has changed.
pub fn image_changed(ebb: &Ebb, name: &str, layers: &[&[Entry]], change: impl FnOnce(&mut Value)) {
    let base = |wanted: &str| -> Vec<u8> {
        let mut archive = tar::Archive::new(std::fs::File::open(busybox_archive()).expect("the archive"));
        let mut entries = archive.entries().expect("a tar").map(|entry| entry.expect("whole"));
        let mut entry =
            entries.find(|entry| entry.path().is_ok_and(|path| path.to_str() == Some(wanted))).expect("there");
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).expect("read");
        bytes
    };
    let manifest: Value = serde_json::from_slice(&base("manifest.json")).expect("JSON");
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let mut config: Value = serde_json::from_slice(&base(&text(&manifest[0]["Config"]))).expect("JSON");
    let below = manifest[0]["Layers"].as_array().expect("layers").iter().map(|layer| base(&text(layer)));
    let all: Vec<Vec<u8>> = below.chain(layers.iter().map(|layer| pack(layer))).collect();
    let digest = |bytes: &Vec<u8>| format!("sha256:{}", ebb::store::id::hex(&Sha256::digest(bytes)));
    config["rootfs"]["diff_ids"] = all.iter().map(digest).collect();
    config["history"] = all.iter().map(|_| json!({"created_by": "a test"})).collect();
    change(&mut config["config"]);
    let names: Vec<String> = (0..all.len()).map(|number| format!("{number}/layer.tar")).collect();
    let manifest = json!([{"Config": "config.json", "RepoTags": [format!("{name}:latest")], "Layers": names}]);
    let mut archive = tar::Builder::new(Vec::new());
    for (name, bytes) in names.iter().zip(&all) {
        add(&mut archive, name, bytes);
    }
    add(&mut archive, "config.json", config.to_string().as_bytes());
    add(&mut archive, "manifest.json", manifest.to_string().as_bytes());
    let answer = ebb.run_with(&archive.into_inner().expect("packed"), ["load", "-q"]);
    assert_eq!(answer.code, 0, "{}", answer.shown());
}

fn pack(entries: &[Entry]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, contents, target) in entries {
        match contents {
            Some(contents) => add(&mut archive, path, contents.as_bytes()),
            None => {
                let mut header = tar::Header::new_gnu();
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_size(0);
                header.set_mode(0o777);
                archive.append_link(&mut header, path, target).expect("packed");
            }
        }
    }
    archive.into_inner().expect("packed")
}

fn add(archive: &mut tar::Builder<Vec<u8>>, name: &str, bytes: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, name, bytes).expect("packed");
}
