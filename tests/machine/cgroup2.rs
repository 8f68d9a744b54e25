//! cgroup v2 alone: a container's first process is born in its cgroup.

use crate::common::skip;
use crate::guest::{Guest, lacking};

/// That of a `--rm` container goes just after the answer.
const NOTHING_LEFT: &str =
    "until [ \"$(find /sys/fs/cgroup/ebb -mindepth 1 -type d 2>/dev/null | wc -l)\" = 0 ]; do :; done";

#[test]
fn whoever_runs_is_born_in_a_cgroup_of_its_own_which_goes_with_it() {
    if let Some(why) = lacking() {
        return skip(&why);
    }
    let mut guest = Guest::start();
    assert_eq!(guest.ok("ebb info -f '{{.CgroupVersion}}'; grep -c cgroup2 /proc/mounts"), "2\n1");
    assert_eq!(
        guest.ok("ebb run --rm busybox sh -c 'cat /proc/self/cgroup; ls /sys/fs/cgroup | grep -c memory.max'"),
        "0::/\n1"
    );
    guest.ok(NOTHING_LEFT);
    guest.ok("ebb run -d --name box --memory 64m --pids-limit 50 --cpus 0.5 busybox sh -c 'trap exit TERM; echo up; sleep 1000 & wait'");
    let here = "cd /sys/fs/cgroup/ebb/$(ebb inspect -f '{{.Id}}' box)";
    assert_eq!(guest.ok(&format!("{here}; cat memory.max pids.max cpu.max")), "67108864\n50\n50000 100000");
    assert_eq!(guest.ok(&format!("{here}; grep -c ^$(ebb inspect -f '{{{{.State.Pid}}}}' box)$ cgroup.procs")), "1");
    // Who comes later is in it, too.
    assert_eq!(guest.ok("ebb exec box cat /proc/self/cgroup"), "0::/");
    let stats = guest.ok("ebb stats --no-stream --format '{{.Name}} {{.MemUsage}} {{.PIDs}}' box");
    assert!(stats.starts_with("box ") && stats.contains("/ 64MiB") && stats.ends_with(" 2"), "{stats}");
    assert!(guest.ok("ebb top box").contains("sleep 1000"));
    guest.ok("ebb pause box");
    assert_eq!(
        guest.ok(&format!("{here}; grep frozen cgroup.events; ebb inspect -f '{{{{.State.Status}}}}' box")),
        "frozen 1\npaused"
    );
    guest.ok("ebb unpause box");
    assert_eq!(guest.ok(&format!("{here}; grep frozen cgroup.events")), "frozen 0");
    guest.ok("ebb update --memory 32m --pids-limit 40 box");
    assert_eq!(guest.ok(&format!("{here}; cat memory.max pids.max")), "33554432\n40");
    assert_eq!(guest.ok("ebb rm -f box"), "box");
    guest.ok(NOTHING_LEFT);
}

#[test]
fn a_limit_holds_and_who_dies_of_it_is_told() {
    if let Some(why) = lacking() {
        return skip(&why);
    }
    let mut guest = Guest::start();
    let eat = "head -c 100m /dev/zero | tail > /dev/null";
    let run = guest.run(&format!(
        "ebb run --name eater --memory 32m --memory-swap 32m busybox sh -c 'exec sh -c \"{eat}; exit \\$?\"'"
    ));
    let state = guest.ok("ebb inspect -f '{{.State.OOMKilled}} {{.State.ExitCode}}' eater");
    assert!(state == "true 137" || state == "true 1" || state == "true 143", "{state} {}", run.shown());
    assert_eq!(guest.ok("ebb rm eater"), "eater");
    let forks = guest.run("ebb run --rm --pids-limit 5 busybox sh -c 'for i in 1 2 3 4 5 6 7 8; do sleep 100 & done'");
    assert!(forks.stderr.contains("can't fork"), "{}", forks.shown());
    // A device that no rule allows is refused by the program that cgroup v2 asks.
    let made = guest.run("ebb run --rm --privileged busybox sh -c 'mknod /tmp/d b 254 0 && head -c 1 /tmp/d | wc -c'");
    assert_eq!((made.code, made.stdout.as_str()), (0, "1\n"), "{}", made.shown());
    let refused = guest
        .run("ebb run --rm --cap-add MKNOD --userns host busybox sh -c 'mknod /tmp/d b 254 0 && head -c 1 /tmp/d'");
    assert!(refused.stderr.contains("Operation not permitted"), "{}", refused.shown());
    assert_eq!(guest.ok(&format!("{NOTHING_LEFT}; ebb system check")), "0 containers, 0 volumes, 1 images: sound");
}

#[test]
fn many_that_begin_and_end_at_once_leave_no_cgroup_and_a_failed_start_leaves_none() {
    if let Some(why) = lacking() {
        return skip(&why);
    }
    let mut guest = Guest::start();
    let many = "for i in 1 2 3 4 5 6; do ebb run --rm busybox true & done; wait; \
                for i in 1 2 3; do ebb run -d --name box$i --restart always busybox sleep 1000; done; \
                ebb rm -f box1 box2 box3";
    guest.ok(many);
    assert!(guest.fails(127, "ebb run --rm busybox /nosuch").contains("no such file"));
    assert!(guest.fails(125, "ebb run --rm --mount type=bind,src=/nosuch,dst=/x busybox true").contains("nosuch"));
    assert_eq!(
        guest.ok(&format!("{NOTHING_LEFT}; ebb ps -aq; ls /disk/store/tmp /disk/store/trash")),
        "/disk/store/tmp:\n\n/disk/store/trash:"
    );
}
