//! Volumes, and those in the trash: a record that can be read, beside the data that it is about.

use super::{Finding, NEWER, Report, set_apart};
use crate::engine::volume::{self, Mended, Volume};
use crate::error::{Doing, Error, Kind, Result};
use crate::explain::calls;
use crate::store::{Store, atomic, lock};
use std::path::Path;

pub fn check(store: &Store, repair: bool, report: &mut Report) {
    for name in volume::names(store).unwrap_or_default() {
        report.volumes += 1;
        let place = store.volumes().join(&name);
        match volume::get(store, &name) {
            // Removed while we looked.
            Err(_) if !place.exists() => continue,
            Err(error) => {
                let finding = unreadable(report, "volume", &name, error);
                if finding.next.is_empty() {
                    finding.mend_by(repair, || mend_volume(store, &place, &name));
                }
            }
            Ok(_) if !place.join("_data").is_dir() => {
                let finding = report.find("volume", &name, "it has no _data: what was in it is gone");
                finding.mend_by(repair, || make_data(&place));
            }
            Ok(found) if !found.options.contains_key("device") && has_lost_disk(&place, &found) => {
                let finding = report.find("volume", &name, "its disk is gone, and all that was in it");
                finding.next = format!("ebb volume rm {name}");
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
pub fn check_trash(store: &Store, repair: bool, report: &mut Report) {
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
            let finding = report.find("trash", &name, "it has no _data: there is nothing to bring back");
            finding.mend_by(repair, || set_apart(store, &place));
        } else if let Err(error) = record {
            let finding = unreadable(report, "trash", &name, error);
            if finding.next.is_empty() {
                finding.mend_by(repair, || mend_volume(store, &place, &trashed.name));
            }
        }
    }
}

fn unreadable<'a>(report: &'a mut Report, kind: &'static str, name: &str, error: Error) -> &'a mut Finding {
    let finding = report.find(kind, name, format!("its record cannot be read: {}", error.message));
    if error.kind == Kind::Newer {
        finding.next = NEWER.to_owned();
    }
    finding
}

/// For a volume with a file system of its own it is only the place to mount that on.
fn make_data(place: &Path) -> Result<String> {
    let _lock = lock::exclusive(place)?;
    let data = place.join("_data");
    calls::mkdir(&data, 0o755).doing(|| format!("make {}", data.display()))?;
    atomic::sync_dir(place)?;
    Ok("it was made again, empty".to_owned())
}

fn has_lost_disk(place: &Path, found: &Volume) -> bool {
    let is_disk = matches!(volume::place(&found.options), Ok(volume::Place::Disk { .. }));
    is_disk && !place.join("disk").exists()
}
