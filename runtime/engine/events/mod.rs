//! What happens to containers, volumes and images, told by whoever does it.
//!
//! There is no daemon that could tell. Every process that does a thing appends one line to a file of the store (log.rs), and
//! `ebb events` reads that file, and waits at it for more (reader.rs). No event is worth a failure: where it cannot be
//! written (a full disk), what it tells of has happened all the same.

mod log;
mod reader;

pub use reader::{Follow, Reader};

use super::container::record::{Container, MountPoint};
use super::image::{ImageConfig, reference};
use crate::store::{Store, bounds};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One line of the file. The time comes first: a line that was torn is recognised by that (see [`log::parse`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Nanoseconds since 1970.
    #[serde(rename = "timeNano")]
    pub time: i64,
    /// `container`, `volume` or `image`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// Docker's word: `create`, `die`, `exec_start: sh -c …`.
    #[serde(rename = "Action")]
    pub action: String,
    #[serde(rename = "ID")]
    pub id: String,
    #[serde(rename = "Attributes")]
    pub attributes: BTreeMap<String, String>,
}

/// What more is said of an event than that of what it is.
pub type Extra<'a> = &'a [(&'a str, String)];

/// An event of a container: with its labels, its image and its name.
pub fn of_container(container: &Container, action: impl Into<String>, extra: Extra) -> Event {
    let named = [("image", container.image_name.clone()), ("name", container.name.clone())];
    event("container", &container.id, action.into(), &container.config.image.labels, &named, extra)
}

/// An event of a volume.
pub fn of_volume(name: &str, action: &str, extra: Extra) -> Event {
    event("volume", name, action.to_owned(), &BTreeMap::new(), &[("driver", "local".to_owned())], extra)
}

/// What the container's volumes have to tell of its start (`mount`), or of its end (`unmount`).
pub fn of_volumes_in(container: &Container, action: &str) -> Vec<Event> {
    let told = |mount: &MountPoint| {
        let mut extra = vec![("container", container.id.clone())];
        if action == "mount" {
            extra.push(("destination", mount.destination.clone()));
            extra.push(("read/write", mount.rw.to_string()));
            extra.push(("propagation", mount.propagation.clone()));
        }
        of_volume(&mount.name, action, &extra)
    };
    container.mounts.iter().filter(|mount| mount.kind == "volume").map(told).collect()
}

/// An event of the image `id`, called `name`, with the labels of its configuration where that is known.
pub fn of_image(id: &str, name: &str, action: &str, config: Option<&ImageConfig>) -> Event {
    let labels = config.map(|config| config.labels.clone()).unwrap_or_default();
    event("image", id, action.to_owned(), &labels, &[("name", name.to_owned())], &[])
}

/// That an image came by a name: the event is of the name, as in Docker.
pub fn of_pull(name: &str, config: &ImageConfig) -> Event {
    let full = reference::normalise(name).unwrap_or_else(|_| name.to_owned());
    let repository = full.rsplit_once(':').map_or(full.as_str(), |(repository, _)| repository);
    of_image(&full, repository, "pull", Some(config))
}

/// Tells of what happened, in one write: in this order, and with nothing of another process between.
pub fn tell(store: &Store, events: &[Event]) {
    let lines = events.iter().flat_map(line).collect::<Vec<u8>>();
    if !lines.is_empty() {
        log::append(store, &lines);
    }
}

fn event(
    kind: &str,
    id: &str,
    action: String,
    labels: &BTreeMap<String, String>,
    own: &[(&str, String)],
    extra: Extra,
) -> Event {
    let mut attributes = BTreeMap::new();
    // An image's labels may be longer than all that is told of a container in its life.
    if labels.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>() <= bounds::EVENT_LABELS {
        attributes.clone_from(labels);
    }
    for (key, value) in own.iter().chain(extra) {
        attributes.insert((*key).to_owned(), value.clone());
    }
    let time = jiff::Timestamp::now().as_nanosecond().try_into().unwrap_or(0);
    let action = action.chars().take(bounds::EVENT_LABELS).collect();
    Event { time, kind: kind.to_owned(), action, id: id.to_owned(), attributes }
}

fn line(event: &Event) -> Vec<u8> {
    let mut line = serde_json::to_vec(event).unwrap_or_default();
    line.push(b'\n');
    line
}
