//! The compiler: a filter of the OCI specification becomes a program of classic BPF.
//!
//! The numbers of all system calls lie on a line. The rules cut that line into intervals, within which every call gets
//! the same answer; the program finds the interval by bisection, so that a call costs about seven comparisons where a
//! list of rules would cost hundreds. Few intervals need to look at arguments.
//!
//! ```text
//!   is this our architecture?  no  -> the stranger's answer
//!   is it an x32 call?         yes -> the stranger's answer
//!   newer than the profile?    yes -> ENOSYS
//!   bisect -> answer, or compare arguments -> answer
//! ```

use super::answer;
use crate::error::{Error, Result};
use crate::kernel::Bpf;
use oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg, LinuxSeccompOperator as Op, LinuxSyscall,
};
use std::collections::BTreeMap;
use syscalls::Sysno;

/// AUDIT_ARCH_* of the machine that Ebb was built for.
#[cfg(target_arch = "x86_64")]
pub(super) const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
pub(super) const ARCHITECTURE: u32 = 0xc000_00b7;

/// From this number on, x86_64 means the x32 ABI: other numbers for the same calls.
pub(super) const X32: u32 = 0x4000_0000;

/// BPF_MAXINSNS
const MOST: usize = 4096;

/// Compiles a filter. Names that this kernel's tables do not have are skipped, as runc skips them.
///
/// A rule without arguments settles its call, and the first such rule counts; among rules with arguments the first that
/// matches counts; the rest get the default action.
pub fn compile(seccomp: &LinuxSeccomp) -> Result<Vec<Bpf>> {
    let default = answer(seccomp.default_action(), seccomp.default_errno_ret())?;
    let outcomes = outcomes(seccomp, default)?;
    let unknown = answer(Action::ScmpActErrno, Some(libc::ENOSYS as u32))?;
    let permissive = matches!(seccomp.default_action(), Action::ScmpActAllow | Action::ScmpActLog);
    // Calls by another ABI's numbers would slip past rules that name ours: never more than the default, and where the
    // default is to allow, what a kernel without that ABI answers.
    let stranger = if permissive { unknown } else { default };

    let mut program = vec![load(ARCH_OFFSET), jump(JEQ, ARCHITECTURE, 1, 0), give(stranger), load(NUMBER_OFFSET)];
    if cfg!(target_arch = "x86_64") {
        program.extend([jump(JGE, X32, 0, 1), give(stranger)]);
    }
    // A C library tries a new call first and falls back to an old one when it hears ENOSYS; from EPERM it concludes that
    // the user may not. So what is newer than all that the profile has heard of does not exist here.
    let newest = outcomes.keys().next_back().copied();
    if let (Some(newest), false) = (newest, permissive) {
        program.extend([jump(JGT, newest, 0, 1), give(unknown)]);
    }
    program.extend(bisect(&intervals(outcomes, default)));
    if program.len() > MOST {
        let length = program.len();
        return Err(Error::new(format!("seccomp: the filter needs {length} instructions, the kernel takes {MOST}")));
    }
    Ok(program)
}

/// What becomes of one system call.
#[derive(Debug, Clone, PartialEq)]
enum Outcome {
    Always(u32),
    /// (conditions that must all hold, answer), tried in order, and what is answered where none holds.
    ByArguments(Vec<(Vec<LinuxSeccompArg>, u32)>, u32),
}

fn outcomes(seccomp: &LinuxSeccomp, default: u32) -> Result<BTreeMap<u32, Outcome>> {
    let mut outcomes: BTreeMap<u32, Outcome> = BTreeMap::new();
    for rule in seccomp.syscalls().iter().flatten() {
        let given = answer(rule.action(), rule.errno_ret())?;
        for number in rule.names().iter().filter_map(|name| number_of(name)) {
            let outcome = outcomes.entry(number).or_insert_with(|| Outcome::ByArguments(Vec::new(), default));
            match (outcome, conditions(rule)?) {
                (Outcome::Always(_), _) => {}
                (outcome, None) => *outcome = Outcome::Always(given),
                (Outcome::ByArguments(cases, _), Some(alternatives)) => {
                    cases.extend(alternatives.into_iter().map(|conditions| (conditions, given)));
                }
            }
        }
    }
    Ok(outcomes)
}

/// The alternatives under which a rule matches, each a list of conditions that must all hold; `None`: always.
/// Two conditions on one argument are alternatives, as libseccomp's users expect: it could hold one value only.
fn conditions(rule: &LinuxSyscall) -> Result<Option<Vec<Vec<LinuxSeccompArg>>>> {
    let Some(arguments) = rule.args().as_ref().filter(|arguments| !arguments.is_empty()) else {
        return Ok(None);
    };
    if let Some(wrong) = arguments.iter().find(|argument| argument.index() > 5) {
        return Err(Error::new(format!(
            "seccomp: a system call has 6 arguments, the rule names number {}",
            wrong.index()
        )));
    }
    let same =
        |argument: &LinuxSeccompArg| arguments.iter().filter(|other| other.index() == argument.index()).count() > 1;
    if arguments.iter().any(same) {
        return Ok(Some(arguments.iter().map(|argument| vec![*argument]).collect()));
    }
    Ok(Some(vec![arguments.clone()]))
}

pub(super) fn number_of(name: &str) -> Option<u32> {
    name.parse::<Sysno>().ok().map(|call| call.id() as u32)
}

/// Where each interval begins, in order, and what is answered in it.
fn intervals(outcomes: BTreeMap<u32, Outcome>, default: u32) -> Vec<(u32, Outcome)> {
    let mut line: Vec<(u32, Outcome)> = vec![(0, Outcome::Always(default))];
    for (number, outcome) in outcomes {
        for (from, outcome) in [(number, outcome), (number + 1, Outcome::Always(default))] {
            match line.last() {
                Some((last, _)) if *last == from => {
                    line.pop();
                }
                _ => {}
            }
            if line.last().is_none_or(|(_, before)| *before != outcome) {
                line.push((from, outcome));
            }
        }
    }
    line
}

fn bisect(line: &[(u32, Outcome)]) -> Vec<Bpf> {
    let (below, above) = match line {
        [] => return Vec::new(),
        [(_, Outcome::Always(answer))] => return vec![give(*answer)],
        [(_, Outcome::ByArguments(cases, otherwise))] => return by_arguments(cases, *otherwise),
        _ => line.split_at(line.len() / 2),
    };
    let (boundary, lower, upper) = (above[0].0, bisect(below), bisect(above));
    let mut program = match u8::try_from(lower.len()) {
        Ok(distance) => vec![jump(JGE, boundary, distance, 0)],
        // A conditional jump reaches 255 instructions, an unconditional one any.
        Err(_) => vec![jump(JGE, boundary, 0, 1), Bpf { code: JA, jt: 0, jf: 0, k: lower.len() as u32 }],
    };
    program.extend(lower);
    program.extend(upper);
    program
}

fn by_arguments(cases: &[(Vec<LinuxSeccompArg>, u32)], otherwise: u32) -> Vec<Bpf> {
    let mut program = Vec::new();
    for (conditions, answer) in cases {
        let mut case = vec![give(*answer)];
        // From the last to the first, so that each knows how far it is to the end of its case.
        for condition in conditions.iter().rev() {
            let mut block = compare(condition, case.len() as u8);
            block.append(&mut case);
            case = block;
        }
        program.extend(case);
    }
    program.push(give(otherwise));
    program
}

/// Compares a 64-bit argument in halves, since BPF's registers have 32 bits: the high half decides, unless it is equal.
/// Where the condition holds it falls through, where not it jumps over the `rest` of the case behind it.
fn compare(condition: &LinuxSeccompArg, rest: u8) -> Vec<Bpf> {
    let low = 16 + 8 * condition.index() as u32;
    let high = low + 4; // Both architectures are little-endian.
    let split = |value: u64| ((value >> 32) as u32, value as u32);
    let (h, l) = split(condition.value());
    match condition.op() {
        Op::ScmpCmpEq => vec![load(high), jump(JEQ, h, 0, 2 + rest), load(low), jump(JEQ, l, 0, rest)],
        Op::ScmpCmpNe => vec![load(high), jump(JEQ, h, 0, 2), load(low), jump(JEQ, l, rest, 0)],
        Op::ScmpCmpGt => ordered(high, low, (h, l), JGT, true, rest),
        Op::ScmpCmpGe => ordered(high, low, (h, l), JGE, true, rest),
        // Less is "not greater or equal", less or equal is "not greater".
        Op::ScmpCmpLt => ordered(high, low, (h, l), JGE, false, rest),
        Op::ScmpCmpLe => ordered(high, low, (h, l), JGT, false, rest),
        Op::ScmpCmpMaskedEq => {
            // The first value is the mask, the second what must be left.
            let (wanted_h, wanted_l) = split(condition.value_two().unwrap_or(0));
            vec![load(high), and(h), jump(JEQ, wanted_h, 0, 3 + rest), load(low), and(l), jump(JEQ, wanted_l, 0, rest)]
        }
    }
}

/// `high > h || (high == h && low OP l)`, or its opposite where `holds` is false.
fn ordered(high: u32, low: u32, (h, l): (u32, u32), op: u16, holds: bool, rest: u8) -> Vec<Bpf> {
    if holds {
        vec![load(high), jump(JGT, h, 3, 0), jump(JEQ, h, 0, 2 + rest), load(low), jump(op, l, 0, rest)]
    } else {
        vec![load(high), jump(JGT, h, 3 + rest, 0), jump(JEQ, h, 0, 2), load(low), jump(op, l, rest, 0)]
    }
}

// linux/bpf_common.h and linux/seccomp.h: the five instructions that a filter needs, and where in `struct seccomp_data`
// it finds what.
pub(super) const LD: u16 = 0x20; // load 32 bits of seccomp_data
pub(super) const AND: u16 = 0x54;
pub(super) const JA: u16 = 0x05;
pub(super) const JEQ: u16 = 0x15;
pub(super) const JGT: u16 = 0x25;
pub(super) const JGE: u16 = 0x35;
pub(super) const RET: u16 = 0x06;
const NUMBER_OFFSET: u32 = 0;
const ARCH_OFFSET: u32 = 4;

fn load(offset: u32) -> Bpf {
    Bpf { code: LD, jt: 0, jf: 0, k: offset }
}

fn and(mask: u32) -> Bpf {
    Bpf { code: AND, jt: 0, jf: 0, k: mask }
}

fn jump(code: u16, k: u32, jt: u8, jf: u8) -> Bpf {
    Bpf { code, jt, jf, k }
}

fn give(answer: u32) -> Bpf {
    Bpf { code: RET, jt: 0, jf: 0, k: answer }
}
