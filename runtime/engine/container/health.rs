//! Health checks: a command run in the container now and then, whose exit code says how the container is.
//!
//! The supervisor polls; this is its part of the loop. `deadline` and `descriptors` say when to wake, `advance` does
//! what is due.

use super::create;
use super::probe::{self, Probe};
use super::record::Container;
use super::state::{self, Health, HealthProbe};
use crate::engine::image::Healthcheck;
use crate::engine::{events, time};
use crate::error::{Error, Result};
use crate::store::Store;
use jiff::Timestamp;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

/// As in Docker.
const PROBES_KEPT: usize = 5;

/// Docker's floor, in nanoseconds. A check is a process: who asks for less asks the host for nothing but processes.
const SHORTEST: i64 = 1_000_000;

/// What is sensible, for whoever asked for less than is possible.
const SENSIBLE: &str = "every check is a process of its own: 30s is Docker's interval, and 1s is often";

/// Refuses what the user asks for and no check can have, in Docker's words, before anything is made.
pub fn check_asked(asked: &create::Health) -> Result<()> {
    let times = [
        ("interval", asked.interval.unwrap_or(0)),
        ("timeout", asked.timeout.unwrap_or(0)),
        ("start-period", asked.start_period.unwrap_or(0)),
    ];
    if let Some((name, _)) = times.iter().find(|(_, time)| *time < 0) {
        return Err(Error::new(format!("--health-{name} cannot be negative")));
    }
    let says_anything = asked.command.is_some() || asked.retries.is_some() || times.iter().any(|(_, time)| *time != 0);
    if asked.none && says_anything {
        return Err(Error::new("--no-healthcheck conflicts with --health-* options"));
    }
    match too_short(times.map(|(_, time)| time)) {
        Some((name, _)) => {
            Err(Error::new(format!("{name} in Healthcheck cannot be less than 1ms")).with_cure(SENSIBLE))
        }
        None => Ok(()),
    }
}

/// The user's words laid over the image's. An image is data: what it asks for below the floor, it does not get either.
pub fn lay_over(asked: &create::Health, image: Option<Healthcheck>) -> Result<Option<Healthcheck>> {
    if asked.none {
        return Ok(Some(Healthcheck { test: vec!["NONE".into()], ..Healthcheck::default() }));
    }
    let is_there = image.is_some();
    let mut check = image.unwrap_or_default();
    if let Some(command) = &asked.command {
        check.test = vec!["CMD-SHELL".into(), command.clone()];
    }
    // As in Docker, 0 asks for nothing.
    let set = |slot: &mut i64, asked: Option<i64>| *slot = asked.filter(|time| *time != 0).unwrap_or(*slot);
    set(&mut check.interval, asked.interval);
    set(&mut check.timeout, asked.timeout);
    set(&mut check.start_period, asked.start_period);
    check.retries = asked.retries.unwrap_or(check.retries);
    if let Some((name, time)) = too_short([check.interval, check.timeout, check.start_period]) {
        let option = name.replace("StartPeriod", "start-period").to_lowercase();
        return Err(Error::new(format!("{name} in Healthcheck cannot be less than 1ms, and the image has {time}ns"))
            .with_cure(format!("{SENSIBLE}: --health-{option} 30s says so, --no-healthcheck does without")));
    }
    Ok((is_there || !check.test.is_empty()).then_some(check))
}

/// The first of a check's interval, timeout and start period that is below the floor, by Docker's name. 0 is the default.
fn too_short(times: [i64; 3]) -> Option<(&'static str, i64)> {
    let named = ["Interval", "Timeout", "StartPeriod"].into_iter().zip(times);
    named.into_iter().find(|(_, time)| *time != 0 && *time < SHORTEST)
}

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
    /// No check runs any more, and when the next one begins is yet to be said.
    Ended,
    Waiting {
        until: Instant,
    },
    /// A check runs, until `deadline`.
    Probing {
        probe: Probe,
        deadline: Instant,
    },
    /// A check took too long, as is written down; the end of what was killed is yet to come.
    GivenUp {
        probe: Probe,
    },
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
        // A record may come from an Ebb that took less than the floor.
        let or_default = |nanoseconds: i64, seconds: u64| match nanoseconds {
            0 => Duration::from_secs(seconds),
            nanoseconds => Duration::from_nanos(nanoseconds.max(SHORTEST).unsigned_abs()),
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
            Phase::Probing { deadline, .. } => Some(*deadline),
            Phase::GivenUp { .. } | Phase::Ended => None,
        }
    }

    /// To be polled for POLLIN.
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        match &self.phase {
            Phase::Waiting { .. } | Phase::Ended => Vec::new(),
            Phase::Probing { probe, .. } | Phase::GivenUp { probe, .. } => probe.descriptors(),
        }
    }

    /// Does what is due: starts a probe, reads what it writes, ends it when it takes too long, writes down its verdict.
    /// Cheap when nothing is, and never waits. An error is about the container's state file; the monitor itself goes on.
    /// `let_go` closes what a probe's process must not hold open.
    pub fn advance(&mut self, store: &Store, container: &Container, let_go: &mut dyn FnMut()) -> Result<()> {
        let now = Instant::now();
        let ended = self.look(store, container, now, let_go);
        if let Phase::Ended = self.phase {
            // As in Docker, from the end of a check to the beginning of the next: one that takes long leaves the host its pause.
            self.phase = Phase::Waiting { until: Instant::now() + self.interval };
        }
        ended
    }

    /// [`Monitor::advance`], but for what follows a check that has ended.
    fn look(&mut self, store: &Store, container: &Container, now: Instant, let_go: &mut dyn FnMut()) -> Result<()> {
        match std::mem::replace(&mut self.phase, Phase::Ended) {
            Phase::Ended => Ok(()),
            Phase::Waiting { until } if now < until => {
                self.phase = Phase::Waiting { until };
                Ok(())
            }
            Phase::Waiting { .. } => match probe::begin(store, container, &self.command, let_go) {
                Ok(probe) => {
                    self.phase = Phase::Probing { probe, deadline: now + self.timeout };
                    Ok(())
                }
                Err(error) => self.conclude(store, container, Timestamp::now(), -1, error.to_string()),
            },
            Phase::Probing { mut probe, deadline } => {
                probe.read();
                let began = probe.began;
                match probe.ended()? {
                    Some(Ok(Some(code))) => self.conclude(store, container, began, code, probe.output()),
                    Some(Ok(None)) => Ok(()),
                    Some(Err(error)) => self.conclude(store, container, began, -1, error.to_string()),
                    None if now < deadline => {
                        self.phase = Phase::Probing { probe, deadline };
                        Ok(())
                    }
                    None => {
                        probe.give_up();
                        self.phase = Phase::GivenUp { probe };
                        let text = format!("Health check exceeded timeout ({})", go_duration(self.timeout));
                        self.conclude(store, container, began, -1, text)
                    }
                }
            }
            Phase::GivenUp { mut probe } => {
                probe.read();
                if probe.ended()?.is_none() {
                    self.phase = Phase::GivenUp { probe };
                }
                Ok(())
            }
        }
    }

    /// Writes down what a probe found.
    fn conclude(
        &self,
        store: &Store,
        container: &Container,
        began: Timestamp,
        exit_code: i32,
        output: String,
    ) -> Result<()> {
        let probe = HealthProbe { start: time::format(began), end: time::now(), exit_code, output };
        let in_grace = Instant::now() < self.grace_ends;
        let mut changed = None;
        state::change(store, &container.id, |state| {
            if state.is_running() {
                let health = state.health.get_or_insert_default();
                let before = health.status.clone();
                judge(health, probe, self.retries, in_grace);
                changed = (health.status != before).then(|| format!("health_status: {}", health.status));
            }
        })?;
        changed.iter().for_each(|action| events::tell(store, &[events::of_container(container, action, &[])]));
        Ok(())
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
