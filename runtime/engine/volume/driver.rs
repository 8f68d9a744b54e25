//! The one way into a volume's data, wherever that lies.

use super::{Volume, mountpoint};
use crate::error::Result;
use crate::store::{Store, beneath};
use std::os::fd::OwnedFd;

/// The directory that is the volume's data, as an O_PATH descriptor: whoever looks into a volume or writes to it (copy-up,
/// export, clone, `df`, `where`) comes through here.
///
/// Opened before `oci::with_ids` or `oci::within`: their children inherit it.
pub fn open(store: &Store, volume: &Volume) -> Result<OwnedFd> {
    beneath::root(&mountpoint(store, &volume.name))
}

/// Whether `volumes/NAME/_data` itself holds the data.
pub fn is_plain(volume: &Volume) -> bool {
    volume.options.is_empty()
}
