//! What is told, as a person reads it and as a program does.

use super::{Call, Manner, names};
use crate::ansi;
use nix::fcntl::{AT_FDCWD, OFlag, openat, readlinkat};
use nix::sys::stat::Mode;
use serde_json::json;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{IsTerminal, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::panic::Location;
use std::path::Path;
use std::time::Instant;

/// Where the sources were when this program was built; a link leads there while they still are.
const SOURCES: &str = env!("CARGO_MANIFEST_DIR");

pub struct Teller {
    manner: Manner,
    /// A copy of standard error, which outlives what this process and its children do to descriptor 2.
    out: File,
    /// The user's terminal, to wait for Enter on.
    pub wait: Option<File>,
    /// The host's /proc: its `self` is this process's number there, whatever pid namespace it lives in.
    proc: Option<OwnedFd>,
    terminal: bool,
    colour: bool,
    links: bool,
    announced: Option<(String, String)>,
    step: (String, String),
    role: &'static str,
    pid: i32,
    /// CLONE_NEW* of the namespaces that are not the command's own.
    pub namespaces: u64,
    began: Instant,
}

impl Teller {
    pub fn new(manner: Manner, wait: bool) -> nix::Result<Teller> {
        let stderr = std::io::stderr();
        // High, so that the numbers of the descriptors that are told stay as they would be.
        let copy = crate::kernel::duplicate_from(100, &stderr)?;
        let terminal = stderr.is_terminal();
        let high = |fd: OwnedFd| crate::kernel::duplicate_from(100, fd);
        let open = |path: &str, flags: OFlag| openat(AT_FDCWD, path, flags | OFlag::O_CLOEXEC, Mode::empty());
        let wait = if wait { Some(high(open("/dev/tty", OFlag::O_RDONLY | OFlag::O_NOCTTY)?)?.into()) } else { None };
        let proc = high(open("/proc", OFlag::O_PATH | OFlag::O_DIRECTORY)?)?;
        let pid = own_pid(&proc);
        Ok(Teller {
            manner,
            out: copy.into(),
            wait,
            proc: Some(proc),
            terminal,
            colour: terminal && ansi::has_colour(),
            links: terminal && ansi::is_understood() && Path::new(SOURCES).join(file!()).is_file(),
            announced: None,
            step: Default::default(),
            role: "ebb",
            pid,
            namespaces: 0,
            began: Instant::now(),
        })
    }

    pub fn announce(&mut self, words: String, shell: String) {
        self.announced = Some((words, shell));
    }

    pub fn keep_open(&mut self) -> Vec<RawFd> {
        self.proc = None;
        std::iter::once(&self.out).chain(&self.wait).map(AsRawFd::as_raw_fd).collect()
    }

    pub fn become_process(&mut self, role: &'static str) {
        let pid = self.proc.as_ref().map_or(self.pid, own_pid);
        self.become_numbered(role, pid);
    }

    pub fn become_numbered(&mut self, role: &'static str, pid: i32) {
        self.role = role;
        self.pid = pid;
        self.announced = None;
        self.step = Default::default();
    }

    /// Shows the step that was announced, now that something comes of it, and waits for Enter where that is asked.
    pub fn open_step(&mut self) {
        let Some(step) = self.announced.take() else { return };
        let goes_on = step.0 == self.step.0;
        self.step = step;
        if goes_on {
            // The same once more, to another object: one step for the reader.
            if self.manner == Manner::Words {
                self.write(&format!("    {}\n", self.paint("32", &format!("$ {}", self.step.1))));
            }
            return;
        }
        if self.manner == Manner::Words {
            let mut text = String::new();
            let inside: Vec<&str> = names::NAMESPACES
                .iter()
                .filter(|(flag, _)| self.namespaces & flag != 0)
                .map(|(_, name)| *name)
                .collect();
            let inside = if inside.is_empty() { "the host's".into() } else { format!("its own {}", inside.join(" ")) };
            let mark = format!("[{} {}, namespaces: {inside}]", self.role, self.pid);
            let _ = writeln!(
                text,
                "{} {}  {}",
                self.paint("36;1", "●"),
                self.paint("1", &self.step.0),
                self.paint("2", &mark)
            );
            if !self.step.1.is_empty() {
                let _ = writeln!(text, "    {}", self.paint("32", &format!("$ {}", self.step.1)));
            }
            self.write(&text);
        }
        self.pause();
    }

    /// One call, and the kernel's answer where it is known already.
    pub fn call(&mut self, call: &Call, answer: Option<&str>, place: &Location) {
        self.line(call, answer, place, false);
    }

    /// The answer of a call that was told before it was made.
    pub fn failed(&mut self, call: &Call, answer: &str, place: &Location) {
        self.line(call, Some(answer), place, true);
    }

    fn line(&mut self, call: &Call, answer: Option<&str>, place: &Location, again: bool) {
        if self.manner == Manner::Json {
            let inside: Vec<&str> = names::NAMESPACES
                .iter()
                .filter(|(flag, _)| self.namespaces & flag != 0)
                .map(|(_, name)| *name)
                .collect();
            let mut object = json!({
                "time": (self.began.elapsed().as_secs_f64() * 1e6).round() / 1e6,
                "pid": self.pid, "process": self.role, "namespaces": inside, "step": self.step.0, "shell": self.step.1,
                "syscall": call.name, "arguments": call.arguments, "result": answer, "times": call.times,
                "file": place.file(), "line": place.line(),
            });
            if again {
                // The same call as before, with its answer.
                object["again"] = true.into();
            }
            return self.write(&format!("{object}\n"));
        }
        let answer = answer.map_or(String::new(), |answer| format!(" = {answer}"));
        let times = if call.times > 1 { format!("   ×{}", call.times) } else { String::new() };
        let what = format!("{}({}){answer}{times}", call.name, call.arguments);
        let line = format!("    {}  {}\n", shorten(&what), self.link(place));
        self.write(&line);
    }

    fn link(&self, place: &Location) -> String {
        let shown = self.paint("2", &format!("{}:{}", place.file(), place.line()));
        if !self.links {
            return shown;
        }
        format!("\x1b]8;;file://{SOURCES}/{}#L{}\x1b\\{shown}\x1b]8;;\x1b\\", place.file(), place.line())
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// One write, so that lines of several processes do not mix. The terminal may be in raw mode by now.
    fn write(&self, text: &str) {
        let text = if self.terminal { text.replace('\n', "\r\n") } else { text.to_owned() };
        let _ = (&self.out).write_all(text.as_bytes());
    }

    fn pause(&mut self) {
        if self.wait.is_none() {
            return;
        }
        self.write(&format!("    {}", self.paint("2", "Enter ⏎ ")));
        let Some(terminal) = &mut self.wait else { return };
        let mut key = [0u8; 1];
        while let Ok(1) = terminal.read(&mut key) {
            if matches!(key[0], b'\n' | b'\r') {
                return;
            }
        }
        // The terminal is gone: nobody is there to wait for.
        self.wait = None;
    }
}

fn own_pid(proc: &OwnedFd) -> i32 {
    readlinkat(proc, "self").ok().and_then(|text| text.to_str()?.parse().ok()).unwrap_or_default()
}

/// A call that fills a screen (a filter, an environment) is cut for people; programs get all of it.
fn shorten(text: &str) -> String {
    const LONGEST: usize = 400;
    match text.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}
