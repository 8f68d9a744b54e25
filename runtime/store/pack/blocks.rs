//! The stream of 512-byte blocks that a tar is, gathered into large writes.

use crate::store::buffer::Buffer;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;

const BLOCK: usize = 512;
const ROOM: usize = 1 << 20;

/// Files are read straight into what is written next: each byte is copied once on its way.
pub struct Blocks<W: Write> {
    out: W,
    buffer: Buffer,
    filled: usize,
}

impl<W: Write> Blocks<W> {
    pub fn new(out: W) -> Blocks<W> {
        Blocks { out, buffer: Buffer::new(ROOM), filled: 0 }
    }

    pub fn bytes(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let room = self.room()?;
            let fits = room.len().min(bytes.len());
            room[..fits].copy_from_slice(&bytes[..fits]);
            self.filled += fits;
            bytes = &bytes[fits..];
        }
        Ok(())
    }

    /// Exactly `length` bytes from where `file` stands, whatever becomes of it meanwhile: what it lacks is zeros.
    pub fn copy(&mut self, file: &File, length: u64) -> io::Result<()> {
        self.copy_by(length, |room, _| (&*file).read(room))
    }

    /// The same from `offset` of the file.
    pub fn copy_at(&mut self, file: &File, offset: u64, length: u64) -> io::Result<()> {
        self.copy_by(length, |room, done| file.read_at(room, offset + done))
    }

    fn copy_by(&mut self, length: u64, mut read: impl FnMut(&mut [u8], u64) -> io::Result<usize>) -> io::Result<()> {
        let mut done = 0;
        while done < length {
            let room = self.room()?;
            let most = usize::try_from(length - done).unwrap_or(usize::MAX).min(room.len());
            let got = match read(&mut room[..most], done) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                got => got?,
            };
            if got == 0 {
                room[..most].fill(0);
            }
            let got = if got == 0 { most } else { got };
            self.filled += got;
            done += got as u64;
        }
        Ok(())
    }

    /// Zeros up to the next whole block.
    pub fn pad(&mut self) -> io::Result<()> {
        let missing = self.filled.next_multiple_of(BLOCK) - self.filled;
        self.bytes(&[0; BLOCK][..missing])
    }

    /// What is below, with nothing kept from it. Called between two members, after which there are whole blocks only.
    pub fn written(&mut self) -> io::Result<&mut W> {
        self.flush()?;
        Ok(&mut self.out)
    }

    /// Two blocks of zeros are the end of an archive.
    pub fn end(mut self) -> io::Result<W> {
        self.bytes(&[0; 2 * BLOCK])?;
        self.flush()?;
        self.out.flush()?;
        Ok(self.out)
    }

    /// Never empty. Whole blocks are written at a time, so that what is left in the buffer tells what a block lacks.
    fn room(&mut self) -> io::Result<&mut [u8]> {
        if self.filled == self.buffer.len() {
            self.flush()?;
        }
        Ok(&mut self.buffer[self.filled..])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.write_all(&self.buffer[..self.filled])?;
        self.filled = 0;
        Ok(())
    }
}
