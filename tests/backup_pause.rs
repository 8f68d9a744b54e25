//! `volume export --pause`: the containers that use the volume stand still while it is copied, and go on afterwards,
//! whatever becomes of the command.

mod common;

use common::strace::stopped_at;
use common::terminal::Terminal;
use common::{Ebb, is_root};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Stdio};

const ANSWERS: &str = "trap 'echo alive' USR1; echo up; while :; do sleep 0.05; done";

/// A container `web` that answers SIGUSR1 with a line, and a volume `vase` with more in it than a pipe holds.
fn with_web() -> Ebb {
    let ebb = Ebb::new();
    // By another container, once: after a restart it would be written anew, and be empty for a moment.
    let fill = "dd if=/dev/zero of=/data/big bs=1M count=4 2>/dev/null";
    ebb.ok(["run", "--rm", "--network", "none", "-v", "vase:/data", "busybox", "sh", "-c", fill]);
    ebb.ok(["run", "-d", "--name", "web", "-v", "vase:/data", "busybox", "sh", "-c", ANSWERS]);
    ebb.await_line("web", "up");
    ebb
}

/// An export that has begun to write, and now waits for who reads it.
fn half_done(ebb: &Ebb) -> (Child, ChildStdout) {
    let mut export = ebb.spawn(["volume", "export", "--pause", "vase"]);
    let mut stdout = export.stdout.take().expect("a pipe");
    let mut first = [0];
    let read = stdout.read(&mut first).expect("read");
    if read == 0 {
        let output = export.wait_with_output().expect("ended");
        panic!("{}", String::from_utf8_lossy(&output.stderr));
    }
    (export, stdout)
}

fn finish(export: Child, mut stdout: ChildStdout) -> (Option<i32>, String) {
    let mut rest = Vec::new();
    stdout.read_to_end(&mut rest).expect("read");
    let output = export.wait_with_output().expect("ended");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// The letters of the states of the container's processes: its first one and that one's children.
fn letters(ebb: &Ebb, container: &str) -> Vec<char> {
    let pid = ebb.inspect(container, "{{.State.Pid}}");
    let stat = |pid: &str| std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let all = std::fs::read_dir("/proc").expect("procfs").flatten();
    let mut found = Vec::new();
    for entry in all {
        let name = entry.file_name().to_string_lossy().into_owned();
        let text = stat(&name);
        let Some((_, rest)) = text.rsplit_once(") ") else { continue };
        let fields: Vec<&str> = rest.split(' ').collect();
        if name == pid || fields[1] == pid {
            found.extend(fields[0].chars());
        }
    }
    found
}

fn assert_still(ebb: &Ebb, container: &str) {
    match ebb.inspect(container, "{{.State.Status}}").as_str() {
        "paused" => {}
        // Without a cgroup its processes are stopped one by one.
        _ => {
            let letters = letters(ebb, container);
            assert!(!is_root() && letters.iter().all(|letter| matches!(letter, 'T' | 'Z')), "{letters:?}");
        }
    }
}

/// Blocks until the container does something again.
fn await_life(ebb: &Ebb, container: &str) {
    ebb.ok(["kill", "-s", "USR1", container]);
    ebb.await_line(container, "alive");
    assert_eq!(ebb.inspect(container, "{{.State.Status}}"), "running");
}

#[test]
fn a_container_stands_still_while_its_volume_is_copied_and_goes_on_afterwards() {
    let ebb = with_web();
    let (export, stdout) = half_done(&ebb);
    assert_still(&ebb, "web");
    let (code, said) = finish(export, stdout);
    assert!(code == Some(0) && said.starts_with("sha256:") && said.lines().count() == 1, "{said}");
    await_life(&ebb, "web");
    assert_eq!(std::fs::read_dir(ebb.store().join("tmp")).expect("tmp/").count(), 0);
}

#[test]
fn it_stands_still_for_a_clone_as_well() {
    let ebb = with_web();
    let mut command = ebb.command();
    command.args(["--step", "volume", "clone", "--pause", "vase", "copy"]);
    let mut cloning = Terminal::start(&command);
    while !cloning.shows("⏎").contains("it is whole now") {
        cloning.types("\n");
    }
    assert_still(&ebb, "web");
    cloning.types(&"\n".repeat(100));
    assert_eq!(cloning.ends(), 0);
    await_life(&ebb, "web");
}

#[test]
fn a_command_that_is_killed_leaves_no_container_frozen() {
    let ebb = with_web();
    for signal in [libc::SIGKILL, libc::SIGINT, libc::SIGTERM] {
        let (mut export, stdout) = half_done(&ebb);
        assert_still(&ebb, "web");
        send(export.id(), signal);
        export.wait().expect("ended");
        drop(stdout);
        await_life(&ebb, "web");
        ebb.ok(["restart", "-t", "0", "web"]);
    }
}

fn send(pid: u32, signal: i32) {
    let signal = nix::sys::signal::Signal::try_from(signal).expect("a signal");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid as i32), signal).expect("sent");
}

#[test]
fn where_its_freezer_is_killed_with_it_the_next_command_lets_them_go_on() {
    let ebb = with_web();
    let (mut export, stdout) = half_done(&ebb);
    let own = export.id().to_string();
    let all = std::fs::read_dir("/proc").expect("procfs").flatten();
    let pids: Vec<u32> = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    let child = |pid: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.split(' ').nth(1) == Some(&own))
    };
    // Stopped first, it cannot notice the end of any of them.
    send(export.id(), libc::SIGSTOP);
    for pid in pids.into_iter().filter(child) {
        send(pid, libc::SIGKILL);
    }
    send(export.id(), libc::SIGKILL);
    export.wait().expect("ended");
    drop(stdout);
    // They are nobody's children here who would be waited for; their end lets go of the list's lock, which this waits for.
    assert_eq!(ebb.leftovers().len(), 1);
    assert_still(&ebb, "web");
    let tar = [0; 1024];
    assert_eq!(ebb.run_with(&tar, ["volume", "import", "other"]).code, 0);
    await_life(&ebb, "web");
}

#[test]
fn a_container_that_starts_meanwhile_spoils_the_copy_and_that_is_said() {
    let ebb = with_web();
    let (export, stdout) = half_done(&ebb);
    ebb.ok(["run", "--rm", "--network", "none", "-v", "vase:/data", "busybox", "true"]);
    ebb.ok(["run", "-d", "--name", "late", "-v", "vase:/data", "busybox", "sleep", "1000"]);
    let (code, said) = finish(export, stdout);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("container late was started or unpaused meanwhile\n  what was copied may be torn"), "{said}");
    await_life(&ebb, "web");
}

#[test]
fn one_that_was_paused_before_stays_paused() {
    let ebb = with_web();
    let paused = ebb.run(["pause", "web"]);
    if paused.code != 0 {
        // Without a cgroup there is no pause; then only that a stopped process is not let to go on.
        assert!(paused.stderr.contains("only a cgroup can be frozen"), "{}", paused.shown());
        let pid: u32 = ebb.inspect("web", "{{.State.Pid}}").parse().expect("a pid");
        send(pid, libc::SIGSTOP);
        let stat = || std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it lives");
        // It stops when it next gets a processor.
        while !stat().contains(") T ") {
            std::thread::yield_now();
        }
        ebb.ok(["volume", "export", "--pause", "-o", "v.tar", "vase"]);
        assert!(stat().contains(") T "), "{}", stat());
        send(pid, libc::SIGCONT);
        return await_life(&ebb, "web");
    }
    ebb.ok(["volume", "export", "--pause", "-o", "v.tar", "vase"]);
    assert_eq!(ebb.inspect("web", "{{.State.Status}}"), "paused");
    ebb.ok(["unpause", "web"]);
    await_life(&ebb, "web");
}

/// Unpaused and paused again, it would look as if it had stood still all the time.
#[test]
fn nobody_unpauses_a_container_while_its_volume_is_copied() {
    let ebb = with_web();
    for by_hand in [false, true] {
        if by_hand && ebb.run(["pause", "web"]).code != 0 {
            // Without a cgroup there is neither.
            continue;
        }
        let (export, stdout) = half_done(&ebb);
        let unpaused = ebb.run(["unpause", "web"]);
        let why = match ebb.inspect("web", "{{.State.Status}}").as_str() {
            "paused" if by_hand => {
                "container web stands still while its volume is copied\n  unpause it when that is done"
            }
            "paused" => "container web stands still while its volume is copied\n  it goes on by itself",
            _ => "is not paused",
        };
        assert!(unpaused.code == 1 && unpaused.stderr.contains(why), "{}", unpaused.shown());
        let (code, said) = finish(export, stdout);
        assert_eq!(code, Some(0), "{said}");
        if by_hand {
            assert_eq!(ebb.inspect("web", "{{.State.Status}}"), "paused");
            ebb.ok(["unpause", "web"]);
        }
        await_life(&ebb, "web");
    }
    assert_eq!(ebb.leftovers(), Vec::<String>::new());
}

/// Between the look whether a copy is made and the going on, one may begin: it would take a container that goes on for one
/// that stands still, and so it has to wait.
#[test]
fn a_copy_that_begins_while_somebody_unpauses_takes_the_container_for_one_that_runs() {
    if !is_root() {
        // Without root no container of cgroup version 1 is paused, and newuidmap(1) is not setuid under a tracer.
        return;
    }
    let ebb = with_web();
    ebb.ok(["pause", "web"]);
    let setting = freezer_of(&ebb, "web");
    let mut export = None;
    // Its state is read once; then it is opened to be written to.
    let unpaused = stopped_at(&ebb, ("openat", 2), &setting, &["unpause", "web"], &mut || {
        let mut strace = std::process::Command::new("strace");
        strace.args([
            "-y",
            "-s",
            "0",
            "-e",
            "trace=flock,write,splice,sendfile",
            "-e",
            "signal=none",
            env!("CARGO_BIN_EXE_ebb"),
        ]);
        strace.args(["volume", "export", "--pause", "vase"]).env("EBB_ROOT", ebb.store());
        let mut begun = strace.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("strace starts");
        // It waits for its turn; or it has announced itself already, and begins to copy.
        let (mut told, mut part) = (String::new(), [0; 512]);
        while !told.contains("/tmp>, LOCK_EX") && !told.contains("<pipe:[") {
            let length = begun.stderr.as_mut().expect("a pipe").read(&mut part).expect("read");
            assert!(length > 0, "{told}");
            told.push_str(&String::from_utf8_lossy(&part[..length]));
        }
        export = Some(begun);
    });
    assert_eq!(unpaused.code, 0, "{}", unpaused.shown());
    let mut export = export.expect("it was stopped in between");
    let mut stdout = export.stdout.take().expect("a pipe");
    stdout.read_exact(&mut [0]).expect("it has begun to write");
    assert_eq!(ebb.inspect("web", "{{.State.Status}}"), "paused");
    let (code, said) = finish(export, stdout);
    assert_eq!(code, Some(0), "{said}");
    await_life(&ebb, "web");
}

/// The file in which a container's cgroup says whether it is frozen.
fn freezer_of(ebb: &Ebb, container: &str) -> PathBuf {
    let pid = ebb.inspect(container, "{{.State.Pid}}");
    let cgroups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("procfs");
    let in_freezer = cgroups.lines().find_map(|line| line.split_once(":freezer:/"));
    match in_freezer {
        Some((_, below)) => Path::new("/sys/fs/cgroup/freezer").join(below).join("freezer.state"),
        None => {
            let below = cgroups.lines().find_map(|line| line.strip_prefix("0::/")).expect("a cgroup");
            Path::new("/sys/fs/cgroup").join(below).join("cgroup.freeze")
        }
    }
}

#[test]
fn a_copy_made_in_a_pause_is_of_one_moment() {
    let ebb = Ebb::new();
    let script = "echo 0 > /data/a; echo 0 > /data/b; echo up; n=0
        while :; do n=$((n+1)); echo $n > /data/a.new; mv /data/a.new /data/a; echo $n > /data/b.new; mv /data/b.new /data/b; done";
    ebb.ok(["run", "-d", "--name", "counts", "-v", "vase:/data", "busybox", "sh", "-c", script]);
    ebb.await_line("counts", "up");
    for _ in 0..20 {
        ebb.ok(["volume", "export", "--pause", "-o", "v.tar", "vase"]);
        let mut archive = tar::Archive::new(std::fs::File::open(ebb.dir.join("v.tar")).expect("it"));
        let mut numbers = Vec::new();
        for entry in archive.entries().expect("a tar") {
            let mut entry = entry.expect("whole");
            if matches!(&*entry.path_bytes(), b"./a" | b"./b") {
                let mut text = String::new();
                entry.read_to_string(&mut text).expect("read");
                numbers.push(text.trim().parse::<u64>().expect("a number"));
            }
        }
        assert!(numbers.len() == 2 && numbers[0] - numbers[1] <= 1, "{numbers:?}");
    }
}

/// `--pid host` in mounts where no cgroup can be made: nothing tells its processes from the host's.
#[test]
fn one_whose_processes_cannot_be_told_is_not_paused_and_nothing_is_made() {
    let ebb = Ebb::new();
    let run = ["run", "-d", "--name", "web", "--pid", "host", "-v", "vase:/data", "busybox", "sh", "-c", ANSWERS];
    if !is_root() {
        let said = ebb.fails(125, run);
        assert!(said.starts_with("ebb: --pid host takes root: "), "{said}");
        assert_eq!((ebb.ok(["ps", "-aq"]), ebb.ok(["volume", "ls", "-q"])), ("".into(), "".into()));
        return;
    }
    let mut apart = std::process::Command::new("unshare");
    apart.args(["-m", "sh", "-ec", "mount -t tmpfs none /sys/fs/cgroup; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_ebb")]);
    let started = common::answer(apart.args(run).env("EBB_ROOT", ebb.store()));
    assert_eq!(started.code, 0, "{}", started.shown());
    ebb.await_line("web", "up");
    let export = ebb.run(["volume", "export", "--pause", "-o", "v.tar", "vase"]);
    let clone = ebb.run(["volume", "clone", "--pause", "vase", "copy"]);
    for answer in [&export, &clone] {
        assert_eq!((answer.code, answer.stdout.as_str()), (1, ""), "{}", answer.shown());
        assert_eq!(
            answer.stderr,
            "ebb: pause container web: it has no cgroup to freeze (it was started without one), and shares the host's pids, \
             so that its processes cannot be told\n  stop it, or copy without --pause\n"
        );
    }
    assert!(!ebb.dir.join("v.tar").exists());
    assert_eq!(ebb.ok(["volume", "ls", "-q"]), "vase");
    assert_eq!(std::fs::read_dir(ebb.store().join("tmp")).expect("tmp/").count(), 0);
    await_life(&ebb, "web");
    // As its message says.
    ebb.ok(["volume", "export", "-o", "v.tar", "vase"]);
    ebb.ok(["rm", "-f", "web"]);
    ebb.ok(["volume", "export", "--pause", "-o", "v.tar", "vase"]);
}

/// With a cgroup it is frozen as any other.
#[test]
fn one_that_shares_the_host_s_pids_is_paused_by_its_cgroup() {
    let ebb = Ebb::new();
    if !is_root() {
        // There is none: see above.
        return;
    }
    ebb.ok(["run", "-d", "--name", "web", "--pid", "host", "-v", "vase:/data", "busybox", "sh", "-c", ANSWERS]);
    ebb.await_line("web", "up");
    ebb.ok(["volume", "export", "--pause", "-o", "v.tar", "vase"]);
    ebb.ok(["volume", "clone", "--pause", "vase", "copy"]);
    await_life(&ebb, "web");
}
