//! How users of other runtimes lost their data, thread by thread, and that Ebb does not.

mod common;

use common::record::Record;
use common::{Answer, Ebb};
use std::path::{Path, PathBuf};
use std::process::Command;

fn volumes(ebb: &Ebb) -> Vec<String> {
    ebb.ok(["volume", "ls", "-q"]).lines().map(str::to_owned).collect()
}

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
    std::fs::write(path, text).expect("a file");
}

/// Something of somebody else's, mounted below `point` while `words` run. An ordinary user has it in a user namespace of
/// the user's own, in which mounting is allowed.
fn with_mounted(ebb: &Ebb, point: &Path, words: &[&str]) -> (Answer, PathBuf) {
    let precious = ebb.dir.join("precious");
    write(&precious.join("photo"), "the only copy\n");
    let mut command = Command::new("unshare");
    command.args(if common::is_root() { &["-m"][..] } else { &["-rm"] });
    command.args(["sh", "-c", "mount --bind \"$0\" \"$1\" && shift && exec \"$@\""]).arg(&precious).arg(point);
    command.arg(env!("CARGO_BIN_EXE_ebb")).args(words);
    command.env("EBB_ROOT", ebb.store()).current_dir(&ebb.dir);
    (common::answer(&mut command), precious.join("photo"))
}

fn assert_kept(photo: &Path, answer: &Answer) {
    assert_eq!(std::fs::read_to_string(photo).ok().as_deref(), Some("the only copy\n"), "{}", answer.shown());
}

/// moby #35323: what was mounted below a volume's directory went with `docker volume rm`.
#[test]
fn moby_35323_a_volume_below_which_something_is_mounted_is_not_removed() {
    let ebb = Ebb::empty();
    ebb.ok(["volume", "create", "vase"]);
    let anonymous = ebb.ok(["volume", "create"]);
    for (name, words) in [
        ("vase", &["volume", "rm", "vase"][..]),
        ("vase", &["volume", "rm", "-f", "vase"]),
        (&anonymous, &["volume", "prune", "-f"]),
        ("vase", &["volume", "prune", "-af"]),
    ] {
        let inner = ebb.store().join("volumes").join(name).join("_data/inner");
        std::fs::create_dir_all(&inner).expect("a directory");
        let (answer, photo) = with_mounted(&ebb, &inner, words);
        assert_kept(&photo, &answer);
        assert!(inner.is_dir(), "the volume is as it was: {}", answer.shown());
        assert!(answer.code == 1 && answer.stderr.contains("is mounted inside it"), "{}", answer.shown());
    }
}

/// containerd #10704: an unmount failed, and the removal of the directory ate what was still mounted there. (And what a
/// failed `rm -f` leaves: nothing that is in the way.)
#[test]
fn containerd_10704_removing_a_container_never_crosses_a_mount() {
    for place in ["upper/inner", "rootfs"] {
        let ebb = Ebb::new();
        let id = ebb.ok(["create", "--name", "box", "busybox", "true"]);
        let point = ebb.store().join("containers").join(&id).join(place);
        std::fs::create_dir_all(&point).expect("a directory");
        let (answer, photo) = with_mounted(&ebb, &point, &["rm", "-f", "box"]);
        assert_kept(&photo, &answer);
        assert!(answer.code == 1 && answer.stderr.contains("something is mounted there"), "{}", answer.shown());
        // Not mounted any more, it is no more in the way of anything, and the next command clears what was left.
        ebb.ok(["create", "--name", "box", "busybox", "true"]);
        ebb.ok(["rm", "box"]);
        assert_eq!(ebb.ok(["system", "check"]), "0 containers, 0 volumes, 1 images: sound", "after {place}");
        assert_eq!(ebb.leftovers(), Vec::<String>::new());
    }
}

/// podman #18287, #19870: a `reset` deleted whatever lay in the directory that it was pointed at.
#[test]
fn podman_18287_a_directory_of_somebody_elses_files_is_no_store() {
    // A home directory with a tmp/ in it, the root of a system, and one that looks like a store at first sight.
    for files in [
        &["notes.txt"][..],
        &["tmp/draft", "etc/passwd", "var/lib/precious"],
        &["images/photo.jpg", "volumes/one"],
        &["trash/bin/old", "tmp/draft"],
    ] {
        let ebb = Ebb::empty();
        for file in files {
            write(&ebb.store().join(file), "mine\n");
        }
        let before = listing(&ebb.store());
        for words in [
            &["volume", "create", "vase"][..],
            &["create", "busybox", "true"],
            &["volume", "prune", "-af"],
            &["image", "prune", "-af"],
            &["container", "prune", "-f"],
            &["system", "check", "--repair"],
            &["ps"],
        ] {
            let answer = ebb.run(words);
            assert_ne!(answer.code, 0, "{}", answer.shown());
            assert!(answer.stderr.contains("is no store of Ebb's, and not empty: "), "{}", answer.shown());
            assert_eq!(listing(&ebb.store()), before, "{}", answer.shown());
        }
        std::fs::remove_dir_all(ebb.store()).expect("removed");
    }
}

/// podman #19870: only what Ebb made is ever cleared away, in the store's own directories as well.
#[test]
fn podman_19870_what_ebb_did_not_make_is_not_cleared_with_what_it_left() {
    let ebb = Ebb::new();
    let store = ebb.store();
    for file in ["tmp/draft", "tmp/my.files/one", "trash/kept.2024", "trash/x.0123456789zz/y"] {
        write(&store.join(file), "mine\n");
    }
    write(&store.join("tmp/container.0123456789ab/upper/f"), "left by a killed command\n");
    write(&store.join("trash/vase.ba9876543210/_data/f"), "left by a killed command\n");
    write(&store.join("volumes/not-a-volume/f"), "mine\n");
    ebb.ok(["run", "--rm", "-v", "vase:/v", "busybox", "true"]);
    ebb.ok(["volume", "prune", "-af"]);
    ebb.ok(["container", "prune", "-f"]);
    for file in ["tmp/draft", "tmp/my.files/one", "trash/kept.2024", "trash/x.0123456789zz/y", "volumes/not-a-volume/f"]
    {
        assert!(store.join(file).is_file(), "{file} is gone");
    }
    assert!(!store.join("tmp/container.0123456789ab").exists() && !store.join("trash/vase.ba9876543210").exists());
    assert!(ebb.run(["system", "check"]).stdout.contains("somebody else put it there, and it stays"));
}

/// All files below a directory, and what is in them.
fn listing(root: &Path) -> Vec<(PathBuf, Option<String>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root).expect("a directory").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(listing(&path));
            found.push((path, None));
        } else {
            let text = std::fs::read_to_string(&path).ok();
            found.push((path, text));
        }
    }
    found.sort();
    found
}

/// moby #19446, #23243: `run --rm` took named volumes along.
#[test]
fn moby_19446_no_end_of_a_container_takes_a_volume_that_somebody_named() {
    let ebb = Ebb::new();
    // A name may look like one that nobody gave, and a volume that nobody named can be mounted by its name.
    let odd = "0123456789abcdef".repeat(4);
    ebb.ok(["volume", "create", &odd]);
    let adopted = ebb.ok(["volume", "create"]);
    let mounts = ["-v", "plain:/a", "--mount", "type=volume,src=mounted,dst=/b", "-v", &format!("{odd}:/c"), "-v"];
    let adoption = format!("{adopted}:/d");
    let script = "for d in a b c d; do echo kept > /$d/f; done";
    let run = |first: &[&str], script: &str| {
        ebb.ok([first, &mounts, &[&adoption, "-v", "/anonymous", "busybox", "sh", "-c", script]].concat())
    };
    let names = {
        let mut names = vec!["mounted", "plain", &odd, &adopted];
        names.sort_unstable();
        names
    };
    run(&["run", "--rm"], script);
    assert_eq!(volumes(&ebb), names, "`run --rm`");
    run(&["run", "--name", "box"], "true");
    ebb.ok(["rm", "-v", "box"]);
    assert_eq!(volumes(&ebb), names, "`rm -v`");
    run(&["run", "-d", "--name", "box"], "sleep 1000");
    ebb.ok(["rm", "-fv", "box"]);
    assert_eq!(volumes(&ebb), names, "`rm -fv`");
    run(&["run", "-d", "--rm", "--name", "box"], "sleep 1000");
    ebb.ok(["rm", "-fv", "box"]);
    assert_eq!(volumes(&ebb), names, "`rm -fv` of a container with --rm");
    assert_eq!(run(&["run", "--rm"], "cat /a/f /b/f /c/f /d/f"), "kept\nkept\nkept\nkept");
}

/// moby #23243 again: with `--volumes-from`, the one who borrows a volume does not take it along.
#[test]
fn moby_23243_who_borrows_a_volume_leaves_it_to_the_lender() {
    let ebb = Ebb::new();
    ebb.ok([
        "run",
        "--name",
        "lender",
        "-v",
        "/v",
        "-v",
        "named:/n",
        "busybox",
        "sh",
        "-c",
        "echo kept > /v/f; cp /v/f /n",
    ]);
    let all = volumes(&ebb);
    let read = ["--volumes-from", "lender", "busybox", "cat", "/v/f", "/n/f"];
    assert_eq!(ebb.ok([&["run", "--rm"][..], &read].concat()), "kept\nkept");
    ebb.ok([&["run", "--name", "borrower"][..], &read].concat());
    ebb.ok(["rm", "-fv", "borrower"]);
    ebb.ok(["volume", "prune", "-af"]);
    assert_eq!(volumes(&ebb), all);
    assert_eq!(ebb.ok(["start", "-a", "lender"]), "");
}

/// podman #5009: after an upgrade the volumes of before passed for anonymous, and the next `--rm` deleted them.
#[test]
fn podman_5009_a_record_that_does_not_say_anonymous_means_named() {
    let ebb = Ebb::new();
    ebb.ok(["volume", "create", "vase"]);
    // The records as another version might have them: no label, and no word on whether anybody gave the name.
    let mounts = r#"[{"Type": "volume", "Name": "vase", "Destination": "/v", "RW": true}]"#;
    Record::new("old").mounts(mounts).put(&ebb, "aa");
    ebb.ok(["volume", "prune", "-f"]);
    ebb.ok(["rm", "-fv", "old"]);
    ebb.ok(["volume", "prune", "-f"]);
    assert_eq!(volumes(&ebb), ["vase"]);
}

/// moby #37706, #44238, podman #7862: counts of users had drifted, and a volume in use was pruned.
#[test]
fn moby_44238_a_volume_that_any_container_uses_in_any_state_is_neither_pruned_nor_removed() {
    let ebb = Ebb::new();
    ebb.ok(["create", "--name", "created", "-v", "/v", "busybox", "true"]);
    ebb.ok(["run", "--name", "exited", "-v", "/v", "busybox", "true"]);
    ebb.ok(["run", "-d", "--name", "runs", "-v", "/v", "busybox", "sleep", "1000"]);
    ebb.ok(["run", "-d", "--name", "stopped", "-v", "/v", "busybox", "sleep", "1000"]);
    ebb.ok(["stop", "-t", "0", "stopped"]);
    ebb.ok(["run", "-d", "--name", "old", "-v", "/v", "busybox", "sleep", "1000"]);
    ebb.ok(["rename", "old", "new"]);
    // One whose start fails, and one between two starts.
    assert_ne!(ebb.run(["run", "--name", "failed", "-v", "/v", "busybox", "/no/such/program"]).code, 0);
    ebb.ok(["run", "-d", "--name", "restarts", "--restart", "always", "-v", "/v", "busybox", "false"]);
    let all = volumes(&ebb);
    assert_eq!(all.len(), 7);
    for _ in 0..2 {
        ebb.ok(["volume", "prune", "-f"]);
        ebb.ok(["volume", "prune", "-af"]);
        assert_eq!(volumes(&ebb), all);
        // Starts, stops and restarts move no count.
        ebb.ok(["restart", "-t", "0", "runs", "stopped", "created"]);
    }
    for name in &all {
        assert!(ebb.fails(1, ["volume", "rm", "-f", name]).contains("volume is in use"));
    }
}

/// moby #44238 again: of a container whose record cannot be read nobody knows what it uses, so nothing is taken for idle.
#[test]
fn moby_44238_where_a_record_cannot_be_read_no_volume_is_taken_for_idle() {
    let ebb = Ebb::new();
    let id = ebb.ok(["create", "--name", "box", "-v", "vase:/v", "busybox", "true"]);
    let path = ebb.store().join("containers").join(id).join("container.json");
    let record = std::fs::read_to_string(&path).expect("a record");
    std::fs::write(&path, &record[..record.len() / 2]).expect("damaged");
    for words in [&["volume", "rm", "vase"][..], &["volume", "prune", "-af"], &["image", "prune", "-af"]] {
        let said = ebb.fails(1, words);
        assert!(said.contains("container.json") && said.contains("system check --repair"), "{said}");
    }
    std::fs::write(&path, record).expect("mended");
    assert_eq!(volumes(&ebb), ["vase"]);
    ebb.ok(["start", "box"]);
}

/// podman #3635: `volume rm` of a prefix removed a volume of another name.
#[test]
fn podman_3635_a_volume_has_one_name_and_no_part_of_it_will_do() {
    let ebb = Ebb::new();
    for name in ["database", "database-old", "data"] {
        ebb.ok(["volume", "create", name]);
    }
    let anonymous = ebb.ok(["volume", "create"]);
    for part in ["dat", "databas", "database-", &anonymous[..12], "Data", "base"] {
        assert_eq!(ebb.fails(1, ["volume", "rm", part]), format!("ebb: get {part}: no such volume\n"));
        ebb.ok(["volume", "rm", "-f", part]);
    }
    assert_eq!(volumes(&ebb).len(), 4);
    // Whoever uses the longer name does not hold the shorter one, nor the other way round.
    ebb.ok(["create", "-v", "database:/v", "busybox", "true"]);
    assert!(ebb.fails(1, ["volume", "rm", "database"]).contains("in use"));
    assert_eq!(ebb.ok(["volume", "rm", "data", "database-old"]), "data\ndatabase-old");
    let left = volumes(&ebb);
    assert!(left.len() == 2 && left.contains(&"database".to_owned()) && left.contains(&anonymous), "{left:?}");
}

/// podman #3635, of containers: an id's beginning that fits two is no one's, and a whole name goes before it.
#[test]
fn podman_3635_an_ambiguous_beginning_of_an_id_removes_nothing() {
    let ebb = Ebb::empty();
    for (name, first) in [("one", "abc1"), ("two", "abc2"), ("abc1", "def")] {
        Record::new(name).put(&ebb, first);
    }
    assert!(ebb.fails(1, ["rm", "-f", "abc"]).contains("multiple IDs found with provided prefix: abc"));
    ebb.ok(["rm", "-f", "abc1"]);
    assert_eq!(ebb.ok(["ps", "-a", "--format", "{{.Names}}"]).lines().count(), 2);
    assert_eq!(ebb.inspect("one", "{{.Name}}"), "/one");
}

/// moby #31757, podman #24597: prune took volumes with names as well.
#[test]
fn moby_31757_prune_takes_what_nobody_named_unless_told_otherwise() {
    let ebb = Ebb::new();
    ebb.ok(["volume", "create", "named"]);
    ebb.ok(["run", "--name", "box", "-v", "mounted:/m", "-v", "/anonymous", "busybox", "true"]);
    ebb.ok(["rm", "box"]);
    assert_eq!(volumes(&ebb).len(), 3);
    ebb.ok(["volume", "prune", "-f"]);
    assert_eq!(volumes(&ebb), ["mounted", "named"]);
}

/// docker/compose-cli #1815: what lay in an anonymous volume was lost when its container was made anew.
#[test]
fn compose_cli_1815_an_anonymous_volume_outlives_a_plain_rm_and_run_warns_beforehand() {
    let ebb = Ebb::new();
    ebb.ok(["create", "--name", "base", "busybox"]);
    ebb.ok(["export", "-o", "root.tar", "base"]);
    ebb.ok(["rm", "base"]);
    ebb.ok(["import", "--change", "VOLUME /var/data", "root.tar", "keeper"]);
    let first = ebb.run(["run", "--name", "db", "-v", "named:/n", "keeper", "sh", "-c", "echo rows > /var/data/table"]);
    assert!(
        first.stderr.contains("the image keeps data in /var/data, which no -v of yours covers"),
        "{}",
        first.shown()
    );
    let volume = ebb.inspect("db", "{{range .Mounts}}{{if ne .Name \"named\"}}{{.Name}}{{end}}{{end}}");
    ebb.ok(["rm", "db"]);
    ebb.ok(["run", "--name", "db", "keeper", "true"]);
    let old = format!("{volume}:/old");
    assert_eq!(ebb.ok(["run", "--rm", "-v", &old, "busybox", "cat", "/old/table"]), "rows");
}

/// Prune races create: a container that exists has its volumes, whoever was first.
#[test]
fn moby_37706_a_prune_beside_a_create_takes_no_volume_from_it() {
    let ebb = Ebb::new();
    for round in 0..8 {
        let named = format!("vase{round}:/a");
        let creators: Vec<_> =
            (0..2).map(|_| ebb.spawn(["create", "-v", &named, "-v", "/b", "busybox", "true"])).collect();
        let pruners = [&["volume", "prune", "-af"][..], &["volume", "rm", "-f", &named[..named.len() - 3]]];
        let pruners: Vec<_> = pruners.iter().map(|words| ebb.spawn(*words)).collect();
        for creator in creators {
            let output = creator.wait_with_output().expect("it ends");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        for pruner in pruners {
            pruner.wait_with_output().expect("it ends");
        }
        let check = ebb.run(["system", "check"]);
        assert_eq!(check.code, 0, "{}", check.shown());
    }
    assert_eq!(ebb.ok(["ps", "-aq"]).lines().count(), 16);
}
