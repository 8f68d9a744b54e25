//! diff, cp and export: what a container wrote, and files in and out of it.

mod common;

use common::Ebb;
use std::path::Path;

fn writer(ebb: &Ebb, script: &str) {
    ebb.ok(["run", "--name", "writer", "-v", "vase:/data", "busybox", "sh", "-c", script]);
}

#[test]
fn diff_shows_what_was_added_changed_and_deleted_and_nothing_of_a_volume() {
    let ebb = Ebb::new();
    writer(&ebb, "mkdir /new; echo a > /new/f; echo x >> /etc/group; rm /etc/passwd; echo v > /data/in-the-volume");
    let wanted = "A /data\nC /etc\nC /etc/group\nD /etc/passwd\nA /new\nA /new/f";
    let shown = ebb.ok(["diff", "writer"]);
    let mut lines: Vec<&str> = shown.lines().collect();
    lines.sort_by_key(|line| line[2..].to_owned());
    assert_eq!(lines.join("\n"), wanted);
    assert_eq!(shown, wanted, "in the order of their paths");
}

#[test]
fn a_fresh_container_differs_in_nothing() {
    let ebb = Ebb::new();
    ebb.ok(["run", "--name", "quiet", "busybox", "true"]);
    assert_eq!(ebb.ok(["diff", "quiet"]), "");
}

#[test]
fn a_directory_that_was_replaced_shows_what_it_lost() {
    let ebb = Ebb::new();
    common::image_with(&ebb, "stocked", &[], |builder| {
        for path in ["shelf/a", "shelf/b"] {
            let mut header = tar::Header::new_gnu();
            header.set_size(0);
            header.set_mode(0o644);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            builder.append_data(&mut header, path, std::io::empty()).expect("written");
        }
    });
    let script = "rm -r /shelf; mkdir /shelf; echo x > /shelf/b; echo y > /shelf/c";
    ebb.ok(["run", "--name", "writer", "stocked", "sh", "-c", script]);
    assert_eq!(ebb.ok(["diff", "writer"]), "C /shelf\nD /shelf/a\nC /shelf/b\nA /shelf/c");
}

#[test]
fn cp_out_follows_docker_s_rules_for_names() {
    let ebb = Ebb::new();
    writer(&ebb, "mkdir -p /d/sub; echo f > /d/sub/f; echo g > /g; ln -s /g /link; echo v > /data/kept");
    let read =
        |path: &str| std::fs::read_to_string(ebb.dir.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    ebb.ok(["cp", "writer:/g", "."]);
    assert_eq!(read("g"), "g\n");
    ebb.ok(["cp", "writer:/g", "renamed"]);
    assert_eq!(read("renamed"), "g\n");
    ebb.ok(["cp", "writer:/d", "made"]);
    assert_eq!(read("made/sub/f"), "f\n", "a directory that is not there is made");
    ebb.ok(["cp", "writer:/d", "made"]);
    assert_eq!(read("made/d/sub/f"), "f\n", "into one that is there it is put");
    ebb.ok(["cp", "writer:/d/.", "made"]);
    assert_eq!(read("made/sub/f"), "f\n", "`/.` means its contents");
    ebb.ok(["cp", "writer:/data/kept", "kept"]);
    assert_eq!(read("kept"), "v\n", "volumes are reached, too");
    ebb.ok(["cp", "writer:/link", "link"]);
    assert!(ebb.dir.join("link").symlink_metadata().expect("copied").is_symlink());
    ebb.ok(["cp", "-L", "writer:/link", "followed"]);
    assert_eq!(read("followed"), "g\n");
    let said = ebb.fails(1, ["cp", "writer:/nope", "."]);
    assert_eq!(said, "ebb: Could not find the file /nope in container writer\n");
    assert!(ebb.fails(1, ["cp", "writer:/g", "missing/"]).contains("must exist"));
    assert!(ebb.fails(1, ["cp", "writer:/d", "g"]).contains("cannot copy directory"));
}

#[test]
fn cp_in_reaches_running_and_stopped_containers_and_volumes() {
    let ebb = Ebb::new();
    std::fs::create_dir_all(ebb.dir.join("site/sub")).expect("a directory");
    std::fs::write(ebb.dir.join("site/index"), "hello\n").expect("a file");
    std::fs::write(ebb.dir.join("site/sub/page"), "page\n").expect("a file");
    ebb.ok(["run", "-d", "--name", "box", "-v", "vase:/data", "busybox", "sleep", "1000"]);
    ebb.ok(["cp", "site", "box:/srv-new"]);
    assert_eq!(ebb.ok(["exec", "box", "cat", "/srv-new/sub/page"]), "page");
    ebb.ok(["cp", "site/.", "box:/data"]);
    assert_eq!(ebb.ok(["exec", "box", "cat", "/data/index"]), "hello");
    assert_eq!(ebb.ok(["exec", "box", "stat", "-c", "%u:%g", "/data/index"]), "0:0", "what comes in is root's");
    ebb.ok(["stop", "-t", "0", "box"]);
    ebb.ok(["cp", "site/index", "box:/etc/motd"]);
    ebb.ok(["cp", "site/index", "box:/data/again"]);
    ebb.ok(["start", "box"]);
    assert_eq!(ebb.ok(["exec", "box", "cat", "/etc/motd", "/data/again"]), "hello\nhello");
    let said = ebb.fails(1, ["cp", "nowhere", "box:/"]);
    assert!(said.starts_with("ebb: lstat ") && said.ends_with("/nowhere: no such file or directory\n"), "{said}");
    assert!(ebb.fails(1, ["cp", "a", "b"]).contains("must specify at least one container source"));
    assert!(ebb.fails(1, ["cp", "box:/a", "box:/b"]).contains("copying between containers is not supported"));
}

#[test]
fn cp_speaks_tar_on_either_side() {
    let ebb = Ebb::new();
    writer(&ebb, "echo g > /g");
    let tar = ebb.run(["cp", "writer:/g", "-"]);
    let mut archive = tar::Archive::new(tar.stdout.as_bytes());
    let entry = archive.entries().expect("a tar").next().expect("one entry").expect("readable");
    assert_eq!(entry.path().expect("a path"), Path::new("g"));
    let back = ebb.run_with(tar.stdout.as_bytes(), ["cp", "-", "writer:/data"]);
    assert_eq!(back.code, 0, "{}", back.shown());
    assert_eq!(ebb.ok(["run", "--rm", "-v", "vase:/data", "busybox", "cat", "/data/g"]), "g");
}

#[test]
fn no_link_of_a_container_leads_cp_out_of_it() {
    let ebb = Ebb::new();
    std::fs::create_dir(ebb.dir.join("secret")).expect("a directory");
    std::fs::write(ebb.dir.join("secret/key"), "host\n").expect("a file");
    let secret = ebb.dir.join("secret").display().to_string();
    writer(&ebb, &format!("ln -s {secret} /out; ln -s {secret}/key /key; ln -s ../../../../../../../.. /up"));
    ebb.fails(1, ["cp", "writer:/out/key", "stolen"]);
    ebb.fails(1, ["cp", "-L", "writer:/key", "stolen"]);
    ebb.fails(1, ["cp", &format!("writer:/up{secret}/key"), "stolen"]);
    assert!(!ebb.dir.join("stolen").exists());
    std::fs::write(ebb.dir.join("evil"), "evil\n").expect("a file");
    ebb.run(["cp", "evil", "writer:/out/key"]);
    ebb.run(["cp", "evil", "writer:/key"]);
    assert_eq!(std::fs::read_to_string(ebb.dir.join("secret/key")).expect("the key"), "host\n");
    // A tar that names its way out is refused, or stays inside.
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(2);
    header.set_mode(0o644);
    header.as_gnu_mut().expect("gnu").name[..12].copy_from_slice(b"../../escape");
    header.set_cksum();
    builder.append(&header, &b"x\n"[..]).expect("written");
    let said = ebb.run_with(&builder.into_inner().expect("a tar"), ["cp", "-", "writer:/data"]);
    assert!(said.code == 1 && said.stderr.contains(".."), "{}", said.shown());
}

#[test]
fn export_is_the_root_without_what_is_mounted_in_it() {
    let ebb = Ebb::new();
    writer(&ebb, "echo g > /g; echo v > /data/in-the-volume; ln -s g /link");
    ebb.ok(["export", "-o", "root.tar", "writer"]);
    let mut archive = tar::Archive::new(std::fs::File::open(ebb.dir.join("root.tar")).expect("exported"));
    let names: Vec<String> = archive
        .entries()
        .expect("a tar")
        .map(|entry| entry.expect("an entry").path().expect("a path").display().to_string())
        .collect();
    for name in ["g", "link", "etc/passwd"] {
        assert!(names.iter().any(|found| found == name), "{name} is missing");
    }
    assert!(!names.iter().any(|name| name.contains("in-the-volume")), "a volume is not the container's");
    assert!(!names.iter().any(|name| name.starts_with("proc/")), "{names:?}");
}
