//! What an administrator mounts into a container stays as it was mounted, though the container may mount: with SYS_ADMIN in
//! its user namespace it takes no flag off, uncovers nothing, and mounts nothing on the host.

mod common;

use common::{Ebb, answer, is_root};
use std::process::Command;

/// Tries to get rid of the flags of the mount at `$1`, of a copy of it, and of a copy that its own namespace has.
const TRY: &str = "mkdir -p /copy; cd /
    try() {
        mount -o remount,bind,rw,suid,dev,exec $1 2>/dev/null
        mount --bind $1 /copy && mount -o remount,bind,rw,suid,dev,exec /copy 2>/dev/null
        for place in $1 /copy; do
            (: > $place/written) 2>/dev/null && echo $1: written through $place
            grep \" $place \" /proc/self/mountinfo | cut -d ' ' -f 6 | grep -vq nosuid && echo $1: $place has suid
            grep \" $place \" /proc/self/mountinfo | cut -d ' ' -f 6 | grep -vq nodev && echo $1: $place has devices
        done
        umount /copy
    }";

#[test]
fn a_container_that_may_mount_takes_no_flag_off() {
    let ebb = Ebb::new();
    std::fs::create_dir_all(ebb.dir.join("d/deep")).expect("a directory");
    ebb.ok(["volume", "create", "vase"]);
    ebb.ok(["volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "memory"]);
    let bind = format!("{}:/bind:ro", ebb.dir.join("d").display());
    let part = "type=volume,src=vase,dst=/part,volume-subpath=part,readonly";
    ebb.ok(["run", "--rm", "-v", "vase:/v", "busybox", "mkdir", "/v/part"]);
    std::fs::write(ebb.dir.join("file"), "as it was").expect("a file");
    let file = format!("{}:/file:ro", ebb.dir.join("file").display());
    let script = format!(
        "{TRY}; for place in /bind /vase /part /memory; do try $place; done
        mount -o remount,bind,rw /file 2>/dev/null; (echo lost > /file) 2>/dev/null; cat /file; echo; echo tried"
    );
    let run =
        ["run", "-d", "--name", "box", "--cap-add", "SYS_ADMIN", "-v", &bind, "-v", "vase:/vase:ro", "--mount", part];
    let run = [&run[..], &["-v", "memory:/memory:ro", "-v", &file, "busybox", "sh", "-c", &script]].concat();
    ebb.ok(&run);
    ebb.ok(["wait", "box"]);
    assert_eq!(ebb.ok(["logs", "box"]), "as it was\ntried");
    // It comes again, and what it may write to it still does.
    let writable = format!("{}:/bind", ebb.dir.join("d").display());
    let script = "touch /bind/made /vase/made && stat -c %u /bind/made /vase/made && mount -t tmpfs mine /bind/deep && echo mounted";
    let run =
        ["run", "--rm", "--cap-add", "SYS_ADMIN", "-v", &writable, "-v", "vase:/vase", "busybox", "sh", "-c", script];
    assert_eq!(ebb.ok(run), "0\n0\nmounted");
    assert!(ebb.dir.join("d/made").exists());
}

#[test]
fn what_the_host_has_covered_stays_covered() {
    if !is_root() {
        return; // The mounts of a user's container are locked together from the start, with those of the host.
    }
    let ebb = Ebb::new();
    let script = "mount --make-rprivate /; exec 2>&1
        mkdir -p d/hidden && echo secret > d/hidden/secret && mount -t tmpfs cover d/hidden && touch d/hidden/covered
        try='umount /d/hidden 2>/dev/null; umount -l /d/hidden 2>/dev/null; mount --bind /d /copy 2>/dev/null; cat /d/hidden/* /copy/hidden/*; echo tried'
        for option in '--cap-add SYS_ADMIN' '--cap-add ALL --security-opt seccomp=unconfined'; do
            $EBB run --rm $option -v $PWD/d:/d busybox sh -c \"mkdir /copy; $try\" 2>&1 | grep -v 'No such file'
        done";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script]).current_dir(&ebb.dir);
    command.env("EBB", env!("CARGO_BIN_EXE_ebb")).env("EBB_ROOT", ebb.store());
    let answer = answer(&mut command);
    assert_eq!(answer.stdout, "tried\ntried\n", "{}", answer.shown());
}

/// `--pid container:X` shares X's user namespace, too, and so X may enter whoever is beside it.
#[test]
fn a_container_that_may_mount_takes_no_flag_off_the_mounts_of_one_beside_it() {
    if !is_root() {
        return; // It takes root to be beside another.
    }
    let ebb = Ebb::new();
    let bind = format!("{}:/d:ro", ebb.dir.join("d").display());
    std::fs::create_dir(ebb.dir.join("d")).expect("a directory");
    ebb.ok([
        "run",
        "-d",
        "--name",
        "box",
        "--cap-add",
        "SYS_ADMIN",
        "--cap-add",
        "SYS_PTRACE",
        "busybox",
        "sleep",
        "1000",
    ]);
    ebb.ok(["run", "-d", "--name", "beside", "--pid", "container:box", "-v", &bind, "busybox", "sleep", "1000"]);
    let enter = "for pid in /proc/[0-9]*; do
            nsenter -t ${pid#/proc/} -m sh -c 'test -d /d && echo entered; mount -o remount,bind,rw /d; : > /d/made' 2>/dev/null
        done; true";
    let said = ebb.ok(["exec", "box", "sh", "-c", enter]);
    assert!(said.contains("entered"), "nobody was entered, and nothing is shown: {said:?}");
    assert!(!ebb.dir.join("d/made").exists());
    for name in ["beside", "box"] {
        ebb.ok(["rm", "-f", name]);
    }
}
