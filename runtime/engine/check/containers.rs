//! Containers: their records, what those name, and what runs.

use super::{NEWER, REPAIR, Report, set_apart};
use crate::engine::container::record::Container;
use crate::engine::container::{self, exec, living, state};
use crate::engine::{id_ranges, volume};
use crate::error::{Doing, Error, Kind, Result};
use crate::explain::calls;
use crate::oci;
use crate::store::{self, Store, atomic, lock};
use std::path::Path;

pub fn check(store: &Store, repair: bool, report: &mut Report) {
    for id in container::ids(store).unwrap_or_default() {
        report.containers += 1;
        let place = container::dir(store, &id);
        let found = match container::load(store, &id) {
            // Removed while we looked.
            Err(_) if !place.exists() => continue,
            Err(error) => {
                unreadable(store, repair, &id, error, report);
                continue;
            }
            Ok(found) => found,
        };
        if found.id != id {
            let finding = report.find("container", &id, format!("its record says {}", found.id));
            finding.mend_by(repair, || set_container_apart(store, &place));
            continue;
        }
        lost_state(store, repair, &found, report);
        lost_directories(store, repair, &found, report);
        what_it_needs(store, &found, report);
        if let Some(line) = ids_given_away(store, &found) {
            let wrong = format!("its ids on the host are a user's by now ({line}): restart it, and it gets others");
            report.find("container", &found.name, wrong).next = format!("ebb restart {}", found.name);
        }
        let link = store.names().join(&found.name);
        let holder = std::fs::read_link(&link).ok();
        if holder.as_deref() != Some(Path::new(&id)) {
            let finding = report.find("container", &found.name, "its name does not lead to it");
            match holder {
                None => finding.mend_by(repair, || {
                    let given = std::os::unix::fs::symlink(&id, &link).doing(|| "give the name back");
                    given.map(|()| "the name leads to it again".to_owned())
                }),
                Some(_) => finding.next = format!("ebb rename {} OTHER", store::id::short(&id)),
            }
        }
    }
}

fn unreadable(store: &Store, repair: bool, id: &str, error: Error, report: &mut Report) {
    let is_newer = error.kind == Kind::Newer;
    let finding = report.find("container", id, format!("its record cannot be read: {}", error.message));
    if is_newer {
        finding.next = NEWER.to_owned();
        return;
    }
    if container::is_emptied(store, id) {
        finding.wrong = "a power cut has emptied its record, as it may with --rm".into();
        finding.harmless = living::of(store, id).is_none();
    }
    finding.mend_by(repair, || set_container_apart(store, &container::dir(store, id)));
}

/// Its image's layers, and its volumes: what is gone comes back by somebody's hand only.
fn what_it_needs(store: &Store, found: &Container, report: &mut Report) {
    for layer in container::layer_paths(store, found).iter().filter(|layer| !layer.is_dir()) {
        let finding = report.find("container", &found.name, format!("its layer {} is not there", layer.display()));
        finding.next = format!("load or pull {} again", found.image_name);
    }
    let trashed = volume::trash::list(store).unwrap_or_default();
    for mount in found.mounts.iter().filter(|mount| mount.kind == "volume") {
        if volume::get(store, &mount.name).is_err_and(|error| error.is_not_found()) {
            let finding = report.find("container", &found.name, format!("its volume {} is not there", mount.name));
            let is_trashed = trashed.iter().any(|trashed| trashed.name == mount.name);
            finding.next = format!("ebb volume {} {}", if is_trashed { "restore" } else { "create" }, mount.name);
        }
    }
}

/// The directories that every container has, and the bundle that one which runs is entered by.
fn lost_directories(store: &Store, repair: bool, found: &Container, report: &mut Report) {
    let place = container::dir(store, &found.id);
    let runs = state::current(store, found).is_ok_and(|state| state.is_running());
    for name in ["upper", "work", "rootfs"].into_iter().filter(|name| !place.join(name).is_dir()) {
        let gone = if name == "upper" { ": what it had written is gone" } else { "" };
        let finding = report.find("container", &found.name, format!("it has no {name}{gone}"));
        match runs {
            true => finding.next = format!("ebb stop {} && {REPAIR}", found.name),
            false => finding.mend_by(repair, || make_directory(&place, name)),
        }
    }
    if runs && !place.join("config.json").exists() {
        let finding = report.find("container", &found.name, "its config.json is gone, and nobody can enter it");
        finding.next = format!("ebb restart {}", found.name);
    }
}

fn make_directory(place: &Path, name: &str) -> Result<String> {
    let _lock = lock::exclusive(place)?;
    let directory = place.join(name);
    // A container's own users must be able to pass it.
    calls::mkdir(&directory, 0o755).doing(|| format!("make {}", directory.display()))?;
    Ok("it was made again, empty".to_owned())
}

/// What its `state.json` does not tell any more, the kernel does; but only for as long as it runs.
fn lost_state(store: &Store, repair: bool, found: &Container, report: &mut Report) {
    let why = match state::read(store, &found.id) {
        state::Read::Whole(_) => return,
        state::Read::Unread(error) if error.is_not_found() => return,
        state::Read::Unread(error) => {
            report.find_error("container", &found.name, error);
            return;
        }
        state::Read::Lost(why) => why,
    };
    let pid = living::of(store, &found.id).map(|living| living.pid());
    let runs = pid.map_or_else(String::new, |pid| format!(", and it runs, as process {pid}"));
    let finding = report.find("container", &found.name, format!("{why}{runs}"));
    finding.harmless = pid.is_none();
    finding.mend_by(repair, || {
        let written = state::change(store, &found.id, |_| {})?;
        Ok(format!("what the kernel knows was written down: {}", written.status.word()))
    });
}

/// What runs without any record: nothing can be said of it, and nobody can stop it by a name. It is ended.
pub fn check_without_directory(store: &Store, repair: bool, report: &mut Report) {
    for living in living::without_directory(store) {
        let (short, pid) = (store::id::short(&living.id).to_owned(), living.pid());
        let finding = report.find("container", &short, format!("its directory is gone, and it runs, as process {pid}"));
        finding.mend_by(repair, || match living::end(&living) {
            true => Ok("it was ended".to_owned()),
            false => Err(Error::new(format!("process {pid} does not end although it was killed"))),
        });
    }
}

/// The line that has given the host's ids of a running container of root's to a user since it was started.
fn ids_given_away(store: &Store, found: &Container) -> Option<String> {
    let is_root = nix::unistd::geteuid().is_root();
    let spec = (is_root && state::current(store, found).ok()?.is_running()).then(|| exec::bundle_spec(store, found));
    let map = oci::ids::of(&spec?.ok()?)?;
    map.uids.iter().find_map(|(_, first, count)| id_ranges::given_since(*first, *count))
}

/// A container that runs would be out of everybody's sight, and its volumes would pass for idle. It cannot be started
/// while its lock is held.
fn set_container_apart(store: &Store, place: &Path) -> Result<String> {
    let _lock = lock::exclusive(place)?;
    let state: Result<state::State> = atomic::read_record(&place.join("state.json"));
    let written = match state {
        Ok(state) => [state.supervisor, state.init].into_iter().find(state::ProcessId::is_alive).map(|alive| alive.pid),
        Err(error) if error.kind == Kind::Newer => return Err(error),
        Err(_) => None,
    };
    let id = place.file_name().unwrap_or_default().to_string_lossy();
    match written.or_else(|| living::of(store, &id).map(|living| living.pid())) {
        // The supervisor, which would start it again otherwise; and it does not hear SIGTERM.
        Some(pid) => Err(Error::conflict(format!("it runs, as process {pid}: end that first (`kill -KILL {pid}`)"))
            .with_cure(format!("kill -KILL {pid} && {REPAIR}"))),
        None if lock::try_shared(&place.join("rootfs")).is_err_and(|error| !error.is_not_found()) => {
            Err(Error::conflict("it is just being started: look again").with_cure(REPAIR))
        }
        None => set_apart(store, place),
    }
}
