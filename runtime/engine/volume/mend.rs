//! A volume whose record is lost: with its data, a new one can be made.

use super::Volume;
use super::disk;
use crate::error::{Doing, Kind, Result};
use crate::store::{atomic, id, lock};
use std::io::ErrorKind;
use std::path::Path;

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mended {
    /// It has a new record, without labels; the old one lies beside it.
    Remade,
    /// Only the record said where its data lies: what is in `_data` is not it.
    Elsewhere,
    /// There is nothing to mend: its record can be read by now, or is of a later Ebb.
    Not,
}

/// Makes the record of the volume `name` anew, in `place`, where what is there is no record, and its data is in `_data`.
/// Where it cannot even be said what is there (an I/O error), nothing is done.
pub fn mend(place: &Path, name: &str) -> Result<Mended> {
    let _lock = lock::exclusive(place)?;
    let record = place.join("volume.json");
    match atomic::read_record::<Volume>(&record) {
        Ok(_) => return Ok(Mended::Not),
        Err(error) if error.kind == Kind::Newer => return Ok(Mended::Not),
        Err(_) => {}
    }
    let is_there = match std::fs::read(&record) {
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        read => read.map(|_| true).doing(|| format!("read {}", record.display()))?,
    };
    if !place.join("_data").is_dir() || place.join(disk::FILE).exists() || is_empty(&place.join("_data")) {
        return Ok(Mended::Elsewhere);
    }
    if is_there {
        let old = place.join(format!("volume.json.damaged.{}", &id::random()?[..8]));
        std::fs::rename(&record, &old).doing(|| format!("move {} aside", record.display()))?;
    }
    atomic::write_json(&record, &Volume::plain(name)).map(|()| Mended::Remade)
}

/// A directory that we may not even read belongs to a container's user, and is no mere place for a mount.
fn is_empty(data: &Path) -> bool {
    std::fs::read_dir(data).is_ok_and(|mut entries| entries.next().is_none())
}
