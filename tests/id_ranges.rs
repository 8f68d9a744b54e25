//! The ids of the host that a container of root's has are nobody else's: no user's, and no other container's.

mod common;

use common::{Answer, Ebb, answer, is_root};
use std::process::Command;

/// The first id of the host that a running container has, by what the kernel says.
fn first_id(ebb: &Ebb, container: &str) -> u64 {
    let pid = ebb.inspect(container, "{{.State.Pid}}");
    let map = std::fs::read_to_string(format!("/proc/{pid}/uid_map")).unwrap();
    map.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// `ebb WORDS`, where /etc/subuid says something else.
fn with_subuid(ebb: &Ebb, subuid: &str, words: &[&str]) -> Answer {
    let file = ebb.dir.join("subuid");
    std::fs::write(&file, subuid).unwrap();
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", "mount --bind subuid /etc/subuid && exec \"$@\"", "sh"]);
    command.arg(env!("CARGO_BIN_EXE_ebb")).args(words).current_dir(&ebb.dir).env("EBB_ROOT", ebb.store());
    answer(&mut command)
}

#[test]
fn two_containers_of_root_never_share_their_ids_not_even_in_two_stores() {
    if !is_root() {
        return; // An ordinary user's containers have the user's own ids.
    }
    let (ebb, other) = (Ebb::new(), Ebb::new());
    ebb.ok(["run", "-d", "--name", "one", "busybox", "sleep", "1000"]);
    let first = first_id(&ebb, "one");
    // Users have all but the ids of that container.
    let above = first + 65_536;
    let subuid = format!("alice:1:{}\nbob:{above}:{}\n", first - 1, (1 << 31) - above);
    for store in [&ebb, &other] {
        let answer = with_subuid(store, &subuid, &["run", "--rm", "busybox", "true"]);
        assert_ne!(answer.code, 0, "{}", answer.shown());
        assert!(answer.stderr.contains("is a user's or a container's"), "{}", answer.shown());
    }
    ebb.ok(["rm", "-f", "one"]);
    let answer = with_subuid(&other, &subuid, &["run", "--rm", "busybox", "cat", "/proc/self/uid_map"]);
    assert_eq!(answer.stdout.split_whitespace().collect::<Vec<_>>(), ["0", &first.to_string(), "65536"]);
}

#[test]
fn ids_that_a_user_is_given_later_are_said_and_exchanged_at_the_next_start() {
    if !is_root() {
        return;
    }
    let ebb = Ebb::new();
    ebb.ok([
        "run",
        "-d",
        "--name",
        "one",
        "-v",
        "data:/data",
        "busybox",
        "sh",
        "-c",
        "echo kept >> /data/f; sleep 1000",
    ]);
    ebb.ok(["system", "check"]);
    let first = first_id(&ebb, "one");
    let subuid = format!("alice:{}:65536\n", first + 1000);
    let answer = with_subuid(&ebb, &subuid, &["system", "check"]);
    assert_ne!(answer.code, 0, "{}", answer.shown());
    assert!(answer.stdout.contains(&format!("a user's by now (/etc/subuid: {})", subuid.trim())), "{}", answer.shown());
    assert_eq!(with_subuid(&ebb, &subuid, &["restart", "-t", "0", "one"]).code, 0);
    let second = first_id(&ebb, "one");
    assert!(second.abs_diff(first + 1000) >= 65_536, "{first} {second}");
    assert_eq!(with_subuid(&ebb, &subuid, &["system", "check"]).code, 0);
    assert!(ebb.ok(["exec", "one", "ls", "-ln", "/data/f"]).contains(" 0        0 "), "its files are its own still");
}
