//! Packs a root directory into a tar: sorted, owned by root, with times that depend on nothing but the packages, so that
//! the same packages make the same layer, bit by bit, for every user on every day.

use crate::error::{Doing, Error, Result};
use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io::{BufWriter, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use tar::{Builder, EntryType, Header};

/// Writes `root` to the new file `tar`. What was changed after `began` was made by the recipe and not by a package: it
/// gets the time of the newest file that came in a package, which is also returned (seconds since 1970).
pub fn write(root: &Path, tar: &Path, began: SystemTime) -> Result<i64> {
    let mut entries = Vec::new();
    collect(root, &mut entries)?;
    entries.sort_by(|(one, _), (other, _)| one.cmp(other));
    let began = began.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
    // Links are made by whoever copies, and directories change with what is in them: only files have times of their own.
    let files = entries.iter().filter(|(_, meta)| meta.is_file());
    let newest = files.map(|(_, meta)| meta.mtime()).filter(|time| *time < began).max().unwrap_or(0).max(0);
    let out = File::create_new(tar).doing(|| format!("make {}", tar.display()))?;
    let mut builder = Builder::new(BufWriter::new(out));
    let mut first_names = BTreeMap::new();
    for (path, meta) in &entries {
        let name = path.strip_prefix(root).unwrap_or(path);
        let mut header = Header::new_gnu();
        header.set_mode(meta.mode() & 0o7777);
        header.set_mtime(if (0..began).contains(&meta.mtime()) { meta.mtime() } else { newest } as u64);
        let added = if let Some(first) = first_names.get(&(meta.dev(), meta.ino())) {
            header.set_entry_type(EntryType::Link);
            header.set_size(0);
            builder.append_link(&mut header, name, first)
        } else {
            if meta.is_file() && meta.nlink() > 1 {
                first_names.insert((meta.dev(), meta.ino()), name.to_owned());
            }
            add(&mut builder, &mut header, path, name, meta)
        };
        added.doing(|| format!("pack {}", path.display()))?;
    }
    builder.into_inner().and_then(|mut out| out.flush()).doing(|| format!("write {}", tar.display()))?;
    Ok(newest)
}

fn add(
    builder: &mut Builder<impl Write>,
    header: &mut Header,
    path: &Path,
    name: &Path,
    meta: &Metadata,
) -> std::io::Result<()> {
    header.set_size(0);
    if meta.is_symlink() {
        header.set_entry_type(EntryType::Symlink);
        builder.append_link(header, name, std::fs::read_link(path)?)
    } else if meta.is_dir() {
        header.set_entry_type(EntryType::Directory);
        builder.append_data(header, name, std::io::empty())
    } else {
        header.set_entry_type(EntryType::Regular);
        header.set_size(meta.len());
        builder.append_data(header, name, File::open(path)?)
    }
}

fn collect(dir: &Path, entries: &mut Vec<(PathBuf, Metadata)>) -> Result<()> {
    for entry in std::fs::read_dir(dir).doing(|| format!("read {}", dir.display()))? {
        let path = entry.doing(|| format!("read {}", dir.display()))?.path();
        let meta = std::fs::symlink_metadata(&path).doing(|| format!("read {}", path.display()))?;
        if meta.is_dir() {
            collect(&path, entries)?;
        } else if !meta.is_file() && !meta.is_symlink() {
            return Err(Error::new(format!("{} is neither a file nor a directory", path.display())));
        }
        entries.push((path, meta));
    }
    Ok(())
}
