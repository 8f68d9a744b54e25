//! A store outlives the Ebb that made it: what an earlier version wrote is read, and what a later one wrote is refused
//! with a sentence, and left as it is.

mod common;

use common::{Ebb, is_root};
use serde_json::Value;
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The store of tests/fixtures/make-store.sh, as that version of the format had it.
fn old_store(version: u32) -> Ebb {
    let ebb = Ebb::empty();
    let packed = format!("{}/tests/fixtures/store-{version}.tar.gz", env!("CARGO_MANIFEST_DIR"));
    std::fs::create_dir(ebb.store()).expect("a directory");
    let mut tar = Command::new("tar");
    tar.args(["--xattrs", "-xpzf", &packed, "-C"]).arg(ebb.store());
    if !is_root() {
        tar.arg("--no-same-owner");
    }
    assert!(tar.status().expect("tar starts").success());
    ebb
}

/// Every file of the store: its inode and its contents.
fn files(root: &Path) -> BTreeMap<PathBuf, (u64, Vec<u8>)> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(root).into_iter().flatten().flatten() {
        let meta = entry.path().symlink_metadata().expect("it is there");
        let bytes = if meta.is_file() { std::fs::read(entry.path()).expect("readable") } else { Vec::new() };
        found.insert(entry.path(), (meta.ino(), bytes));
        if meta.is_dir() {
            found.extend(files(&entry.path()));
        }
    }
    found
}

fn assert_sound(ebb: &Ebb) {
    let check = ebb.run(["system", "check"]);
    assert!(check.code == 0 && check.stdout.ends_with(": sound\n"), "{}", check.shown());
}

#[test]
fn the_first_version_s_store_is_read_and_used_as_it_was() {
    let ebb = old_store(1);
    assert_sound(&ebb);
    assert_eq!(
        ebb.ok(["ps", "-a", "--format", "{{.Names}} {{.Image}} {{.State}}"]),
        "ended tiny exited\nmade tiny created"
    );
    assert_eq!(ebb.ok(["images", "-q", "tiny:latest"]), ebb.ok(["images", "-q", "tiny:second"]));
    assert_eq!(ebb.ok(["volume", "inspect", "-f", "{{.Labels.tier}}", "vase"]), "db");
    assert_eq!(ebb.ok(["logs", "ended"]), "from the image");
    // What was written into the layer and into each volume is there, and goes on being written.
    ebb.ok(["cp", "ended:/added", "added"]);
    assert_eq!(std::fs::read_to_string(ebb.dir.join("added")).expect("copied"), "kept\n");
    assert_eq!(ebb.ok(["start", "-a", "made"]), "kept");
    ebb.ok(["start", "ended"]);
    ebb.ok(["wait", "ended"]);
    assert_eq!(ebb.ok(["run", "--rm", "-v", "vase:/v", "tiny", "/bin/cat", "/v/note"]), "kept");
    ebb.ok(["rename", "made", "renamed"]);
    ebb.ok(["tag", "tiny", "tiny:third"]);
    ebb.ok(["image", "save", "-o", "tiny.tar", "tiny:second"]);
    assert_sound(&ebb);
}

/// podman #5009: after an upgrade, volumes that had a name passed for anonymous.
#[test]
fn podman_5009_a_volume_is_after_an_upgrade_what_it_was_before() {
    let ebb = old_store(1);
    let unnamed = ebb.ok(["volume", "ls", "-qf", "label=com.docker.volume.anonymous"]);
    assert_eq!(unnamed.len(), 64);
    ebb.ok(["volume", "prune", "-af"]);
    assert_eq!(ebb.ok(["volume", "ls", "-q"]).lines().count(), 2, "both are in use");
    ebb.ok(["rm", "made"]);
    ebb.ok(["rm", "-fv", "ended"]);
    assert_eq!(ebb.ok(["volume", "ls", "-q"]), "vase", "`rm -v` takes the one that nobody named");
    ebb.ok(["volume", "prune", "-f"]);
    assert_eq!(ebb.ok(["run", "--rm", "-v", "vase:/v", "tiny", "/bin/cat", "/v/note"]), "kept");
    assert_eq!(ebb.ok(["volume", "ls", "-q"]), "vase");
}

#[test]
fn a_store_that_a_command_only_reads_gets_its_mark_and_is_otherwise_the_same() {
    let ebb = old_store(1);
    let before = files(&ebb.store());
    for words in
        [&["ps", "-a"][..], &["volume", "ls"], &["images"], &["system", "check"], &["inspect", "made", "ended"]]
    {
        ebb.ok(words);
    }
    let mut after = files(&ebb.store());
    let (_, mark) = after.remove(&ebb.store().join("store.json")).expect("the mark");
    assert_eq!(serde_json::from_slice::<Value>(&mark).expect("JSON")["Version"], 1);
    assert!(after == before, "something else was changed");
}

const COMMANDS: &[&[&str]] = &[
    &["ps", "-a"],
    &["images"],
    &["volume", "ls"],
    &["volume", "create", "another"],
    &["volume", "rm", "-f", "vase"],
    &["volume", "prune", "-af"],
    &["run", "--rm", "-v", "vase:/data", "tiny"],
    &["create", "tiny"],
    &["start", "ended"],
    &["rename", "ended", "other"],
    &["rm", "-fv", "ended"],
    &["container", "prune", "-f"],
    &["tag", "tiny", "another"],
    &["rmi", "-f", "tiny"],
    &["image", "prune", "-af"],
    &["system", "check"],
    &["system", "check", "--repair"],
];

#[test]
fn a_store_of_a_later_version_is_refused_and_left_as_it_is() {
    let ebb = old_store(1);
    ebb.ok(["ps"]);
    let mark = ebb.store().join("store.json");
    // In its later form it need not look like anything that this Ebb knows, but for the version.
    std::fs::write(&mark, r#"{"Version": 2, "Places": {"volumes": "elsewhere"}}"#).expect("written");
    let before = files(&ebb.store());
    for words in COMMANDS {
        let answer = ebb.run(*words);
        let code = if ["run", "create"].contains(&words[0]) { 125 } else { 1 };
        assert_eq!(answer.code, code, "{}", answer.shown());
        let wanted = format!(
            "ebb: open the store {}: {} was written by a later Ebb: it has version 2, and this Ebb knows versions up to 1\n  \
             use the Ebb that wrote it, or a later one; nothing was changed\n",
            ebb.store().display(),
            mark.display()
        );
        assert!(answer.stderr.starts_with(&wanted), "{}", answer.shown());
        assert!(files(&ebb.store()) == before, "changed by {}", answer.shown());
    }
    std::fs::write(&mark, r#"{"Version": 1}"#).expect("written");
}

/// Each record by itself, too: nothing is concluded from one that a later Ebb wrote, and nothing is changed in it.
#[test]
fn a_record_of_a_later_version_is_refused_and_left_as_it_is() {
    let ebb = old_store(1);
    ebb.ok(["ps"]);
    let store = ebb.store();
    let ended = store.join("containers").join(ebb.inspect("ended", "{{.Id}}"));
    let layers = std::fs::read_dir(store.join("images/layers/sha256")).expect("layers");
    let layer = layers.flatten().next().expect("a layer").path();
    for (record, refused) in [
        (store.join("volumes/vase/volume.json"), &["volume rm", "volume prune", "run --rm", "system check"][..]),
        (
            ended.join("container.json"),
            &["ps", "volume rm", "volume prune", "start", "rename", "rm", "image prune", "system check"],
        ),
        (ended.join("state.json"), &["ps", "rm", "system check"]),
        (
            store.join("images/names.json"),
            &["images", "run --rm", "create", "tag", "rmi", "image prune", "system check"],
        ),
        (layer.join("layer.json"), &["images", "run --rm", "create", "rmi", "image prune", "system check"]),
    ] {
        let bytes = std::fs::read(&record).expect("a record");
        let mut value: Value = serde_json::from_slice(&bytes).expect("JSON");
        let key = if value.get("version").is_some() { "version" } else { "Version" };
        value[key] = 7.into();
        let known = value.to_string();
        let unknown = format!(r#"{{"{key}": 7, "Whatever": [1, 2]}}"#);
        for text in [known, unknown] {
            std::fs::write(&record, &text).expect("written");
            let kept = std::fs::metadata(&record).expect("a record").ino();
            let is_refused = |words: &&&[&str]| {
                refused.iter().any(|start| (words.join(" ") + " ").starts_with(&format!("{start} ")))
            };
            for words in COMMANDS.iter().filter(is_refused) {
                let answer = ebb.run(*words);
                let shown = format!("with {}: {}", record.display(), answer.shown());
                assert_ne!(answer.code, 0, "{shown}");
                let told = answer.stdout.clone() + &answer.stderr;
                assert!(told.contains("was written by a later Ebb: it has version 7"), "{shown}");
                assert_eq!(std::fs::read_to_string(&record).ok().as_ref(), Some(&text), "{shown}");
                assert_eq!(std::fs::metadata(&record).expect("it is there").ino(), kept, "{shown}");
            }
        }
        std::fs::write(&record, bytes).expect("written");
        // Whatever was refused has taken nothing along.
        assert_eq!(ebb.ok(["volume", "inspect", "-f", "{{.Labels.tier}}", "vase"]), "db");
        assert!(store.join("volumes/vase/_data/note").is_file());
        assert!(ended.exists(), "with {} its container went", record.display());
    }
}

/// So that a later Ebb can tell. Not Ebb's own formats, and so without a version of Ebb's: the bundle, which has the OCI's;
/// an image's configuration, whose digest is its name; and what is only remembered until the machine is restarted.
#[test]
fn every_record_says_which_version_it_has() {
    let ebb = Ebb::new();
    ebb.ok(["volume", "create", "vase"]);
    ebb.ok(["run", "--name", "box", "-v", "vase:/v", "-v", "/nobody", "busybox", "true"]);
    ebb.ok(["create", "--name", "other", "busybox", "true"]);
    ebb.ok(["tag", "busybox", "another"]);
    let mut seen = Vec::new();
    for (path, (_, bytes)) in files(&ebb.store()) {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if !name.ends_with(".json") || path.starts_with(ebb.store().join("images/layers")) && name != "layer.json" {
            continue;
        }
        let value: Value = serde_json::from_slice(&bytes).expect("JSON");
        let version = ["Version", "version", "ociVersion"].iter().find_map(|key| value.get(key));
        assert!(version.is_some() || name == "idmap.json", "{} says no version: {value}", path.display());
        seen.push(name);
    }
    seen.sort();
    seen.dedup();
    for name in ["config.json", "container.json", "layer.json", "names.json", "state.json", "store.json", "volume.json"]
    {
        assert!(seen.iter().any(|found| found == name), "{name} is not among {seen:?}");
    }
}
