//! `image save`: an archive that is a docker-save archive and an OCI layout at once, as Docker's own since version 25.
//! Every layer comes out as the tar that came in, with its digest, which is checked as it is written.

use super::digest::{self, Digesting};
use super::split::Splice;
use super::{Image, layer, reference};
use crate::engine::idmap;
use crate::error::{Doing, Error, Result};
use crate::oci;
use crate::store::Store;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufWriter, Read, Write};

/// Writes `images`, each with the names it was asked for by, to `out`.
pub fn save(store: &Store, images: &[(Image, Vec<String>)], out: &File) -> Result<()> {
    let ids = idmap::store_ids()?;
    // A layer's files may belong to any of the store's ids, and be closed to the user.
    oci::with_ids(ids.map(), || write(store, images, out))
}

fn write(store: &Store, images: &[(Image, Vec<String>)], out: &File) -> Result<()> {
    let mut tar = tar::Builder::new(BufWriter::with_capacity(1 << 18, out));
    let mut written = BTreeSet::new();
    let (mut docker, mut index) = (Vec::new(), Vec::new());
    add(&mut tar, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    for (image, names) in images {
        let hex = image.id.trim_start_matches("sha256:");
        let config = std::fs::read(super::configs(store).join(hex)).doing(|| format!("read the image {hex}"))?;
        let mut descriptors = Vec::new();
        for diff_id in &image.file.rootfs.diff_ids {
            let size = layer::facts(store, diff_id)?.tar_size;
            descriptors.push(descriptor("application/vnd.oci.image.layer.v1.tar", diff_id, size));
            if written.insert(diff_id.clone()) {
                add_layer(store, &mut tar, diff_id, size).doing(|| format!("save the layer {diff_id}"))?;
            }
        }
        add_blob(&mut tar, &mut written, &config)?;
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("application/vnd.oci.image.config.v1+json", &image.id, config.len() as u64),
            "layers": descriptors,
        });
        let manifest = serde_json::to_vec(&manifest).doing(|| "encode the manifest")?;
        add_blob(&mut tar, &mut written, &manifest)?;
        let digest = format!("sha256:{}", digest::of(&manifest));
        let plain = descriptor("application/vnd.oci.image.manifest.v1+json", &digest, manifest.len() as u64);
        if names.is_empty() {
            index.push(plain.clone());
        }
        for name in names {
            let mut named = plain.clone();
            named["annotations"] = json!({
                "io.containerd.image.name": full(name),
                "org.opencontainers.image.ref.name": reference::split(name).1.unwrap_or("latest"),
            });
            index.push(named);
        }
        let blob = |digest: &str| format!("blobs/sha256/{}", digest.trim_start_matches("sha256:"));
        docker.push(json!({
            "Config": blob(&image.id),
            "RepoTags": if names.is_empty() { Value::Null } else { json!(names) },
            "Layers": image.file.rootfs.diff_ids.iter().map(|diff_id| blob(diff_id)).collect::<Vec<_>>(),
        }));
    }
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": index,
    });
    add(&mut tar, "index.json", &serde_json::to_vec(&index).doing(|| "encode index.json")?)?;
    add(&mut tar, "manifest.json", &serde_json::to_vec(&docker).doing(|| "encode manifest.json")?)?;
    let mut out = tar.into_inner().doing(|| "write the archive")?;
    out.flush().doing(|| "write the archive")
}

fn descriptor(kind: &str, digest: &str, size: u64) -> Value {
    json!({"mediaType": kind, "digest": digest, "size": size})
}

/// With the registry that Docker means when it names none.
fn full(name: &str) -> String {
    match name.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => name.to_owned(),
        Some(_) => format!("docker.io/{name}"),
        None => format!("docker.io/library/{name}"),
    }
}

type Tar<'a> = tar::Builder<BufWriter<&'a File>>;

fn header(size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

fn add(tar: &mut Tar, name: &str, bytes: &[u8]) -> Result<()> {
    tar.append_data(&mut header(bytes.len() as u64), name, bytes).doing(|| format!("write {name}"))
}

fn add_blob(tar: &mut Tar, written: &mut BTreeSet<String>, bytes: &[u8]) -> Result<()> {
    let hex = digest::of(bytes);
    if !written.insert(format!("sha256:{hex}")) {
        return Ok(());
    }
    add(tar, &format!("blobs/sha256/{hex}"), bytes)
}

fn add_layer(store: &Store, tar: &mut Tar, diff_id: &str, size: u64) -> Result<()> {
    let splice = Splice::open(&layer::place(store, diff_id), layer::facts(store, diff_id)?.replaced > 0)?;
    let mut digesting = Digesting::new(splice);
    let name = format!("blobs/sha256/{}", diff_id.trim_start_matches("sha256:"));
    tar.append_data(&mut header(size), name, digesting.by_ref().take(size)).doing(|| "write it")?;
    if format!("sha256:{}", digesting.finish()) != diff_id {
        return Err(Error::new("the layer in the store has been changed: its digest is another one now")
            .with_cure("`ebb rmi` its images, and load them again"));
    }
    Ok(())
}
