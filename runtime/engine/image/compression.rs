//! gzip, zstd, xz, bzip2 or none: told by the first bytes, never by a name.

use crate::error::{Doing, Error, Result};
use crate::store::bounds::{INFLATED, INFLATED_TIMES, UNPACKING_KIB};
use crate::store::buffer::Buffered;
use std::io::{self, Read};

/// So many of the first bytes tell how something is compressed.
pub const TELLING: usize = 10;

enum Format {
    Gzip,
    Zstd,
    Xz,
    Bzip2,
}

fn format(start: &[u8]) -> Option<Format> {
    // A frame to be skipped, which has one of sixteen magic numbers (RFC 8878, 3.1.2), may come first: pzstd writes the length
    // of the frame behind it into one.
    let skippable = matches!(start, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..]);
    if skippable || start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        Some(Format::Zstd)
    } else if start.starts_with(&[0x1f, 0x8b]) {
        Some(Format::Gzip)
    } else if start.starts_with(b"\xfd7zXZ\0") {
        Some(Format::Xz)
    } else {
        // A tar begins with a name, which may be "BZh9": what follows in bzip2 is pi, or the root of it where there is nothing.
        let blocks = [b"\x31\x41\x59\x26\x53\x59", b"\x17\x72\x45\x38\x50\x90"];
        let is_bzip2 = matches!(start, [b'B', b'Z', b'h', b'1'..=b'9', block @ ..]
            if blocks.iter().any(|known| block.starts_with(*known)));
        is_bzip2.then_some(Format::Bzip2)
    }
}

/// Reads `inner` decompressed.
pub fn reader<'a>(inner: impl Read + 'a) -> Result<Box<dyn Read + 'a>> {
    let mut buffered = Buffered::new(inner);
    let start = buffered.ahead(TELLING).doing(|| "read the archive")?;
    refuse_unknown(start)?;
    Ok(match format(start) {
        None => Box::new(buffered),
        Some(Format::Gzip) => Box::new(Bounded::new(flate2::bufread::MultiGzDecoder::new(buffered))),
        Some(Format::Bzip2) => Box::new(Bounded::new(bzip2::bufread::MultiBzDecoder::new(buffered))),
        Some(Format::Xz) => Box::new(Bounded::new(lzma_rust2::XzReader::new_mem_limit(buffered, true, UNPACKING_KIB))),
        Some(Format::Zstd) => {
            let decoder = zstd::stream::read::Decoder::with_buffer(buffered).doing(|| "read the zstd archive")?;
            Box::new(Bounded::new(decoder))
        }
    })
}

/// Whether the first bytes are those of something compressed.
pub fn is_compressed(start: &[u8]) -> bool {
    format(start).is_some()
}

/// Compressions that are known by their first bytes, and not read here.
pub fn refuse_unknown(start: &[u8]) -> Result<()> {
    let known: [(&[u8], &str); 5] = [
        (b"\x04\x22\x4d\x18", "lz4 -dc"),
        (b"LZIP", "lzip -dc"),
        (b"\x1f\x9d", "gzip -dc"),
        (b"7z\xbc\xaf\x27\x1c", "7z x -so"),
        (b"PK\x03\x04", "unzip -p"),
    ];
    match known.iter().find(|(magic, _)| start.starts_with(magic)) {
        Some((_, program)) => Err(Error::new(format!(
            "the archive is compressed with something else than gzip, xz, bzip2 or zstd: give what `{program} FILE` writes \
             to the command's stdin"
        ))),
        None => Ok(()),
    }
}

/// A decompressor that knows how much it has been given.
trait Inflates: Read {
    fn consumed(&self) -> u64;
}

impl<R: Read> Inflates for flate2::bufread::MultiGzDecoder<Buffered<R>> {
    fn consumed(&self) -> u64 {
        self.get_ref().taken()
    }
}

impl<R: Read> Inflates for bzip2::bufread::MultiBzDecoder<Buffered<R>> {
    fn consumed(&self) -> u64 {
        self.get_ref().taken()
    }
}

impl<R: Read> Inflates for lzma_rust2::XzReader<Buffered<R>> {
    fn consumed(&self) -> u64 {
        self.inner().taken()
    }
}

impl<R: Read> Inflates for zstd::stream::read::Decoder<'_, Buffered<R>> {
    fn consumed(&self) -> u64 {
        self.get_ref().taken()
    }
}

/// Refuses what only a bomb does: gigabytes out of next to nothing.
struct Bounded<D> {
    inner: D,
    length: u64,
    /// It has failed, and is not asked again.
    failed: bool,
}

impl<D: Inflates> Bounded<D> {
    fn new(inner: D) -> Bounded<D> {
        Bounded { inner, length: 0, failed: false }
    }

    fn more(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer).map_err(in_our_words)?;
        self.length += length as u64;
        if self.length > INFLATED && self.length / INFLATED_TIMES > self.inner.consumed() {
            return Err(io::Error::other("it unpacks to more than 200 times its size: a decompression bomb"));
        }
        Ok(length)
    }
}

/// "incomplete frame" means little to who has lost the end of a file.
fn in_our_words(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => io::Error::new(error.kind(), "the archive is cut off: its end is missing"),
        io::ErrorKind::OutOfMemory => {
            let most = UNPACKING_KIB >> 10;
            io::Error::new(error.kind(), format!("to unpack it takes more than {most} MiB of memory"))
        }
        _ => error,
    }
}

impl<D: Inflates> Read for Bounded<D> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.failed {
            return Err(io::Error::other("the archive could not be read any further"));
        }
        let read = self.more(buffer);
        self.failed = read.is_err();
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn packed() -> Vec<(&'static str, Vec<u8>)> {
        let text: Vec<u8> = (0..40_000u32).flat_map(|number| (number * number % 251).to_le_bytes()).collect();
        let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        bzip2.write_all(&text).unwrap();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&text).unwrap();
        let xz = std::process::Command::new("xz").arg("--version").output().is_ok().then(|| {
            let mut xz = std::process::Command::new("xz");
            xz.arg("-c").stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
            let mut child = xz.spawn().unwrap();
            child.stdin.take().unwrap().write_all(&text).unwrap();
            child.wait_with_output().unwrap().stdout
        });
        let mut all = vec![("bzip2", bzip2.finish().unwrap()), ("gzip", gzip.finish().unwrap())];
        all.push(("zstd", zstd::encode_all(&text[..], 1).unwrap()));
        all.extend(xz.map(|xz| ("xz", xz)));
        all
    }

    #[test]
    fn damage_is_an_error_and_never_a_crash() {
        for (what, whole) in packed() {
            for at in (TELLING..whole.len()).step_by((whole.len() / 200).max(1)) {
                let mut wrong = whole.clone();
                wrong[at] ^= 1 << (at % 8);
                let read = |bytes: &[u8]| reader(bytes).map(|mut packed| packed.read_to_end(&mut Vec::new()));
                let _ = read(&wrong);
                assert!(!read(&whole[..at]).is_ok_and(|read| read.is_ok()), "{what} cut off at {at}");
            }
        }
    }
}
