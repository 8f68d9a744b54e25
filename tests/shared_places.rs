//! Where other users can write, too, nobody leads Ebb to a file that it should not touch: a store that others can write to
//! is refused, and no name that can be foreseen is written through.

mod common;

use common::{Answer, Ebb, is_root};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("a mode");
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).expect("the directory").map(|entry| entry.expect("an entry"));
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// A file that nobody may change, and what is in it.
fn victim(ebb: &Ebb) -> PathBuf {
    let path = ebb.dir.join("victim");
    std::fs::write(&path, "untouched").expect("a file");
    set_mode(&path, 0o600);
    path
}

fn assert_untouched(victim: &Path, answer: &Answer) {
    assert_eq!(std::fs::read_to_string(victim).expect("it is there"), "untouched", "{}", answer.shown());
}

/// Runs `ebb WORDS` after a link to `victim` was put at `PLACE.PID`, with the process id that ebb then has.
fn with_link_for_its_pid(ebb: &Ebb, victim: &Path, place: &str, words: &[&str]) -> Answer {
    let mut shell = Command::new("sh");
    // What it says goes into a file: a container that stays would keep a pipe open.
    let script = "ln -s \"$1\" \"$2.$$\"; shift 2; exec \"$0\" \"$@\" >output 2>&1";
    shell.args(["-c", script, env!("CARGO_BIN_EXE_ebb")]).arg(victim).arg(place).args(words);
    let mut answer =
        common::answer(shell.env("EBB_ROOT", ebb.store()).current_dir(&ebb.dir).stdin(std::process::Stdio::null()));
    answer.stdout = std::fs::read_to_string(ebb.dir.join("output")).expect("its output");
    answer
}

#[test]
fn a_store_that_others_can_write_to_is_refused_and_left_as_it_is() {
    let ebb = Ebb::empty();
    ebb.ok(["volume", "create", "vase"]);
    let store = ebb.store();
    let before = names_in(&store);
    for mode in [0o777, 0o770, 0o775, 0o707, 0o1777, 0o702] {
        set_mode(&store, mode);
        for words in [&["ps"][..], &["volume", "create", "another"], &["run", "--rm", "busybox"], &["system", "check"]]
        {
            let refused = ebb.run(words);
            let code = if words[0] == "run" { 125 } else { 1 };
            assert_eq!((refused.code, refused.stdout.as_str()), (code, ""), "{mode:o}: {}", refused.shown());
            let (wrong, cure) = (format!("other users can write to the store {}", store.display()), "chmod go-w");
            assert!(refused.stderr.contains(&wrong) && refused.stderr.contains(cure), "{}", refused.shown());
            assert!(refused.stderr.contains(&format!("{mode:04o}")), "{}", refused.shown());
        }
        assert_eq!(names_in(&store), before);
        assert_eq!(names_in(&store.join("volumes")), ["vase"]);
    }
    for mode in [0o700, 0o755, 0o711] {
        set_mode(&store, mode);
        assert_eq!(ebb.ok(["volume", "ls", "-q"]), "vase", "{mode:o}");
    }
}

/// The store's own directory is in order, and one in it is not.
#[test]
fn a_directory_of_the_store_that_others_can_write_to_is_refused_where_they_can_come_to_it() {
    let ebb = Ebb::empty();
    ebb.ok(["volume", "create", "vase"]);
    let store = ebb.store();
    for name in ["images", "containers", "names", "volumes", "trash", "tmp", "volume-trash"] {
        set_mode(&store, 0o755);
        set_mode(&store.join(name), 0o777);
        let refused = ebb.run(["volume", "ls"]);
        let shown = store.join(name).display().to_string();
        assert!(refused.code == 1 && refused.stderr.contains(&shown), "{name}: {}", refused.shown());
        assert!(refused.stderr.contains("chmod go-w"), "{}", refused.shown());
        // Nobody comes so far.
        set_mode(&store, 0o700);
        ebb.ok(["volume", "ls"]);
        set_mode(&store.join(name), 0o700);
    }
}

/// As another user would have it, who put a directory of theirs there while the store was open to all.
#[test]
fn a_directory_of_the_store_that_is_anothers_is_refused() {
    if !is_root() {
        return;
    }
    let ebb = Ebb::new();
    let victim = victim(&ebb);
    let images = ebb.store().join("images");
    std::fs::rename(&images, ebb.dir.join("aside")).expect("moved");
    let theirs = ebb.dir.join("theirs");
    std::fs::create_dir(&theirs).expect("a directory");
    symlink(&victim, theirs.join("names.json")).expect("a link");
    std::os::unix::fs::chown(&theirs, Some(65534), Some(65534)).expect("an owner");
    symlink(&theirs, &images).expect("a link");
    set_mode(&ebb.store(), 0o755);
    let refused = ebb.run(["tag", "busybox", "other"]);
    assert!(refused.code == 1 && refused.stderr.contains("belongs to uid 65534"), "{}", refused.shown());
    assert_untouched(&victim, &refused);
}

/// They cannot write to the store, but put another directory in its place.
#[test]
fn no_store_is_made_where_everybody_can_exchange_it() {
    let ebb = Ebb::empty();
    let open = ebb.dir.join("open");
    std::fs::create_dir(&open).expect("a directory");
    let root = open.join("deeper/store");
    let words = ["--root", root.to_str().expect("utf-8"), "volume", "create", "vase"];
    set_mode(&open, 0o777);
    let refused = ebb.run(words);
    assert!(
        refused.code == 1 && refused.stderr.contains("everybody can write to") && refused.stderr.contains("chmod o-w"),
        "{}",
        refused.shown()
    );
    assert_eq!(names_in(&open), Vec::<String>::new());
    // As /tmp is.
    set_mode(&open, 0o1777);
    ebb.ok(words);
    ebb.ok(["--root", root.to_str().expect("utf-8"), "system", "check"]);
    // One that is there already works on, and the check says it.
    set_mode(&open, 0o777);
    let checked = ebb.run(["--root", root.to_str().expect("utf-8"), "system", "check"]);
    assert!(checked.code == 1 && checked.stdout.contains("everybody can write to"), "{}", checked.shown());
}

/// Whoever owns a directory can rename what is in it, whatever the modes say.
#[test]
fn no_store_of_roots_is_made_in_a_directory_of_another_users() {
    if !is_root() {
        return;
    }
    let ebb = Ebb::empty();
    let theirs = ebb.dir.join("theirs");
    std::fs::create_dir(&theirs).expect("a directory");
    let root = theirs.join("deeper/store");
    let words = ["--root", root.to_str().expect("utf-8"), "volume", "create", "vase"];
    std::os::unix::fs::chown(&theirs, Some(1234), None).expect("given");
    let refused = ebb.run(words);
    assert!(refused.code == 1 && refused.stderr.contains("belongs to uid 1234"), "{}", refused.shown());
    assert_eq!(names_in(&theirs), Vec::<String>::new());
    std::os::unix::fs::chown(&theirs, Some(0), None).expect("taken");
    ebb.ok(words);
    std::os::unix::fs::chown(&theirs, Some(1234), None).expect("given");
    let checked = ebb.run(["--root", root.to_str().expect("utf-8"), "system", "check"]);
    assert!(checked.code == 1 && checked.stdout.contains("belongs to uid 1234"), "{}", checked.shown());
}

/// A record is written beside its place and renamed over it. The name until then was `.NAME.PID`.
#[test]
fn no_record_is_written_through_a_link_under_the_name_that_it_has_until_it_is_whole() {
    let ebb = Ebb::new();
    let victim = victim(&ebb);
    let place = ebb.store().join("images/.names.json");
    let tagged = with_link_for_its_pid(&ebb, &victim, place.to_str().expect("utf-8"), &["tag", "busybox", "other"]);
    assert_eq!((tagged.code, tagged.stdout.as_str()), (0, ""));
    assert_untouched(&victim, &tagged);
    assert_eq!(ebb.ok(["run", "--rm", "other", "echo", "x"]), "x");
    // The mark of a new store, in a directory that had been open to all.
    let empty = Ebb::empty();
    std::fs::create_dir(empty.store()).expect("a directory");
    set_mode(&empty.store(), 0o700);
    let place = empty.store().join(".store.json");
    let made = with_link_for_its_pid(&empty, &victim, place.to_str().expect("utf-8"), &["volume", "create", "vase"]);
    assert_eq!((made.code, made.stdout.as_str()), (0, "vase\n"));
    assert_untouched(&victim, &made);
}

/// runc writes it beside its place as well, and renames it.
#[test]
fn no_pid_file_is_written_through_a_link() {
    let ebb = Ebb::empty();
    let victim = victim(&ebb);
    let bundle = ebb.dir.join("bundle");
    // A program that never begins.
    std::fs::create_dir_all(bundle.join("rootfs/bin")).expect("a bundle");
    std::fs::copy(env!("CARGO_BIN_EXE_ebb"), bundle.join("rootfs/bin/sh")).expect("a program");
    let spec = if is_root() { vec!["oci", "spec"] } else { vec!["oci", "spec", "--rootless"] };
    let spec = [&spec[..], &["-b", bundle.to_str().expect("utf-8")]].concat();
    ebb.ok(&spec);
    let config = bundle.join("config.json");
    let text = std::fs::read_to_string(&config).expect("it").replace("\"terminal\": true", "\"terminal\": false");
    std::fs::write(&config, text).expect("written");
    let root = ebb.dir.join("state");
    let oci = ["oci", "--root", root.to_str().expect("utf-8")];
    let create = ["create", "--bundle", bundle.to_str().expect("utf-8"), "--pid-file", "pid", "box"];
    symlink(&victim, ebb.dir.join("pid")).expect("a link");
    let created = with_link_for_its_pid(&ebb, &victim, ".pid", &[&oci[..], &create].concat());
    assert_eq!((created.code, created.stdout.as_str()), (0, ""));
    let pid = std::fs::read_to_string(ebb.dir.join("pid")).expect("a pid file");
    assert!(pid.parse::<u32>().is_ok(), "{pid}");
    assert!(!ebb.dir.join("pid").is_symlink(), "a link is replaced");
    assert_untouched(&victim, &created);
    ebb.ok([&oci[..], &["delete", "--force", "box"]].concat());
    // And no bundle's config.json where a link leads.
    std::fs::remove_file(&config).expect("removed");
    symlink(ebb.dir.join("nothing"), &config).expect("a link");
    let refused = ebb.run(&spec);
    assert!(refused.code != 0 && !ebb.dir.join("nothing").exists(), "{}", refused.shown());
}

/// As in Docker: a link that is there makes `--cidfile` fail, and `-o` replaces one.
#[test]
fn what_a_command_writes_for_its_user_goes_through_no_link_either() {
    let ebb = Ebb::new();
    let victim = victim(&ebb);
    for to in [victim.clone(), ebb.dir.join("nothing")] {
        symlink(&to, ebb.dir.join("id")).expect("a link");
        let refused = ebb.run(["create", "--cidfile", "id", "busybox"]);
        assert_eq!(refused.code, 125, "{}", refused.shown());
        assert_untouched(&victim, &refused);
        assert!(!ebb.dir.join("nothing").exists() && ebb.ok(["ps", "-aq"]).is_empty());
        std::fs::remove_file(ebb.dir.join("id")).expect("removed");
    }
    symlink(&victim, ebb.dir.join("out.tar")).expect("a link");
    let saved = ebb.run(["save", "-o", "out.tar", "busybox"]);
    assert!(saved.code == 0 && !ebb.dir.join("out.tar").is_symlink(), "{}", saved.shown());
    assert_untouched(&victim, &saved);
}

/// It had a name in the directory for temporary files that could be foreseen, `ebb-console-PID`, to which another user's
/// process could have been the one that listens, or that keeps it.
#[test]
fn the_terminal_of_another_runtime_comes_through_no_directory_of_everybodys() {
    let runc = Command::new("runc").arg("--version").output().is_ok_and(|output| output.status.success());
    if !runc {
        return common::skip("runc is not installed (Debian: apt-get install runc)");
    }
    if !is_root() {
        // --runtime takes root.
        return;
    }
    let ebb = Ebb::new();
    let mut command = ebb.command();
    command.args(["run", "-t", "--runtime", "runc", "busybox", "tty"]).env("TMPDIR", ebb.dir.join("nowhere"));
    let answer = common::answer(command.stdin(std::process::Stdio::null()));
    assert!(answer.code == 0 && answer.stdout.contains("/dev/pts/"), "{}", answer.shown());
    ebb.ok(["rm", "-f", &ebb.ok(["ps", "-lq"])]);
}
