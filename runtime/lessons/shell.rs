//! Runs a lesson's commands as the learner's shell would: `sh -c`, in the classroom's directory, on its store.

use super::classroom::Room;
use super::compare;
use super::parse::{Setup, Step};
use crate::error::{Doing, Error, Result};
use crate::kernel;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};

/// What a command answered.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    pub stdout: String,
    pub stderr: String,
    pub code: i32,
}

/// A command line, ready to run in `room`.
pub fn command(room: &Room, line: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", line]).current_dir(room.home()).env("EBB_ROOT", room.store()).env("PATH", room.path());
    command.env("NO_COLOR", "1").env("HOME", room.home());
    command
}

/// Runs `line` with nothing on stdin and keeps what it answers.
pub fn run(room: &Room, line: &str) -> Result<Answer> {
    let mut command = command(room, line);
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = child.doing(|| format!("run {line}"))?;
    let output = undisturbed(|| child.wait_with_output()).doing(|| format!("run {line}"))?;
    Ok(Answer {
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        code: code(output.status),
    })
}

/// Runs a script that sets up a state. Whatever it says is said only where it fails.
pub fn set_up(room: &Room, setup: &Setup) -> Result<()> {
    let answer = run(room, &format!("set -e\n{}", setup.script))?;
    if answer.code == 0 {
        return Ok(());
    }
    Err(Error::new(format!("the set-up failed with exit code {}: {}", answer.code, answer.stderr.trim_end())))
}

/// Whether a shell would ask for more: inside of quotes, of a loop, of a here-document, or after a backslash.
pub fn goes_on(text: &str) -> Result<bool> {
    if text.ends_with("\\\n") || here_document_is_open(text) {
        return Ok(true);
    }
    let mut sh = Command::new("/bin/sh");
    sh.args(["-n", "-c", text]).env("LC_ALL", "C").stdin(Stdio::null()).stdout(Stdio::null());
    let said = sh.output().doing(|| "ask the shell whether the line goes on")?.stderr;
    let said = String::from_utf8_lossy(&said).to_lowercase();
    // In these words dash, bash and busybox say that the text has ended too early.
    Ok(["end of file", "unterminated", "unexpected eof"].iter().any(|words| said.contains(words)))
}

/// Looked for here, since `sh -n` takes the text's end for a here-document's.
fn here_document_is_open(text: &str) -> bool {
    let mut wanted: Option<String> = None;
    for line in text.lines() {
        match &wanted {
            Some(end) if line.trim_start_matches('\t') == end => wanted = None,
            Some(_) => {}
            // `$((1 << n))` is a shift.
            None if line.contains("((") => {}
            None => {
                let after = line.split_once("<<").map(|(_, after)| after.trim_start_matches('-').trim_start());
                let end = after.map(|after| after.trim_start_matches(['\'', '"', '\\']));
                let name = |end: &str| {
                    end.split(|letter: char| !letter.is_alphanumeric() && letter != '_').next().map(str::to_owned)
                };
                wanted = end
                    .filter(|end| end.starts_with(|first: char| first.is_alphabetic() || first == '_'))
                    .and_then(name);
            }
        }
    }
    wanted.is_some()
}

/// Whether the line changes nothing but the shell that runs it, which ends with it.
pub fn ends_with_its_shell(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let changes = match words.next() {
        Some("cd" | "export" | "unset" | "alias" | "umask" | "set" | "pushd" | "popd") => true,
        Some(first) => words.next().is_none() && first.split_once('=').is_some_and(|(name, _)| is_name(name)),
        None => false,
    };
    changes && !line.contains([';', '&', '|', '\n'])
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}

/// Ctrl-C is for the command that runs, not for the lesson around it, as in every shell.
pub fn undisturbed<T>(wait: impl FnOnce() -> T) -> T {
    use nix::sys::signal::Signal::SIGINT;
    kernel::ignore_signal(SIGINT);
    let result = wait();
    kernel::default_signal(SIGINT);
    result
}

pub fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

/// The first difference between what a step promises and what it answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// `stdout`, `stderr` or `exit code`.
    pub of: &'static str,
    pub expected: String,
    pub found: String,
}

pub fn difference(step: &Step, answer: &Answer) -> Option<Difference> {
    let of = |of, (expected, found)| Some(Difference { of, expected, found });
    if let Err(pair) = compare::lines(&step.stdout, &answer.stdout) {
        return of("stdout", pair);
    }
    if let Err(pair) = compare::lines(&step.stderr, &answer.stderr) {
        return of("stderr", pair);
    }
    if step.code != answer.code {
        return of("exit code", (step.code.to_string(), answer.code.to_string()));
    }
    None
}
