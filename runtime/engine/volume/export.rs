//! A volume as one tar: what is in it with owners (the container's own ids, whoever runs this), modes, times, attributes,
//! ACLs, links, holes, FIFOs and sockets.

use super::beside::Beside;
use super::{Volume, get, mountpoint, open};
use crate::engine::image::digest::Digesting;
use crate::engine::{idmap, mounts};
use crate::error::{Doing, Error, Result};
use crate::oci;
use crate::store::early::Early;
use crate::store::pack::{Keep, Pack};
use crate::store::{Store, beneath};
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, fstat};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// How an archive is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Plain,
    Gzip,
    Zstd,
}

impl Format {
    /// What a file's name says; a name that says something else is refused, rather than made to lie.
    pub fn of(path: &Path) -> Result<Format> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
        if ends(&[".xz", ".txz", ".bz2", ".tbz2", ".tbz", ".lz4", ".lzma", ".zip", ".7z"]) {
            return Err(Error::new(format!("{} names a format that is not written", path.display())).with_cure(
                "name it .tar, .tar.gz or .tar.zst; without -o the plain tar goes to stdout, for any program",
            ));
        }
        Ok(match () {
            () if ends(&[".gz", ".tgz"]) => Format::Gzip,
            () if ends(&[".zst", ".tzst", ".zstd"]) => Format::Zstd,
            () => Format::Plain,
        })
    }
}

/// What was written.
#[derive(Debug, Serialize, Deserialize)]
pub struct Exported {
    /// `sha256:…` of what was written, as it was.
    pub digest: String,
    /// The first file that changed while it was read, and how many did.
    pub changed: Option<(PathBuf, u64)>,
}

/// All of an archive but its end.
#[derive(Debug, Serialize, Deserialize)]
struct Begun {
    exported: Exported,
    written: u64,
    end: Vec<u8>,
}

/// Writes the volume to `out`. `progress` is told the bytes that were packed so far. The archive gets its end only when
/// the volume is still there, and `sound` says so too: without it nobody takes what came through a pipe for a backup.
pub fn export(
    store: &Store,
    name: &str,
    out: &File,
    format: Format,
    progress: &mut dyn FnMut(u64),
    sound: &dyn Fn() -> Result<()>,
) -> Result<Exported> {
    let doing = || format!("export {name}");
    let volume = get(store, name)?;
    mounts::finish_copy_up_of(store, name).doing(doing)?;
    let place = place(store, &volume)?;
    let data = open(store, &volume)?;
    let ids = idmap::store_ids()?;
    let beside = Beside::of_written(out).doing(doing)?;
    let written = oci::with_ids(ids.map(), || write(&data, Output::new(out, beside.as_ref()), format, progress))
        .doing(doing)
        .and_then(|begun| {
            if !is_still_there(store, &volume, &place) {
                let name = &volume.name;
                let why = format!("export {name}: the volume was removed, renamed or replaced meanwhile");
                return Err(Error::conflict(why));
            }
            sound()?;
            let mut out = out;
            out.write_all(&begun.end).doing(|| "end the archive").doing(doing)?;
            let total = begun.written + begun.end.len() as u64;
            beside.as_ref().map_or(Ok(()), |beside| beside.written(total)).doing(doing)?;
            Ok(begun.exported)
        });
    let digest = beside.map(Beside::finish).transpose();
    let mut exported = written?;
    if let Some(digest) = digest.doing(doing)? {
        exported.digest = digest;
    }
    exported.digest.insert_str(0, "sha256:");
    Ok(exported)
}

/// What is removed or replaced while it is read vanishes from under the reader: a part of it must not pass for the whole.
/// (Whoever does that moves it away first, and deletes then: what is still there was there all the time.)
pub(super) fn is_still_there(store: &Store, volume: &Volume, place: &OwnedFd) -> bool {
    let file = |fd: &OwnedFd| fstat(fd).map(|stat| (stat.st_dev, stat.st_ino)).ok();
    let now = get(store, &volume.name).and_then(|volume| self::place(store, &volume));
    now.is_ok_and(|now| file(&now) == file(place))
}

/// What tells this volume from a later one of the same name, wherever their data lie: its `_data`, whose inode number is
/// nobody else's for as long as it is open. To be opened before the data are.
pub(super) fn place(store: &Store, volume: &Volume) -> Result<OwnedFd> {
    beneath::root(&mountpoint(store, &volume.name))
}

fn write(data: &OwnedFd, out: Output, format: Format, progress: &mut dyn FnMut(u64)) -> Result<Begun> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
    let top = beneath::open(data, Path::new(""), flags, Mode::empty()).doing(|| "open its directory")?;
    let archive = fstat(out.file).map(|stat| (stat.st_dev, stat.st_ino)).ok();
    let keep = Keep { nanoseconds: true, sockets: true, except: archive };
    let sink = Sink { stream: Stream::new(out, format).doing(|| "begin the archive")?, packed: 0, progress };
    let mut pack = Pack::keeping(sink, keep);
    pack.opened(top, Path::new("."))?;
    let changed = pack.changed().map(|(first, count)| (first.to_owned(), count));
    pack.written()?.stream.output().end = Some(Vec::new());
    let out = pack.finish()?.stream.finish().doing(|| "end the archive")?;
    let digest = out.digest.map(Digesting::finish).unwrap_or_default();
    Ok(Begun { exported: Exported { digest, changed }, written: out.written, end: out.end.unwrap_or_default() })
}

/// Tells how much has come by.
struct Sink<'a> {
    stream: Stream<'a>,
    packed: u64,
    progress: &'a mut dyn FnMut(u64),
}

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.stream.write(bytes)?;
        self.packed += length as u64;
        (self.progress)(self.packed);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Where the archive goes, and who digests it.
struct Output<'a> {
    file: &'a File,
    beside: Option<&'a Beside>,
    /// Where it is one that can be synced.
    early: Option<Early>,
    /// Where nobody does it beside us.
    digest: Option<Digesting<io::Sink>>,
    written: u64,
    /// The archive's end, which is kept from the file.
    end: Option<Vec<u8>>,
}

impl<'a> Output<'a> {
    fn new(file: &'a File, beside: Option<&'a Beside>) -> Output<'a> {
        let digest = beside.is_none().then(|| Digesting::new(io::sink()));
        let early = beside.and_then(|_| file.try_clone().ok()).map(Early::of);
        Output { file, beside, early, digest, written: 0, end: None }
    }
}

impl Write for Output<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = match &mut self.end {
            Some(end) => end.write(bytes)?,
            None => self.file.write(bytes)?,
        };
        if let Some(digest) = &mut self.digest {
            digest.write_all(&bytes[..length])?;
        }
        if self.end.is_some() {
            return Ok(length);
        }
        self.written += length as u64;
        if let Some(early) = &mut self.early {
            early.made(length as u64, 0);
        }
        if let Some(beside) = self.beside {
            beside.written(self.written)?;
        }
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Compresses on the way. zstd's level 1 keeps up with a disk; more would cost time that a backup is skipped for. It
/// runs in this process: a second thread would forbid us to clone.
enum Stream<'a> {
    Plain(Output<'a>),
    Gzip(flate2::write::GzEncoder<Output<'a>>),
    Zstd(zstd::stream::write::Encoder<'static, Output<'a>>),
}

impl<'a> Stream<'a> {
    fn new(out: Output<'a>, format: Format) -> io::Result<Stream<'a>> {
        Ok(match format {
            Format::Plain => Stream::Plain(out),
            Format::Gzip => Stream::Gzip(flate2::write::GzEncoder::new(out, flate2::Compression::default())),
            Format::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(out, 1)?;
                encoder.include_checksum(true)?;
                Stream::Zstd(encoder)
            }
        })
    }

    fn output(&mut self) -> &mut Output<'a> {
        match self {
            Stream::Plain(out) => out,
            Stream::Gzip(out) => out.get_mut(),
            Stream::Zstd(out) => out.get_mut(),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(out) => out.write(bytes),
            Stream::Gzip(out) => out.write(bytes),
            Stream::Zstd(out) => out.write(bytes),
        }
    }

    fn finish(self) -> io::Result<Output<'a>> {
        match self {
            Stream::Plain(out) => Ok(out),
            Stream::Gzip(out) => out.finish(),
            Stream::Zstd(out) => out.finish(),
        }
    }
}
