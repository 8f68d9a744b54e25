//! A kernel without one of the calls that came late, or a filter that withholds it: every command says so at once, with the
//! call and the version of Linux that has it. None waits for what will never come, and none blames something else.
//!
//! The kernel that the test runs on is given the filter of an older one (seccomp(2)). A filter belongs to a thread, and to all
//! that is started by it.

mod common;

use common::{Answer, Ebb, answer, has_one_id, is_root};
use ebb::kernel::{self, Bpf};
use std::process::Command;

/// So many seconds a command may take; the longest that one waits by itself, for a process that does not end, is ten.
const PATIENCE: &str = "30";

/// Answers the calls of these numbers with ENOSYS, for this thread and what it starts.
fn withhold(numbers: &[i64]) {
    let instruction = |code, jt, k| Bpf { code, jt, jf: 0, k };
    // BPF_LD|BPF_W|BPF_ABS of seccomp_data.nr; BPF_JMP|BPF_JEQ|BPF_K to the last; BPF_RET of SECCOMP_RET_ALLOW and _ERRNO.
    let mut program = vec![instruction(0x20, 0, 0)];
    for (index, number) in numbers.iter().enumerate() {
        program.push(instruction(0x15, (numbers.len() - index) as u8, *number as u32));
    }
    program.push(instruction(0x06, 0, 0x7fff_0000));
    program.push(instruction(0x06, 0, 0x0005_0000 | libc::ENOSYS as u32));
    // An ordinary user's filter is for programs without setuid bits only.
    if !is_root() {
        kernel::prctl(libc::PR_SET_NO_NEW_PRIVS, 1).expect("no new privileges");
    }
    kernel::seccomp_load(&program, 0).expect("a filter");
}

/// `ebb WORDS` where the calls of these numbers are withheld.
fn without(ebb: &Ebb, numbers: &[i64], words: &[&str]) -> Answer {
    std::thread::scope(|scope| {
        let run = scope.spawn(|| {
            withhold(numbers);
            let mut command = Command::new("timeout");
            command.args(["-s", "KILL", PATIENCE, env!("CARGO_BIN_EXE_ebb")]).args(words);
            command.env("EBB_ROOT", ebb.store()).current_dir(&ebb.dir).stdin(std::process::Stdio::null());
            answer(&mut command)
        });
        run.join().expect("it ran")
    })
}

/// newuidmap(1) is setuid, which no program is under an ordinary user's filter.
fn is_for_others() -> bool {
    !is_root() && !has_one_id()
}

fn running(ebb: &Ebb) {
    if ebb.run(["inspect", "-f", "{{.State.Running}}", "box"]).stdout != "true\n" {
        ebb.run(["rm", "-f", "box"]);
        ebb.ok(["run", "-d", "--name", "box", "-v", "jar:/data", "busybox", "sleep", "1000"]);
    }
}

/// What it says of a call that it lacks: nothing else is to blame.
fn names_the_call(answer: &Answer, name: &str, since: (u32, u32)) {
    let words = format!("{name} (Linux has it since {}.{})", since.0, since.1);
    let told = answer.stderr.contains("does not answer ")
        && answer.stderr.contains(&words)
        && answer.stderr.contains("a seccomp filter that ebb runs under");
    assert!(told && answer.code != 137, "{name}: {}", answer.shown());
    for wrong in ["user namespaces may be", "file system", "is not running", "function not implemented"] {
        assert!(!answer.stderr.contains(wrong), "{name}: {}", answer.shown());
    }
}

const COMMANDS: &[&[&str]] = &[
    &["run", "--rm", "busybox", "true"],
    &["run", "-d", "--name", "other", "busybox", "true"],
    &["exec", "box", "true"],
    &["cp", "box:/etc/passwd", "-"],
    &["where", "box:/data"],
    &["volume", "export", "jar"],
    &["kill", "box"],
    &["stop", "-t", "0", "box"],
    &["rm", "-f", "box"],
];

#[test]
fn a_call_that_is_not_there_is_named_with_its_version_and_nothing_waits() {
    if is_for_others() {
        return;
    }
    let ebb = Ebb::new();
    for (name, number, since) in kernel::LATE {
        let mut told = 0;
        for words in COMMANDS {
            running(&ebb);
            let answer = without(&ebb, &[*number], words);
            assert!(!answer.stdout.contains("may write    no"), "{name}: {}", answer.shown());
            if answer.code != 0 {
                names_the_call(&answer, name, *since);
                told += 1;
            }
            ebb.run(["rm", "-f", "other"]);
        }
        // The first three are for volumes with a file system of their own; without the last `where` does not say who may write.
        let is_needed = !["fsopen", "fsconfig", "fsmount", "faccessat2"].contains(name);
        assert!(told > 0 || !is_needed, "{name} is not needed: out of the table with it");
    }
}

/// A filter of an old container, or a kernel of before 5.1.
#[test]
fn a_kernel_without_any_of_them_is_told_in_one_sentence() {
    if is_for_others() {
        return;
    }
    let ebb = Ebb::new();
    let all: Vec<i64> = kernel::LATE.iter().map(|(_, number, _)| *number).collect();
    let said = without(&ebb, &all, &["run", "--rm", "busybox", "true"]);
    assert_eq!(said.code, 125, "{}", said.shown());
    for (name, ..) in kernel::LATE {
        assert_eq!(said.stderr.matches(&format!("{name} (")).count(), 1, "{name}: {}", said.shown());
    }
}

#[test]
fn info_says_the_minimum_and_what_is_missing() {
    let ebb = Ebb::empty();
    let told = ebb.ok(["info"]);
    assert!(
        told.contains("Kernel Version: ") && told.contains(" Minimum: 5.12 (as root 5.19, or --userns host)"),
        "{told}"
    );
    assert_eq!(ebb.ok(["info", "-f", "{{.KernelMinimum}}"]), "5.12");
    if is_for_others() {
        return;
    }
    let number = libc::SYS_mount_setattr;
    let said = without(&ebb, &[number], &["info"]);
    assert!(
        said.stderr.contains("WARNING: this kernel, ") && said.stderr.contains("mount_setattr"),
        "{}",
        said.shown()
    );
}
