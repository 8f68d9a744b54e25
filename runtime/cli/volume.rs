//! volume create, ls, inspect, rm, prune.

use super::confirm::confirm;
use super::format::filter::Filters;
use super::format::{inspect, table, units};
use super::{Execute, for_each, output, store};
use crate::engine::container;
use crate::engine::volume::{self, Volume};
use crate::error::{Error, Kind, Result};
use crate::store::Store;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};

/// Create a volume
#[derive(Debug, clap::Parser)]
#[command(after_help = "Examples:
  ebb volume create myvolume
  ebb volume create --label project=web site")]
pub struct Create {
    /// Specify volume driver name
    #[arg(short, long, value_name = "string", default_value = "local")]
    driver: String,
    /// Set metadata for a volume
    #[arg(long, value_name = "list")]
    label: Vec<String>,
    /// Set driver specific options
    #[arg(short, long, value_name = "map")]
    opt: Vec<String>,
    #[arg(value_name = "VOLUME")]
    name: Option<String>,
}

impl Execute for Create {
    fn execute(self) -> Result<i32> {
        if self.driver != "local" {
            let shown = self.name.as_deref().unwrap_or_default();
            return Err(Error::new(format!(
                "create {shown}: plugin \"{}\" not found: Ebb has the driver local",
                self.driver
            )));
        }
        let pairs = |list: &[String]| -> BTreeMap<String, String> {
            let pair = |text: &String| {
                text.split_once('=').map_or((text.clone(), String::new()), |(k, v)| (k.into(), v.into()))
            };
            list.iter().map(pair).collect()
        };
        let name = self.name.filter(|name| !name.is_empty());
        let request = volume::Request { name, labels: pairs(&self.label), options: pairs(&self.opt) };
        output::line(&volume::create(&store()?, &request)?.name)?;
        Ok(0)
    }
}

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
        let rows: Vec<Value> =
            volume::list(&store)?.iter().filter(|volume| shown(volume)).map(|volume| row(&store, volume)).collect();
        let columns = [("DRIVER", "Driver"), ("VOLUME NAME", "Name")];
        table::print(&columns, &rows, self.format.as_deref(), self.quiet.then_some("Name"))?;
        Ok(0)
    }
}

fn used(store: &Store) -> Result<HashSet<String>> {
    let mounts = container::list(store)?.into_iter().flat_map(|container| container.mounts);
    Ok(mounts.filter(|mount| mount.kind == "volume").map(|mount| mount.name).collect())
}

fn row(store: &Store, volume: &Volume) -> Value {
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

/// Display detailed information on one or more volumes
#[derive(Debug, clap::Parser)]
#[command(after_help = "Examples:
  ebb volume inspect myvolume
  ls $(ebb volume inspect -f '{{.Mountpoint}}' myvolume)")]
pub struct Inspect {
    /// Format output: 'json', or a Go template
    #[arg(short, long, value_name = "string")]
    format: Option<String>,
    #[arg(value_name = "VOLUME", required = true)]
    names: Vec<String>,
}

impl Execute for Inspect {
    fn execute(self) -> Result<i32> {
        let store = store()?;
        inspect::print(&self.names, self.format.as_deref(), |name| {
            Ok(volume::inspect(&store, &volume::get(&store, name)?))
        })
    }
}

/// Remove one or more volumes
#[derive(Debug, clap::Parser)]
#[command(after_help = "Examples:
  ebb volume rm myvolume")]
pub struct Rm {
    /// Do not complain about volumes that are not there
    #[arg(short, long)]
    force: bool,
    #[arg(value_name = "VOLUME", required = true)]
    names: Vec<String>,
}

impl Execute for Rm {
    fn execute(self) -> Result<i32> {
        let store = store()?;
        for_each(&self.names, |name| match volume::remove(&store, name) {
            Err(error) if error.is_not_found() && self.force => Ok(Some(name.to_owned())),
            result => result.map(|()| Some(name.to_owned())),
        })
    }
}

/// Remove unused local volumes
#[derive(Debug, clap::Parser)]
#[command(after_help = "Examples:
  ebb volume prune           anonymous volumes that no container uses
  ebb volume prune -a -f     named ones too, without a question")]
pub struct Prune {
    /// Remove all unused volumes, not just anonymous ones
    #[arg(short, long)]
    all: bool,
    /// Provide filter values: label, label!
    #[arg(long, value_name = "filter")]
    filter: Vec<String>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    force: bool,
}

impl Execute for Prune {
    fn execute(self) -> Result<i32> {
        let (wanted, unwanted): (Vec<String>, Vec<String>) =
            self.filter.iter().cloned().partition(|text| !text.starts_with("label!="));
        let filters = Filters::parse(&wanted, &["label", "all"])?;
        let unwanted: Vec<String> = unwanted.iter().map(|text| text.replacen("label!=", "label=", 1)).collect();
        let unwanted = Filters::parse(&unwanted, &["label"])?;
        let all = self.all || filters.boolean("all")? == Some(true);
        let which = if all { "all" } else { "anonymous" };
        if !self.force
            && !confirm(&format!("This will remove {which} local volumes not used by at least one container."))?
        {
            return Ok(0);
        }
        let pruned = volume::prune(&store()?, |volume| {
            (all || volume.is_anonymous())
                && filters.labels(&volume.labels)
                && (unwanted.is_empty() || !unwanted.labels(&volume.labels))
        })?;
        if !pruned.names.is_empty() {
            output::line(&format!("Deleted Volumes:\n{}\n", pruned.names.join("\n")))?;
        }
        output::line(&format!("Total reclaimed space: {}", units::human_size(pruned.bytes)))?;
        match pruned.result {
            Ok(()) => Ok(0),
            Err(error) => Err(Error::of(Kind::Other, error.message)),
        }
    }
}
