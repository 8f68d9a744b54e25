//! Images: names that mean something, configurations that can be read, layers that are there.

use super::{Report, is_read, set_apart};
use crate::engine::container;
use crate::engine::image::{self, layer};
use crate::error::{Kind, Result};
use crate::store::Store;
use std::path::Path;

pub fn check(store: &Store, repair: bool, report: &mut Report) -> Result<()> {
    for id in image::ids(store)? {
        match image::configuration(store, &id) {
            Err(error) if error.is_not_found() => {}
            Err(error) => {
                let place = image::configs(store).join(id.trim_start_matches("sha256:"));
                let finding = report.find_error("image", &id, error);
                if is_read(&place) {
                    finding.mend_by(repair, || set_apart(store, &place));
                }
            }
            Ok(file) => {
                for diff_id in file.rootfs.diff_ids.iter().filter(|diff_id| !layer::exists(store, diff_id)) {
                    let wrong = format!("its layer {diff_id} is not there: load or make the image again");
                    report.find("image", &id, wrong).next = again(store, &id);
                }
            }
        }
    }
    let ids = image::ids(store)?;
    report.images = ids.len();
    match image::names::read(store) {
        Err(error) if error.kind == Kind::Newer => {
            report.find_error("image", "names.json", error);
        }
        Err(error) => {
            let finding = report.find("image", "names.json", error.message);
            finding.mend_by(repair, || name_again(store));
        }
        Ok(index) => {
            for (name, id) in index.iter().filter(|(_, id)| !ids.contains(id)) {
                let finding = report.find("image", name, format!("the name means {id}, which is not there"));
                finding.mend_by(repair, || {
                    let still = |index: &mut image::names::Index| index.retain(|known, to| known != name || to != id);
                    image::names::change(store, still).map(|()| "the name means nothing now".to_owned())
                });
            }
        }
    }
    layers(store, repair, report)
}

fn layers(store: &Store, repair: bool, report: &mut Report) -> Result<()> {
    for diff_id in layer::all(store)? {
        let Err(error) = layer::facts(store, &diff_id) else { continue };
        let tree = layer::tree(store, &diff_id);
        // Removed while we looked.
        let Some(place) = tree.parent().filter(|place| place.is_dir()) else { continue };
        let is_newer = error.kind == Kind::Newer;
        let finding = report.find_error("layer", &diff_id, error);
        if !is_newer {
            finding.mend_by(repair, || set_layer_apart(store, place, &tree));
        }
    }
    Ok(())
}

/// What can make the image again: its recipe, or whoever has its archive.
fn again(store: &Store, id: &str) -> String {
    let index = image::names::read(store).unwrap_or_default();
    let name = index.iter().find(|(_, known)| *known == id).map(|(name, _)| name.as_str());
    match name.map(|name| name.trim_end_matches(":latest")).filter(|name| image::recipe::of(name).is_some()) {
        Some(name) => format!("ebb pull {name}"),
        None => "ebb load -i the archive that it came from".to_owned(),
    }
}

/// Names that containers still know of. The others are in the file that was moved aside.
fn name_again(store: &Store) -> Result<String> {
    let moved = image::names::set_aside(store)?;
    let ids = image::ids(store)?;
    let mut found = 0;
    for container in container::list_readable(store)?.containers {
        if let Ok(name) = image::reference::normalise(&container.image_name)
            && ids.contains(&container.image)
            && !ids.iter().any(|id| id.trim_start_matches("sha256:").starts_with(&container.image_name))
        {
            image::names::set(store, &name, &container.image)?;
            found += 1;
        }
    }
    Ok(format!(
        "{moved}; {found} names were found again in the records of containers, and `ebb tag ID NAME` gives others"
    ))
}

/// Not from under a container: loading or making the image again brings it back.
fn set_layer_apart(store: &Store, place: &Path, tree: &Path) -> Result<String> {
    let listed = container::list_readable(store)?;
    let uses = |container: &&container::record::Container| {
        container::layer_paths(store, container).iter().any(|layer| layer == tree)
    };
    match listed.containers.iter().find(uses) {
        Some(user) => Err(crate::error::Error::conflict(format!("container {} uses it", user.name))
            .with_cure(format!("ebb rm -f {} && {}", user.name, super::REPAIR))),
        None => set_apart(store, place),
    }
}
