//! where: what holds a path, and what that outlives.

use super::format::table;
use super::{Execute, output, store};
use crate::engine::container::whereabouts::{self, Holder, Place};
use crate::engine::{container, volume};
use crate::error::{Error, Result};
use crate::store::Store;
use serde_json::{Value, json};
use std::path::Path;

/// Say what holds a path of a container, or a volume, and what it outlives
#[derive(Debug, clap::Parser)]
#[command(after_help = "Examples:
  ebb where mycontainer                    its root and its mounts
  ebb where mycontainer:/app/data/note.txt
  ebb where myvolume                       where it lies, and who uses it
  ebb where --format json mycontainer:/etc/passwd")]
pub struct Where {
    /// Format output: 'table', 'table TEMPLATE', 'json', or a Go template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    #[arg(value_name = "NAME[:PATH]")]
    place: String,
}

impl Execute for Where {
    fn execute(self) -> Result<i32> {
        let store = store()?;
        let (name, path) = match self.place.split_once(':') {
            Some((name, path)) => (name, Some(path)),
            None => (self.place.as_str(), None),
        };
        match (container::find(&store, name), path) {
            (Ok(container), Some(path)) => {
                let place = whereabouts::find(&store, &container, Path::new(path))?;
                self.show(&[row(&container.name, &place)], sentence(&container.name, &place))
            }
            (Ok(container), None) => {
                let places = whereabouts::all(&store, &container)?;
                let rows: Vec<Value> = places.iter().map(|place| row(&container.name, place)).collect();
                let columns =
                    [("PATH", "Path"), ("HELD BY", "HeldBy"), ("OUTLIVES", "Outlives"), ("GONE WITH", "GoneWith")];
                table::print(&columns, &rows, self.format.as_deref(), None)?;
                Ok(0)
            }
            (Err(error), path) if error.is_not_found() => match (volume::get(&store, name), path) {
                (Ok(volume), None) => self.volume(&store, &volume),
                (Ok(_), Some(_)) => Err(Error::new(format!(
                    "{name} is a volume: its path is what a container makes of it; ask for CONTAINER:PATH"
                ))),
                (Err(_), _) => Err(Error::not_found(format!("No such container or volume: {name}"))),
            },
            (Err(error), _) => Err(error),
        }
    }
}

impl Where {
    fn volume(&self, store: &Store, volume: &volume::Volume) -> Result<i32> {
        let source = volume::mountpoint(store, &volume.name);
        let users: Vec<String> = volume::users(store, &volume.name)?.into_iter().map(|user| user.name).collect();
        let what = if volume.is_anonymous() { "anonymous volume" } else { "volume" };
        let used = if users.is_empty() { "no container".to_owned() } else { users.join(", ") };
        let (outlives, gone) = match volume.is_anonymous() {
            true => ("stop, restart, rm", "rm -v, volume rm"),
            false => ("stop, restart, rm, rm -v", "volume rm"),
        };
        let text = format!(
            "{what} {}\n  on the host  {}\n  used by      {used}\n  outlives     {outlives}\n  gone with    {gone}\n",
            volume.name,
            source.display()
        );
        let row = json!({
            "Volume": volume.name, "HeldBy": format!("{what} {}", volume.name), "Source": source, "UsedBy": users,
            "Outlives": outlives, "GoneWith": gone,
        });
        self.show(&[row], text)
    }

    fn show(&self, rows: &[Value], text: String) -> Result<i32> {
        match &self.format {
            Some(format) => table::print(&[], rows, Some(format), None)?,
            None => output::bytes(text.as_bytes())?,
        }
        Ok(0)
    }
}

fn row(container: &str, place: &Place) -> Value {
    let (outlives, gone) = place.fate.sorted();
    json!({
        "Container": container,
        "Path": place.path,
        "HeldBy": held_by(&place.holder),
        "Source": place.on_host,
        "Outlives": outlives.join(", "),
        "GoneWith": gone.join(", "),
    })
}

fn held_by(holder: &Holder) -> String {
    match holder {
        Holder::Layer => "the container's own layer".into(),
        Holder::Image(digest) => format!("the image's layer {}", digest.get(..19).unwrap_or(digest)),
        Holder::Hidden => "a whiteout in the container's own layer".into(),
        Holder::Volume { name, anonymous: false } => format!("volume {name}"),
        Holder::Volume { name, anonymous: true } => format!("anonymous volume {}", name.get(..12).unwrap_or(name)),
        Holder::Bind(source) => format!("the host's {source}"),
        Holder::Tmpfs => "a tmpfs, in memory".into(),
        Holder::Kernel(kind) => format!("the kernel ({kind})"),
        Holder::Given => "a file that Ebb gives this container".into(),
    }
}

fn sentence(container: &str, place: &Place) -> String {
    let (outlives, gone) = place.fate.sorted();
    let list = |words: Vec<&str>| if words.is_empty() { "nothing".to_owned() } else { words.join(", ") };
    let mut text = format!("{} of {container}\n  held by      {}\n", place.path.display(), held_by(&place.holder));
    if let Some(on_host) = &place.on_host {
        text.push_str(&format!("  on the host  {}\n", on_host.display()));
    }
    text.push_str(&format!("  outlives     {}\n", list(outlives)));
    let gone = match &place.holder {
        Holder::Image(_) => "image rm".to_owned(),
        Holder::Bind(_) => "nothing that Ebb does".to_owned(),
        _ => list(gone),
    };
    text.push_str(&format!("  gone with    {gone}\n"));
    text
}
