//! diff tells what a container has written: added, changed, deleted.

mod common;

use common::Ebb;
use common::layers::image;

#[test]
fn what_was_added_changed_and_deleted_is_listed_by_path() {
    let ebb = Ebb::new();
    let script = "mkdir /app; touch /app/n1 /b /b-2; rm /bin/false; echo x >> /etc/passwd; chmod 700 /home; mkdir /b.d; touch /b.d/x";
    ebb.ok([
        "run",
        "--name",
        "box",
        "-v",
        "vol:/data",
        "busybox",
        "sh",
        "-c",
        &format!("{script}; touch /data/unseen"),
    ]);
    let expected = "A /app\nA /app/n1\nA /b\nA /b-2\nA /b.d\nA /b.d/x\nC /bin\nD /bin/false\nA /data\nC /etc\nC /etc/passwd\nC /home";
    assert_eq!(ebb.ok(["diff", "box"]), expected);
    assert_eq!(ebb.ok(["container", "diff", "box"]), expected);
    let first = ebb.ok(["diff", "--format", "json", "box"]).lines().next().map(str::to_owned);
    assert_eq!(first.as_deref(), Some(r#"{"Path":"/app","Type":"A"}"#));
}

/// What is in a volume is the volume's; the place where it is mounted is the container's, where the image had none.
#[test]
fn of_a_mount_its_place_is_shown_and_never_what_is_in_it() {
    let ebb = Ebb::new();
    let host = format!("{}:/host", ebb.dir.display());
    let mounts = ["-v", "vase:/data", "-v", "/etc/anon", "-v", &host, "--tmpfs", "/memory", "-v", "conf:/bin"];
    let script = "touch /data/f /etc/anon/f /memory/f /bin/f /own";
    ebb.ok([&["run", "--name", "box"], &mounts[..], &["busybox", "sh", "-c", script]].concat());
    let mut lines: Vec<String> = ebb.ok(["diff", "box"]).lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["A /data", "A /etc/anon", "A /host", "A /memory", "A /own", "C /etc"]);
}

#[test]
fn a_container_that_wrote_nothing_shows_nothing() {
    let ebb = Ebb::new();
    ebb.ok(["create", "--name", "box", "busybox", "true"]);
    assert_eq!(ebb.ok(["diff", "box"]), "");
    ebb.ok(["start", "-a", "box"]);
    assert_eq!(ebb.ok(["diff", "box"]), "");
    assert_eq!(ebb.fails(1, ["diff", "nope"]), "ebb: No such container: nope\n");
}

#[test]
fn what_is_as_it_was_is_no_change() {
    let ebb = Ebb::new();
    // Opened for writing and given its own mode again: copied into the layer, and the same.
    ebb.ok([
        "run",
        "--name",
        "box",
        "busybox",
        "sh",
        "-c",
        ": >> /etc/passwd; touch /x; rm /x; chmod $(stat -c %a /bin/busybox) /bin/busybox",
    ]);
    assert_eq!(ebb.ok(["diff", "box"]), "");
}

#[test]
fn a_directory_made_anew_shows_what_went_with_the_old_one() {
    let ebb = Ebb::new();
    ebb.ok(["run", "--name", "box", "busybox", "sh", "-c", "rm -r /var; mkdir /var; touch /var/new"]);
    let shown = ebb.ok(["diff", "box"]);
    assert!(shown.starts_with("C /var\n") && shown.contains("D /var/tmp") && shown.contains("A /var/new"), "{shown}");
    ebb.ok(["run", "--name", "all", "busybox", "sh", "-c", "rm -r /home"]);
    assert_eq!(ebb.ok(["diff", "all"]), "D /home");
}

#[test]
fn a_link_in_a_layer_is_not_followed_to_the_host() {
    let ebb = Ebb::new();
    image(&ebb, "linked", &[&[("link", None, "/etc")]]);
    // Of the host's /etc/hostname, or /etc/passwd, the image knows nothing.
    ebb.ok([
        "run",
        "--name",
        "box",
        "linked",
        "sh",
        "-c",
        "rm /link; mkdir /link; echo x > /link/passwd; echo x > /link/hostname",
    ]);
    assert_eq!(ebb.ok(["diff", "box"]), "C /link\nA /link/hostname\nA /link/passwd");
}

#[test]
fn layers_are_seen_as_one() {
    let ebb = Ebb::new();
    image(
        &ebb,
        "many",
        &[
            &[("app/one", Some("1"), ""), ("app/two", Some("2"), "")],
            &[("app/.wh.one", Some(""), ""), ("app/three", Some("3"), "")],
            &[("app/four", Some("4"), "")],
            &[("app/five", Some("5"), "")],
        ],
    );
    ebb.ok(["run", "--name", "box", "many", "sh", "-c", "echo 1 > /app/one; rm /app/two; echo 4 > /app/four"]);
    assert_eq!(ebb.ok(["diff", "box"]), "C /app\nC /app/four\nA /app/one\nD /app/two");
    // Copy-up, export and cp see the same.
    assert_eq!(ebb.ok(["run", "--rm", "-v", "vol:/app", "many", "ls", "/app"]), "five\nfour\nthree\ntwo");
    assert_eq!(ebb.run(["cp", "box:/app/five", "-"]).code, 0);
    assert_eq!(ebb.run(["export", "box"]).code, 0);
}

#[test]
fn an_image_may_have_as_many_layers_as_docker_allows() {
    let ebb = Ebb::new();
    let names: Vec<String> = (0..125).map(|number| format!("app/{number}")).collect();
    let files: Vec<[(&str, Option<&str>, &str); 1]> =
        names.iter().map(|name| [(name.as_str(), Some("x"), "")]).collect();
    let layers: Vec<_> = files.iter().map(|file| file.as_slice()).collect();
    image(&ebb, "tall", &layers);
    assert_eq!(
        ebb.ok(["run", "--name", "box", "-v", "vol:/app", "tall", "sh", "-c", "ls /app | wc -l; rm -r /home"]),
        "125"
    );
    assert_eq!(ebb.ok(["diff", "box"]), "D /home");
}
