//! stats: what containers use of the machine, once or again every second.

use crate::cli::format::{table, units};
use crate::cli::{Execute, output, store};
use crate::engine::container::record::Container;
use crate::engine::container::stats::{self, Sample};
use crate::engine::container::{self, state};
use crate::error::{Doing, Error, Kind, Result};
use crate::store::{Store, id};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::IsTerminal;
use std::os::fd::AsFd;

/// Display a live stream of container(s) resource usage statistics
#[derive(Debug, clap::Parser)]
pub struct Stats {
    /// Show all containers (default shows just running)
    #[arg(short, long)]
    all: bool,
    /// Format output using a custom template: 'table', 'table TEMPLATE', 'json' or a Go template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Disable streaming stats and only pull the first result
    #[arg(long)]
    no_stream: bool,
    /// Do not truncate output
    #[arg(long)]
    no_trunc: bool,
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
}

const COLUMNS: &[(&str, &str)] = &[
    ("CONTAINER ID", "ID"),
    ("NAME", "Name"),
    ("CPU %", "CPUPerc"),
    ("MEM USAGE / LIMIT", "MemUsage"),
    ("MEM %", "MemPerc"),
    ("NET I/O", "NetIO"),
    ("BLOCK I/O", "BlockIO"),
    ("PIDS", "PIDs"),
];

/// How far two samples lie apart: what a percentage of CPU time is taken over.
const INTERVAL: u16 = 1000;

impl Execute for Stats {
    fn execute(self) -> Result<i32> {
        let store = store()?;
        let mut before: HashMap<String, Sample> = self.samples(&store)?.into_iter().map(|(c, s)| (c.id, s)).collect();
        loop {
            self.pause(&store, before.keys())?;
            let now = self.samples(&store)?;
            let rows: Vec<Value> =
                now.iter().map(|(container, now)| self.row(container, before.get(&container.id), now)).collect();
            if !self.no_stream && std::io::stdout().is_terminal() {
                output::bytes(b"\x1b[2J\x1b[H")?;
            }
            table::print(COLUMNS, &rows, self.format.as_deref(), None)?;
            if self.no_stream {
                return Ok(0);
            }
            before = now.into_iter().map(|(container, sample)| (container.id, sample)).collect();
        }
    }
}

impl Stats {
    /// One sample of each container that is asked for. The named ones must exist; others may go meanwhile.
    fn samples(&self, store: &Store) -> Result<Vec<(Container, Sample)>> {
        if !self.containers.is_empty() {
            let sample = |name: &String| {
                let container = container::find(store, name)?;
                stats::sample(store, &container).map(|sample| (container, sample))
            };
            return self.containers.iter().map(sample).collect();
        }
        let shown =
            |container: &Container| self.all || state::current(store, container).is_ok_and(|state| state.is_running());
        let all = container::list_readable(store)?.containers.into_iter().filter(shown);
        Ok(all
            .filter_map(|container| stats::sample(store, &container).ok().map(|sample| (container, sample)))
            .collect())
    }

    /// Until the next sample is due, or one of the containers ends, or nobody reads what we print.
    fn pause<'a>(&self, store: &Store, ids: impl Iterator<Item = &'a String>) -> Result<()> {
        let running = ids.filter_map(|id| {
            let container = container::load(store, id).ok()?;
            state::current(store, &container).ok()?.init.open().ok()?
        });
        let running: Vec<_> = running.collect();
        let stdout = std::io::stdout();
        let mut fds = vec![PollFd::new(stdout.as_fd(), PollFlags::empty())];
        fds.extend(running.iter().map(|pidfd| PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)));
        match poll(&mut fds, PollTimeout::from(INTERVAL)) {
            Err(Errno::EINTR) => {}
            result => drop(result.doing(|| "wait for the next sample")?),
        }
        match fds[0].revents().is_some_and(|events| !events.is_empty()) {
            true => Err(Error::of(Kind::Reported, "")),
            false => Ok(()),
        }
    }

    fn row(&self, container: &Container, before: Option<&Sample>, now: &Sample) -> Value {
        let pair = |read: u64, written: u64| format!("{} / {}", units::human_size(read), units::human_size(written));
        json!({
            "BlockIO": pair(now.read_bytes, now.written_bytes),
            "CPUPerc": format!("{:.2}%", before.map_or(0.0, |before| now.cpu_percent(before))),
            "Container": container.id,
            "ID": if self.no_trunc { &container.id } else { id::short(&container.id) },
            "MemPerc": format!("{:.2}%", now.memory_percent()),
            "MemUsage": format!("{} / {}", units::memory_size(now.memory_bytes), units::memory_size(now.memory_limit)),
            "Name": container.name,
            "NetIO": pair(now.received_bytes, now.sent_bytes),
            "PIDs": now.pids.to_string(),
        })
    }
}
