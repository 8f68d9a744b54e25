//! What holds for a user who has no subordinate ids.

mod common;

use common::terminal::Terminal;
use common::{Ebb, has_one_id};

/// setuid(2) and its kin are answered by the seccomp filter there, so nobody needs the right to them.
#[test]
fn who_has_one_id_is_told_once_what_that_means_and_gets_no_capability_for_other_ids() {
    let ebb = Ebb::new();
    let mut command = ebb.command();
    command.args(["run", "--rm", "busybox", "echo", "BEGUN"]);
    let shown = || Terminal::start(&command).plain().shows("BEGUN");
    let (first, second) = (shown(), shown());
    if !has_one_id() {
        assert!(!first.contains("subordinate ids"), "{first}");
        return;
    }
    for part in
        ["no subordinate ids", "setuid, setgid, setgroups and chown", "keeps its capabilities", "your own groups"]
    {
        assert!(first.replace("\r\n", "").contains(part), "{first}");
    }
    assert!(!second.contains("subordinate ids"), "told once: {second}");
    assert!(ebb.run(["info"]).stderr.contains("keeps its capabilities"));
    // Asked for by name it is given.
    let added = ebb.ok(["run", "--rm", "--cap-add", "CHOWN", "busybox", "grep", "CapEff", "/proc/self/status"]);
    assert_eq!(added, "CapEff:\t0000000080040503");
    let changed = ebb.ok(["run", "--rm", "busybox", "sh", "-c", "touch /f && chown 5:6 /f && echo changed"]);
    assert_eq!(changed, "changed");
}
