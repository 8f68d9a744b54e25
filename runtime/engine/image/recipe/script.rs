//! Runs a recipe's shell script, and reads what it prints.

use super::Recipe;
use crate::error::{Doing, Error, Result};
use crate::programs;
use crate::progress::{self, Progress};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, killpg, raise, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};
use std::time::SystemTime;

/// What the script asked for beside what it put into ROOT.
pub struct Made {
    /// `NAME=VALUE`, for the image's config.
    pub env: Vec<String>,
    /// A directory of the image, and the host's programs that go there.
    pub host: Vec<(String, Vec<String>)>,
    pub began: SystemTime,
}

/// Starts the script in a process group of its own, together with a process that ends the group when Ebb is no more, even
/// by SIGKILL: a pipe from Ebb then comes to its end.
const START: &str =
    "exec 3<&0 </dev/null; { cat <&3; kill -TERM 0; } >/dev/null 2>&1 & exec 3<&-; . ./recipe/recipe.sh";

/// Runs the recipe in `dir`, and leaves the image's root directory in `dir/root`.
pub fn run(dir: &Path, recipe: &Recipe) -> Result<Made> {
    recipe.write_out(&dir.join("recipe"))?;
    let log = std::fs::File::create(dir.join("log")).doing(|| "make the log")?;
    let began = SystemTime::now();
    let signals = Signals::block()?;
    let mut child = programs::command("sh")
        .doing(|| "start the shell")?
        .args(["-c", START, "./recipe/recipe.sh"])
        .current_dir(dir)
        .env("ROOT", dir.join("root"))
        .env("WORK", dir.join("work"))
        .env("PATH", programs::search_path())
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .doing(|| "start the shell")?;
    let mut told = Told { made: Made { env: Vec::new(), host: Vec::new(), began }, bar: None };
    let listened = listen(&mut child, &signals, &mut told);
    drop(told.bar.take());
    // Whatever is left of the group has no more reason to live.
    if !matches!(listened, Ok(None)) {
        let _ = killpg(Pid::from_raw(child.id() as i32), Signal::SIGKILL);
    }
    let status = child.wait().doing(|| "wait for the recipe")?;
    if let Some(signal) = listened? {
        return Err(signals.interrupted(dir, signal));
    }
    match status.success() {
        true => Ok(told.made),
        false => Err(Error::new(complaint(&dir.join("log"), status.code()))),
    }
}

/// Reads the script's lines to their end; `Some` is a signal that came meanwhile and asks us to stop.
fn listen(child: &mut Child, signals: &Signals, told: &mut Told) -> Result<Option<Signal>> {
    let Some(mut stdout) = child.stdout.take() else { return Ok(None) };
    let mut pending = Vec::new();
    loop {
        let mut watched =
            [PollFd::new(signals.fd.as_fd(), PollFlags::POLLIN), PollFd::new(stdout.as_fd(), PollFlags::POLLIN)];
        match poll(&mut watched, PollTimeout::NONE) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(errno).doing(|| "wait for the recipe"),
        }
        let ready = |fd: &PollFd| fd.revents().is_some_and(|events| !events.is_empty());
        let (signalled, spoken) = (ready(&watched[0]), ready(&watched[1]));
        if signalled && let Some(signal) = signals.take() {
            return Ok(Some(signal));
        }
        if spoken && read_lines(&mut stdout, &mut pending, told)? == 0 {
            return Ok(None);
        }
    }
}

fn read_lines(stdout: &mut ChildStdout, pending: &mut Vec<u8>, told: &mut Told) -> Result<usize> {
    let mut chunk = [0; 4096];
    let count = stdout.read(&mut chunk).doing(|| "read what the recipe says")?;
    pending.extend_from_slice(&chunk[..count]);
    while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
        let line: Vec<u8> = pending.drain(..=end).collect();
        told.line(String::from_utf8_lossy(&line).trim_end());
    }
    Ok(count)
}

/// What has been heard so far.
struct Told {
    made: Made,
    bar: Option<Progress>,
}

impl Told {
    fn line(&mut self, line: &str) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "step" => self.step(rest),
            "warn" => {
                self.bar = None;
                eprintln!("ebb: {rest}");
            }
            "at" => {
                let mut numbers = rest.split(' ').map(|number| number.parse().unwrap_or(0));
                self.at(numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
            }
            "env" => self.made.env.push(rest.to_owned()),
            "host" => {
                let mut words = rest.split_whitespace().map(str::to_owned);
                self.made.host.push((words.next().unwrap_or_default(), words.collect()));
            }
            // apt's APT::Status-Fd: `dlstatus:NUMBER:PERCENT:TEXT`.
            _ if line.starts_with("dlstatus:") => {
                let percent = line.split(':').nth(2).and_then(|percent| percent.parse::<f64>().ok());
                self.at(percent.unwrap_or(0.0) as u64, 100);
            }
            _ => {}
        }
    }

    fn step(&mut self, text: &str) {
        self.bar = None;
        progress::tell(&format!("  {text}"));
        self.bar = Some(Progress::new("  ", 100));
    }

    fn at(&mut self, done: u64, total: u64) {
        if let Some(bar) = &mut self.bar {
            bar.set(done.saturating_mul(100).checked_div(total).unwrap_or(0));
        }
    }
}

/// The last thing that the recipe's programs complained of.
fn complaint(log: &Path, code: Option<i32>) -> String {
    let log = std::fs::read(log).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    let lines: Vec<_> = log.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let errors: Vec<_> = lines.iter().filter(|line| line.starts_with("E:")).copied().collect();
    let said = if errors.is_empty() { lines.last().map_or("", |line| line).to_owned() } else { errors.join("; ") };
    match code {
        Some(code) if said.is_empty() => format!("its recipe ended with exit code {code}"),
        Some(_) => said,
        None => "its recipe was killed".to_owned(),
    }
}

/// Ctrl-C and its kin wait while the recipe runs, so that its directory can be taken away before they have their effect.
struct Signals {
    fd: SignalFd,
    before: SigSet,
}

impl Signals {
    fn block() -> Result<Signals> {
        let stop = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT]);
        let mut before = SigSet::empty();
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&stop), Some(&mut before)).doing(|| "block signals")?;
        let fd = SignalFd::with_flags(&stop, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK);
        Ok(Signals { fd: fd.doing(|| "listen for signals")?, before })
    }

    fn take(&self) -> Option<Signal> {
        let info = self.fd.read_signal().ok().flatten()?;
        Signal::try_from(info.ssi_signo as i32).ok()
    }

    /// Removes what was made so far, and lets the signal do what it would have done. The error is for those who ignore it.
    fn interrupted(self, dir: &Path, signal: Signal) -> Error {
        let _ = crate::store::tree::remove(dir);
        drop(self);
        let _ = raise(signal);
        Error::new(format!("interrupted by {signal}"))
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&self.before), None);
    }
}
