//! What `inspect` says of an image.

use super::Image;
use crate::store::Store;
use serde_json::{Value, json};

/// Docker's tree, for what exists here.
pub fn inspect(_store: &Store, image: &Image) -> Value {
    let layers: Vec<_> = image.layers.iter().rev().map(|layer| layer.display().to_string()).collect();
    let (upper, lower) = layers.split_first().map_or((String::new(), &[][..]), |(upper, lower)| (upper.clone(), lower));
    json!({
        "Id": image.id,
        "RepoTags": image.names,
        "RepoDigests": [],
        "Parent": "",
        "Comment": "",
        "Created": image.created,
        "Config": image.config,
        "Architecture": architecture(),
        "Os": "linux",
        "Size": image.size,
        "VirtualSize": image.size,
        "GraphDriver": {"Data": {"LowerDir": lower.join(":"), "UpperDir": upper}, "Name": "overlay2"},
    })
}

/// This machine's, as Go and so the OCI specification call it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
