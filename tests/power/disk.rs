//! A disk as a power cut leaves one: what was written reaches it for certain only when it has been flushed. Served to the
//! machine by the NBD protocol (github.com/NetworkBlockDevice/nbd, doc/proto.md).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Result, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::net::{UnixListener, UnixStream};

const SECTOR: usize = 512;
/// What ext4 writes at once; a part of it never reaches the disk alone.
const BLOCK: u64 = 4096;

pub struct Disk {
    file: File,
    size: u64,
    /// Written, and not yet flushed.
    waiting: BTreeMap<u64, [u8; SECTOR]>,
}

/// What became of the writes that nobody had flushed when the power went.
#[derive(Debug, Clone, Copy)]
pub enum Fate {
    AllLost,
    /// A disk writes in an order of its own: of the blocks that waited, some are there.
    SomeLost {
        seed: u64,
    },
}

impl Disk {
    pub fn open(path: &std::path::Path) -> Disk {
        let file = File::options().read(true).write(true).open(path).expect("the disk");
        let size = file.metadata().expect("its size").len();
        Disk { file, size, waiting: BTreeMap::new() }
    }

    /// Serves one client until it is gone; then the power is, and `fate` decides. Returns how many bytes were lost.
    pub fn serve(mut self, listener: &UnixListener, fate: Fate) -> u64 {
        let (stream, _) = listener.accept().expect("qemu connects");
        // That it breaks off is how each of these ends.
        let _ = self.negotiate(&stream).and_then(|()| self.transmit(&stream));
        self.lose(fate)
    }

    fn negotiate(&self, mut stream: &UnixStream) -> Result<()> {
        stream.write_all(b"NBDMAGICIHAVEOPT")?;
        stream.write_all(&3u16.to_be_bytes())?; // fixed newstyle, no zeroes
        number(stream, 4)?;
        loop {
            number(stream, 8)?;
            let option = number(stream, 4)? as u32;
            let mut data = vec![0; number(stream, 4)? as usize];
            stream.read_exact(&mut data)?;
            let mut reply = |kind: u32, data: &[u8]| {
                let mut bytes = 0x3e889045565a9u64.to_be_bytes().to_vec();
                bytes.extend(option.to_be_bytes());
                bytes.extend(kind.to_be_bytes());
                bytes.extend((data.len() as u32).to_be_bytes());
                bytes.extend(data);
                stream.write_all(&bytes)
            };
            match option {
                // NBD_OPT_INFO, NBD_OPT_GO
                6 | 7 => {
                    let mut info = 0u16.to_be_bytes().to_vec();
                    info.extend(self.size.to_be_bytes());
                    info.extend(13u16.to_be_bytes()); // has flags, takes a flush, takes FUA
                    reply(3, &info)?;
                    reply(1, &[])?;
                    if option == 7 {
                        return Ok(());
                    }
                }
                2 => return Err(std::io::ErrorKind::ConnectionAborted.into()),
                _ => reply((1 << 31) + 1, &[])?, // unsupported
            }
        }
    }

    fn transmit(&mut self, mut stream: &UnixStream) -> Result<()> {
        loop {
            number(stream, 4)?;
            let flags = number(stream, 2)?;
            let kind = number(stream, 2)?;
            let cookie = number(stream, 8)?;
            let offset = number(stream, 8)?;
            let length = number(stream, 4)? as usize;
            let mut data = vec![0; if kind < 2 { length } else { 0 }];
            match kind {
                0 => self.read(offset, &mut data)?,
                1 => {
                    stream.read_exact(&mut data)?;
                    self.write(offset, &data);
                    if flags & 1 != 0 {
                        self.flush()?;
                    }
                }
                2 => return Ok(()),
                3 => self.flush()?,
                _ => {}
            }
            let mut reply = 0x67446698u32.to_be_bytes().to_vec();
            reply.extend(0u32.to_be_bytes());
            reply.extend(cookie.to_be_bytes());
            if kind == 0 {
                reply.extend(data);
            }
            stream.write_all(&reply)?;
        }
    }

    fn read(&self, offset: u64, data: &mut [u8]) -> Result<()> {
        self.file.read_exact_at(data, offset)?;
        for (at, sector) in self.waiting.range(offset..offset + data.len() as u64) {
            let start = (at - offset) as usize;
            data[start..start + SECTOR].copy_from_slice(sector);
        }
        Ok(())
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        for (index, sector) in data.chunks_exact(SECTOR).enumerate() {
            let at = offset + (index * SECTOR) as u64;
            self.waiting.insert(at, sector.try_into().expect("a sector"));
        }
    }

    fn flush(&mut self) -> Result<()> {
        for (at, sector) in std::mem::take(&mut self.waiting) {
            self.file.write_all_at(&sector, at)?;
        }
        Ok(())
    }

    fn lose(mut self, fate: Fate) -> u64 {
        let all = self.waiting.len();
        match fate {
            Fate::AllLost => self.waiting.clear(),
            Fate::SomeLost { seed } => self.waiting.retain(|at, _| is_kept(seed, at / BLOCK)),
        }
        let kept = self.waiting.len();
        self.flush().expect("what is kept is written");
        ((all - kept) * SECTOR) as u64
    }
}

/// A coin for each block, the same in each run (splitmix64).
fn is_kept(seed: u64, block: u64) -> bool {
    let mut mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(block);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)) & 1 == 0
}

fn number(mut stream: &UnixStream, bytes: usize) -> Result<u64> {
    let mut buffer = [0; 8];
    stream.read_exact(&mut buffer[8 - bytes..])?;
    Ok(u64::from_be_bytes(buffer))
}
