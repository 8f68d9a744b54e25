//! What `rm` washes away and what it leaves, told before it happens (`rm --dry-run`) and when it has (`rm`'s last line).

use super::diff;
use super::record::{Container, MountPoint};
use super::remove::{self, Options};
use super::{state, whereabouts};
use crate::engine::mounts::clean;
use crate::engine::{settings, volume};
use crate::error::Result;
use crate::store::Store;
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
    /// Anonymous volumes that go with it: with `-v`, or because it was started with `--rm` and is killed.
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
    /// Bytes; 0 for what is no regular file, and for all but the first name of one file.
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
    /// Where the host has it; empty for what is in memory.
    pub source: String,
    /// It goes into the trash, from where it can be brought back.
    pub trash: bool,
}

/// What `rm` with `options` would do to the container, when it has removed those with the ids `earlier`. Refused where `rm`
/// would refuse.
pub fn foresee(store: &Store, container: &Container, options: Options, earlier: &[String]) -> Result<Loss> {
    let status = state::current(store, container)?.status;
    let running = matches!(status, state::Status::Running | state::Status::Paused | state::Status::Restarting);
    if running && !options.force {
        return Err(remove::refused(status));
    }
    let mut changes = diff::diff(store, container)?;
    // The empty directory that a volume is mounted on is nothing that anybody wrote.
    changes.retain(|change| !container.mounts.iter().any(|mount| clean(&mount.destination) == Path::new(&change.path)));
    let changes: Vec<Changed> = changes
        .into_iter()
        .map(|change| Changed { kind: change.kind.to_string(), path: change.path, size: change.size })
        .collect();
    let with_volumes = options.volumes || (running && container.host_config.auto_remove);
    let trash_days = settings::read(store).unwrap_or_default().trash_days;
    let (mut volumes, mut stays) = (Vec::new(), Vec::new());
    for mount in container.mounts.iter().filter(|mount| mount.kind != "tmpfs") {
        let goes = mount.kind == "volume"
            && mount.anonymous
            && with_volumes
            && !is_shared(store, container, &mount.name, earlier)?;
        let kind = if mount.kind == "volume" && mount.anonymous { "anonymous volume" } else { &mount.kind };
        let (_, on_host) = whereabouts::on_host(store, mount)?;
        let kept = Kept {
            kind: kind.to_owned(),
            name: mount.name.clone(),
            destination: mount.destination.clone(),
            source: on_host.unwrap_or_default().to_string_lossy().into_owned(),
            trash: goes && !container.host_config.auto_remove && trash_days > 0,
        };
        // What somebody has removed by hand neither goes nor stays.
        if is_there(store, mount) {
            if goes { &mut volumes } else { &mut stays }.push(kept);
        }
    }
    stays.push(Kept { kind: "image".into(), name: container.image_name.clone(), ..Kept::default() });
    let log = log_bytes(&super::dir(store, &container.id));
    let bytes = changes.iter().map(|change| change.size).fold(0, u64::saturating_add);
    let (container, id) = (container.name.clone(), container.id.clone());
    Ok(Loss { container, id, running, changes, bytes, log, volumes, stays })
}

/// Whether what a mount shows is still there to be shown.
fn is_there(store: &Store, mount: &MountPoint) -> bool {
    let place = if mount.kind == "volume" { store.volumes().join(&mount.name) } else { mount.source.clone().into() };
    place.symlink_metadata().map_or_else(|error| error.kind() != std::io::ErrorKind::NotFound, |_| true)
}

/// Whether [`foresee`] said rightly that this would stay: another command may have removed it since.
pub fn stays(store: &Store, kept: &Kept) -> bool {
    kept.kind == "bind" || store.volumes().join(&kept.name).is_dir()
}

/// Whether a container that stays uses the volume too.
fn is_shared(store: &Store, container: &Container, volume: &str, earlier: &[String]) -> Result<bool> {
    let stays = |user: &Container| user.id != container.id && !earlier.contains(&user.id);
    Ok(volume::users(store, volume)?.iter().any(stays))
}

fn log_bytes(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let logs = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("log.jsonl"));
    logs.filter_map(|entry| entry.metadata().ok()).map(|meta| meta.len()).sum()
}
