//! A second process that digests an archive while this one packs or unpacks it: a digest costs as much time as all the
//! rest, and a machine has more than one processor. (A thread would forbid us to clone.)

use crate::engine::image::digest::Digesting;
use crate::error::{Doing, Error, Result};
use crate::explain::{self, calls};
use crate::kernel::{self, Cloned};
use crate::store::buffer::Buffer;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, Whence, lseek, pipe2};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;

/// The process, from this side.
pub struct Beside {
    pid: Pid,
    answer: File,
    /// How many bytes there are by now goes through here; closed, it says that there will be no more.
    counts: File,
}

impl Beside {
    /// Digests a file from where it stands to its end; `None` where it is no file, but a pipe.
    pub fn of_read(file: &File) -> Result<Option<Beside>> {
        let length = file.metadata().doing(|| "look at the archive")?;
        if !length.is_file() {
            return Ok(None);
        }
        let from = lseek(file, 0, Whence::SeekCur).doing(|| "look at the archive")?;
        let from = u64::try_from(from).unwrap_or(0);
        Beside::start(file, move |part, _| {
            (part.offset, part.end) = (from, length.len());
            part.catch_up()
        })
        .map(Some)
    }

    /// Digests what is written to a new file; `None` where what is written cannot be read.
    pub fn of_written(file: &File) -> Result<Option<Beside>> {
        let flags = fcntl(file, FcntlArg::F_GETFL).map(OFlag::from_bits_truncate).doing(|| "look at the output")?;
        let meta = file.metadata().doing(|| "look at the output")?;
        if !meta.is_file() || meta.len() > 0 || flags & OFlag::O_ACCMODE != OFlag::O_RDWR {
            return Ok(None);
        }
        Beside::start(file, |part, counts| {
            let mut count = [0; 8];
            while counts.read_exact(&mut count).is_ok() {
                part.end = u64::from_le_bytes(count);
                part.catch_up()?;
            }
            Ok(())
        })
        .map(Some)
    }

    fn start(file: &File, work: impl FnOnce(&mut Digested, &mut File) -> io::Result<()>) -> Result<Beside> {
        let pipe = || pipe2(OFlag::O_CLOEXEC).doing(|| "make a pipe");
        let ((answer, answers), (mut counted, counts)) =
            (pipe()?, pipe().map(|(one, other)| (File::from(one), other))?);
        explain::step("a second process digests the archive meanwhile", "sha256sum …");
        match calls::fork().doing(|| "fork")? {
            Cloned::Child => {
                explain::process("digest");
                drop((answer, counts));
                let _ = calls::end_with_parent();
                let mut part = Digested { file, digest: Digesting::new(io::sink()), offset: 0, end: 0 };
                let done = work(&mut part, &mut counted).map(|()| part.digest.finish()).doing(|| "digest the archive");
                let _ = File::from(answers).write_all(&serde_json::to_vec(&done).unwrap_or_default());
                kernel::exit_now(0)
            }
            Cloned::Parent { pid, .. } => Ok(Beside { pid, answer: File::from(answer), counts: File::from(counts) }),
        }
    }

    /// Says that so many bytes of the file are there now.
    pub fn written(&self, total: u64) -> io::Result<()> {
        (&self.counts).write_all(&total.to_le_bytes())
    }

    /// The digest in hexadecimal, of all that there was.
    pub fn finish(self) -> Result<String> {
        let Beside { pid, mut answer, counts } = self;
        drop(counts);
        let mut text = Vec::new();
        let heard = answer.read_to_end(&mut text);
        let _ = waitpid(pid, None);
        heard.doing(|| "hear from the process that digests")?;
        serde_json::from_slice(&text).unwrap_or_else(|_| Err(Error::new("the process that digests the archive died")))
    }
}

/// A file, as far as it is there and digested.
struct Digested<'a> {
    file: &'a File,
    digest: Digesting<io::Sink>,
    offset: u64,
    end: u64,
}

impl Digested<'_> {
    fn catch_up(&mut self) -> io::Result<()> {
        // Of a size that stays in the processor's cache.
        let mut buffer = Buffer::new(128 << 10);
        while self.offset < self.end {
            let most = usize::try_from(self.end - self.offset).unwrap_or(usize::MAX).min(buffer.len());
            let length = self.file.read_at(&mut buffer[..most], self.offset)?;
            if length == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it is shorter than it was"));
            }
            self.digest.write_all(&buffer[..length])?;
            self.offset += length as u64;
        }
        Ok(())
    }
}
