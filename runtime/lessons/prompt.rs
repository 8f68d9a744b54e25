//! What a learner types: a word to the lesson, or a command, over as many lines as a shell would ask for.

use super::screen::Screen;
use super::shell;
use crate::error::{Doing, Error, Result};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustyline::error::ReadlineError;
use rustyline::{Config, DefaultEditor};
use std::cell::RefCell;
use std::io::{BufRead, Write};
use std::os::fd::AsFd;

pub enum Typed {
    Enter,
    Check,
    Hint,
    Again,
    Reset,
    Skip,
    Quit,
    Help,
    Line(String),
}

/// Asks, and waits for an answer. Ctrl-C gives up the line, as in every shell; once more, and it leaves the lesson.
pub fn read(screen: &Screen, prompt: &str) -> Result<Typed> {
    screen.turn_page();
    let mut text = String::new();
    let mut given_up = false;
    loop {
        match screen.keyboard.line(if text.is_empty() { prompt } else { ">" })? {
            Got::End => return Ok(Typed::Quit),
            Got::Interrupt if given_up => return Ok(Typed::Quit),
            Got::Interrupt => {
                screen.quiet("Ctrl-C once more, or `quit`, leaves the lesson");
                given_up = true;
                text.clear();
            }
            Got::Line(line) => {
                text.push_str(&line);
                if !shell::goes_on(&text)? {
                    screen.keyboard.remember(text.trim())?;
                    return Ok(word(text.trim()));
                }
            }
        }
    }
}

/// Waits for Enter, and takes the question away again.
pub fn pause(question: &str) {
    // Whatever else was pressed, it is met again at the next prompt.
    if !matches!(line(question), Ok(Got::Line(_))) {
        println!();
    }
}

fn word(text: &str) -> Typed {
    match text {
        "" => Typed::Enter,
        "check" => Typed::Check,
        "hint" => Typed::Hint,
        "again" => Typed::Again,
        "reset" => Typed::Reset,
        "skip" => Typed::Skip,
        "quit" | "exit" | "q" => Typed::Quit,
        "help" | "?" => Typed::Help,
        line => Typed::Line(line.to_owned()),
    }
}

enum Got {
    Line(String),
    Interrupt,
    End,
}

/// Reads lines with the keys that shells have (arrows, Ctrl-A, Ctrl-R), and finds by them what was typed before in this lesson.
#[derive(Default)]
pub struct Keyboard(RefCell<Option<DefaultEditor>>);

impl Keyboard {
    fn line(&self, prompt: &str) -> Result<Got> {
        let mut editor = self.0.borrow_mut();
        let editor = match editor.as_mut() {
            Some(editor) => editor,
            None => editor.insert(open().map_err(failed)?),
        };
        std::io::stdout().flush().doing(|| "write to the terminal")?;
        match editor.readline(&format!("{prompt} ")) {
            Ok(line) => Ok(Got::Line(line + "\n")),
            Err(ReadlineError::Interrupted) => Ok(Got::Interrupt),
            Err(ReadlineError::Eof) => Ok(Got::End),
            Err(error) => Err(failed(error)),
        }
    }

    fn remember(&self, text: &str) -> Result<()> {
        let mut editor = self.0.borrow_mut();
        editor.iter_mut().try_for_each(|editor| editor.add_history_entry(text).map(drop)).map_err(failed)
    }
}

/// What is pasted is typed: each line of it is answered before the next.
fn open() -> rustyline::Result<DefaultEditor> {
    DefaultEditor::with_config(Config::builder().bracketed_paste(false).build())
}

fn failed(error: ReadlineError) -> Error {
    Error::new(format!("read the terminal: {error}"))
}

/// One line of the terminal, as the terminal itself edits it. For as long as we wait, Ctrl-C is a message and not our end.
fn line(prompt: &str) -> Result<Got> {
    let interrupt = SigSet::from_iter([Signal::SIGINT]);
    interrupt.thread_block().doing(|| "hold Ctrl-C back")?;
    print!("{prompt} ");
    let got = std::io::stdout().flush().doing(|| "write to the terminal").and_then(|()| held(&interrupt));
    interrupt.thread_unblock().doing(|| "let Ctrl-C through")?;
    got
}

fn held(interrupt: &SigSet) -> Result<Got> {
    let signals = SignalFd::with_flags(interrupt, SfdFlags::SFD_CLOEXEC).doing(|| "watch for Ctrl-C")?;
    let stdin = std::io::stdin();
    loop {
        let mut fds = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN), PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::NONE) {
            Err(Errno::EINTR) => continue,
            result => result.doing(|| "wait for the terminal")?,
        };
        if fds[1].any().unwrap_or(false) {
            signals.read_signal().doing(|| "read the signal")?;
            return Ok(Got::Interrupt);
        }
        if fds[0].any().unwrap_or(false) {
            let mut line = String::new();
            // A terminal hands out one line a read, so that nothing of the next one is kept back from poll.
            let length = stdin.lock().read_line(&mut line).doing(|| "read the terminal")?;
            return Ok(if length == 0 { Got::End } else { Got::Line(line) });
        }
    }
}
