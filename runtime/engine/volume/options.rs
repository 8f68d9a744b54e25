//! What the options of a volume mean: `type`, `o` and `device` are mount(8)'s, `size` is a limit.

use crate::engine::container::limits;
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Where a volume's data lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In `volumes/NAME/_data` itself.
    Plain,
    /// In a directory of the host's.
    Directory { device: PathBuf, recursive: bool, words: Vec<String> },
    /// In a file system that is mounted while somebody uses it.
    FileSystem { kind: String, device: String, words: Vec<String> },
    /// In a file system of so many bytes, made by Ebb in the file `volumes/NAME/disk`.
    Disk { kind: String, bytes: u64, words: Vec<String> },
}

/// Reads a volume's options. An error is Docker's, or says what cannot be.
pub fn read(options: &BTreeMap<String, String>) -> Result<Place> {
    if let Some(unknown) = options.keys().find(|key| !["type", "o", "device", "size"].contains(&key.as_str())) {
        return Err(Error::new(format!("invalid option: \"{unknown}\"")));
    }
    let option = |key: &str| options.get(key).map(String::as_str).filter(|value| !value.is_empty());
    let mut words: Vec<String> =
        option("o").unwrap_or_default().split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect();
    let bytes = option("size").map(size).transpose()?;
    match (option("type"), option("device"), bytes) {
        (None, None, None) if words.is_empty() => Ok(Place::Plain),
        (Some("tmpfs"), device, Some(bytes)) => {
            if words.iter().any(|word| word.starts_with("size=")) {
                return Err(Error::new("the size is given twice: size= is the same as o=size="));
            }
            words.push(format!("size={bytes}"));
            Ok(Place::FileSystem { kind: "tmpfs".into(), device: device.unwrap_or("tmpfs").into(), words })
        }
        (_, Some(device), Some(_)) => {
            Err(Error::new(format!("quota size requested but no quota support: {device} has a size of its own"))
                .with_cure("leave out device=, and Ebb makes a file system of that size"))
        }
        (kind, None, Some(bytes)) => {
            let kind = kind.unwrap_or("ext4");
            if !DISKS.contains(&kind) {
                return Err(Error::new(format!(
                    "quota size requested but no quota support: Ebb makes no file system of type {kind}"
                ))
                .with_cure(format!("type= {} or tmpfs can have a size", DISKS.join(", "))));
            }
            Ok(Place::Disk { kind: kind.to_owned(), bytes, words })
        }
        (None, Some(_), None) => Err(missing("type")),
        (_, None, None) => Err(missing("device")),
        (Some(kind), Some(device), None) => mounted(kind, device, words),
    }
}

/// The types that `size=` can make: their mkfs takes the same words.
pub const DISKS: [&str; 3] = ["ext4", "ext3", "ext2"];

fn missing(option: &str) -> Error {
    Error::new(format!("missing required option: \"{option}\""))
}

fn size(text: &str) -> Result<u64> {
    let bytes = limits::memory(text)?;
    u64::try_from(bytes).ok().filter(|bytes| *bytes > 0).ok_or_else(|| Error::new(format!("invalid size: '{text}'")))
}

/// mount(8)'s own distinction: with the word `bind` the type means nothing.
fn mounted(kind: &str, device: &str, mut words: Vec<String>) -> Result<Place> {
    let is_bind = |word: &String| matches!(word.as_str(), "bind" | "rbind");
    if words.iter().any(is_bind) {
        if !device.starts_with('/') {
            return Err(Error::new(format!("the device {device} of a bind is no absolute path")));
        }
        let recursive = words.iter().any(|word| word == "rbind");
        words.retain(|word| !is_bind(word));
        return Ok(Place::Directory { device: PathBuf::from(device), recursive, words });
    }
    if kind == "none" {
        return Err(Error::new("type=none is for a bind").with_cure(format!("-o o=bind shows the directory {device}")));
    }
    Ok(Place::FileSystem { kind: kind.to_owned(), device: device.to_owned(), words })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(pairs: &[(&str, &str)]) -> Result<Place> {
        read(&pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn the_words_are_those_of_mount() {
        let tmpfs = place(&[("type", "tmpfs"), ("device", "tmpfs"), ("o", "size=100m,uid=1000")]).unwrap();
        let words = vec!["size=100m".to_owned(), "uid=1000".to_owned()];
        assert_eq!(tmpfs, Place::FileSystem { kind: "tmpfs".into(), device: "tmpfs".into(), words });
        let bind = place(&[("type", "none"), ("device", "/srv"), ("o", "rbind,ro")]).unwrap();
        let words = vec!["ro".to_owned()];
        assert_eq!(bind, Place::Directory { device: "/srv".into(), recursive: true, words });
        assert_eq!(place(&[]).unwrap(), Place::Plain);
    }

    #[test]
    fn a_size_is_a_disk_or_a_tmpfs() {
        let disk = place(&[("size", "10m")]).unwrap();
        assert_eq!(disk, Place::Disk { kind: "ext4".into(), bytes: 10 << 20, words: Vec::new() });
        let tmpfs = place(&[("type", "tmpfs"), ("size", "1k")]).unwrap();
        assert!(matches!(tmpfs, Place::FileSystem { words, .. } if words == ["size=1024"]));
        assert!(place(&[("type", "tmpfs"), ("size", "1k"), ("o", "size=2k")]).is_err());
        assert!(place(&[("type", "ext4"), ("device", "/dev/sdb"), ("size", "1g")]).is_err());
        assert!(place(&[("type", "vfat"), ("size", "1g")]).is_err());
        for bad in ["0", "-1", "x"] {
            assert!(place(&[("size", bad)]).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_missing_is_named_in_dockers_words() {
        let message = |pairs: &[(&str, &str)]| place(pairs).unwrap_err().message;
        assert_eq!(message(&[("o", "size=1")]), "missing required option: \"device\"");
        assert_eq!(message(&[("type", "tmpfs")]), "missing required option: \"device\"");
        assert_eq!(message(&[("device", "/x")]), "missing required option: \"type\"");
        assert_eq!(message(&[("bogus", "1")]), "invalid option: \"bogus\"");
        assert!(message(&[("type", "none"), ("device", "/x")]).contains("is for a bind"));
    }
}
