//! Which ids a container gets: the whole difference between root and rootless.

use super::container::state::boot_id;
use super::id_ranges::{self, Range};
use crate::error::{Error, Result};
use crate::oci::{self, IdMap};
use crate::programs;
use crate::store::Store;
use crate::store::atomic::{self, Durability};
use serde::{Deserialize, Serialize};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::OnceLock;

/// The ids that the files of this store carry on the disk.
///
/// As root they are the container's own ids (0 is 0), and a container's user namespace is bridged by id-mapped mounts.
/// An ordinary user's store carries ids shifted by this map: 0 is the user, 1.. are the user's subordinate ids
/// (/etc/subuid, through newuidmap), or only the one id where the user has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreIds {
    /// Root: the ids on the disk are those inside.
    Host,
    /// The user's own id and subordinate ids.
    Subordinate(IdMap),
    /// The user's own id only: ownership in images cannot be kept.
    Single(IdMap),
}

impl StoreIds {
    /// What `oci::with_ids` takes to work on this store's files.
    pub fn map(&self) -> Option<&IdMap> {
        match self {
            StoreIds::Host => None,
            StoreIds::Subordinate(map) | StoreIds::Single(map) => Some(map),
        }
    }
}

/// Finds out what this user has: reads /etc/subuid and /etc/subgid, and looks for newuidmap and newgidmap.
pub fn store_ids() -> Result<StoreIds> {
    let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    if uid == 0 {
        return Ok(StoreIds::Host);
    }
    let (uids, gids) = (subordinate("/etc/subuid", uid), subordinate("/etc/subgid", uid));
    if uids.is_empty() || gids.is_empty() || why_no_map().is_some() {
        return Ok(StoreIds::Single(IdMap { uids: vec![(0, uid, 1)], gids: vec![(0, gid, 1)] }));
    }
    Ok(StoreIds::Subordinate(IdMap { uids: above(uid, &uids), gids: above(gid, &gids) }))
}

/// Why the ids that /etc/subuid gives to this user are of no use here; `None` where they are, or where it gives none.
pub fn unusable() -> Option<&'static str> {
    let uid = nix::unistd::geteuid().as_raw();
    let has_some = uid != 0 && ["/etc/subuid", "/etc/subgid"].iter().all(|file| !subordinate(file, uid).is_empty());
    why_no_map().filter(|_| has_some)
}

/// Why newuidmap and newgidmap can write no map for us: asked once, for nothing of it changes while this process lives.
fn why_no_map() -> Option<&'static str> {
    static WHY: OnceLock<Option<String>> = OnceLock::new();
    WHY.get_or_init(|| ["newuidmap", "newgidmap"].into_iter().find_map(powerless)).as_deref()
}

/// A program with more rights than who executes it: why it would not have them.
fn powerless(program: &str) -> Option<String> {
    let Some(path) = programs::find(program) else {
        return Some(format!("{program} is not installed (package uidmap)"));
    };
    let shown = path.display();
    if nix::sys::prctl::get_no_new_privs().unwrap_or(false) {
        return Some(format!("no program that you start here gains rights (no_new_privs), and {program} needs some"));
    }
    if nix::sys::statvfs::statvfs(&path).is_ok_and(|on| on.flags().contains(nix::sys::statvfs::FsFlags::ST_NOSUID)) {
        return Some(format!("{shown} lies on a mount with nosuid, and gains no rights"));
    }
    let found = std::fs::metadata(&path).ok()?;
    let is_setuid = found.mode() & 0o4000 != 0 && found.uid() == 0;
    // Of a script it cannot be told what it will execute.
    let is_script = || {
        let mut first = [0; 2];
        std::fs::File::open(&path).and_then(|mut file| file.read_exact(&mut first)).is_ok() && first == *b"#!"
    };
    let has_capabilities = || matches!(xattr::get(&path, "security.capability"), Ok(Some(_)));
    (!is_setuid && !has_capabilities() && !is_script())
        .then(|| format!("{shown} is neither root's with the setuid bit nor has capabilities"))
}

/// The user's own id as 0, and the ranges one after the other from 1.
fn above(own: u32, ranges: &[(u32, u32)]) -> Vec<(u32, u32, u32)> {
    let mut map = vec![(0, own, 1)];
    let mut next = 1u32;
    for (first, count) in ranges {
        map.push((next, *first, *count));
        next = next.saturating_add(*count);
    }
    map
}

/// The ranges that `file` (subuid(5)) gives to a user, who stands there by name or by number.
fn subordinate(file: &str, uid: u32) -> Vec<(u32, u32)> {
    let name = login_name(uid).unwrap_or_default();
    let number = uid.to_string();
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let range = |line: &str| {
        let mut fields = line.split(':');
        let owner = fields.next()?;
        let range = (fields.next()?.trim().parse().ok()?, fields.next()?.trim().parse().ok()?);
        ((owner == name && !name.is_empty()) || owner == number).then_some(range)
    };
    text.lines().filter_map(range).filter(|(_, count)| *count > 0).collect()
}

/// The name of a user in /etc/passwd. (Never through getpwuid(3): that loads name service modules.)
fn login_name(uid: u32) -> Option<String> {
    let text = std::fs::read_to_string("/etc/passwd").ok()?;
    let number = uid.to_string();
    let line = text.lines().find(|line| line.split(':').nth(2) == Some(&number))?;
    line.split(':').next().map(str::to_owned)
}

/// The maps of one container's user namespace.
///
/// Root's containers get 65536 ids each: `range`, or where nothing is to run in them, those that the container would be given
/// now (`id_ranges.rs`). An ordinary user's container has the ids of the store; where that is only one, it is mapped to the
/// user that the container runs as.
///
/// With `keep` it is that user of the container who is the caller on the host.
pub fn container_map(
    ids: &StoreIds,
    container_id: &str,
    range: Option<&Range>,
    (uid, gid): (u32, u32),
    keep: Option<&KeepId>,
) -> Result<IdMap> {
    Ok(match ids {
        StoreIds::Host => match range {
            Some(range) => range.map(),
            None => id_ranges::of_now(container_id)?,
        },
        StoreIds::Subordinate(map) => match keep {
            Some(keep) => IdMap { uids: kept(&map.uids, keep.uid), gids: kept(&map.gids, keep.gid) },
            None => map.clone(),
        },
        StoreIds::Single(map) => {
            let one = |inside: u32, map: &[(u32, u32, u32)]| map.iter().map(|(_, own, _)| (inside, *own, 1)).collect();
            IdMap { uids: one(uid, &map.uids), gids: one(gid, &map.gids) }
        }
    })
}

/// `--userns keep-id[:uid=UID,gid=GID]`: who in the container is the caller on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeepId {
    pub uid: u32,
    pub gid: u32,
}

/// Reads a `--userns`: `None` for those that keep no id (nothing, `host`).
pub fn keep_id(mode: &str) -> Result<Option<KeepId>> {
    if matches!(mode, "" | "host") {
        return Ok(None);
    }
    let invalid = || Error::new(format!("--userns: invalid USER mode: {mode}"));
    let options = match mode.strip_prefix("keep-id").ok_or_else(invalid)? {
        "" => "",
        options => options.strip_prefix(':').ok_or_else(invalid)?,
    };
    let mut kept = KeepId { uid: nix::unistd::geteuid().as_raw(), gid: nix::unistd::getegid().as_raw() };
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let (key, value) = option.split_once('=').unwrap_or((option, ""));
        let slot = match key {
            "uid" => &mut kept.uid,
            "gid" => &mut kept.gid,
            _ => return Err(Error::new(format!("unknown option specified: {option:?}: {}", invalid().message))),
        };
        *slot = value.parse().ok().filter(|id| *id != u32::MAX).ok_or_else(|| {
            Error::new(format!("--userns {mode}: {key}={value} is no id")).with_cure("such as keep-id:uid=33,gid=33")
        })?;
    }
    Ok(Some(kept))
}

/// The store's map with `wanted` in the place of 0 for the user's own id, and the other way round. Everybody else stays
/// who they are, so that what an image gives to its user 33 is still 33's; what it gives to its root is the user's own on
/// the disk, and so is seen as `wanted`'s.
fn kept(map: &[(u32, u32, u32)], wanted: u32) -> Vec<(u32, u32, u32)> {
    let mut map = map.to_vec();
    if !map.iter().any(|(inside, _, length)| within(wanted, *inside, *length)) {
        // No subordinate id is called so. The last of them goes for root's, which a container cannot be without.
        if let Some((inside, outside, length)) = map.pop() {
            // The kernel takes no extent of nothing, which is what is left of a single id.
            map.extend((length > 1).then_some((inside, outside, length - 1)));
            map.push((wanted, outside + (length - 1), 1));
        }
    }
    exchange(&map, 0, wanted)
}

/// `map` with the places of two ids exchanged: what `one` was outside `other` is then, and the other way. Where only one
/// of them is mapped, that is the other's then, and it itself is mapped to nothing.
pub fn exchange(map: &[(u32, u32, u32)], one: u32, other: u32) -> Vec<(u32, u32, u32)> {
    let outside = |id: u32| {
        let extent = map.iter().find(|(inside, _, length)| within(id, *inside, *length));
        extent.map(|(inside, outside, _)| outside + (id - inside))
    };
    let mut exchanged = Vec::new();
    for extent in map {
        exchanged.extend(without(*extent, one).into_iter().flat_map(|extent| without(extent, other)));
    }
    if one == other {
        return map.to_vec();
    }
    exchanged.extend(outside(one).map(|outside| (other, outside, 1)));
    exchanged.extend(outside(other).map(|outside| (one, outside, 1)));
    exchanged.sort_unstable();
    exchanged
}

/// `map` without the extent's place of `id`: who has it inside is nobody outside.
pub fn leave_out(map: &[(u32, u32, u32)], id: u32) -> Vec<(u32, u32, u32)> {
    map.iter().flat_map(|extent| without(*extent, id)).collect()
}

/// What is left of an extent when `id` is cut out.
fn without((inside, outside, length): (u32, u32, u32), id: u32) -> Vec<(u32, u32, u32)> {
    if !within(id, inside, length) {
        return vec![(inside, outside, length)];
    }
    let before = id - inside;
    let both = [(inside, outside, before), (id.wrapping_add(1), outside.wrapping_add(before + 1), length - before - 1)];
    both.into_iter().filter(|(.., length)| *length > 0).collect()
}

fn within(id: u32, first: u32, length: u32) -> bool {
    id >= first && id - first < length
}

/// The id inside of what is `outside` on the host.
pub fn inside(map: &[(u32, u32, u32)], outside: u32) -> Option<u32> {
    map.iter()
        .find(|(_, first, length)| within(outside, *first, *length))
        .map(|(inside, first, _)| inside + (outside - first))
}

/// The same ids of the host under other names, of which none is the overflow id (65534): in a namespace with this map,
/// what belongs to somebody else can be told from what belongs to nobody.
pub fn beyond_overflow(map: &IdMap) -> IdMap {
    const BEYOND: u32 = 1 << 20;
    let shifted = |map: &[(u32, u32, u32)]| {
        map.iter()
            .map(|(inside, outside, length)| (if *inside == 0 { 0 } else { inside + BEYOND }, *outside, *length))
            .collect()
    };
    IdMap { uids: shifted(&map.uids), gids: shifted(&map.gids) }
}

/// The name of a user of the host, for people to read.
pub fn user_name(uid: u32) -> Option<String> {
    login_name(uid)
}

/// The name of a group of the host.
pub fn group_name(gid: u32) -> Option<String> {
    let text = std::fs::read_to_string("/etc/group").ok()?;
    let number = gid.to_string();
    let line = text.lines().find(|line| line.split(':').nth(2) == Some(&number))?;
    line.split(':').next().map(str::to_owned)
}

/// Whether the file system at `path` takes MOUNT_ATTR_IDMAP. Tried on a throw-away copy of the mount, since no list of
/// file systems stays true; and remembered in the store for as long as the machine runs, since that costs a millisecond.
pub fn can_idmap(store: &Store, path: &Path) -> bool {
    let note = store.root().join("idmap.json");
    let Ok(device) = std::fs::metadata(path).map(|meta| meta.dev()) else { return false };
    let boot = boot_id();
    let mut known: Mappable = atomic::read_json(&note).unwrap_or_default();
    if known.boot != boot {
        known = Mappable { boot, devices: Vec::new() };
    }
    if known.devices.contains(&device) {
        return true;
    }
    // Where there can be no user namespace at all (in a chroot, or with none left to make), there is none to map for.
    let can = oci::map_ids_for_a_try(path, false).is_ok();
    if can {
        known.devices.push(device);
        // Two at once may each forget the other's: it is then tried once more.
        let _ = atomic::put_json(&note, &known, Durability::Unsynced);
    }
    can
}

/// The devices whose file systems have shown that they can map ids, since the machine was started.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Mappable {
    boot: String,
    devices: Vec<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As user 1000 with 65536 subordinate ids from 100000.
    const STORE: [(u32, u32, u32); 2] = [(0, 1000, 1), (1, 100_000, 65_536)];

    #[test]
    fn keep_id_changes_places_with_root_and_leaves_the_others_who_they_are() {
        let map = kept(&STORE, 33);
        assert_eq!(map, [(0, 100_032, 1), (1, 100_000, 32), (33, 1000, 1), (34, 100_033, 65_503)]);
        assert_eq!(kept(&STORE, 0), STORE);
        // Beyond what the user has: the last of the subordinate ids is root's then.
        let map = kept(&STORE, 1_000_000);
        assert_eq!(map, [(0, 165_535, 1), (1, 100_000, 65_535), (1_000_000, 1000, 1)]);
        assert_eq!(inside(&map, 1000), Some(1_000_000));
        assert_eq!(kept(&[(0, 1000, 1), (1, 100_000, 1)], 33), [(0, 100_000, 1), (33, 1000, 1)]);
    }

    #[test]
    fn an_exchange_maps_each_id_once() {
        let map = exchange(&[(0, 500_000, 65_536)], 1000, 33);
        assert_eq!(
            map,
            [(0, 500_000, 33), (33, 501_000, 1), (34, 500_034, 966), (1000, 500_033, 1), (1001, 501_001, 64_535)]
        );
        // The owner on the disk has no place in the container: only the user takes his.
        let map = exchange(&[(0, 500_000, 65_536)], 100_000, 33);
        assert_eq!(map, [(0, 500_000, 33), (34, 500_034, 65_502), (100_000, 500_033, 1)]);
        assert_eq!(exchange(&STORE, 7, 7), STORE);
        let everybody = exchange(&[(0, 0, u32::MAX)], 0, u32::MAX - 1);
        assert_eq!(everybody, [(0, u32::MAX - 1, 1), (1, 1, u32::MAX - 2), (u32::MAX - 1, 0, 1)]);
    }

    #[test]
    fn keep_id_is_read_as_podman_reads_it() {
        let read = |mode| keep_id(mode).map(|kept| kept.map(|kept| (kept.uid, kept.gid)));
        assert_eq!(read("keep-id:uid=33,gid=44").unwrap(), Some((33, 44)));
        assert_eq!(read("").unwrap(), None);
        for bad in ["keep-ids", "keep-id:uid=x", "keep-id:name=web", "auto", "keep-id:uid=4294967295"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
