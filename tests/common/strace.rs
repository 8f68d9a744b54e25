//! strace(1): what it has recorded (with `-ff`, a file of each process), and what it does to a command on the way.

use super::{Answer, Ebb};
use std::collections::{BTreeMap, HashSet};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Runs `ebb WORDS` with one kind of call tampered with, as strace's `-e inject=` says it (`unlinkat:error=EPERM`).
///
/// For root only: newuidmap(1) is setuid, which it is not under a tracer.
pub fn tampered(ebb: &Ebb, inject: &str, words: &[&str]) -> Answer {
    let mut strace = prepared(ebb, inject);
    super::answer(strace.args(["-o", "/dev/null", env!("CARGO_BIN_EXE_ebb")]).args(words))
}

/// Runs `ebb WORDS` and stops each of its processes after each call of this name, for as long as `meanwhile` takes.
pub fn stopped_after(ebb: &Ebb, call: &str, words: &[&str], meanwhile: &mut dyn FnMut()) -> Answer {
    stopped(prepared(ebb, &format!("{call}:signal=SIGSTOP")), call, words, meanwhile)
}

/// [`stopped_after`], but only after the call of this number that is about `file`.
pub fn stopped_at(ebb: &Ebb, call: (&str, u32), file: &Path, words: &[&str], meanwhile: &mut dyn FnMut()) -> Answer {
    let (name, number) = call;
    let mut strace = prepared(ebb, &format!("{name}:signal=SIGSTOP:when={number}"));
    strace.arg("-P").arg(file);
    stopped(strace, name, words, meanwhile)
}

fn stopped(mut strace: Command, call: &str, words: &[&str], meanwhile: &mut dyn FnMut()) -> Answer {
    strace.arg(env!("CARGO_BIN_EXE_ebb")).args(words).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = strace.spawn().expect("strace starts");
    let (mut stderr, mut stdout, mut stops) = (String::new(), String::new(), 0);
    for line in BufReader::new(child.stderr.take().expect("a pipe")).lines().map_while(Result::ok) {
        if line.contains("stopped by SIGSTOP") {
            meanwhile();
            stops += 1;
            // `[pid N] --- stopped by SIGSTOP ---`; where there is but one process, that is strace's child.
            let pid = line.split_whitespace().nth(1).and_then(|word| word.trim_end_matches(']').parse().ok());
            let pid = nix::unistd::Pid::from_raw(pid.unwrap_or_else(|| only_child(child.id())));
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGCONT).expect("it goes on");
        }
        stderr.push_str(&line);
        stderr.push('\n');
    }
    child.stdout.take().expect("a pipe").read_to_string(&mut stdout).expect("read");
    let code = super::exit_code(child.wait().expect("it ends"));
    assert!(stops > 0, "it has made no call of {call}: {stderr}");
    let shown = format!("$ ebb {}\nexit {code}\n--- stdout\n{stdout}--- stderr\n{stderr}---", words.join(" "));
    Answer { code, stdout, stderr, shown }
}

fn prepared(ebb: &Ebb, inject: &str) -> Command {
    let mut strace = Command::new("strace");
    let call = inject.split(':').next().expect("a call");
    strace.args(["-f", "-e", &format!("trace={call}"), "-e", &format!("inject={inject}")]);
    strace.env("EBB_ROOT", ebb.store()).current_dir(&ebb.dir).stdin(Stdio::null());
    strace
}

fn only_child(parent: u32) -> i32 {
    let text = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).expect("procfs");
    text.split_whitespace().next().and_then(|pid| pid.parse().ok()).expect("a child")
}

/// One line of strace's.
#[derive(Debug, Clone)]
pub struct Recorded {
    pub name: String,
    pub text: String,
}

/// The calls of each process, up to the moment when it became another program: what that does is not Ebb's.
pub fn read_traces(traces: &Path) -> BTreeMap<i64, Vec<Recorded>> {
    let mut all = BTreeMap::new();
    let mut foreign = HashSet::new();
    let mut first = true;
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(traces).expect("the traces").map(|entry| entry.expect("an entry").path()).collect();
    // In the order of their birth: behind the largest number (pid_max) the kernel begins with small ones again.
    // One trace has a few hundred processes: numbers that lie far apart are from before that and after it.
    let largest = files.iter().map(|path| pid_of(path)).max().unwrap_or(0);
    files.sort_by_key(|path| (largest - pid_of(path) > 10_000, pid_of(path)));
    for path in files {
        let text = String::from_utf8_lossy(&std::fs::read(&path).expect("a trace")).into_owned();
        let mut calls = Vec::new();
        // The first process begins with the execve that strace itself made.
        for line in text.lines().skip(usize::from(first)) {
            let Some((name, _)) = line.split_once('(') else { continue };
            let call = Recorded { name: name.to_owned(), text: line.to_owned() };
            // posix_spawn(3): the child shares our memory until it is the other program.
            if call.text.contains("CLONE_VFORK") || name == "vfork" {
                foreign.extend(line.rsplit(" = ").next().and_then(|pid| pid.trim().parse::<i64>().ok()));
            }
            // By execveat Ebb becomes itself once more (runtime/oci/binary.rs).
            let became_another = name == "execve" && line.ends_with(" = 0");
            calls.push(call);
            if became_another {
                break;
            }
        }
        first = false;
        all.insert(pid_of(&path), calls);
    }
    all.retain(|pid, _| !foreign.contains(pid));
    all
}

fn pid_of(path: &Path) -> i64 {
    path.extension().and_then(|pid| pid.to_str()?.parse().ok()).expect("trace.PID")
}
