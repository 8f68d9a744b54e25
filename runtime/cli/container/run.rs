//! run and create: making containers, and running them.

use super::options::Options;
use crate::cli::{Execute, close_callers_descriptors, output, store};
use crate::engine::container::attach::{self, Attachment, End};
use crate::engine::container::record::{Container, MountPoint};
use crate::engine::container::supervisor::{self, Client, Starting};
use crate::engine::container::{self, create, namespaces, protocol, remove, streams, terminal, unwatched};
use crate::engine::mounts::{self, clean};
use crate::engine::one_id;
use crate::error::{Error, Result};
use crate::store::Store;
use std::io::IsTerminal;
use std::os::fd::OwnedFd;
use std::path::Path;

/// Create and run a new container from an image
#[derive(Debug, clap::Parser)]
#[command(
    disable_help_flag = true,
    after_help = "Examples:
  ebb run -d -v myvolume:/app/data --name mycontainer nginx
  ebb run --rm -it busybox sh
  ebb run --rm --read-only --tmpfs /tmp busybox touch /tmp/x
  ebb run --rm --mount type=bind,src=.,dst=/src,readonly busybox ls /src
  ebb run --rm --volumes-from mycontainer -v ./backup:/backup busybox tar cf /backup/data.tar /app/data"
)]
pub struct Run {
    /// Run container in background and print container ID
    #[arg(short, long)]
    detach: bool,
    /// Attach to STDIN, STDOUT or STDERR
    #[arg(short, long, value_name = "list", value_parser = stream)]
    attach: Vec<String>,
    /// Override the key sequence for detaching a container
    #[arg(long, value_name = "string", default_value = terminal::DETACH_KEYS, hide_default_value = true)]
    detach_keys: String,
    /// Proxy received signals to the process
    #[arg(long, value_name = "bool", default_value_t = true, hide_default_value = true,
          action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    sig_proxy: bool,
    #[command(flatten)]
    options: Options,
}

fn stream(text: &str) -> std::result::Result<String, String> {
    match text.to_ascii_lowercase().as_str() {
        known @ ("stdin" | "stdout" | "stderr") => Ok(known.to_owned()),
        _ => Err("valid streams are STDIN, STDOUT and STDERR".to_owned()),
    }
}

impl Execute for Run {
    fn execute(self) -> Result<i32> {
        if self.detach && !self.attach.is_empty() {
            return Err(Error::new("conflicting options: cannot specify both --attach and --detach"));
        }
        let interactive = self.options.interactive();
        if self.options.tty() && interactive && !self.detach && !std::io::stdin().is_terminal() {
            return Err(Error::new("the input device is not a TTY"));
        }
        terminal::DetachKeys::parse(&self.detach_keys)?;
        let store = store()?;
        // It may begin anew, and what the options name can be read once only (`--env-file /dev/stdin`).
        namespaces::keep_binary_from(&self.options.sharing())?;
        let request = self.options.request(self.detach)?;
        close_callers_descriptors();
        let container = create::make(&store, &request)?;
        warn_of_uncovered_volumes(&container, &request.mounts);
        say_what_one_id_means(&store)?;
        if self.detach {
            start(&store, &container, None)?;
            output::line(&container.id)?;
            return Ok(0);
        }
        let attached = Attachment::new(&store, &container, interactive, self.sig_proxy, &self.detach_keys);
        let mut attachment = attached.inspect_err(|_| take_along(&store, &container))?;
        if !self.attach.is_empty() {
            let named = |name: &str| self.attach.iter().any(|stream| stream == name);
            attachment.stdin &= named("stdin");
            (attachment.stdout, attachment.stderr) = (named("stdout"), named("stderr"));
        }
        let (ours, theirs) = protocol::pair().inspect_err(|_| take_along(&store, &container))?;
        start(&store, &container, Some(theirs))?;
        match attachment.run(&ours)? {
            End::Exited(code) => Ok(code),
            End::Detached => Ok(0),
            End::Forced => Ok(forced(&container.name)),
            End::HungUp => Ok(streams::HUNG_UP),
            End::Unheard(unheard) => Ok(unheard.say()),
            End::Lost => {
                take_along(&store, &container);
                Err(Error::new(format!(
                    "the supervisor of container {} was killed, and the container with it",
                    container.name
                )))
            }
        }
    }
}

/// Docker's words, and how to end what goes on.
pub fn forced(name: &str) -> i32 {
    eprintln!("\ngot 3 SIGTERM/SIGINTs, forcefully exiting\n  {name} goes on: `ebb kill {name}` ends it");
    1
}

/// Starts it, with Docker's words around what went wrong in the container's first process. What the disk takes its time for is
/// done meanwhile.
fn start(store: &Store, container: &Container, attached: Option<OwnedFd>) -> Result<()> {
    let starting = supervisor::begin(store, container, Client { socket: attached, size: attach::size() });
    let synced = create::sync(store, container);
    let started = starting.and_then(Starting::finish).map_err(|mut error| {
        error.message = format!("failed to start container {}: {}", container.name, error.message);
        error
    });
    synced.inspect_err(|_| create::take_back(store, container))?;
    started.inspect_err(|_| take_along(store, container))
}

/// What was to go with its end (`--rm`), and has no supervisor that would see to it: none could be forked, or it was killed.
fn take_along(store: &Store, container: &Container) {
    if container.host_config.auto_remove {
        let _ = unwatched::await_supervisor(store, container);
        let _ = remove::erase(store, container, true);
    }
}

/// Said to a person, once a store: with one id a container's walls are fewer, and nothing that it prints shows it.
fn say_what_one_id_means(store: &Store) -> Result<()> {
    if std::io::stderr().is_terminal() && one_id::is_to_be_told(store)? {
        let (why, cure) = one_id::reason();
        eprintln!("ebb: {why}, so {}\n  {cure}", one_id::MEANING);
    }
    Ok(())
}

/// How data is lost on recreate: the image keeps it in a volume that nobody named, beside what the user did mount, maybe at
/// last year's path.
fn warn_of_uncovered_volumes(container: &Container, asked: &[mounts::Request]) {
    let is_anonymous = |mount: &&MountPoint| mount.kind == "volume" && mount.anonymous;
    let is_for_data = |mount: &MountPoint| mount.kind != "tmpfs" && mount.rw && !is_anonymous(&mount);
    if !container.mounts.iter().any(is_for_data) {
        return;
    }
    for mount in container.mounts.iter().filter(is_anonymous) {
        let is_here = |path: &str| clean(path) == Path::new(&mount.destination);
        let of_image = container.config.image.volumes.keys().any(|path| is_here(path));
        // What --volumes-from brings is another container's, which keeps it; nothing is ever copied up into it.
        let from_another = mount.no_copy;
        if of_image && !from_another && !asked.iter().any(|one| is_here(&one.target)) {
            eprintln!(
                "ebb: warning: the image keeps data in {}, which no -v of yours covers: it goes into the anonymous \
                 volume {}",
                output::printable(&mount.destination),
                crate::store::id::short(&mount.name)
            );
        }
    }
}

/// Create a new container
#[derive(Debug, clap::Parser)]
#[command(
    disable_help_flag = true,
    after_help = "Examples:
  ebb create --name box busybox sleep 1000
  ebb create -v myvolume:/data nginx"
)]
pub struct Create {
    #[command(flatten)]
    options: Options,
}

impl Execute for Create {
    fn execute(self) -> Result<i32> {
        let store = store()?;
        let request = self.options.request(true)?;
        close_callers_descriptors();
        let container = create::create(&store, &request)?;
        warn_of_uncovered_volumes(&container, &request.mounts);
        say_what_one_id_means(&store)?;
        output::line(&container.id)?;
        Ok(0)
    }
}

/// For `start` and `attach`: a container that is there already.
pub fn attach_to(store: &Store, container: &Container, attachment: Attachment) -> Result<End> {
    let socket = protocol::knock(&container::dir(store, &container.id))?;
    attachment.run(&socket)
}
