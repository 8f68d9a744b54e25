//! start and attach: what was made runs, and is looked at.

use super::run::{attach_to, forced};
use crate::cli::{Execute, close_callers_descriptors, output, store};
use crate::engine::container::attach::{self, Attachment, End};
use crate::engine::container::record::Container;
use crate::engine::container::state::{self, Status};
use crate::engine::container::supervisor::{self, Client};
use crate::engine::container::{self, namespaces, protocol, streams, terminal};
use crate::error::{Error, Kind, Result};
use crate::store::Store;
use std::io::IsTerminal;

/// Start one or more stopped containers
#[derive(Debug, clap::Parser)]
#[command(after_help = "Examples:
  ebb start mycontainer
  ebb start -a mycontainer     with its output, and its exit code")]
pub struct Start {
    /// Attach STDOUT/STDERR and forward signals
    #[arg(short, long)]
    attach: bool,
    /// Override the key sequence for detaching a container
    #[arg(long, value_name = "string", default_value = terminal::DETACH_KEYS, hide_default_value = true)]
    detach_keys: String,
    /// Attach container's STDIN
    #[arg(short, long)]
    interactive: bool,
    #[arg(value_name = "CONTAINER", required = true)]
    names: Vec<String>,
}

impl Execute for Start {
    fn execute(self) -> Result<i32> {
        close_callers_descriptors();
        let store = store()?;
        if self.attach || self.interactive {
            let [name] = self.names.as_slice() else {
                return Err(Error::new("you cannot start and attach multiple containers at once"));
            };
            return self.attached(&store, name);
        }
        let mut failed: Vec<&str> = Vec::new();
        let found: Vec<_> = self.names.iter().map(|name| container::find(&store, name)).collect();
        for container in found.iter().flatten() {
            namespaces::keep_binary_from(&container.host_config)?;
        }
        for (name, container) in self.names.iter().zip(found) {
            match container.and_then(|container| start(&store, &container)) {
                Ok(()) => output::line(name)?,
                Err(error) => {
                    output::complain(&error);
                    failed.push(name);
                }
            }
        }
        if failed.is_empty() {
            return Ok(0);
        }
        eprintln!("ebb: failed to start containers: {}", failed.join(", "));
        Err(Error::of(Kind::Reported, ""))
    }
}

/// One that runs already is left to run, as in Docker.
fn start(store: &Store, container: &Container) -> Result<()> {
    let state = state::current(store, container)?;
    match state.status {
        Status::Running | Status::Restarting => Ok(()),
        Status::Paused => Err(Error::conflict("cannot start a paused container, try unpause instead")),
        _ => supervisor::start(store, container, Client::default()),
    }
}

impl Start {
    fn attached(&self, store: &Store, name: &str) -> Result<i32> {
        let container = container::find(store, name)?;
        if container.config.tty && self.interactive && !std::io::stdin().is_terminal() {
            return Err(Error::new("the input device is not a TTY"));
        }
        namespaces::keep_binary_from(&container.host_config)?;
        let attachment = Attachment::new(store, &container, self.interactive, true, &self.detach_keys)?;
        let end = if state::current(store, &container)?.is_running() {
            attach_to(store, &container, attachment)?
        } else {
            let (ours, theirs) = protocol::pair()?;
            supervisor::start(store, &container, Client { socket: Some(theirs), size: attach::size() })?;
            attachment.run(&ours)?
        };
        finish(&container.name, end)
    }
}

fn finish(name: &str, end: End) -> Result<i32> {
    match end {
        End::Exited(code) => Ok(code),
        End::Detached => {
            eprintln!("read escape sequence");
            Ok(0)
        }
        End::Forced => Ok(forced(name)),
        End::HungUp => Ok(streams::HUNG_UP),
        End::Unheard(unheard) => Ok(unheard.say()),
        End::Lost => Err(Error::new(format!("the supervisor of container {name} is gone"))),
    }
}

/// Attach local standard input, output, and error streams to a running container
#[derive(Debug, clap::Parser)]
#[command(after_help = "Examples:
  ebb attach mycontainer       ctrl-p ctrl-q leaves it running, where it has a terminal")]
pub struct Attach {
    /// Override the key sequence for detaching a container
    #[arg(long, value_name = "string", default_value = terminal::DETACH_KEYS, hide_default_value = true)]
    detach_keys: String,
    /// Do not attach STDIN
    #[arg(long)]
    no_stdin: bool,
    /// Proxy all received signals to the process
    #[arg(long, value_name = "bool", default_value_t = true, hide_default_value = true,
          action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    sig_proxy: bool,
    #[arg(value_name = "CONTAINER")]
    name: String,
}

impl Execute for Attach {
    fn execute(self) -> Result<i32> {
        let store = store()?;
        let container = container::find(&store, &self.name)?;
        match state::current(&store, &container)?.status {
            Status::Running => {}
            Status::Paused => {
                return Err(Error::conflict("You cannot attach to a paused container, unpause it first"));
            }
            Status::Restarting => {
                return Err(Error::conflict("You cannot attach to a restarting container, wait until it is running"));
            }
            _ => return Err(Error::conflict("You cannot attach to a stopped container, start it first")),
        }
        let stdin = !self.no_stdin;
        if container.config.tty && stdin && container.config.open_stdin && !std::io::stdin().is_terminal() {
            return Err(Error::new("the input device is not a TTY"));
        }
        let attachment = Attachment::new(&store, &container, stdin, self.sig_proxy, &self.detach_keys)?;
        finish(&container.name, attach_to(&store, &container, attachment)?)
    }
}
