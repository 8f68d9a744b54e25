//! Health checks: a command run in the container now and then, whose exit code says how the container is.
//!
//! The supervisor polls; this is its part of the loop. `deadline` and `descriptors` say when to wake, `advance` does
//! what is due.

use super::record::Container;
use super::state::{self, Health, HealthProbe};
use super::{exec, streams};
use crate::engine::image::Healthcheck;
use crate::engine::time;
use crate::error::{Doing, Result};
use crate::explain::calls;
use crate::oci::{self, Io};
use crate::store::Store;
use jiff::Timestamp;
use nix::fcntl::OFlag;
use nix::unistd::{pipe2, read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// Docker keeps the last five probes, and 4096 bytes of what each wrote.
const PROBES_KEPT: usize = 5;
const OUTPUT_KEPT: usize = 4096;

/// The health check of one life of a container, from its start to its end.
pub struct Monitor {
    command: Vec<String>,
    interval: Duration,
    timeout: Duration,
    retries: u32,
    /// Until then, a failure is not held against it.
    grace_ends: Instant,
    phase: Phase,
}

enum Phase {
    Waiting { until: Instant },
    Probing(Probe),
}

/// A check that runs.
struct Probe {
    child: oci::Init,
    output: Option<OwnedFd>,
    text: Vec<u8>,
    cut: bool,
    began: Timestamp,
    /// When it is killed; `None` once it has been.
    deadline: Option<Instant>,
}

/// What `state.json` says of a container with a health check when it starts; `None` without one.
pub fn initial(container: &Container) -> Option<Health> {
    check(container).map(|_| Health { status: "starting".into(), ..Health::default() })
}

/// The check's command and settings, where it has one that is not `NONE`.
fn check(container: &Container) -> Option<(&Healthcheck, Vec<String>)> {
    let check = container.config.image.healthcheck.as_ref()?;
    let command = match check.test.split_first()? {
        (kind, command) if kind == "CMD" && !command.is_empty() => command.to_vec(),
        (kind, [script]) if kind == "CMD-SHELL" => vec!["/bin/sh".into(), "-c".into(), script.clone()],
        _ => return None,
    };
    Some((check, command))
}

impl Monitor {
    /// For a container that has just been started; `None` where it has no health check.
    pub fn new(container: &Container) -> Option<Monitor> {
        let (check, command) = check(container)?;
        let or_default = |nanoseconds: i64, seconds: u64| match u64::try_from(nanoseconds) {
            Ok(nanoseconds) if nanoseconds > 0 => Duration::from_nanos(nanoseconds),
            _ => Duration::from_secs(seconds),
        };
        let interval = or_default(check.interval, 30);
        let now = Instant::now();
        Some(Monitor {
            command,
            interval,
            timeout: or_default(check.timeout, 30),
            retries: if check.retries == 0 { 3 } else { check.retries },
            grace_ends: now + or_default(check.start_period, 0),
            phase: Phase::Waiting { until: now + interval },
        })
    }

    /// When [`Monitor::advance`] is due, whatever the descriptors say; `None`: only they say.
    pub fn deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Waiting { until } => Some(*until),
            Phase::Probing(probe) => probe.deadline,
        }
    }

    /// To be polled for POLLIN.
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        match &self.phase {
            Phase::Waiting { .. } => Vec::new(),
            Phase::Probing(probe) => {
                std::iter::once(probe.child.pidfd.as_fd()).chain(probe.output.as_ref().map(AsFd::as_fd)).collect()
            }
        }
    }

    /// Does what is due: starts a probe, reads what it writes, ends it when it takes too long, writes down its verdict.
    /// Cheap when nothing is. An error is about the container's state file; the monitor itself goes on.
    pub fn advance(&mut self, store: &Store, container: &Container) -> Result<()> {
        let now = Instant::now();
        match &mut self.phase {
            Phase::Waiting { until } if now < *until => Ok(()),
            Phase::Waiting { .. } => match self.begin(store, container) {
                Ok(()) => Ok(()),
                Err(error) => self.conclude(store, container, Timestamp::now(), -1, error.to_string()),
            },
            Phase::Probing(probe) => {
                probe.read();
                if probe.deadline.is_some_and(|deadline| now >= deadline) {
                    // Its end is not waited for here: where the container is frozen, that takes until it is thawed.
                    let _ = calls::pidfd_send_signal(&probe.child.pidfd, libc::SIGKILL);
                    probe.deadline = None;
                }
                let Some(code) = probe.ended()? else { return Ok(()) };
                let (code, text) = match probe.deadline {
                    None => (-1, format!("Health check exceeded timeout ({})", go_duration(self.timeout))),
                    Some(_) => (code, probe.output()),
                };
                let began = probe.began;
                self.conclude(store, container, began, code, text)
            }
        }
    }

    /// Starts a probe; a frozen container is left alone until the next time.
    fn begin(&mut self, store: &Store, container: &Container) -> Result<()> {
        let began = Timestamp::now();
        self.phase = Phase::Waiting { until: Instant::now() + self.interval };
        let Ok(init) = exec::running(store, container) else { return Ok(()) };
        let mut spec = exec::bundle_spec(store, container)?;
        let request = exec::Request { command: self.command.clone(), ..exec::Request::default() };
        let process = exec::process(&mut spec, container, &init, &request)?;
        let (output, write_end) = pipe2(OFlag::O_CLOEXEC).doing(|| "make a pipe")?;
        streams::set_nonblocking(&output)?;
        let stderr = write_end.try_clone().doing(|| "duplicate a pipe")?;
        let io = Io::Descriptors { stdin: exec::null_for(container)?, stdout: write_end, stderr };
        let child = exec::start(&init, container, &spec, &process, io)?;
        let deadline = Some(Instant::now() + self.timeout);
        self.phase =
            Phase::Probing(Probe { child, output: Some(output), text: Vec::new(), cut: false, began, deadline });
        Ok(())
    }

    /// Writes down what a probe found, and waits for the next one's time.
    fn conclude(
        &mut self,
        store: &Store,
        container: &Container,
        began: Timestamp,
        exit_code: i32,
        output: String,
    ) -> Result<()> {
        let now = Instant::now();
        self.phase = Phase::Waiting { until: now + self.interval };
        let probe = HealthProbe { start: time::format(began), end: time::now(), exit_code, output };
        let in_grace = now < self.grace_ends;
        state::change(store, &container.id, |state| {
            if state.is_running() {
                judge(state.health.get_or_insert_default(), probe, self.retries, in_grace);
            }
        })
        .map(drop)
    }
}

/// The state machine: one success makes it healthy, `retries` failures in a row unhealthy; while it is `starting`,
/// failures in its start period do not count.
fn judge(health: &mut Health, probe: HealthProbe, retries: u32, in_grace: bool) {
    if probe.exit_code == 0 {
        health.status = "healthy".into();
        health.failing_streak = 0;
    } else if !(in_grace && health.status != "healthy") {
        health.failing_streak += 1;
        if health.failing_streak >= retries {
            health.status = "unhealthy".into();
        }
    }
    if health.status.is_empty() {
        health.status = "starting".into();
    }
    health.log.push(probe);
    let surplus = health.log.len().saturating_sub(PROBES_KEPT);
    health.log.drain(..surplus);
}

impl Probe {
    /// Takes what the check has written by now. Beyond 4 KiB it is read and forgotten, so that the check is not held up.
    fn read(&mut self) {
        let mut buffer = [0u8; 4096];
        while let Some(output) = &self.output {
            match read(output, &mut buffer) {
                Ok(0) => self.output = None,
                Ok(length) => {
                    let room = OUTPUT_KEPT - self.text.len();
                    self.text.extend_from_slice(&buffer[..length.min(room)]);
                    self.cut |= length > room;
                }
                Err(nix::errno::Errno::EINTR) => {}
                Err(_) => return,
            }
        }
    }

    /// Its exit code, once it has ended.
    fn ended(&mut self) -> Result<Option<i32>> {
        if !super::stop::ended_within(&self.child.pidfd, Some(Duration::ZERO))? {
            return Ok(None);
        }
        self.read();
        Ok(Some(exec::exit_code(&self.child.pidfd).unwrap_or(-1)))
    }

    fn output(&self) -> String {
        let text = String::from_utf8_lossy(&self.text);
        if self.cut { format!("{text}...") } else { text.into_owned() }
    }
}

impl Drop for Monitor {
    /// The container has ended, and its processes with it; a probe among them is ours to reap.
    fn drop(&mut self) {
        if let Phase::Probing(probe) = &mut self.phase {
            let _ = calls::pidfd_send_signal(&probe.child.pidfd, libc::SIGKILL);
            let _ = exec::exit_code(&probe.child.pidfd);
        }
    }
}

/// As Go prints a duration: `30s`, `1m30s`, `500ms`.
fn go_duration(duration: Duration) -> String {
    let (seconds, millis) = (duration.as_secs(), duration.subsec_millis());
    if seconds == 0 {
        return format!("{millis}ms");
    }
    let fraction = if millis == 0 { String::new() } else { format!(".{millis:03}").trim_end_matches('0').to_owned() };
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{rest}{fraction}s"),
        (0, minutes) => format!("{minutes}m{rest}{fraction}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{rest}{fraction}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(codes: &[(i32, bool)]) -> (String, u32) {
        let mut health = Health { status: "starting".into(), ..Health::default() };
        for (exit_code, in_grace) in codes {
            judge(&mut health, HealthProbe { exit_code: *exit_code, ..HealthProbe::default() }, 2, *in_grace);
        }
        assert!(health.log.len() <= PROBES_KEPT);
        (health.status, health.failing_streak)
    }

    #[test]
    fn one_success_is_healthy_and_retries_failures_are_not() {
        assert_eq!(after(&[(1, false)]), ("starting".into(), 1));
        assert_eq!(after(&[(1, false), (1, false)]), ("unhealthy".into(), 2));
        assert_eq!(after(&[(1, false), (1, false), (0, false)]), ("healthy".into(), 0));
        assert_eq!(after(&[(0, false), (1, false)]), ("healthy".into(), 1));
    }

    #[test]
    fn failures_in_the_start_period_do_not_count_until_the_first_success() {
        assert_eq!(after(&[(1, true); 9]), ("starting".into(), 0));
        assert_eq!(after(&[(1, true), (0, true), (1, true), (1, true)]), ("unhealthy".into(), 2));
    }

    #[test]
    fn durations_are_gos() {
        let shown = |millis| go_duration(Duration::from_millis(millis));
        assert_eq!([shown(30_000), shown(90_000), shown(1500), shown(20)], ["30s", "1m30s", "1.5s", "20ms"]);
    }
}
