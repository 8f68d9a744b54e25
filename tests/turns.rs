//! Who uses a volume and who takes it away come one after the other, whoever is first: each at the worst moment of the
//! other, which `--step` holds open. (moby #37706, and `rm` racing `run`.)

mod common;

use common::Ebb;
use common::terminal::Terminal;

/// Its volumes are made, and no record says yet who uses them.
#[test]
fn what_a_container_that_is_being_made_will_use_is_not_taken_from_it() {
    let ebb = Ebb::new();
    let create = ["create", "--name", "box", "-v", "vase:/a", "-v", "/b", "busybox", "cat", "/a/f"];
    let creating = Terminal::at_the_step(&ebb, &create, "the name is taken");
    let volumes = ebb.ok(["volume", "ls", "-q"]);
    assert_eq!(volumes.lines().count(), 2);
    let taking = [
        &["volume", "rm", "vase"][..],
        &["volume", "rm", "--now", "vase"],
        &["volume", "prune", "-af"],
        &["volume", "rename", "vase", "jug"],
    ];
    let taking = taking.map(|words| ebb.spawn_waiting(words));
    assert_eq!(creating.goes_on(), 0);
    for child in taking {
        let output = child.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr);
        // Prune takes what nobody uses, and that is nothing.
        let refused = said.contains("vase: volume is in use - [");
        assert!(output.status.success() != refused && !said.contains("trash"), "{output:?}");
    }
    assert_eq!(ebb.ok(["volume", "ls", "-q"]), volumes);
    assert_eq!(ebb.ok(["system", "check"]), "1 containers, 2 volumes, 1 images: sound");
}

/// It is in use by nobody, and is about to go.
#[test]
fn who_comes_while_a_volume_goes_has_a_new_one() {
    let ebb = Ebb::new();
    for end in ["moved aside whole", "one rename into the trash"] {
        ebb.ok(["run", "--rm", "-v", "vase:/d", "busybox", "touch", "/d/old"]);
        let now: &[&str] = if end.starts_with("moved") { &[] } else { &["--now"] };
        let removing = Terminal::at_the_step(&ebb, &[&["volume", "rm"], now, &["vase"]].concat(), end);
        let run = ["run", "--name", "box", "-v", "vase:/d", "busybox", "sh", "-c", "ls /d; touch /d/new"];
        let running = ebb.spawn_waiting(&run);
        assert_eq!(removing.goes_on(), 0);
        let output = running.wait_with_output().expect("it ends");
        assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
        assert_eq!(ebb.ok(["start", "-a", "box"]), "new");
        ebb.ok(["rm", "box"]);
        ebb.ok(["volume", "rm", "--now", "vase"]);
        assert_eq!(ebb.ok(["system", "check"]), "0 containers, 0 volumes, 1 images: sound");
    }
}
