//! Ebb where it is itself confined: in a container, in a chroot, under no_new_privs. The error names the cause, and what can be
//! done without is done without.
//!
//! The places are made by unshare(1), chroot(1), setpriv(1) and mounts of the test's own, which nobody else sees.

mod common;

use common::{Answer, Ebb, answer, busybox_archive, has_one_id, is_root};
use std::process::{Command, Stdio};

/// Runs a shell script in a mount namespace of its own; `$EBB` is the program, `$ARCHIVE` an image.
fn among_mounts(ebb: &Ebb, script: &str) -> Answer {
    let mut shell = Command::new("timeout");
    shell.args(["60", "unshare", "--mount", "--propagation", "private", "sh", "-ec", script]);
    shell.env("EBB", env!("CARGO_BIN_EXE_ebb")).env("ARCHIVE", busybox_archive()).env_remove("EBB_ROOT");
    answer(shell.current_dir(&ebb.dir).stdin(Stdio::null()))
}

/// As a container's own files are: all of the directory `$1` is on an overlay.
const OVERLAY: &str = "overlay() { mkdir -p lower upper work \"$1\"; \
    mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work \"$1\"; }\n";

#[test]
fn a_store_on_an_overlay_is_told_of_with_the_cure() {
    if !is_root() {
        return;
    }
    let ebb = Ebb::empty();
    let script = "overlay place; export EBB_ROOT=$PWD/place/store; \"$EBB\" load -q -i \"$ARCHIVE\"; \"$EBB\" info; \
                  for option in private host; do \
                  \"$EBB\" run --rm $(test $option = private || echo --userns host) busybox true && exit 1; done; exit 0";
    let told = among_mounts(&ebb, &format!("{OVERLAY}{script}"));
    assert_eq!(told.code, 0, "{}", told.shown());
    assert_eq!(told.stderr.matches("lies on an overlay").count(), 3, "info, and each run: {}", told.shown());
    assert_eq!(told.stderr.matches("docker run -v ebb:/var/lib/ebb").count(), 3, "{}", told.shown());
    assert!(!told.stderr.contains("cannot translate ids"), "{}", told.shown());
}

#[test]
fn where_only_an_overlay_is_the_store_goes_into_memory_and_that_is_told_once() {
    if !is_root() {
        return;
    }
    let ebb = Ebb::empty();
    let script = "overlay /var/lib; mount -t tmpfs tmpfs /dev/shm; \"$EBB\" load -q -i \"$ARCHIVE\"; \
                  \"$EBB\" run --rm -v jar:/data busybox sh -c 'rm -r /root && mkdir /root && echo kept > /data/f'; \
                  \"$EBB\" run --rm -v jar:/data busybox cat /data/f; \"$EBB\" info; \
                  ls -d /dev/shm/ebb-0/volumes/jar; test ! -e /var/lib/ebb";
    let told = among_mounts(&ebb, &format!("{OVERLAY}{script}"));
    assert_eq!(told.code, 0, "{}", told.shown());
    assert!(told.stdout.contains("kept\n") && told.stdout.contains("Storage Root: /dev/shm/ebb-0"), "{}", told.shown());
    assert_eq!(told.stderr.matches("the store is in memory, at /dev/shm/ebb-0").count(), 1, "{}", told.shown());
    assert!(told.stderr.contains("WARNING: /dev/shm/ebb-0: what is in the store goes"), "{}", told.shown());
}

/// The kernel makes no user namespace there, and says no more than "operation not permitted".
#[test]
fn in_a_chroot_the_chroot_is_named() {
    if !is_root() {
        return;
    }
    let ebb = Ebb::empty();
    let script = "mkdir -p jail/proc jail/tmp jail/dev; cp \"$EBB\" jail/ebb; cp \"$ARCHIVE\" jail/image; \
                  mount -t proc proc jail/proc; export EBB_ROOT=/store; chroot jail /ebb load -q -i /image; \
                  chroot jail /ebb run --rm busybox true && exit 1; chroot jail /ebb info; exit 0";
    let told = among_mounts(&ebb, script);
    assert_eq!(told.code, 0, "{}", told.shown());
    assert_eq!(told.stderr.matches("ebb runs in a chroot").count(), 2, "run, and info: {}", told.shown());
    assert!(!told.stderr.contains("cannot translate ids"), "{}", told.shown());
}

/// The mounts of version 1 show a part of each tree, and /proc/PID/cgroup tells the way from the top of it.
#[test]
fn exec_finds_the_cgroup_where_the_hosts_cgroup_namespace_is_kept() {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("procfs");
    if !is_root() || !mounts.contains(" - cgroup ") {
        return;
    }
    let ebb = Ebb::new();
    let script = r#"
        part=ebb-part-$$
        all=$(awk '$(NF-2) == "cgroup" || $(NF-2) == "cgroup2" { print $5 }' /proc/self/mountinfo)
        away() {
            "$EBB" rm -f box
            for tree in $all; do
                ! umount $tree || find $tree/$part -depth -type d -exec rmdir {} \;
            done
        }
        export EBB_ROOT=$PWD/store
        trap away EXIT
        for tree in $all; do
            mkdir $tree/$part
            [ ! -e $tree/cpuset.cpus ] || for file in cpus mems; do
                cat $tree/cpuset.$file > $tree/$part/cpuset.$file
            done
            mount --bind $tree/$part $tree
        done
        "$EBB" run -d --name box --memory 64m busybox sleep 1000
        "$EBB" exec box true
        echo entered
        "$EBB" exec box cat /sys/fs/cgroup/memory/memory.limit_in_bytes
    "#;
    let told = among_mounts(&ebb, script);
    assert!(told.code == 0 && told.stdout.contains("entered\n67108864\n"), "{}", told.shown());
}

/// newuidmap(1) is setuid, and gains no rights there: the one id that everybody may map is left.
#[test]
fn where_newuidmap_gains_no_rights_a_container_has_one_id() {
    if is_root() || has_one_id() {
        return;
    }
    let ebb = Ebb::empty();
    let confined = |words: &[&str]| {
        let mut command = Command::new("setpriv");
        command.arg("--no-new-privs").arg(env!("CARGO_BIN_EXE_ebb")).args(words);
        answer(command.env("EBB_ROOT", ebb.store()).current_dir(&ebb.dir).stdin(Stdio::null()))
    };
    let archive = busybox_archive().to_str().expect("UTF-8");
    for words in [&["load", "-q", "-i", archive][..], &["run", "--rm", "busybox", "id"]] {
        let done = confined(words);
        assert_eq!(done.code, 0, "{}", done.shown());
    }
    let told = confined(&["info"]);
    assert!(told.stderr.contains("your subordinate ids cannot be used here"), "{}", told.shown());
    assert!(told.stderr.contains("no_new_privs") && !told.stderr.contains("usermod"), "{}", told.shown());
}
