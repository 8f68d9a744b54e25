//! A copy of a volume: a snapshot, where the old one goes on; a starting point, where the new one does.

use super::export::{is_still_there, place};
use super::options::{self, Place};
use super::{ANONYMOUS, Volume, check_name, contents, disk, driver, get, mountpoint, now, open};
use crate::engine::{events, idmap, leftovers, mounts};
use crate::error::{Doing, Error, Result};
use crate::explain::{self, calls};
use crate::oci;
use crate::progress::Progress;
use crate::store::atomic::{self, Durability};
use crate::store::{Store, beneath, copy, tree};
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use std::fs::File;
use std::io::IsTerminal;
use std::path::Path;

/// What [`clone`] made.
#[derive(Debug)]
pub struct Cloned {
    pub volume: Volume,
    /// Files whose attributes could not all be taken over: a list that names users who have no id here.
    pub attributes_left_out: u64,
}

/// Makes the volume `target` with all that is in `source`, its labels and its options. Where the file system can, the two
/// share blocks until one of them is changed. It appears whole, in one rename, and is on the disk when this returns.
///
/// Nothing is locked meanwhile: a container can start with `source`, and write to it. What is removed or replaced while it
/// is copied makes this an error, and so does `sound`, which is asked before the copy becomes a volume.
pub fn clone(store: &Store, source: &str, target: &str, sound: &dyn Fn() -> Result<()>) -> Result<Cloned> {
    let doing = || format!("clone {source} to {target}");
    let volume = get(store, source)?;
    check_name(target).doing(doing)?;
    let kind = options::read(&volume.options).doing(doing)?;
    possible(&kind, source, target).doing(doing)?;
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
    let mut clone = Volume { name: target.to_owned(), created_at: now(), ..volume.clone() };
    // A snapshot is made to stay, whoever named what it was made of.
    clone.labels.remove(ANONYMOUS);
    let publish = |left_out: u64| {
        atomic::fill_json(&made.path.join("volume.json"), &clone, Durability::Unsynced)?;
        made.sync()?;
        sound()?;
        atomic::publish_dir(&made.path, &place, Durability::Synced)?;
        events::tell(store, &[events::of_volume(target, "create", &[])]);
        Ok(left_out)
    };
    match fill(store, &volume, &kind, &made.path.join("_data")).and_then(publish) {
        Ok(attributes_left_out) => Ok(Cloned { volume: clone, attributes_left_out }),
        // Another command took the name while we copied. (What is published and not synced has left its place in tmp/.)
        Err(_) if place.exists() && made.path.exists() => {
            let _ = discard(&made.path);
            Err(taken())
        }
        // Why it failed counts, and not that the rest could not be cleared: the next command does that.
        Err(error) => {
            let _ = discard(&made.path);
            Err(error).doing(doing)
        }
    }
}

/// Refuses what could only be the same data under another name, or data that nobody would find.
fn possible(kind: &Place, source: &str, target: &str) -> Result<()> {
    let why = match kind {
        Place::Plain => return Ok(()),
        Place::Disk { .. } => return disk::check(kind),
        Place::Directory { device, .. } => {
            format!("{source} shows {}, and a clone of it would show the same files", device.display())
        }
        Place::FileSystem { kind, .. } if matches!(kind.as_str(), "tmpfs" | "ramfs") => {
            format!("what is in {source} is in memory, and a clone that no container uses would be empty at once")
        }
        Place::FileSystem { device, .. } => {
            format!("{source} is the file system on {device}, and a clone of it would be the same one")
        }
    };
    Err(Error::new(why).with_cure(format!(
        "for an ordinary volume with a copy of what is in it: ebb volume export {source} | ebb volume import {target} -"
    )))
}

/// Copies the data of `volume` to the new directory `target`, or to a new disk beside it. Returns how many files have not
/// got all of their attributes.
fn fill(store: &Store, volume: &Volume, kind: &Place, target: &Path) -> Result<u64> {
    let data = mountpoint(store, &volume.name);
    mounts::finish_copy_up_of(store, &volume.name)?;
    let place = place(store, volume)?;
    let source = open(store, volume)?;
    // What a bar measures against costs a walk, which only somebody who watches is worth.
    let total = if std::io::stderr().is_terminal() { contents(store, volume)?.bytes } else { 0 };
    let label = format!("cloning {}", volume.name);
    calls::mkdir(target, 0o700).doing(|| format!("make {}", target.display()))?;
    let into = match kind {
        Place::Disk { kind: type_, bytes, .. } => {
            disk::make(&target.with_file_name(disk::FILE), type_, *bytes)?;
            driver::mount_apart(target, kind)?
        }
        _ => beneath::root(target)?,
    };
    explain::step(
        "everything in it is copied; blocks are shared where the file system can",
        format_args!("cp -a --reflink=auto {}/. {}", data.display(), target.display()),
    );
    let ids = idmap::store_ids()?;
    let left_out = oci::with_ids(ids.map(), || {
        let mut bar = Progress::new(&label, total);
        let mut done = 0;
        copy::whole(&source, &into, &mut |bytes| {
            done += bytes;
            bar.set(done);
        })
    })?;
    if let Place::Disk { .. } = kind {
        set_mode(target)?;
        let top = beneath::open(&into, Path::new("/"), OFlag::O_RDONLY, Mode::empty()).doing(|| "open the copy")?;
        calls::syncfs(&File::from(top)).doing(|| "sync the copy")?;
    }
    if !is_still_there(store, volume, &place) {
        return Err(Error::conflict(format!("{} was removed or replaced while it was copied", volume.name)));
    }
    Ok(left_out)
}

/// Of the place where a disk is mounted: as `volume create` makes it.
fn set_mode(directory: &Path) -> Result<()> {
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(directory, mode).doing(|| format!("make {}", directory.display()))
}

/// A half-made copy may hold files of every id, which only with the map can be removed.
fn discard(made: &Path) -> Result<()> {
    let ids = idmap::store_ids()?;
    match made.exists() {
        true => oci::with_ids(ids.map(), || tree::remove(made)),
        false => Ok(()),
    }
}
