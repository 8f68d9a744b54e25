//! `system check`: is the store sound? Every record is read and held against what it names. `--repair` mends without
//! losing a byte that may be somebody's: what cannot be read is moved aside, never removed, and what runs stays.

use super::container::record::Container;
use super::container::{self, exec, living, state};
use super::image::{self, layer};
use super::volume::{self, Mended};
use super::{id_ranges, leftovers, settings};
use crate::error::{Doing, Error, Kind, Result};
use crate::oci;
use crate::store::atomic::{self, Durability};
use crate::store::{self, Store, lock};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// One thing that is not as it should be.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Finding {
    /// `store`, `container`, `name`, `volume`, `trash`, `settings`, `image`, `layer` or `leftover`.
    pub kind: &'static str,
    pub what: String,
    pub wrong: String,
    /// What `--repair` did; empty where nothing was asked for, or nothing can be done.
    pub repaired: String,
    /// It does no harm, and the next command that needs its place clears it.
    pub harmless: bool,
}

/// How much was looked at, and what was found.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Report {
    pub containers: usize,
    pub volumes: usize,
    pub images: usize,
    pub findings: Vec<Finding>,
}

impl Report {
    /// Sound, or mended.
    pub fn is_sound(&self) -> bool {
        self.findings.iter().all(|finding| finding.harmless || !finding.repaired.is_empty())
    }
}

pub fn check(store: &Store, repair: bool) -> Result<Report> {
    let mut report = Report::default();
    place(store, &mut report);
    images(store, &mut report)?;
    image_names(store, repair, &mut report)?;
    volumes(store, repair, &mut report)?;
    volume_trash(store, repair, &mut report)?;
    containers(store, repair, &mut report)?;
    without_directory(store, repair, &mut report);
    names(store, repair, &mut report)?;
    remains(store, repair, &mut report)?;
    Ok(report)
}

impl Report {
    fn find(&mut self, kind: &'static str, what: &str, wrong: impl Into<String>) -> &mut Finding {
        let finding =
            Finding { kind, what: what.to_owned(), wrong: wrong.into(), repaired: String::new(), harmless: false };
        self.findings.push(finding);
        let last = self.findings.len() - 1;
        &mut self.findings[last]
    }
}

impl Finding {
    /// What was done about it, or why that failed: the rest is looked at all the same.
    fn mend(&mut self, mended: Result<String>) {
        match mended {
            Ok(what) => self.repaired = what,
            Err(error) => self.wrong = format!("{}; it could not be mended: {}", self.wrong, error.message),
        }
    }
}

/// Whether the store itself can be exchanged. (One that others can write to was not even opened.)
fn place(store: &Store, report: &mut Report) {
    if let Some(found) = store::exchangeable(store.root()) {
        let wrong = format!("{}: another directory can be put in its place ({})", found.who, found.cure);
        report.find("store", &store.root().display().to_string(), wrong);
    }
}

fn images(store: &Store, report: &mut Report) -> Result<()> {
    let index = image::names::read(store);
    let ids = image::ids(store)?;
    report.images = ids.len();
    match index {
        Err(error) => drop(report.find("image", "names.json", error.message)),
        Ok(index) => {
            for (name, id) in index.iter().filter(|(_, id)| !ids.contains(id)) {
                report.find("image", name, format!("the name means {id}, which is not there"));
            }
        }
    }
    for id in &ids {
        match image::configuration(store, id) {
            Err(error) => drop(report.find("image", id, error.message)),
            Ok(file) => {
                for diff_id in file.rootfs.diff_ids.iter().filter(|diff_id| !layer::exists(store, diff_id)) {
                    report.find("image", id, format!("its layer {diff_id} is not there: load or make the image again"));
                }
            }
        }
    }
    for diff_id in layer::all(store)? {
        if let Err(error) = layer::facts(store, &diff_id) {
            report.find("layer", &diff_id, error.message);
        }
    }
    Ok(())
}

fn volumes(store: &Store, repair: bool, report: &mut Report) -> Result<()> {
    for name in volume::names(store)? {
        report.volumes += 1;
        let place = store.volumes().join(&name);
        match volume::get(store, &name) {
            // Removed while we looked.
            Err(_) if !place.exists() => continue,
            Err(error) => {
                let wrong = format!("its record cannot be read: {}", error.message);
                let finding = report.find("volume", &name, wrong);
                if repair {
                    finding.mend(mend_volume(store, &place, &name));
                }
            }
            Ok(_) if !place.join("_data").is_dir() => {
                report.find("volume", &name, "it has no _data");
            }
            Ok(found) => {
                let record = place.join("volume.json");
                let recorded = atomic::read_json(&record).map(|volume: volume::Volume| volume.name);
                if let Ok(recorded) = recorded
                    && recorded != name
                {
                    // An interrupted `volume rename`: its directory's name is what counts.
                    let finding = report.find("volume", &name, format!("its record says {recorded}"));
                    finding.harmless = true;
                    if repair {
                        finding.mend(atomic::write_json(&record, &found).map(|()| "it says so now".to_owned()));
                    }
                }
            }
        }
    }
    Ok(())
}

/// The data is what counts: with it the record can be made again, but for its labels.
fn mend_volume(store: &Store, place: &Path, name: &str) -> Result<String> {
    match volume::mend(place, name)? {
        Mended::Remade => Ok("the record was made again".into()),
        Mended::Elsewhere => set_apart(store, place),
        Mended::Not => Ok(String::new()),
    }
}

/// What is in the volumes' trash must be able to come back.
fn volume_trash(store: &Store, repair: bool, report: &mut Report) -> Result<()> {
    if let Err(error) = settings::read(store) {
        report.find("settings", "settings.json", error.message);
    }
    for entry in std::fs::read_dir(store.volume_trash()).into_iter().flatten().flatten() {
        let (name, place) = (entry.file_name().to_string_lossy().into_owned(), entry.path());
        let Some(trashed) = volume::trash::parse(&place) else {
            report.find("trash", &name, "no `volume rm` put it there, and nothing will remove it").harmless = true;
            continue;
        };
        let record = trashed.record();
        // Restored or removed while we looked.
        if !place.exists() {
            continue;
        }
        if !place.join("_data").is_dir() {
            report.find("trash", &name, "it has no _data");
        } else if let Err(error) = record {
            let finding = report.find("trash", &name, format!("its record cannot be read: {}", error.message));
            if repair {
                finding.mend(mend_volume(store, &place, &trashed.name));
            }
        }
    }
    Ok(())
}

fn containers(store: &Store, repair: bool, report: &mut Report) -> Result<()> {
    for id in container::ids(store)? {
        report.containers += 1;
        let place = container::dir(store, &id);
        let found = match container::load(store, &id) {
            // Removed while we looked.
            Err(_) if !place.exists() => continue,
            Err(error) => {
                let finding = report.find("container", &id, format!("its record cannot be read: {}", error.message));
                if container::is_emptied(store, &id) {
                    finding.wrong = "a power cut has emptied its record, as it may with --rm".into();
                    finding.harmless = true;
                }
                if repair && error.kind != Kind::Newer {
                    finding.mend(set_container_apart(store, &place));
                }
                continue;
            }
            Ok(found) => found,
        };
        if found.id != id {
            report.find("container", &id, format!("its record says {}", found.id));
        }
        lost_state(store, repair, &found, report);
        for directory in ["upper", "work", "rootfs"].iter().filter(|name| !place.join(name).is_dir()) {
            report.find("container", &found.name, format!("it has no {directory}"));
        }
        for layer in container::layer_paths(store, &found).iter().filter(|layer| !layer.is_dir()) {
            report.find("container", &found.name, format!("its layer {} is not there", layer.display()));
        }
        for mount in found.mounts.iter().filter(|mount| mount.kind == "volume") {
            if volume::get(store, &mount.name).is_err() {
                report.find("container", &found.name, format!("its volume {} is not there", mount.name));
            }
        }
        if let Some(line) = ids_given_away(store, &found) {
            let wrong = format!("its ids on the host are a user's by now ({line}): restart it, and it gets others");
            report.find("container", &found.name, wrong);
        }
        let holder = std::fs::read_link(store.names().join(&found.name)).ok();
        if holder.as_deref() != Some(Path::new(&id)) {
            let finding = report.find("container", &found.name, "its name does not lead to it");
            if repair && holder.is_none() {
                let given = std::os::unix::fs::symlink(&id, store.names().join(&found.name));
                finding.mend(given.map(|()| "the name leads to it again".into()).doing(|| "give the name back"));
            }
        }
    }
    Ok(())
}

/// What its `state.json` does not tell any more, the kernel does; but only for as long as it runs.
fn lost_state(store: &Store, repair: bool, found: &Container, report: &mut Report) {
    let why = match state::read(store, &found.id) {
        state::Read::Whole(_) => return,
        state::Read::Unread(error) if error.is_not_found() => return,
        state::Read::Unread(error) => {
            report.find("container", &found.name, error.message);
            return;
        }
        state::Read::Lost(why) => why,
    };
    let pid = living::of(store, &found.id).map(|living| living.pid());
    let runs = pid.map_or_else(String::new, |pid| format!(", and it runs, as process {pid}"));
    let finding = report.find("container", &found.name, format!("{why}{runs}"));
    finding.harmless = pid.is_none();
    if repair {
        let written = state::change(store, &found.id, |_| {});
        finding.mend(written.map(|state| format!("what the kernel knows was written down: {}", state.status.word())));
    }
}

/// What runs without any record: nothing can be said of it, and nobody can stop it by a name. It is ended.
fn without_directory(store: &Store, repair: bool, report: &mut Report) {
    for living in living::without_directory(store) {
        let (short, pid) = (store::id::short(&living.id).to_owned(), living.pid());
        let finding = report.find("container", &short, format!("its directory is gone, and it runs, as process {pid}"));
        if repair {
            finding.mend(match living::end(&living) {
                true => Ok("it was ended".to_owned()),
                false => Err(Error::new(format!("process {pid} does not end although it was killed"))),
            });
        }
    }
}

/// A name that is spelled like an image's id would have that id mean another image.
fn image_names(store: &Store, repair: bool, report: &mut Report) -> Result<()> {
    // One that cannot be read is told of by `images`.
    let Ok(index) = image::names::read(store) else { return Ok(()) };
    for name in image::names::like_ids(&index) {
        let means = index.get(&name).map_or("", String::as_str);
        let wrong =
            format!("the name of {means} is spelled like an id, and leads nowhere: `ebb system check --repair`");
        let finding = report.find("image", &name, wrong);
        if repair {
            let taken = image::names::change(store, |index| drop(index.remove(&name)));
            finding.mend(taken.map(|()| "the name is gone, and the image is there under its id".into()));
        }
    }
    Ok(())
}

/// A link that leads to no container of that name counts for nothing, and goes when the name is taken.
fn names(store: &Store, repair: bool, report: &mut Report) -> Result<()> {
    let entries = std::fs::read_dir(store.names()).doing(|| format!("read {}", store.names().display()))?;
    for name in entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
        let link = store.names().join(&name);
        let id = std::fs::read_link(&link).unwrap_or_default().to_string_lossy().into_owned();
        match container::load(store, &id) {
            Ok(container) if container.name == name => continue,
            // Whatever its record was, what could not be set apart is there, and may live.
            Err(error) if !error.is_not_found() => continue,
            _ => {}
        }
        let finding = report.find("name", &name, "it leads to no container");
        finding.harmless = true;
        if repair {
            finding.mend(free(store, &link, &id));
        }
    }
    Ok(())
}

/// Nobody takes the name meanwhile: a claim is made under this lock.
fn free(store: &Store, link: &Path, id: &str) -> Result<String> {
    let _lock = lock::exclusive(&store.names())?;
    let still = std::fs::read_link(link).is_ok_and(|now| now.to_string_lossy() == id);
    if !still || container::load(store, id).is_ok() {
        return Ok(String::new());
    }
    std::fs::remove_file(link).doing(|| format!("remove {}", link.display()))?;
    Ok("it is free".into())
}

/// What killed commands left, unless somebody still works on it; and cgroups of containers that are no more.
fn remains(store: &Store, repair: bool, report: &mut Report) -> Result<()> {
    if repair {
        leftovers::clear(store);
    }
    for directory in [store.tmp(), store.trash()] {
        let entries = std::fs::read_dir(&directory).doing(|| format!("read {}", directory.display()))?;
        for entry in entries.flatten() {
            let wrong = if !store::is_made(&entry.file_name().to_string_lossy()) {
                "somebody else put it there, and it stays"
            } else if lock::try_exclusive(&entry.path()).is_ok() {
                "a killed command left it"
            } else {
                continue;
            };
            report.find("leftover", &entry.path().to_string_lossy(), wrong).harmless = true;
        }
    }
    for id in container::ids(store)? {
        let Ok(found) = container::load(store, &id) else { continue };
        let Ok(state) = state::current(store, &found) else { continue };
        let ended = !state.is_running() && state.status != state::Status::Restarting && !state.supervisor.is_alive();
        if ended && !state.cgroup.is_empty() && oci::cgroup::exists(&state.cgroup) {
            let finding = report.find("leftover", &found.name, "its cgroup is still there, and it does not run");
            finding.harmless = true;
            if repair && oci::cgroup::remove(&state.cgroup).is_ok() {
                finding.repaired = "the cgroup is gone".into();
            }
        }
    }
    Ok(())
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
        Some(pid) => Err(Error::conflict(format!("it runs, as process {pid}: end that first (`kill -KILL {pid}`)"))),
        None if lock::try_shared(&place.join("rootfs")).is_err_and(|error| !error.is_not_found()) => {
            Err(Error::conflict("it is just being started: look again"))
        }
        None => set_apart(store, place),
    }
}

/// Moves what cannot be read out of the way, whole, where a person can look at it.
fn set_apart(store: &Store, place: &Path) -> Result<String> {
    let aside: PathBuf = store.root().join("set-apart");
    std::fs::create_dir_all(&aside).doing(|| format!("make {}", aside.display()))?;
    let name = place.file_name().unwrap_or_default().to_string_lossy();
    let target = aside.join(format!("{name}.{}", &crate::store::id::random()?[..8]));
    atomic::publish_dir(place, &target, Durability::Synced)?;
    Ok(format!("moved to {}", target.display()))
}
