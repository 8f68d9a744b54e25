//! A copy of a volume: a snapshot, where the old one goes on; a starting point, where the new one does.

use super::{ANONYMOUS, Volume, check_name, contents, get, is_plain, mountpoint, open};
use crate::engine::{idmap, leftovers};
use crate::error::{Doing, Error, Result};
use crate::explain::{self, calls};
use crate::oci;
use crate::progress::Progress;
use crate::store::atomic::{self, Durability};
use crate::store::{Store, beneath, copy, tree};
use std::io::IsTerminal;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Makes the volume `target` with all that is in `source`, its labels and its options. Where the file system can, the two
/// share blocks until one of them is changed. It appears whole, in one rename, and is on the disk when this returns.
///
/// Nothing is locked meanwhile: a container can start with `source`, and write to it. What is removed or replaced while it
/// is copied makes this an error.
pub fn clone(store: &Store, source: &str, target: &str) -> Result<Volume> {
    let doing = || format!("clone {source} to {target}");
    let volume = get(store, source)?;
    check_name(target).doing(doing)?;
    if !is_plain(&volume) {
        return Err(Error::new(format!("{}: {source} is a place of its own kind, which cannot be had twice", doing()))
            .with_cure(format!(
                "for a copy of what is in it: ebb volume export {source} | ebb volume import {target} -"
            )));
    }
    let place = store.volumes().join(target);
    let taken = || {
        Error::conflict(format!("{}: there is a volume {target}", doing()))
            .with_cure(format!("choose another name, or make room: `ebb volume rename {target} OTHER`"))
    };
    if place.exists() {
        return Err(taken());
    }
    leftovers::clear(store);
    let made = store.make_tmp("volume")?;
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let mut clone = Volume { name: target.to_owned(), created_at: now, ..volume.clone() };
    // A snapshot is made to stay, whoever named what it was made of.
    clone.labels.remove(ANONYMOUS);
    let published = fill(store, &volume, &made.path.join("_data"))
        .and_then(|()| atomic::fill_json(&made.path.join("volume.json"), &clone, Durability::Unsynced))
        .and_then(|()| store.sync())
        .and_then(|()| atomic::publish_dir(&made.path, &place, Durability::Synced));
    match published {
        Ok(()) => Ok(clone),
        // Another command took the name while we copied. (What is published and not synced has left its place in tmp/.)
        Err(_) if place.exists() && made.path.exists() => discard(&made.path).and(Err(taken())),
        Err(error) => discard(&made.path).and(Err(error)).doing(doing),
    }
}

/// Copies the data of `volume` to the new directory `target`.
fn fill(store: &Store, volume: &Volume, target: &Path) -> Result<()> {
    let data = mountpoint(store, &volume.name);
    let source = open(store, volume)?;
    let before = identity(&data);
    // What a bar measures against costs a walk, which only somebody who watches is worth.
    let total = if std::io::stderr().is_terminal() { contents(store, volume)?.bytes } else { 0 };
    let label = format!("cloning {}", volume.name);
    calls::mkdir(target, 0o700).doing(|| format!("make {}", target.display()))?;
    let into = beneath::root(target)?;
    explain::step(
        "everything in it is copied; blocks are shared where the file system can",
        format_args!("cp -a --reflink=auto {}/. {}", data.display(), target.display()),
    );
    let ids = idmap::store_ids()?;
    oci::with_ids(ids.map(), || {
        let mut bar = Progress::new(&label, total);
        let mut done = 0;
        copy::whole(&source, &into, &mut |bytes| {
            done += bytes;
            bar.set(done);
        })
    })?;
    // Whoever removes or replaces it moves it away first, and deletes then: what is still here was here all the time.
    if before.is_none() || identity(&data) != before {
        return Err(Error::conflict(format!("{} was removed or replaced while it was copied", volume.name)));
    }
    Ok(())
}

fn identity(data: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(data).ok().map(|meta| (meta.dev(), meta.ino()))
}

/// A half-made copy may hold files of every id, which only with the map can be removed.
fn discard(made: &Path) -> Result<()> {
    let ids = idmap::store_ids()?;
    match made.exists() {
        true => oci::with_ids(ids.map(), || tree::remove(made)),
        false => Ok(()),
    }
}
