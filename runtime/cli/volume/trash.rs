//! volume trash ls, volume trash empty; and what is said when something goes there.

use crate::cli::confirm::confirm;
use crate::cli::format::{filter::Filters, table, units};
use crate::cli::{Execute, output, store};
use crate::engine::settings;
use crate::engine::volume::trash::{self, Trashed};
use crate::error::{Error, Kind, Result};
use crate::store::Store;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// List the volumes in the trash
#[derive(Debug, clap::Parser)]
#[command(after_help = "\
Examples:
  ebb volume trash ls
  ebb volume trash ls --format '{{.Name}} {{.Size}} {{.Labels}}'")]
pub struct Ls {
    /// Provide filter values: name, label
    #[arg(short, long, value_name = "filter")]
    filter: Vec<String>,
    /// Format output: 'table', 'table TEMPLATE', 'json', or a Go template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Only display what restore takes: VOLUME@TIME
    #[arg(short, long)]
    quiet: bool,
}

impl Execute for Ls {
    fn execute(self) -> Result<i32> {
        let filters = Filters::parse(&self.filter, &["name", "label", "label!"])?;
        let store = store()?;
        if let Err(error) = trash::expire(&store) {
            output::complain(&error);
        }
        let days = settings::read(&store)?.trash_days;
        let mut all = trash::list(&store)?;
        all.retain(|one| {
            let labels = one.record().map(|record| record.labels).unwrap_or_default();
            filters.any_pattern("name", &one.name) && filters.labels(&labels)
        });
        let sizes = if self.quiet { vec![0; all.len()] } else { trash::sizes(&all)? };
        let rows: Vec<Value> = all.iter().zip(sizes).rev().map(|(one, size)| row(one, size, days)).collect();
        let columns = [("VOLUME", "ID"), ("REMOVED", "Removed"), ("KEPT FOR", "KeptFor"), ("SIZE", "Size")];
        table::print(&columns, &rows, self.format.as_deref(), self.quiet.then_some("ID"))?;
        Ok(0)
    }
}

fn row(trashed: &Trashed, size: u64, days: u32) -> Value {
    let record = trashed.record().ok();
    let labels = record.iter().flat_map(|record| &record.labels).map(|(key, value)| format!("{key}={value}"));
    let now = Timestamp::now();
    let left = SignedDuration::from_hours(i64::from(days) * 24) - now.duration_since(trashed.removed);
    json!({
        "ID": trashed.id,
        "Name": trashed.name,
        "Labels": labels.collect::<Vec<_>>().join(","),
        "Mountpoint": trashed.place.join("_data"),
        "RemovedAt": trashed.removed.to_string(),
        "Removed": units::ago(trashed.removed, now),
        "KeptFor": units::human_duration(left),
        "Size": units::human_size(size),
        "Bytes": size,
    })
}

/// Remove every volume in the trash for good
#[derive(Debug, clap::Parser)]
#[command(after_help = "\
Examples:
  ebb volume trash empty
  ebb volume trash empty -f     without a question")]
pub struct Empty {
    /// Do not prompt for confirmation
    #[arg(short, long)]
    force: bool,
}

impl Execute for Empty {
    fn execute(self) -> Result<i32> {
        if !self.force && !confirm("This will remove all volumes in the trash, for good.")? {
            return Ok(0);
        }
        let store = store()?;
        let emptied = trash::empty(&store, trash::list(&store)?)?;
        if !emptied.ids.is_empty() {
            output::line(&format!("Deleted Volumes:\n{}\n", emptied.ids.join("\n")))?;
        }
        output::line(&format!("Total reclaimed space: {}", units::human_size(emptied.bytes)))?;
        match emptied.result {
            Ok(()) => Ok(0),
            Err(error) => Err(Error { kind: Kind::Other, ..error }),
        }
    }
}

/// Lets go of what the trash has kept for long enough. What cannot be done is said, and no reason to refuse the rest.
pub fn tidy(store: &Store) {
    if let Err(error) = trash::expire(store) {
        output::complain(&error);
    }
}

/// Says on stderr what is in the trash now, for how long, and how it comes back.
pub fn tell_trashed(store: &Store, trashed: &[Trashed]) {
    let how = match trashed {
        [] => return,
        [one] => format!("{} is in the trash {}; ebb volume restore {}", one.name, kept(store), one.name),
        several => format!("{} volumes are in the trash {}; ebb volume restore NAME", several.len(), kept(store)),
    };
    output::complain(&how);
}

/// How long the trash keeps what comes into it now.
fn kept(store: &Store) -> String {
    match settings::read(store).unwrap_or_default().trash_days {
        1 => "for a day".into(),
        days => format!("for {days} days"),
    }
}

/// An error that says what makes room, where the disk has none.
pub fn with_cure_for_no_room(error: &Error) -> Error {
    let cure = || store().and_then(|store| trash::cure_for_no_room(&store)).ok().flatten();
    match error.kind == Kind::NoRoom && error.cure.is_none() {
        true => Error { cure: cure(), ..error.clone() },
        false => error.clone(),
    }
}
