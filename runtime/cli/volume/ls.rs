//! volume ls.

use crate::cli::format::filter::Filters;
use crate::cli::format::table;
use crate::cli::{Execute, output, store};
use crate::engine::container;
use crate::engine::volume::{self, Volume};
use crate::error::Result;
use crate::store::Store;
use serde_json::{Value, json};
use std::collections::HashSet;

/// List volumes
#[derive(Debug, clap::Parser)]
#[command(after_help = "Examples:
  ebb volume ls
  ebb volume ls -q -f dangling=true
  ebb volume ls --format '{{.Name}} {{.Mountpoint}}'")]
pub struct Ls {
    /// Provide filter values: dangling, label, name, driver
    #[arg(short, long, value_name = "filter")]
    filter: Vec<String>,
    /// Format output: 'table', 'table TEMPLATE', 'json', or a Go template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Only display volume names
    #[arg(short, long)]
    quiet: bool,
}

impl Execute for Ls {
    fn execute(self) -> Result<i32> {
        let filters = Filters::parse(&self.filter, &["dangling", "label", "name", "driver"])?;
        let dangling = filters.boolean("dangling")?;
        let store = store()?;
        let used = if dangling.is_some() { used(&store)? } else { HashSet::new() };
        let shown = |volume: &Volume| {
            dangling.is_none_or(|wanted| wanted != used.contains(&volume.name))
                && filters.labels(&volume.labels)
                && filters.any_pattern("name", &volume.name)
                && filters.any("driver", |driver| driver == volume.driver)
        };
        // A name is all that most listings show, and no record need be read for it.
        if self.filter.is_empty() && matches!(self.format.as_deref(), None | Some("table")) {
            let names = volume::names(&store)?;
            let mut text = if self.quiet { String::new() } else { "DRIVER    VOLUME NAME\n".to_owned() };
            for name in names {
                text.push_str(if self.quiet { "" } else { "local     " });
                text.push_str(&name);
                text.push('\n');
            }
            output::bytes(text.as_bytes())?;
            return Ok(0);
        }
        let (all, unread) = volume::list_readable(&store)?;
        let rows: Vec<Value> = all.iter().filter(|volume| shown(volume)).map(|volume| row(&store, volume)).collect();
        let columns = [("DRIVER", "Driver"), ("VOLUME NAME", "Name")];
        table::print(&columns, &rows, self.format.as_deref(), self.quiet.then_some("Name"))?;
        output::complain_of(&unread)
    }
}

fn used(store: &Store) -> Result<HashSet<String>> {
    let mounts = container::list(store)?.into_iter().flat_map(|container| container.mounts);
    Ok(mounts.filter(|mount| mount.kind == "volume").map(|mount| mount.name).collect())
}

/// One row with Docker's keys.
pub fn row(store: &Store, volume: &Volume) -> Value {
    let labels: Vec<String> = volume.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    json!({
        "Availability": "N/A",
        "Driver": volume.driver,
        "Group": "N/A",
        "Labels": labels.join(","),
        "Links": "N/A",
        "Mountpoint": volume::mountpoint(store, &volume.name),
        "Name": volume.name,
        "Scope": "local",
        "Size": "N/A",
        "Status": "N/A",
    })
}
