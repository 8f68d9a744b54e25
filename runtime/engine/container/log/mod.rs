//! A container's output on the disk, in Docker's json-file format: one JSON object a line, `{"log","stream","time"}`.
//!
//! `log.jsonl` is the newest file; `log.jsonl.1`, `.2`, … are older. The supervisor writes (writer.rs), `logs` reads
//! (reader.rs), and neither waits for the other.

mod encode;
mod reader;
mod writer;

pub use reader::{Entry, Follow, Query, Reader};
pub use writer::Writer;

use super::record::LogConfig;
use crate::error::{Error, Result};
use std::path::{Path, PathBuf};

/// Where a chunk of output came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    pub fn word(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        }
    }
}

/// How much a log may grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one file; `None` is no limit.
    pub file_size: Option<u64>,
    pub files: u32,
}

/// Docker's logs grow for ever. Ours are capped unless the user says otherwise, and `logs` tells when the cap was hit.
const DEFAULT_TOTAL: u64 = 64 << 20;
const DEFAULT_FILES: u32 = 4;

impl Limits {
    /// `--log-opt max-size` and `max-file`, in Docker's notation (`10m`; `-1` for no limit).
    pub fn of(config: &LogConfig) -> Result<Limits> {
        if let Some(key) = config.config.keys().find(|key| !["max-size", "max-file"].contains(&key.as_str())) {
            return Err(Error::new(format!("unknown log opt '{key}' for {} log driver", config.kind)));
        }
        let files = match config.config.get("max-file") {
            None => None,
            Some(text) => match text.parse::<u32>() {
                Ok(0) => return Err(Error::new("max-file cannot be less than 1")),
                Ok(files) => Some(files),
                Err(_) => return Err(Error::new(format!("invalid value for max-file: {text:?} is not a number"))),
            },
        };
        match config.config.get("max-size").map(String::as_str) {
            None => {
                let files = files.unwrap_or(DEFAULT_FILES);
                Ok(Limits { file_size: Some(DEFAULT_TOTAL / u64::from(files)), files })
            }
            Some("-1") => Ok(Limits { file_size: None, files: files.unwrap_or(1) }),
            Some(text) => match human_size(text) {
                Some(0) => Err(Error::new("max-size should be a positive number")),
                None => Err(Error::new(format!("invalid value for max-size: {text:?} is not a size"))),
                size => Ok(Limits { file_size: size, files: files.unwrap_or(1) }),
            },
        }
    }
}

/// Refuses a log driver, or an option of one, that we do not know. For `create`, before anything is made.
pub fn check(config: &LogConfig) -> Result<()> {
    match config.kind.as_str() {
        "none" => Ok(()),
        "json-file" => Limits::of(config).map(drop),
        other => Err(Error::new(format!("logger: no log driver named '{other}' is registered"))
            .with_cure("Ebb has json-file and none")),
    }
}

/// `10m`, `1.5GB`, `4096`: decimal multiples, as Docker's `units.FromHumanSize`.
fn human_size(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == ' ');
    let unit = text[digits.len()..].trim().to_ascii_lowercase();
    let number: f64 = digits.parse().ok().filter(|number| *number >= 0.0)?;
    let factor = match unit.strip_suffix('b').unwrap_or(&unit) {
        "" => 1.0,
        "k" => 1e3,
        "m" => 1e6,
        "g" => 1e9,
        "t" => 1e12,
        _ => return None,
    };
    Some((number * factor) as u64)
}

/// The newest file.
pub fn path(dir: &Path) -> PathBuf {
    dir.join("log.jsonl")
}

/// The file that is `age` rotations old; 0 is the newest.
fn aged(dir: &Path, age: u32) -> PathBuf {
    if age == 0 { path(dir) } else { dir.join(format!("log.jsonl.{age}")) }
}

/// Stands beside a log whose oldest lines were dropped because it had reached its size.
fn dropped_mark(dir: &Path) -> PathBuf {
    dir.join("log.dropped")
}

/// Whether lines were dropped because the log had reached its size.
pub fn has_dropped(dir: &Path) -> bool {
    dropped_mark(dir).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(options: &[(&str, &str)]) -> Result<Limits> {
        let config = options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Limits::of(&LogConfig { kind: "json-file".into(), config })
    }

    #[test]
    fn a_log_without_options_is_capped_at_64_mib() {
        let found = limits(&[]).unwrap();
        assert_eq!(found.file_size.unwrap() * u64::from(found.files), 64 << 20);
    }

    #[test]
    fn sizes_are_decimal_as_in_docker_and_bad_ones_are_refused() {
        assert_eq!(limits(&[("max-size", "10m")]).unwrap(), Limits { file_size: Some(10_000_000), files: 1 });
        assert_eq!(limits(&[("max-size", "1.5kb"), ("max-file", "3")]).unwrap().file_size, Some(1500));
        assert_eq!(limits(&[("max-size", "-1")]).unwrap().file_size, None);
        for bad in ["0", "x", "10q", "-5m", ""] {
            assert!(limits(&[("max-size", bad)]).is_err(), "{bad}");
        }
        assert!(limits(&[("max-file", "0")]).is_err());
        assert!(limits(&[("labels", "a")]).is_err());
    }
}
