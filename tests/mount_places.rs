//! Two paths of an image may be one place, by a symlink: mounts are compared where they lie, not by how they are written.

mod common;

use common::{Ebb, image_with};

/// busybox with `links` (from, to), and `directories`.
fn image(ebb: &Ebb, name: &str, changes: &[&str], directories: &[&str], links: &[(&str, &str)]) {
    image_with(ebb, name, changes, |tar| {
        let mut add = |kind: tar::EntryType, path: &str, target: &str| {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.set_mode(0o755);
            header.set_size(0);
            match kind {
                tar::EntryType::Symlink => tar.append_link(&mut header, path, target),
                _ => tar.append_data(&mut header, path, std::io::empty()),
            }
            .expect("written");
        };
        for path in directories {
            add(tar::EntryType::Directory, path, "");
        }
        for (from, to) in links {
            add(tar::EntryType::Symlink, from, to);
        }
    });
}

fn volumes(ebb: &Ebb) -> Vec<String> {
    ebb.ok(["volume", "ls", "-q"]).lines().map(str::to_owned).collect()
}

#[test]
fn a_volume_of_the_image_hides_no_volume_of_the_users_through_a_link() {
    let ebb = Ebb::new();
    image(&ebb, "linked", &["VOLUME /var/run/app"], &["run", "var"], &[("var/run", "/run")]);
    ebb.ok(["run", "--rm", "-v", "keep:/run/app", "linked", "sh", "-c", "echo kept > /var/run/app/f"]);
    assert_eq!(volumes(&ebb), ["keep"], "no other volume was made for the same place");
    assert_eq!(ebb.ok(["run", "--rm", "-v", "keep:/k", "busybox", "cat", "/k/f"]), "kept");
    // The same place by the other name, and by another container's mount.
    ebb.ok(["create", "--name", "source", "-v", "other:/var/run/app", "busybox"]);
    let words = ["run", "--rm", "--volumes-from", "source", "linked", "sh", "-c", "echo there > /run/app/f"];
    ebb.ok(words);
    assert_eq!(volumes(&ebb), ["keep", "other"]);
    assert_eq!(ebb.ok(["run", "--rm", "-v", "other:/k", "busybox", "cat", "/k/f"]), "there");
    // Where nothing else is asked for, the image's is made, once.
    ebb.ok(["create", "--name", "alone", "linked", "true"]);
    assert_eq!(ebb.inspect("alone", "{{range .Mounts}}{{.Destination}} {{end}}"), "/var/run/app ");
}

#[test]
fn two_mounts_at_one_place_through_a_link_are_refused_and_change_nothing() {
    let ebb = Ebb::new();
    let links = [("alias", "data"), ("dangling", "/not/yet/there"), ("up", "data/../etc/deep")];
    image(&ebb, "linked", &[], &["data", "etc"], &links);
    for (words, wanted) in [
        (["-v", "m1:/data", "--tmpfs", "/alias"], "Duplicate mount point: /alias"),
        (["-v", "m1:/alias/x", "-v", "m2:/data/x"], "Duplicate mount point: /data/x"),
        (["-v", "m1:/dangling/x", "-v", "m2:/not/yet/there/x"], "Duplicate mount point: /not/yet/there/x"),
        (["-v", "m1:/etc/deep", "--mount", "type=tmpfs,dst=/up"], "Duplicate mount point: /up"),
    ] {
        let said = ebb.fails(125, ["run", "--rm"].into_iter().chain(words).chain(["linked", "true"]));
        assert!(said.contains(wanted) && said.contains("one place"), "{words:?}: {said}");
    }
    assert_eq!(volumes(&ebb), Vec::<String>::new());
    assert_eq!(ebb.ok(["ps", "-aq"]), "");
    // Side by side they are two places.
    ebb.ok(["run", "--rm", "-v", "m1:/data/x", "--tmpfs", "/alias/y", "linked", "true"]);
}

#[test]
fn a_mount_below_another_comes_after_it_by_whatever_link_it_is_named() {
    let ebb = Ebb::new();
    image(&ebb, "linked", &[], &["very", "very/deep", "very/deep/down"], &[("l", "very/deep/down")]);
    let script = "echo outer > /very/deep/down/f; echo inner > /very/deep/down/in/f; ls /very/deep/down/in";
    let words = ["-v", "inner:/l/in", "-v", "outer:/very/deep/down"];
    ebb.ok(["run", "--rm"].iter().chain(&words).chain(&["linked", "sh", "-c", script]));
    assert_eq!(ebb.ok(["run", "--rm", "-v", "inner:/k", "busybox", "cat", "/k/f"]), "inner");
    assert_eq!(ebb.ok(["run", "--rm", "-v", "outer:/k", "busybox", "cat", "/k/f"]), "outer");
}

#[test]
fn of_two_containers_mounts_at_one_place_the_later_one_counts() {
    let ebb = Ebb::new();
    image(&ebb, "linked", &[], &["data"], &[("alias", "/data")]);
    ebb.ok(["create", "--name", "one", "-v", "first:/data", "busybox"]);
    ebb.ok(["create", "--name", "two", "-v", "second:/alias", "busybox"]);
    let from = ["--volumes-from", "one", "--volumes-from", "two"];
    ebb.ok(["run", "--rm"].iter().chain(&from).chain(&["linked", "sh", "-c", "echo x > /data/f"]));
    assert_eq!(ebb.ok(["run", "--rm", "-v", "second:/k", "busybox", "cat", "/k/f"]), "x");
    assert_eq!(ebb.ok(["run", "--rm", "-v", "first:/k", "busybox", "ls", "/k"]), "");
}
