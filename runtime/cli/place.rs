//! where: what holds a path, and what that outlives.

mod access;

use super::format::table;
use super::{Execute, output, store};
use crate::engine::container;
use crate::engine::container::record::Container;
use crate::engine::container::whereabouts::{self, Fate, Holder, Place, Storage, Trash};
use crate::engine::volume::{self, Volume, trash};
use crate::error::{Error, Result};
use crate::store::Store;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Say what holds a path of a container, or a volume, and what it outlives
#[derive(Debug, clap::Parser)]
#[command(after_help = "Examples:
  ebb where mycontainer                    its root and its mounts
  ebb where mycontainer:/app/data/note.txt
  ebb where mycontainer:/link/             with the slash, what the symlink leads to
  ebb where -u www-data mycontainer:/srv   whether that user of the container may write there
  ebb where myvolume                       where it lies, and who uses it
  ebb where myvolume:/note.txt
  ebb where --format json mycontainer:/etc/passwd")]
pub struct Where {
    /// Format output: 'table', 'table TEMPLATE', 'json', or a Go template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Ask for this user of the container (name|uid[:group|gid]), in the place of its first process
    #[arg(short, long, value_name = "string")]
    user: Option<String>,
    #[arg(value_name = "NAME[:PATH]")]
    place: String,
}

impl Execute for Where {
    fn execute(self) -> Result<i32> {
        let store = store()?;
        let (name, path) = match self.place.split_once(':') {
            Some((name, path)) => (name, Some(Path::new(path))),
            None => (self.place.as_str(), None),
        };
        let volume = volume::get(&store, name);
        let container = container::find(&store, name);
        match (container, volume) {
            // The beginning of an id is no name: a volume that is called so goes before it.
            (Ok(container), Ok(volume)) if name != container.name && name != container.id => {
                output::complain(&format!(
                    "{name} is a volume, and the beginning of a container's id: the volume it is"
                ));
                self.volume(&store, &volume, path)
            }
            (Ok(container), volume) => {
                if volume.is_ok() {
                    output::complain(&format!(
                        "{name} is a container, and a volume too: the container it is (ebb volume inspect {name})"
                    ));
                }
                self.container(&store, &container, path)
            }
            (Err(_), Ok(volume)) => self.volume(&store, &volume, path),
            (Err(error), Err(_)) if error.is_not_found() => {
                let missing = Error::not_found(format!("No such container or volume: {name}"));
                let in_trash = trash::list(&store)?.iter().any(|trashed| trashed.name == name);
                Err(match in_trash {
                    true => missing.with_cure(format!("a volume {name} is in the trash: ebb volume restore {name}")),
                    false => missing,
                })
            }
            (Err(error), Err(_)) => Err(error),
        }
    }
}

impl Where {
    fn container(&self, store: &Store, container: &Container, path: Option<&Path>) -> Result<i32> {
        let Some(path) = path else {
            let places = whereabouts::all(store, container)?;
            let rows: Vec<Value> = places.iter().map(|place| row(&container.name, place)).collect();
            let columns = [
                ("PATH", "Path"),
                ("HELD BY", "HeldBy"),
                ("OUTLIVES", "Outlives"),
                ("GONE WITH", "GoneWith"),
                ("TRASH", "Trash"),
            ];
            table::print(&columns, &rows, self.format.as_deref(), None)?;
            return Ok(0);
        };
        let place = whereabouts::find(store, container, path, self.user.as_deref())?;
        let mut row = row(&container.name, &place);
        access::add(&mut row, place.access.as_ref());
        self.show(&row, sentence(&container.name, &place) + &access::lines(place.access.as_ref()))
    }

    fn volume(&self, store: &Store, volume: &Volume, path: Option<&Path>) -> Result<i32> {
        let place = whereabouts::of_volume(store, volume, path)?;
        let what = if volume.is_anonymous() { "anonymous volume" } else { "volume" };
        let users: Vec<&str> = place.users.iter().map(|user| user.name.as_str()).collect();
        let used = if users.is_empty() { "no container".to_owned() } else { users.join(", ") };
        let (outlives, gone) = (kept_over(place.fate), ends(place.fate));
        let mut text = match path {
            Some(_) => format!("{} of {what} {}\n", shown(&place.path), volume.name),
            None => format!("{what} {}\n", volume.name),
        };
        text.push_str(&on_the_host(place.on_host.as_deref(), &place.storage));
        text.push_str(&format!("  used by      {used}\n"));
        text.push_str(&format!("  outlives     {outlives}\n  gone with    {gone}\n"));
        text.push_str(&way_back(&place.trash, &volume.name));
        let row = json!({
            "Volume": volume.name, "Type": what, "Name": volume.name, "HeldBy": format!("{what} {}", volume.name),
            "Path": place.path.to_string_lossy(), "Source": place.on_host.as_ref().map(|path| path.to_string_lossy()),
            "Storage": stored(&place.storage), "UsedBy": users,
            "Outlives": outlives, "GoneWith": gone, "Trash": kept(&place.trash), "Fate": place.fate,
        });
        self.show(&row, text)
    }

    fn show(&self, row: &Value, text: String) -> Result<i32> {
        match &self.format {
            Some(format) => table::print(&[], std::slice::from_ref(row), Some(format), None)?,
            None => output::bytes(text.as_bytes())?,
        }
        Ok(0)
    }
}

/// A path in one line that moves no cursor.
fn shown(path: &Path) -> String {
    output::printable(&path.to_string_lossy())
}

fn row(container: &str, place: &Place) -> Value {
    let (kind, name) = typed(&place.holder);
    let text = |path: &Option<PathBuf>| path.as_ref().map(|path| path.to_string_lossy().into_owned());
    json!({
        "Container": container,
        "Path": place.path.to_string_lossy(),
        "Type": kind,
        "Name": name,
        "HeldBy": held_by(&place.holder),
        "Source": text(&place.on_host),
        "Storage": stored(&place.storage),
        "LeadsTo": text(&place.leads_to),
        "Outlives": place.fate.sorted().0.join(", "),
        "GoneWith": gone_with(place),
        "Trash": kept(&place.trash),
        "Fate": place.fate,
    })
}

/// For programs: what kind of thing holds it, and which one.
fn typed(holder: &Holder) -> (&'static str, &str) {
    match holder {
        Holder::Layer => ("layer", ""),
        Holder::Image(digest) => ("image", digest),
        Holder::Hidden => ("whiteout", ""),
        Holder::Volume { name, anonymous: false } => ("volume", name),
        Holder::Volume { name, anonymous: true } => ("anonymous volume", name),
        Holder::Bind(source) => ("bind", source),
        Holder::Tmpfs => ("tmpfs", ""),
        Holder::Kernel(kind) => ("kernel", kind),
        Holder::Given => ("given", ""),
        Holder::Foreign(kind) => ("mount", kind),
    }
}

fn gone_with(place: &Place) -> String {
    match &place.holder {
        Holder::Image(_) => "image rm".to_owned(),
        Holder::Bind(_) => "nothing that Ebb does".to_owned(),
        _ => ends(place.fate),
    }
}

/// The commands that it outlives.
fn kept_over(fate: Fate) -> String {
    match fate.sorted().0.as_slice() {
        [] => "nothing".to_owned(),
        commands => commands.join(", "),
    }
}

/// The commands that end it.
fn ends(fate: Fate) -> String {
    match fate.sorted().1.as_slice() {
        [] => "nothing that Ebb does".to_owned(),
        commands => commands.join(", "),
    }
}

/// For programs: in what it is stored.
fn stored(storage: &Storage) -> &str {
    match storage {
        Storage::File => "file",
        Storage::Disk => "disk",
        Storage::FileSystem(kind) => kind,
        Storage::Memory => "memory",
    }
}

/// The line that says where the bytes lie.
fn on_the_host(path: Option<&Path>, storage: &Storage) -> String {
    let path = path.map(shown).unwrap_or_default();
    match storage {
        Storage::File => format!("  on the host  {path}\n"),
        Storage::Disk => format!("  on the host  in {path}, a disk that is mounted while a container uses it\n"),
        Storage::FileSystem(kind) => {
            format!("  on the host  in {path} (type {kind}), which is mounted while a container uses it\n")
        }
        Storage::Memory => "  on the host  in memory, until the last container that uses it stops\n".to_owned(),
    }
}

fn held_by(holder: &Holder) -> String {
    match holder {
        Holder::Layer => "the container's own layer".into(),
        Holder::Image(digest) => format!("the image's layer {}", digest.get(..19).unwrap_or(digest)),
        Holder::Hidden => "a whiteout in the container's own layer".into(),
        Holder::Volume { name, anonymous: false } => format!("volume {name}"),
        Holder::Volume { name, anonymous: true } => format!("anonymous volume {}", name.get(..12).unwrap_or(name)),
        Holder::Bind(source) => format!("the host's {}", output::printable(source)),
        Holder::Tmpfs => "a tmpfs, in memory".into(),
        Holder::Kernel(kind) => format!("the kernel ({kind})"),
        Holder::Given => "a file that Ebb gives this container".into(),
        Holder::Foreign(kind) => format!("a mount that the container made itself ({kind})"),
    }
}

fn sentence(container: &str, place: &Place) -> String {
    let outlives = kept_over(place.fate);
    let mut text = format!("{} of {container}\n  held by      {}\n", shown(&place.path), held_by(&place.holder));
    if let Some(end) = &place.leads_to {
        text.push_str(&format!("  leads to     {}\n", shown(end)));
    }
    if place.on_host.is_some() || matches!(place.holder, Holder::Volume { .. }) {
        text.push_str(&on_the_host(place.on_host.as_deref(), &place.storage));
    }
    text.push_str(&format!("  outlives     {outlives}\n  gone with    {}\n", gone_with(place)));
    text.push_str(&way_back(&place.trash, typed(&place.holder).1));
    text
}

/// `7 days after volume rm`; nothing for what cannot be brought back.
fn kept(trash: &Trash) -> String {
    match trash {
        Trash { after, .. } if after.is_empty() => String::new(),
        Trash { after, days: 1 } => format!("1 day after {}", after.join(", ")),
        Trash { after, days } => format!("{days} days after {}", after.join(", ")),
    }
}

/// The line that says how a volume comes back.
fn way_back(trash: &Trash, volume: &str) -> String {
    match kept(trash) {
        kept if kept.is_empty() => kept,
        kept => format!("  in the trash {kept}: ebb volume restore {volume}\n"),
    }
}
