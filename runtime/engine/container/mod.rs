//! Containers: a record of what was asked for, a state that the kernel confirms, and a layer that `rm` washes away.
//!
//! ```text
//! containers/ID/
//!   container.json      what was asked for (record.rs)
//!   state.json          what happened last (state.rs); never believed without asking the kernel
//!   config.json         the OCI bundle, written at each start; rootfs/ is its (empty) root directory
//!   upper/ work/        the writable layer
//!   hostname hosts resolv.conf
//!   log.jsonl           its output, in Docker's json-file format (log/)
//!   attach.sock         the supervisor's door, while it runs
//! ```

pub mod attach;
pub mod bundle;
pub mod copy;
pub mod create;
pub mod diff;
pub mod environment;
pub mod exec;
pub mod export;
pub mod foreign;
pub mod health;
pub mod heedless;
pub mod init;
pub mod inspect;
pub mod keeper;
pub mod leave_out;
pub mod life;
pub mod limits;
pub mod living;
pub mod log;
pub mod loss;
pub mod names;
pub mod namespaces;
pub mod pause;
pub mod probe;
pub mod processes;
pub mod protocol;
pub mod prune;
pub mod random_name;
pub mod record;
pub mod relay;
pub mod remove;
pub mod rename;
pub mod security;
pub mod size;
pub mod state;
pub mod stats;
pub mod stop;
pub mod streams;
pub mod supervisor;
pub mod terminal;
pub mod top;
pub mod unwatched;
pub mod update;
pub mod users;
pub mod wait;
pub mod whereabouts;
mod workdir;

pub use inspect::inspect;

use crate::error::{Error, Kind, Result};
use crate::store::Store;
use record::Container;
use std::path::PathBuf;

pub fn dir(store: &Store, id: &str) -> PathBuf {
    store.containers().join(id)
}

/// What is said of a container that somebody has removed since it was looked up.
pub fn removed(container: &Container) -> Error {
    Error::not_found(format!("No such container: {}", container.name))
}

/// Whatever of the container's is not there: it is [`removed`].
pub fn or_removed(container: &Container) -> impl Fn(Error) -> Error {
    |error| if error.is_not_found() { removed(container) } else { error }
}

/// Finds a container by full name, full id or unambiguous id prefix: `No such container: X` otherwise.
pub fn find(store: &Store, name: &str) -> Result<Container> {
    if name.is_empty() {
        return Err(Error::new("invalid container name or ID: value is empty"));
    }
    if let Ok(target) = std::fs::read_link(store.names().join(name)) {
        let id = target.to_string_lossy();
        match load(store, &id) {
            Ok(container) if container.name == name => return Ok(container),
            Err(error) if !error.is_not_found() && !is_emptied(store, &id) => return Err(unreadable(&id, error)),
            _ => {}
        }
    }
    let missing = || {
        let error = Error::not_found(format!("No such container: {name}"));
        match living::named(store, name) {
            None => error,
            Some(living) => {
                let cure = format!(
                    "its directory is gone, but it runs, as process {}: `ebb rm -f {name}` ends it",
                    living.pid()
                );
                error.with_cure(cure)
            }
        }
    };
    if !name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(missing());
    }
    let mut found = ids(store)?.into_iter().filter(|id| id.starts_with(name));
    match (found.next(), found.next()) {
        (Some(id), None) => load(store, &id).map_err(|error| unreadable(&id, error)),
        (Some(_), Some(_)) => Err(Error::new(format!("multiple IDs found with provided prefix: {name}"))),
        (None, _) => Err(missing()),
    }
}

/// The ids of all containers, in no order.
pub fn ids(store: &Store) -> Result<Vec<String>> {
    use crate::error::Doing;
    let entries = std::fs::read_dir(store.containers())
        .doing(|| format!("read {}", store.containers().display()))
        .map_err(crate::store::lost_directory)?;
    Ok(entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.len() == 64)
        .collect())
}

/// Reads one container's record.
pub fn load(store: &Store, id: &str) -> Result<Container> {
    crate::store::atomic::read_record(&dir(store, id).join("container.json"))
}

/// All containers, the newest first. One that is removed while we read is left out, and so is one that meant nothing after
/// a power cut. Of one that cannot be read nobody knows what it uses: an error, or a volume in use would be taken for idle.
pub fn list(store: &Store) -> Result<Vec<Container>> {
    let Listed { containers, unread } = list_readable(store)?;
    match unread.into_iter().next() {
        Some(error) => Err(error),
        None => Ok(containers),
    }
}

/// What can be read, and what is wrong with the others.
pub struct Listed {
    pub containers: Vec<Container>,
    pub unread: Vec<Error>,
}

/// [`list`] for those who only show what there is: one bad record does not hide the others.
pub fn list_readable(store: &Store) -> Result<Listed> {
    let mut listed = Listed { containers: Vec::new(), unread: Vec::new() };
    for id in ids(store)? {
        match load(store, &id) {
            Ok(container) => listed.containers.push(container),
            Err(error) if error.is_not_found() || is_emptied(store, &id) => {
                // Removed while we read; or it is only the record that is gone.
                if let Some(living) = dir(store, &id).exists().then(|| living::of(store, &id)).flatten() {
                    let (short, pid) = (crate::store::id::short(&id), living.pid());
                    let error =
                        Error::new(format!("the record of container {short} is gone, and it runs, as process {pid}"));
                    listed
                        .unread
                        .push(error.with_cure(format!("`kill -KILL {pid}`, and then `ebb system check --repair`")));
                }
            }
            Err(error) => listed.unread.push(unreadable(&id, error)),
        }
    }
    listed.containers.sort_by(|a, b| b.created.cmp(&a.created));
    Ok(listed)
}

/// What helps where the record of the container `id` cannot be read.
fn unreadable(id: &str, error: Error) -> Error {
    if matches!(error.kind, Kind::Newer | Kind::NotFound) {
        return error;
    }
    let message = format!("the record of container {}: {}", crate::store::id::short(id), error.message);
    Error::of(error.kind, message).with_cure("`ebb system check --repair` moves what cannot be read out of the way")
}

/// Whether a power cut has emptied its record: only what goes with `--rm` is published before it has reached the disk.
pub fn is_emptied(store: &Store, id: &str) -> bool {
    std::fs::metadata(dir(store, id).join("container.json")).is_ok_and(|meta| meta.len() == 0)
}

/// The container's layers as directories, the bottom one first.
pub fn layer_paths(store: &Store, container: &Container) -> Vec<PathBuf> {
    container.layers.iter().map(|layer| store.images().join("layers").join(layer)).collect()
}

/// Where Ebb's own binary is mounted for `--init`, as Docker's tini is. Under that name it is an init: `cli/init.rs`.
pub const INIT_PATH: &str = "/sbin/docker-init";
