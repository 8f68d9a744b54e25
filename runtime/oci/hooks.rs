//! Hooks: programs that a bundle wants run at fixed moments of its container's life, with the container's state on
//! their stdin.
//!
//! ```text
//!   prestart, createRuntime   the runtime's namespaces    after the container's namespaces exist, before pivot_root
//!   createContainer           the container's namespaces  before pivot_root
//!   startContainer            the container's namespaces  after `start`, before execve
//!   poststart                 the runtime's namespaces    after execve
//!   poststop                  the runtime's namespaces    after the container was deleted
//! ```

use crate::error::{Doing, Error, Result};
use crate::kernel;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;
use oci_spec::runtime::{ContainerState, Hook, Spec, State};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The OCI state, as hooks and `state` show it. `pid` is 0 for a container that has none any more.
pub fn state(spec: &Spec, id: &str, bundle: &Path, status: ContainerState, pid: i32) -> State {
    let mut state = State::default();
    state
        .set_version(spec.version().clone())
        .set_id(id.to_owned())
        .set_status(status)
        .set_pid((pid > 0).then_some(pid))
        .set_bundle(bundle.to_owned())
        .set_annotations(Some(spec.annotations().clone().unwrap_or_default()));
    state
}

/// Runs the hooks of one moment, in order. The first that fails ends it, with what it wrote to stderr.
pub fn run(hooks: &Option<Vec<Hook>>, moment: &str, state: &State) -> Result<()> {
    let Some(hooks) = hooks.as_ref().filter(|hooks| !hooks.is_empty()) else {
        return Ok(());
    };
    let state = serde_json::to_vec(state).doing(|| "encode the container's state")?;
    for (index, hook) in hooks.iter().enumerate() {
        run_one(hook, &state).doing(|| format!("{moment} hook #{index} {}", hook.path().display()))?;
    }
    Ok(())
}

/// [`run`], for the moments at which a failure is told but changes nothing any more.
pub fn run_and_warn(hooks: &Option<Vec<Hook>>, moment: &str, state: &State) {
    for hook in hooks.iter().flatten() {
        if let Err(error) = run(&Some(vec![hook.clone()]), moment, state) {
            eprintln!("ebb: warning: {error}");
        }
    }
}

fn run_one(hook: &Hook, state: &[u8]) -> Result<()> {
    if !hook.path().is_absolute() {
        return Err(Error::new("the path of a hook must be absolute"));
    }
    let mut words = hook.args().clone().unwrap_or_default().into_iter();
    let mut command = Command::new(hook.path());
    if let Some(name) = words.next() {
        command.arg0(name);
    }
    let environment = hook.env().iter().flatten().filter_map(|entry| entry.split_once('='));
    command.args(words).env_clear().envs(environment);
    // Opened here and not by std, so that it is among what is closed.
    let null = std::fs::File::options().write(true).open("/dev/null").doing(|| "open /dev/null")?;
    command.stdin(Stdio::piped()).stdout(null).stderr(Stdio::piped());
    kernel::close_descriptors_of(&mut command);
    let mut child = command.spawn().doing(|| "start")?;

    // A state is smaller than a pipe holds, so this does not wait for the hook; one that does not read it is no error.
    if let Some(Err(error)) = child.stdin.take().map(|mut stdin| stdin.write_all(state))
        && error.kind() != ErrorKind::BrokenPipe
    {
        return Err(error).doing(|| "write the container's state");
    }
    let limit =
        hook.timeout().filter(|seconds| *seconds > 0).map(|seconds| Duration::from_secs(seconds.unsigned_abs()));
    let said = child.stderr.take().map(|stderr| read_until_exit(stderr, child.id(), limit)).transpose()?;
    let Some(said) = said.flatten() else {
        let _ = child.kill();
        let _ = child.wait();
        let seconds = limit.unwrap_or_default().as_secs();
        return Err(Error::new(format!("it did not end within {seconds} s, and was killed")));
    };
    let status = child.wait().doing(|| "wait for it")?;
    if status.success() {
        return Ok(());
    }
    let how = match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (_, signal) => format!("killed by signal {}", signal.unwrap_or(0)),
    };
    Err(Error::new(match String::from_utf8_lossy(&said).trim() {
        "" => how,
        said => format!("{how}: {said}"),
    }))
}

/// What the hook writes to stderr, until it exits; `None` where the time is over before.
fn read_until_exit(
    mut stderr: std::process::ChildStderr,
    pid: u32,
    limit: Option<Duration>,
) -> Result<Option<Vec<u8>>> {
    const MOST: usize = 64 << 10;
    let pidfd = kernel::pidfd_open(Pid::from_raw(pid as i32)).doing(|| "watch it")?;
    let give_up = limit.map(|limit| Instant::now() + limit);
    let mut said = Vec::new();
    let mut open = true;
    loop {
        let left = give_up.map(|give_up| give_up.saturating_duration_since(Instant::now()));
        let wait = left.map_or(PollTimeout::NONE, |left| PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX));
        let mut fds = vec![PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        if open {
            fds.push(PollFd::new(stderr.as_fd(), PollFlags::POLLIN));
        }
        match poll(&mut fds, wait) {
            Ok(0) if left.is_some_and(|left| left.is_zero()) => return Ok(None),
            Ok(0) | Err(nix::errno::Errno::EINTR) => continue,
            Err(errno) => return Err(errno).doing(|| "wait for it"),
            Ok(_) => {}
        }
        let exited = fds[0].revents().is_some_and(|events| !events.is_empty());
        if fds.get(1).and_then(PollFd::revents).is_some_and(|events| !events.is_empty()) {
            let mut buffer = [0; 4096];
            let count = stderr.read(&mut buffer).doing(|| "read what it says")?;
            open = count > 0;
            said.extend_from_slice(&buffer[..count.min(MOST.saturating_sub(said.len()))]);
        } else if exited {
            // What it left in the pipe has been read; a child of its own may keep the pipe open for ever.
            return Ok(Some(said));
        }
    }
}
