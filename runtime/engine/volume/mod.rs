//! Volumes: directories that no `rm` of a container reaches.
//!
//! ```text
//! volumes/NAME/
//!   _data/         what containers see; the place of its mount, where the volume has a file system of its own
//!   volume.json    name, labels, time, options
//!   disk           the file system of a volume with `size=`
//!   copying        while an image's files are copied into it (mounts/copy_up.rs)
//! ```

mod beside;
mod disk;
mod driver;
mod export;
mod frozen;
mod import;
mod inspect;
mod mend;
mod network;
mod options;
mod remove;
mod size;

pub use driver::{Held, hold, is_plain, open, open_on_host};
pub use export::{Exported, Format, export};
pub use frozen::{hold_off_copies, refuse_while_copied, thaw_forgotten, while_frozen};
pub use import::{Imported, import};
pub use inspect::inspect;
pub use mend::{Mended, mend};
pub use options::{Place, read as place};
pub use remove::{Pruned, prune, remove, remove_with_container, users};
pub use size::{Contents, contents};

// What a volume can be beside itself: another one, one of another name, one that is gone and can come back.
mod clone;
mod rename;
pub mod trash;

pub use clone::{Cloned, clone};
pub use remove::{Removal, prune_by};
pub use rename::rename;

use crate::engine::{events, leftovers};
use crate::error::{Doing, Error, Kind, Result};
use crate::explain::{self, calls};
use crate::store::atomic::Durability;
use crate::store::{Store, atomic, id};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The label that Docker gives a volume nobody named.
pub const ANONYMOUS: &str = "com.docker.volume.anonymous";
const VERSION: u32 = 1;

/// volumes/NAME/volume.json
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Volume {
    /// The version of this file's format.
    pub version: u32,
    pub name: String,
    pub created_at: String,
    pub driver: String,
    pub labels: BTreeMap<String, String>,
    pub options: BTreeMap<String, String>,
}

impl atomic::Versioned for Volume {
    const VERSION: u32 = VERSION;

    fn version(&self) -> u32 {
        self.version
    }
}

impl Volume {
    /// A new one without labels and options.
    fn plain(name: &str) -> Volume {
        let (labels, options) = Default::default();
        Volume { version: VERSION, name: name.to_owned(), created_at: now(), driver: "local".into(), labels, options }
    }

    pub fn is_anonymous(&self) -> bool {
        self.labels.contains_key(ANONYMOUS)
    }
}

/// The time as a record has it.
fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Where the volume's data lies on the host: `volumes/NAME/_data`.
pub fn mountpoint(store: &Store, name: &str) -> PathBuf {
    store.volumes().join(name).join("_data")
}

/// The file that is the disk of a volume with `size=`.
pub fn disk(store: &Store, name: &str) -> PathBuf {
    store.volumes().join(name).join(disk::FILE)
}

/// What `volume create` is asked for.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// `None`: a random name, and the anonymous label.
    pub name: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub options: BTreeMap<String, String>,
}

/// Makes a volume, or finds the one of that name with the same options. Durable when it returns.
pub fn create(store: &Store, request: &Request) -> Result<Volume> {
    if let Some(name) = &request.name {
        let doing = || format!("create {name}");
        check_name(name).doing(doing)?;
        check_options(&request.options).doing(doing)?;
    } else {
        check_options(&request.options)?;
    }
    // A disk that was half made when its command was killed may be large.
    leftovers::clear_unfinished(store);
    find_or_create(store, request)
}

/// [`create`] for a request that was checked already.
pub fn find_or_create(store: &Store, request: &Request) -> Result<Volume> {
    if let Some(name) = &request.name
        && let Ok(found) = get(store, name)
    {
        return same(found, request);
    }
    let mut labels = request.labels.clone();
    let name = match &request.name {
        Some(name) => name.clone(),
        None => {
            labels.insert(ANONYMOUS.into(), String::new());
            id::random()?
        }
    };
    let volume = Volume { labels, options: request.options.clone(), ..Volume::plain(&name) };
    let made = store.make_tmp("volume")?;
    let data = made.path.join("_data");
    explain::step("what the volume holds: an ordinary directory", format_args!("mkdir {}", data.display()));
    calls::mkdir(&data, 0o777).doing(|| format!("make {}", data.display()))?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&data, mode).doing(|| format!("make {}", data.display()))?;
    let mut room = None;
    if let Place::Disk { kind, bytes, .. } = options::read(&volume.options)? {
        room = Some((disk::make(&made.path.join(disk::FILE), &kind, bytes)?, bytes));
    }
    // Syncs the file and its directory, `_data` included; the rename syncs the name.
    atomic::fill_json(&made.path.join("volume.json"), &volume, Durability::Synced)?;
    let place = store.volumes().join(&volume.name);
    match atomic::publish_dir(&made.path, &place, Durability::Synced) {
        // Another command was faster: theirs is the volume of that name. (Ours is not in tmp/ any more where only the sync
        // of the rename has failed.)
        Err(_) if place.exists() && made.path.exists() => same(get(store, &volume.name)?, request),
        result => {
            result?;
            events::tell(store, &[events::of_volume(&volume.name, "create", &[])]);
            room.iter().for_each(|(usable, bytes)| disk::tell_usable(&volume.name, *usable, *bytes));
            Ok(volume)
        }
    }
}

/// A volume that is there already serves whoever asks for no options, or for its own. Docker's gives whoever asked for
/// others what is there, without a word: a limit that is none.
fn same(found: Volume, request: &Request) -> Result<Volume> {
    if request.options.is_empty() || request.options == found.options {
        return Ok(found);
    }
    let shown = |value: &str| explain::hidden_words(value.split(','));
    let pairs: Vec<String> = found.options.iter().map(|(key, value)| format!("{key}={}", shown(value))).collect();
    let has = if pairs.is_empty() { "none".to_owned() } else { pairs.join(", ") };
    Err(Error::conflict(format!("create {}: volume name must be unique: there is one with other options", found.name))
        .with_cure(format!("its options are: {has}")))
}

/// Docker's rule for names, in Docker's words.
pub fn check_name(name: &str) -> Result<()> {
    if name.len() == 1 && name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(Error::new("volume name is too short, names should be at least two alphanumeric characters"));
    }
    if !id::valid_name(name) {
        return Err(Error::new(format!(
            "\"{name}\" includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are \
             allowed. If you intended to pass a host directory, use absolute path"
        )));
    }
    if name.len() > 255 {
        return Err(Error::new("volume name is too long: a file's name has at most 255 bytes"));
    }
    Ok(())
}

/// Whether the driver knows these options, and what they ask for can be had here.
pub fn check_options(options: &BTreeMap<String, String>) -> Result<()> {
    disk::check(&options::read(options)?)
}

/// `get NAME: no such volume` (`Kind::NotFound`) where there is none. No name at all is a mistake of the caller's, which
/// `rm -f` does not forgive either.
pub fn get(store: &Store, name: &str) -> Result<Volume> {
    if name.is_empty() {
        return Err(Error::new("invalid volume name or ID: value is empty"));
    }
    let missing = || Error::not_found(format!("get {name}: no such volume"));
    if !id::valid_name(name) {
        return Err(missing());
    }
    match atomic::read_record(&store.volumes().join(name).join("volume.json")) {
        Err(error) if error.is_not_found() => Err(missing()),
        // Its directory's name is its name, whatever an interrupted rename has left in the record.
        result => result.map(|volume: Volume| Volume { name: name.to_owned(), ..volume }),
    }
}

/// The names of all volumes, sorted. What is in that directory is a volume: each came there whole, by one rename.
pub fn names(store: &Store) -> Result<Vec<String>> {
    let directory = store.volumes();
    let entries = std::fs::read_dir(&directory)
        .doing(|| format!("read {}", directory.display()))
        .map_err(crate::store::lost_directory)?;
    let mut names: Vec<String> = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    Ok(names)
}

/// All volumes, by name.
pub fn list(store: &Store) -> Result<Vec<Volume>> {
    let (all, unread) = list_readable(store)?;
    unread.into_iter().next().map_or(Ok(all), Err)
}

/// [`list`] for those who only show what there is: one bad record does not hide the others, and what is wrong with it is told.
pub fn list_readable(store: &Store) -> Result<(Vec<Volume>, Vec<Error>)> {
    let (mut all, mut unread) = (Vec::new(), Vec::new());
    for name in names(store)? {
        match get(store, &name) {
            Ok(volume) => all.push(volume),
            Err(error) if error.is_not_found() => {}
            Err(error) if error.kind == Kind::Newer => unread.push(error),
            Err(error) => {
                unread.push(error.with_cure("`ebb system check --repair` makes it again, or moves it out of the way"))
            }
        }
    }
    Ok((all, unread))
}
