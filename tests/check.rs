//! `ebb system check` sees what is not sound, and `--repair` mends it without losing what may be somebody's.

mod common;

use common::Ebb;
use common::record::Record;

#[test]
fn a_sound_store_is_said_to_be_sound() {
    let ebb = Ebb::new();
    ebb.ok(["run", "-d", "--name", "box", "-v", "vase:/v", "busybox", "sleep", "1000"]);
    assert_eq!(ebb.ok(["system", "check"]), "1 containers, 1 volumes, 1 images: sound");
    ebb.ok(["rm", "-f", "box"]);
    assert_eq!(ebb.ok(["system", "check", "--format", "{{.Containers}} {{len .Findings}}"]), "0 0");
}

#[test]
fn a_volume_whose_record_is_lost_gets_a_new_one_and_keeps_its_data() {
    let ebb = Ebb::new();
    ebb.ok(["run", "--rm", "-v", "vase:/v", "busybox", "sh", "-c", "echo kept > /v/note"]);
    std::fs::write(ebb.store().join("volumes/vase/volume.json"), "{").expect("broken");
    let found = ebb.run(["system", "check"]);
    assert!(found.code == 1 && found.stdout.contains("volume vase: its record cannot be read"), "{}", found.shown());
    assert!(ebb.ok(["system", "check", "--repair"]).contains("the record was made again"));
    assert_eq!(ebb.ok(["run", "--rm", "-v", "vase:/v", "busybox", "cat", "/v/note"]), "kept");
    ebb.ok(["system", "check"]);
}

#[test]
fn a_container_that_cannot_be_read_is_set_apart_and_not_removed() {
    let ebb = Ebb::empty();
    let id = Record::new("odd").put(&ebb, "aa");
    std::fs::write(ebb.store().join("containers").join(&id).join("container.json"), "{").expect("broken");
    assert_eq!(ebb.run(["system", "check"]).code, 1);
    let mended = ebb.ok(["system", "check", "--repair"]);
    assert!(mended.contains("moved to ") && mended.contains("it is free"), "{mended}");
    let apart = std::fs::read_dir(ebb.store().join("set-apart")).expect("a directory").flatten().next().expect("one");
    assert!(apart.path().join("container.json").exists());
    assert_eq!(ebb.ok(["system", "check"]), "0 containers, 0 volumes, 0 images: sound");
}

#[test]
fn a_name_that_was_lost_leads_to_its_container_again() {
    let ebb = Ebb::new();
    ebb.ok(["create", "--name", "box", "busybox", "true"]);
    std::fs::remove_file(ebb.store().join("names/box")).expect("removed");
    let found = ebb.run(["system", "check"]);
    assert!(
        found.code == 1 && found.stdout.contains("container box: its name does not lead to it"),
        "{}",
        found.shown()
    );
    ebb.ok(["system", "check", "--repair"]);
    ebb.ok(["start", "-a", "box"]);
}

#[test]
fn a_layer_that_is_gone_is_named() {
    let ebb = Ebb::new();
    let layers = ebb.store().join("images/layers/sha256");
    let layer = std::fs::read_dir(&layers).expect("the layers").flatten().next().expect("one").path();
    std::fs::rename(&layer, ebb.dir.join("aside")).expect("moved");
    let found = ebb.run(["system", "check", "--repair"]);
    assert!(
        found.code == 1 && found.stdout.contains("is not there: load or make the image again"),
        "{}",
        found.shown()
    );
    std::fs::rename(ebb.dir.join("aside"), &layer).expect("moved back");
    ebb.ok(["system", "check"]);
}
