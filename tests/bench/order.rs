//! `order EBB FILE`: the functions of the program that its commonest commands need, in the order in which they come to them.
//! The linker lays them side by side (build.rs): they lie strewn over seven megabytes otherwise, and the kernel maps sixteen
//! pages around each that is touched. Every process is stepped through, one instruction after the other, which takes
//! minutes; the registers are x86-64's. Needs `nm`.
//! A function's name has a hash of the dependencies and of their features: those of the program and of its tests are the same
//! (Cargo.toml), and `cargo install` needs `--locked`.

use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::collections::HashSet;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

const HEAD: &str =
    "# What a run needs of the program, in its order: written by `just order`, read by the linker (build.rs).\n";

/// What is to be quick, the first most of all. All of their processes end.
const COMMANDS: [&str; 3] = ["run --rm --network none busybox true", "exec box true", "rm -f box"];

pub fn main(words: &[String]) -> i32 {
    // `cargo bench` has a word of its own behind them.
    let [program, file, ..] = words else { return 2 };
    let store = std::env::temp_dir().join(format!("ebb-order-{}", std::process::id()));
    let functions = functions(program);
    let mut order = Order { functions: &functions, places: HashSet::new(), named: HashSet::new(), text: HEAD.into() };
    for words in ["pull busybox", "run -d --network none --name box busybox sleep 1000"] {
        assert!(ebb(program, &store, words).status().expect("it runs").success(), "{words}");
    }
    for words in COMMANDS {
        order.follow(ebb(program, &store, words));
    }
    println!("{} functions of {}", order.named.len(), functions.len());
    std::fs::write(file, order.text).expect("the file is written");
    let _ = std::fs::remove_dir_all(&store);
    0
}

/// How many of the list's functions this program has by these names, and how many they are: other names come with another
/// compiler or other dependencies. (0 of a program without its names, or where there is no `nm`.)
pub fn found(program: &Path) -> (usize, usize) {
    let listed = Command::new("nm").arg(program).output().map(|output| output.stdout).unwrap_or_default();
    let text = String::from_utf8_lossy(&listed).into_owned();
    let names: HashSet<&str> = text.lines().filter_map(|line| line.split(' ').next_back()).collect();
    let order: Vec<&str> =
        include_str!("../../runtime/order.txt").lines().filter(|line| !line.starts_with('#')).collect();
    (order.iter().filter(|name| names.contains(*name)).count(), order.len())
}

fn ebb(program: &str, store: &Path, words: &str) -> Command {
    let mut command = Command::new(program);
    command.args(words.split(' ')).env("EBB_ROOT", store).stdout(Stdio::null());
    command
}

/// Start, length and name of each.
fn functions(program: &str) -> Vec<(u64, u64, String)> {
    let listed = Command::new("nm").args(["-S", program]).output().expect("nm runs");
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    let one = |line: &str| {
        let [start, length, "t" | "T" | "w" | "W", name] = line.split(' ').collect::<Vec<_>>()[..] else { return None };
        let number = |digits| u64::from_str_radix(digits, 16).ok();
        Some((number(start)?, number(length)?, name.to_owned()))
    };
    let mut all: Vec<_> = text.lines().filter_map(one).collect();
    all.sort();
    all
}

struct Order<'a> {
    functions: &'a [(u64, u64, String)],
    /// Sixteen bytes each: what has been looked up already.
    places: HashSet<u64>,
    named: HashSet<usize>,
    text: String,
}

/// The address of the instruction that comes next.
fn counter(registers: &libc::user_regs_struct) -> u64 {
    #[cfg(target_arch = "x86_64")]
    return registers.rip;
    #[cfg(target_arch = "aarch64")]
    return registers.pc;
}

impl Order<'_> {
    /// Steps through the command and all processes that it makes, until they execute other programs.
    fn follow(&mut self, mut command: Command) {
        // SAFETY: ptrace(PTRACE_TRACEME) is a plain system call, which touches no memory of ours.
        unsafe { command.pre_exec(|| ptrace::traceme().map_err(Into::into)) };
        let first = Pid::from_raw(command.spawn().expect("it starts").id() as i32);
        waitpid(first, None).expect("it stops where it begins");
        let options = Options::PTRACE_O_TRACEFORK
            | Options::PTRACE_O_TRACECLONE
            | Options::PTRACE_O_TRACEVFORK
            | Options::PTRACE_O_TRACEEXEC;
        ptrace::setoptions(first, options).expect("options");
        let _ = ptrace::step(first, None);
        // Until nobody is traced any more. (A process may end between a stop and our answer to it.)
        while let Ok(status) = waitpid(None, Some(WaitPidFlag::__WALL)) {
            let _ = match status {
                WaitStatus::PtraceEvent(pid, _, libc::PTRACE_EVENT_EXEC) => ptrace::detach(pid, None),
                WaitStatus::PtraceEvent(pid, ..) | WaitStatus::Stopped(pid, Signal::SIGSTOP) => ptrace::step(pid, None),
                WaitStatus::Stopped(pid, Signal::SIGTRAP) => {
                    if let Ok(registers) = ptrace::getregs(pid) {
                        self.note(counter(&registers));
                    }
                    ptrace::step(pid, None)
                }
                WaitStatus::Stopped(pid, signal) => ptrace::step(pid, signal),
                _ => Ok(()),
            };
        }
    }

    fn note(&mut self, place: u64) {
        if !self.places.insert(place >> 4) {
            return;
        }
        let Some(index) = self.functions.partition_point(|(start, ..)| *start <= place).checked_sub(1) else { return };
        let (start, length, name) = &self.functions[index];
        if place < start + length && self.named.insert(index) {
            self.text.push_str(name);
            self.text.push('\n');
        }
    }
}
