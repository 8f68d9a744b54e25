//! Rounds: every command of a table once a round, in a random order, and the medians.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

/// A command line that can be run many times.
#[derive(Clone)]
pub struct Line {
    argv: Vec<String>,
    env: BTreeMap<String, String>,
    user: Option<(u32, u32)>,
}

impl Line {
    pub fn new<S: AsRef<str>>(words: impl IntoIterator<Item = S>) -> Line {
        let argv = words.into_iter().map(|word| word.as_ref().to_owned()).collect();
        Line { argv, env: BTreeMap::new(), user: None }
    }

    pub fn sh(script: impl Into<String>) -> Line {
        Line { argv: vec!["sh".into(), "-c".into(), script.into()], env: BTreeMap::new(), user: None }
    }

    pub fn env(mut self, name: &str, value: impl Into<String>) -> Line {
        self.env.insert(name.to_owned(), value.into());
        self
    }

    /// As that user, with that user's group and no other.
    pub fn user(mut self, uid: u32, gid: u32) -> Line {
        self.user = Some((uid, gid));
        self
    }

    /// This line with more words.
    pub fn with<S: AsRef<str>>(&self, words: impl IntoIterator<Item = S>) -> Line {
        let mut line = self.clone();
        line.argv.extend(words.into_iter().map(|word| word.as_ref().to_owned()));
        line
    }

    /// This line with another behind it, in that one's environment.
    pub fn after(&self, line: &Line) -> Line {
        let mut both = self.with(&line.argv);
        both.env.clone_from(&line.env);
        both
    }

    /// As a shell would be given it.
    pub fn shell(&self) -> String {
        let env = self.env.iter().map(|(name, value)| format!("{name}='{value}'"));
        env.chain(self.argv.iter().map(|word| format!("'{word}'"))).collect::<Vec<_>>().join(" ")
    }

    /// The words of a line, split at blanks.
    pub fn words(&self, words: &str) -> Line {
        self.with(words.split_whitespace())
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.argv[0]);
        command.args(&self.argv[1..]).envs(&self.env).stdin(Stdio::null()).stdout(Stdio::null()).current_dir("/");
        if let Some((uid, gid)) = self.user {
            command.gid(gid).uid(uid);
        }
        command
    }

    /// Runs it to its end; what it said on stderr where it failed.
    pub fn run(&self) -> Result<(), String> {
        self.timed().map(drop)
    }

    /// [`Line::run`], and how long it took.
    pub fn timed(&self) -> Result<Duration, String> {
        // A file, not a pipe: what it leaves running keeps it open, and must not hold us up.
        let mut said = unnamed();
        let mut command = self.command();
        command.stderr(said.try_clone().expect("a descriptor"));
        let began = Instant::now();
        let mut child = command.spawn().map_err(|error| self.failed(&error.to_string()))?;
        let status = child.wait().map_err(|error| error.to_string())?;
        let time = began.elapsed();
        if status.success() {
            return Ok(time);
        }
        let mut text = String::new();
        let _ = said.rewind();
        let _ = said.read_to_string(&mut text);
        Err(self.failed(&text))
    }

    /// Its stdout.
    pub fn output(&self) -> Result<String, String> {
        let output = self.command().stdout(Stdio::piped()).stderr(Stdio::piped()).output();
        let output = output.map_err(|error| self.failed(&error.to_string()))?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned()),
            false => Err(self.failed(&String::from_utf8_lossy(&output.stderr))),
        }
    }

    fn failed(&self, said: &str) -> String {
        format!("{}: {}", self.argv.join(" "), said.lines().next().unwrap_or("failed"))
    }
}

/// A command that takes part, with what is done around it and not timed.
pub struct Entrant {
    pub name: String,
    pub run: Line,
    pub before: Option<Line>,
    pub after: Option<Line>,
}

impl Entrant {
    pub fn new(name: impl Into<String>, run: Line) -> Entrant {
        Entrant { name: name.into(), run, before: None, after: None }
    }

    pub fn before(mut self, line: Line) -> Entrant {
        self.before = Some(line);
        self
    }

    pub fn after(mut self, line: Line) -> Entrant {
        self.after = Some(line);
        self
    }
}

/// What a command needed in each round, in ms, sorted; or why it could not be measured.
pub struct Outcome {
    pub name: String,
    pub times: Result<Vec<f64>, String>,
}

impl Outcome {
    pub fn median(&self) -> Option<f64> {
        let times = self.times.as_ref().ok().filter(|times| !times.is_empty())?;
        let middle = times.len() / 2;
        Some(if times.len() % 2 == 1 { times[middle] } else { (times[middle - 1] + times[middle]) / 2.0 })
    }

    pub fn best(&self) -> Option<f64> {
        self.times.as_ref().ok()?.first().copied()
    }
}

/// Two rounds that do not count, and then `rounds` that do.
pub fn race(entrants: &[Entrant], rounds: usize) -> Vec<Outcome> {
    let mut outcomes: Vec<Outcome> =
        entrants.iter().map(|entrant| Outcome { name: entrant.name.clone(), times: Ok(Vec::new()) }).collect();
    let mut dice = Dice::new();
    const WARM_UP: usize = 2;
    for round in 0..rounds + WARM_UP {
        for index in dice.order(entrants.len()) {
            if outcomes[index].times.is_err() {
                continue;
            }
            match once(&entrants[index]) {
                Ok(time) => {
                    if let Ok(times) = &mut outcomes[index].times
                        && round >= WARM_UP
                    {
                        times.push(time.as_secs_f64() * 1e3);
                    }
                }
                Err(said) => outcomes[index].times = Err(said),
            }
        }
    }
    for outcome in &mut outcomes {
        if let Ok(times) = &mut outcome.times {
            times.sort_by(f64::total_cmp);
        }
    }
    outcomes
}

fn once(entrant: &Entrant) -> Result<Duration, String> {
    if let Some(before) = &entrant.before {
        let _ = before.run();
    }
    let time = entrant.run.timed();
    if let Some(after) = &entrant.after {
        let _ = after.run();
    }
    time
}

fn unnamed() -> File {
    let path = std::env::temp_dir().join(format!("ebb-bench-{}", std::process::id()));
    let file = File::options().read(true).write(true).create(true).truncate(true).open(&path).expect("a file");
    let _ = std::fs::remove_file(path);
    file
}

/// A xorshift: the order of a round needs no better chance than this.
struct Dice(u64);

impl Dice {
    fn new() -> Dice {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Dice(now.as_nanos() as u64 | 1)
    }

    fn order(&mut self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        for last in (1..count).rev() {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            order.swap(last, (self.0 % (last as u64 + 1)) as usize);
        }
        order
    }
}
