//! What a compiled filter answers, found out by running it, as the kernel will.

use super::compile::{AND, ARCHITECTURE, JA, JEQ, JGE, JGT, LD, RET, number_of};
use crate::kernel::Bpf;

const ALLOW: u32 = 0x7fff_0000;
const KILL: u32 = 0x8000_0000;

/// Whether the filter lets each of these calls pass, with this first argument and zeros behind it.
pub fn lets_pass(program: &[Bpf], calls: &[(&str, u64)]) -> bool {
    let passes = |name: &str, argument| match number_of(name) {
        Some(number) => run(program, ARCHITECTURE, number, &[argument]) == ALLOW,
        None => false,
    };
    calls.iter().all(|(name, argument)| passes(name, *argument))
}

/// Runs a program on `struct seccomp_data`. Every jump goes forward, so it ends. What [`super::compile`] does not write is
/// not known here, and counts as a refusal.
pub(super) fn run(program: &[Bpf], architecture: u32, number: u32, arguments: &[u64]) -> u32 {
    let word = |offset: u32| match offset {
        0 => number,
        4 => architecture,
        _ => {
            let value = arguments.get((offset as usize).saturating_sub(16) / 8).copied().unwrap_or(0);
            if offset.is_multiple_of(8) { value as u32 } else { (value >> 32) as u32 }
        }
    };
    let (mut register, mut at) = (0u32, 0usize);
    while let Some(&Bpf { code, jt, jf, k }) = program.get(at) {
        at += 1;
        let branch = |holds: bool| if holds { jt as usize } else { jf as usize };
        at += match code {
            LD => {
                register = word(k);
                0
            }
            AND => {
                register &= k;
                0
            }
            JA => k as usize,
            JEQ => branch(register == k),
            JGT => branch(register > k),
            JGE => branch(register >= k),
            RET => return k,
            _ => return KILL,
        };
    }
    KILL
}
