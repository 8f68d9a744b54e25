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
//! $ COMMAND, and its answer
//! ```
//!
//! After each, two spaces and `# …` may say in a learner's words what is wanted.

use super::classroom::{self, Room};
use super::parse::{Block, Exercise, Lesson, Step, Wanted};
use super::shell::{self, Answer};
use crate::error::{Doing, Error, Kind, Result};
use crate::store::beneath;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use std::io::Read;
use std::path::Path;

/// What a claim expected, and what is there instead, in a learner's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Miss {
    pub expected: String,
    pub found: String,
    /// For who writes the lesson: the command that was run, and where its answer differs.
    pub tested: Option<String>,
}

/// Whether every claim of the exercise holds; otherwise the first that does not.
pub fn exercise(room: &Room, exercise: &Exercise) -> Result<Option<Miss>> {
    for claim in &exercise.claims {
        let miss = match &claim.wanted {
            Wanted::State(words) => state(room, words)?,
            Wanted::Answer(step) => answer(step, &shell::run(room, &step.command)?),
        };
        if let Some(mut miss) = miss {
            if let Some(label) = &claim.label {
                miss.expected = label.clone();
            }
            return Ok(Some(miss));
        }
    }
    Ok(None)
}

fn answer(step: &Step, answer: &Answer) -> Option<Miss> {
    let difference = shell::difference(step, answer)?;
    let shell::Difference { of, expected, found } = &difference;
    let nothing = |text: &str| text.is_empty() || text == "(nothing more)" || text == "(nothing)";
    // A command that failed says why, and that is what there is to see.
    let complaint = answer.stderr.lines().next_back().filter(|_| nothing(found) || *of == "exit code");
    let seen = match complaint {
        Some(complaint) => complaint.to_owned(),
        None if *of == "exit code" => format!("it ends with exit code {found}"),
        None if nothing(found) => "nothing".to_owned(),
        None if nothing(expected) => found.clone(),
        None => format!("\"{found}\", and not \"{expected}\""),
    };
    let expected_words = match *of {
        "exit code" => format!("`{}` ends with exit code {expected}", step.command),
        _ if nothing(expected) => format!("`{}` says nothing more", step.command),
        _ => format!("`{}` says \"{expected}\"", step.command),
    };
    let tested = format!("`{}`; expected on {of}: {expected}; found: {found}", step.command);
    Some(Miss { expected: expected_words, found: seen, tested: Some(tested) })
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
    let expected = match words.as_slice() {
        ["volume", name, "holds", path, "=", wanted] => format!("volume {name} holds {path}, and in it \"{wanted}\""),
        words => words.join(" "),
    };
    let miss = |found: String| Some(Miss { expected, found, tested: None });
    Ok(match words.as_slice() {
        ["volume", name, "exists"] if mountpoint(room, name)?.is_none() => miss(no_volume(name)),
        ["volume", name, "is", "gone"] if mountpoint(room, name)?.is_some() => miss("it is still there".into()),
        ["volume", name, verb @ ("holds" | "lacks"), path, wanted @ ..] => match mountpoint(room, name)? {
            None => miss(no_volume(name)),
            Some(mountpoint) => match (content(&mountpoint, path), *verb, wanted) {
                (Ok(_), "lacks", _) => miss(format!("{path} is still there")),
                (Err(error), "holds", _) if error.is_not_found() => miss(format!("{path} is not in it")),
                (Err(error), "holds", _) => miss(format!("{path} cannot be read: {}", error.message)),
                (Ok(found), "holds", ["=", _]) if found.trim_end().is_empty() => {
                    miss(format!("{path} is there, but nothing is in it"))
                }
                (Ok(found), "holds", ["=", wanted]) if found.trim_end() != *wanted => {
                    miss(format!("{path} is there, but holds \"{}\"", found.trim_end()))
                }
                _ => None,
            },
        },
        ["container", name, "is", wanted] => {
            let how = "{{.State.Status}} {{.State.ExitCode}}";
            let status = ask(room, &format!("ebb container inspect -f '{how}' {name}"))?;
            let (found, code) = status.as_deref().and_then(|status| status.split_once(' ')).unwrap_or(("gone", ""));
            match found {
                found if found == *wanted => None,
                "gone" => miss(no_container(name)),
                "exited" => miss(format!("it has ended, with exit code {code}")),
                "created" => miss("it was made, and never started".into()),
                found => miss(format!("it is {found}")),
            }
        }
        ["container", name, "mounts", source, "at", path, how @ ..] => {
            mounted(room, name, source, path, how.first().copied())?.and_then(miss)
        }
        _ => None,
    })
}

fn no_volume(name: &str) -> String {
    format!("there is no volume named {name}")
}

fn no_container(name: &str) -> String {
    format!("there is no container named {name}: it was never made, or it was removed")
}

/// What the container has at `path`, where that is not `source`, or not as writable as `how` says.
fn mounted(room: &Room, name: &str, source: &str, path: &str, how: Option<&str>) -> Result<Option<String>> {
    let format = "{{range .Mounts}}{{.Destination}}\t{{if .Name}}{{.Name}}{{else}}{{.Source}}{{end}}\t\
                  {{if .RW}}read-write{{else}}read-only{{end}}{{println}}{{end}}";
    let Some(mounts) = ask(room, &format!("ebb container inspect -f '{format}' {name}"))? else {
        return Ok(Some(no_container(name)));
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
    let file = beneath::open(&root, Path::new(path), flags, Mode::empty()).map_err(|errno| match errno {
        Errno::ENOENT | Errno::ENOTDIR => Error::not_found("no such file"),
        errno => Error::new(errno.desc().to_lowercase()),
    })?;
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
                        "{}: the check fails after its solution\n  expected  {}\n  found     {}{}",
                        place(wanted.line),
                        miss.expected,
                        miss.found,
                        miss.tested.map_or_else(String::new, |tested| format!("\n  tested by {tested}"))
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
