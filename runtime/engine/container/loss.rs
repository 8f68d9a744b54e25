//! What `rm` washes away and what it leaves, told before it happens (`rm --dry-run`) and when it has (`rm`'s last line).

use super::diff::{self, Change};
use super::record::Container;
use super::remove::{self, Options};
use super::state;
use crate::engine::mounts::clean;
use crate::engine::{idmap, volume};
use crate::error::{Doing, Result};
use crate::oci;
use crate::store::{Store, beneath};
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{SFlag, fstat};
use serde::Serialize;
use std::path::Path;

/// What the removal of one container means.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Loss {
    pub container: String,
    #[serde(rename = "ID")]
    pub id: String,
    /// It runs, and would be killed first.
    pub running: bool,
    pub changes: Vec<Changed>,
    /// Bytes of those changes, together.
    pub bytes: u64,
    /// Bytes of its log.
    pub log: u64,
    /// Anonymous volumes that go with `-v`.
    pub volumes: Vec<Kept>,
    pub stays: Vec<Kept>,
}

/// One path that is not as the image has it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Changed {
    /// `A` added, `C` changed, `D` deleted (by the container: the image still has it).
    #[serde(rename = "Type")]
    pub kind: String,
    pub path: String,
    /// Bytes; 0 for what is no regular file.
    pub size: u64,
}

/// What a mount shows, and where that lies; or the image.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Kept {
    /// `volume`, `anonymous volume`, `bind` or `image`.
    #[serde(rename = "Type")]
    pub kind: String,
    pub name: String,
    /// Where the container has it.
    pub destination: String,
    /// Where the host has it.
    pub source: String,
}

/// What `rm` with `options` would do to the container. Refused where `rm` would refuse.
pub fn foresee(store: &Store, container: &Container, options: Options) -> Result<Loss> {
    let status = state::current(store, container)?.status;
    let running = matches!(status, state::Status::Running | state::Status::Paused | state::Status::Restarting);
    if running && !options.force {
        return Err(remove::refused(status));
    }
    let mut changes = diff::diff(store, container)?;
    // The empty directory that a volume is mounted on is nothing that anybody wrote.
    changes.retain(|change| !container.mounts.iter().any(|mount| clean(&mount.destination) == Path::new(&change.path)));
    let changes = sized(store, container, changes)?;
    let (mut volumes, mut stays) = (Vec::new(), Vec::new());
    for mount in container.mounts.iter().filter(|mount| mount.kind != "tmpfs") {
        let goes = mount.kind == "volume" && mount.anonymous && options.volumes && !is_shared(store, &mount.name)?;
        let kind = if mount.kind == "volume" && mount.anonymous { "anonymous volume" } else { &mount.kind };
        let kept = Kept {
            kind: kind.to_owned(),
            name: mount.name.clone(),
            destination: mount.destination.clone(),
            source: mount.source.clone(),
        };
        if goes { &mut volumes } else { &mut stays }.push(kept);
    }
    stays.push(Kept { kind: "image".into(), name: container.image_name.clone(), ..Kept::default() });
    let log = log_bytes(&super::dir(store, &container.id));
    let bytes = changes.iter().map(|change| change.size).sum();
    let (container, id) = (container.name.clone(), container.id.clone());
    Ok(Loss { container, id, running, changes, bytes, log, volumes, stays })
}

fn is_shared(store: &Store, volume: &str) -> Result<bool> {
    Ok(volume::users(store, volume)?.len() > 1)
}

fn sized(store: &Store, container: &Container, changes: Vec<Change>) -> Result<Vec<Changed>> {
    let upper = super::dir(store, &container.id).join("upper");
    let paths: Vec<&str> = changes.iter().map(|change| change.path.as_str()).collect();
    let ids = idmap::store_ids()?;
    let sizes: Vec<u64> = oci::with_ids(ids.map(), || {
        let upper = beneath::root(&upper)?;
        Ok(paths.iter().map(|path| size(&upper, Path::new(path))).collect())
    })
    .doing(|| "measure the container's layer")?;
    let sized = |(change, size): (Change, u64)| Changed { kind: change.kind.to_string(), path: change.path, size };
    Ok(changes.into_iter().zip(sizes).map(sized).collect())
}

/// What is gone meanwhile has no size, nor has what is no regular file.
fn size(upper: &std::os::fd::OwnedFd, path: &Path) -> u64 {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let how = OpenHow::new().flags(flags).resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
    let relative = path.strip_prefix("/").unwrap_or(path);
    let found = openat2(upper, relative, how).and_then(fstat);
    found.map_or(0, |stat| match SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT {
        SFlag::S_IFREG => stat.st_size as u64,
        _ => 0,
    })
}

fn log_bytes(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let logs = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("log.jsonl"));
    logs.filter_map(|entry| entry.metadata().ok()).map(|meta| meta.len()).sum()
}
