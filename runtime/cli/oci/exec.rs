//! oci exec: one more process in a running container.

use super::lifecycle::{running, write_pid};
use super::{Execute, Globals, descriptors, terminal};
use crate::error::{Doing, Error, Kind, Result};
use crate::kernel;
use crate::oci::cgroup::Below;
use crate::oci::state::Status;
use crate::oci::{self, ExecOptions, Io, binary};
use crate::store::bounds;
use nix::unistd::Pid;
use oci_spec::runtime::{Capability, LinuxCapabilities, Process};
use std::path::PathBuf;

/// Run one more process in a running container
#[derive(Debug, clap::Parser)]
pub struct Exec {
    #[command(flatten)]
    globals: Globals,

    /// Socket that will receive the master end of the process's terminal
    #[arg(long, value_name = "SOCKET")]
    console_socket: Option<PathBuf>,
    /// Working directory in the container
    #[arg(long, value_name = "DIR")]
    cwd: Option<PathBuf>,
    /// Set an environment variable
    #[arg(short, long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Give it a terminal
    #[arg(short, long)]
    tty: bool,
    /// User to run as
    #[arg(short, long, value_name = "UID[:GID]")]
    user: Option<String>,
    /// One more group
    #[arg(short = 'g', long, value_name = "GID")]
    additional_gids: Vec<u32>,
    /// File that describes the process, as in the bundle's "process"
    #[arg(short, long, value_name = "FILE")]
    process: Option<PathBuf>,
    /// Do not wait for it
    #[arg(short, long)]
    detach: bool,
    /// File to write the process id to
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// SELinux label (refused where given)
    #[arg(long, value_name = "LABEL")]
    process_label: Option<String>,
    /// AppArmor profile (refused where given)
    #[arg(long, value_name = "PROFILE")]
    apparmor: Option<String>,
    /// Forbid it to gain privileges by execve
    #[arg(long)]
    no_new_privs: bool,
    /// Add a capability
    #[arg(short, long, value_name = "CAP")]
    cap: Vec<String>,
    /// Pass N more descriptors (stdio + N in total)
    #[arg(long, value_name = "N", default_value_t = 0)]
    preserve_fds: u32,
    /// Run it in a cgroup below the container's; of cgroup v1, for some controllers only
    #[arg(long, value_name = "[CONTROLLER,…:]PATH")]
    cgroup: Vec<String>,
    /// Start it in a paused container too
    #[arg(long)]
    ignore_paused: bool,

    #[arg(value_name = "CONTAINER-ID")]
    id: String,
    #[arg(value_name = "COMMAND", trailing_var_arg = true)]
    command: Vec<String>,
}

impl Execute for Exec {
    fn execute(self) -> Result<i32> {
        match self.globals.report(|| self.run().doing(|| "exec failed")) {
            // What the process itself answers is below 255: this is runc's word for "there was no process".
            Err(error) if error.kind == Kind::Reported => Ok(255),
            other => other,
        }
    }
}

impl Exec {
    fn run(&self) -> Result<i32> {
        let container = self.globals.container(&self.id)?;
        running(&container, "cannot exec in a stopped container")?;
        if container.status() == Status::Paused && !self.ignore_paused {
            return Err(Error::conflict("cannot exec in a paused container (use --ignore-paused to override)"));
        }
        self.refuse_what_is_not_done()?;
        let spec = container.spec()?;
        binary::keep_from(&spec)?;
        let process = match &self.process {
            Some(file) => bounds::read_named(file)
                .and_then(|text| Ok(serde_json::from_str(&text)?))
                .doing(|| format!("read {}", file.display()))?,
            None => self.described_by_options(spec.process().clone().unwrap_or_default())?,
        };
        let preserve_fds = descriptors::preserved_in_exec(self.preserve_fds)?;
        let options = ExecOptions { preserve_fds, cgroups: below(&self.cgroup)? };
        let named = [self.console_socket.as_deref(), self.pid_file.as_deref()];
        descriptors::close_others(options.preserve_fds, named.into_iter().chain(self.globals.paths()));
        let wants_terminal = process.terminal().unwrap_or(false);
        terminal::check(wants_terminal, self.detach, self.console_socket.as_deref())?;
        let (rows, columns) = terminal::size();
        let io = if wants_terminal {
            Io::Terminal { rows, columns }
        } else {
            descriptors::refuse_directories()?;
            Io::Inherit
        };

        let target = Pid::from_raw(container.record.pid);
        let handle = kernel::pidfd_open(target).doing(|| format!("open process {target}"))?;
        // Asked after the handle is ours: the pid may have been given to another.
        running(&container, "cannot exec in a stopped container")?;
        let mut init = oci::exec(target, handle, &spec, &process, io, &options, None)?;
        if let (Some(socket), Some(console)) = (&self.console_socket, &init.console) {
            terminal::send(socket, console)?;
        }
        let pid = init.pid.as_raw();
        if self.detach {
            init.start_entered(None)?;
            write_pid(self.pid_file.as_deref(), pid)?;
            return Ok(0);
        }
        let pidfd = init.pidfd.try_clone().doing(|| "watch the process")?;
        let console = init.console.take();
        terminal::attend(pid, &pidfd, console.as_ref(), || {
            init.start_entered(None)?;
            write_pid(self.pid_file.as_deref(), pid)
        })
    }

    fn refuse_what_is_not_done(&self) -> Result<()> {
        let asked = [
            (
                self.process_label.as_ref().is_some_and(|label| !label.is_empty()),
                "--process-label: ebb sets no SELinux labels",
            ),
            (
                self.apparmor.as_ref().is_some_and(|profile| !profile.is_empty()),
                "--apparmor: ebb loads no AppArmor profiles",
            ),
        ];
        match asked.into_iter().find(|(given, _)| *given) {
            Some((_, why)) => Err(Error::new(why)),
            None => Ok(()),
        }
    }

    /// The container's own process with what was asked for changed.
    fn described_by_options(&self, mut process: Process) -> Result<Process> {
        if self.command.is_empty() {
            return Err(Error::of(Kind::Usage, "process args cannot be empty"));
        }
        process.set_args(Some(self.command.clone())).set_terminal(Some(self.tty));
        if let Some(cwd) = &self.cwd {
            process.set_cwd(cwd.clone());
        }
        let environment = process.env().iter().flatten().chain(&self.env).cloned().collect();
        process.set_env(Some(environment));
        if self.no_new_privs {
            process.set_no_new_privileges(Some(true));
        }
        let mut user = process.user().clone();
        if let Some(asked) = &self.user {
            let bad = || Error::new(format!("invalid user \"{asked}\": UID or UID:GID as numbers"));
            let (uid, gid) = asked.split_once(':').map_or((asked.as_str(), None), |(uid, gid)| (uid, Some(gid)));
            user.set_uid(uid.parse().map_err(|_| bad())?);
            if let Some(gid) = gid {
                user.set_gid(gid.parse().map_err(|_| bad())?);
            }
        }
        let gids: Vec<u32> = user.additional_gids().iter().flatten().chain(&self.additional_gids).copied().collect();
        if !gids.is_empty() {
            user.set_additional_gids(Some(gids));
        }
        process.set_user(user);
        if !self.cap.is_empty() {
            let capabilities = self.more_capabilities(process.capabilities().clone().unwrap_or_default())?;
            process.set_capabilities(Some(capabilities));
        }
        Ok(process)
    }

    /// Into the sets that decide what the process may do. Not into the inheritable one: what is there would come back
    /// after a program dropped it (CVE-2022-29162).
    fn more_capabilities(&self, mut sets: LinuxCapabilities) -> Result<LinuxCapabilities> {
        for name in &self.cap {
            let plain = name.to_ascii_uppercase();
            let plain = plain.strip_prefix("CAP_").unwrap_or(&plain);
            let capability: Capability =
                plain.parse().map_err(|_| Error::new(format!("unknown capability \"{name}\"")))?;
            let with = |set: &Option<oci_spec::runtime::Capabilities>| {
                let mut set = set.clone().unwrap_or_default();
                set.insert(capability);
                Some(set)
            };
            let (bounding, effective, permitted) =
                (with(sets.bounding()), with(sets.effective()), with(sets.permitted()));
            sets.set_bounding(bounding).set_effective(effective).set_permitted(permitted);
        }
        Ok(sets)
    }
}

/// The words of `--cgroup`: one path for all controllers, or one for each that is named (cgroup v1).
fn below(words: &[String]) -> Result<Vec<Below>> {
    let wrong = |word: &str, why: &str| Err(Error::of(Kind::Usage, format!("invalid --cgroup argument: {word}{why}")));
    let mut all: Vec<Below> = Vec::new();
    for word in words {
        let (controllers, path) = match word.split(':').collect::<Vec<_>>()[..] {
            [path] if words.len() == 1 => (Vec::new(), path),
            [_] => return wrong(word, " (missing <controller>: prefix)"),
            [controllers, path] => (controllers.split(',').map(str::to_owned).collect(), path),
            _ => return wrong(word, ""),
        };
        if controllers.iter().any(String::is_empty) {
            return wrong(word, " (empty <controller> prefix)");
        }
        if let Some(twice) = controllers.iter().find(|name| all.iter().any(|place| place.controllers.contains(name))) {
            return wrong(word, &format!(" (controller {twice} specified multiple times)"));
        }
        all.push(Below { controllers, path: path.to_owned() });
    }
    Ok(all)
}
