//! A file system that cannot translate ids costs no container its user namespace: what lies on it is mounted as it is, and
//! that is said. Root's containers are the host's root only where somebody has said so.

mod common;

use common::{Ebb, answer, is_root};
use std::process::Command;

const LOOK: &str = "cat /proc/self/uid_map; stat -c %u /hs /hp /hd /own; cat /hp/vm/swappiness > /hp/vm/swappiness && echo rights of the host; \
                    touch /own/made && echo made";

#[test]
fn a_bind_of_a_file_system_that_cannot_translate_ids_leaves_the_user_namespace() {
    let ebb = Ebb::new();
    std::fs::create_dir(ebb.dir.join("own")).expect("a directory");
    let own = format!("{}:/own", ebb.dir.join("own").display());
    let mut words = vec!["run", "--rm", "-v", &own];
    words.extend(["-v", "/sys:/hs:ro", "-v", "/proc/sys:/hp", "-v", "/dev/null:/hd"]);
    words.extend(["busybox", "sh", "-c", LOOK]);
    let ran = ebb.run(&words);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    let maps: Vec<&str> = ran.stdout.lines().filter(|line| line.split_whitespace().count() == 3).collect();
    assert!(!maps.is_empty() && !maps.iter().any(|map| map.contains("4294967295")), "the host's ids: {}", ran.shown());
    // The host's root is nobody there; what can be translated still is.
    assert_eq!(lines[maps.len()..], ["65534", "65534", "65534", "0", "made"], "{}", ran.shown());
    if is_root() {
        for place in ["/hs", "/hp", "/hd"] {
            assert!(ran.stderr.contains(&format!("ids at {place} are not translated")), "{place}: {}", ran.shown());
        }
        assert!(!ran.stderr.contains("ids at /own"), "{}", ran.shown());
        let asked =
            ebb.run(["run", "--rm", "--userns", "host", "-v", "/sys:/hs:ro", "busybox", "cat", "/proc/self/uid_map"]);
        assert!(asked.code == 0 && asked.stderr.is_empty() && asked.stdout.contains("4294967295"), "{}", asked.shown());
    }
}

#[test]
fn a_volume_that_names_such_a_directory_is_mounted_as_it_is_too() {
    let ebb = Ebb::new();
    ebb.ok(["volume", "create", "-o", "type=none", "-o", "o=bind", "-o", "device=/sys/class", "kernel"]);
    let ran = ebb.run([
        "run",
        "--rm",
        "-v",
        "kernel:/hs:ro",
        "busybox",
        "sh",
        "-c",
        "cat /proc/self/uid_map; stat -c %u /hs",
    ]);
    assert!(ran.code == 0 && !ran.stdout.contains("4294967295") && ran.stdout.ends_with("65534\n"), "{}", ran.shown());
    assert_eq!(ran.stderr.contains("ids at /hs are not translated"), is_root(), "{}", ran.shown());
}

#[test]
fn a_store_that_cannot_translate_ids_makes_no_container_of_the_hosts_root_in_silence() {
    if !is_root() {
        return; // An ordinary user's containers always have a user namespace, and nothing to translate.
    }
    let ebb = Ebb::empty();
    let script = "mount --make-rprivate / && mkdir -p store && mount -t ramfs store store || exit 99
        $EBB create busybox true; echo $?
        $EBB create --userns host missing:image true; echo $?";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &format!("exec 2>&1; {script}")]).current_dir(&ebb.dir);
    command.env("EBB", env!("CARGO_BIN_EXE_ebb")).env("EBB_ROOT", ebb.store());
    let answer = answer(&mut command);
    let (first, second) = answer.stdout.split_once("125\n").unwrap_or_default();
    assert!(first.contains("cannot translate ids") && first.contains("--userns host"), "{}", answer.shown());
    assert!(!second.contains("translate") && second.contains("missing:image"), "{}", answer.shown());
}
