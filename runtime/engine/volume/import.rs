//! A volume from a tar: the whole new content, or after a failure, a kill or a power cut the whole old one. It is unpacked
//! beside the volume, forced to the disk, and comes in its place in one rename.

use super::beside::Beside;
use super::remove::mounted_below;
use super::{Volume, check_name, get, is_plain, mountpoint, users};
use crate::engine::container::record::Container;
use crate::engine::container::{
    living,
    state::{self, Status},
};
use crate::engine::image::compression;
use crate::engine::image::digest::Digesting;
use crate::engine::{container, events, idmap, leftovers, mounts};
use crate::error::{Doing, Error, Result};
use crate::explain::{self, calls};
use crate::oci;
use crate::store::atomic::{self, Durability};
use crate::store::unpack::{self, Into, Unpacked};
use crate::store::{Store, beneath, copy, lock};
use nix::dir::Dir;
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, fchmod, futimens};
use nix::sys::time::TimeSpec;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What came in.
#[derive(Debug, Serialize, Deserialize)]
pub struct Imported {
    /// `sha256:…` of the archive, as it was read.
    pub digest: String,
    pub unpacked: Unpacked,
}

/// Puts what is in the archive `input` (plain, or compressed with gzip, xz, bzip2 or zstd) in the place of all that the volume holds;
/// makes the volume where there is none. Refused while a container that uses it runs, which would go on with the old
/// content. `progress` is told how many bytes of the archive have been read.
pub fn import(store: &Store, name: &str, input: &File, progress: &mut dyn FnMut(u64)) -> Result<Imported> {
    check_name(name).doing(|| format!("import {name}"))?;
    let old = match get(store, name) {
        Err(error) if error.is_not_found() => None,
        found => Some(found?),
    };
    if let Some(volume) = &old {
        may_be_replaced(store, volume)?;
    }
    leftovers::clear(store);
    let ids = idmap::store_ids()?;
    let made = store.make_tmp("import")?;
    let data = made.path.join("_data");
    explain::step("the new content is unpacked aside", format_args!("mkdir {0}; tar -x -C {0}", data.display()));
    let imported = calls::mkdir(&data, 0o700).doing(|| format!("make {}", data.display())).and_then(|()| {
        let new = beneath::root(&data)?;
        let top = old.as_ref().map(|volume| beneath::root(&mountpoint(store, &volume.name))).transpose()?;
        let before = input.metadata().doing(|| "look at the archive")?;
        let beside = Beside::of_read(input)?;
        let imported = oci::with_ids(ids.map(), || fill(&new, top.as_ref(), input, beside.is_none(), progress));
        let digest = beside.map(Beside::finish).transpose();
        let mut imported = imported?;
        if let Some(digest) = digest? {
            imported.digest = digest;
        }
        imported.digest.insert_str(0, "sha256:");
        let after = input.metadata().doing(|| "look at the archive")?;
        if before.is_file()
            && (before.len(), before.mtime(), before.mtime_nsec()) != (after.len(), after.mtime(), after.mtime_nsec())
        {
            return Err(Error::new("the archive was written to while it was read"));
        }
        made.sync()?;
        match &old {
            Some(volume) => exchange(store, volume, &made.path, ids.map())?,
            None => publish(store, name, &made.path)?,
        }
        Ok(imported)
    });
    // The old content, or the new one where it did not come to stay.
    if made.path.exists() {
        leftovers::remove_behind(made);
    }
    imported.doing(|| format!("import {name}"))
}

fn may_be_replaced(store: &Store, volume: &Volume) -> Result<()> {
    let name = &volume.name;
    if !is_plain(volume) {
        return Err(Error::new(format!(
            "import {name}: its data lies where its driver options say, and cannot be exchanged in one step"
        ))
        .with_cure(format!(
            "unpack it from a container: ebb run --rm -i -v {name}:/data busybox tar -x -C /data < FILE"
        )));
    }
    if let Some(mount) = mounted_below(&store.volumes().join(name))? {
        return Err(Error::conflict(format!("import {name}: {} is mounted inside it", mount.display()))
            .with_cure(format!("umount {} first", mount.display())));
    }
    living::refuse(store, || format!("import {name}"))?;
    refuse_running(store, name, &users(store, name)?)
}

fn refuse_running(store: &Store, name: &str, users: &[Container]) -> Result<()> {
    let mut running = Vec::new();
    for user in users {
        match state::current(store, user) {
            Err(error) if error.is_not_found() => {}
            found => {
                let status = found?.status;
                if matches!(status, Status::Running | Status::Paused | Status::Restarting) {
                    running.push((user.name.as_str(), status.word()));
                }
            }
        }
    }
    if running.is_empty() {
        return Ok(());
    }
    let who: Vec<String> = running.iter().map(|(name, status)| format!("{name} ({status})")).collect();
    let names: Vec<&str> = running.iter().map(|(name, _)| *name).collect();
    let names = names.join(" ");
    Err(Error::conflict(format!("import {name}: volume is in use by {}", who.join(", "))).with_cure(format!(
        "it would go on with the old content; `ebb stop {names}` first, `ebb start {names}` afterwards"
    )))
}

/// Unpacks the archive into the new directory, and gives that what the old one has where the archive does not name it.
fn fill(
    new: &OwnedFd,
    old: Option<&OwnedFd>,
    input: &File,
    digests: bool,
    progress: &mut dyn FnMut(u64),
) -> Result<Imported> {
    let digest = digests.then(|| Digesting::new(io::sink()));
    let mut told = Told { inner: input, read: 0, digest, progress };
    let mut unpacked = {
        let input = compression::reader(&mut told)?;
        unpack::unpack(input, new, true, Into::New, |path, _| Ok(path.to_owned()))?
    };
    io::copy(&mut told, &mut io::sink()).doing(|| "read the end of the archive")?;
    if let Some(old) = old.filter(|_| unpacked.members == 0) {
        refuse_nothing_for(old)?;
    }
    if !unpacked.has_top {
        unpacked.attributes_left_out += u64::from(!as_before(new, old)?);
    }
    Ok(Imported { digest: told.digest.map(Digesting::finish).unwrap_or_default(), unpacked })
}

/// Makes the new directory what the old one is, or what that of a new volume is; but for the time, which is now. Returns
/// whether it has all of its attributes.
fn as_before(new: &OwnedFd, old: Option<&OwnedFd>) -> Result<bool> {
    let top = beneath::open(new, Path::new(""), OFlag::O_RDONLY, Mode::empty()).doing(|| "open the new directory")?;
    let Some(old) = old else {
        return fchmod(top, Mode::from_bits_truncate(0o755)).doing(|| "set its mode").map(|()| true);
    };
    let whole = copy::all_attributes(old, new)?;
    futimens(top, &TimeSpec::UTIME_NOW, &TimeSpec::UTIME_NOW).doing(|| "set its time").map(|()| whole)
}

/// Nothing but zeros is a whole archive of nothing, as podman makes it of an empty volume; and what a disk gives back that
/// has lost one.
fn refuse_nothing_for(old: &OwnedFd) -> Result<()> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
    let mut names = Dir::openat(old, ".", flags, Mode::empty()).doing(|| "look at the old content")?;
    let names = names.iter().flatten().filter(|entry| !matches!(entry.file_name().to_bytes(), b"." | b".."));
    match names.count() {
        0 => Ok(()),
        _ => Err(Error::new("the archive has nothing in it, and the volume has")
            .with_cure("`ebb volume rm` and `ebb volume create` make it empty, and the trash keeps what was in it")),
    }
}

/// Tells how much has been read, and digests it where nobody does that beside us.
struct Told<'a> {
    inner: &'a File,
    read: u64,
    digest: Option<Digesting<io::Sink>>,
    progress: &'a mut dyn FnMut(u64),
}

impl Read for Told<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.read += length as u64;
        if let Some(digest) = &mut self.digest {
            digest.write_all(&buffer[..length])?;
        }
        (self.progress)(self.read);
        Ok(length)
    }
}

/// The new `_data` for the old one, in one rename. No container is created with the volume meanwhile, and none of its
/// users started: each start takes the container's lock before it looks for its volumes.
fn exchange(store: &Store, volume: &Volume, made: &Path, ids: Option<&oci::IdMap>) -> Result<()> {
    let name = &volume.name;
    let place = store.volumes().join(name);
    let _volumes = lock::exclusive(&store.volumes())?;
    let _volume = lock::exclusive(&place)?;
    let gone = |error: Error| match error.is_not_found() {
        true => Error::not_found(format!("{name} was removed or renamed meanwhile")),
        false => error,
    };
    may_be_replaced(store, &get(store, name).map_err(gone)?)?;
    let users = users(store, name)?;
    let mut held = Vec::new();
    for user in &users {
        match lock::exclusive(&container::dir(store, &user.id)) {
            Err(error) if error.is_not_found() => {}
            lock => held.push(lock?),
        }
    }
    refuse_running(store, name, &users)?;
    // A copy-up that was broken off is not to be finished over the new content.
    mounts::finish_before_exchange(store, name)?;
    let (new, old) = (made.join("_data"), place.join("_data"));
    explain::step(
        "it is whole and on the disk now: old and new content change places in one rename",
        format_args!("mv --exchange {} {}", new.display(), old.display()),
    );
    // Within the map: a directory that changes its parent must be writable to who moves it, whosever it is.
    oci::with_ids(ids, || match calls::rename_exchange(&new, &old) {
        Err(nix::errno::Errno::EINVAL) => {
            Err(Error::new("the store's file system cannot exchange two directories in one step (RENAME_EXCHANGE)"))
        }
        exchanged => exchanged.doing(|| format!("exchange {} and {}", new.display(), old.display())),
    })?;
    atomic::sync_dir(&place)?;
    atomic::sync_dir(made)
}

fn publish(store: &Store, name: &str, made: &Path) -> Result<()> {
    atomic::fill_json(&made.join("volume.json"), &Volume::plain(name), Durability::Synced)?;
    let place = store.volumes().join(name);
    let published = atomic::publish_dir(made, &place, Durability::Synced);
    // (What is published and not synced has left its place in tmp/.)
    if published.is_err() && place.exists() && made.exists() {
        return Err(Error::conflict(format!("another command has made a volume {name} meanwhile"))
            .with_cure("once more, and its content is replaced; `ebb volume rename` gives it another name"));
    }
    published?;
    events::tell(store, &[events::of_volume(name, "create", &[])]);
    Ok(())
}
