//! The trash of volumes: what `volume rm` takes away is moved aside whole, and can be brought back.
//!
//! ```text
//! volume-trash/NAME@TIME/     as it was in volumes/NAME/; TIME is when it was removed
//! ```
//!
//! The directory's name is all that is known of an entry beside the volume's own record, so that one rename puts it
//! there and one brings it back.

use super::Volume;
use super::remove::mounted_below;
use crate::engine::{events, idmap, settings};
use crate::error::{Doing, Error, Result};
use crate::explain::{self, calls};
use crate::oci;
use crate::store::atomic::Durability;
use crate::store::measure;
use crate::store::{Store, atomic, beneath, tree};
use jiff::{SignedDuration, Timestamp};
use nix::errno::Errno;
use std::path::{Path, PathBuf};

/// A volume in the trash.
#[derive(Debug, Clone)]
pub struct Trashed {
    /// `NAME@TIME`: the name of its directory, and what `restore` takes.
    pub id: String,
    pub name: String,
    pub removed: Timestamp,
    pub place: PathBuf,
}

impl Trashed {
    /// The volume's own record.
    pub fn record(&self) -> Result<Volume> {
        atomic::read_record(&self.place.join("volume.json"))
    }
}

/// A file's name has at most 255 bytes, and a volume's name may have as many. Of a longer one than this the record says
/// the rest.
const LONGEST: usize = 200;

/// Moves a volume aside. The caller holds the lock under which nobody can come to use it.
pub(super) fn put(store: &Store, volume: &Volume) -> Result<Trashed> {
    let name = &volume.name;
    let place = store.volumes().join(name);
    let doing = || format!("move {name} into the trash");
    if name.len() > LONGEST {
        atomic::write_json(&place.join("volume.json"), volume).doing(doing)?;
    }
    let trash = store.volume_trash();
    if !trash.is_dir() {
        // A store of an Ebb that had no trash.
        calls::mkdir(&trash, 0o700).doing(doing)?;
        atomic::sync_dir(store.root())?;
    }
    loop {
        let now = Timestamp::now();
        let id = format!("{}@{}", &name[..name.len().min(LONGEST)], now.strftime("%Y-%m-%dT%H:%M:%S%.6fZ"));
        let aside = trash.join(&id);
        explain::step(
            "it is moved aside whole, from where it can be brought back: one rename",
            format_args!("mv --no-clobber {} {}", place.display(), aside.display()),
        );
        match calls::rename_new(&place, &aside) {
            // Another of this name was removed in this very microsecond.
            Err(Errno::EEXIST) => continue,
            Err(errno @ (Errno::ENOSPC | Errno::EDQUOT)) => {
                return Err(Error::new(format!("{}: {}", doing(), errno.desc().to_lowercase())).with_cure(format!(
                    "`ebb volume rm --now {name}` needs no room: it removes the volume at once, for good"
                )));
            }
            moved => moved.doing(doing)?,
        }
        atomic::sync_dir(&store.volumes())?;
        atomic::sync_dir(&trash)?;
        return Ok(Trashed { id, name: name.clone(), removed: now, place: aside });
    }
}

/// What is in the trash, the oldest first. What is there and no volume (see `system check`) is left alone.
pub fn list(store: &Store) -> Result<Vec<Trashed>> {
    let trash = store.volume_trash();
    let entries = match std::fs::read_dir(&trash) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.doing(|| format!("read {}", trash.display()))?,
    };
    let mut all: Vec<Trashed> = entries.flatten().filter_map(|entry| parse(&entry.path())).collect();
    all.sort_by(|a, b| (a.removed, &a.id).cmp(&(b.removed, &b.id)));
    Ok(all)
}

/// What a directory in the trash is, by its name; `None` for one that `rm` did not put there.
pub fn parse(place: &Path) -> Option<Trashed> {
    let id = place.file_name()?.to_str()?.to_owned();
    let (name, time) = id.rsplit_once('@')?;
    let mut trashed =
        Trashed { name: name.to_owned(), removed: time.parse().ok()?, place: place.to_owned(), id: String::new() };
    if name.len() >= LONGEST {
        trashed.name = trashed.record().map_or(trashed.name, |record| record.name);
    }
    trashed.id = id;
    Some(trashed)
}

/// Brings a volume back, with its contents and labels: the newest of that name, or the one that `NAME@TIME` names (the
/// beginning of the time serves where it is one only). Returns its name.
pub fn restore(store: &Store, wanted: &str) -> Result<String> {
    let (name, time) = wanted.split_once('@').map_or((wanted, None), |(name, time)| (name, Some(time)));
    let mut found: Vec<Trashed> = list(store)?.into_iter().filter(|one| one.name == name).collect();
    if let Some(time) = time {
        found.retain(|one| one.id.rsplit_once('@').is_some_and(|(_, at)| at.starts_with(time)));
        if found.len() > 1 {
            let ids: Vec<&str> = found.iter().map(|one| one.id.as_str()).collect();
            return Err(Error::new(format!("restore {wanted}: {} volumes in the trash begin so", ids.len()))
                .with_cure(format!("name one of them: {}", ids.join(", "))));
        }
    }
    let Some(trashed) = found.pop() else {
        return Err(Error::not_found(format!("restore {wanted}: no such volume in the trash"))
            .with_cure("`ebb volume trash ls` shows what is there"));
    };
    trashed.record().doing(|| format!("restore {wanted}"))?;
    let place = store.volumes().join(&trashed.name);
    explain::step(
        "it is back for everyone at once: one rename, which takes no place that is taken",
        format_args!("mv --no-clobber {} {}", trashed.place.display(), place.display()),
    );
    match calls::rename_new(&trashed.place, &place) {
        Err(Errno::EEXIST) => {
            let name = &trashed.name;
            return Err(Error::conflict(format!("restore {wanted}: there is a volume {name}")).with_cure(format!(
                "`ebb volume rename {name} OTHER` makes room, and so does `ebb volume rm {name}`, which moves that one \
                 into the trash"
            )));
        }
        Err(Errno::ENOENT) => {
            return Err(Error::not_found(format!("restore {wanted}: it has just left the trash")));
        }
        moved => moved.doing(|| format!("restore {wanted}"))?,
    }
    atomic::sync_dir(&store.volumes())?;
    atomic::sync_dir(&store.volume_trash())?;
    events::tell(store, &[events::of_volume(&trashed.name, "create", &[])]);
    Ok(trashed.name)
}

/// What [`empty`] did.
#[derive(Debug)]
pub struct Emptied {
    pub ids: Vec<String>,
    pub bytes: u64,
    /// The first failure; the others went all the same.
    pub result: Result<()>,
}

/// Removes `these` from the trash, for good.
pub fn empty(store: &Store, these: Vec<Trashed>) -> Result<Emptied> {
    let mut emptied = Emptied { ids: Vec::new(), bytes: 0, result: Ok(()) };
    let mut graves = Vec::new();
    for trashed in these {
        match set_aside(store, &trashed) {
            Ok(grave) => {
                graves.push(grave);
                emptied.ids.push(trashed.id);
            }
            // Restored, or removed by another command, just before.
            Err(error) if error.is_not_found() => {}
            Err(error) => emptied.result = emptied.result.and(Err(error)),
        }
    }
    if graves.is_empty() {
        return Ok(emptied);
    }
    let ids = idmap::store_ids()?;
    let (bytes, removed) = oci::with_ids(ids.map(), || {
        let mut removed: Result<()> = Ok(());
        let mut bytes = 0;
        for grave in &graves {
            bytes += bytes_of(grave);
            removed = removed.and(tree::remove(grave));
        }
        Ok((bytes, removed))
    })?;
    emptied.bytes = bytes;
    emptied.result = emptied.result.and(removed);
    Ok(emptied)
}

/// Out of the trash in one rename, so that a restore that comes now finds nothing, and never a half of it.
fn set_aside(store: &Store, trashed: &Trashed) -> Result<PathBuf> {
    if let Some(mount) = mounted_below(&trashed.place)? {
        return Err(Error::conflict(format!("remove {}: {} is mounted inside it", trashed.id, mount.display()))
            .with_cure(format!("umount {} first: what is mounted there is not the volume's", mount.display())));
    }
    tree::set_aside(store, &trashed.place, Durability::Synced)
}

/// Bytes of the files of each.
pub fn sizes(trashed: &[Trashed]) -> Result<Vec<u64>> {
    let ids = idmap::store_ids()?;
    oci::with_ids(ids.map(), || Ok(trashed.iter().map(|one| bytes_of(&one.place)).collect()))
}

/// What lies in a volume that is in the trash, or has just left it.
fn bytes_of(place: &Path) -> u64 {
    beneath::root(&place.join("_data")).and_then(measure::tree).map_or(0, |contents| contents.bytes)
}

/// Removes from the trash what is older than the settings say. There is no daemon to do it: commands look, and that costs
/// them a glance at a directory.
pub fn expire(store: &Store) -> Result<()> {
    let mut all = list(store)?;
    if all.is_empty() {
        return Ok(());
    }
    let days = SignedDuration::from_hours(i64::from(settings::read(store)?.trash_days) * 24);
    let oldest = Timestamp::now().checked_sub(days).unwrap_or(Timestamp::MIN);
    all.truncate(all.partition_point(|one| one.removed < oldest));
    if all.is_empty() { Ok(()) } else { empty(store, all)?.result }
}

/// What helps where the disk has no room. Nothing leaves the trash for that by itself: a container can fill the disk, and what
/// was removed by mistake an hour before is not to be lost by it. `None` where it is not the disk that lacks room.
pub fn cure_for_no_room(store: &Store) -> Result<Option<String>> {
    if !is_low(store)? {
        return Ok(None);
    }
    let all = list(store)?;
    let bytes: u64 = sizes(&all)?.into_iter().fold(0, u64::saturating_add);
    Ok(Some(match all.len() {
        0 => {
            "`ebb system df` shows what takes room in the store, and `ebb system prune` removes what nobody uses".into()
        }
        count => format!(
            "{count} removed volumes in the trash take {:.1} MB: `ebb volume trash empty` removes them for good",
            bytes as f64 / 1e6
        ),
    }))
}

/// Less of the file system is free than a twentieth, and less than this many bytes: a twentieth of a large disk is plenty.
const PLENTY: u64 = 4 << 30;

/// Whether the store's file system is short of bytes, or of inodes where it has a fixed number of them.
pub fn is_low(store: &Store) -> Result<bool> {
    let stat = nix::sys::statvfs::statvfs(store.root()).doing(|| format!("look at {}", store.root().display()))?;
    let (blocks, free) = (stat.blocks(), stat.blocks_available());
    let few_bytes = free < blocks / 20 && free.saturating_mul(stat.fragment_size()) < PLENTY;
    let few_inodes = stat.files() > 0 && stat.files_available() < stat.files() / 20;
    Ok(few_bytes || few_inodes)
}
