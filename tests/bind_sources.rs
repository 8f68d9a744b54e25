//! A bind's source is what it was when the container was created. No container leads the next start elsewhere, by a link that
//! it puts on the way; a link that the host's owner puts elsewhere is followed, as in Docker.

mod common;

use common::{Ebb, answer, is_root};
use std::os::unix::fs::symlink;
use std::path::PathBuf;

const SECRET: &str = "the host's own";

/// A directory of the host's that no container was given, and one that is bound whole, with `sub` in it.
struct Scene {
    ebb: Ebb,
    private: PathBuf,
    bound: PathBuf,
}

impl Scene {
    fn new() -> Scene {
        let ebb = Ebb::new();
        let (private, bound) = (ebb.dir.join("private"), ebb.dir.join("d"));
        std::fs::create_dir_all(&private).expect("a directory");
        std::fs::write(private.join("secret"), SECRET).expect("a file");
        std::fs::create_dir_all(bound.join("sub")).expect("a directory");
        std::fs::write(bound.join("sub/secret"), "its own").expect("a file");
        Scene { ebb, private, bound }
    }

    fn bind(&self, below: &str, at: &str) -> String {
        format!("{}:{at}", self.bound.join(below).components().collect::<PathBuf>().display())
    }

    /// What a container does that was given all of the directory.
    fn as_one_that_goes(&self, script: &str) {
        self.ebb.ok(["run", "--rm", "-v", &self.bind("", "/data"), "busybox", "sh", "-c", script]);
    }

    /// Has a container that stays on record replace `sub` by a link to the private directory.
    fn plant(&self) {
        let script = format!("mv /data/sub /data/away && ln -s {} /data/sub", self.private.display());
        self.ebb.ok(["run", "--name", "planter", "-v", &self.bind("", "/data"), "busybox", "sh", "-c", &script]);
    }

    fn untouched(&self) {
        let names: Vec<_> =
            std::fs::read_dir(&self.private).expect("it").map(|entry| entry.expect("one").file_name()).collect();
        assert_eq!(names, ["secret"], "the host's directory");
    }
}

const LOOK: &str = "cat /sub/secret; echo mine > /sub/made";

#[test]
fn a_container_does_not_lead_its_own_next_start_to_a_directory_of_the_hosts() {
    let scene = Scene::new();
    let (data, sub) = (scene.bind("", "/data"), scene.bind("sub", "/sub"));
    let script = format!("{LOOK}; mv /data/sub /data/away; ln -s {} /data/sub", scene.private.display());
    scene.ebb.ok(["run", "--name", "box", "-v", &data, "-v", &sub, "busybox", "sh", "-c", &script]);
    // A person is told what has changed, and how to go on.
    let answer = scene.ebb.run(["start", "-a", "box"]);
    scene.untouched();
    assert_eq!(answer.code, 1, "{}", answer.shown());
    let (said, private) = (answer.stderr, scene.private.display());
    for part in
        ["has changed", &format!("leads now to {private}"), "the link", "container box could write to", "ebb rm box"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    for command in [vec!["cp", "box:/sub/secret", "-"], vec!["cp", "Cargo", "box:/sub/made"]] {
        std::fs::write(scene.ebb.dir.join("Cargo"), "x").expect("a file");
        let answer = scene.ebb.run(command);
        assert!(answer.code != 0 && !answer.stdout.contains(SECRET), "{}", answer.shown());
    }
    scene.untouched();
}

#[test]
fn one_container_does_not_lead_another_to_a_directory_of_the_hosts() {
    let scene = Scene::new();
    let victim = |name: &str, option: [&str; 2]| {
        scene.ebb.ok(["create", "--name", name, option[0], option[1], "busybox", "sh", "-c", LOOK]);
    };
    let sub = scene.bind("sub", "/sub");
    victim("box", ["-v", &sub]);
    victim("heir", ["--volumes-from", "box"]);
    scene.ebb.ok([
        "volume",
        "create",
        "-o",
        "type=none",
        "-o",
        "o=bind",
        "-o",
        &format!("device={}", scene.bound.join("sub").display()),
        "named",
    ]);
    victim("named", ["-v", "named:/sub"]);
    scene.plant();
    for name in ["box", "heir", "named"] {
        let answer = scene.ebb.run(["start", "-a", name]);
        assert!(
            answer.code == 1 && answer.stderr.contains("container planter could write to"),
            "{name}: {}",
            answer.shown()
        );
    }
    // Nor what comes later, by the volume, or from the container whose record says where it led.
    for option in [["-v", "named:/sub"], ["--volumes-from", "box"]] {
        let answer = scene.ebb.run(["run", "--rm", option[0], option[1], "busybox", "sh", "-c", LOOK]);
        assert!(answer.code == 125 && !answer.stdout.contains(SECRET), "{}", answer.shown());
    }
    scene.untouched();
    // With the link taken away all is as it was.
    std::fs::remove_file(scene.bound.join("sub")).expect("removed");
    std::fs::rename(scene.bound.join("away"), scene.bound.join("sub")).expect("renamed");
    assert_eq!(scene.ebb.ok(["start", "-a", "heir"]), "its own");
}

#[test]
fn a_link_that_the_hosts_owner_puts_elsewhere_is_followed() {
    let scene = Scene::new();
    let current = scene.ebb.dir.join("current");
    for release in ["1", "2"] {
        let place = scene.ebb.dir.join("releases").join(release);
        std::fs::create_dir_all(&place).expect("a directory");
        std::fs::write(place.join("version"), release).expect("a file");
    }
    let repoint = |release: &str| {
        let _ = std::fs::remove_file(&current);
        symlink(format!("releases/{release}"), &current).expect("a link");
    };
    repoint("1");
    scene.ebb.ok([
        "create",
        "--name",
        "box",
        "-v",
        &format!("{}:/app", current.display()),
        "-v",
        &scene.bind("", "/data"),
        "busybox",
        "cat",
        "/app/version",
    ]);
    assert_eq!(scene.ebb.ok(["start", "-a", "box"]), "1");
    repoint("2");
    assert_eq!(scene.ebb.ok(["start", "-a", "box"]), "2");
    // A file that an editor saves anew, a directory that is made anew: nothing was followed.
    let place = scene.ebb.dir.join("releases/2");
    std::fs::rename(&place, scene.ebb.dir.join("releases/old")).expect("renamed");
    std::fs::create_dir(&place).expect("a directory");
    std::fs::write(place.join("version"), "2 again").expect("a file");
    assert_eq!(scene.ebb.ok(["start", "-a", "box"]), "2 again");
}

/// `-v /data:/data`, and a link that is named by another path: through a bind mount that the host has of what lies in there.
#[test]
fn a_link_is_a_containers_by_whatever_path_it_is_named() {
    if !is_root() {
        return; // Only root mounts on the host.
    }
    let scene = Scene::new();
    let script = format!(
        "mount --make-rprivate /; mkdir alias; mount --bind d/sub alias
        $EBB create --name box -v $PWD/alias/deep:/sub busybox sh -c '{LOOK}' && $EBB start -a box
        $EBB run --name planter -v $PWD/d:/data busybox sh -c 'mv /data/sub/deep /data/away; ln -s {} /data/sub/deep'
        $EBB start -a box; echo $?",
        scene.private.display()
    );
    std::fs::create_dir(scene.bound.join("sub/deep")).expect("a directory");
    std::fs::write(scene.bound.join("sub/deep/secret"), "its own").expect("a file");
    let mut command = std::process::Command::new("unshare");
    command.args(["--mount", "sh", "-c", &script]).current_dir(&scene.ebb.dir);
    command.env("EBB", env!("CARGO_BIN_EXE_ebb")).env("EBB_ROOT", scene.ebb.store());
    let answer = answer(&mut command);
    assert!(answer.stdout.ends_with("\nits own1\n"), "{}", answer.shown());
    assert!(answer.stderr.contains("container planter could write to"), "{}", answer.shown());
    scene.untouched();
}

#[test]
fn no_directory_is_made_where_a_container_leads() {
    let scene = Scene::new();
    scene.ebb.ok(["create", "--name", "box", "-v", &scene.bind("sub/deep/er", "/sub"), "busybox", "true"]);
    std::fs::remove_dir_all(scene.bound.join("sub/deep")).expect("removed");
    scene.plant();
    scene.ebb.fails(1, ["start", "box"]);
    scene.untouched();
    // Where nothing leads astray it is made, as it was at `create`.
    std::fs::remove_file(scene.bound.join("sub")).expect("removed");
    let answer = scene.ebb.run(["start", "box"]);
    assert!(answer.code == 0 && answer.stderr.contains("made the host directory"), "{}", answer.shown());
    assert!(scene.bound.join("sub/deep/er").is_dir());
}

#[test]
fn a_link_by_which_a_container_leads_out_is_not_followed_at_create_either() {
    let scene = Scene::new();
    scene.plant();
    // As one is run anew each time, by a unit or a script.
    let run = ["run", "--rm", "-v", &scene.bind("sub", "/sub"), "busybox", "sh", "-c", LOOK];
    let said = scene.ebb.fails(125, run);
    let private = scene.private.display();
    for part in ["container planter could write to", &format!("name {private} itself")] {
        assert!(said.contains(part), "{part}: {said}");
    }
    scene.untouched();
    let named = format!("{private}:/sub:ro");
    assert_eq!(scene.ebb.ok(["run", "--rm", "-v", &named, "busybox", "cat", "/sub/secret"]), SECRET);
    // One that leads to what the container could write to anyway is a link like any other, until a start would be led elsewhere.
    std::fs::remove_file(scene.bound.join("sub")).expect("removed");
    symlink("away", scene.bound.join("sub")).expect("a link");
    scene.ebb.ok(["create", "--name", "box", "-v", &scene.bind("sub", "/sub"), "busybox", "cat", "/sub/secret"]);
    assert_eq!(scene.ebb.ok(["start", "-a", "box"]), "its own");
    scene.as_one_that_goes("mkdir /data/other; rm /data/sub; ln -s other /data/sub");
    let answer = scene.ebb.run(["start", "-a", "box"]);
    assert!(answer.code == 1 && answer.stderr.contains("has changed"), "{}", answer.shown());
}

/// Blocks until the next second: times of change are compared by it.
fn after(path: &std::path::Path) {
    let changed = std::os::unix::fs::MetadataExt::ctime(&std::fs::symlink_metadata(path).expect("it is there"));
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("later").as_secs() as i64;
    while now() <= changed {
        std::hint::spin_loop();
    }
}

/// As somebody's home directory, in which a link leads to another disk, and which a container was given once.
#[test]
fn a_link_that_was_there_before_any_container_is_its_owners() {
    let scene = Scene::new();
    let link = scene.bound.join("work");
    symlink(&scene.private, &link).expect("a link");
    after(&link);
    scene.as_one_that_goes("true");
    let words = ["run", "--rm", "-v", &scene.bind("work", "/w:ro"), "busybox", "cat", "/w/secret"];
    assert_eq!(scene.ebb.ok(words), SECRET);
    // Its like, made by a container, has another time; so has the very link, moved away and back.
    scene.as_one_that_goes("mv /data/work /data/aside && mv /data/aside /data/work");
    assert!(scene.ebb.fails(125, words).contains("could write to"));
    scene.untouched();
}

#[test]
fn a_link_stays_a_containers_when_that_is_gone() {
    let scene = Scene::new();
    scene.ebb.ok(["create", "--name", "box", "-v", &scene.bind("sub", "/sub"), "busybox", "sh", "-c", LOOK]);
    scene.as_one_that_goes(&format!("mv /data/sub /data/away && ln -s {} /data/sub", scene.private.display()));
    let answer = scene.ebb.run(["start", "-a", "box"]);
    assert!(answer.code == 1 && answer.stderr.contains("could write to"), "{}", answer.shown());
    scene.untouched();
}
