//! What is made bit by bit reaches the disk bit by bit, while more of it is made: the sync at the end, which alone says
//! that it has, then finds little to do. On a machine with a second processor that is as good as for nothing.

use crate::error::{Doing, Result};
use crate::explain::{self, calls};
use crate::kernel::{self, Cloned};
use nix::fcntl::OFlag;
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, pipe2};
use std::fs::File;
use std::io::{Read, Write};

/// Counts what is made. What is small enough is left to the sync at the end, and costs no process.
pub struct Early {
    place: File,
    sync: Sync,
    bytes: u64,
    files: u64,
    syncing: Option<Syncing>,
}

/// With so many bytes, or with so many files, the disk is told to begin.
const BYTES: u64 = 32 << 20;
const FILES: u64 = 1000;

type Sync = fn(&File) -> nix::Result<()>;

impl Early {
    /// What is made in the file system of this directory.
    pub fn below(directory: File) -> Early {
        Early { place: directory, sync: |directory| nix::unistd::syncfs(directory), bytes: 0, files: 0, syncing: None }
    }

    /// What is written to this file.
    pub fn of(file: File) -> Early {
        Early { place: file, sync: |file| nix::unistd::fdatasync(file), bytes: 0, files: 0, syncing: None }
    }

    /// One more file, or a part of one.
    pub fn made(&mut self, bytes: u64, files: u64) {
        (self.bytes, self.files) = (self.bytes + bytes, self.files + files);
        if self.bytes >= BYTES || self.files >= FILES {
            (self.bytes, self.files) = (0, 0);
            // Without it everything is only slower.
            if self.syncing.is_none() {
                self.syncing = start(&self.place, self.sync).ok();
            }
            if let Some(more) = self.syncing.as_mut().and_then(|syncing| syncing.more.as_mut()) {
                let _ = more.write_all(&[0]);
            }
        }
    }
}

struct Syncing {
    pid: Pid,
    /// A byte for each time; `None` where there will be no more.
    more: Option<File>,
}

impl Drop for Syncing {
    fn drop(&mut self) {
        self.more = None;
        let _ = waitpid(self.pid, None);
    }
}

fn start(place: &File, sync: Sync) -> Result<Syncing> {
    let (mut told, more) =
        pipe2(OFlag::O_CLOEXEC).map(|(told, more)| (File::from(told), more)).doing(|| "make a pipe")?;
    explain::step("a second process syncs what is there so far, while we go on", "sync … &");
    match calls::fork().doing(|| "fork")? {
        Cloned::Child => {
            explain::process("syncer");
            drop(more);
            let _ = calls::end_with_parent();
            // As often as it can, if need be.
            while told.read(&mut [0; 64]).is_ok_and(|length| length > 0) && sync(place).is_ok() {}
            kernel::exit_now(0)
        }
        Cloned::Parent { pid, .. } => Ok(Syncing { pid, more: Some(File::from(more)) }),
    }
}
