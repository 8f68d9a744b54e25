//! Reads a tar stream, member by member: v7, ustar, GNU tar's own format and pax, with the sparse files of all four of
//! GNU's formats. Each member comes with what is said of it in whatever way; where two ways differ, the one that GNU tar
//! believes is believed (pax over ustar, also for the size: CVE-2025-62518).

mod header;
pub mod owner;
mod pax;
mod sparse;

pub use header::is_header;

use super::bounds;
use super::buffer::Buffer;
use crate::error::{Doing, Error, Result};
use header::{clean, kind_of, number, until_zero};
use pax::Records;
use std::ffi::OsStr;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use tar::{EntryType, Header};

const BLOCK: usize = 512;
const ROOM: usize = 1 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    File,
    Directory,
    Symlink,
    HardLink,
    Fifo,
    Socket,
    Device,
}

/// What the archive says of one file.
#[derive(Debug)]
pub struct Member {
    /// Relative, without `.` and `..`; empty for the top directory itself.
    pub path: PathBuf,
    /// A symlink's target as it stands there; a hard link's, as `path`.
    pub link: PathBuf,
    pub kind: Kind,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Seconds since 1970, and nanoseconds from there on.
    pub modified: (i64, i64),
    /// Bytes of the file, holes included.
    pub size: u64,
    /// Of a sparse file, the (offset, length) of each stretch of what the archive has of it.
    pub map: Option<Vec<(u64, u64)>>,
    pub attributes: Vec<(Vec<u8>, Vec<u8>)>,
    /// It has ACLs in words (`tar --acls`).
    pub has_worded_acls: bool,
}

/// Whether an archive must say where it ends, by two blocks of zeros and nothing but zeros behind them. Some writers leave
/// that away; where nothing does, a part of an archive that was cut off between two members passes for the whole, and so
/// does one with a header that the disk has lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Required,
    Optional,
}

/// A tar stream that is being read.
pub struct Archive<R: Read> {
    input: R,
    wanted_end: End,
    buffer: Buffer,
    start: usize,
    end: usize,
    /// Bytes of the member's contents, and of what fills its last block, that have not been read.
    left: u64,
    padding: u64,
    global: Records,
}

impl<R: Read> Archive<R> {
    pub fn new(input: R, wanted_end: End) -> Archive<R> {
        Archive::with_room(input, wanted_end, ROOM)
    }

    /// One that has read nothing of a member's contents when it has said what the member is: for those who seek over them,
    /// or tell somebody else what comes next.
    pub fn unbuffered(input: R, wanted_end: End) -> Archive<R> {
        Archive::with_room(input, wanted_end, BLOCK)
    }

    fn with_room(input: R, wanted_end: End, room: usize) -> Archive<R> {
        let buffer = Buffer::new(room);
        Archive { input, wanted_end, buffer, start: 0, end: 0, left: 0, padding: 0, global: Records::default() }
    }

    /// The next member; `None` at the archive's end. One that breaks off is an error.
    pub fn next_member(&mut self) -> Result<Option<Member>> {
        self.skip().doing(|| "read the archive")?;
        let mut local = Records::default();
        let (mut long_name, mut long_link) = (None, None);
        loop {
            let header = self.header()?;
            let Some(header) = header else {
                let half = !local.is_empty() || long_name.is_some() || long_link.is_some();
                return if half { Err(cut_off()) } else { Ok(None) };
            };
            let kind = header.entry_type();
            match kind {
                EntryType::XHeader => local = Records::parse(&self.text(&header)?)?,
                EntryType::XGlobalHeader => {
                    let text = self.text(&header)?;
                    self.global.add(Records::parse(&text)?);
                    if self.global.bytes() > bounds::GLOBAL_HEADERS {
                        return Err(Error::new("the archive's global headers are longer than any honest ones"));
                    }
                }
                EntryType::GNULongName => long_name = Some(until_zero(self.text(&header)?)),
                EntryType::GNULongLink => long_link = Some(until_zero(self.text(&header)?)),
                _ => {
                    let stored = self.stored(&header, &local)?;
                    if kind.as_byte() == b'V' {
                        // The label of a volume of GNU tar's: the archive's name, and no file.
                        self.skip_of(stored).doing(|| "read the archive")?;
                        continue;
                    }
                    let read = Sources { header: &header, local: &local, long_name, long_link };
                    return self.member(&read, stored).map(Some);
                }
            }
        }
    }

    /// The next piece of the member's contents, as it lies in memory; empty at its end.
    pub fn piece(&mut self) -> io::Result<&[u8]> {
        if self.left == 0 {
            return Ok(&[]);
        }
        if self.start == self.end && !self.fill()? {
            return Err(breaks_off());
        }
        let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(self.end - self.start);
        let from = self.start;
        self.start += length;
        self.left -= length as u64;
        Ok(&self.buffer[from..from + length])
    }

    /// At most `most` bytes of it.
    pub fn piece_of(&mut self, most: u64) -> io::Result<&[u8]> {
        let all = self.left;
        self.left = all.min(most);
        let length = self.piece()?.len();
        self.left = all - length as u64;
        Ok(&self.buffer[self.start - length..self.start])
    }

    /// Bytes of the member's contents that have not been read.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// The next of the member's contents, read into `to`, past our own buffer; 0 at their end.
    pub fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(to.len());
        if most == 0 {
            return Ok(0);
        }
        if self.start < self.end {
            let piece = self.piece_of(most as u64)?;
            let length = piece.len();
            to[..length].copy_from_slice(piece);
            return Ok(length);
        }
        loop {
            match self.input.read(&mut to[..most]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) => return Err(breaks_off()),
                read => {
                    let length = read?;
                    self.left -= length as u64;
                    return Ok(length);
                }
            }
        }
    }

    /// The input, of which the archive's end has been read, and nothing more of where that was found.
    pub fn into_inner(self) -> R {
        self.input
    }

    /// What is left of the input behind the archive's end is read and left aside: whoever writes it is let to end, and a
    /// compressed stream is checked to its end. Where the end is required, nothing else may follow it.
    pub fn drain(mut self) -> Result<R> {
        loop {
            let rest = &self.buffer[self.start..self.end];
            if self.wanted_end == End::Required && rest.iter().any(|byte| *byte != 0) {
                return Err(goes_on());
            }
            (self.start, self.end) = (0, 0);
            if !self.fill().doing(|| "read the end of the archive")? {
                return Ok(self.input);
            }
        }
    }

    fn member(&mut self, read: &Sources, stored: u64) -> Result<Member> {
        self.left = stored;
        self.padding = stored.next_multiple_of(BLOCK as u64) - stored;
        let header = read.header;
        let id = |key: &str, bytes: &[u8]| -> Result<u32> {
            let id = owner::id(self.global.number_in(read.local, key)?.or_else(|| number(bytes)).unwrap_or(u64::MAX));
            id.doing(|| format!("unpack {:?}", String::from_utf8_lossy(&header.path_bytes())))
        };
        let (uid, gid) = (id("uid", &header.as_bytes()[108..116])?, id("gid", &header.as_bytes()[116..124])?);
        let modified = match self.global.get_in(read.local, "mtime") {
            Some(text) => pax::time(text)?,
            None => (i64::try_from(header.mtime().unwrap_or(0)).unwrap_or(0), 0),
        };
        let mode = number(&header.as_bytes()[100..108]).ok_or_else(|| Error::new("its mode is not a number"))?;
        let map = self.sparse_map(read)?;
        let name = match (&map, self.global.get_in(read.local, "path")) {
            (Some(sparse::Map { name: Some(name), .. }), _) => name.clone(),
            (_, Some(path)) => path.to_vec(),
            (_, None) => read.long_name.clone().unwrap_or_else(|| header.path_bytes().into_owned()),
        };
        let link = self.global.get_in(read.local, "linkpath").map(<[u8]>::to_vec);
        let link = link.or_else(|| read.long_link.clone());
        let link = link.or_else(|| header.link_name_bytes().map(|link| link.into_owned())).unwrap_or_default();
        let kind = kind_of(header, &name, self.global.get_in(read.local, "SCHILY.filetype"))?;
        let link = if kind == Kind::HardLink { clean(&link)? } else { PathBuf::from(OsStr::from_bytes(&link)) };
        let size = map.as_ref().map_or(self.left, |map| map.size);
        Ok(Member {
            path: clean(&name)?,
            link,
            kind,
            mode: mode as u32 & 0o7777,
            uid,
            gid,
            modified,
            size,
            map: map.map(|map| map.stretches),
            attributes: self.global.attributes_in(read.local),
            has_worded_acls: self.global.get_in(read.local, "SCHILY.acl.access").is_some()
                || self.global.get_in(read.local, "SCHILY.acl.default").is_some(),
        })
    }

    /// A checked header; `None` at the block of zeros that ends the archive.
    fn header(&mut self) -> Result<Option<Header>> {
        let wanted_end = self.wanted_end;
        let Some(block) = self.block().doing(|| "read the archive")? else {
            let half = self.end > self.start;
            return if half || wanted_end == End::Required { Err(cut_off()) } else { Ok(None) };
        };
        if block.iter().all(|byte| *byte == 0) {
            return match wanted_end {
                End::Optional => Ok(None),
                End::Required => self.second_of_end().map(|()| None),
            };
        }
        let mut header = Header::new_old();
        header.as_mut_bytes().copy_from_slice(block);
        if !is_header(block) {
            return Err(Error::new("this is not a tar archive, or it is damaged: a header's checksum is wrong"));
        }
        Ok(Some(header))
    }

    /// One block of zeros alone is a header that was lost.
    fn second_of_end(&mut self) -> Result<()> {
        match self.block().doing(|| "read the archive")? {
            None => Err(cut_off()),
            Some(block) if block.iter().any(|byte| *byte != 0) => Err(goes_on()),
            Some(_) => Ok(()),
        }
    }

    /// Bytes that follow a header in the archive.
    fn stored(&self, header: &Header, local: &Records) -> Result<u64> {
        // A hard link has none, whatever it says: the size there is that of the file.
        let kind = header.entry_type();
        if kind == EntryType::Link {
            return Ok(0);
        }
        // Nor have these: in the header of a directory it is what that took on a disk (pax(1), "ustar Interchange Format").
        let has_none = matches!(kind, EntryType::Directory | EntryType::Symlink | EntryType::Fifo)
            || matches!(kind, EntryType::Char | EntryType::Block);
        let size = match self.global.number_in(local, "size")? {
            Some(size) => size,
            None if has_none => return Ok(0),
            None => number(&header.as_bytes()[124..136]).ok_or_else(|| Error::new("its size is not a number"))?,
        };
        // off_t has no more, and what is added to it here must not begin at zero again.
        match i64::try_from(size) {
            Ok(_) => Ok(size),
            Err(_) => Err(Error::new(format!("a size of {size} bytes is beyond that of any file"))),
        }
    }

    /// What an extended header says, whole.
    fn text(&mut self, header: &Header) -> Result<Vec<u8>> {
        let length = number(&header.as_bytes()[124..136]).unwrap_or(u64::MAX);
        if length > bounds::EXTENDED_HEADER {
            return Err(Error::new(format!("an extended header of {length} bytes is longer than any honest one")));
        }
        let mut text = Vec::new();
        self.left = length;
        self.padding = length.next_multiple_of(BLOCK as u64) - length;
        while self.left > 0 {
            text.extend_from_slice(self.piece().doing(|| "read an extended header")?);
        }
        self.skip().doing(|| "read an extended header")?;
        Ok(text)
    }

    fn skip_of(&mut self, stored: u64) -> io::Result<()> {
        self.left = stored;
        self.padding = stored.next_multiple_of(BLOCK as u64) - stored;
        self.skip()
    }

    /// Passes over what is left of a member.
    fn skip(&mut self) -> io::Result<()> {
        self.left += std::mem::take(&mut self.padding);
        while self.left > 0 {
            self.piece()?;
        }
        Ok(())
    }

    fn block(&mut self) -> io::Result<Option<&[u8]>> {
        while self.end - self.start < BLOCK {
            if !self.fill()? {
                return Ok(None);
            }
        }
        self.start += BLOCK;
        Ok(Some(&self.buffer[self.start - BLOCK..self.start]))
    }

    /// Reads more behind what is there; `false` at the end of the input.
    fn fill(&mut self) -> io::Result<bool> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= std::mem::take(&mut self.start);
        loop {
            match self.input.read(&mut self.buffer[self.end..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => {
                    let length = read?;
                    self.end += length;
                    return Ok(length > 0);
                }
            }
        }
    }
}

impl<R: Read + Seek> Archive<R> {
    /// Where the next of the member's contents lies in the input.
    pub fn position(&mut self) -> io::Result<u64> {
        Ok(self.input.stream_position()? - (self.end - self.start) as u64)
    }

    /// Passes over what is left of a member without reading it.
    pub fn seek_over(&mut self) -> io::Result<()> {
        let all = self.left + std::mem::take(&mut self.padding);
        self.left = 0;
        let here = usize::try_from(all).unwrap_or(usize::MAX).min(self.end - self.start);
        self.start += here;
        let beyond = i64::try_from(all - here as u64).map_err(|_| breaks_off())?;
        self.input.seek(SeekFrom::Current(beyond)).map(drop)
    }
}

/// Where a member's description comes from.
struct Sources<'a> {
    header: &'a Header,
    local: &'a Records,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

fn cut_off() -> Error {
    Error::new("the archive is cut off: its end is missing")
}

fn breaks_off() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the archive ends in the middle of it")
}

fn goes_on() -> Error {
    Error::new("the archive is damaged, or more than one: something follows what looks like its end")
}
