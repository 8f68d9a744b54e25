//! What a second process reads and decompresses, and passes on through a pipe, while this one digests and unpacks it: each
//! is half of the work, and a machine has more than one processor. (A thread would forbid us to clone.)

use super::compression;
use crate::error::{Doing, Error, Result};
use crate::explain::{self, calls};
use crate::kernel::{self, Cloned};
use crate::store::buffer::Buffer;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, pipe2};
use std::fs::File;
use std::io::{self, Read, Write};

/// The process, from this side: what it passes on is read from it. Where it fails, that is the end's error.
pub struct Passed {
    pid: Pid,
    /// `None` at the end.
    bytes: Option<File>,
    answer: File,
    /// Whether that was all, or why it failed.
    end: std::result::Result<(), String>,
}

/// So much is on the way at a time, where a pipe may hold as much.
const ON_THE_WAY: i32 = 1 << 20;

/// Begins to read `input`.
pub fn start(input: impl Read) -> Result<Passed> {
    let pipe = || pipe2(OFlag::O_CLOEXEC).doing(|| "make a pipe");
    let ((bytes, into), (answer, report)) = (pipe()?, pipe()?);
    let _ = fcntl(&into, FcntlArg::F_SETPIPE_SZ(ON_THE_WAY));
    explain::step("a second process reads the archive, and passes it on", "");
    match calls::fork().doing(|| "fork")? {
        Cloned::Child => {
            explain::process("reader");
            drop((bytes, answer));
            let _ = calls::end_with_parent();
            let done = pass(input, File::from(into));
            let _ = File::from(report).write_all(&serde_json::to_vec(&done).unwrap_or_default());
            kernel::exit_now(0)
        }
        Cloned::Parent { pid, .. } => {
            let end = Err("the process that reads the archive has more of it".to_owned());
            Ok(Passed { pid, bytes: Some(File::from(bytes)), answer: File::from(answer), end })
        }
    }
}

fn pass(input: impl Read, mut into: File) -> Result<()> {
    let mut input = compression::reader(input)?;
    let mut buffer = Buffer::new(128 << 10);
    loop {
        match input.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(0) => return Ok(()),
            read => into.write_all(&buffer[..read.doing(|| "read it")?]).doing(|| "pass it on")?,
        }
    }
}

impl Read for Passed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(bytes) = &mut self.bytes {
            let length = bytes.read(buffer)?;
            if length > 0 || buffer.is_empty() {
                return Ok(length);
            }
            self.bytes = None;
            let mut text = Vec::new();
            self.answer.read_to_end(&mut text)?;
            let died = || Err(Error::new("the process that read the archive died"));
            let said = serde_json::from_slice::<Result<()>>(&text).unwrap_or_else(|_| died());
            self.end = said.map_err(|error| error.message);
        }
        self.end.clone().map(|()| 0).map_err(io::Error::other)
    }
}

impl Drop for Passed {
    fn drop(&mut self) {
        // It may be waiting for somebody who writes to us.
        let _ = kill(self.pid, Signal::SIGKILL);
        let _ = waitpid(self.pid, None);
    }
}
