//! The store's own directories, and the small files that lie in it.

use super::{Report, set_file_aside};
use crate::engine::settings;
use crate::error::{Doing, Result};
use crate::store::{self, Store, atomic};
use serde_json::{Value, json};
use std::path::Path;

pub fn check(store: &Store, repair: bool, report: &mut Report) {
    if let Some(found) = store::exchangeable(store.root()) {
        let wrong = format!("{}: another directory can be put in its place ({})", found.who, found.cure);
        report.find("store", &store.root().display().to_string(), wrong).next = found.cure;
    }
    for directory in store.missing() {
        let finding = report.find("store", &directory.display().to_string(), "the store's directory is gone");
        finding.mend_by(repair, || make(&directory));
    }
    if let Err(error) = store.marked() {
        let finding = report.find_error("store", store::MARK, error);
        finding.mend_by(repair, || {
            let moved = set_file_aside(&store.root().join(store::MARK))?;
            store.mark().map(|()| format!("{moved}, and made again"))
        });
    }
    lessons(store, repair, report);
    if let Err(error) = settings::read(store) {
        report.find("settings", settings::FILE, error.message).mend_by(repair, || mend_settings(store));
    }
}

/// A file that is in its place stays beside it.
fn make(directory: &Path) -> Result<String> {
    use std::os::unix::fs::DirBuilderExt;
    let moved =
        if directory.symlink_metadata().is_ok() { format!("{}; ", set_file_aside(directory)?) } else { String::new() };
    let made = std::fs::DirBuilder::new().mode(0o700).create(directory);
    made.doing(|| format!("make {}", directory.display()))?;
    atomic::sync_dir(directory.parent().unwrap_or(Path::new("/")))?;
    Ok(format!("{moved}it was made again, empty"))
}

/// What has been learned is no reason to refuse a lesson.
fn lessons(store: &Store, repair: bool, report: &mut Report) {
    let path = store.root().join("lessons.json");
    let wrong = match atomic::read_json::<Value>(&path) {
        Err(error) if error.is_not_found() => return,
        Ok(read) if read.is_object() => return,
        Ok(_) => "it is no record of lessons".to_owned(),
        Err(error) => error.message,
    };
    let finding = report.find("lessons", "lessons.json", wrong);
    finding.mend_by(repair, || set_file_aside(&path).map(|moved| format!("{moved}: the lessons begin anew")));
}

/// Until the owner says so again, nothing leaves the trash: it may have been for longer than the default.
fn mend_settings(store: &Store) -> Result<String> {
    let path = store.root().join(settings::FILE);
    let moved = set_file_aside(&path)?;
    let has_trash = std::fs::read_dir(store.volume_trash()).into_iter().flatten().flatten().next().is_some();
    if !has_trash {
        return Ok(format!("{moved}: the defaults hold"));
    }
    atomic::write_json(&path, &json!({"TrashDays": LONG}))?;
    Ok(format!("{moved}: what is in the trash stays for {LONG} days, until you write another number of days"))
}

/// Ten years.
const LONG: u32 = 3650;
