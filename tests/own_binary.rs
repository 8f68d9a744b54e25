//! No container writes to the program that started it, or to the one that an upgrade has put in its place (CVE-2019-5736):
//! not where its root owns that file either.

mod common;

use common::bundle::Bundle;
use common::{Ebb, is_root, tracer};
use std::io::ErrorKind::ExecutableFileBusy;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// An installation of the test's own: a file that belongs to who runs the test, as ~/.cargo/bin/ebb does.
fn installed(ebb: &Ebb, name: &str) -> PathBuf {
    let path = ebb.dir.join(name);
    std::fs::copy(env!("CARGO_BIN_EXE_ebb"), &path).expect("a copy");
    // A child that another test has just forked holds it open for writing until its own execve.
    let is_busy = || Command::new(&path).arg("version").output().is_err_and(|error| error.kind() == ExecutableFileBusy);
    while is_busy() {}
    path
}

fn run(ebb: &Ebb, binary: &Path, words: &[&str]) -> common::Answer {
    common::answer(Command::new(binary).args(words).env("EBB_ROOT", ebb.store()).current_dir(&ebb.dir))
}

/// An image whose `/entry` has the kernel execute, inside, whoever executes it.
fn selfish(ebb: &Ebb) {
    common::image_with(ebb, "selfish", &[], |builder| {
        let script = b"#!/proc/self/exe\n";
        let mut header = tar::Header::new_gnu();
        header.set_size(script.len() as u64);
        header.set_mode(0o755);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        builder.append_data(&mut header, "entry", &script[..]).expect("written");
    });
}

/// Holds open the first program that is neither its own nor hidden from it, and writes to it when it may go. (Without
/// `command`, a shell ends when what it should open is hidden.)
const ATTACKER: &str = "
    while :; do for p in /proc/[0-9]*; do
        if [ -e $p/exe ] && ! [ $p/exe -ef /proc/1/exe ]; then command exec 9<$p/exe && echo caught >/s/caught && break 2; fi
    done 2>/dev/null; done
    while ! [ -e /s/go ]; do :; done
    { echo pwned >/proc/self/fd/9; } 2>/s/said
    echo $? >/s/done; exec sleep 1000";

#[test]
fn a_container_cannot_write_to_the_binary_that_an_upgrade_has_put_in_place() {
    let ebb = Ebb::new();
    selfish(&ebb);
    let kinds: &[&[&str]] =
        if is_root() { &[&["--network", "host"], &["--userns", "host"], &["--privileged"]] } else { &[&[]] };
    for (number, options) in kinds.iter().enumerate() {
        let (name, vase) = (format!("box{number}"), format!("vase{number}:/s"));
        let binary = installed(&ebb, "ebb");
        let start =
            [&["run", "-d", "--name", &name, "-v", &vase], *options, &["selfish", "sh", "-c", ATTACKER]].concat();
        let started = run(&ebb, &binary, &start);
        assert_eq!(started.code, 0, "{}", started.shown());
        std::fs::rename(installed(&ebb, "ebb.new"), &binary).expect("an upgrade");
        let before = std::fs::read(&binary).expect("the new one");

        let is_there = |file: &str| ebb.run(["exec", &name, "test", "-e", file]).code == 0;
        let mut exec = Command::new(&binary);
        exec.args(["exec", &name, "/entry"]).env("EBB_ROOT", ebb.store()).stderr(std::process::Stdio::null());
        // It stands still inside until it has been caught.
        tracer::watch_what_they_become(&mut exec, &mut |_| {
            while !is_there("/s/caught") {
                assert_eq!(ebb.inspect(&name, "{{.State.Status}}"), "running", "{options:?}: the attacker has ended");
            }
        });
        assert!(is_there("/s/caught"), "{options:?}: the program was not seen running inside");
        ebb.ok(["exec", &name, "touch", "/s/go"]);
        while !is_there("/s/done") {}
        assert!(std::fs::read(&binary).expect("it") == before, "{options:?}: it was overwritten");
        let said = ebb.ok(["exec", &name, "cat", "/s/said"]);
        assert!(said.contains("Read-only file system"), "{options:?}: {said}");
        ebb.ok(["rm", "-f", "-v", &name]);
    }
}

/// The link of the supervisor's own program, which starts health probes and the next lives, and of one that has entered.
#[test]
fn who_stays_with_a_container_runs_from_where_nobody_can_write() {
    let ebb = Ebb::new();
    let binary = installed(&ebb, "ebb");
    let options: &[&str] = if is_root() { &["--userns", "host"] } else { &[] };
    for words in [&["run", "-d", "--name", "box"][..], &["run", "-d", "--init", "--name", "init"]] {
        let started = run(&ebb, &binary, &[words, options, &["busybox", "sleep", "1000"]].concat());
        assert_eq!(started.code, 0, "{}", started.shown());
    }
    for command in [&["restart", "-t", "0", "box"][..], &["start", "box"]] {
        run(&ebb, &binary, &["kill", "box"]);
        let again = run(&ebb, &binary, command);
        assert_eq!(again.code, 0, "{}", again.shown());
        assert_eq!(supervisors_link(&ebb, "box"), Path::new("/"), "a mount that is attached nowhere");
    }
    // With --init our own program is the container's first.
    assert_eq!(ebb.ok(["exec", "init", "sh", "-c", "echo x 2>/dev/null >/proc/1/exe || echo refused"]), "refused");
}

/// Where there is no path to the program's file, there is nothing to mount: then it runs from a copy that nobody can change.
#[test]
fn a_binary_without_a_name_runs_from_a_sealed_copy() {
    let ebb = Ebb::new();
    let path = installed(&ebb, "ebb");
    let open = std::fs::File::open(&path).expect("it");
    std::fs::remove_file(path).expect("removed");
    let options: &[&str] = if is_root() { &["--userns", "host"] } else { &[] };
    let nameless = PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), open.as_raw_fd()));
    let words = [&["run", "-d", "--name", "box"], options, &["busybox", "sleep", "1000"]].concat();
    let started = run(&ebb, &nameless, &words);
    assert_eq!(started.code, 0, "{}", started.shown());
    let link = supervisors_link(&ebb, "box");
    assert!(link.to_string_lossy().starts_with("/memfd:ebb"), "{}", link.display());
}

/// What is root's already is executed once: the usual case pays nothing.
#[test]
fn a_binary_that_no_container_owns_runs_as_it_is() {
    let ebb = Ebb::new();
    let binary = Path::new(env!("CARGO_BIN_EXE_ebb"));
    let is_roots = std::fs::metadata(binary).expect("the binary").uid() == 0;
    ebb.ok(["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
    // Where whoever runs the tests has built it themselves, it is one of those that are kept out of reach.
    assert_eq!(supervisors_link(&ebb, "box") == binary.canonicalize().expect("it"), is_roots);
}

/// The caller's umask, words and environment are the same after the second execve as before it.
#[test]
fn nobody_sees_that_the_program_has_executed_itself_again() {
    let ebb = Ebb::new();
    let binary = installed(&ebb, "ebb");
    let options = if is_root() { "--userns host" } else { "" };
    let script =
        format!("umask 027; exec {} run --rm {options} --cidfile cid -e A -e B='x y' busybox env", binary.display());
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).env("A", "of the caller's").env("EBB_ROOT", ebb.store()).current_dir(&ebb.dir);
    let answer = common::answer(&mut shell);
    assert_eq!(answer.code, 0, "{}", answer.shown());
    assert!(answer.stdout.contains("A=of the caller's\n") && answer.stdout.contains("B=x y\n"), "{}", answer.shown());
    assert!(!answer.stdout.contains("EBB_BINARY"), "{}", answer.shown());
    assert_eq!(std::fs::metadata(ebb.dir.join("cid")).expect("written").mode() & 0o777, 0o640);
    // What can be read but once is read by who goes on.
    let waits = ["run -d --name box", options, "busybox sleep 1000"].join(" ");
    ebb.ok(waits.split_whitespace());
    for words in
        [format!("run --rm {options} --env-file /dev/stdin busybox env"), "exec --env-file /dev/stdin box env".into()]
    {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("echo ONCE=read | {} {words}", binary.display())]).env("EBB_ROOT", ebb.store());
        let answer = common::answer(&mut shell);
        assert!(answer.code == 0 && answer.stdout.contains("ONCE=read"), "{}", answer.shown());
    }
}

/// A created container's first process is our program until it is started. (The bundle of root's has no user namespace.)
#[test]
fn what_waits_in_a_bundles_container_runs_from_where_nobody_can_write() {
    let ebb = Ebb::empty();
    let binary = installed(&ebb, "ebb");
    let bundle = Bundle::new(&["sleep", "1000"]);
    bundle.oci();
    let oci = |words: &[&str]| {
        let output = std::fs::File::create(bundle.dir.join("said")).expect("a file");
        let mut command = Command::new(&binary);
        command.arg("oci").arg("--root").arg(bundle.root()).args(words).current_dir(&bundle.dir);
        assert!(command.stdout(output).status().expect("it starts").success(), "{words:?}");
    };
    oci(&["create", "c1"]);
    let pid = bundle.state("c1")["pid"].to_string();
    // Hidden from who is not root, as it is from the container.
    match std::fs::read_link(format!("/proc/{pid}/exe")) {
        Ok(link) => assert_eq!(link, Path::new("/"), "a mount that is attached nowhere"),
        Err(error) => assert!(!is_root(), "{error}"),
    }
    oci(&["start", "c1"]);
    oci(&["exec", "c1", "true"]);
    bundle.ok(&["delete", "-f", "c1"]);
}

fn supervisors_link(ebb: &Ebb, name: &str) -> PathBuf {
    let init = ebb.inspect(name, "{{.State.Pid}}");
    let mut status = String::new();
    let mut file = std::fs::File::open(format!("/proc/{init}/status")).expect("it runs");
    file.read_to_string(&mut status).expect("procfs");
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).expect("a parent");
    std::fs::read_link(format!("/proc/{}/exe", parent.trim())).expect("its program")
}
