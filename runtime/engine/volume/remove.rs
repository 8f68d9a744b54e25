//! The end of a volume: only when no container uses it, and nothing of anybody else's goes with it. It is moved into the
//! trash, or removed for good where that is asked for.

use super::trash::{self, Trashed};
use super::{Volume, contents, get, list};
use crate::engine::container::record::Container;
use crate::engine::container::{self, living, state};
use crate::engine::{events, idmap, settings};
use crate::error::{Doing, Error, Result};
use crate::oci;
use crate::store::atomic::Durability;
use crate::store::{Store, lock, tree};
use std::path::{Path, PathBuf};

/// The containers, running or not, that use a volume: derived from their own records, by the whole name.
pub fn users(store: &Store, name: &str) -> Result<Vec<Container>> {
    let uses =
        |container: &Container| container.mounts.iter().any(|mount| mount.kind == "volume" && mount.name == name);
    Ok(container::list(store)?.into_iter().filter(uses).collect())
}

/// Where a removed volume goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// Aside, for as many days as the store's settings say.
    Trash,
    /// Nowhere: its bytes are given back before the command returns.
    Now,
}

/// Removes a volume that no container uses; refuses otherwise, naming who does. Returns what is in the trash now.
pub fn remove(store: &Store, name: &str, removal: Removal) -> Result<Option<Trashed>> {
    living::refuse(store, || format!("remove {name}"))?;
    remove_with_container(store, name, removal)
}

/// [`remove`] of a volume that goes with its container: by the records alone, without a look at every process.
pub fn remove_with_container(store: &Store, name: &str, removal: Removal) -> Result<Option<Trashed>> {
    let kept = removal == Removal::Trash && settings::read(store)?.trash_days > 0;
    // No container can come to use it while this is held: `create` holds the other half of it.
    let lock = lock::exclusive(&store.volumes())?;
    let volume = get(store, name)?;
    let users = users(store, name)?;
    if !users.is_empty() {
        return Err(in_use(store, "remove", name, &users));
    }
    let place = store.volumes().join(&volume.name);
    if let Some(mount) = mounted_below(&place)? {
        return Err(Error::conflict(format!("remove {name}: {} is mounted inside it", mount.display()))
            .with_cure(format!("umount {} first: what is mounted there is not the volume's", mount.display())));
    }
    let destroyed = || events::tell(store, &[events::of_volume(name, "destroy", &[])]);
    if kept {
        return trash::put(store, &volume).inspect(|_| destroyed()).map(Some);
    }
    let grave = tree::set_aside(store, &place, Durability::Synced)?;
    destroyed();
    drop(lock);
    let ids = idmap::store_ids()?;
    oci::with_ids(ids.map(), || tree::remove(&grave)).map(|()| None)
}

/// Why `doing` it is refused, and who is in the way.
pub(super) fn in_use(store: &Store, doing: &str, name: &str, users: &[Container]) -> Error {
    let ids: Vec<&str> = users.iter().map(|user| user.id.as_str()).collect();
    let who: Vec<String> = users
        .iter()
        .map(|user| {
            let status = state::current(store, user).map_or("unknown", |state| state.status.word());
            format!("{} ({status})", user.name)
        })
        .collect();
    let names: Vec<&str> = users.iter().map(|user| user.name.as_str()).collect();
    Error::conflict(format!("{doing} {name}: volume is in use - [{}]", ids.join(", "))).with_cure(format!(
        "used by {}; `ebb rm -f {}` removes what uses it, and leaves the volume",
        who.join(", "),
        names.join(" ")
    ))
}

/// A mount point in the volume's directory, seen from here: what it shows would be deleted with it (moby #35323).
pub(super) fn mounted_below(place: &Path) -> Result<Option<PathBuf>> {
    let text = crate::procfs::read("/proc/self/mountinfo").doing(|| "read /proc/self/mountinfo")?;
    let place = std::fs::canonicalize(place).doing(|| format!("resolve {}", place.display()))?;
    let point = |line: &str| line.split(' ').nth(4).map(unescape);
    Ok(text.lines().filter_map(point).find(|point| point.starts_with(&place)))
}

/// proc(5): a space, a tab, a newline and a backslash are written as three octal digits.
fn unescape(field: &str) -> PathBuf {
    let mut bytes = Vec::new();
    let mut rest = field.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let octal = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()).filter(|_| *first == b'\\') {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    PathBuf::from(<std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(bytes))
}

/// What [`prune`] did.
#[derive(Debug)]
pub struct Pruned {
    pub names: Vec<String>,
    /// What was given back.
    pub bytes: u64,
    /// What is in the trash now.
    pub trashed: Vec<Trashed>,
    pub result: Result<()>,
}

/// Moves the unused volumes that `wanted` picks into the trash. Goes on past those that it cannot remove.
pub fn prune(store: &Store, wanted: impl Fn(&Volume) -> bool) -> Result<Pruned> {
    prune_by(store, Removal::Trash, wanted)
}

/// [`prune`], to where `removal` says.
pub fn prune_by(store: &Store, removal: Removal, wanted: impl Fn(&Volume) -> bool) -> Result<Pruned> {
    let mut pruned = Pruned { names: Vec::new(), bytes: 0, trashed: Vec::new(), result: Ok(()) };
    living::refuse(store, || "remove unused volumes".to_owned())?;
    let used: Vec<String> = container::list(store)?
        .into_iter()
        .flat_map(|container| container.mounts)
        .filter(|mount| mount.kind == "volume")
        .map(|mount| mount.name)
        .collect();
    for volume in list(store)?.into_iter().filter(|volume| wanted(volume) && !used.contains(&volume.name)) {
        // What goes into the trash gives nothing back, and need not be measured.
        let size =
            if removal == Removal::Now { contents(store, &volume).map_or(0, |contents| contents.bytes) } else { 0 };
        match remove_with_container(store, &volume.name, removal) {
            Ok(trashed) => {
                pruned.names.push(volume.name);
                pruned.bytes += if trashed.is_none() { size } else { 0 };
                pruned.trashed.extend(trashed);
            }
            // Came into use, or went, meanwhile. (What is refused though nobody uses it is said.)
            Err(error) if error.is_not_found() => {}
            Err(error)
                if error.kind == crate::error::Kind::Conflict
                    && users(store, &volume.name).is_ok_and(|users| !users.is_empty()) => {}
            Err(error) => pruned.result = pruned.result.and(Err(error)),
        }
    }
    Ok(pruned)
}
