//! A container can make a tree that is deeper than we may hold descriptors open, and whose paths fit into no call. It is
//! copied, packed, unpacked, counted and removed as any other.

mod common;

use common::hostile::Tar;
use common::{Answer, Ebb};
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, mkdirat};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::Command;

const DEPTH: usize = 1500;
const DIRECTORY: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);

fn data(ebb: &Ebb, volume: &str) -> OwnedFd {
    let path = PathBuf::from(ebb.ok(["volume", "inspect", "-f", "{{.Mountpoint}}", volume]));
    std::fs::File::open(path).expect("the volume").into()
}

fn file(directory: &OwnedFd, name: &str, flags: OFlag) -> std::fs::File {
    openat(directory, name, flags | OFlag::O_CLOEXEC, Mode::from_bits_truncate(0o644)).expect("a file").into()
}

/// A volume `deep`: in each directory a file, an empty directory, and the next one; in the last one a file with a second
/// name. One that a container makes is no other.
fn with_deep() -> Ebb {
    let ebb = Ebb::empty();
    ebb.ok(["volume", "create", "deep"]);
    deepen(data(&ebb, "deep"));
    ebb
}

fn deepen(mut here: OwnedFd) {
    for depth in 0..DEPTH {
        write!(file(&here, "note", OFlag::O_CREAT | OFlag::O_WRONLY), "{depth}").expect("written");
        for name in ["aside", "further", "zero"] {
            // Whoever they are given to, the test can look into them.
            mkdirat(here.as_fd(), name, Mode::from_bits_truncate(0o755)).expect("a directory");
        }
        here = openat(&here, "further", DIRECTORY, Mode::empty()).expect("a directory");
    }
    write!(file(&here, "bottom", OFlag::O_CREAT | OFlag::O_WRONLY), "reached").expect("written");
    nix::unistd::linkat(&here, "bottom", &here, "again", nix::unistd::LinkatFlags::empty()).expect("a link");
}

fn assert_whole(ebb: &Ebb, volume: &str) {
    let mut here = data(ebb, volume);
    let text = |mut file: std::fs::File| {
        let mut text = String::new();
        file.read_to_string(&mut text).expect("read");
        text
    };
    for depth in 0..DEPTH {
        assert_eq!(text(file(&here, "note", OFlag::O_RDONLY)), depth.to_string(), "{volume}");
        openat(&here, "zero", DIRECTORY, Mode::empty()).expect("the one aside");
        here = openat(&here, "further", DIRECTORY, Mode::empty()).expect("the next");
    }
    assert_eq!(text(file(&here, "again", OFlag::O_RDONLY)), "reached", "{volume}");
    let inode = |name: &str| nix::sys::stat::fstat(file(&here, name, OFlag::O_RDONLY)).expect("it").st_ino;
    assert_eq!(inode("again"), inode("bottom"), "{volume}");
}

/// Ebb with so few descriptors that one for each directory is too much.
fn with_few(ebb: &Ebb, descriptors: usize, words: &[&str]) -> Answer {
    let mut shell = Command::new("sh");
    let script = format!("ulimit -n {descriptors}; exec \"$@\"");
    shell.args(["-c", &script, "sh", env!("CARGO_BIN_EXE_ebb")]).args(words);
    common::answer(shell.env("EBB_ROOT", ebb.store()).current_dir(&ebb.dir))
}

fn ok(ebb: &Ebb, words: &[&str]) -> String {
    let answer = with_few(ebb, 1024, words);
    assert_eq!(answer.code, 0, "{}", answer.shown().chars().take(2000).collect::<String>());
    answer.stdout
}

#[test]
fn a_deep_tree_is_cloned_exported_imported_counted_and_removed_with_few_descriptors() {
    let ebb = with_deep();
    ok(&ebb, &["volume", "clone", "deep", "copy"]);
    assert_whole(&ebb, "copy");
    ok(&ebb, &["volume", "export", "-o", "deep.tar", "deep"]);
    ok(&ebb, &["volume", "import", "back", "deep.tar"]);
    assert_whole(&ebb, "back");
    let files = ok(&ebb, &["volume", "inspect", "--size", "-f", "{{.UsageData.Size}}", "deep"]);
    let numbers: usize = (0..DEPTH).map(|depth| depth.to_string().len()).sum();
    assert_eq!(files.trim(), (numbers + "reached".len()).to_string(), "each file once");
    for volume in ["deep", "copy", "back"] {
        ok(&ebb, &["volume", "rm", "--now", volume]);
    }
    assert_eq!(ebb.leftovers(), Vec::<String>::new());
}

#[test]
fn every_file_of_a_deep_tree_is_given_to_the_containers_user() {
    if common::has_one_id() {
        // Who has one id has nobody to give a file to.
        return;
    }
    let ebb = with_deep();
    ebb.ok(["image", "load", "-q", "-i", common::busybox_archive().to_str().expect("UTF-8")]);
    let mine = nix::sys::stat::fstat(data(&ebb, "deep")).expect("it").st_uid;
    let given =
        with_few(&ebb, 1024, &["create", "--name", "box", "-u", "1000:1000", "-v", "deep:/v:U", "busybox", "true"]);
    assert_eq!(given.code, 0, "{}", given.shown().chars().take(2000).collect::<String>());
    // In each directory a file and three directories; the top, and the two names at the bottom.
    let files = format!("ebb: changed the owner of {} files in ", 4 * DEPTH + 3);
    assert!(given.stderr.contains(&files), "{}", given.shown());
    let owner = |fd: &OwnedFd| nix::sys::stat::fstat(fd).map(|stat| (stat.st_uid, stat.st_gid)).expect("it");
    let mut here = data(&ebb, "deep");
    let theirs = owner(&here);
    assert_ne!(theirs.0, mine);
    let path = |directory: &OwnedFd, name: &str| {
        openat(directory, name, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).expect("it is there")
    };
    for depth in 0..DEPTH {
        for name in ["note", "aside", "further", "zero"] {
            assert_eq!(owner(&path(&here, name)), theirs, "{name} at {depth}");
        }
        here = path(&here, "further");
    }
    assert_eq!(owner(&path(&here, "bottom")), theirs);
    ebb.ok(["rm", "box"]);
}

/// With so few descriptors nobody could do it.
#[test]
fn what_fails_deep_in_a_tree_is_said_once_and_not_for_each_directory_above() {
    let ebb = with_deep();
    let refused = with_few(&ebb, 80, &["volume", "clone", "deep", "copy"]);
    let said = &refused.stderr;
    assert!(refused.code == 1 && said.contains("too many open files"), "{}", refused.shown());
    assert!(said.len() < 1000 && said.matches("copy further").count() == 1, "{}", refused.shown());
    assert_eq!(ebb.ok(["volume", "ls", "-q"]), "deep");
    assert_eq!(ebb.leftovers(), Vec::<String>::new());
}

/// The time for it grows with the square of the length.
#[test]
fn a_path_in_an_archive_may_be_long_and_not_endless() {
    let ebb = Ebb::empty();
    let with_path = |depth: usize| {
        let path = format!("path={}f", "d/".repeat(depth));
        ebb.run_with(&Tar::default().pax(&[&path]).file("short", "f").end(), ["volume", "import", "vase"])
    };
    let refused = with_path(40_000);
    let said = &refused.stderr;
    assert!(refused.code == 1 && said.contains("it lies too deep: its path has 80001 bytes"), "{}", refused.shown());
    assert!(said.len() < 2000, "{}", said.len());
    let imported = with_path(30_000);
    assert_eq!(imported.code, 0, "{}", imported.stderr.len());
}

/// One container's directories are no reason not to measure the others.
#[test]
fn a_container_with_a_deep_tree_is_measured_and_so_are_all_others() {
    let ebb = Ebb::new();
    let id = ebb.ok(["create", "--name", "deep", "busybox"]);
    ebb.ok(["create", "--name", "other", "busybox"]);
    let upper = ebb.store().join("containers").join(id).join("upper");
    deepen(std::fs::File::open(upper).expect("its layer").into());
    let bytes: usize = (0..DEPTH).map(|depth| depth.to_string().len()).sum::<usize>() + "reached".len();
    assert_eq!(ok(&ebb, &["inspect", "-s", "-f", "{{.SizeRw}}", "deep"]).trim(), bytes.to_string());
    assert_eq!(ok(&ebb, &["ps", "-as", "--format", "{{.Names}}"]).lines().collect::<Vec<_>>(), ["other", "deep"]);
    ok(&ebb, &["system", "df"]);
    // What lies so deep that its path fits into no call is one line.
    let changes = ok(&ebb, &["diff", "deep"]);
    let (long, short): (Vec<&str>, Vec<&str>) = changes.lines().partition(|line| line.ends_with("/…"));
    assert_eq!((long.len(), short.iter().all(|line| line.starts_with("A /"))), (1, true), "{}", changes.len());
    assert!(short.len() > 4 * (4000 / "further/".len()), "{}", short.len());
    let foreseen = ok(&ebb, &["rm", "--dry-run", "deep"]);
    assert!(foreseen.contains("/further/note") && foreseen.contains("/…"), "{}", foreseen.len());
    ok(&ebb, &["rm", "deep", "other"]);
}

/// Deeper than a stack of 8 MiB has frames for, or than all of the paths would fit into the memory.
const ABYSS: usize = 20_000;

/// A container `box` whose layer has `depth` directories in one another, and in the last one a file of seven bytes.
fn with_deep_container(depth: usize) -> Ebb {
    let ebb = Ebb::empty();
    ebb.ok(["image", "load", "-q", "-i", common::busybox_archive().to_str().expect("UTF-8")]);
    let id = ebb.ok(["create", "--name", "box", "busybox", "true"]);
    let mut here: OwnedFd =
        std::fs::File::open(ebb.store().join("containers").join(id).join("upper")).expect("it").into();
    for _ in 0..depth {
        mkdirat(here.as_fd(), "d", Mode::from_bits_truncate(0o755)).expect("a directory");
        here = openat(&here, "d", DIRECTORY, Mode::empty()).expect("a directory");
    }
    write!(file(&here, "bottom", OFlag::O_CREAT | OFlag::O_WRONLY), "reached").expect("written");
    ebb
}

#[test]
fn diff_and_the_foresight_of_rm_have_an_end_however_deep_a_container_digs() {
    let ebb = with_deep_container(ABYSS);
    let told = ok(&ebb, &["diff", "box"]);
    let deepest = told.lines().max_by_key(|line| line.len()).expect("a line");
    assert!(deepest.ends_with("/d/…") && deepest.len() <= 4110, "{}", deepest.len());
    assert!(told.starts_with("A /d\nA /d/d\n") && told.lines().count() < 2100, "{}", told.lines().count());
    let foreseen = ok(&ebb, &["rm", "--dry-run", "--format", "{{.Bytes}}", "box"]);
    assert_eq!(foreseen, "7\n", "what lies below counts");
    ok(&ebb, &["rm", "box"]);
    assert_eq!(ebb.leftovers(), Vec::<String>::new());
}

#[test]
fn diff_tells_of_each_directory_of_a_tree_as_deep_as_a_path_may_be() {
    let ebb = with_deep_container(300);
    let told = ok(&ebb, &["diff", "box"]);
    assert_eq!(told.lines().count(), 301);
    assert!(told.ends_with("/d/d/bottom\n"));
}

#[test]
fn one_container_that_cannot_be_measured_is_no_reason_to_say_nothing_of_the_others() {
    let ebb = with_deep_container(3000);
    ebb.ok(["create", "--name", "other", "busybox", "true"]);
    // With so few descriptors nobody could do it.
    let listed = with_few(&ebb, 50, &["ps", "-as", "--format", "{{.Names}} {{.Size}}"]);
    assert!(listed.code == 0 && listed.stdout.contains("box N/A\n"), "{}", listed.shown());
    assert!(listed.stdout.contains("other 0B"), "{}", listed.shown());
    assert_eq!(listed.stderr.matches("measure the container box").count(), 1, "{}", listed.shown());
    let used = with_few(&ebb, 50, &["system", "df", "--format", "{{.Type}} {{.TotalCount}}"]);
    assert!(used.code == 0 && used.stdout.contains("Containers 2\n"), "{}", used.shown());
    assert!(used.stderr.contains("measure the container box"), "{}", used.shown());
    for words in [&["ps", "-as"][..], &["system", "df"]] {
        let measured = with_few(&ebb, 1024, words);
        assert!(measured.code == 0 && measured.stderr.is_empty(), "{}", measured.shown());
    }
}
