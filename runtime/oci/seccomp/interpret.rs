//! Tests of the compiler: every filter run against the meaning of its rules.

use super::compile::{ARCHITECTURE, X32, number_of};
use super::pass::run as interpret;
use super::*;
use oci_spec::runtime::{Capabilities, Capability};

const ALLOW: u32 = 0x7fff_0000;
const EPERM: u32 = 0x0005_0000 | libc::EPERM as u32;
const ENOSYS: u32 = 0x0005_0000 | libc::ENOSYS as u32;

fn filter(json: &str) -> LinuxSeccomp {
    serde_json::from_str(json).unwrap()
}

fn call(program: &[Bpf], name: &str, arguments: &[u64]) -> u32 {
    interpret(program, ARCHITECTURE, number_of(name).unwrap_or_else(|| panic!("{name}")), arguments)
}

fn profile(capabilities: &[Capability]) -> Vec<Bpf> {
    compile(&default_profile(&capabilities.iter().copied().collect())).unwrap()
}

#[test]
fn each_comparison_of_64_bit_arguments_means_what_it_says() {
    let edges = [0, 1, 2, 0xffff_ffff, 0x1_0000_0000, 0x1_0000_0001, 0x2_ffff_ffff, u64::MAX - 1, u64::MAX];
    type Meaning = fn(u64, u64) -> bool;
    let operators: [(&str, Meaning); 6] = [
        ("NE", |argument, value| argument != value),
        ("LT", |argument, value| argument < value),
        ("LE", |argument, value| argument <= value),
        ("EQ", |argument, value| argument == value),
        ("GE", |argument, value| argument >= value),
        ("GT", |argument, value| argument > value),
    ];
    for (operator, meaning) in operators {
        for value in edges {
            let program = compile(&filter(&format!(
                r#"{{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{{"names":["read"],"action":"SCMP_ACT_ALLOW","args":[
                {{"index":2,"value":{value},"op":"SCMP_CMP_{operator}"}},{{"index":5,"value":7,"op":"SCMP_CMP_EQ"}}]}}]}}"#
            )))
            .unwrap();
            for argument in edges {
                for last in [7, 8] {
                    let wanted = if meaning(argument, value) && last == 7 { ALLOW } else { EPERM };
                    let given = call(&program, "read", &[0, 0, argument, 0, 0, last]);
                    assert_eq!(given, wanted, "{argument:#x} {operator} {value:#x}, {last}");
                }
            }
        }
    }
}

#[test]
fn a_masked_comparison_looks_at_the_masked_bits_of_both_halves() {
    let program = compile(&filter(
        r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW","args":[
        {"index":0,"value":1095216660735,"valueTwo":4294967297,"op":"SCMP_CMP_MASKED_EQ"}]}]}"#,
    ))
    .unwrap();
    let mask = 1_095_216_660_735u64; // 0xff_0000_00ff
    for argument in [0, 1, 0x1_0000_0001, 0x1_0000_0101, 0x101_0000_0001, 0x2_0000_0001, u64::MAX] {
        let wanted = if argument & mask == 0x1_0000_0001 { ALLOW } else { EPERM };
        assert_eq!(call(&program, "read", &[argument]), wanted, "{argument:#x}");
    }
}

#[test]
fn rules_on_one_call_are_tried_in_order_and_conditions_on_one_argument_are_alternatives() {
    let program = compile(&filter(
        r#"{"defaultAction":"SCMP_ACT_KILL_PROCESS","syscalls":[
        {"names":["read"],"action":"SCMP_ACT_ERRNO","errnoRet":0,"args":[{"index":0,"value":1,"op":"SCMP_CMP_EQ"},{"index":0,"value":2,"op":"SCMP_CMP_EQ"}]},
        {"names":["read"],"action":"SCMP_ACT_LOG","args":[{"index":0,"value":3,"op":"SCMP_CMP_LE"}]},
        {"names":["write","no_such_call_ever"],"action":"SCMP_ACT_TRAP"},
        {"names":["write"],"action":"SCMP_ACT_ALLOW"},
        {"names":["close"],"action":"SCMP_ACT_TRACE","errnoRet":9},
        {"names":["lseek"],"action":"SCMP_ACT_KILL_THREAD"}]}"#,
    ))
    .unwrap();
    assert_eq!(call(&program, "read", &[1]), 0x0005_0000);
    assert_eq!(call(&program, "read", &[2]), 0x0005_0000);
    assert_eq!(call(&program, "read", &[3]), 0x7ffc_0000);
    assert_eq!(call(&program, "read", &[4]), 0x8000_0000);
    assert_eq!(call(&program, "write", &[]), 0x0003_0000);
    assert_eq!(call(&program, "close", &[]), 0x7ff0_0009);
    assert_eq!(call(&program, "lseek", &[]), 0);
}

#[test]
fn the_default_profile_answers_every_call_as_its_rules_say() {
    let all: Vec<Capability> = serde_json::from_str(r#"["CAP_SYS_ADMIN","CAP_SYS_PTRACE","CAP_SYS_TIME"]"#).unwrap();
    for held in [&[][..], &all[..]] {
        let seccomp = default_profile(&held.iter().copied().collect());
        let program = compile(&seccomp).unwrap();
        assert!(program.len() < 1000, "{} instructions", program.len());
        let rules = seccomp.syscalls().clone().unwrap();
        let newest = rules.iter().flat_map(|rule| rule.names()).filter_map(|name| number_of(name)).max().unwrap();
        for number in 0..600 {
            let here = |rule: &&oci_spec::runtime::LinuxSyscall| {
                rule.names().iter().any(|name| number_of(name) == Some(number))
            };
            let plain = rules.iter().filter(here).find(|rule| rule.args().is_none());
            if plain.is_none() && rules.iter().any(|rule| here(&rule)) {
                continue; // Decided by arguments: the tests below.
            }
            let wanted = match plain {
                Some(rule) => answer(rule.action(), rule.errno_ret()).unwrap(),
                None if number > newest => ENOSYS,
                None => EPERM,
            };
            assert_eq!(interpret(&program, ARCHITECTURE, number, &[]), wanted, "call {number}");
        }
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn the_default_profile_names_only_calls_that_exist_each_once() {
    let profile = default_profile(&Capabilities::new());
    let plain = profile.syscalls().iter().flatten().filter(|rule| rule.args().is_none());
    let mut names: Vec<&String> = plain.flat_map(|rule| rule.names()).collect();
    let unknown: Vec<_> = names.iter().filter(|name| number_of(name).is_none()).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    names.sort();
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
}

#[test]
fn new_namespaces_are_refused_without_cap_sys_admin() {
    let without = profile(&[Capability::Chown, Capability::NetRaw]);
    let thread = 0x003d_0f00; // What pthread_create asks for.
    assert_eq!(call(&without, "clone", &[thread]), ALLOW);
    for namespace in [0x2_0000u64, 0x200_0000, 0x400_0000, 0x800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000] {
        assert_eq!(call(&without, "clone", &[thread | namespace]), EPERM, "{namespace:#x}");
    }
    assert_eq!(call(&without, "clone3", &[]), ENOSYS);
    for name in ["unshare", "setns", "mount", "open_tree", "fsopen", "bpf", "perf_event_open", "init_module", "reboot"]
    {
        assert_eq!(call(&without, name, &[]), EPERM, "{name}");
    }
    let with = profile(&[Capability::SysAdmin]);
    for name in ["clone", "clone3", "unshare", "setns", "mount"] {
        assert_eq!(call(&with, name, &[0x1000_0000]), ALLOW, "{name}");
    }
    for name in ["keyctl", "add_key", "request_key", "io_uring_setup", "userfaultfd", "kexec_load", "swapon"] {
        assert_eq!(call(&with, name, &[]), EPERM, "{name}");
    }
}

#[test]
fn sockets_and_personalities_are_those_on_the_list_to_the_last_bit() {
    let program = profile(&[]);
    for family in [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK] {
        assert_eq!(call(&program, "socket", &[family as u64]), ALLOW);
    }
    // The kernel reads 32 bits of this argument: a number with others set above must not pass for another family.
    for family in [libc::AF_VSOCK as u64, 1 << 32 | libc::AF_VSOCK as u64, libc::AF_ALG as u64] {
        assert_eq!(call(&program, "socket", &[family]), EPERM, "{family:#x}");
    }
    assert_eq!(call(&program, "personality", &[0xffff_ffff]), ALLOW);
    assert_eq!(call(&program, "personality", &[0x40000]), EPERM);
}

#[test]
fn another_abi_never_gets_more_than_the_default() {
    let program = profile(&[]);
    let read = number_of("read").unwrap();
    assert_eq!(interpret(&program, 0x4000_0003, read, &[]), EPERM);
    if cfg!(target_arch = "x86_64") {
        assert_eq!(interpret(&program, ARCHITECTURE, X32 + read, &[]), EPERM);
    }
    let permissive = filter(
        r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO"}]}"#,
    );
    let program = compile(&permissive).unwrap();
    assert_eq!(call(&program, "mkdirat", &[]), EPERM);
    assert_eq!(interpret(&program, ARCHITECTURE, 5000, &[]), ALLOW);
    assert_eq!(interpret(&program, 0x4000_0003, 39, &[]), ENOSYS);
}

#[test]
fn a_pretended_identity_answers_success_and_keeps_the_rest() {
    let mut seccomp = default_profile(&Capabilities::new());
    pretend_identity(&mut seccomp);
    let program = compile(&seccomp).unwrap();
    for name in ["setuid", "setgroups", "setresgid", "fchown", "fchownat"] {
        assert_eq!(call(&program, name, &[33, 33, 33]), 0x0005_0000, "{name}");
    }
    assert_eq!(call(&program, "getuid", &[]), ALLOW);
    assert_eq!(call(&program, "fchmod", &[]), ALLOW);
}

#[test]
fn dockers_format_is_decided_by_capability_architecture_and_kernel() {
    let machine = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let text = format!(
        r#"{{"defaultAction":"SCMP_ACT_ERRNO","archMap":[{{"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86"]}}],
        "syscalls":[
        {{"names":["read"],"action":"SCMP_ACT_ALLOW","args":[],"includes":{{}},"excludes":{{}}}},
        {{"names":["write"],"action":"SCMP_ACT_ALLOW","includes":{{"caps":["CAP_SYS_ADMIN"]}}}},
        {{"names":["close"],"action":"SCMP_ACT_ALLOW","excludes":{{"caps":["CAP_SYS_ADMIN"]}}}},
        {{"names":["lseek"],"action":"SCMP_ACT_ALLOW","includes":{{"arches":["{machine}"],"minKernel":"4.8"}}}},
        {{"name":"fstat","action":"SCMP_ACT_ALLOW","includes":{{"minKernel":"99.0"}}}}]}}"#
    );
    let with =
        |held: &[Capability]| compile(&from_docker_json(&text, &held.iter().copied().collect()).unwrap()).unwrap();
    let (none, admin) = (with(&[]), with(&[Capability::SysAdmin]));
    assert_eq!((call(&none, "read", &[]), call(&admin, "read", &[])), (ALLOW, ALLOW));
    assert_eq!((call(&none, "write", &[]), call(&admin, "write", &[])), (EPERM, ALLOW));
    assert_eq!((call(&none, "close", &[]), call(&admin, "close", &[])), (ALLOW, EPERM));
    assert_eq!((call(&none, "lseek", &[]), call(&none, "fstat", &[])), (ALLOW, EPERM));
}

#[test]
fn what_cannot_be_honoured_is_refused_with_a_reason() {
    let notify = filter(r#"{"defaultAction":"SCMP_ACT_NOTIFY"}"#);
    assert!(compile(&notify).unwrap_err().message.contains("listenerPath"));
    let index = filter(
        r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW","args":[{"index":6,"value":0,"op":"SCMP_CMP_EQ"}]}]}"#,
    );
    assert!(compile(&index).unwrap_err().message.contains("6 arguments"));
}
