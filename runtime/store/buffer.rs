//! Memory that files and pipes are read into by large pieces.

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
