//! What the store takes on the disk, and what of it nobody uses: `system df`.

use super::container::record::Container;
use super::container::state::{self, State, Status};
use super::container::{self, size};
use super::image::{self, Image, layer};
use super::volume::{self, Volume};
use crate::error::{Error, Result};
use crate::store::Store;
use std::collections::HashSet;

/// All that the store holds, with sizes in bytes.
pub struct Usage {
    pub images: Vec<ImageUse>,
    /// Of all layers, each once, those too that only a container needs any more.
    pub layers: u64,
    /// Of those layers that no container needs.
    pub unused_layers: u64,
    pub containers: Vec<ContainerUse>,
    pub volumes: Vec<VolumeUse>,
    /// Why some of the containers could not be measured.
    pub unmeasured: Vec<Error>,
}

pub struct ImageUse {
    pub image: Image,
    /// Of its layers that other images have too.
    pub shared: u64,
    /// Of those that it alone has.
    pub unique: u64,
    pub containers: usize,
}

pub struct ContainerUse {
    pub container: Container,
    pub state: State,
    /// `None` where it cannot be measured: what a container makes of its files is no reason to say nothing of the others.
    pub bytes: Option<u64>,
}

impl ContainerUse {
    pub fn is_active(&self) -> bool {
        self.state.is_running() || self.state.status == Status::Restarting
    }
}

pub struct VolumeUse {
    pub volume: Volume,
    /// How many containers use it, running or not.
    pub links: usize,
    /// `None` where nobody can tell: its file system cannot be mounted.
    pub bytes: Option<u64>,
}

/// Measures everything. What goes away meanwhile is left out.
pub fn measure(store: &Store) -> Result<Usage> {
    let containers = container::list(store)?;
    let images = images(store, &containers)?;
    let needed: HashSet<String> = containers.iter().flat_map(layers_of).collect();
    let all = layer::all(store)?;
    let volumes = volumes(store, &containers)?;
    let (mut measured, mut unmeasured) = (Vec::new(), Vec::new());
    for container in containers {
        match (state::current(store, &container), size::written(store, &container)) {
            (Ok(state), Ok(bytes)) => measured.push(ContainerUse { container, state, bytes: Some(bytes) }),
            (Err(error), _) | (_, Err(error)) if error.is_not_found() => {}
            (Err(error), _) => return Err(error),
            (Ok(state), Err(error)) => {
                measured.push(ContainerUse { container, state, bytes: None });
                unmeasured.push(error);
            }
        }
    }
    Ok(Usage {
        images,
        layers: bytes_of(store, all.iter())?,
        unused_layers: bytes_of(store, all.iter().filter(|id| !needed.contains(*id)))?,
        containers: measured,
        volumes,
        unmeasured,
    })
}

fn bytes_of<'a>(store: &Store, mut layers: impl Iterator<Item = &'a String>) -> Result<u64> {
    layers.try_fold(0, |sum, id| Ok(sum + layer::size(store, id)?))
}

/// A record names a layer by its directory, `sha256/HEX/fs`.
fn layers_of(container: &Container) -> impl Iterator<Item = String> + '_ {
    let hex = container.layers.iter().filter_map(|layer| layer.split('/').nth(1));
    hex.map(|hex| format!("sha256:{hex}"))
}

fn images(store: &Store, containers: &[Container]) -> Result<Vec<ImageUse>> {
    let all = image::list(store)?;
    let is_shared = |own: &Image, layer: &String| {
        all.iter().any(|other| other.id != own.id && other.file.rootfs.diff_ids.contains(layer))
    };
    let of = |image: &Image| {
        let own: HashSet<&String> = image.file.rootfs.diff_ids.iter().collect();
        let (shared, unique): (Vec<&String>, Vec<&String>) = own.into_iter().partition(|id| is_shared(image, id));
        let (shared, unique) = (bytes_of(store, shared.into_iter())?, bytes_of(store, unique.into_iter())?);
        let users = containers.iter().filter(|container| container.image == image.id).count();
        Ok(ImageUse { image: image.clone(), shared, unique, containers: users })
    };
    all.iter().map(of).collect()
}

fn volumes(store: &Store, containers: &[Container]) -> Result<Vec<VolumeUse>> {
    let uses = |container: &&Container, name: &str| {
        container.mounts.iter().any(|mount| mount.kind == "volume" && mount.name == name)
    };
    let of = |volume: Volume| VolumeUse {
        links: containers.iter().filter(|container| uses(container, &volume.name)).count(),
        bytes: volume::contents(store, &volume).ok().map(|contents| contents.bytes),
        volume,
    };
    Ok(volume::list(store)?.into_iter().map(of).collect())
}
