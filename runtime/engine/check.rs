//! `system check`: is the store sound? Every record is read and held against what it names. `--repair` mends without
//! losing a byte that may be somebody's: what cannot be read is moved aside, never removed, and what runs stays.

mod containers;
mod files;
mod images;
mod volumes;

use super::container::{self, state};
use super::{image, leftovers};
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
    /// What to type next, where it is not sound; empty where nothing need be.
    pub next: String,
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
    files::check(store, repair, &mut report);
    images::check(store, repair, &mut report)?;
    image_names(store, repair, &mut report);
    volumes::check(store, repair, &mut report);
    volumes::check_trash(store, repair, &mut report);
    containers::check(store, repair, &mut report);
    containers::check_without_directory(store, repair, &mut report);
    names(store, repair, &mut report);
    remains(store, repair, &mut report);
    report.findings.iter_mut().for_each(|finding| finding.say_what_next(repair));
    Ok(report)
}

impl Report {
    fn find(&mut self, kind: &'static str, what: &str, wrong: impl Into<String>) -> &mut Finding {
        let (repaired, next) = Default::default();
        let finding = Finding { kind, what: what.to_owned(), wrong: wrong.into(), repaired, harmless: false, next };
        self.findings.push(finding);
        let last = self.findings.len() - 1;
        &mut self.findings[last]
    }

    /// [`Report::find`] of what an error says, with the command that is its cure.
    fn find_error(&mut self, kind: &'static str, what: &str, error: Error) -> &mut Finding {
        let finding = self.find(kind, what, error.message);
        if error.kind == Kind::Newer {
            finding.next = NEWER.to_owned();
        }
        finding
    }
}

const NEWER: &str = "use the Ebb that wrote it, or a later one";
const REPAIR: &str = "ebb system check --repair";

impl Finding {
    /// What was done about it, or why that failed: the rest is looked at all the same.
    fn mend(&mut self, mended: Result<String>) {
        match mended {
            Ok(what) => self.repaired = what,
            Err(error) => {
                self.wrong = format!("{}; it could not be mended: {}", self.wrong, error.message);
                self.next = error.cure.unwrap_or_else(|| self.next.clone());
            }
        }
    }

    /// Does it where that is asked for, and says otherwise what would do it.
    fn mend_by(&mut self, repair: bool, mend: impl FnOnce() -> Result<String>) {
        match repair {
            true => self.mend(mend()),
            false => self.next = REPAIR.to_owned(),
        }
    }

    fn say_what_next(&mut self, repair: bool) {
        if self.harmless || !self.repaired.is_empty() {
            self.next.clear();
        } else if self.next.is_empty() {
            // What could not be done now: a disk is full, or cannot be read.
            self.next = if repair { format!("look at what is there, and then {REPAIR}") } else { REPAIR.to_owned() };
        }
    }
}

/// A name that is spelled like an image's id would have that id mean another image.
fn image_names(store: &Store, repair: bool, report: &mut Report) {
    // One that cannot be read is told of by `images`.
    let Ok(index) = image::names::read(store) else { return };
    for name in image::names::like_ids(&index) {
        let means = index.get(&name).map_or("", String::as_str);
        let wrong = format!("the name of {means} is spelled like an id, and leads nowhere");
        let finding = report.find("image", &name, wrong);
        if repair {
            let taken = image::names::change(store, |index| drop(index.remove(&name)));
            finding.mend(taken.map(|()| "the name is gone, and the image is there under its id".into()));
        }
    }
}

/// A link that leads to no container of that name counts for nothing, and goes when the name is taken.
fn names(store: &Store, repair: bool, report: &mut Report) {
    let entries = std::fs::read_dir(store.names()).into_iter().flatten();
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
fn remains(store: &Store, repair: bool, report: &mut Report) {
    if repair {
        leftovers::clear(store);
    }
    for directory in [store.tmp(), store.trash()] {
        for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
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
    for id in container::ids(store).unwrap_or_default() {
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

/// The same for one file: it stays beside the one that is made in its place.
fn set_file_aside(path: &Path) -> Result<String> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let aside = path.with_file_name(format!("{name}.damaged.{}", &store::id::random()?[..8]));
    std::fs::rename(path, &aside).doing(|| format!("move {} aside", path.display()))?;
    atomic::sync_dir(path.parent().unwrap_or(Path::new("/")))?;
    Ok(format!("moved to {}", aside.display()))
}

/// Whether a file is there and can be read, whatever it says. (Of one that cannot, nothing is known: it stays.)
fn is_read(path: &Path) -> bool {
    std::fs::read(path).is_ok()
}
