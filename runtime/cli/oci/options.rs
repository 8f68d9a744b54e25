//! runc's global options, and how its errors are reported.

use crate::cli::table::{self, Entry};
use crate::cli::{output, usage};
use crate::error::{Error, Kind, Result};
use crate::oci::state::{self, Container};
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};

#[derive(Debug, Default, Clone, clap::Args)]
pub struct Globals {
    /// Directory of the containers' state (default: /run/ebb-oci, or $XDG_RUNTIME_DIR/ebb-oci without root)
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,

    /// File to which errors are written
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,

    /// Format of the log
    #[arg(long, value_name = "FORMAT", default_value = "text", value_parser = ["text", "json"])]
    log_format: String,

    /// Write more to the log
    #[arg(long)]
    debug: bool,

    /// Accept systemd's form of cgroupsPath ("slice:prefix:name"); Ebb makes the directory itself
    #[arg(long)]
    systemd_cgroup: bool,
}

impl Globals {
    pub fn root(&self) -> PathBuf {
        state::root(self.root.as_deref())
    }

    /// What is opened by name later.
    pub fn paths(&self) -> [Option<&Path>; 2] {
        [self.root.as_deref(), self.log.as_deref()]
    }

    pub fn container(&self, id: &str) -> Result<Container> {
        state::find(&self.root(), id)
    }

    /// Runs a command, and reports its error as runc does: to the log where there is one, and to stderr.
    pub fn report(&self, work: impl FnOnce() -> Result<i32>) -> Result<i32> {
        work().map_err(|error| {
            if error.kind != Kind::Reported {
                self.log_line(&error.to_string());
                eprintln!("ebb: {error}");
            }
            Error::of(Kind::Reported, "")
        })
    }

    fn log_line(&self, message: &str) {
        let Some(path) = &self.log else { return };
        let time = format!("{:.0}", jiff::Timestamp::now());
        let line = if self.log_format == "json" {
            serde_json::json!({"level": "error", "msg": message, "time": time}).to_string()
        } else {
            format!("time={time:?} level=error msg={message:?}")
        };
        let open = || std::fs::OpenOptions::new().create(true).append(true).open(path);
        let opened = crate::umask::with_callers(open);
        if let Err(error) = opened.and_then(|mut file| writeln!(file, "{line}")) {
            eprintln!("ebb: warning: write to the log {}: {error}", path.display());
        }
    }
}

/// Called as `ebb-oci` (a link to `ebb`), it is `ebb oci`: podman and containerd take a runtime as a path, without words.
pub fn by_name(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let name = arguments.first().and_then(|path| Path::new(path).file_name());
    if name.is_some_and(|name| name == "ebb-oci") {
        arguments.insert(1, "oci".into());
    }
    arguments
}

/// Finds the row of an `ebb oci …` command line. runc's global options before the command are put behind it, where the
/// command's own definition knows them.
pub fn find(words: &[OsString]) -> std::result::Result<(&'static Entry, Vec<OsString>), i32> {
    const WITH_VALUE: &[&str] = &["--root", "--log", "--log-format"];
    // What has no meaning here: Ebb sees for itself whether it is root, and makes no checkpoints.
    const IGNORED: &[&str] = &["--criu", "--rootless"];
    let mut front = Vec::new();
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let text = word.to_str().unwrap_or("");
        let (name, joined) = text.split_once('=').map_or((text, false), |(name, _)| (name, true));
        if WITH_VALUE.contains(&name) {
            front.push(word.clone());
            front.extend(if joined { None } else { rest.next().cloned() });
        } else if IGNORED.contains(&name) {
            if !joined {
                rest.next();
            }
        } else if matches!(name, "--debug" | "--systemd-cgroup") {
            front.push(word.clone());
        } else if matches!(name, "--version" | "-v") {
            let version = format!("ebb version {}\nspec: {}", env!("CARGO_PKG_VERSION"), super::spec::OCI_VERSION);
            return Err(i32::from(output::line(&version).is_err()));
        } else if let Some(entry) = table::row_named(&format!("oci {text}")) {
            front.extend(rest.cloned());
            return Ok((entry, front));
        } else {
            return Err(no_command(text));
        }
    }
    Err(no_command(""))
}

fn no_command(name: &str) -> i32 {
    usage::no_command(&["oci".into(), name.into()])
}
