//! system df: how much room all of it takes, and how much of that nobody uses.

use super::formatted;
use crate::cli::container::ps_row;
use crate::cli::format::{table, units};
use crate::cli::image::image_row;
use crate::cli::{Execute, output, store};
use crate::engine::usage::{self, Usage, VolumeUse};
use crate::error::Result;
use crate::store::Store;
use serde_json::{Value, json};

/// Show how much of the disk images, containers and volumes use
#[derive(Debug, clap::Parser)]
#[command(after_help = "\
A layer that several images share is counted once. What is in the volumes' trash is not counted here.

Examples:
  ebb system df
  ebb system df -v
  ebb system df --format '{{.Type}}: {{.Size}}, {{.Reclaimable}} of it unused'")]
pub struct Df {
    /// Format output: 'table', 'table TEMPLATE', 'json', or a Go template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Show detailed information on space usage
    #[arg(short, long)]
    verbose: bool,
}

impl Execute for Df {
    fn execute(self) -> Result<i32> {
        let store = store()?;
        let usage = usage::measure(&store)?;
        usage.unmeasured.iter().for_each(output::complain);
        let format = self.format.as_deref();
        match (self.verbose, format) {
            (false, _) => table::print(COLUMNS, &rows(&usage), format, None)?,
            (true, None | Some("" | "table")) => output::bytes(told(&store, &usage)?.as_bytes())?,
            (true, Some(format)) => formatted(format, &listed(&store, &usage, true)?)?,
        }
        Ok(0)
    }
}

const COLUMNS: &[(&str, &str)] = &[
    ("TYPE", "Type"),
    ("TOTAL", "TotalCount"),
    ("ACTIVE", "Active"),
    ("SIZE", "Size"),
    ("RECLAIMABLE", "Reclaimable"),
];

fn rows(usage: &Usage) -> Vec<Value> {
    let row = |kind: &str, total: usize, active: usize, bytes: u64, free: u64| {
        let percent = (free * 100).checked_div(bytes).map_or(String::new(), |percent| format!(" ({percent}%)"));
        json!({
            "Type": kind,
            "TotalCount": total.to_string(),
            "Active": active.to_string(),
            "Size": units::human_size_exact(bytes),
            "Reclaimable": units::human_size_exact(free) + &percent,
        })
    };
    let used_images = usage.images.iter().filter(|image| image.containers > 0).count();
    let written = |active: bool| -> u64 {
        usage
            .containers
            .iter()
            .filter(|container| active || !container.is_active())
            .filter_map(|one| one.bytes)
            .fold(0, u64::saturating_add)
    };
    let active = usage.containers.iter().filter(|container| container.is_active()).count();
    let kept = |used: bool| -> u64 {
        usage
            .volumes
            .iter()
            .filter(|volume| used || volume.links == 0)
            .filter_map(|volume| volume.bytes)
            .fold(0, u64::saturating_add)
    };
    let linked = usage.volumes.iter().filter(|volume| volume.links > 0).count();
    vec![
        row("Images", usage.images.len(), used_images, usage.layers, usage.unused_layers),
        row("Containers", usage.containers.len(), active, written(true), written(false)),
        row("Local Volumes", usage.volumes.len(), linked, kept(true), kept(false)),
        row("Build Cache", 0, 0, 0, 0),
    ]
}

const IMAGES: &[(&str, &str)] = &[
    ("REPOSITORY", "Repository"),
    ("TAG", "Tag"),
    ("IMAGE ID", "ID"),
    ("CREATED", "CreatedSince"),
    ("SIZE", "Size"),
    ("SHARED SIZE", "SharedSize"),
    ("UNIQUE SIZE", "UniqueSize"),
    ("CONTAINERS", "Containers"),
];
const CONTAINERS: &[(&str, &str)] = &[
    ("CONTAINER ID", "ID"),
    ("IMAGE", "Image"),
    ("COMMAND", "Command"),
    ("LOCAL VOLUMES", "LocalVolumes"),
    ("SIZE", "Size"),
    ("CREATED", "RunningFor"),
    ("STATUS", "Status"),
    ("NAMES", "Names"),
];
const VOLUMES: &[(&str, &str)] = &[("VOLUME NAME", "Name"), ("LINKS", "Links"), ("SIZE", "Size")];
const CACHE: &[(&str, &str)] = &[
    ("CACHE ID", "ID"),
    ("CACHE TYPE", "CacheType"),
    ("SIZE", "Size"),
    ("CREATED", "CreatedSince"),
    ("LAST USED", "LastUsedSince"),
    ("USAGE", "UsageCount"),
    ("SHARED", "Shared"),
];

/// Docker's page: four tables, each under its line.
fn told(store: &Store, usage: &Usage) -> Result<String> {
    let listed = listed(store, usage, false)?;
    let part = |title: &str, columns: &[(&str, &str)], key: &str| -> Result<String> {
        let rows: Vec<Value> = listed[key].as_array().cloned().unwrap_or_default();
        Ok(format!("{title}\n\n{}", table::render(columns, &rows, None, None)?))
    };
    Ok([
        part("Images space usage:", IMAGES, "Images")?,
        part("Containers space usage:", CONTAINERS, "Containers")?,
        part("Local Volumes space usage:", VOLUMES, "Volumes")?,
        part("Build cache usage: 0B", CACHE, "BuildCache")?,
    ]
    .join("\n"))
}

/// Every image, container and volume, as in their listings, with their sizes: for a page as wide as a screen, or `whole`.
fn listed(store: &Store, usage: &Usage, whole: bool) -> Result<Value> {
    let images = usage.images.iter().map(|image| {
        let mut row = image_row(&image.image, image.image.names.first().map(String::as_str), whole);
        row["SharedSize"] = units::human_size_exact(image.shared).into();
        row["UniqueSize"] = units::human_size_exact(image.unique).into();
        row["Containers"] = image.containers.to_string().into();
        row
    });
    let mut containers = Vec::new();
    for one in &usage.containers {
        let mut row = ps_row(store, &one.container, &one.state, whole)?;
        row["Size"] = one.bytes.map_or("N/A".into(), units::human_size).into();
        containers.push(row);
    }
    let volumes = usage.volumes.iter().map(|volume| volume_row(store, volume));
    Ok(json!({
        "Images": images.collect::<Vec<_>>(),
        "Containers": containers,
        "Volumes": volumes.collect::<Vec<_>>(),
        "BuildCache": [],
    }))
}

fn volume_row(store: &Store, used: &VolumeUse) -> Value {
    let mut row = crate::cli::volume::row(store, &used.volume);
    row["Links"] = used.links.to_string().into();
    row["Size"] = used.bytes.map_or("N/A".into(), units::human_size).into();
    row
}
