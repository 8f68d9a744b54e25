//! What `volume rm` and `prune` take away can be brought back, for as long as was said.

mod common;

use common::terminal::Terminal;
use common::trash::{age, data, entries, note, trashed, volume};
use common::{Answer, Ebb};
use std::path::Path;

fn volumes(ebb: &Ebb) -> Vec<String> {
    ebb.ok(["volume", "ls", "-q"]).lines().map(str::to_owned).collect()
}

#[test]
fn rm_moves_a_volume_aside_and_restore_brings_it_back_with_its_files_owners_and_labels() {
    let ebb = Ebb::new();
    ebb.ok(["volume", "create", "--label", "tier=db", "vase"]);
    let script = "echo kept > /v/f; mkdir -m 700 /v/d; echo deep > /v/d/g; ln -s f /v/l; ln /v/f /v/h";
    ebb.ok(["run", "--rm", "-v", "vase:/v", "busybox", "sh", "-c", script]);
    if !common::has_one_id() {
        ebb.ok(["run", "--rm", "-v", "vase:/v", "busybox", "chown", "-R", "33:34", "/v/d"]);
    }
    let look =
        ["run", "--rm", "-v", "vase:/v", "busybox", "sh", "-c", "stat -c '%n %u %g %a %h %Y' /v /v/*; cat /v/d/g"];
    let (before, record) = (ebb.ok(look), ebb.ok(["volume", "inspect", "vase"]));
    let removed = ebb.run(["volume", "rm", "vase"]);
    assert_eq!(removed.stdout, "vase\n", "stdout is Docker's");
    assert_eq!(removed.stderr, "ebb: vase is in the trash for 7 days; ebb volume restore vase\n");
    assert_eq!((volumes(&ebb).len(), trashed(&ebb).len()), (0, 1));
    assert_eq!(ebb.fails(1, ["volume", "inspect", "vase"]), "ebb: get vase: no such volume\n");
    assert_eq!(ebb.ok(["volume", "restore", "vase"]), "vase");
    assert_eq!((ebb.ok(look), ebb.ok(["volume", "inspect", "vase"])), (before, record));
    assert!(trashed(&ebb).is_empty());
    assert_eq!(ebb.leftovers().len(), 0);
}

#[test]
fn a_volume_with_options_comes_back_with_them_and_with_what_its_own_file_system_holds() {
    let ebb = Ebb::new();
    // Without root what has a limit is in memory, and ends with the last who uses it.
    let (options, kept): (&[&str], _) = match common::is_root() {
        true => (&["-o", "size=16m"], "kept"),
        false => (&["-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=16m"], "gone"),
    };
    ebb.ok([&["volume", "create", "--label", "tier=db"], options, &["vase"]].concat());
    let run = |script: &str| ebb.ok(["run", "--rm", "-v", "vase:/v", "busybox", "sh", "-c", script]);
    run("echo kept > /v/f");
    let record = ebb.ok(["volume", "inspect", "vase"]);
    ebb.ok(["volume", "rm", "vase"]);
    assert_eq!(ebb.ok(["volume", "restore", "vase"]), "vase");
    assert_eq!(ebb.ok(["volume", "inspect", "vase"]), record);
    assert_eq!(run("cat /v/f 2>/dev/null || echo gone"), kept);
    let full = run("dd if=/dev/zero of=/v/big bs=1M count=20 2>&1 || true");
    assert!(full.contains("No space left on device"), "{full}");
    ebb.ok(["volume", "rm", "--now", "vase"]);
}

#[test]
fn of_several_with_one_name_the_newest_comes_back_and_a_time_chooses_another() {
    let ebb = Ebb::empty();
    for text in ["first", "second", "third"] {
        volume(&ebb, "vase", text);
        ebb.ok(["volume", "rm", "vase"]);
    }
    let ids = trashed(&ebb);
    assert_eq!(ids.len(), 3);
    ebb.ok(["volume", "restore", "vase"]);
    assert_eq!(note(&ebb, "vase"), "third");
    ebb.ok(["volume", "rm", "--now", "vase"]);
    ebb.ok(["volume", "restore", &ids[2]]);
    assert_eq!(note(&ebb, "vase"), "first");
    ebb.ok(["volume", "rm", "vase"]);
    // The beginning of the time serves where one only begins so.
    let said = ebb.fails(1, ["volume", "restore", "vase@2"]);
    assert!(said.contains("2 volumes in the trash begin so") && said.contains(&ids[1]), "{said}");
    age(&ebb, &ids[1], 48);
    let aged = trashed(&ebb).pop().expect("the oldest");
    ebb.ok(["volume", "restore", aged.split_once('T').expect("a time").0]);
    assert_eq!(note(&ebb, "vase"), "second");
    let missing = ebb.fails(1, ["volume", "restore", "vas"]);
    assert!(missing.starts_with("ebb: restore vas: no such volume in the trash\n"), "a prefix is no name: {missing}");
}

#[test]
fn a_name_that_was_taken_meanwhile_is_refused_with_the_cure() {
    let ebb = Ebb::empty();
    volume(&ebb, "vase", "old");
    ebb.ok(["volume", "rm", "vase"]);
    volume(&ebb, "vase", "new");
    let said = ebb.fails(1, ["volume", "restore", "vase"]);
    assert!(said.starts_with("ebb: restore vase: there is a volume vase\n"), "{said}");
    assert!(said.contains("`ebb volume rename vase OTHER`"), "{said}");
    assert_eq!((note(&ebb, "vase"), trashed(&ebb).len()), ("new".into(), 1), "nothing was changed");
    ebb.ok(["volume", "rename", "vase", "newer"]);
    ebb.ok(["volume", "restore", "vase"]);
    assert_eq!((note(&ebb, "vase"), note(&ebb, "newer")), ("old".into(), "new".into()));
}

#[test]
fn several_are_removed_and_restored_in_one_command_each_of_which_does_what_it_can() {
    let ebb = Ebb::empty();
    for name in ["one", "two"] {
        volume(&ebb, name, name);
    }
    let removed = ebb.run(["volume", "rm", "one", "nope", "two"]);
    assert_eq!((removed.code, removed.stdout.as_str()), (1, "one\ntwo\n"));
    let told = "ebb: get nope: no such volume\nebb: 2 volumes are in the trash for 7 days; ebb volume restore NAME\n";
    assert_eq!(removed.stderr, told);
    let restored = ebb.run(["volume", "restore", "two", "nope", "one"]);
    assert_eq!((restored.code, restored.stdout.as_str()), (1, "two\none\n"));
    assert_eq!(volumes(&ebb), ["one", "two"]);
}

#[test]
fn prune_moves_aside_and_counts_as_reclaimed_only_what_is() {
    let ebb = Ebb::empty();
    let anonymous = ebb.ok(["volume", "create"]);
    std::fs::write(data(&ebb, &anonymous).join("f"), "x".repeat(1500)).expect("a file");
    volume(&ebb, "named", "n");
    let pruned = ebb.run(["volume", "prune", "-f"]);
    assert_eq!(pruned.stdout, format!("Deleted Volumes:\n{anonymous}\n\nTotal reclaimed space: 0B\n"));
    assert!(pruned.stderr.contains("is in the trash for 7 days"), "{}", pruned.shown());
    assert_eq!(volumes(&ebb), ["named"]);
    assert_eq!(ebb.ok(["volume", "restore", &anonymous]), anonymous);
    let pruned = ebb.run(["volume", "prune", "-f", "--now"]);
    assert_eq!(pruned.stdout, format!("Deleted Volumes:\n{anonymous}\n\nTotal reclaimed space: 1.5kB\n"));
    assert_eq!((pruned.stderr.as_str(), trashed(&ebb).len()), ("", 0));
    ebb.ok(["volume", "prune", "-af"]);
    let id = trashed(&ebb).pop().expect("the named one");
    let emptied = ebb.ok(["volume", "trash", "empty", "-f"]);
    assert_eq!(emptied, format!("Deleted Volumes:\n{id}\n\nTotal reclaimed space: 1B"));
}

#[test]
fn prune_takes_what_its_filters_pick() {
    let ebb = Ebb::empty();
    ebb.ok(["volume", "create", "--label", "keep", "--label", "tier=db", "first"]);
    ebb.ok(["volume", "create", "--label", "tier=db", "second"]);
    ebb.ok(["volume", "create", "third"]);
    let prune = |filters: &[&str]| -> Answer {
        let filters = filters.iter().flat_map(|filter| ["--filter", filter]);
        ebb.run(["volume", "prune", "-a", "-f"].into_iter().chain(filters))
    };
    prune(&["until=1h"]);
    assert_eq!(volumes(&ebb), ["first", "second", "third"], "none is an hour old");
    prune(&["label=tier=db", "label!=keep"]);
    assert_eq!(volumes(&ebb), ["first", "third"]);
    prune(&["label!=keep", "label!=other", "until=2100-01-01"]);
    assert_eq!(volumes(&ebb), ["first"]);
    assert!(prune(&["until=soon"]).stderr.contains("invalid filter 'until=soon': not a time or duration"));
    for command in
        [&["volume", "prune"][..], &["system", "prune", "--volumes"], &["image", "prune"], &["container", "prune"]]
    {
        let said = ebb.fails(1, [command, &["-f", "--filter", "until=0s", "--filter", "until=720h"]].concat());
        assert_eq!(said, "ebb: more than one until filter specified\n");
    }
    assert!(prune(&["colour=red"]).stderr.contains("invalid filter 'colour'"));
}

#[test]
fn rm_now_keeps_nothing_and_says_nothing() {
    let ebb = Ebb::new();
    ebb.ok(["run", "--rm", "-v", "vase:/v", "busybox", "sh", "-c", "mkdir -m 0 /v/d; touch /v/f"]);
    let removed = ebb.run(["volume", "rm", "--now", "vase"]);
    assert_eq!((removed.code, removed.stdout.as_str(), removed.stderr.as_str()), (0, "vase\n", ""));
    assert_eq!((volumes(&ebb).len(), trashed(&ebb).len(), ebb.leftovers().len()), (0, 0, 0));
}

#[test]
fn rm_v_moves_anonymous_volumes_aside_and_what_was_started_with_rm_takes_them_along_for_good() {
    let ebb = Ebb::new();
    ebb.ok(["run", "--name", "box", "-v", "/data", "busybox", "sh", "-c", "echo kept > /data/note"]);
    let name = volumes(&ebb).pop().expect("the anonymous volume");
    let foreseen = ebb.ok(["rm", "--dry-run", "-v", "box"]);
    assert!(foreseen.contains(&format!("  anonymous volume {name} (/data), into the trash\n")), "{foreseen}");
    let removed = ebb.run(["rm", "-v", "box"]);
    let told = format!("ebb: {name} is in the trash for 7 days; ebb volume restore {name}\n");
    assert_eq!((removed.stdout.as_str(), removed.stderr), ("box\n", told));
    ebb.ok(["volume", "restore", &name]);
    assert_eq!(note(&ebb, &name), "kept\n");
    ebb.ok(["volume", "rm", "--now", &name]);
    // Nobody asked to keep anything of these, and a machine that runs thousands of them needs its space back.
    ebb.ok(["run", "--rm", "-v", "/data", "busybox", "touch", "/data/f"]);
    ebb.ok(["run", "-d", "--rm", "--name", "box", "-v", "/data", "busybox", "sleep", "1000"]);
    let foreseen = ebb.ok(["rm", "--dry-run", "-f", "box"]);
    assert!(foreseen.contains(" (/data)\n") && !foreseen.contains("trash"), "{foreseen}");
    ebb.ok(["rm", "-f", "box"]);
    assert_eq!((volumes(&ebb).len(), trashed(&ebb).len()), (0, 0));
}

#[test]
fn trash_ls_shows_what_is_there_and_empty_asks_first() {
    let ebb = Ebb::empty();
    assert_eq!(ebb.ok(["volume", "trash", "ls"]), "VOLUME    REMOVED   KEPT FOR   SIZE");
    assert_eq!(ebb.ok(["volume", "trash", "empty", "-f"]), "Total reclaimed space: 0B");
    ebb.ok(["volume", "create", "--label", "tier=db", "vase"]);
    volume(&ebb, "jug", "12345");
    ebb.ok(["volume", "rm", "vase", "jug"]);
    let columns = ebb.ok(["volume", "trash", "ls", "--format", "{{.Name}} {{.Size}} {{.Labels}} {{.KeptFor}}"]);
    assert_eq!(columns, "jug 5B  7 days\nvase 0B tier=db 7 days");
    assert_eq!(ebb.ok(["volume", "trash", "ls", "-f", "label=tier", "--format", "{{.Name}}"]), "vase");
    assert_eq!(ebb.ok(["volume", "trash", "list", "-f", "name=^ju", "--format", "{{.Name}}"]), "jug");
    let place = ebb.ok(["volume", "trash", "ls", "-f", "name=jug", "--format", "{{.Mountpoint}}"]);
    assert_eq!(std::fs::read_to_string(Path::new(&place).join("note")).expect("the file"), "12345");
    let asked = ebb.run_with(b"n\n", ["volume", "trash", "empty"]);
    assert!(asked.stdout.starts_with("WARNING! This will remove all volumes in the trash, for good.\n"));
    assert_eq!(trashed(&ebb).len(), 2);
    let asked = ebb.run_with(b"y\n", ["volume", "trash", "empty"]);
    assert!(asked.stdout.ends_with("\n\nTotal reclaimed space: 5B\n"), "{}", asked.shown());
    assert_eq!((trashed(&ebb).len(), ebb.leftovers().len()), (0, 0));
}

/// One command removes many within a millisecond, which the directory's name must tell apart.
#[test]
fn trash_ls_shows_first_what_was_removed_last_however_fast_that_went() {
    let ebb = Ebb::empty();
    let names = ["ff", "bb", "hh", "aa", "gg", "dd", "cc", "ee"];
    for name in names {
        ebb.ok(["volume", "create", name]);
    }
    ebb.ok([&["volume", "rm"][..], &names].concat());
    let listed = ebb.ok(["volume", "trash", "ls", "--format", "{{.Name}}"]);
    let newest_first: Vec<&str> = names.into_iter().rev().collect();
    assert_eq!(listed.lines().collect::<Vec<_>>(), newest_first);
}

#[test]
fn where_says_what_can_be_brought_back_and_how() {
    let ebb = Ebb::new();
    ebb.ok(["create", "--name", "box", "-v", "vase:/v", "-v", "/anonymous", "--tmpfs", "/memory", "busybox"]);
    let trash = |place: &str| ebb.ok(["where", "--format", "{{.Trash}}", place]);
    assert_eq!(trash("box:/v"), "7 days after volume rm");
    assert_eq!(trash("box:/anonymous"), "7 days after rm -v, volume rm");
    assert_eq!((trash("box:/memory"), trash("box:/bin/sh")), (String::new(), String::new()));
    let way = "  in the trash 7 days after volume rm: ebb volume restore vase";
    for place in ["vase", "box:/v"] {
        assert!(ebb.ok(["where", place]).lines().any(|line| line == way));
    }
    assert!(ebb.ok(["where", "box"]).lines().next().expect("a header").ends_with("TRASH"));
    ebb.ok(["rm", "box"]);
    ebb.ok(["volume", "rm", "vase"]);
    let said = ebb.fails(1, ["where", "vase"]);
    let cure = "  a volume vase is in the trash: ebb volume restore vase\n";
    assert_eq!(said, format!("ebb: No such container or volume: vase\n{cure}"));
}

#[test]
fn check_knows_the_trash_and_mends_a_record() {
    let ebb = Ebb::empty();
    volume(&ebb, "vase", "kept");
    ebb.ok(["volume", "rm", "vase"]);
    assert!(ebb.ok(["system", "check"]).ends_with("sound"));
    let entry = ebb.store().join("volume-trash").join(&trashed(&ebb)[0]);
    std::fs::write(entry.join("volume.json"), "{").expect("broken");
    assert!(ebb.fails(1, ["volume", "restore", "vase"]).contains("volume.json"), "what is broken stays where it is");
    let found = ebb.run(["system", "check"]);
    assert!(found.code == 1 && found.stdout.contains("its record cannot be read"), "{}", found.shown());
    let mended = ebb.run(["system", "check", "--repair"]);
    assert!(mended.code == 0 && mended.stdout.contains("the record was made again"), "{}", mended.shown());
    ebb.ok(["volume", "restore", "vase"]);
    assert_eq!(note(&ebb, "vase"), "kept");
    // What nobody's rm put there is nobody's to remove.
    let stranger = ebb.store().join("volume-trash/precious");
    std::fs::create_dir(&stranger).expect("a directory");
    assert!(ebb.ok(["system", "check"]).contains("trash precious: "));
    ebb.ok(["volume", "trash", "empty", "-f"]);
    assert!(stranger.is_dir());
}

#[test]
fn the_longest_of_names_comes_back_whole() {
    let ebb = Ebb::empty();
    let (one, other) = ("n".repeat(255), format!("{}x", "n".repeat(254)));
    for name in [&one, &other] {
        volume(&ebb, name, name);
        ebb.ok(["volume", "rm", name]);
    }
    ebb.ok(["volume", "restore", &one]);
    ebb.ok(["volume", "restore", &other]);
    assert_eq!((note(&ebb, &one), note(&ebb, &other)), (one.clone(), other.clone()));
    assert_eq!(ebb.ok(["volume", "rm", "--now", &one]), one);
}

/// Each is held at its worst moments, and the other one runs to its end meanwhile.
#[test]
fn restore_races_empty_and_the_volume_is_back_whole_or_gone_whole() {
    let ebb = Ebb::empty();
    let (restore, empty) = (["volume", "restore", "vase"], ["volume", "trash", "empty", "-f"]);
    let throw_away = || {
        ebb.ok(["volume", "create", "vase"]);
        for number in 0..50 {
            std::fs::write(data(&ebb, "vase").join(number.to_string()), "x").expect("a file");
        }
        ebb.ok(["volume", "rm", "vase"]);
    };
    let nothing_is_left = || {
        assert!(volumes(&ebb).is_empty());
        assert_eq!((trashed(&ebb).len(), ebb.leftovers().len()), (0, 0));
    };
    // Each has found it, and the other is faster.
    throw_away();
    let restoring = Terminal::at_the_step(&ebb, &restore, "it is back for everyone at once");
    ebb.ok(empty);
    assert_eq!(restoring.goes_on(), 1);
    nothing_is_left();
    throw_away();
    let emptying = Terminal::at_the_step(&ebb, &empty, "one rename into the trash");
    ebb.ok(restore);
    assert_eq!(emptying.goes_on(), 0);
    assert_eq!(entries(&data(&ebb, "vase")), 50);
    assert_eq!((trashed(&ebb).len(), ebb.leftovers().len()), (0, 0));
    ebb.ok(["volume", "rm", "vase"]);
    // Its files are gone, and it itself is not yet.
    let emptying = Terminal::at_the_step(&ebb, &empty, "everything in it is unlinked");
    let said = ebb.fails(1, restore);
    assert!(said.starts_with("ebb: restore vase: no such volume in the trash\n"), "{said}");
    assert_eq!(emptying.goes_on(), 0);
    nothing_is_left();
}

#[test]
fn of_many_that_remove_one_volume_at_once_one_does_and_it_is_in_the_trash_once() {
    let ebb = Ebb::empty();
    volume(&ebb, "vase", "kept");
    let removers: Vec<_> = (0..8).map(|_| ebb.spawn(["volume", "rm", "vase"])).collect();
    let done = removers.into_iter().map(|child| child.wait_with_output().expect("ends").status.success());
    assert_eq!(done.filter(|done| *done).count(), 1);
    assert_eq!(trashed(&ebb).len(), 1);
    ebb.ok(["volume", "restore", "vase"]);
    assert_eq!(note(&ebb, "vase"), "kept");
}

#[test]
fn what_is_mounted_inside_a_trashed_volume_is_not_deleted_with_it() {
    let ebb = Ebb::empty();
    // A user's own mount namespace does for root's: the refusal is the same.
    let script = r#"
        set -e
        export EBB_ROOT="$1/store"
        "$2" volume create vase
        mkdir "$EBB_ROOT/volumes/vase/_data/inner" "$1/other"
        echo precious > "$1/other/f"
        "$2" volume rm vase
        mount --bind "$1/other" "$EBB_ROOT"/volume-trash/vase@*/_data/inner
        "$2" volume trash empty -f && exit 9
        test -e "$EBB_ROOT"/volume-trash/vase@*/_data/inner/f
        umount "$EBB_ROOT"/volume-trash/vase@*/_data/inner
        "$2" volume trash empty -f
        cat "$1/other/f"
    "#;
    let mut shell = std::process::Command::new("unshare");
    shell.args(["-rm", "sh", "-c", script, "sh"]).arg(&ebb.dir).arg(env!("CARGO_BIN_EXE_ebb"));
    let answer = common::answer(&mut shell);
    assert_eq!(answer.code, 0, "{}", answer.shown());
    assert!(answer.stderr.contains("is mounted inside it"), "{}", answer.shown());
    assert!(answer.stdout.ends_with("precious\n"), "{}", answer.shown());
}
