//! One run of a health check, by a process of its own: whatever the container does to who enters it, its supervisor never
//! waits for that.

use super::record::Container;
use super::{exec, streams};
use crate::error::{Doing, Error, Result};
use crate::explain::{self, calls};
use crate::kernel::{self, Cloned};
use crate::oci::Io;
use crate::store::Store;
use jiff::Timestamp;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{pipe2, read};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// Docker keeps 4096 bytes of what each wrote.
const OUTPUT_KEPT: usize = 4096;

/// A check that runs: the supervisor's side.
pub struct Probe {
    prober: OwnedFd,
    /// The prober's last word; see [`Found`].
    word: OwnedFd,
    /// While this is open, the prober goes on; where we are killed it is closed, too.
    leash: Option<OwnedFd>,
    output: Option<OwnedFd>,
    text: Vec<u8>,
    cut: bool,
    pub began: Timestamp,
}

/// The exit code of the check; nothing where the container is not to be probed now; or why the check could not be begun.
pub type Found = Result<Option<i32>>;

/// Begins a check. `let_go` closes what the prober is not to hold open: somebody may wait for the end of that.
pub fn begin(store: &Store, container: &Container, command: &[String], let_go: &mut dyn FnMut()) -> Result<Probe> {
    let pipe = || pipe2(OFlag::O_CLOEXEC).doing(|| "make a pipe");
    let ((word, say), (output, write), (held, leash)) = (pipe()?, pipe()?, pipe()?);
    streams::set_nonblocking(&word)?;
    streams::set_nonblocking(&output)?;
    let began = Timestamp::now();
    explain::step(
        "a process of its own for the health check, so that the supervisor need not wait for the container",
        "",
    );
    match calls::fork().doing(|| "fork")? {
        Cloned::Child => {
            explain::process("probe");
            let_go();
            drop((word, output, leash));
            let found = run(store, container, command, write, &held);
            // It is read when the prober has ended, so that all of it must fit into the pipe.
            let found = found.map_err(|error| Error { message: error.message.chars().take(1000).collect(), ..error });
            let _ = serde_json::to_writer(File::from(say), &found);
            kernel::exit_now(0)
        }
        Cloned::Parent { pidfd: prober, .. } => {
            let (leash, output) = (Some(leash), Some(output));
            Ok(Probe { prober, word, leash, output, text: Vec::new(), cut: false, began })
        }
    }
}

/// The prober: a parent for the check, which it kills when nobody holds the other end of `leash` any more.
fn run(store: &Store, container: &Container, command: &[String], output: OwnedFd, leash: &OwnedFd) -> Found {
    // A frozen container is left alone until the next time.
    let Ok(init) = exec::running(store, container) else { return Ok(None) };
    let mut spec = exec::bundle_spec(store, container)?;
    let request = exec::Request { command: command.to_vec(), ..exec::Request::default() };
    let process = exec::process(&mut spec, container, &init, &request)?;
    let stderr = output.try_clone().doing(|| "duplicate a pipe")?;
    let io = Io::Descriptors { stdin: exec::null_for(container)?, stdout: output, stderr };
    let child = exec::start(&init, container, &spec, &process, io, leash.as_fd())?;
    loop {
        let mut fds = [&child.pidfd, leash].map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN));
        match poll(&mut fds, PollTimeout::NONE) {
            Err(Errno::EINTR) => {}
            result => {
                result.doing(|| "wait for the health check")?;
                if !fds[0].any().unwrap_or(false) {
                    let _ = calls::pidfd_send_signal(&child.pidfd, libc::SIGKILL);
                }
                // Where the container is frozen, that takes until it is thawed.
                return exec::exit_code(&child.pidfd).map(Some);
            }
        }
    }
}

impl Probe {
    /// To be polled for POLLIN.
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        std::iter::once(self.prober.as_fd()).chain(self.output.as_ref().map(AsFd::as_fd)).collect()
    }

    /// Has the check killed. That is not waited for.
    pub fn give_up(&mut self) {
        self.leash = None;
    }

    /// Takes what the check has written by now. Beyond 4 KiB it is read and forgotten, so that the check is not held up.
    pub fn read(&mut self) {
        let mut buffer = [0u8; 4096];
        // A check that writes without end has no more of our time than that.
        for _ in 0..ROUNDS {
            let Some(output) = &self.output else { return };
            match read(output, &mut buffer) {
                Ok(0) => self.output = None,
                Ok(length) => {
                    let room = OUTPUT_KEPT - self.text.len();
                    self.text.extend_from_slice(&buffer[..length.min(room)]);
                    self.cut |= length > room;
                }
                Err(Errno::EINTR) => {}
                Err(_) => return,
            }
        }
    }

    /// What it found, once the prober has ended; then it is reaped.
    pub fn ended(&mut self) -> Result<Option<Found>> {
        if !super::stop::ended_within(&self.prober, Some(Duration::ZERO))? {
            return Ok(None);
        }
        self.read();
        let _ = exec::exit_code(&self.prober);
        let mut text = Vec::new();
        // An error, of EAGAIN, comes after what there is: somebody else may still hold the other end.
        let _ = File::from(self.word.try_clone().doing(|| "duplicate a pipe")?).read_to_end(&mut text);
        Ok(Some(serde_json::from_slice(&text).doing(|| "hear from the process that ran the health check")))
            .map(|found| found.map(|found| found.and_then(|found: Found| found)))
    }

    pub fn output(&self) -> String {
        let text = String::from_utf8_lossy(&self.text);
        if self.cut { format!("{text}...") } else { text.into_owned() }
    }
}

/// Reads of at most 4 KiB each, after which the container's other descriptors have their turn.
const ROUNDS: usize = 64;

/// Of what the supervisor has given up it waits so long for the end.
const FAREWELL: Duration = Duration::from_secs(1);

impl Drop for Probe {
    /// The container has ended, and its processes with it; a prober is ours to reap.
    fn drop(&mut self) {
        self.give_up();
        if super::stop::ended_within(&self.prober, Some(FAREWELL)).unwrap_or(false) {
            let _ = exec::exit_code(&self.prober);
        }
    }
}
