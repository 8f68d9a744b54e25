//! A layer's tar, taken apart and put together again. The contents of its files lie in the layer's tree; everything else
//! (headers, padding, in the order and with the bytes of the original) is recorded here. So `save` gives back the very
//! tar that came in, with its digest, and no content is stored twice.
//!
//! The record is a zstd stream of pieces: `r`, a length, bytes; or `f`, a length, the length of a path, the path.

use crate::error::{Doing, Error, Result};
use crate::store::beneath;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use std::cell::RefCell;
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
        record.flush()?;
        let path = path.as_os_str().as_encoded_bytes();
        record.out.write_all(b"f")?;
        record.out.write_all(&length.to_le_bytes())?;
        record.out.write_all(&(path.len() as u64).to_le_bytes())?;
        record.out.write_all(path)?;
        record.skipping = length;
        Ok(())
    }
}

impl Record {
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
    record: zstd::stream::read::Decoder<'static, BufReader<File>>,
    root: OwnedFd,
    now: Piece,
}

enum Piece {
    Between,
    Raw(u64),
    Content { file: File, left: u64 },
    End,
}

impl Splice {
    pub fn open(record: &Path, tree: &Path) -> Result<Splice> {
        let doing = || format!("read {}", record.display());
        let file = File::open(record).doing(doing)?;
        let record = zstd::stream::read::Decoder::new(file).doing(doing)?;
        Ok(Splice { record, root: beneath::root(tree)?, now: Piece::Between })
    }

    fn next(&mut self) -> io::Result<Piece> {
        let mut kind = [0u8; 1];
        if self.record.read(&mut kind)? == 0 {
            return Ok(Piece::End);
        }
        let length = self.number()?;
        if kind == *b"r" {
            return Ok(Piece::Raw(length));
        }
        let mut path = vec![0u8; usize::try_from(self.number()?).unwrap_or(0).min(1 << 16)];
        self.record.read_exact(&mut path)?;
        let path = PathBuf::from(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(&path));
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        let file = File::from(beneath::open(&self.root, &path, flags, Mode::empty())?);
        Ok(Piece::Content { file, left: length })
    }

    fn number(&mut self) -> io::Result<u64> {
        let mut bytes = [0u8; 8];
        self.record.read_exact(&mut bytes)?;
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
                    let length = self.record.read(&mut buffer[..most])?;
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
