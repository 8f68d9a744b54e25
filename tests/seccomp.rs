//! The seccomp filter, seen from inside a container. What the compiler makes of each rule is held by the unit tests of
//! `runtime/oci/seccomp/`; here the kernel runs it.

mod common;

use common::bundle::Bundle;
use oci_spec::runtime::Capabilities;
use serde_json::{Value, json};

fn bundle(script: &str, seccomp: Value) -> Bundle {
    let mut bundle = Bundle::new(&["sh", "-c", script]);
    bundle.config["linux"]["seccomp"] = seccomp;
    bundle
}

fn default_profile() -> Value {
    serde_json::to_value(ebb::oci::seccomp::default_profile(&Capabilities::new())).unwrap()
}

#[test]
fn the_default_filter_is_on_and_a_shell_with_its_tools_works_under_it() {
    let script = "grep Seccomp: /proc/self/status; echo a b | tr ' ' '\\n' | sort -r | head -1; ls -l / > /dev/null && date > /dev/null";
    let bundle = bundle(script, default_profile());
    assert_eq!(bundle.ok(&["run", "c1"]), "Seccomp:\t2\nb");
}

#[test]
fn new_namespaces_are_refused_by_the_filter_and_not_only_by_a_missing_right() {
    // Any user may make a user namespace, so only the filter can say no.
    let script = "unshare -U true 2>&1; echo $?";
    let with = bundle(script, default_profile()).ok(&["run", "c1"]);
    assert!(with.contains("not permitted") && with.ends_with('1'), "{with}");
}

#[test]
fn a_personality_that_switches_off_address_randomisation_is_refused() {
    let said = bundle("linux64 echo fine; linux64 -R echo never 2>&1; echo $?", default_profile()).ok(&["run", "c1"]);
    assert!(said.starts_with("fine\n") && !said.contains("never"), "{said}");
}

#[test]
fn an_errno_of_a_rule_is_what_the_program_gets() {
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": libc_number(libc::EXDEV)},
        {"names": ["sethostname"], "action": "SCMP_ACT_ERRNO", "errnoRet": libc_number(libc::ENOSPC)},
    ]});
    let said = bundle("mkdir /dev/shm/x 2>&1; hostname other 2>&1; true", profile).ok(&["run", "c1"]);
    assert!(said.contains("Invalid cross-device link") && said.contains("No space left"), "{said}");
}

fn libc_number(errno: i32) -> u32 {
    errno as u32
}

#[test]
fn a_pretended_identity_lets_a_program_change_its_only_user() {
    let mut profile = ebb::oci::seccomp::default_profile(&Capabilities::new());
    ebb::oci::seccomp::pretend_identity(&mut profile);
    let script =
        "touch /dev/shm/f && chown 33:33 /dev/shm/f && echo owner $(stat -c %u /dev/shm/f) && echo id $(id -u)";
    assert_eq!(bundle(script, serde_json::to_value(profile).unwrap()).ok(&["run", "c1"]), "owner 0\nid 0");
}

#[test]
fn killing_is_by_signal_31() {
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_KILL_PROCESS"},
    ]});
    let bundle = bundle("(mkdir /dev/shm/x); echo $?", profile);
    assert!(bundle.ok(&["run", "c1"]).ends_with("159"));
}

#[test]
fn exec_gets_the_containers_filter_too() {
    let bundle = bundle("exec sleep 1000", default_profile());
    bundle.create("c1");
    bundle.ok(&["start", "c1"]);
    assert_eq!(bundle.ok(&["exec", "c1", "grep", "Seccomp:", "/proc/self/status"]), "Seccomp:\t2");
    assert_ne!(bundle.run(&["exec", "c1", "unshare", "-U", "true"]).code, 0);
}

#[test]
fn a_filter_that_cannot_be_honoured_is_refused() {
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/agent",
        "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]});
    let bundle = bundle("true", profile);
    let said = bundle.fails(1, &["create", "c1"]);
    assert!(said.contains("SCMP_ACT_NOTIFY"), "{said}");
    assert_eq!(bundle.ok(&["list", "-q"]), "");
}

#[test]
fn dockers_own_profile_format_is_taken_by_run() {
    let ebb = common::Ebb::new();
    let file = ebb.dir.join("profile.json");
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "archMap": [], "syscalls": [
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "args": [], "includes": {}, "excludes": {"caps": ["CAP_SYS_ADMIN"]}},
    ]});
    std::fs::write(&file, profile.to_string()).unwrap();
    let option = format!("seccomp={}", file.display());
    let refused = ebb.run(["run", "--rm", "--security-opt", &option, "busybox", "mkdir", "/tmp/x"]);
    assert!(refused.code == 1 && refused.stderr.contains("not permitted"), "{}", refused.shown());
    assert_eq!(
        ebb.run(["run", "--rm", "--security-opt", &option, "--cap-add", "SYS_ADMIN", "busybox", "mkdir", "/tmp/x"])
            .code,
        0
    );
    let script = "grep Seccomp: /proc/self/status; cat /proc/self/uid_map";
    let off = ebb.ok(["run", "--rm", "--security-opt", "seccomp=unconfined", "busybox", "sh", "-c", script]);
    // With one id only, a filter pretends that the user can be changed, whatever else is confined.
    let one_id = off.lines().count() == 2 && off.split_whitespace().last() == Some("1");
    assert!(off.starts_with(if one_id { "Seccomp:\t2" } else { "Seccomp:\t0" }), "{off}");
    assert!(ebb.ok(["run", "--rm", "busybox", "grep", "Seccomp:", "/proc/self/status"]).ends_with('2'));
}

/// What Ebb itself needs on the way to execve(2) is done before the filter, which may know nothing of newer calls.
#[test]
fn a_filter_that_kills_at_what_a_lookup_needs_keeps_no_program_from_starting() {
    let ebb = common::Ebb::new();
    let profile = serde_json::json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["openat2", "close_range", "faccessat2"], "action": "SCMP_ACT_KILL_PROCESS"}]
    });
    let file = ebb.dir.join("profile.json");
    std::fs::write(&file, profile.to_string()).expect("a file");
    let filter = ["--security-opt", &format!("seccomp={}", file.display())];
    assert_eq!(
        ebb.ok([&["run", "--rm"], &filter[..], &["busybox", "/bin/busybox", "echo", "found"]].concat()),
        "found"
    );
    assert_eq!(ebb.ok([&["run", "--rm"], &filter[..], &["busybox", "echo", "found"]].concat()), "found");
    ebb.ok([&["run", "-d", "--name", "box"], &filter[..], &["busybox", "sleep", "1000"]].concat());
    assert_eq!(ebb.ok(["exec", "box", "echo", "found"]), "found");
}

/// As with Docker: the file is read once, by whoever creates the container, from where they are.
#[test]
fn a_profile_belongs_to_the_record_and_every_start_is_under_it() {
    let ebb = common::Ebb::new();
    let file = ebb.dir.join("profile.json");
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": libc_number(libc::EXDEV)},
    ]});
    std::fs::write(&file, serde_json::to_string_pretty(&profile).unwrap()).unwrap();
    let script = "mkdir /tmp/x 2>&1; true";
    ebb.ok(["create", "--name", "box", "--security-opt", "seccomp=profile.json", "busybox", "sh", "-c", script]);
    assert_eq!(ebb.inspect("box", "{{index .HostConfig.SecurityOpt 0}}"), format!("seccomp={profile}"));
    std::fs::write(&file, r#"{"defaultAction": "SCMP_ACT_ALLOW"}"#).unwrap();
    assert!(ebb.ok(["start", "-a", "box"]).contains("cross-device"), "another filter without a word");
    std::fs::remove_file(&file).unwrap();
    let elsewhere = ebb.command().args(["start", "-a", "box"]).current_dir("/").output().unwrap();
    assert!(String::from_utf8_lossy(&elsewhere.stdout).contains("cross-device"), "{elsewhere:?}");
}

#[test]
fn what_is_no_profile_is_refused_in_dockers_words_and_changes_nothing() {
    let ebb = common::Ebb::new();
    std::fs::write(ebb.dir.join("list.json"), "[]").unwrap();
    std::fs::write(ebb.dir.join("torn.json"), "{\"defaultAction\": ").unwrap();
    for (file, wanted) in [
        ("nope.json", "opening seccomp profile (nope.json) failed: no such file or directory"),
        ("list.json", "Decoding seccomp profile (list.json) failed: invalid type"),
        ("torn.json", "Decoding seccomp profile (torn.json) failed: EOF"),
        ("/dev/zero", "opening seccomp profile (/dev/zero) failed: it has more than 16 MiB"),
    ] {
        let said = ebb.fails(125, ["create", "--security-opt", &format!("seccomp={file}"), "busybox", "true"]);
        assert!(said.contains(wanted), "{file}: {said}");
    }
    assert_eq!(ebb.ok(["ps", "-aq"]), "");
}

/// Records of before the profile was kept in them name the file.
#[test]
fn a_record_that_names_a_file_is_started_as_it_was() {
    let ebb = common::Ebb::new();
    let file = ebb.dir.join("profile.json");
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": libc_number(libc::EXDEV)},
    ]});
    std::fs::write(&file, profile.to_string()).unwrap();
    let option = format!("seccomp={}", file.display());
    let id = ebb.ok([
        "create",
        "--name",
        "box",
        "--security-opt",
        &option,
        "busybox",
        "sh",
        "-c",
        "mkdir /tmp/x 2>&1; true",
    ]);
    let record = ebb.store().join("containers").join(id).join("container.json");
    let mut old: Value = serde_json::from_slice(&std::fs::read(&record).unwrap()).unwrap();
    let words = old.pointer_mut("/HostConfig/SecurityOpt").expect("it is there");
    *words = json!([option]);
    std::fs::write(&record, old.to_string()).unwrap();
    assert!(ebb.ok(["start", "-a", "box"]).contains("cross-device"));
}
