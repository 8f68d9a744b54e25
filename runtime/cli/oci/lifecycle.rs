//! oci create, start, run, kill, delete.

use super::{Execute, Globals, descriptors, terminal};
use crate::error::{Doing, Error, Kind, Result};
use crate::oci::lifecycle::{self, Created};
use crate::oci::state::{self, Container};
use crate::oci::{CreateOptions, Io, binary};
use crate::store::atomic;
use std::path::{Path, PathBuf};

/// Create a container; `start` runs its program
#[derive(Debug, clap::Parser)]
pub struct Create {
    #[command(flatten)]
    globals: Globals,
    #[command(flatten)]
    bundle: Bundle,
    /// Name of the container, unique in the root directory
    #[arg(value_name = "CONTAINER-ID")]
    id: String,
}

/// What `create` and `run` share.
#[derive(Debug, clap::Args)]
struct Bundle {
    /// Directory of the bundle
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    bundle: PathBuf,

    /// Socket that will receive the master end of the container's terminal
    #[arg(long, value_name = "SOCKET")]
    console_socket: Option<PathBuf>,

    /// File to write the process id to
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,

    /// Do not use pivot_root, which is impossible where the root is on an initramfs
    #[arg(long)]
    no_pivot: bool,

    /// Accepted; a container never gets the caller's session keyring
    #[arg(long)]
    no_new_keyring: bool,

    /// Pass N more descriptors to the container (stdio + $LISTEN_FDS + N in total)
    #[arg(long, value_name = "N", default_value_t = 0)]
    preserve_fds: u32,
}

impl Bundle {
    /// Creates the container; `detached` means that nobody stays with it.
    fn create(&self, globals: &Globals, id: &str, detached: bool) -> Result<Created> {
        let bundle = std::path::absolute(&self.bundle)
            .and_then(|bundle| bundle.canonicalize())
            .doing(|| format!("chdir {}", self.bundle.display()))?;
        let spec = lifecycle::load(&bundle)?;
        binary::keep_from(&spec)?;
        let preserve_fds = descriptors::preserved(self.preserve_fds)?;
        let named = [self.console_socket.as_deref(), self.pid_file.as_deref()];
        descriptors::close_others(preserve_fds, named.into_iter().chain(globals.paths()));
        let process = spec.process().clone();
        let wants_terminal = process.as_ref().and_then(|process| process.terminal()).unwrap_or(false);
        terminal::check(wants_terminal, detached, self.console_socket.as_deref())?;
        let io = if wants_terminal {
            let size = process.as_ref().and_then(|process| process.console_size());
            let size = size.map(|size| (size.height() as u16, size.width() as u16)).unwrap_or_else(terminal::size);
            Io::Terminal { rows: size.0, columns: size.1 }
        } else {
            descriptors::refuse_directories()?;
            Io::Inherit
        };
        let options = CreateOptions { preserve_fds, no_pivot: self.no_pivot, ..CreateOptions::default() };
        let created = lifecycle::create(&globals.root(), id, &bundle, io, &options)?;
        if let Err(error) = self.hand_over(&created) {
            let _ = lifecycle::delete(&created.container, true);
            return Err(error);
        }
        Ok(created)
    }

    fn hand_over(&self, created: &Created) -> Result<()> {
        if let (Some(socket), Some(console)) = (&self.console_socket, &created.console) {
            terminal::send(socket, console)?;
        }
        write_pid(self.pid_file.as_deref(), created.container.record.pid)
    }
}

/// Whoever waits for the pid file sees it whole or not at all.
pub fn write_pid(path: Option<&Path>, pid: i32) -> Result<()> {
    let Some(path) = path else { return Ok(()) };
    atomic::write_output(path, pid.to_string().as_bytes()).doing(|| "write the pid file")
}

impl Execute for Create {
    fn execute(self) -> Result<i32> {
        self.globals.report(|| {
            self.bundle.create(&self.globals, &self.id, true).doing(|| "create failed")?;
            Ok(0)
        })
    }
}

/// Run the program of a created container
#[derive(Debug, clap::Parser)]
pub struct Start {
    #[command(flatten)]
    globals: Globals,
    #[arg(value_name = "CONTAINER-ID")]
    id: String,
}

impl Execute for Start {
    fn execute(self) -> Result<i32> {
        self.globals.report(|| {
            descriptors::close_others(0, self.globals.paths());
            lifecycle::start(&self.globals.container(&self.id)?)?;
            Ok(0)
        })
    }
}

/// Create and start a container
#[derive(Debug, clap::Parser)]
pub struct Run {
    #[command(flatten)]
    globals: Globals,
    #[command(flatten)]
    bundle: Bundle,

    /// Do not wait for the container
    #[arg(short, long)]
    detach: bool,

    /// Do not delete the container when it has ended
    #[arg(long)]
    keep: bool,

    /// Do not become the parent of what the container leaves behind
    #[arg(long)]
    no_subreaper: bool,

    #[arg(value_name = "CONTAINER-ID")]
    id: String,
}

impl Execute for Run {
    fn execute(self) -> Result<i32> {
        self.globals.report(|| self.run().doing(|| "run failed"))
    }
}

impl Run {
    fn run(&self) -> Result<i32> {
        // A first process in another's pid namespace is not our child but our grandchild; as its subreaper we can wait
        // for it all the same.
        if !self.detach && !self.no_subreaper {
            crate::explain::calls::prctl(libc::PR_SET_CHILD_SUBREAPER, 1).doing(|| "become a subreaper")?;
        }
        let created = self.bundle.create(&self.globals, &self.id, self.detach)?;
        let container = &created.container;
        let code = self.run_created(&created);
        if code.is_err() || !(self.detach || self.keep) {
            let removed = lifecycle::delete(container, true);
            code.and_then(|code| removed.map(|()| code))
        } else {
            code
        }
    }

    fn run_created(&self, created: &Created) -> Result<i32> {
        if self.detach {
            return lifecycle::start(&created.container).map(|()| 0);
        }
        let console = created.console.as_ref().filter(|_| self.bundle.console_socket.is_none());
        terminal::attend(created.container.record.pid, &created.pidfd, console, || lifecycle::start(&created.container))
    }
}

/// Send a signal to a container's first process
#[derive(Debug, clap::Parser)]
pub struct Kill {
    #[command(flatten)]
    globals: Globals,

    /// Send it to all processes of the container
    #[arg(short, long)]
    all: bool,

    #[arg(value_name = "CONTAINER-ID")]
    id: String,

    #[arg(value_name = "SIGNAL", default_value = "SIGTERM", allow_hyphen_values = true)]
    signal: String,
}

impl Execute for Kill {
    fn execute(self) -> Result<i32> {
        self.globals.report(|| {
            let container = self.globals.container(&self.id)?;
            let signal = crate::engine::signal::parse(&self.signal)
                .map_err(|_| Error::of(Kind::Usage, format!("unknown signal \"{}\"", self.signal)))?;
            lifecycle::kill(&container, signal, self.all)?;
            Ok(0)
        })
    }
}

/// Delete what a container holds
#[derive(Debug, clap::Parser)]
pub struct Delete {
    #[command(flatten)]
    globals: Globals,

    /// Kill the container first where it runs
    #[arg(short, long)]
    force: bool,

    #[arg(value_name = "CONTAINER-ID")]
    id: String,
}

impl Execute for Delete {
    fn execute(self) -> Result<i32> {
        self.globals.report(|| match self.globals.container(&self.id) {
            Ok(container) => lifecycle::delete(&container, self.force).map(|()| 0),
            Err(error) if error.is_not_found() && self.force => {
                forget(&self.globals.root(), &self.id);
                Ok(0)
            }
            Err(error) => Err(error),
        })
    }
}

/// A `create` that was killed leaves a directory without a state; a living one holds its lock.
fn forget(root: &Path, id: &str) {
    let dir = root.join(id);
    if let Ok(_lock) = crate::store::lock::try_exclusive(&dir) {
        let unfinished = state::find(root, id).is_err_and(|error| error.is_not_found());
        if unfinished {
            let _ = crate::store::tree::remove(&dir);
        }
    }
}

/// A container that must be running for what is asked of it.
pub fn running(container: &Container, otherwise: &str) -> Result<()> {
    match container.status() {
        state::Status::Stopped => Err(Error::conflict(otherwise)),
        _ => Ok(()),
    }
}
