//! A clone is a volume of its own with all that was in the other; a rename is one step, which loses nothing.

mod common;

use common::terminal::Terminal;
use common::{Ebb, is_root, skip};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

fn volumes(ebb: &Ebb) -> Vec<String> {
    ebb.ok(["volume", "ls", "-q"]).lines().map(str::to_owned).collect()
}

fn data(ebb: &Ebb, name: &str) -> PathBuf {
    ebb.store().join("volumes").join(name).join("_data")
}

/// A volume with one file in it, which says `text`.
fn volume(ebb: &Ebb, name: &str, text: &str) {
    ebb.ok(["volume", "create", name]);
    std::fs::write(data(ebb, name).join("note"), text).expect("a file");
}

fn note(ebb: &Ebb, name: &str) -> String {
    std::fs::read_to_string(data(ebb, name).join("note")).expect("the file")
}

fn entries(directory: &Path) -> usize {
    std::fs::read_dir(directory).expect("a directory").count()
}

/// Runs a script as root of a user namespace, which may mount: `$1` is the test's directory, `$2` ebb.
fn as_root_of_a_namespace(ebb: &Ebb, script: &str) -> common::Answer {
    let mut shell = Command::new("unshare");
    shell.args(["-rm", "sh", "-ec", script, "sh"]).arg(&ebb.dir).arg(env!("CARGO_BIN_EXE_ebb"));
    common::answer(&mut shell)
}

#[test]
fn a_clone_has_every_file_owner_mode_time_link_and_label_and_is_another_volume() {
    let ebb = Ebb::new();
    ebb.ok(["volume", "create", "--label", "tier=db", "vase"]);
    let script = "cd /v; chmod 1770 .; echo kept > f; chmod 4751 f; ln f again; ln -s f soft; ln -s /nowhere dangling; \
                  mkfifo pipe; mkdir -m 700 -p d/e; echo deep > d/e/g; chmod 0 d/e/g; touch -d 2001-02-03 f d/e soft; : > empty";
    ebb.ok(["run", "--rm", "-v", "vase:/v", "busybox", "sh", "-c", script]);
    if !common::has_one_id() {
        ebb.ok(["run", "--rm", "-v", "vase:/v", "busybox", "chown", "-h", "33:34", "/v", "/v/d", "/v/soft"]);
    }
    assert_eq!(ebb.ok(["volume", "clone", "vase", "copy"]), "copy");
    let look = |name: &str| {
        let mount = format!("{name}:/v");
        let script =
            "cd /v; find . | sort | xargs stat -c '%n %F %s %u %g %a %h %Y %N'; cat f; cat d/e/g; [ f -ef again ]";
        ebb.ok(["run", "--rm", "-v", &mount, "busybox", "sh", "-ec", script])
    };
    assert_eq!(look("copy"), look("vase"));
    assert_eq!(ebb.ok(["volume", "inspect", "-f", "{{json .Labels}} {{.Name}}", "copy"]), r#"{"tier":"db"} copy"#);
    // What is done to the one does not reach the other.
    ebb.ok(["run", "--rm", "-v", "copy:/v", "busybox", "sh", "-c", "echo changed >> /v/f; rm -r /v/d"]);
    ebb.ok(["volume", "rm", "--now", "copy"]);
    assert_eq!(ebb.ok(["run", "--rm", "-v", "vase:/v", "busybox", "sh", "-c", "cat /v/f /v/d/e/g"]), "kept\ndeep");
    assert_eq!(entries(&ebb.store().join("tmp")), 0);
}

#[test]
fn holes_attributes_sockets_and_the_marks_of_an_overlay_are_cloned_as_they_are() {
    let ebb = Ebb::empty();
    ebb.ok(["volume", "create", "vase"]);
    let (from, to) = (data(&ebb, "vase"), data(&ebb, "copy"));
    // 40 MB, of which a piece in the middle and one at the end is data; and one that is nothing but a hole.
    let file = std::fs::File::create(from.join("sparse")).expect("a file");
    for at in [20 << 20, (40 << 20) - 5] {
        std::os::unix::fs::FileExt::write_all_at(&file, b"data!", at).expect("written");
    }
    std::fs::File::create(from.join("hole")).and_then(|file| file.set_len(1 << 30)).expect("a hole");
    xattr::set(from.join("sparse"), "user.note", b"kept").expect("an attribute");
    std::fs::create_dir(from.join("opaque")).expect("a directory");
    xattr::set(from.join("opaque"), "user.overlay.opaque", b"y").expect("an attribute");
    let _socket = std::os::unix::net::UnixListener::bind(from.join("socket")).expect("a socket");
    // What another runtime's layers in a volume are made of.
    let made = Command::new("mknod").arg(from.join("whiteout")).args(["c", "0", "0"]).status().expect("mknod runs");
    assert!(made.success(), "since Linux 5.8 anybody can make a whiteout");
    ebb.ok(["volume", "clone", "vase", "copy"]);
    assert_eq!(std::fs::read(from.join("sparse")).expect("it"), std::fs::read(to.join("sparse")).expect("the copy"));
    for name in ["sparse", "hole"] {
        let (before, after) = (from.join(name).metadata().expect("it"), to.join(name).metadata().expect("the copy"));
        assert_eq!(before.len(), after.len());
        assert!(after.blocks() <= before.blocks() + 64, "{name}: {} blocks of {}", after.blocks(), before.blocks());
    }
    assert_eq!(xattr::get(to.join("sparse"), "user.note").expect("read").as_deref(), Some(&b"kept"[..]));
    assert_eq!(xattr::get(to.join("opaque"), "user.overlay.opaque").expect("read").as_deref(), Some(&b"y"[..]));
    let kind = |name: &str| to.join(name).symlink_metadata().expect("it is there").file_type();
    assert!(kind("socket").is_socket() && kind("whiteout").is_char_device());
    assert_eq!(to.join("whiteout").symlink_metadata().expect("it is there").rdev(), 0);
}

#[test]
fn where_the_file_system_can_a_clone_shares_its_blocks_until_one_of_the_two_is_written() {
    if !is_root() {
        return; // Only root mounts a disk; where no file system can, the clone is a copy, as in all other tests.
    }
    if Command::new("mkfs.btrfs").arg("--version").output().is_err() {
        return skip("mkfs.btrfs is not installed");
    }
    let ebb = Ebb::empty();
    // `used` counts kilobytes in which something is kept, `shared` the pieces of a file that another one has, too.
    let script = r#"
        cd "$1"; truncate -s 256M disk; mkfs.btrfs -q disk; mkdir on; mount -o loop disk on || exit 77
        export EBB_ROOT="$1/on/store"
        data() { echo "$EBB_ROOT/volumes/$1/_data/$2"; }
        used() { sync -f on; df -k --output=used on | tail -1; }
        shared() { filefrag -v "$1" | grep -c shared || true; }
        "$2" volume create vase; head -c 16M /dev/urandom > "$(data vase f)"; head -c 9k /dev/urandom > "$(data vase small)"
        before=$(sha256sum < "$(data vase f)"); empty=$(used); echo source alone: $(shared "$(data vase f)")
        "$2" volume clone vase copy
        cloned=$(used); echo grown: $((cloned - empty))
        cmp "$(data vase f)" "$(data copy f)"; cmp "$(data vase small)" "$(data copy small)"
        [ $(shared "$(data vase f)") -gt 0 ] && [ $(shared "$(data copy f)") -gt 0 ] && echo both share
        head -c 4M /dev/zero | dd of="$(data copy f)" bs=1M seek=3 conv=notrunc status=none
        echo written: $(($(used) - cloned))
        [ "$before" = "$(sha256sum < "$(data vase f)")" ] && echo the source is as it was
        cmp -s "$(data vase f)" "$(data copy f)" || echo the clone is not
        head=$(head -c 3M "$(data vase f)" | sha256sum); "$2" volume rm --now vase; "$2" system check
        [ "$head" = "$(head -c 3M "$(data copy f)" | sha256sum)" ] && echo what was shared outlives the source
        cp --reflink=never "$(data copy f)" on/copied; echo copied: $(($(used) - cloned))
    "#;
    let mut shell = Command::new("unshare");
    shell.args(["-m", "sh", "-ec", script, "sh"]).arg(&ebb.dir).arg(env!("CARGO_BIN_EXE_ebb"));
    let answer = common::answer(&mut shell);
    if answer.code == 77 {
        return skip(&format!("this kernel mounts no btrfs: {}", answer.stderr.trim()));
    }
    assert_eq!(answer.code, 0, "{}", answer.shown());
    let line = |name: &str| {
        let found = answer.stdout.lines().find_map(|line| line.strip_prefix(name));
        found.unwrap_or_else(|| panic!("no {name}: {}", answer.shown())).trim().to_owned()
    };
    let number = |name: &str| line(name).parse::<i64>().expect("kilobytes");
    assert_eq!(number("source alone:"), 0, "{}", answer.shown());
    assert!(number("grown:") < 1024, "16 MB were cloned and none was to be kept twice: {}", answer.shown());
    assert!((4096..6000).contains(&number("written:")), "what is written is one's own: {}", answer.shown());
    for sentence in ["both share", "the source is as it was", "the clone is not", "what was shared outlives the source"]
    {
        line(sentence);
    }
    assert!(number("copied:") > 16000 && answer.stdout.contains(": sound\n"), "{}", answer.shown());
}

#[test]
fn what_cannot_be_cloned_is_refused_and_nothing_is_left() {
    let ebb = Ebb::empty();
    volume(&ebb, "vase", "kept");
    volume(&ebb, "other", "mine");
    let said = |words: [&str; 2]| ebb.fails(1, ["volume", "clone", words[0], words[1]]);
    assert_eq!(said(["nope", "copy"]), "ebb: get nope: no such volume\n");
    let taken = said(["vase", "other"]);
    assert!(taken.starts_with("ebb: clone vase to other: there is a volume other\n"), "{taken}");
    assert!(said(["vase", "vase"]).contains("there is a volume vase"));
    assert!(said(["vase", "../x"]).contains("clone vase to ../x: \"../x\" includes invalid characters"));
    assert_eq!((volumes(&ebb), note(&ebb, "other")), (vec!["other".into(), "vase".into()], "mine".into()));
    assert_eq!(entries(&ebb.store().join("tmp")), 0);
}

#[test]
fn a_clone_for_which_the_disk_is_too_small_leaves_the_disk_as_it_was() {
    let ebb = Ebb::empty();
    let script = r#"
        mkdir "$1/disk"
        mount -t tmpfs -o size=12m,mode=700 tmpfs "$1/disk"
        export EBB_ROOT="$1/disk"
        "$2" volume create vase
        mkdir -m 0 "$EBB_ROOT/volumes/vase/_data/d"
        head -c 7m /dev/zero > "$EBB_ROOT/volumes/vase/_data/f"
        "$2" volume clone vase copy && exit 9
        "$2" volume ls -q
        ls "$EBB_ROOT/tmp" "$EBB_ROOT/trash"
        head -c 4m /dev/zero > "$EBB_ROOT/volumes/vase/_data/g"
        "$2" system check
    "#;
    let answer = as_root_of_a_namespace(&ebb, script);
    assert_eq!(answer.code, 0, "{}", answer.shown());
    assert!(answer.stderr.starts_with("ebb: clone vase to copy: copy f: "), "{}", answer.shown());
    assert!(answer.stderr.contains("no space left on device"), "{}", answer.shown());
    assert!(answer.stdout.contains("\nvase\n") && answer.stdout.ends_with("sound\n"), "{}", answer.shown());
}

#[test]
fn a_volume_is_cloned_while_a_container_runs_with_it_and_the_clone_says_who_may_write() {
    let ebb = Ebb::new();
    let script = "echo kept > /v/note; while :; do echo x > /v/busy; rm /v/busy; done";
    ebb.ok(["run", "-d", "--name", "writer", "-v", "vase:/v", "busybox", "sh", "-c", script]);
    ebb.ok(["run", "-d", "--name", "reader", "-v", "vase:/v:ro", "busybox", "sleep", "1000"]);
    ebb.ok(["exec", "writer", "sh", "-c", "until [ -e /v/note ]; do :; done"]);
    for number in 0..10 {
        let cloned = ebb.run(["volume", "clone", "vase", &format!("copy{number}")]);
        assert_eq!(cloned.code, 0, "{}", cloned.shown());
        assert_eq!(
            cloned.stderr,
            "ebb: writer could write to vase while it was copied; `--pause` makes a copy of one moment\n"
        );
    }
    ebb.ok(["rm", "-f", "writer", "reader"]);
    let kept = ebb.ok(["run", "--rm", "-v", "copy9:/a", "busybox", "cat", "/a/note"]);
    assert_eq!(kept, "kept");
}

#[test]
fn a_clone_made_with_pause_is_of_one_moment_and_the_container_goes_on() {
    let ebb = Ebb::new();
    // Two ledgers that are written in turn: at any one moment the first is at most one entry ahead.
    let script = "dd if=/dev/zero of=/data/between bs=1M count=32 2>/dev/null; n=0; asked=0
        trap 'asked=$((asked+1)); echo alive $asked' USR1
        while :; do n=$((n+1)); echo $n >> /data/a; echo $n >> /data/z; [ $n = 50 ] && echo under way; done";
    ebb.ok(["run", "-d", "--name", "writer", "-v", "vase:/data", "busybox", "sh", "-c", script]);
    ebb.await_line("writer", "under way");
    let lines = |volume: &str, name: &str| {
        std::fs::read_to_string(data(&ebb, volume).join(name)).expect("a ledger").lines().count()
    };
    for round in 0..3 {
        let clone = format!("moment-{round}");
        let cloned = ebb.run(["volume", "clone", "--pause", "vase", &clone]);
        assert_eq!((cloned.code, cloned.stderr.as_str()), (0, ""), "{}", cloned.shown());
        let (first, second) = (lines(&clone, "a"), lines(&clone, "z"));
        assert!(first == second || first == second + 1, "{first} and {second} are not of one moment");
        assert_eq!(ebb.inspect("writer", "{{.State.Status}}"), "running");
        // It goes on, and answers between two entries.
        ebb.ok(["kill", "-s", "USR1", "writer"]);
        ebb.await_line("writer", &format!("alive {}", round + 1));
    }
}

#[test]
fn what_is_removed_while_it_is_cloned_gives_a_whole_clone_or_none() {
    let ebb = Ebb::empty();
    for _ in 0..10 {
        ebb.ok(["volume", "create", "vase"]);
        for number in 0..300 {
            let directory = data(&ebb, "vase").join(number.to_string());
            std::fs::create_dir(&directory).and_then(|()| std::fs::write(directory.join("f"), "x")).expect("a file");
        }
        let (one, other) =
            (ebb.spawn(["volume", "clone", "vase", "copy"]), ebb.spawn(["volume", "rm", "--now", "vase"]));
        let (cloned, removed) = (one.wait_with_output().expect("ends"), other.wait_with_output().expect("ends"));
        assert!(removed.status.success(), "{}", String::from_utf8_lossy(&removed.stderr));
        match cloned.status.success() {
            true => {
                let count = |number: i32| entries(&data(&ebb, "copy").join(number.to_string()));
                assert_eq!((0..300).map(count).sum::<usize>(), 300);
                ebb.ok(["volume", "rm", "--now", "copy"]);
            }
            false => assert!(volumes(&ebb).is_empty(), "{}", String::from_utf8_lossy(&cloned.stderr)),
        }
        assert_eq!(entries(&ebb.store().join("tmp")), 0);
    }
}

#[test]
fn of_many_that_clone_to_one_name_one_does_and_the_others_are_told() {
    let ebb = Ebb::empty();
    for number in 0..6 {
        volume(&ebb, &format!("vase{number}"), &number.to_string());
    }
    let spawn = |number: i32| ebb.spawn(["volume", "clone", &format!("vase{number}"), "copy"]);
    let cloning: Vec<_> = (0..6).map(spawn).collect();
    let done: Vec<_> = cloning.into_iter().map(|child| child.wait_with_output().expect("ends")).collect();
    let winners: Vec<usize> = (0..6).filter(|number| done[*number].status.success()).collect();
    assert_eq!(winners.len(), 1);
    assert_eq!(note(&ebb, "copy"), winners[0].to_string());
    for loser in done.iter().filter(|output| !output.status.success()) {
        assert!(String::from_utf8_lossy(&loser.stderr).contains("there is a volume copy"));
    }
    assert_eq!(entries(&ebb.store().join("tmp")), 0);
}

#[test]
fn a_snapshot_is_a_clone_and_a_rollback_a_rename() {
    let ebb = Ebb::new();
    ebb.ok(["run", "--name", "app", "-v", "db:/v", "busybox", "sh", "-c", "echo good > /v/f"]);
    ebb.ok(["volume", "clone", "db", "db-before"]);
    ebb.ok(["run", "--rm", "-v", "db:/v", "busybox", "sh", "-c", "echo bad > /v/f"]);
    ebb.ok(["rm", "app"]);
    ebb.ok(["volume", "rm", "db"]);
    ebb.ok(["volume", "rename", "db-before", "db"]);
    assert_eq!(ebb.ok(["run", "--rm", "-v", "db:/v", "busybox", "cat", "/v/f"]), "good");
    // And even the bad one is still there.
    assert!(ebb.fails(1, ["volume", "restore", "db"]).contains("there is a volume db"));
}

#[test]
fn a_clone_shows_on_a_terminal_how_far_it_has_come() {
    let ebb = Ebb::empty();
    ebb.ok(["volume", "create", "vase"]);
    std::fs::write(data(&ebb, "vase").join("f"), vec![7; 40 << 20]).expect("a file");
    let mut command = ebb.command();
    command.args(["volume", "clone", "vase", "copy"]).env("TERM", "xterm");
    let mut terminal = Terminal::start(&command);
    terminal.shows("cloning vase");
    terminal.shows("100%");
    terminal.shows("copy\r\n");
    assert_eq!(terminal.ends(), 0);
}

#[test]
fn a_renamed_volume_is_found_by_its_new_name_only_with_all_that_is_in_it() {
    let ebb = Ebb::new();
    ebb.ok(["volume", "create", "--label", "tier=db", "vase"]);
    ebb.ok(["run", "--rm", "-v", "vase:/v", "busybox", "sh", "-c", "echo kept > /v/f"]);
    let inode = data(&ebb, "vase").metadata().expect("the data").ino();
    let renamed = ebb.run(["volume", "rename", "vase", "jug"]);
    assert_eq!((renamed.code, renamed.stdout.as_str(), renamed.stderr.as_str()), (0, "", ""), "as docker rename");
    assert_eq!(volumes(&ebb), ["jug"]);
    assert_eq!(data(&ebb, "jug").metadata().expect("the data").ino(), inode, "no byte was moved");
    let place = "{{.Name}} {{json .Labels}} {{.Mountpoint}}";
    let expected = format!("jug {{\"tier\":\"db\"}} {}", data(&ebb, "jug").display());
    assert_eq!(ebb.ok(["volume", "inspect", "-f", place, "jug"]), expected);
    assert_eq!(ebb.ok(["run", "--rm", "-v", "jug:/v", "busybox", "cat", "/v/f"]), "kept");
    assert!(ebb.ok(["system", "check"]).starts_with("0 containers"));
}

#[test]
fn a_volume_that_a_container_uses_keeps_its_name_whether_the_container_runs_or_not() {
    let ebb = Ebb::new();
    let id = ebb.ok(["run", "-d", "--name", "user1", "-v", "vase:/data", "busybox", "sleep", "1000"]);
    let refused = |state: &str| {
        let said = ebb.fails(1, ["volume", "rename", "vase", "jug"]);
        assert!(said.starts_with(&format!("ebb: rename vase: volume is in use - [{id}]\n")), "{said}");
        assert!(said.contains(&format!("user1 ({state})")), "{said}");
    };
    refused("running");
    ebb.ok(["stop", "-t", "0", "user1"]);
    // Its record says `vase`: the next start would find nothing, or make a new one.
    refused("exited");
    assert_eq!(volumes(&ebb), ["vase"]);
    ebb.ok(["rm", "user1"]);
    ebb.ok(["volume", "rename", "vase", "jug"]);
}

#[test]
fn a_rename_to_what_is_taken_or_no_name_is_refused_and_changes_nothing() {
    let ebb = Ebb::empty();
    volume(&ebb, "vase", "one");
    volume(&ebb, "jug", "two");
    let before = ebb.ok(["volume", "inspect", "vase", "jug"]);
    let said = |new: &str| ebb.fails(1, ["volume", "rename", "vase", new]);
    assert!(said("jug").starts_with("ebb: rename vase to jug: there is a volume jug\n"));
    assert_eq!(said("vase"), "ebb: rename vase: that is its name already\n");
    assert!(said("a/b").contains("includes invalid characters"));
    assert_eq!(ebb.fails(1, ["volume", "rename", "nope", "other"]), "ebb: get nope: no such volume\n");
    assert_eq!(ebb.ok(["volume", "inspect", "vase", "jug"]), before);
    assert_eq!((note(&ebb, "vase"), note(&ebb, "jug")), ("one".into(), "two".into()));
}

#[test]
fn an_anonymous_volume_that_is_given_a_name_or_cloned_is_no_longer_pruned() {
    let ebb = Ebb::empty();
    let name = ebb.ok(["volume", "create"]);
    ebb.ok(["volume", "clone", &name, "copy"]);
    ebb.ok(["volume", "rename", &name, "named"]);
    ebb.ok(["volume", "prune", "-f"]);
    assert_eq!(volumes(&ebb), ["copy", "named"]);
}

#[test]
fn a_rename_that_was_killed_between_its_record_and_its_step_is_the_old_volume() {
    let ebb = Ebb::empty();
    volume(&ebb, "vase", "kept");
    let record = ebb.store().join("volumes/vase/volume.json");
    let text = std::fs::read_to_string(&record).expect("the record");
    std::fs::write(&record, text.replace("\"vase\"", "\"jug\"")).expect("as the kill leaves it");
    assert_eq!(ebb.ok(["volume", "inspect", "-f", "{{.Name}}", "vase"]), "vase");
    ebb.fails(1, ["volume", "inspect", "jug"]);
    let check = ebb.ok(["system", "check"]);
    assert!(check.contains("volume vase: its record says jug (harmless)"), "{check}");
    // Into the trash and back, and to a name of its own: always by what its directory is called.
    ebb.ok(["volume", "rm", "vase"]);
    assert_eq!(ebb.ok(["volume", "restore", "vase"]), "vase");
    ebb.ok(["system", "check", "--repair"]);
    assert_eq!(ebb.ok(["system", "check"]), "0 containers, 1 volumes, 0 images: sound");
    ebb.ok(["volume", "rename", "vase", "jug"]);
    assert_eq!(note(&ebb, "jug"), "kept");
}

#[test]
fn rename_races_run_and_rename_and_no_byte_is_in_two_places() {
    let ebb = Ebb::new();
    for _ in 0..5 {
        volume(&ebb, "vase", "kept");
        let children = [
            ebb.spawn(["volume", "rename", "vase", "one"]),
            ebb.spawn(["volume", "rename", "vase", "two"]),
            ebb.spawn(["run", "--rm", "-v", "vase:/v", "busybox", "true"]),
        ];
        let done = children.map(|child| child.wait_with_output().expect("ends").status.success());
        assert!(done[2] && !(done[0] && done[1]), "{done:?}");
        let holders = volumes(&ebb).into_iter().filter(|name| data(&ebb, name).join("note").exists());
        assert_eq!(holders.count(), 1);
        ebb.ok(["volume", "prune", "-af", "--now"]);
    }
}
