//! What a Docker user names: images, containers, volumes.

pub mod check;
pub mod container;
pub mod events;
pub mod host;
pub mod id_ranges;
pub mod idmap;
pub mod image;
pub mod leftovers;
pub mod moment;
pub mod mounts;
pub mod one_id;
pub mod owners;
pub mod settings;
pub mod signal;
pub mod time;
pub mod usage;
pub mod volume;
