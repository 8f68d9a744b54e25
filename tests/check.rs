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

#[test]
fn a_record_that_is_damaged_stays_beside_the_new_one_and_a_later_ebb_s_is_left_alone() {
    let ebb = Ebb::empty();
    ebb.ok(["volume", "create", "vase"]);
    let place = ebb.store().join("volumes/vase");
    std::fs::write(place.join("_data/note"), "kept").expect("written");
    std::fs::write(place.join("volume.json"), "{\"Labels\": {\"keep\": \"yes\"").expect("broken");
    ebb.ok(["system", "check", "--repair"]);
    let names = std::fs::read_dir(&place).expect("it").flatten().map(|entry| entry.file_name());
    let old: Vec<_> = names.filter(|name| name.to_string_lossy().starts_with("volume.json.damaged")).collect();
    assert_eq!(old.len(), 1);
    assert!(std::fs::read_to_string(place.join(&old[0])).expect("it").contains("keep"));
    ebb.ok(["volume", "create", "--label", "keep=yes", "new"]);
    std::fs::write(ebb.store().join("volumes/new/_data/note"), "kept").expect("written");
    let record = ebb.store().join("volumes/new/volume.json");
    let newer = std::fs::read_to_string(&record).expect("it").replace("\"Version\": 1", "\"Version\": 99");
    std::fs::write(&record, &newer).expect("written");
    let trash = ebb.store().join("volume-trash/new@2999-01-01T00:00:00.000000Z");
    std::fs::create_dir_all(trash.parent().expect("it")).expect("it");
    std::fs::rename(ebb.store().join("volumes/new"), &trash).expect("moved");
    let found = ebb.run(["system", "check", "--repair"]);
    assert!(found.code == 1 && found.stdout.contains("was written by a later Ebb"), "{}", found.shown());
    assert_eq!(std::fs::read_to_string(trash.join("volume.json")).expect("it"), newer);
    std::fs::remove_dir_all(&trash).expect("removed");
}

#[test]
fn a_volume_whose_data_only_its_record_could_tell_is_set_apart_from_the_trash_too() {
    let ebb = Ebb::empty();
    let (volumes, trash) = (ebb.store().join("volumes"), ebb.store().join("volume-trash"));
    ebb.ok(["volume", "create", "elsewhere"]);
    ebb.ok(["volume", "create", "limited"]);
    // Of a volume with `type`, `device` and `o`, or with `size`: a place for its mount, and the file system.
    std::fs::write(volumes.join("elsewhere/volume.json"), "{\"Name\": \"elsewh").expect("broken");
    std::fs::write(volumes.join("limited/disk"), "a file system").expect("written");
    std::fs::write(volumes.join("limited/volume.json"), "").expect("broken");
    std::fs::create_dir_all(&trash).expect("it");
    std::fs::rename(volumes.join("limited"), trash.join("limited@2999-01-01T00:00:00.000000Z")).expect("moved");
    let mended = ebb.ok(["system", "check", "--repair"]);
    assert_eq!(mended.matches("moved to ").count(), 2, "{mended}");
    let apart = std::fs::read_dir(ebb.store().join("set-apart")).expect("a directory").count();
    assert_eq!((apart, std::fs::read_dir(&volumes).expect("it").count()), (2, 0));
}

#[test]
fn a_container_that_runs_is_not_moved_from_under_its_processes() {
    let ebb = Ebb::new();
    let id = ebb.ok(["run", "-d", "--name", "live", "-v", "vase:/v", "busybox", "sleep", "1000"]);
    let path = |name: &str| ebb.store().join("containers").join(&id).join(name);
    let whole = ["container.json", "state.json"].map(|name| std::fs::read(path(name)).expect("it"));
    let state: serde_json::Value = serde_json::from_slice(&whole[1]).expect("JSON");
    // Its state may be damaged, too: then the kernel is asked who lives.
    let supervisor = &state["Supervisor"]["Pid"];
    for damaged in [&["container.json"][..], &["container.json", "state.json"]] {
        for name in damaged {
            std::fs::write(path(name), "{").expect("broken");
        }
        let found = ebb.run(["system", "check", "--repair"]);
        let said = format!("it runs, as process {supervisor}: end that first (`kill -KILL {supervisor}`)");
        assert!(found.code == 1 && found.stdout.contains(&said), "{}", found.shown());
        assert!(path("container.json").exists(), "it stays in its place");
        assert_eq!(ebb.run(["volume", "rm", "--now", "vase"]).code, 1, "and its volume is in use");
    }
    for (name, whole) in ["container.json", "state.json"].into_iter().zip(&whole) {
        std::fs::write(path(name), whole).expect("whole again");
    }
    assert_eq!(ebb.ok(["exec", "live", "echo", "alive"]), "alive", "to be asked does it no harm");
    // Damaged and at an end, it is set apart.
    ebb.ok(["stop", "-t", "0", "live"]);
    for name in ["container.json", "state.json"] {
        std::fs::write(path(name), "{").expect("broken");
    }
    let found = ebb.run(["system", "check", "--repair"]);
    assert!(found.stdout.contains("moved to "), "{}", found.shown());
    // The overlay's own directory is closed to all.
    let apart = std::fs::read_dir(ebb.store().join("set-apart")).expect("it").flatten().next().expect("one").path();
    std::fs::set_permissions(apart.join("work/work"), std::os::unix::fs::PermissionsExt::from_mode(0o700))
        .expect("ours");
}
