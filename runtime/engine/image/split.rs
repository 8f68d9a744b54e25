//! A layer's tar, taken apart and put together again. The contents of its files lie in the layer's tree; everything else
//! (headers, padding, in the order and with the bytes of the original) is recorded here. So `save` gives back the very
//! tar that came in, with its digest, and no content is stored twice.
//!
//! The record is a zstd stream of pieces: `r`, a length, bytes; `f`, a length, the length of a path, the path; or `m`, a
//! number, the length of a path, the path: something else takes this path from here on, and what had it is `replaced/NUMBER`.

use crate::error::{Doing, Error, Result};
use crate::store::beneath;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Records what passes through it, but for what [`Tap::skip`] names.
pub struct Recorder<R> {
    inner: R,
    tap: Tap,
}

/// The handle by which the unpacking says what passes next.
#[derive(Clone)]
pub struct Tap(Rc<RefCell<Record>>);

struct Record {
    out: zstd::stream::write::Encoder<'static, BufWriter<File>>,
    pending: Vec<u8>,
    /// So many of the next bytes are a file's contents.
    skipping: u64,
}

impl<R: Read> Recorder<R> {
    pub fn create(path: &Path, inner: R) -> Result<Recorder<R>> {
        let doing = || format!("write {}", path.display());
        let file = File::create(path).doing(doing)?;
        let out = zstd::stream::write::Encoder::new(BufWriter::new(file), 1).doing(doing)?;
        let record = Record { out, pending: Vec::new(), skipping: 0 };
        Ok(Recorder { inner, tap: Tap(Rc::new(RefCell::new(record))) })
    }

    pub fn tap(&self) -> Tap {
        self.tap.clone()
    }

    /// Reads what is left to the end, and closes the record.
    pub fn finish(mut self) -> Result<R> {
        io::copy(&mut self, &mut io::sink()).doing(|| "read the end of the layer")?;
        let record = Rc::try_unwrap(self.tap.0).map_err(|_| Error::new("the layer's record is still in use"))?;
        let mut record = record.into_inner();
        let closed = record.flush().and_then(|()| record.out.finish()?.flush());
        closed.doing(|| "write the layer's record")?;
        Ok(self.inner)
    }
}

impl<R: Read> Read for Recorder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut record = self.tap.0.borrow_mut();
        if record.skipping > 0 {
            let most = usize::try_from(record.skipping).unwrap_or(usize::MAX).min(buffer.len());
            let length = self.inner.read(&mut buffer[..most])?;
            record.skipping -= length as u64;
            return Ok(length);
        }
        let length = self.inner.read(buffer)?;
        record.pending.extend_from_slice(&buffer[..length]);
        if record.pending.len() > 1 << 16 {
            record.flush()?;
        }
        Ok(length)
    }
}

impl Tap {
    /// The next `length` bytes are the contents of the file at `path` in the layer.
    pub fn skip(&self, path: &Path, length: u64) -> io::Result<()> {
        let mut record = self.0.borrow_mut();
        record.piece(b'f', length, path)?;
        record.skipping = length;
        Ok(())
    }

    /// What lay at `path` until now lies in `replaced/NUMBER` from here on.
    pub fn moved(&self, path: &Path, number: u64) -> io::Result<()> {
        self.0.borrow_mut().piece(b'm', number, path)
    }
}

impl Record {
    fn piece(&mut self, kind: u8, number: u64, path: &Path) -> io::Result<()> {
        self.flush()?;
        let path = path.as_os_str().as_encoded_bytes();
        self.out.write_all(&[kind])?;
        self.out.write_all(&number.to_le_bytes())?;
        self.out.write_all(&(path.len() as u64).to_le_bytes())?;
        self.out.write_all(path)
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.pending.is_empty() {
            self.out.write_all(b"r")?;
            self.out.write_all(&(self.pending.len() as u64).to_le_bytes())?;
            self.out.write_all(&self.pending)?;
            self.pending.clear();
        }
        Ok(())
    }
}

/// The original tar, read from its record and its tree.
pub struct Splice {
    record: Pieces,
    root: OwnedFd,
    /// What the tar itself replaced, by the path that it had; most layers have nothing of the kind.
    replaced: Option<(OwnedFd, HashMap<PathBuf, Vec<Move>>)>,
    /// Contents of files that came by so far.
    contents: u64,
    now: Piece,
}

/// So many contents were recorded when `replaced/NUMBER` lost its path.
struct Move {
    number: u64,
    contents: u64,
}

enum Piece {
    Between,
    Raw(u64),
    Content { file: File, left: u64 },
    End,
}

impl Splice {
    /// Of the layer in `layer`; `replaces` where its tar has replaced something of its own.
    pub fn open(layer: &Path, replaces: bool) -> Result<Splice> {
        let record = layer.join("split.zst");
        let replaced = match replaces {
            true => Some((beneath::root(&layer.join("replaced"))?, moves(&record)?)),
            false => None,
        };
        let root = beneath::root(&layer.join("fs"))?;
        Ok(Splice { record: Pieces::open(&record)?, root, replaced, contents: 0, now: Piece::Between })
    }

    fn next(&mut self) -> io::Result<Piece> {
        loop {
            let Some((kind, number)) = self.record.next()? else { return Ok(Piece::End) };
            if kind == b'r' {
                return Ok(Piece::Raw(number));
            }
            let path = self.record.path()?;
            if kind == b'f' {
                let file = self.file(&path)?;
                self.contents += 1;
                return Ok(Piece::Content { file, left: number });
            }
        }
    }

    /// The file that had this path when its contents came by.
    fn file(&self, path: &Path) -> io::Result<File> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        let open = |root, path: &Path| Ok(File::from(beneath::open(root, path, flags, Mode::empty())?));
        let Some((replaced, moves)) = &self.replaced else { return open(&self.root, path) };
        // It, or a directory above it; the first move took it away, and nothing of what was moved changes any more.
        let of = |above: &Path| {
            let later = moves.get(above)?.iter().find(|found| found.contents > self.contents)?;
            let rest = path.strip_prefix(above).ok().filter(|rest| !rest.as_os_str().is_empty());
            let place = PathBuf::from(later.number.to_string());
            Some((later.number, rest.map_or(place.clone(), |rest| place.join(rest))))
        };
        match path.ancestors().filter_map(of).min() {
            Some((_, place)) => open(replaced, &place),
            None => open(&self.root, path),
        }
    }
}

/// Everything that the tar itself replaced.
fn moves(record: &Path) -> Result<HashMap<PathBuf, Vec<Move>>> {
    let mut pieces = Pieces::open(record)?;
    let mut read = || -> io::Result<HashMap<PathBuf, Vec<Move>>> {
        let (mut moves, mut contents) = (HashMap::<PathBuf, Vec<Move>>::new(), 0);
        while let Some((kind, number)) = pieces.next()? {
            match kind {
                b'r' => drop(io::copy(&mut pieces.0.by_ref().take(number), &mut io::sink())?),
                b'm' => moves.entry(pieces.path()?).or_default().push(Move { number, contents }),
                _ => {
                    pieces.path()?;
                    contents += 1;
                }
            }
        }
        Ok(moves)
    };
    read().doing(|| format!("read {}", record.display()))
}

/// A record that is being read.
struct Pieces(zstd::stream::read::Decoder<'static, BufReader<File>>);

impl Pieces {
    fn open(record: &Path) -> Result<Pieces> {
        let doing = || format!("read {}", record.display());
        let file = File::open(record).doing(doing)?;
        Ok(Pieces(zstd::stream::read::Decoder::new(file).doing(doing)?))
    }

    /// The kind of the next piece, and the number that follows it; `None` at the end.
    fn next(&mut self) -> io::Result<Option<(u8, u64)>> {
        let mut kind = [0u8; 1];
        if self.0.read(&mut kind)? == 0 {
            return Ok(None);
        }
        Ok(Some((kind[0], self.number()?)))
    }

    fn path(&mut self) -> io::Result<PathBuf> {
        let mut path = vec![0u8; usize::try_from(self.number()?).unwrap_or(0).min(1 << 16)];
        self.0.read_exact(&mut path)?;
        Ok(PathBuf::from(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(&path)))
    }

    fn number(&mut self) -> io::Result<u64> {
        let mut bytes = [0u8; 8];
        self.0.read_exact(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }
}

impl Read for Splice {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let length = match &mut self.now {
                Piece::End => return Ok(0),
                Piece::Between => {
                    self.now = self.next()?;
                    continue;
                }
                Piece::Raw(left) => {
                    let most = usize::try_from(*left).unwrap_or(usize::MAX).min(buffer.len());
                    let length = self.record.0.read(&mut buffer[..most])?;
                    *left -= length as u64;
                    length
                }
                Piece::Content { file, left } => {
                    let most = usize::try_from(*left).unwrap_or(usize::MAX).min(buffer.len());
                    let length = file.read(&mut buffer[..most])?;
                    *left -= length as u64;
                    length
                }
            };
            let left = match &self.now {
                Piece::Raw(left) | Piece::Content { left, .. } => *left,
                Piece::Between | Piece::End => 0,
            };
            if length == 0 && left > 0 {
                return Err(io::Error::other("the layer's tree is not what its tar was any more"));
            }
            if left == 0 {
                self.now = Piece::Between;
            }
            if length > 0 || buffer.is_empty() {
                return Ok(length);
            }
        }
    }
}
