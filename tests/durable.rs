//! What has been answered for is on the disk.

mod common;

use common::Ebb;
use common::hostile::Tar;
use std::path::{Path, PathBuf};
use std::process::Command;

/// containerd #9401, #9115, #5854, moby #49784, podman #8005: after a power cut what had been acknowledged was empty. The
/// cut itself is tests/power; here, that nothing is answered while something that was made, named or taken away still
/// waits for its way to the disk.
#[test]
fn containerd_9401_the_disk_has_it_before_the_answer_is_given() {
    if Command::new("strace").arg("-V").output().is_err() {
        return common::skip("strace is not installed");
    }
    let ebb = Ebb::new();
    let archive = common::busybox_archive().to_str().expect("UTF-8");
    for words in [
        &["volume", "create", "vase"][..],
        &["create", "--name", "box", "-v", "vase:/etc", "busybox", "true"],
        &["rename", "box", "cube"],
        &["rm", "cube"],
        &["volume", "rm", "vase"],
        &["tag", "busybox", "other"],
        &["rmi", "busybox", "other"],
        &["image", "load", "-i", archive],
    ] {
        let trace = ebb.dir.join("trace");
        let mut command = Command::new("strace");
        let calls = "mkdir,rename,renameat,renameat2,symlink,symlinkat,openat,fsync,fdatasync,syncfs,write";
        command.args(["-qq", "-y", "-e", "signal=none", "-e", &format!("trace={calls}"), "-o"]).arg(&trace);
        command.arg(env!("CARGO_BIN_EXE_ebb")).args(words).env("EBB_ROOT", ebb.store()).current_dir(&ebb.dir);
        let answer = common::answer(&mut command);
        assert_eq!(answer.code, 0, "{}", answer.shown());
        let lines = std::fs::read_to_string(&trace).expect("a trace");
        assert!(lines.lines().any(|line| line.starts_with("rename")), "{words:?} renames nothing:\n{lines}");
        assert_eq!(unsynced(&lines, &ebb.store()), Vec::<String>::new(), "{words:?} answered before this:\n{lines}");
    }
}

/// A disk's error is told once to each descriptor that was open when it happened. One that is opened only to be synced hears
/// of none that another process's sync has been told of meanwhile, and what was lost would be acknowledged.
#[test]
fn what_is_synced_at_the_end_was_open_before_anything_was_written() {
    if Command::new("strace").arg("-V").output().is_err() {
        return common::skip("strace is not installed");
    }
    let ebb = Ebb::empty();
    std::fs::write(ebb.dir.join("new.tar"), Tar::default().file("a", "a").end()).expect("a file");
    let archive = common::busybox_archive().to_str().expect("UTF-8");
    for words in [
        &["image", "load", "-i", archive][..],
        &["volume", "import", "vase", "new.tar"],
        &["volume", "clone", "vase", "copy"],
        &["create", "-v", "filled:/etc", "busybox", "true"],
    ] {
        let trace = ebb.dir.join("trace");
        let mut command = Command::new("strace");
        let calls = "trace=openat,openat2,fork,clone,clone3,syncfs";
        command.args(["-qq", "-y", "-e", "signal=none", "-e", calls, "-o"]).arg(&trace);
        command.arg(env!("CARGO_BIN_EXE_ebb")).args(words).env("EBB_ROOT", ebb.store()).current_dir(&ebb.dir);
        let answer = common::answer(&mut command);
        assert_eq!(answer.code, 0, "{}", answer.shown());
        let lines = std::fs::read_to_string(&trace).expect("a trace");
        let lines: Vec<&str> = lines.lines().collect();
        let synced = lines.iter().position(|line| line.starts_with("syncfs(")).expect("a sync");
        // `3</the/path>`, the same where it is opened and where it is synced.
        let descriptor = lines[synced].split(['(', ')']).nth(1).expect("an argument");
        let opened = lines[..synced].iter().rposition(|line| line.ends_with(&format!(" = {descriptor}")));
        let before = |wanted: &dyn Fn(&str) -> bool| lines[..synced].iter().position(|line| wanted(line));
        let contents = before(&|line| line.contains("O_CREAT|O_EXCL|O_NOFOLLOW"));
        // Where it is not this process that writes them, it is a child of it.
        let child = lines[..synced].iter().rposition(|line| line.starts_with("clone") || line.starts_with("fork"));
        let record = before(&|line| line.contains("O_CREAT|O_EXCL"));
        let written = contents.or(child).or(record).expect("something is written");
        assert!(opened.is_some_and(|opened| opened < written), "{words:?}: {}\n{}", lines[synced], lines[written]);
    }
}

/// Else whoever waits for the answer waits for all of it at the end.
#[test]
fn what_is_large_begins_to_reach_the_disk_before_all_of_it_is_there() {
    let ebb = Ebb::empty();
    let tar = (0..2500).fold(Tar::default(), |tar, number| tar.file(&format!("f{number}"), "x"));
    std::fs::write(ebb.dir.join("large.tar"), tar.end()).expect("a file");
    std::fs::write(ebb.dir.join("small.tar"), Tar::default().file("f", "x").end()).expect("a file");
    let (early, last) = ("syncs what is there so far", "what is acknowledged has reached the disk");
    let told = ebb.run(["--explain", "volume", "import", "vase", "large.tar"]);
    assert_eq!(told.code, 0, "{}", told.shown());
    let (early_at, last_at) = (told.stderr.find(early), told.stderr.find(last));
    assert!(early_at.is_some_and(|early| last_at.is_some_and(|last| early < last)), "{}", told.shown());
    let told = ebb.run(["--explain", "volume", "clone", "vase", "copy"]);
    assert!(told.code == 0 && told.stderr.contains(early), "{}", told.shown());
    let told = ebb.run(["--explain", "volume", "import", "vase", "small.tar"]);
    assert!(told.code == 0 && !told.stderr.contains(early), "a process more for nothing: {}", told.shown());
}

/// The renames into and out of the store's own places that no sync followed before the first write to stdout.
fn unsynced(trace: &str, store: &Path) -> Vec<String> {
    let mut waiting: Vec<String> = Vec::new();
    for line in trace.lines() {
        if line.starts_with("write(1<") {
            break;
        }
        if line.starts_with("syncfs(") {
            waiting.clear();
        } else if line.starts_with("fsync(") || line.starts_with("fdatasync(") {
            let synced = line.split(['<', '>']).nth(1).unwrap_or_default();
            waiting.retain(|directory| directory != synced);
        } else if line.starts_with("rename") && !line.contains("= -1") {
            let mut paths = line.split('"').skip(1).step_by(2).map(PathBuf::from);
            let (from, to) = (paths.next().expect("two paths"), paths.next().expect("two paths"));
            for path in [from, to] {
                let parent = path.parent().expect("a parent").to_owned();
                let passing = ["tmp", "trash"].iter().any(|place| parent.starts_with(store.join(place)));
                if parent.starts_with(store) && !passing && !waiting.contains(&parent.display().to_string()) {
                    waiting.push(parent.display().to_string());
                }
            }
        }
    }
    waiting
}
