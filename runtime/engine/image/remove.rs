//! The end of an image: names go first, then the image that has none, then the layers that nobody needs.

use super::{Image, configs, ids, layer, lease, names, reference};
use crate::engine::container::{self, living, record::Container};
use crate::engine::events;
use crate::error::{Doing, Error, Result};
use crate::store::{Store, atomic, id};
use std::collections::HashSet;

/// One line of what was done, in Docker's words.
pub type Line = String;

/// Removes a name, or by an id the image with all its names. What a container uses is refused, or with `force` loses
/// its names; its layers stay as long as the container does.
pub fn remove(store: &Store, text: &str, force: bool) -> Result<Vec<Line>> {
    let _alone = lease::alone(store)?;
    let image = super::find(store, text)?;
    living::refuse(store, || format!("remove {text}"))?;
    let by_name = reference::given(text).ok().filter(|name| image.names.contains(name));
    let users: Vec<Container> =
        container::list(store)?.into_iter().filter(|container| container.image == image.id).collect();
    if let Some(name) = &by_name
        && image.names.len() > 1
    {
        return untag(store, &image, std::slice::from_ref(name));
    }
    if let Some(user) = users.first()
        && !force
    {
        let (user, own) = (id::short(&user.id), id::short(&image.id));
        return Err(Error::conflict(match &by_name {
            Some(_) => format!(
                "conflict: unable to remove repository reference \"{text}\" (must force) - container {user} is using its \
                 referenced image {own}"
            ),
            None => format!(
                "conflict: unable to delete {own} (must be forced) - image is being used by stopped container {user}"
            ),
        }));
    }
    if by_name.is_none() && image.names.len() > 1 && !force {
        return Err(Error::conflict(format!(
            "conflict: unable to delete {} (must be forced) - image is referenced in multiple repositories",
            id::short(&image.id)
        )));
    }
    let mut lines = untag(store, &image, &image.names)?;
    if users.is_empty() {
        lines.extend(delete(store, &image)?);
    }
    Ok(lines)
}

fn untag(store: &Store, image: &Image, gone: &[String]) -> Result<Vec<Line>> {
    names::change(store, |index| index.retain(|name, _| !gone.contains(name)))?;
    let told = gone.iter().map(|_| events::of_image(&image.id, &image.id, "untag", Some(&image.config)));
    events::tell(store, &told.collect::<Vec<_>>());
    Ok(gone.iter().map(|name| format!("Untagged: {name}")).collect())
}

/// Removes an image without names: its configuration, which is what makes it one, and then what only it needed.
fn delete(store: &Store, image: &Image) -> Result<Vec<Line>> {
    let path = configs(store).join(image.id.trim_start_matches("sha256:"));
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).doing(|| format!("remove {}", path.display()));
        }
        _ => atomic::sync_dir(&configs(store))?,
    }
    events::tell(store, &[events::of_image(&image.id, &image.id, "delete", Some(&image.config))]);
    let mut lines = vec![format!("Deleted: {}", image.id)];
    lines.extend(sweep(store, &image.file.rootfs.diff_ids)?);
    Ok(lines)
}

/// Removes those of `candidates` that no image and no container needs. The caller holds the lease alone.
fn sweep(store: &Store, candidates: &[String]) -> Result<Vec<Line>> {
    let mut needed: HashSet<String> = HashSet::new();
    for id in ids(store)? {
        needed.extend(super::configuration(store, &id)?.rootfs.diff_ids);
    }
    for container in container::list(store)? {
        // A record names a layer by its directory, `sha256/HEX/fs`.
        needed.extend(
            container.layers.iter().filter_map(|layer| layer.split('/').nth(1)).map(|hex| format!("sha256:{hex}")),
        );
    }
    let mut lines = Vec::new();
    for diff_id in candidates.iter().rev().filter(|diff_id| !needed.contains(*diff_id)) {
        if layer::exists(store, diff_id) {
            layer::remove(store, diff_id)?;
            lines.push(format!("Deleted: {diff_id}"));
        }
    }
    Ok(lines)
}

/// What [`prune`] did.
#[derive(Debug)]
pub struct Pruned {
    pub lines: Vec<Line>,
    pub bytes: u64,
    pub result: Result<()>,
}

/// Removes the images that no container uses and that `wanted` picks.
pub fn prune(store: &Store, wanted: impl Fn(&Image) -> bool) -> Result<Pruned> {
    let _alone = lease::alone(store)?;
    living::refuse(store, || "remove unused images".to_owned())?;
    let used: HashSet<String> = container::list(store)?.into_iter().map(|container| container.image).collect();
    let mut pruned = Pruned { lines: Vec::new(), bytes: 0, result: Ok(()) };
    for image in super::list(store)?.into_iter().filter(|image| wanted(image) && !used.contains(&image.id)) {
        match untag(store, &image, &image.names).and_then(|mut lines| {
            lines.extend(delete(store, &image)?);
            Ok(lines)
        }) {
            Ok(lines) => {
                pruned.lines.extend(lines);
                pruned.bytes += image.size;
            }
            Err(error) => pruned.result = pruned.result.and(Err(error)),
        }
    }
    // Layers that a container kept after its image went, and whose container is gone now.
    match layer::all(store).and_then(|all| sweep(store, &all)) {
        Ok(lines) => pruned.lines.extend(lines),
        Err(error) => pruned.result = pruned.result.and(Err(error)),
    }
    Ok(pruned)
}
