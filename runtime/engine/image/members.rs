//! The members of an archive of images, which are needed in another order than that in which they lie there.

use crate::error::{Doing, Error, Result};
use crate::store::archive::{Archive, End, Kind};
use crate::store::bounds;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Where each member lies, by its name.
pub struct Members(HashMap<String, Member>);

enum Member {
    At {
        offset: u64,
        length: u64,
    },
    /// Old docker-save archives link a layer that two images share.
    Link(String),
}

impl Members {
    /// Those of a tar.
    pub fn of(file: &File) -> Result<Members> {
        let (mut members, mut kept) = (HashMap::new(), 0);
        let mut archive = Archive::unbuffered(file, End::Optional);
        while let Some(found) = archive.next_member()? {
            let name = found.path.to_string_lossy().into_owned();
            let member = match found.kind {
                Kind::File if found.map.is_none() => {
                    let offset = archive.position().doing(|| "read the archive")?;
                    Some(Member::At { offset, length: archive.left() })
                }
                Kind::Symlink => Some(Member::Link(join(&name, &found.link.to_string_lossy()))),
                Kind::HardLink => Some(Member::Link(found.link.to_string_lossy().into_owned())),
                _ => None,
            };
            archive.seek_over().doing(|| "read the archive")?;
            let Some(member) = member else { continue };
            kept += name.len() + found.link.as_os_str().len();
            members.insert(name, member);
            if members.len() > bounds::MEMBERS_IN_ARCHIVE || kept > bounds::NAMES_KEPT {
                return Err(Error::new("the archive has more members than any image"));
            }
        }
        Ok(Members(members))
    }

    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The offset and the length of a member.
    pub fn find(&self, name: &str) -> Result<(u64, u64)> {
        let mut name = name.trim_start_matches("./").to_owned();
        for _ in 0..8 {
            match self.0.get(&name) {
                Some(Member::At { offset, length }) => return Ok((*offset, *length)),
                Some(Member::Link(target)) => name.clone_from(target),
                None => return Err(Error::new(format!("the archive has no {name}"))),
            }
        }
        Err(Error::new(format!("{name} is a link to a link to a link")))
    }
}

/// A link's target as a member's name: relative to the link's own directory.
fn join(name: &str, target: &str) -> String {
    let mut parts: Vec<&str> = Path::new(name).parent().and_then(Path::to_str).unwrap_or("").split('/').collect();
    for part in target.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." | "" => {}
            part => parts.push(part),
        }
    }
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
}

/// A piece of a file, read by pread(2): by its own position, so that a child that reads one moves nobody else's.
pub struct At {
    pub file: File,
    pub offset: u64,
    pub left: u64,
}

impl Read for At {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let length = std::os::unix::fs::FileExt::read_at(&self.file, &mut buffer[..most], self.offset)?;
        if length == 0 && most > 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the archive was cut off"));
        }
        self.offset += length as u64;
        self.left -= length as u64;
        Ok(length)
    }
}
