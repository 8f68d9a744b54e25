//! How long the trash keeps a volume: for days that can be set, however full the disk is.

mod common;

use common::Ebb;
use common::trash::{age, entries, note, trashed, volume};

#[test]
fn what_is_older_than_seven_days_goes_with_the_next_command_that_makes_something() {
    let ebb = Ebb::new();
    for name in ["old", "young"] {
        volume(&ebb, name, name);
        ebb.ok(["volume", "rm", name]);
    }
    let [young, old] = <[String; 2]>::try_from(trashed(&ebb)).expect("two");
    age(&ebb, &old, 7 * 24 + 1);
    age(&ebb, &young, 7 * 24 - 1);
    ebb.ok(["create", "--name", "box", "busybox"]);
    assert_eq!(entries(&ebb.store().join("volume-trash")), 1);
    let listed = ebb.ok(["volume", "trash", "ls", "--format", "{{.Name}}: removed {{.Removed}}"]);
    assert_eq!(listed, "young: removed 6 days ago");
    ebb.ok(["volume", "restore", "young"]);
    assert_eq!((note(&ebb, "young"), ebb.leftovers().len()), ("young".into(), 0));
}

#[test]
fn the_stores_settings_say_for_how_many_days_and_what_they_do_not_say_is_refused() {
    let ebb = Ebb::empty();
    let settings = ebb.store().join("settings.json");
    volume(&ebb, "vase", "kept");
    std::fs::write(&settings, r#"{"TrashDays": 30}"#).expect("the settings");
    assert!(ebb.run(["volume", "rm", "vase"]).stderr.contains("for 30 days"));
    age(&ebb, &trashed(&ebb)[0], 29 * 24);
    assert_eq!(trashed(&ebb).len(), 1);
    ebb.ok(["volume", "restore", "vase"]);
    for wrong in [r#"{"TrashDay": 30}"#, r#"{"TrashDays": -1}"#, "{"] {
        std::fs::write(&settings, wrong).expect("the settings");
        let said = ebb.fails(1, ["volume", "rm", "vase"]);
        assert!(said.contains("settings.json") && said.contains(r#"{"TrashDays": 7}"#), "{wrong}: {said}");
        assert_eq!(note(&ebb, "vase"), "kept", "{wrong}");
        let check = ebb.run(["system", "check"]);
        assert!(check.code == 1 && check.stdout.starts_with("settings settings.json: "), "{}", check.shown());
    }
    // Longer than time goes back.
    std::fs::write(&settings, r#"{"TrashDays": 4294967295}"#).expect("the settings");
    ebb.ok(["volume", "rm", "vase"]);
    assert_eq!(trashed(&ebb).len(), 1);
    ebb.ok(["volume", "restore", "vase"]);
    // No trash at all: as Docker has it.
    std::fs::write(&settings, r#"{"TrashDays": 0}"#).expect("the settings");
    let removed = ebb.run(["volume", "rm", "vase"]);
    assert_eq!((removed.stdout.as_str(), removed.stderr.as_str()), ("vase\n", ""));
    assert_eq!((trashed(&ebb).len(), ebb.leftovers().len()), (0, 0));
}

/// On a file system of 20 MB, in a mount namespace that goes with the test's shell.
#[test]
fn a_full_disk_takes_nothing_out_of_the_trash_and_is_told_of_with_what_would_help() {
    let ebb = Ebb::empty();
    let script = r#"
        mount -t tmpfs -o size=20m,mode=700 tmpfs "$1"
        export EBB_ROOT="$1"
        for name in aa bb; do
            "$2" volume create $name
            head -c 6m /dev/zero > "$1/volumes/$name/_data/f"
            "$2" volume rm $name
        done
        "$2" volume create cc
        # As a container fills it.
        cat /dev/zero > "$1/volumes/cc/_data/f" 2>/dev/null
        "$2" volume create dd
        echo $?
        "$2" volume prune -f
        "$2" volume trash ls --format '{{.Name}} {{.Size}}'
        "$2" volume restore aa
        "$2" volume trash empty -f >/dev/null
        "$2" volume create dd
    "#;
    let mut shell = std::process::Command::new("unshare");
    shell.args(["-rm", "sh", "-c", script, "sh"]).arg(&ebb.dir).arg(env!("CARGO_BIN_EXE_ebb"));
    let answer = common::answer(&mut shell);
    assert_eq!(answer.code, 0, "{}", answer.shown());
    let lines: Vec<&str> = answer.stdout.lines().collect();
    let wanted = ["aa", "aa", "bb", "bb", "cc", "1", "Total reclaimed space: 0B", "bb 6.29MB", "aa 6.29MB", "aa", "dd"];
    assert_eq!(lines, wanted, "{}", answer.shown());
    let said =
        "no space left on device\n  2 removed volumes in the trash take 12.6 MB: `ebb volume trash empty` removes them";
    assert!(answer.stderr.contains(said), "{}", answer.shown());
    assert!(!answer.stderr.contains("is removed from the trash"), "{}", answer.shown());
}

#[test]
fn a_store_that_was_made_before_there_was_a_trash_gets_one() {
    let ebb = Ebb::empty();
    volume(&ebb, "vase", "kept");
    std::fs::remove_dir(ebb.store().join("volume-trash")).expect("empty");
    assert_eq!(ebb.ok(["volume", "trash", "ls", "-q"]), "");
    ebb.ok(["volume", "rm", "vase"]);
    ebb.ok(["volume", "restore", "vase"]);
    assert_eq!(note(&ebb, "vase"), "kept");
}
