//! A disk that remembers the order of what it was told. As a power cut leaves a disk, what was written is there for certain
//! only when it has been flushed, so that each moment of its history gives many disks: with all that was flushed by then,
//! and of the rest whatever chance has written by itself. Served to the machine by the NBD protocol
//! (github.com/NetworkBlockDevice/nbd, doc/proto.md).

use std::fs::File;
use std::io::{Read, Result, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// What ext4 writes at once; a part of it never reaches the disk alone.
const BLOCK: u64 = 4096;

/// What the disk was told, and what the machine has told meanwhile.
pub enum Event {
    Write {
        offset: u64,
        data: Vec<u8>,
        /// It is on the disk before it is answered (FUA).
        is_forced: bool,
    },
    Flush,
    /// The machine has started, and the first command is about to.
    Ready,
    Answered(u32),
}

#[derive(Clone, Default)]
pub struct History(Arc<Mutex<Vec<Event>>>);

/// What became of the writes that nobody had flushed when the power went.
#[derive(Debug, Clone, Copy)]
pub enum Fate {
    AllLost,
    /// A disk writes in an order of its own: of the blocks that waited, some are there.
    SomeLost {
        seed: u64,
    },
    /// It wrote in the order in which it was told, and only what was in the machine's memory is gone.
    NoneLost,
}

impl History {
    pub fn add(&self, event: Event) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(event);
    }

    /// `most` moments at which the power goes, as numbers of events, spread over all since the machine was ready. Every
    /// second of them just before a flush, when most is at stake. Where there are fewer, each has several fates.
    pub fn moments(&self, most: usize) -> Vec<usize> {
        let events = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ready = events.iter().position(|event| matches!(event, Event::Ready)).unwrap_or(events.len());
        let all = events.len() + 1 - ready;
        let next_flush = |from: usize| (from..events.len()).find(|at| matches!(events[*at], Event::Flush));
        let moment = |number: usize| {
            let at = ready + number * all / most;
            if number.is_multiple_of(2) { at } else { next_flush(at).unwrap_or(events.len()) }
        };
        let mut moments: Vec<usize> = (0..most).map(moment).collect();
        moments.sort_unstable();
        moments
    }

    /// What had been answered at that moment.
    pub fn answered(&self, moment: usize) -> u32 {
        let events = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = |event: &Event| if let Event::Answered(number) = event { Some(*number) } else { None };
        events[..moment].iter().rev().find_map(number).unwrap_or(0)
    }

    /// Makes of `image`, the disk that the machine began with, the one that is left if the power goes at `moment`. Returns
    /// how many bytes had been written and are lost.
    pub fn replay(&self, image: &Path, moment: usize, fate: Fate) -> Result<u64> {
        let file = File::options().write(true).open(image)?;
        let events = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let events = &events[..moment];
        let flushed = events.iter().rposition(|event| matches!(event, Event::Flush)).unwrap_or(0);
        let mut lost = 0;
        for (number, event) in events.iter().enumerate() {
            let Event::Write { offset, data, is_forced } = event else { continue };
            for (index, block) in data.chunks(BLOCK as usize).enumerate() {
                let at = offset + index as u64 * BLOCK;
                let is_kept = number < flushed
                    || *is_forced
                    || match fate {
                        Fate::AllLost => false,
                        Fate::SomeLost { seed } => coin(seed.wrapping_add(number as u64), at / BLOCK),
                        Fate::NoneLost => true,
                    };
                match is_kept {
                    true => file.write_all_at(block, at)?,
                    false => lost += block.len() as u64,
                }
            }
        }
        Ok(lost)
    }
}

pub struct Disk {
    file: File,
    size: u64,
    history: History,
}

impl Disk {
    pub fn open(path: &Path, history: History) -> Disk {
        let file = File::options().read(true).write(true).open(path).expect("the disk");
        let size = file.metadata().expect("its size").len();
        Disk { file, size, history }
    }

    /// Serves one client until it is gone.
    pub fn serve(self, listener: &UnixListener) {
        let (stream, _) = listener.accept().expect("qemu connects");
        // That it breaks off is how each of these ends.
        let _ = self.negotiate(&stream).and_then(|()| self.transmit(&stream));
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

    fn transmit(&self, mut stream: &UnixStream) -> Result<()> {
        loop {
            number(stream, 4)?;
            let flags = number(stream, 2)?;
            let kind = number(stream, 2)?;
            let cookie = number(stream, 8)?;
            let offset = number(stream, 8)?;
            let length = number(stream, 4)? as usize;
            let mut data = vec![0; if kind < 2 { length } else { 0 }];
            match kind {
                0 => self.file.read_exact_at(&mut data, offset)?,
                1 => {
                    stream.read_exact(&mut data)?;
                    self.file.write_all_at(&data, offset)?;
                    self.history.add(Event::Write {
                        offset,
                        data: std::mem::take(&mut data),
                        is_forced: flags & 1 != 0,
                    });
                }
                2 => return Ok(()),
                3 => self.history.add(Event::Flush),
                _ => {}
            }
            let mut reply = 0x67446698u32.to_be_bytes().to_vec();
            reply.extend(0u32.to_be_bytes());
            reply.extend(cookie.to_be_bytes());
            reply.extend(data);
            stream.write_all(&reply)?;
        }
    }
}

/// Of a write and a block the same in each run (splitmix64).
fn coin(seed: u64, block: u64) -> bool {
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
