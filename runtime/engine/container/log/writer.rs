//! Writing a log: the supervisor's side.

use super::{Limits, Stream, aged, dropped_mark, encode, path};
use crate::engine::container::record::LogConfig;
use crate::error::{Doing, Result};
use jiff::Timestamp;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A line longer than this is written in pieces, of which only the last ends in a newline. As Docker.
const PIECE: usize = 16 * 1024;

/// A container's log, open for writing. Only its supervisor has one.
pub struct Writer {
    /// `None` with `--log-driver none`.
    files: Option<Files>,
    stdout: Line,
    stderr: Line,
}

/// A line that has not ended yet.
#[derive(Default)]
struct Line {
    bytes: Vec<u8>,
    /// When its first piece was written; the later ones carry the same time.
    began: Option<Timestamp>,
}

impl Writer {
    /// Opens the log in the container's directory for appending. A writer that was killed in the middle of a line left
    /// it without an end; ours begins on a new one.
    pub fn open(dir: &Path, config: &LogConfig) -> Result<Writer> {
        let files = match config.kind.as_str() {
            "none" => None,
            _ => Some(Files::open(dir, Limits::of(config)?)?),
        };
        Ok(Writer { files, stdout: Line::default(), stderr: Line::default() })
    }

    /// Takes output as it was read. What is not a whole line yet is kept until it is one, or 16 KiB long, or
    /// [`Writer::finish`]. When the disk is full, lines are lost and the error says so; the next call tries again.
    pub fn write(&mut self, stream: Stream, bytes: &[u8], time: Timestamp) -> Result<()> {
        let Some(files) = &mut self.files else { return Ok(()) };
        let line = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        let mut result = Ok(());
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = (PIECE - line.bytes.len()).min(rest.len());
            let (take, ended) = match rest[..room].iter().position(|byte| *byte == b'\n') {
                Some(at) => (at + 1, true),
                None => (room, false),
            };
            line.bytes.extend_from_slice(&rest[..take]);
            rest = &rest[take..];
            if ended || line.bytes.len() == PIECE {
                let began = *line.began.get_or_insert(time);
                result = result.and(files.add(&line.bytes, stream, began));
                line.bytes.clear();
                if ended {
                    line.began = None;
                }
            }
        }
        result.and(files.flush())
    }

    /// Writes what is left of unfinished lines, without a newline of our own: the output has ended.
    pub fn finish(&mut self, time: Timestamp) -> Result<()> {
        let Some(files) = &mut self.files else { return Ok(()) };
        for (line, stream) in [(&mut self.stdout, Stream::Stdout), (&mut self.stderr, Stream::Stderr)] {
            if !line.bytes.is_empty() {
                files.add(&line.bytes, stream, line.began.unwrap_or(time))?;
            }
            *line = Line::default();
        }
        files.flush()
    }
}

/// The newest file, and what rotates it.
struct Files {
    dir: PathBuf,
    limits: Limits,
    newest: File,
    /// Its length, without the records in `batch`.
    length: u64,
    /// Whole records, to be written by one write(2).
    batch: Vec<u8>,
}

impl Files {
    fn open(dir: &Path, limits: Limits) -> Result<Files> {
        let (newest, length) = open_newest(dir)?;
        Ok(Files { dir: dir.to_owned(), limits, newest, length, batch: Vec::new() })
    }

    fn add(&mut self, text: &[u8], stream: Stream, time: Timestamp) -> Result<()> {
        let before = self.batch.len();
        encode::record(&mut self.batch, text, stream, &encode::time(time));
        let filled = self.length + before as u64;
        if self.limits.file_size.is_some_and(|size| filled > 0 && self.length + self.batch.len() as u64 > size) {
            let record = self.batch.split_off(before);
            self.flush()?;
            self.rotate()?;
            self.batch = record;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let batch = std::mem::take(&mut self.batch);
        let written = self.newest.write_all(&batch);
        match written {
            Ok(()) => self.length += batch.len() as u64,
            // The disk is full: half a record would swallow the one after it.
            Err(_) => drop(self.newest.set_len(self.length)),
        }
        self.batch = batch;
        self.batch.clear();
        written.doing(|| format!("write the log {}", path(&self.dir).display()))
    }

    /// `log.jsonl` becomes `.1`, `.1` becomes `.2`, and so on; the one that is too old goes. A reader that has a file
    /// open keeps it.
    fn rotate(&mut self) -> Result<()> {
        let oldest = aged(&self.dir, self.limits.files - 1);
        if oldest.exists() {
            std::fs::remove_file(&oldest).doing(|| format!("rotate the log {}", oldest.display()))?;
            let _ = File::create(dropped_mark(&self.dir));
        }
        for age in (0..self.limits.files - 1).rev() {
            match std::fs::rename(aged(&self.dir, age), aged(&self.dir, age + 1)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).doing(|| format!("rotate the log {}", aged(&self.dir, age).display()));
                }
                _ => {}
            }
        }
        (self.newest, self.length) = open_newest(&self.dir)?;
        Ok(())
    }
}

fn open_newest(dir: &Path) -> Result<(File, u64)> {
    let path = path(dir);
    let open = || -> std::io::Result<(File, u64)> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&path)?;
        let length = file.metadata()?.len();
        if length > 0 {
            let mut last = [0u8];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                file.write_all(b"\n")?;
                return Ok((file, length + 1));
            }
        }
        Ok((file, length))
    };
    open().doing(|| format!("open the log {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Dir(PathBuf);

    impl Dir {
        fn new() -> Dir {
            let name = format!("ebb-log-{}", crate::store::id::random().unwrap());
            let path = std::env::temp_dir().join(name);
            std::fs::create_dir(&path).unwrap();
            Dir(path)
        }

        fn read(&self, age: u32) -> String {
            std::fs::read_to_string(aged(&self.0, age)).unwrap_or_default()
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn writer(dir: &Dir, options: &[(&str, &str)]) -> Writer {
        let config = options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Writer::open(&dir.0, &LogConfig { kind: "json-file".into(), config }).unwrap()
    }

    const AT: Timestamp = Timestamp::UNIX_EPOCH;

    #[test]
    fn a_line_in_pieces_is_one_record_and_an_unended_one_has_no_newline() {
        let dir = Dir::new();
        let mut log = writer(&dir, &[]);
        log.write(Stream::Stdout, b"one\ntw", AT).unwrap();
        log.write(Stream::Stderr, b"err\n", AT).unwrap();
        log.write(Stream::Stdout, b"o\nthree", AT).unwrap();
        log.finish(AT).unwrap();
        let logs: Vec<String> = dir
            .read(0)
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["log"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(logs, ["one\n", "err\n", "two\n", "three"]);
    }

    #[test]
    fn a_long_line_is_cut_at_16_kib() {
        let dir = Dir::new();
        let mut log = writer(&dir, &[]);
        let mut line = vec![b'x'; 40_000];
        line.push(b'\n');
        log.write(Stream::Stdout, &line, AT).unwrap();
        let lengths: Vec<usize> = dir
            .read(0)
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["log"].as_str().unwrap().len())
            .collect();
        assert_eq!(lengths, [PIECE, PIECE, 40_001 - 2 * PIECE]);
    }

    #[test]
    fn a_full_file_is_rotated_and_the_oldest_dropped() {
        let dir = Dir::new();
        let mut log = writer(&dir, &[("max-size", "100"), ("max-file", "2")]);
        for line in ["a\n", "b\n", "c\n"] {
            log.write(Stream::Stdout, line.as_bytes(), AT).unwrap();
        }
        assert!(dir.read(0).contains("\"c\\n\"") && dir.read(1).contains("\"b\\n\""));
        assert!(!aged(&dir.0, 2).exists() && super::super::has_dropped(&dir.0));
    }

    #[test]
    fn what_a_killed_writer_left_does_not_swallow_the_next_line() {
        let dir = Dir::new();
        std::fs::write(path(&dir.0), b"{\"log\":\"hal").unwrap();
        writer(&dir, &[]).write(Stream::Stdout, b"next\n", AT).unwrap();
        assert_eq!(dir.read(0).lines().count(), 2);
        assert!(dir.read(0).lines().nth(1).unwrap().starts_with("{\"log\":\"next\\n\""));
    }
}
