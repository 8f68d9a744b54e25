//! Memory that files and pipes are read into by large pieces.

use std::io::{self, BufRead, Read};
use std::ops::{Deref, DerefMut};

const PAGE: usize = 4096;

/// Bytes that begin where a page does. A large allocation begins sixteen bytes behind one, and so near behind what they
/// read AMD's Zen 3 and 4 copy at a third of their speed, with the instruction that the kernel copies by.
pub struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    length: usize,
}

impl Buffer {
    /// `length` zeros.
    pub fn new(length: usize) -> Buffer {
        let bytes = vec![0; length + PAGE];
        let start = bytes.as_ptr().align_offset(PAGE).min(PAGE);
        Buffer { bytes, start, length }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.start..self.start + self.length]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + self.length]
    }
}

/// std's BufReader, in such a buffer. It counts, and can look as far ahead as it is large.
pub struct Buffered<R> {
    inner: R,
    buffer: Buffer,
    start: usize,
    end: usize,
    taken: u64,
}

/// Of a size that stays in the processor's cache.
const ROOM: usize = 128 << 10;

impl<R: Read> Buffered<R> {
    pub fn new(inner: R) -> Buffered<R> {
        Buffered { inner, buffer: Buffer::new(ROOM), start: 0, end: 0, taken: 0 }
    }

    /// How much has been read of what is behind it.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// What comes next: `wanted` bytes or more, where there are as many.
    pub fn ahead(&mut self, wanted: usize) -> io::Result<&[u8]> {
        while self.end - self.start < wanted.min(ROOM) {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            match self.inner.read(&mut self.buffer[self.end..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => match read? {
                    0 => break,
                    length => (self.end, self.taken) = (self.end + length, self.taken + length as u64),
                },
            }
        }
        Ok(&self.buffer[self.start..self.end])
    }
}

impl<R: Read> BufRead for Buffered<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.ahead(1)
    }

    fn consume(&mut self, amount: usize) {
        self.start = self.end.min(self.start + amount);
    }
}

impl<R: Read> Read for Buffered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // What has room for as much as we is read into without a stop here.
        if self.start == self.end && buffer.len() >= ROOM {
            let length = self.inner.read(buffer)?;
            self.taken += length as u64;
            return Ok(length);
        }
        let ready = self.fill_buf()?;
        let length = ready.len().min(buffer.len());
        buffer[..length].copy_from_slice(&ready[..length]);
        self.consume(length);
        Ok(length)
    }
}
