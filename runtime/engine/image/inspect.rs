//! What `inspect` says of an image.

use super::Image;
use crate::store::Store;
use serde_json::{Value, json};

/// Docker's tree, for what exists here.
pub fn inspect(_store: &Store, image: &Image) -> Value {
    let layers: Vec<_> = image.layers.iter().rev().map(|layer| layer.display().to_string()).collect();
    let (upper, lower) = layers.split_first().map_or((String::new(), &[][..]), |(upper, lower)| (upper.clone(), lower));
    let comment = image.file.history.last().map_or("", |step| step.comment.as_str());
    json!({
        "Id": image.id,
        "RepoTags": image.names,
        "RepoDigests": [],
        "Parent": "",
        "Comment": comment,
        "Created": image.created,
        "Author": image.file.author,
        "Config": image.config,
        "Architecture": image.file.architecture,
        "Os": image.file.os,
        "Size": image.size,
        "VirtualSize": image.size,
        "GraphDriver": {"Data": {"LowerDir": lower.join(":"), "UpperDir": upper}, "Name": "overlay2"},
        "RootFS": {"Type": "layers", "Layers": image.file.rootfs.diff_ids},
        "Metadata": {"LastTagTime": "0001-01-01T00:00:00Z"},
    })
}
