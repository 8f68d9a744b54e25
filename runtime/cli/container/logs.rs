//! logs: what a container has written, running or not.

use crate::cli::{Execute, output, store};
use crate::engine::container::log::{self, Entry, Follow, Query, Reader, Stream};
use crate::engine::{container, moment, time};
use crate::error::{Error, Kind, Result};
use std::io::Write;
use std::os::fd::AsFd;

/// Fetch the logs of a container
#[derive(Debug, clap::Parser)]
pub struct Logs {
    /// Show extra details provided to logs
    #[arg(long)]
    details: bool,
    /// Follow log output
    #[arg(short, long)]
    follow: bool,
    /// Show logs since timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)
    #[arg(long, value_name = "string", allow_hyphen_values = true)]
    since: Option<String>,
    /// Number of lines to show from the end of the logs
    #[arg(short = 'n', long, value_name = "string", default_value = "all", allow_hyphen_values = true)]
    tail: String,
    /// Show timestamps
    #[arg(short, long)]
    timestamps: bool,
    /// Show logs before a timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)
    #[arg(long, value_name = "string", allow_hyphen_values = true)]
    until: Option<String>,
    #[arg(value_name = "CONTAINER")]
    container: String,
}

impl Execute for Logs {
    fn execute(self) -> Result<i32> {
        let query = self.query()?;
        let store = store()?;
        let container = container::find(&store, &self.container)?;
        if container.host_config.log_config.kind == "none" {
            return Err(Error::new("configured logging driver does not support reading")
                .with_cure("the container was made with --log-driver none: its output is kept nowhere"));
        }
        let dir = container::dir(&store, &container.id);
        let follow = match self.follow {
            true => Follow::begin(&dir, &container::state::current(&store, &container)?.supervisor)?,
            false => None,
        };
        let mut reader = Reader::open(&dir, query)?;
        if query.tail.is_none() && query.since.is_none() && log::has_dropped(&dir) {
            eprintln!("ebb: older lines were dropped: the log had reached its size (--log-opt max-size, max-file)");
        }
        let mut screen = Screen { logs: &self, pending: Vec::new(), stream: Stream::Stdout };
        let mut more = reader.drain(&mut |entry| screen.show(entry))?;
        screen.flush()?;
        while let Some(follow) = follow.as_ref().filter(|_| more) {
            let going = follow.wait(query.until, std::io::stdout().as_fd())?;
            more = reader.drain(&mut |entry| screen.show(entry))? && going;
            screen.flush()?;
        }
        Ok(0)
    }
}

impl Logs {
    fn query(&self) -> Result<Query> {
        let moment = |name: &str, text: &Option<String>| match text.as_deref() {
            None | Some("") => Ok(None),
            Some(text) => moment::parse(text).map(Some).ok_or_else(|| {
                Error::new(format!("invalid value for {name:?}: failed to parse value as time or duration: {text:?}"))
            }),
        };
        // As in Docker, what is no number of lines means all of them.
        let tail = self.tail.parse().ok();
        Ok(Query { tail, since: moment("since", &self.since)?, until: moment("until", &self.until)? })
    }
}

/// Gathers what goes to one stream, and writes it before anything goes to the other, so that the order is kept.
struct Screen<'a> {
    logs: &'a Logs,
    pending: Vec<u8>,
    stream: Stream,
}

impl Screen<'_> {
    fn show(&mut self, entry: &Entry) -> Result<()> {
        if entry.stream != self.stream || self.pending.len() > 64 * 1024 {
            self.flush()?;
            self.stream = entry.stream;
        }
        if self.logs.timestamps {
            self.pending.extend_from_slice(time::format(entry.time).as_bytes());
            self.pending.push(b' ');
        }
        if self.logs.details {
            // Docker puts the labels here that --log-opt chose; Ebb's logs carry none.
            self.pending.push(b' ');
        }
        self.pending.extend_from_slice(entry.text.as_bytes());
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let bytes = std::mem::take(&mut self.pending);
        match self.stream {
            Stream::Stdout => output::bytes(&bytes),
            Stream::Stderr => std::io::stderr().write_all(&bytes).map_err(|_| Error::of(Kind::Reported, "")),
        }
    }
}
