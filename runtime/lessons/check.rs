//! `check` blocks: a state to reach, looked at in the store and in the container, never in what was typed; and
//! `ebb lesson --check`, which runs a whole lesson as a test.
//!
//! ```text
//! volume NAME exists | is gone
//! volume NAME holds PATH
//! volume NAME holds PATH = "TEXT"
//! volume NAME lacks PATH
//! container NAME is running | exited | created | paused | gone
//! container NAME mounts SOURCE at PATH            a volume's name, or ./DIR in the learner's directory
//! container NAME mounts SOURCE at PATH read-only | read-write
//! container NAME mounts nothing at PATH
//! ```

use super::classroom::{self, Room};
use super::parse::{Block, Claim, Exercise, Lesson, Step};
use super::shell::{self, Answer};
use crate::error::{Doing, Error, Kind, Result};
use crate::store::beneath;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use std::io::Read;
use std::path::Path;

/// What a claim expected, and what is there instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Miss {
    pub expected: String,
    pub found: String,
}

/// Whether every claim of the exercise holds; otherwise the first that does not.
pub fn exercise(room: &Room, exercise: &Exercise) -> Result<Option<Miss>> {
    for claim in &exercise.claims {
        let miss = match claim {
            Claim::State(words) => state(room, words)?,
            Claim::Answer(step) => answer(step, &shell::run(room, &step.command)?),
        };
        if miss.is_some() {
            return Ok(miss);
        }
    }
    Ok(None)
}

fn answer(step: &Step, answer: &Answer) -> Option<Miss> {
    shell::difference(step, answer).map(|difference| Miss {
        expected: format!("`{}` gives on {}: {}", step.command, difference.of, difference.expected),
        found: difference.found,
    })
}

/// Refuses, when the lesson is read, a claim that [`exercise`] would not understand.
pub fn known(words: &[String]) -> Result<()> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["volume", _, "exists"] | ["volume", _, "is", "gone"] | ["volume", _, "holds" | "lacks", _] => Ok(()),
        ["volume", _, "holds", _, "=", _] | ["container", _, "mounts", _, "at", _] => Ok(()),
        ["container", _, "mounts", _, "at", _, "read-only" | "read-write"] => Ok(()),
        ["container", _, "is", "running" | "exited" | "created" | "paused" | "gone"] => Ok(()),
        _ => Err(Error::new(format!("not a claim that a check knows: {}", words.join(" ")))),
    }
}

fn state(room: &Room, words: &[String]) -> Result<Option<Miss>> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let miss = |found: String| Some(Miss { expected: words.join(" "), found });
    Ok(match words.as_slice() {
        ["volume", name, "exists"] if mountpoint(room, name)?.is_none() => miss("there is no such volume".into()),
        ["volume", name, "is", "gone"] if mountpoint(room, name)?.is_some() => miss("it is still there".into()),
        ["volume", name, verb @ ("holds" | "lacks"), path, wanted @ ..] => match mountpoint(room, name)? {
            None => miss("there is no such volume".into()),
            Some(mountpoint) => match (content(&mountpoint, path), *verb, wanted) {
                (Ok(_), "lacks", _) => miss(format!("{path} is there")),
                (Err(error), "holds", _) => miss(format!("{path}: {}", error.message)),
                (Ok(found), "holds", ["=", wanted]) if found.trim_end() != *wanted => {
                    miss(format!("\"{}\"", found.trim_end()))
                }
                _ => None,
            },
        },
        ["container", name, "is", wanted] => {
            let status = ask(room, &format!("ebb container inspect -f '{{{{.State.Status}}}}' {name}"))?;
            let found = status.unwrap_or_else(|| "gone".into());
            if found == *wanted { None } else { miss(format!("it is {found}")) }
        }
        ["container", name, "mounts", source, "at", path, how @ ..] => {
            mounted(room, name, source, path, how.first().copied())?.and_then(miss)
        }
        _ => None,
    })
}

/// What the container has at `path`, where that is not `source`, or not as writable as `how` says.
fn mounted(room: &Room, name: &str, source: &str, path: &str, how: Option<&str>) -> Result<Option<String>> {
    let format = "{{range .Mounts}}{{.Destination}}\t{{if .Name}}{{.Name}}{{else}}{{.Source}}{{end}}\t\
                  {{if .RW}}read-write{{else}}read-only{{end}}{{println}}{{end}}";
    let Some(mounts) = ask(room, &format!("ebb container inspect -f '{format}' {name}"))? else {
        return Ok(Some("there is no such container".into()));
    };
    let wanted = match source.strip_prefix("./") {
        Some(dir) => room.home().join(dir).to_string_lossy().into_owned(),
        None => source.to_owned(),
    };
    let mut lines = mounts.lines().map(|line| line.split('\t').collect::<Vec<_>>());
    let there = lines.find_map(|words| match words.as_slice() {
        [at, from, writable] if *at == path => Some((*from, *writable)),
        _ => None,
    });
    Ok(match there {
        None if source == "nothing" => None,
        None => Some(format!("nothing is mounted at {path}")),
        Some((from, writable)) if from == wanted && how.is_none_or(|how| how == writable) => None,
        Some((from, writable)) => Some(format!("it mounts {from} at {path} {writable}")),
    })
}

/// A command's stdout, or `None` where it failed.
fn ask(room: &Room, line: &str) -> Result<Option<String>> {
    let answer = shell::run(room, line)?;
    Ok((answer.code == 0).then(|| answer.stdout.trim_end().to_owned()))
}

fn mountpoint(room: &Room, name: &str) -> Result<Option<String>> {
    ask(room, &format!("ebb volume inspect -f '{{{{.Mountpoint}}}}' {name}"))
}

/// Reads a file of a volume, at most 64 KiB of it, resolved inside the volume.
fn content(mountpoint: &str, path: &str) -> Result<String> {
    let root = beneath::root(Path::new(mountpoint))?;
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK;
    let file = beneath::open(&root, Path::new(path), flags, Mode::empty())
        .map_err(|errno| Error::new(errno.desc().to_lowercase()))?;
    let mut text = Vec::new();
    std::fs::File::from(file).take(65536).read_to_end(&mut text).doing(|| "read it")?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// `--check`: every step answers as written, every check fails before its solution and passes after it.
pub fn lesson(room: &Room, lesson: &Lesson) -> Result<i32> {
    let place = |line: usize| format!("{}:{line}", lesson.file);
    let (mut steps, mut checks) = (0, 0);
    for block in &lesson.blocks {
        match block {
            Block::Step(step) => {
                steps += 1;
                let answer = shell::run(room, &step.command)?;
                if let Some(difference) = shell::difference(step, &answer) {
                    report(&place(step.line), &step.command, &difference, &answer);
                    return Err(Error::of(Kind::Reported, ""));
                }
            }
            Block::Exercise(wanted) => {
                checks += 1;
                if wanted.solve.is_empty() || wanted.hints.iter().any(|hint| hint.trim().is_empty()) {
                    return Err(Error::new(format!(
                        "{}: a check needs a solution, and no hint may be empty",
                        place(wanted.line)
                    )));
                }
                if exercise(room, wanted)?.is_none() {
                    return Err(Error::new(format!(
                        "{}: the check passes before anything was done",
                        place(wanted.line)
                    )));
                }
                for command in &wanted.solve {
                    let answer = shell::run(room, command)?;
                    if answer.code != 0 {
                        return Err(Error::new(format!(
                            "{}: the solution's `{command}` failed: {}",
                            place(wanted.line),
                            answer.stderr
                        )));
                    }
                }
                if let Some(miss) = exercise(room, wanted)? {
                    return Err(Error::new(format!(
                        "{}: the check fails after its solution\n  expected  {}\n  found     {}",
                        place(wanted.line),
                        miss.expected,
                        miss.found
                    )));
                }
            }
            Block::File(file) => classroom::hand_out(room, file)?,
            Block::Setup(setup) => {
                shell::set_up(room, setup).map_err(|error| Error::new(format!("{}: {error}", place(setup.line))))?
            }
            Block::Text(_) | Block::Predict(_) | Block::Only(_) => {}
        }
    }
    println!("{}: {steps} steps and {checks} checks, all as written", lesson.title);
    Ok(0)
}

fn report(place: &str, command: &str, difference: &shell::Difference, answer: &Answer) {
    eprintln!("{place}: $ {command}");
    eprintln!("  {} differs", difference.of);
    eprintln!("  expected  {}", difference.expected);
    eprintln!("  found     {}", difference.found);
    eprintln!("--- stdout\n{}--- stderr\n{}--- exit code {}", answer.stdout, answer.stderr, answer.code);
}
