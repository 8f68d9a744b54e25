//! gzip, zstd or neither: told by the first bytes, never by a name.

use crate::error::{Doing, Result};
use crate::store::bounds::{INFLATED, INFLATED_TIMES};
use crate::store::buffer::Buffered;
use std::io::{self, BufRead, Read};

/// Reads `inner` decompressed.
pub fn reader<'a>(inner: impl Read + 'a) -> Result<Box<dyn Read + 'a>> {
    let mut buffered = Buffered::new(inner);
    let start = buffered.fill_buf().doing(|| "read the archive")?;
    if start.starts_with(&[0x1f, 0x8b]) {
        return Ok(Box::new(Bounded::new(Gzip(flate2::bufread::MultiGzDecoder::new(buffered)))));
    }
    if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        let decoder = zstd::stream::read::Decoder::with_buffer(buffered).doing(|| "read the zstd archive")?;
        return Ok(Box::new(Bounded::new(Zstd(decoder))));
    }
    Ok(Box::new(buffered))
}

/// Whether the first bytes are those of gzip or zstd.
pub fn is_compressed(start: &[u8]) -> bool {
    start.starts_with(&[0x1f, 0x8b]) || start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd])
}

/// A decompressor that knows how much it has been given.
trait Inflates: Read {
    fn consumed(&self) -> u64;
}

struct Gzip<R>(flate2::bufread::MultiGzDecoder<Buffered<R>>);

impl<R: Read> Read for Gzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<R: Read> Inflates for Gzip<R> {
    fn consumed(&self) -> u64 {
        self.0.get_ref().taken()
    }
}

struct Zstd<'a, R: Read>(zstd::stream::read::Decoder<'a, Buffered<R>>);

impl<R: Read> Read for Zstd<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<R: Read> Inflates for Zstd<'_, R> {
    fn consumed(&self) -> u64 {
        self.0.get_ref().taken()
    }
}

/// Refuses what only a bomb does: gigabytes out of next to nothing.
struct Bounded<D> {
    inner: D,
    length: u64,
}

impl<D: Inflates> Bounded<D> {
    fn new(inner: D) -> Bounded<D> {
        Bounded { inner, length: 0 }
    }
}

/// "incomplete frame" means little to who has lost the end of a file.
fn in_our_words(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => io::Error::new(error.kind(), "the archive is cut off: its end is missing"),
        _ => error,
    }
}

impl<D: Inflates> Read for Bounded<D> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer).map_err(in_our_words)?;
        self.length += length as u64;
        if self.length > INFLATED && self.length / INFLATED_TIMES > self.inner.consumed() {
            return Err(io::Error::other("it unpacks to more than 200 times its size: a decompression bomb"));
        }
        Ok(length)
    }
}
