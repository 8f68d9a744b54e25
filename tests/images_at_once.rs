//! Who makes something of an image and who removes it come one after the other, whoever is first: each at the worst moment
//! of the other, which `--step` holds open. What is acknowledged has its layers.

mod common;

use common::terminal::Terminal;
use common::{Ebb, layers};

/// All that removes images and their layers.
const REMOVERS: [&[&str]; 4] =
    [&["rmi", "only"], &["rmi", "-f", "only"], &["image", "prune", "-af"], &["system", "prune", "-af"]];

/// A store with one image, `only`, which no recipe makes again, and its archive, `only.tar`.
fn store() -> Ebb {
    let ebb = Ebb::new();
    ebb.ok(["tag", "busybox", "only"]);
    ebb.ok(["rmi", "busybox"]);
    ebb.ok(["image", "save", "-o", "only.tar", "only"]);
    ebb
}

#[test]
fn the_image_of_a_container_that_is_being_made_keeps_its_layers() {
    for remover in REMOVERS {
        let ebb = store();
        let creating = Terminal::at_the_step(&ebb, &["create", "--name", "box", "only", "echo", "here"], "the name is");
        let removing = ebb.spawn_waiting(remover);
        assert_eq!(creating.goes_on(), 0);
        let output = removing.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr);
        let refused = said.contains("conflict: unable to") && said.contains("is using its referenced image");
        assert!(output.status.success() != refused, "{remover:?}: {output:?}");
        assert_eq!(ebb.ok(["start", "-a", "box"]), "here", "{remover:?}");
        assert!(ebb.ok(["system", "check"]).ends_with(": sound"));
    }
}

/// Its layers are there already, and so are not unpacked; the image that they belong to goes.
#[test]
fn what_load_and_import_found_there_stays_until_their_image_names_it() {
    for remover in REMOVERS {
        let ebb = store();
        // Another image of the same layer.
        ebb.ok(["create", "--name", "base", "only", "true"]);
        ebb.ok(["export", "-o", "root.tar", "base"]);
        ebb.ok(["rm", "base"]);
        ebb.ok(["rmi", "only"]);
        ebb.ok(["import", "-c", "CMD echo here", "root.tar", "second"]);
        ebb.ok(["image", "save", "-o", "second.tar", "second"]);
        ebb.ok(["rmi", "second"]);
        for words in [&["load", "-i", "second.tar"][..], &["import", "-c", "CMD echo here", "root.tar", "second"]] {
            ebb.ok(["import", "root.tar", "only"]);
            let coming = Terminal::at_the_step(&ebb, words, "what is acknowledged has reached the disk");
            let removing = ebb.spawn_waiting(remover);
            assert_eq!(coming.goes_on(), 0);
            removing.wait_with_output().expect("it ends");
            let names = ebb.ok(["images", "--format", "{{.Repository}}"]);
            if !remover.contains(&"prune") {
                assert_eq!(names, "second", "{remover:?}");
                assert_eq!(ebb.ok(["run", "--rm", "second"]), "here", "{remover:?}");
                ebb.ok(["rmi", "second"]);
            }
            assert!(ebb.ok(["system", "check"]).ends_with("0 images: sound"), "{remover:?}");
        }
    }
}

/// A load may take minutes, and nobody waits for those: what has gone since it was found is unpacked after all.
#[test]
fn a_layer_that_goes_while_a_load_unpacks_the_next_one_comes_with_it() {
    let ebb = Ebb::new();
    layers::image(&ebb, "high", &[&[("hill", Some("high"), "")]]);
    ebb.ok(["image", "save", "-o", "high.tar", "high"]);
    ebb.ok(["rmi", "high"]);
    let loading = Terminal::at_the_step(&ebb, &["load", "-i", "high.tar"], "a new layer is made aside");
    ebb.ok(["rmi", "busybox"]);
    assert_eq!(std::fs::read_dir(ebb.store().join("images/layers/sha256")).expect("layers").count(), 0);
    assert_eq!(loading.goes_on(), 0);
    assert_eq!(ebb.ok(["run", "--rm", "high", "cat", "/hill"]), "high");
    assert_eq!(ebb.ok(["system", "check"]), "0 containers, 0 volumes, 1 images: sound");
}

#[test]
fn a_name_is_given_to_an_image_that_stays() {
    let ebb = store();
    let tagging = Terminal::at_the_step(&ebb, &["tag", "only", "other"], "names.json is replaced whole");
    let removing = ebb.spawn_waiting(&["rmi", "only"]);
    assert_eq!(tagging.goes_on(), 0);
    assert!(removing.wait_with_output().expect("it ends").status.success());
    assert_eq!(ebb.ok(["run", "--rm", "other", "echo", "here"]), "here");
}

/// It has been found to be nobody's, and is about to go.
#[test]
fn who_comes_while_an_image_goes_has_none_or_a_whole_one() {
    for moment in ["names.json is replaced whole", "it is gone for everyone at once", "everything in it is unlinked"] {
        let ebb = store();
        let removing = Terminal::at_the_step(&ebb, &["rmi", "only"], moment);
        let creating = ebb.spawn_waiting(&["create", "--name", "box", "only", "true"]);
        let loading = ebb.spawn_waiting(&["load", "-i", "only.tar"]);
        assert_eq!(removing.goes_on(), 0);
        assert!(loading.wait_with_output().expect("it ends").status.success(), "{moment}");
        let output = creating.wait_with_output().expect("it ends");
        // Whichever of the two came first.
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() || said.contains("only"), "{moment}: {output:?}");
        assert_eq!(ebb.ok(["run", "--rm", "only", "echo", "here"]), "here", "{moment}");
        assert!(ebb.ok(["system", "check"]).ends_with("1 images: sound"), "{moment}");
    }
}
