//! oci state, list, ps, events.

use super::{Execute, Globals};
use crate::cli::output;
use crate::error::{Doing, Error, Result};
use crate::kernel;
use crate::oci::cgroup;
use crate::oci::state::{self, Container, Status};
use crate::programs;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::{Value, json};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

/// Print the state of a container as JSON
#[derive(Debug, clap::Parser)]
pub struct State {
    #[command(flatten)]
    globals: Globals,
    #[arg(value_name = "CONTAINER-ID")]
    id: String,
}

impl Execute for State {
    fn execute(self) -> Result<i32> {
        self.globals.report(|| {
            let shown = describe(&self.globals.container(&self.id)?, "");
            output::line(&serde_json::to_string_pretty(&shown).doing(|| "encode the state")?)?;
            Ok(0)
        })
    }
}

/// The OCI state and what runc adds to it: rootfs, created, owner.
fn describe(container: &Container, owner: &str) -> Value {
    let (record, status) = (&container.record, container.status());
    let mut shown = json!({
        "ociVersion": record.oci_version,
        "id": record.id,
        "pid": if status == Status::Stopped { 0 } else { record.pid },
        "status": status.word(),
        "bundle": record.bundle,
        "rootfs": record.rootfs,
        "created": record.created,
    });
    if let (Some(shown), false) = (shown.as_object_mut(), record.annotations.is_empty()) {
        shown.insert("annotations".into(), json!(record.annotations));
    }
    if let Some(shown) = shown.as_object_mut() {
        shown.insert("owner".into(), json!(owner));
    }
    shown
}

fn owner(container: &Container) -> String {
    let Ok(uid) = std::fs::metadata(&container.dir).map(|dir| dir.uid()) else {
        return String::new();
    };
    match nix::unistd::User::from_uid(uid.into()) {
        Ok(Some(user)) => user.name,
        _ => format!("#{uid}"),
    }
}

/// List the containers of this root
#[derive(Debug, clap::Parser)]
pub struct List {
    #[command(flatten)]
    globals: Globals,

    /// table or json
    #[arg(short, long, default_value = "table", value_parser = ["table", "json"])]
    format: String,

    /// Only ids
    #[arg(short, long)]
    quiet: bool,
}

impl Execute for List {
    fn execute(self) -> Result<i32> {
        self.globals.report(|| {
            let containers = state::list(&self.globals.root())?;
            if self.quiet {
                containers.iter().try_for_each(|container| output::line(&container.record.id))?;
            } else if self.format == "json" {
                let all: Vec<Value> =
                    containers.iter().map(|container| describe(container, &owner(container))).collect();
                output::line(&json!(all).to_string())?;
            } else {
                output::bytes(table(&containers).as_bytes())?;
            }
            Ok(0)
        })
    }
}

/// Columns as wide as their widest word, at least 12, with three spaces between them.
fn table(containers: &[Container]) -> String {
    let header = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned);
    let row = |container: &Container| {
        let (record, status) = (&container.record, container.status());
        let pid = if status == Status::Stopped { 0 } else { record.pid };
        let bundle = record.bundle.display().to_string();
        [record.id.clone(), pid.to_string(), status.word().into(), bundle, record.created.clone(), owner(container)]
    };
    let rows: Vec<[String; 6]> = std::iter::once(header).chain(containers.iter().map(row)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].len() + 3).max().unwrap_or(0).max(12);
    let mut text = String::new();
    for row in &rows {
        for (column, word) in row.iter().enumerate() {
            let last = column == row.len() - 1;
            text.push_str(&if last { word.clone() } else { format!("{word:<width$}", width = width(column)) });
        }
        text.push('\n');
    }
    text
}

/// Show the processes of a container
#[derive(Debug, clap::Parser)]
pub struct Ps {
    #[command(flatten)]
    globals: Globals,

    /// table or json
    #[arg(short, long, default_value = "table", value_parser = ["table", "json"])]
    format: String,

    #[arg(value_name = "CONTAINER-ID")]
    id: String,

    /// Options of ps(1), for the table
    #[arg(value_name = "PS-OPTIONS", trailing_var_arg = true, allow_hyphen_values = true)]
    options: Vec<String>,
}

impl Execute for Ps {
    fn execute(self) -> Result<i32> {
        self.globals.report(|| {
            let container = self.globals.container(&self.id)?;
            let pids = processes(&container)?;
            if self.format == "json" {
                output::line(&json!(pids).to_string())?;
                return Ok(0);
            }
            let options = if self.options.is_empty() { vec!["-ef".to_owned()] } else { self.options.clone() };
            let listed = programs::command("ps").doing(|| "run ps")?.args(&options).output().doing(|| "run ps")?;
            if !listed.status.success() {
                return Err(Error::new(format!("ps: {}", String::from_utf8_lossy(&listed.stderr).trim())));
            }
            let listed = String::from_utf8_lossy(&listed.stdout);
            let mut lines = listed.lines();
            let header = lines.next().unwrap_or("");
            let column = header.split_whitespace().position(|word| word == "PID");
            let column = column.ok_or_else(|| Error::new("couldn't find PID field in ps output"))?;
            output::line(header)?;
            let ours = |line: &&str| {
                line.split_whitespace()
                    .nth(column)
                    .and_then(|pid| pid.parse().ok())
                    .is_some_and(|pid| pids.contains(&pid))
            };
            lines.filter(ours).try_for_each(output::line)?;
            Ok(0)
        })
    }
}

/// By the cgroup; where the user may have none, by the pid namespace of the first process.
fn processes(container: &Container) -> Result<Vec<i32>> {
    if container.status() == Status::Stopped {
        return Ok(Vec::new());
    }
    if !container.record.cgroup.is_empty() {
        return cgroup::processes(&container.record.cgroup);
    }
    let namespace = |pid: i32| std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let ours = namespace(container.record.pid);
    let all = std::fs::read_dir("/proc").doing(|| "read /proc")?.flatten();
    let mut pids: Vec<i32> = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    pids.retain(|pid| *pid == container.record.pid || (ours.is_some() && namespace(*pid) == ours));
    pids.sort_unstable();
    Ok(pids)
}

/// Print what a container uses, again and again
#[derive(Debug, clap::Parser)]
pub struct Events {
    #[command(flatten)]
    globals: Globals,

    /// Time between two, as 5s or 500ms
    #[arg(long, default_value = "5s", value_parser = interval)]
    interval: std::time::Duration,

    /// Print once
    #[arg(long)]
    stats: bool,

    #[arg(value_name = "CONTAINER-ID")]
    id: String,
}

fn interval(text: &str) -> std::result::Result<std::time::Duration, String> {
    let units = [("ms", 1u64), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];
    let parsed =
        units.iter().find_map(|(unit, factor)| text.strip_suffix(unit)?.parse::<u64>().ok()?.checked_mul(*factor));
    match parsed {
        Some(milliseconds @ 1..) => Ok(std::time::Duration::from_millis(milliseconds)),
        _ => Err("duration interval must be greater than 0, such as 5s".into()),
    }
}

impl Execute for Events {
    fn execute(self) -> Result<i32> {
        self.globals.report(|| {
            let container = self.globals.container(&self.id)?;
            let gone = || Error::conflict(format!("container with id {} is not running", self.id));
            let pidfd = container.pidfd()?.ok_or_else(gone)?;
            let mut oom_kills = cgroup::usage(&container.record.cgroup)?.oom_kills;
            loop {
                let usage = match cgroup::usage(&container.record.cgroup) {
                    Err(error) if container.pidfd()?.is_some() => return Err(error),
                    Err(_) => return Ok(0),
                    Ok(usage) => usage,
                };
                if usage.oom_kills > oom_kills {
                    oom_kills = usage.oom_kills;
                    output::line(&json!({"type": "oom", "id": self.id}).to_string())?;
                }
                output::line(&json!({"type": "stats", "id": self.id, "data": statistics(&usage)}).to_string())?;
                if self.stats {
                    return Ok(0);
                }
                let mut ended = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
                let wait = PollTimeout::try_from(self.interval).unwrap_or(PollTimeout::MAX);
                if poll(&mut ended, wait).doing(|| "wait for the next moment")? > 0 {
                    return Ok(0);
                }
                // The pidfd names a process, and this one still lives.
                if kernel::pidfd_send_signal(&pidfd, 0).is_err() {
                    return Ok(0);
                }
            }
        })
    }
}

/// runc's shape, with the numbers that both cgroup versions have.
fn statistics(usage: &cgroup::Usage) -> Value {
    let bytes = |operation: &str, value: u64| json!({"op": operation, "value": value});
    json!({
        "cpu": {"usage": {"total": usage.cpu_nanoseconds}, "throttling": {}},
        "memory": {"usage": {"limit": usage.memory_limit.unwrap_or(u64::MAX >> 1), "usage": usage.memory_bytes, "failcnt": usage.oom_kills}},
        "pids": {"current": usage.pids, "limit": usage.pids_limit.unwrap_or(0)},
        "blkio": {"ioServiceBytesRecursive": [bytes("Read", usage.block_read_bytes), bytes("Write", usage.block_write_bytes)]},
        "hugetlb": {},
        "intel_rdt": {},
        "network_interfaces": null,
    })
}
