//! Every metadata write is atomic: a reader finds the old content or the new. What a command acknowledges for good is
//! durable, too: fsync before the rename, and of the directory after it.

use super::id;
use crate::error::{Doing, Error, Kind, Result};
use crate::explain::{self, calls};
use crate::umask;
use serde::{Serialize, de::DeserializeOwned};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Whether a change is on the disk before it is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    Synced,
    /// For what means nothing after a power cut: the state of what runs, and whatever goes with `--rm`.
    Unsynced,
}

/// Replaces `path` by `bytes`: a reader, or a crash, finds the old content or the new, never a mix.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    put(path, bytes, Durability::Synced)
}

fn put(path: &Path, bytes: &[u8], durability: Durability) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = beside(path)?;
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        let forced = if durability == Durability::Synced { ", forced to the disk" } else { "" };
        explain::step(
            format_args!("{name} is replaced whole: written beside it{forced}, renamed over it"),
            format_args!("mv {} {}", temporary.display(), path.display()),
        );
        if durability == Durability::Synced {
            calls::fdatasync(&file)?;
        } else if path.exists() && calls::rename_exchange(&temporary, path).is_ok() {
            // ext4 writes out at once what is renamed over another file (ext4(5), auto_da_alloc), and has us wait while it
            // looks for the blocks. What changes places with another it leaves in memory.
            let _ = std::fs::remove_file(&temporary);
            return Ok(());
        }
        calls::rename(&temporary, path)
    })();
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written.doing(|| format!("write {}", path.display()))?;
    sync_parent(path, durability)
}

/// A name beside `path` for what is not whole yet. It is to be made with O_EXCL, which follows no link; and nobody can have
/// foreseen it, where others can write to that directory.
pub fn beside(path: &Path) -> Result<PathBuf> {
    // A file's name has at most 255 bytes.
    let name: String = path.file_name().unwrap_or_default().to_string_lossy().chars().take(50).collect();
    Ok(path.with_file_name(format!(".{name}.{}", &id::random()?[..id::LONG_TAIL])))
}

/// Writes a file of the caller's, with the caller's umask, where the caller has said, be it in a directory that others can
/// write to: whole or not at all, and in the place of a link, not where that leads.
pub fn write_output(path: &Path, bytes: &[u8]) -> Result<()> {
    let doing = || format!("write {}", path.display());
    let temporary = beside(path)?;
    let made = umask::with_callers(|| OpenOptions::new().write(true).create_new(true).open(&temporary));
    let written = made.doing(doing)?.write_all(bytes).and_then(|()| std::fs::rename(&temporary, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written.doing(doing)
}

fn sync_parent(path: &Path, durability: Durability) -> Result<()> {
    match durability {
        Durability::Synced => sync_dir(path.parent().unwrap_or(Path::new("/"))),
        Durability::Unsynced => Ok(()),
    }
}

/// [`write`] of a value as pretty JSON: what is in the store is there to be read by people too.
pub fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    put_json(path, value, Durability::Synced)
}

/// [`write_json`], as durable as asked.
pub fn put_json<T: Serialize>(path: &Path, value: &T, durability: Durability) -> Result<()> {
    let mut bytes = serde_json::to_vec_pretty(value).doing(|| format!("encode {}", path.display()))?;
    bytes.push(b'\n');
    put(path, &bytes, durability)
}

/// Writes a file of a directory that is still being made, and that nobody looks into before [`publish_dir`]: in its
/// place at once. Both it and the directory, with all the names that it has by now, are then one commit of the journal.
pub fn fill_json<T: Serialize>(path: &Path, value: &T, durability: Durability) -> Result<()> {
    let mut bytes = serde_json::to_vec_pretty(value).doing(|| format!("encode {}", path.display()))?;
    bytes.push(b'\n');
    let doing = || format!("write {}", path.display());
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).doing(doing)?;
    file.write_all(&bytes).doing(doing)?;
    if durability == Durability::Synced {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        explain::step(
            format_args!("{name} is written, and forced to the disk"),
            format_args!("sync {}", path.display()),
        );
        calls::fdatasync(&file).doing(doing)?;
    }
    sync_parent(path, durability)
}

/// Reads what [`write_json`] wrote. A missing file is `Kind::NotFound`.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = std::fs::read(path).doing(|| format!("read {}", path.display()))?;
    serde_json::from_slice(&bytes).doing(|| format!("read {}", path.display()))
}

/// A record of the store, which says which version of its format it has.
pub trait Versioned {
    /// The version that this Ebb writes, and the latest that it reads.
    const VERSION: u32;
    fn version(&self) -> u32;
}

/// [`read_json`] of a record. One of a later version is `Kind::Newer`, whether it could be read or not: what this Ebb does
/// not know of, it would lose when it writes.
pub fn read_record<T: DeserializeOwned + Versioned>(path: &Path) -> Result<T> {
    #[derive(serde::Deserialize)]
    struct Mark {
        #[serde(alias = "Version")]
        version: u32,
    }
    let doing = || format!("read {}", path.display());
    let bytes = std::fs::read(path).doing(doing)?;
    let parsed = serde_json::from_slice::<T>(&bytes);
    let version = match &parsed {
        Ok(record) => record.version(),
        Err(_) => serde_json::from_slice::<Mark>(&bytes).map_or(0, |mark| mark.version),
    };
    if version > T::VERSION {
        return Err(Error::of(
            Kind::Newer,
            format!(
                "{} was written by a later Ebb: it has version {version}, and this Ebb knows versions up to {}",
                path.display(),
                T::VERSION
            ),
        )
        .with_cure("use the Ebb that wrote it, or a later one; nothing was changed"));
    }
    parsed.doing(doing)
}

/// Renames a finished directory from `tmp/` to its place, which must not exist yet, and makes that durable. (That it
/// has left `tmp/` need not last: there it would be cleared.)
/// The caller has already synced what is inside (or calls [`crate::store::Store::sync`] before it answers).
pub fn publish_dir(made: &Path, place: &Path, durability: Durability) -> Result<()> {
    explain::step(
        "it is whole now, and appears in its place in one rename",
        format_args!("mv --no-clobber {} {}", made.display(), place.display()),
    );
    calls::rename_new(made, place).doing(|| format!("publish {}", place.display()))?;
    sync_parent(place, durability)
}

/// A name in a directory is durable only when the directory itself has been synced (fsync(2), NOTES).
pub fn sync_dir(path: &Path) -> Result<()> {
    File::open(path).and_then(|dir| calls::fsync(&dir)).doing(|| format!("sync {}", path.display()))
}
