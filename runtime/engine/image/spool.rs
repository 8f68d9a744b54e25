//! An archive that comes through a pipe, or compressed as a whole, on the disk: its members are needed in another order.

use super::compression;
use crate::error::{Doing, Error, Result};
use crate::explain::{self, calls};
use crate::kernel::{self, Cloned};
use crate::store::Store;
use crate::store::buffer::Buffer;
use nix::sys::wait::waitpid;
use nix::unistd::pipe2;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::OwnedFd;

/// Copies `input`, decompressed, to a file without a name. A child decompresses, so that a second processor is of use.
pub fn spool(store: &Store, input: File) -> Result<File> {
    let held = store.make_tmp("spool")?;
    let path = held.path.join("archive");
    let opened = File::options().read(true).write(true).create_new(true).open(&path);
    let mut file = opened.doing(|| format!("make {}", path.display()))?;
    let pipe = || pipe2(nix::fcntl::OFlag::O_CLOEXEC).doing(|| "make a pipe");
    let ((bytes, into), (answer, report)) = (pipe()?, pipe()?);
    explain::step("a child decompresses the archive, while we write it down", "");
    match calls::fork().doing(|| "fork")? {
        Cloned::Child => {
            drop((bytes, answer));
            let done = decompress(input, into);
            let _ = File::from(report).write_all(&serde_json::to_vec(&done).unwrap_or_default());
            kernel::exit_now(0)
        }
        Cloned::Parent { pid, .. } => {
            drop((into, report));
            let copied = copy(File::from(bytes), &mut file);
            let mut text = Vec::new();
            let heard = File::from(answer).read_to_end(&mut text).doing(|| "hear from the child");
            let _ = waitpid(pid, None);
            copied.doing(|| "write the archive down")?;
            heard?;
            serde_json::from_slice::<Result<()>>(&text)
                .unwrap_or_else(|_| Err(Error::new("the child process that read the archive died")))?;
        }
    }
    file.rewind().doing(|| "read the archive")?;
    Ok(file)
}

fn decompress(input: File, into: OwnedFd) -> Result<()> {
    copy(compression::reader(input)?, &mut File::from(into)).doing(|| "read the archive")
}

fn copy(mut from: impl Read, to: &mut File) -> io::Result<()> {
    let mut buffer = Buffer::new(128 * 1024);
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => to.write_all(&buffer[..length])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
