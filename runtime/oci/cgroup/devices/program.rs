//! Version 2's answer to device rules: a small eBPF program that the kernel asks at each open(2) and mknod(2) of a device.

use super::{BLOCK, CHARACTER, Rule};

/// The last rule that matches decides, so the program asks them from the last to the first; without a match the answer
/// is yes, as in a new cgroup of version 1.
pub fn compile(rules: &[Rule]) -> Vec<u64> {
    // `struct bpf_cgroup_dev_ctx`: access and kind in one word, major, minor.
    let mut program = vec![
        instruction(LOAD, KIND, CONTEXT, 0, 0),
        instruction(MOVE, ACCESS, KIND, 0, 0),
        instruction(AND, KIND, 0, 0, 0xffff),
        instruction(SHIFT_RIGHT, ACCESS, 0, 0, 16),
        instruction(LOAD, MAJOR, CONTEXT, 4, 0),
        instruction(LOAD, MINOR, CONTEXT, 8, 0),
    ];
    for rule in merged(rules).iter().rev() {
        let mut tests = Vec::new();
        if let Some(block) = rule.block {
            tests.push((vec![], JUMP_NE, KIND, 0, if block { BLOCK } else { CHARACTER }));
        }
        let masked =
            vec![instruction(MOVE, SCRATCH, ACCESS, 0, 0), instruction(AND, SCRATCH, 0, 0, rule.access as i32)];
        match rule.allow {
            // All that is wanted must be allowed; one thing that is denied is enough.
            true => tests.push((masked, JUMP_NE_REGISTER, SCRATCH, ACCESS, 0)),
            false => tests.push((masked, JUMP_EQ, SCRATCH, 0, 0)),
        }
        tests.extend(rule.major.map(|major| (vec![], JUMP_NE, MAJOR, 0, major as i32)));
        tests.extend(rule.minor.map(|minor| (vec![], JUMP_NE, MINOR, 0, minor as i32)));

        let mut block = vec![instruction(SET, ANSWER, 0, 0, i32::from(rule.allow)), instruction(EXIT, 0, 0, 0, 0)];
        for (before, code, left, right, value) in tests.into_iter().rev() {
            let over = block.len() as i16;
            block = [before, vec![instruction(code, left, right, over, value)], block].concat();
        }
        program.extend(block);
    }
    program.extend([instruction(SET, ANSWER, 0, 0, 1), instruction(EXIT, 0, 0, 0, 0)]);
    program
}

/// Two rules that allow reading and writing of one device allow both at once: open(2) asks in one question.
fn merged(rules: &[Rule]) -> Vec<Rule> {
    let mut merged: Vec<Rule> = Vec::new();
    for rule in rules {
        let same = |other: &&mut Rule| {
            other.allow && rule.allow && (other.block, other.major, other.minor) == (rule.block, rule.major, rule.minor)
        };
        // Only back to the last rule that denies, since the order counts there.
        match merged.iter_mut().rev().take_while(|other| other.allow).find(same) {
            Some(other) => other.access |= rule.access,
            None => merged.push(rule.clone()),
        }
    }
    merged
}

// Registers: the kernel gives the context in 1 and takes the answer from 0.
const ANSWER: u8 = 0;
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
const SCRATCH: u8 = 6;

// linux/bpf.h: operation codes, on 32 bits except for the jumps.
const LOAD: u8 = 0x61;
const MOVE: u8 = 0xbc;
const AND: u8 = 0x54;
const SHIFT_RIGHT: u8 = 0x74;
const SET: u8 = 0xb7;
const JUMP_EQ: u8 = 0x15;
const JUMP_NE: u8 = 0x55;
const JUMP_NE_REGISTER: u8 = 0x5d;
const EXIT: u8 = 0x95;

/// `struct bpf_insn` as one word: code, two registers, offset, value.
fn instruction(code: u8, target: u8, source: u8, offset: i16, value: i32) -> u64 {
    u64::from(code)
        | u64::from(target) << 8
        | u64::from(source) << 12
        | u64::from(offset as u16) << 16
        | u64::from(value as u32) << 32
}

#[cfg(test)]
mod tests {
    use super::super::{MKNOD, READ, WRITE, rules};
    use super::*;

    /// Runs a program as the kernel does.
    fn interpret(program: &[u64], kind: i32, major: u32, minor: u32, access: u32) -> bool {
        let mut registers = [0u64; 8];
        let context = [access << 16 | kind as u32, major, minor];
        let mut at = 0;
        loop {
            let word = program[at];
            let (target, source) = ((word >> 8 & 15) as usize, (word >> 12 & 15) as usize);
            let (offset, value) = ((word >> 16) as u16 as i16, (word >> 32) as i32);
            at += 1;
            let mut jump = |holds: bool| at += if holds { offset as usize } else { 0 };
            match word as u8 {
                LOAD => registers[target] = u64::from(context[offset as usize / 4]),
                MOVE => registers[target] = registers[source],
                AND => registers[target] &= value as u64,
                SHIFT_RIGHT => registers[target] >>= value,
                SET => registers[target] = value as u64,
                JUMP_EQ => jump(registers[target] == value as u64),
                JUMP_NE => jump(registers[target] != value as u64),
                JUMP_NE_REGISTER => jump(registers[target] != registers[source]),
                EXIT => return registers[0] == 1,
                other => panic!("{other:#x}"),
            }
        }
    }

    fn program(json: &str) -> Vec<u64> {
        compile(&rules(&serde_json::from_str::<Vec<_>>(json).unwrap()).unwrap())
    }

    #[test]
    fn denying_all_leaves_the_default_devices() {
        let program = program(
            r#"[{"allow":false,"access":"rwm"},{"allow":true,"type":"c","major":10,"minor":229,"access":"r"},
            {"allow":true,"type":"c","major":10,"minor":229,"access":"w"}]"#,
        );
        assert!(interpret(&program, CHARACTER, 1, 3, READ | WRITE));
        assert!(interpret(&program, CHARACTER, 136, 7, READ | WRITE));
        assert!(interpret(&program, BLOCK, 8, 0, MKNOD));
        assert!(!interpret(&program, BLOCK, 8, 0, READ));
        assert!(!interpret(&program, BLOCK, 1, 3, READ));
        assert!(!interpret(&program, CHARACTER, 1, 1, READ));
        assert!(interpret(&program, CHARACTER, 10, 229, READ | WRITE));
        assert!(!interpret(&program, CHARACTER, 10, 228, READ));
    }

    #[test]
    fn the_last_rule_that_matches_decides() {
        let program = program(
            r#"[{"allow":false,"type":"b","access":"rw"},{"allow":true,"type":"b","major":7,"access":"rwm"},
            {"allow":false,"type":"b","major":7,"minor":1,"access":"w"}]"#,
        );
        assert!(interpret(&program, CHARACTER, 5, 5, READ | WRITE));
        assert!(interpret(&program, BLOCK, 8, 0, MKNOD));
        assert!(!interpret(&program, BLOCK, 8, 0, MKNOD | READ));
        assert!(interpret(&program, BLOCK, 7, 0, READ | WRITE));
        assert!(interpret(&program, BLOCK, 7, 1, READ));
        assert!(!interpret(&program, BLOCK, 7, 1, READ | WRITE));
    }

    #[test]
    fn what_is_denied_after_all_was_denied_stays_denied_and_a_rule_without_a_type_is_both_kinds() {
        let program = program(
            r#"[{"allow":false},{"allow":false,"type":"c","major":1,"minor":3,"access":"w"},
            {"allow":true,"major":10,"minor":229,"access":"rw"}]"#,
        );
        assert!(interpret(&program, CHARACTER, 1, 3, READ));
        assert!(!interpret(&program, CHARACTER, 1, 3, READ | WRITE));
        assert!(interpret(&program, CHARACTER, 10, 229, READ | WRITE));
        assert!(interpret(&program, BLOCK, 10, 229, READ | WRITE));
        assert!(!interpret(&program, BLOCK, 10, 228, READ));
    }
}
