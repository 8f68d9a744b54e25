//! A store that is broken is mended: what can be made again is, what cannot is set apart, and each line says what to type next.

mod common;

use common::Ebb;
use std::path::{Path, PathBuf};

/// A store with a container that has ended, its volume with a note in it, and an image.
struct Broken {
    ebb: Ebb,
    container: PathBuf,
}

impl Broken {
    fn new() -> Broken {
        let ebb = Ebb::new();
        let words = ["sh", "-c", "echo kept > /v/note"];
        ebb.ok(["run", "--name", "box", "-v", "vase:/v", "busybox"].into_iter().chain(words));
        let id = ebb.inspect("box", "{{.Id}}");
        let container = ebb.store().join("containers").join(id);
        Broken { ebb, container }
    }

    fn store(&self, name: &str) -> PathBuf {
        self.ebb.store().join(name)
    }

    /// It is found, said with what to type next, mended, and sound.
    fn is_mended(&self, wrong: &str, mended: &str) {
        let found = self.ebb.run(["system", "check"]);
        let line = found.stdout.lines().find(|line| line.contains(wrong));
        assert!(
            found.code == 1 && line.is_some_and(|line| line.ends_with("; next: ebb system check --repair")),
            "{}",
            found.shown()
        );
        let done = self.ebb.run(["system", "check", "--repair"]);
        let line = done.stdout.lines().find(|line| line.contains(wrong));
        assert!(done.code == 0 && line.is_some_and(|line| line.contains(mended)), "{}", done.shown());
        self.is_sound();
    }

    fn is_sound(&self) {
        let after = self.ebb.run(["system", "check"]);
        assert!(after.code == 0 && after.stdout.ends_with(": sound\n"), "{}", after.shown());
        for words in [&["ps", "-a"][..], &["volume", "ls"], &["images"], &["lesson"], &["volume", "create", "other"]] {
            self.ebb.ok(words);
        }
    }

    fn note(&self) -> String {
        self.ebb.ok(["run", "--rm", "-v", "vase:/v", "busybox", "cat", "/v/note"])
    }
}

fn beside(path: &Path) -> usize {
    let stem = format!("{}.damaged.", path.file_name().expect("a name").to_string_lossy());
    let names = std::fs::read_dir(path.parent().expect("a parent")).expect("it").flatten();
    names.filter(|entry| entry.file_name().to_string_lossy().starts_with(&stem)).count()
}

#[test]
fn each_directory_of_the_store_that_is_gone_is_made_again() {
    let broken = Broken::new();
    broken.ebb.ok(["rm", "box"]);
    for name in ["containers", "names", "tmp", "trash"] {
        // What is being removed behind a command is not in it any more.
        assert_eq!(broken.ebb.leftovers(), Vec::<String>::new());
        std::fs::remove_dir(broken.store(name)).expect("it is empty");
        broken.is_mended(&format!("/{name}: the store's directory is gone"), "it was made again, empty");
        assert_eq!(broken.note(), "kept", "{name}");
    }
    std::fs::rename(broken.store("volumes"), broken.ebb.dir.join("aside")).expect("moved");
    let refused = broken.ebb.run(["volume", "ls"]);
    assert!(refused.code != 0 && refused.stderr.contains("system check --repair"), "{}", refused.shown());
    broken.is_mended("/volumes: the store's directory is gone", "it was made again, empty");
    std::fs::remove_dir_all(broken.store("volumes")).expect("removed");
    std::fs::rename(broken.ebb.dir.join("aside"), broken.store("volumes")).expect("moved back");
    assert_eq!(broken.note(), "kept");
}

#[test]
fn a_mark_a_list_of_names_and_a_learners_record_that_say_nothing_are_moved_aside_and_begun_anew() {
    for text in ["", "{", "[]"] {
        let broken = Broken::new();
        std::fs::write(broken.store("store.json"), text).expect("broken");
        broken.is_mended("store store.json: ", "and made again");
        std::fs::write(broken.store("lessons.json"), text).expect("broken");
        broken.is_mended("lessons lessons.json: ", "the lessons begin anew");
        std::fs::write(broken.store("images/names.json"), text).expect("broken");
        broken.is_mended("image names.json: ", "1 names were found again in the records of containers");
        for file in ["store.json", "lessons.json", "images/names.json"] {
            assert_eq!(beside(&broken.store(file)), 1, "{file} {text:?}");
        }
        assert_eq!(broken.note(), "kept", "busybox means its image again: {text:?}");
    }
}

#[test]
fn settings_that_say_nothing_let_nothing_leave_the_trash() {
    let broken = Broken::new();
    std::fs::write(broken.store("settings.json"), "{\"TrashDays\": ").expect("broken");
    broken.is_mended("settings settings.json: ", "the defaults hold");
    broken.ebb.ok(["rm", "box"]);
    broken.ebb.ok(["volume", "rm", "vase"]);
    let trash = broken.store("volume-trash");
    let vase = std::fs::read_dir(&trash).expect("it").flatten().next().expect("one").path();
    std::fs::rename(&vase, trash.join("vase@2020-01-01T00:00:00.000000Z")).expect("moved");
    std::fs::write(broken.store("settings.json"), "{\"TrashDays\": ").expect("broken");
    broken.ebb.run(["system", "check", "--repair"]);
    assert!(std::fs::read_to_string(broken.store("settings.json")).expect("it").contains("3650"));
    broken.ebb.ok(["volume", "restore", "vase"]);
    assert_eq!(broken.note(), "kept");
}

#[test]
fn what_a_container_lost_of_its_own_is_made_again_or_said() {
    let broken = Broken::new();
    for name in ["upper", "rootfs"] {
        std::fs::remove_dir_all(broken.container.join(name)).expect("removed");
        broken.is_mended(&format!("container box: it has no {name}"), "it was made again, empty");
        broken.ebb.ok(["start", "-a", "box"]);
    }
    std::fs::remove_file(broken.store("names/box")).expect("removed");
    broken.is_mended("container box: its name does not lead to it", "the name leads to it again");
    std::fs::remove_file(broken.container.join("config.json")).expect("removed");
    broken.is_sound();
    broken.ebb.ok(["start", "-a", "box"]);
}

#[test]
fn who_runs_without_a_bundle_is_told_what_writes_it_again() {
    let ebb = Ebb::new();
    let id = ebb.ok(["run", "-d", "--name", "live", "busybox", "sleep", "1000"]);
    std::fs::remove_file(ebb.store().join("containers").join(id).join("config.json")).expect("removed");
    let found = ebb.run(["system", "check", "--repair"]);
    assert!(found.code == 1 && found.stdout.contains("; next: ebb restart live\n"), "{}", found.shown());
    ebb.ok(["restart", "-t", "0", "live"]);
    assert_eq!(ebb.ok(["exec", "live", "echo", "in"]), "in");
    assert!(ebb.ok(["system", "check"]).ends_with(": sound"));
}

#[test]
fn a_volume_without_its_directory_gets_one_and_a_container_without_its_volume_is_told_where_it_is() {
    let broken = Broken::new();
    std::fs::remove_dir_all(broken.store("volumes/vase/_data")).expect("removed");
    broken.is_mended("volume vase: it has no _data: what was in it is gone", "it was made again, empty");
    let place = broken.store("volume-trash/vase@2999-01-01T00:00:00.000000Z");
    std::fs::rename(broken.store("volumes/vase"), &place).expect("moved");
    let found = broken.ebb.run(["system", "check", "--repair"]);
    assert!(found.code == 1 && found.stdout.contains("; next: ebb volume restore vase\n"), "{}", found.shown());
    broken.ebb.ok(["volume", "restore", "vase"]);
    broken.is_sound();
}

#[test]
fn one_bad_record_hides_no_other_and_what_runs_is_named_with_what_ends_it() {
    let broken = Broken::new();
    let id = broken.ebb.ok(["run", "-d", "--name", "live", "busybox", "sleep", "1000"]);
    let record = broken.store("containers").join(&id).join("container.json");
    let whole = std::fs::read(&record).expect("it");
    std::fs::write(&record, "{").expect("broken");
    std::fs::write(broken.store("volumes/vase/volume.json"), "{").expect("broken");
    broken.ebb.ok(["volume", "create", "whole"]);
    for (words, shown) in [
        (&["ps", "-a", "--format", "{{.Names}}"][..], "box\n"),
        (&["volume", "ls", "--format", "{{.Name}}"], "whole\n"),
    ] {
        let listed = broken.ebb.run(words);
        assert!(listed.code == 1 && listed.stdout == shown, "{}", listed.shown());
        assert!(listed.stderr.contains("ebb system check --repair"), "{}", listed.shown());
    }
    // Both are looked at, though one cannot be mended.
    let found = broken.ebb.run(["system", "check", "--repair"]);
    let lines: Vec<&str> = found.stdout.lines().collect();
    let line = |word: &str| *lines.iter().find(|line| line.starts_with(word)).expect("a line");
    let (container, volume) = (line(&format!("container {id}")), line("volume vase"));
    assert!(volume.ends_with("the record was made again"), "{}", found.shown());
    let next = container.rsplit_once("; next: ").expect("what to type").1;
    assert!(next.starts_with("kill -KILL ") && next.ends_with(" && ebb system check --repair"), "{next}");
    let kill = next.split(" && ").next().expect("a command");
    assert!(std::process::Command::new("sh").args(["-c", kill]).status().expect("sh").success());
    std::fs::write(&record, whole).expect("whole again");
    assert_eq!(broken.ebb.ok(["wait", "live"]), "137");
    broken.is_sound();
}

#[test]
fn an_images_own_record_that_is_damaged_hides_no_other_image() {
    let broken = Broken::new();
    let configs = broken.store("images/configs/sha256");
    std::fs::write(configs.join("a".repeat(64)), "{").expect("written");
    let listed = broken.ebb.run(["images", "-q"]);
    assert!(listed.code == 1 && listed.stdout.lines().count() == 1, "{}", listed.shown());
    broken.is_mended("image sha256:aaaa", "moved to ");
    std::fs::write(
        broken.store("images/names.json"),
        format!("{{\"Version\": 1, \"Names\": {{\"gone:latest\": \"sha256:{}\"}}}}", "b".repeat(64)),
    )
    .expect("written");
    broken.is_mended("image gone:latest: the name means sha256:bbbb", "the name means nothing now");
}
