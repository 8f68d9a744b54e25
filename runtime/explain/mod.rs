//! `--explain`: tells every kernel step while it is taken, from inside the very call that takes it.
//!
//! A *step* is what a learner reads: what happens, in words, and the shell command that does the same. Under it stand the
//! *calls* that the kernel was given, with their real arguments and answers. [`step`] only announces: it is shown by the
//! first call that follows it in the same process, so that no step is told that did not happen. [`calls`] holds the
//! calls; `tests/tidy.rs` lets nobody else make them, so that none goes untold.
//!
//! Several processes tell one story: each writes whole lines to one descriptor, before it answers or wakes another, so
//! that what one process waits for is told before what it then does.

pub mod calls;
mod names;
mod secrets;
mod show;
pub mod without;

pub use secrets::hidden_words;

use crate::error::{Cause, Doing, Error, Result};
use show::Teller;
use std::fmt::Display;
use std::os::fd::RawFd;
use std::panic::Location;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};

/// How it is told.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    #[default]
    Silent,
    Words,
    /// One object a line.
    Json,
}

/// Asked at every call, so it costs no more than a load.
static ON: AtomicBool = AtomicBool::new(false);
static TELLER: Mutex<Option<Teller>> = Mutex::new(None);

/// Begins to tell on standard error. With `wait` every step first waits for Enter on the user's terminal.
pub fn begin(manner: Manner, wait: bool) -> Result<()> {
    if manner == Manner::Silent {
        return Ok(());
    }
    let made = Teller::new(manner, wait).map_err(|errno| match errno {
        nix::errno::Errno::ENXIO => Error::new("--step waits for Enter, and so needs a terminal"),
        errno => errno.into_error(),
    });
    *teller() = Some(made.doing(|| "explain the steps")?);
    ON.store(true, Ordering::Relaxed);
    Ok(())
}

/// Tells no more, in this process: whoever listened is gone, or has heard what was asked for.
pub fn end() {
    ON.store(false, Ordering::Relaxed);
    *teller() = None;
}

/// Whether this process tells its steps.
pub fn is_on() -> bool {
    ON.load(Ordering::Relaxed)
}

/// Announces what the next calls are for: in a learner's words, and as the shell command that does the same (or "").
pub fn step(words: impl Display, shell: impl Display) {
    if let Some(mut teller) = told() {
        teller.as_mut().into_iter().for_each(|teller| teller.announce(words.to_string(), shell.to_string()));
    }
}

/// Says which process speaks from here on: `supervisor`, `container`. To be called first in every child.
pub fn process(role: &'static str) {
    if let Some(mut teller) = told() {
        teller.iter_mut().for_each(|teller| teller.become_process(role));
    }
}

/// [`process`] for one that has no way any more to the host's /proc, where it has this number.
pub fn process_numbered(role: &'static str, pid: i32) {
    if let Some(mut teller) = told() {
        teller.iter_mut().for_each(|teller| teller.become_numbered(role, pid));
    }
}

/// Says that this process no longer waits for Enter: somebody else reads the terminal now.
pub fn stop_waiting() {
    if let Some(mut teller) = told() {
        teller.iter_mut().for_each(|teller| teller.wait = None);
    }
}

/// For a process that is about to execute a program and closes the rest: the descriptors that are needed to tell of it. The
/// handle on the host's /proc is not, since no process will be born from this one: it is closed.
pub fn keep_open() -> Vec<RawFd> {
    let mut numbers = Vec::new();
    if let Some(mut teller) = told() {
        teller.iter_mut().for_each(|teller| numbers = teller.keep_open());
    }
    numbers
}

/// Remembers that this process lives in new namespaces (CLONE_NEW*), or has come into those of another.
fn entered(flags: u64) {
    if let Some(mut teller) = told() {
        teller.iter_mut().for_each(|teller| teller.namespaces |= flags);
    }
}

/// One system call: its name, and its arguments as strace(1) writes them.
struct Call {
    name: &'static str,
    arguments: String,
    /// How many calls stand behind this one line; 1 but for loops whose rounds differ in one number.
    times: usize,
}

impl Call {
    fn new(name: &'static str, arguments: String) -> Call {
        Call { name, arguments, times: 1 }
    }
}

/// Makes a call and tells it with the kernel's answer.
#[track_caller]
fn tell<T>(
    call: impl FnOnce() -> Call,
    answer: impl FnOnce(&T) -> String,
    make: impl FnOnce() -> nix::Result<T>,
) -> nix::Result<T> {
    tell_at(Location::caller(), call, answer, make)
}

/// [`tell`] for a caller that is itself called by the code that is to be named: closures forget `track_caller`.
fn tell_at<T>(
    place: &'static Location,
    call: impl FnOnce() -> Call,
    answer: impl FnOnce(&T) -> String,
    make: impl FnOnce() -> nix::Result<T>,
) -> nix::Result<T> {
    if !ON.load(Ordering::Relaxed) {
        return make();
    }
    teller().iter_mut().for_each(Teller::open_step);
    let call = call();
    let made = make();
    let answer = match &made {
        Ok(value) => answer(value),
        Err(errno) => format!("-1 {errno:?} ({})", errno.desc()),
    };
    teller().iter_mut().for_each(|teller| teller.call(&call, Some(&answer), place));
    made
}

/// [`tell`] for a call after which another process may speak first, or which does not return: told before it is made.
#[track_caller]
fn tell_first<T>(call: impl FnOnce() -> Call, make: impl FnOnce() -> nix::Result<T>) -> nix::Result<T> {
    tell_first_at(Location::caller(), call, make)
}

/// Tells a call before it is made, and tells no more: what this process holds open for telling is closed before it.
#[track_caller]
fn tell_last<T>(call: impl FnOnce() -> Call, make: impl FnOnce() -> nix::Result<T>) -> nix::Result<T> {
    let place = Location::caller();
    if ON.load(Ordering::Relaxed) {
        let call = call();
        teller().iter_mut().for_each(|teller| {
            teller.open_step();
            teller.call(&call, None, place);
        });
        end();
    }
    make()
}

fn tell_first_at<T>(
    place: &'static Location,
    call: impl FnOnce() -> Call,
    make: impl FnOnce() -> nix::Result<T>,
) -> nix::Result<T> {
    if !ON.load(Ordering::Relaxed) {
        return make();
    }
    let call = call();
    teller().iter_mut().for_each(|teller| {
        teller.open_step();
        teller.call(&call, None, place);
    });
    let made = make();
    if let Err(errno) = &made {
        let answer = format!("-1 {errno:?} ({})", errno.desc());
        teller().iter_mut().for_each(|teller| teller.failed(&call, &answer, place));
    }
    made
}

/// Whether anybody listens.
fn is_told() -> bool {
    ON.load(Ordering::Relaxed)
}

fn told() -> Option<MutexGuard<'static, Option<Teller>>> {
    ON.load(Ordering::Relaxed).then(teller)
}

/// One thread exists, so the lock is never waited for; a poisoned one is as good as any.
fn teller() -> MutexGuard<'static, Option<Teller>> {
    TELLER.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl std::str::FromStr for Manner {
    type Err = Error;

    /// The value of `--explain=…` and of `EBB_EXPLAIN`.
    fn from_str(text: &str) -> Result<Manner> {
        match text {
            "" | "1" | "true" | "text" => Ok(Manner::Words),
            "json" => Ok(Manner::Json),
            "0" | "false" => Ok(Manner::Silent),
            _ => Err(Error::new(format!("invalid value {text:?} for --explain: it is text or json"))),
        }
    }
}
