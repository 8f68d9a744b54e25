//! `ebb lesson`: lists the lessons, walks a learner through one, plays it to a class, or runs it as a test.

use super::{Execute, output};
use crate::engine::leftovers;
use crate::error::{Doing, Error, Kind, Result};
use crate::kernel::{self, Cloned};
use crate::lessons::{self, audience, check, classroom, parse, play, progress, screen::Screen};
use crate::store::Store;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::termios::{SetArg, Termios, tcgetattr, tcsetattr};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{getpgrp, tcgetpgrp};
use std::io::{IsTerminal, Write};
use std::os::fd::AsFd;

/// Learn what a container is, what it forgets and what a volume remembers
#[derive(Debug, clap::Parser)]
#[command(after_help = "Examples:
  ebb lesson              list the lessons, with your progress
  ebb lesson 3            walk through lesson 3
  ebb lesson 3 --demo     play it unattended, at reading speed, for a class
  ebb lesson 3 --check    run it as a test; prints the first difference")]
pub struct Lesson {
    /// The lesson's number or name; without one, the list
    lesson: Option<String>,
    /// Play it unattended at reading speed (Enter hurries it on)
    #[arg(long, conflicts_with = "check")]
    demo: bool,
    /// Run it as a test and print the first difference
    #[arg(long)]
    check: bool,
}

impl Execute for Lesson {
    fn execute(self) -> Result<i32> {
        let store = super::store()?;
        // A lesson before this one may have been killed with all its processes.
        leftovers::clear_unfinished(&store);
        match &self.lesson {
            None => list(&store),
            Some(name) => self.play(&store, &lessons::find(name)?),
        }
    }
}

fn list(store: &Store) -> Result<i32> {
    let progress = progress::read(store)?;
    let mut next = None;
    output::line("LESSON")?;
    for lesson in lessons::all()? {
        let score = progress.lessons.get(&lesson.slug).filter(|score| score.finished);
        let begun = progress.left.contains_key(&lesson.slug);
        if next.is_none() && (begun || score.is_none()) {
            next = Some((lesson.number, if begun { "goes on" } else { "begins" }));
        }
        let how = match score {
            None if begun => "   begun".to_owned(),
            None => String::new(),
            Some(score) => format!(
                "   done: {} of {} predicted, {} of {} solved",
                score.right, score.predictions, score.solved, score.exercises
            ),
        };
        let mark = if score.is_some() { "✓" } else { " " };
        output::line(&format!("{mark} {:>2}   {}{how}", lesson.number, lesson.title))?;
    }
    let (number, how) = next.unwrap_or((1, "begins once more"));
    output::line(&format!("\n`ebb lesson {number}` {how}."))?;
    Ok(0)
}

impl Lesson {
    fn play(&self, store: &Store, lesson: &parse::Lesson) -> Result<i32> {
        let (room, _tmp) = classroom::open(store, lesson)?;
        let played = || {
            let lesson = audience::lesson(lesson, audience::of(&room)?);
            self.inside(store, &room, &lesson)
        };
        guarded(played, || classroom::close(&room))
    }

    fn inside(&self, store: &Store, room: &classroom::Room, lesson: &parse::Lesson) -> Result<i32> {
        if self.check {
            return check::lesson(room, lesson);
        }
        if self.demo || !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
            // About 220 words a minute, which a class reads aloud; a pipe has no reader to wait for.
            let pace = if std::io::stdout().is_terminal() { 270 } else { 0 };
            return play::unattended(room, lesson, &Screen::new(pace));
        }
        // A teacher's own file has no place in the list.
        let listed = lesson.number > 0;
        let left = progress::read(store)?.left.remove(&lesson.slug).filter(|_| listed);
        match play::attended(room, lesson, &Screen::in_pages(), left)? {
            play::End::Left(mark) if listed => {
                let begun = mark.at > 1;
                progress::leave(store, &lesson.slug, mark)?;
                let again = if begun { "goes on here" } else { "begins again" };
                output::line(&format!("left; nothing stays behind, and `ebb lesson {}` {again}", lesson.number))?;
                Ok(0)
            }
            play::End::Left(_) => Ok(0),
            play::End::Finished(score) => {
                let (right, asked) = (score.right, score.predictions);
                let (solved, set) = (score.solved, score.exercises);
                if listed {
                    progress::record(store, &lesson.slug, score)?;
                }
                output::line(&format!("done: {right} of {asked} predicted, {solved} of {set} solved"))?;
                Ok(0)
            }
        }
    }
}

/// Runs `lesson` in a child, so that whatever ends it (Ctrl-C, a closed terminal, a kill) this process is still here
/// to clear up, by `close`. A terminal that is closed says so more than once, and must not end us in the midst of that.
fn guarded(lesson: impl FnOnce() -> Result<i32>, close: impl FnOnce() -> Result<()>) -> Result<i32> {
    let modes = tcgetattr(std::io::stdin()).ok();
    let ends = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
    ends.thread_block().doing(|| "block signals")?;
    let signals = SignalFd::with_flags(&ends, SfdFlags::SFD_CLOEXEC).doing(|| "watch for signals")?;
    let (pid, pidfd) = match crate::explain::calls::fork().doing(|| "fork the lesson")? {
        Cloned::Parent { pid, pidfd } => (pid, pidfd),
        Cloned::Child => {
            let _ = ends.thread_unblock();
            // `ebb lesson 3 | head -5` ends here as it ends any other tool: quietly. Our parent clears up.
            kernel::default_signal(Signal::SIGPIPE);
            let code = lesson().unwrap_or_else(|error| {
                if error.kind != Kind::Reported {
                    eprintln!("ebb: {error}");
                }
                1
            });
            let _ = std::io::stdout().flush();
            kernel::exit_now(code);
        }
    };
    loop {
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN), PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(errno).doing(|| "wait for the lesson"),
        }
        if fds[0].any().unwrap_or(false) {
            break;
        }
        if let Ok(Some(signal)) = signals.read_signal() {
            // Ctrl-C reaches the child by itself, which may be running a command that takes it; the others we pass on.
            if signal.ssi_signo != Signal::SIGINT as u32 {
                let _ = kernel::pidfd_send_signal(&pidfd, signal.ssi_signo as i32);
            }
        }
    }
    let ended = waitpid(pid, None).doing(|| "wait for the lesson");
    if let (Ok(WaitStatus::Signaled(..)), Some(modes)) = (&ended, modes) {
        put_right(&modes);
    }
    // The signals stay blocked: our own directory goes after this, and then we end anyway.
    let closed = close();
    let code = match ended? {
        WaitStatus::Exited(_, 0) => 0,
        WaitStatus::Exited(..) => return Err(Error::of(Kind::Reported, "")),
        WaitStatus::Signaled(_, signal, _) => 128 + signal as i32,
        _ => 1,
    };
    closed.map(|()| code)
}

/// Who is killed at the prompt leaves the terminal as the editing of a line needs it. (In the background it is not ours to
/// change, and who tries is stopped.)
fn put_right(modes: &Termios) {
    let terminal = std::io::stdin();
    if tcgetpgrp(&terminal) == Ok(getpgrp()) {
        let _ = tcsetattr(&terminal, SetArg::TCSADRAIN, modes);
    }
}
