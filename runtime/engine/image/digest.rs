//! SHA-256, the name of everything that has content.

use crate::store::id;
use sha2::{Digest, Sha256};
use std::io::{self, Read, Write};

/// The digest of some bytes, in hexadecimal.
pub fn of(bytes: &[u8]) -> String {
    id::hex(&Sha256::digest(bytes))
}

/// A reader or a writer that digests what passes through it.
pub struct Digesting<R> {
    inner: R,
    hasher: Sha256,
    pub length: u64,
}

impl<R> Digesting<R> {
    pub fn new(inner: R) -> Digesting<R> {
        Digesting { inner, hasher: Sha256::new(), length: 0 }
    }

    /// The digest of all that was read, in hexadecimal.
    pub fn finish(self) -> String {
        id::hex(&self.hasher.finalize())
    }
}

impl<R: Read> Read for Digesting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..length]);
        self.length += length as u64;
        Ok(length)
    }
}

impl<W: Write> Write for Digesting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..length]);
        self.length += length as u64;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
