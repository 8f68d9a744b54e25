//! top: the processes of a container, with the columns of `ps -ef`.

use super::processes::{self, Process};
use super::record::Container;
use super::{state, users};
use crate::engine::time;
use crate::error::{Doing, Error, Result};
use crate::programs;
use crate::store::Store;
use jiff::Timestamp;
use std::collections::HashMap;
use std::process::Stdio;

/// A table of words.
#[derive(Debug)]
pub struct Processes {
    pub titles: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

/// The container's processes: by ourselves, or with `options` by the host's ps, whose rows we then choose from.
pub fn top(store: &Store, container: &Container, options: &[String]) -> Result<Processes> {
    let state = state::current(store, container)?;
    if !state.is_running() {
        return Err(Error::conflict(format!("container {} is not running", container.id)));
    }
    let pids = processes::pids(&state)?;
    let users = Users { init: state.init.pid, names: users::of_layers(store, container).unwrap_or_default() };
    if options.is_empty() { own(&pids, &users) } else { hosts_ps(&pids, &users, options) }
}

/// The container's own: what the host calls the number 101 is another one's name.
struct Users {
    /// The process whose user namespace they live in.
    init: i32,
    names: HashMap<u32, String>,
}

impl Users {
    /// The user's number in the container.
    fn number(&self, process: &Process) -> u32 {
        processes::inside(self.init, process.uid)
    }

    /// Its name there, or the number.
    fn name(&self, process: &Process) -> String {
        let number = self.number(process);
        self.names.get(&number).cloned().unwrap_or_else(|| number.to_string())
    }
}

fn own(pids: &[i32], users: &Users) -> Result<Processes> {
    let clock = Clock::read()?;
    let titles = ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"].map(str::to_owned).to_vec();
    let row = |process: Process| {
        vec![
            users.name(&process),
            process.pid.to_string(),
            process.parent.to_string(),
            clock.utilization(&process).to_string(),
            clock.start(&process),
            terminal(process.terminal),
            clock.cpu_time(&process),
            process.command,
        ]
    };
    Ok(Processes { titles, rows: pids.iter().filter_map(|pid| processes::process(*pid)).map(row).collect() })
}

/// What turns clock ticks into times.
struct Clock {
    now: Timestamp,
    /// Seconds since the machine began.
    uptime: f64,
    ticks: u64,
}

impl Clock {
    fn read() -> Result<Clock> {
        let text = std::fs::read_to_string("/proc/uptime").doing(|| "read /proc/uptime")?;
        let uptime = text.split_whitespace().next().and_then(|seconds| seconds.parse().ok()).unwrap_or(0.0);
        Ok(Clock { now: Timestamp::now(), uptime, ticks: processes::ticks_per_second() })
    }

    /// Seconds that the process has lived.
    fn age(&self, process: &Process) -> f64 {
        (self.uptime - process.start_ticks as f64 / self.ticks as f64).max(0.0)
    }

    /// How many percent of its life it has been computing.
    fn utilization(&self, process: &Process) -> u64 {
        let computed = process.cpu_ticks as f64 / self.ticks as f64;
        (computed * 100.0 / self.age(process).max(1.0)).min(99.0) as u64
    }

    /// The time of day, or for those older than a day the date.
    fn start(&self, process: &Process) -> String {
        let age = self.age(process);
        let start = self.now.checked_sub(jiff::SignedDuration::from_secs(age as i64)).unwrap_or(self.now);
        let local = start.to_zoned(time::zone());
        local.strftime(if age < 86_400.0 { "%H:%M" } else { "%b%d" }).to_string()
    }

    fn cpu_time(&self, process: &Process) -> String {
        let seconds = process.cpu_ticks / self.ticks;
        format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
    }
}

/// `pts/0`, `tty1`, or `?`.
fn terminal(device: u32) -> String {
    let (major, minor) = ((device >> 8) & 0xfff, (device & 0xff) | ((device >> 12) & 0xfff00));
    match major {
        136..=143 => format!("pts/{}", minor + (major - 136) * 256),
        4 => format!("tty{minor}"),
        _ => "?".to_owned(),
    }
}

/// The titles of columns that hold a process's user, by name or by number.
const USER_COLUMNS: [&str; 6] = ["UID", "USER", "EUID", "EUSER", "RUID", "RUSER"];

fn hosts_ps(pids: &[i32], users: &Users, options: &[String]) -> Result<Processes> {
    let listed: Vec<String> = pids.iter().map(i32::to_string).collect();
    let run = |more: &[String]| {
        let doing = || "run the host's ps";
        programs::command("ps").doing(doing)?.args(options).args(more).stdin(Stdio::null()).output().doing(doing)
    };
    // As Docker: by itself `ps -o` shows what shares the caller's terminal. Some options do not go with -q.
    let mut output = run(&["-q".to_owned(), listed.join(",")])?;
    if !output.status.success() {
        output = run(&[])?;
    }
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(Error::new(format!("ps: {}", said.lines().next().unwrap_or("failed").trim())));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let mut lines = text.lines();
    let titles: Vec<String> = lines.next().unwrap_or_default().split_whitespace().map(str::to_owned).collect();
    let column = titles.iter().position(|title| title == "PID");
    let column = column.ok_or_else(|| Error::new("Couldn't find PID field in ps output"))?;
    let mut rows = Vec::new();
    for mut row in lines.map(|line| split(line, titles.len())) {
        let word = row.get(column).map_or("", String::as_str);
        let pid = word.parse().map_err(|_| {
            Error::new(format!("Unexpected pid '{word}' in ps output"))
                .with_cure("a column with spaces in it (COMMAND) comes last, as in -o pid,args")
        })?;
        if !pids.contains(&pid) {
            continue;
        }
        if let Some(process) = processes::process(pid) {
            let users_cells = titles.iter().zip(&mut row).filter(|(title, _)| USER_COLUMNS.contains(&title.as_str()));
            for (_, cell) in users_cells {
                let is_number = cell.bytes().all(|byte| byte.is_ascii_digit());
                *cell = if is_number { users.number(&process).to_string() } else { users.name(&process) };
            }
        }
        rows.push(row);
    }
    Ok(Processes { titles, rows })
}

/// `columns` words, of which the last is the rest of the line.
fn split(line: &str, columns: usize) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = line.trim();
    while words.len() + 1 < columns
        && let Some((word, after)) = rest.split_once(char::is_whitespace)
    {
        words.push(word.to_owned());
        rest = after.trim_start();
    }
    words.push(rest.to_owned());
    words
}
