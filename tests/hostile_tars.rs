//! An image is data from strangers. Whatever its tars say, nothing outside the layer is made or changed, and what is
//! refused leaves a clean store.

mod common;

use common::Ebb;
use common::hostile::{Tar, assert_untouched, canary, no_ids};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::PathBuf;

/// Imports, and gives the answer; a refused one must leave nothing.
fn import(ebb: &Ebb, tar: &[u8]) -> common::Answer {
    let before = ebb.ok(["images", "-aq"]);
    let answer = ebb.run_with(tar, ["import", "-", "hostile"]);
    if answer.code != 0 {
        assert_eq!(answer.code, 1, "{}", answer.shown());
        assert!(answer.stderr.starts_with("ebb: ") && !answer.stderr.contains("panicked"), "{}", answer.shown());
        assert_eq!(ebb.ok(["images", "-aq"]), before, "nothing is listed");
        assert_eq!(std::fs::read_dir(ebb.store().join("tmp")).expect("tmp/").count(), 0, "nothing is left");
    }
    answer
}

/// The tree of the one layer that the store has.
fn layer(ebb: &Ebb) -> PathBuf {
    let layers = ebb.store().join("images/layers/sha256");
    std::fs::read_dir(layers).expect("layers").next().expect("one").expect("one").path().join("fs")
}

#[test]
fn a_symlink_and_then_a_directory_of_its_name_changes_nothing_outside() {
    let ebb = Ebb::empty();
    let canary = canary(&ebb);
    let tar = Tar::default()
        .entry(b'2', "d", canary.to_str().expect("UTF-8"), b"")
        .entry(b'5', "d", "", b"")
        .file("d/f", "evil");
    import(&ebb, &tar.end());
    assert_untouched(&canary);
}

#[test]
fn a_symlink_and_then_a_file_of_its_name_is_not_written_through() {
    let ebb = Ebb::empty();
    let canary = canary(&ebb);
    let target = canary.join("f").display().to_string();
    let said = import(&ebb, &Tar::default().entry(b'2', "f", &target, b"").file("f", "evil").end());
    assert_eq!(said.code, 0, "{}", said.shown());
    assert_untouched(&canary);
    assert_eq!(
        std::fs::read_to_string(layer(&ebb).join("f")).expect("the file"),
        "evil",
        "the file takes the link's place"
    );
}

#[test]
fn a_link_upwards_leads_no_further_than_the_layers_root() {
    let ebb = Ebb::empty();
    let canary = canary(&ebb);
    let up = "../../../../../../../../../../../..";
    let tar = Tar::default()
        .entry(b'2', "up", up, b"")
        .file(&format!("up{}/evil", canary.display()), "evil")
        .entry(b'2', "abs", canary.to_str().expect("UTF-8"), b"")
        .file("abs/evil", "evil");
    import(&ebb, &tar.end());
    assert_untouched(&canary);
}

#[test]
fn names_that_climb_are_refused_and_absolute_ones_stay_inside() {
    let ebb = Ebb::empty();
    let canary = canary(&ebb);
    for name in ["../canary/evil", "a/../../evil", "./../x"] {
        let said = import(&ebb, &Tar::default().file(name, "evil").end());
        assert!(said.code == 1 && said.stderr.contains("\"..\""), "{name}: {}", said.shown());
    }
    let said = import(&ebb, &Tar::default().file(&format!("{}/evil", canary.display()), "evil").end());
    assert_eq!(said.code, 0, "{}", said.shown());
    assert_untouched(&canary);
}

#[test]
fn a_hard_link_reaches_nothing_of_the_host() {
    let ebb = Ebb::empty();
    let canary = canary(&ebb);
    let target = canary.join("f").display().to_string();
    let said = import(&ebb, &Tar::default().entry(b'1', "stolen", &target, b"").end());
    assert_eq!(said.code, 1, "{}", said.shown());
    let climbing = import(&ebb, &Tar::default().entry(b'1', "stolen", "../../../../etc/passwd", b"").end());
    assert_eq!(climbing.code, 1, "{}", climbing.shown());
    // By way of a link, which is not followed: the link itself is what is linked.
    let tar = Tar::default().entry(b'2', "l", &target, b"").entry(b'1', "stolen", "l", b"").file("stolen", "evil");
    import(&ebb, &tar.end());
    assert_untouched(&canary);
}

#[test]
fn a_size_in_pax_counts_and_the_other_one_hides_nothing() {
    let ebb = Ebb::empty();
    // ustar says 0, PAX says 1024: what follows is the file's content, not a header (CVE-2025-62518).
    let hidden = Tar::default().file("smuggled", "x").bytes;
    let mut tar = Tar::default().pax(&["size=1024"]);
    tar = tar.entry(b'0', "outer", "", b"");
    let mut bytes = tar.bytes;
    bytes.extend_from_slice(&hidden);
    bytes.extend_from_slice(&[0; 1024]);
    let said = import(&ebb, &bytes);
    if said.code == 0 {
        assert!(!layer(&ebb).join("smuggled").exists(), "GNU tar lists one file, and so do we");
        assert_eq!(std::fs::metadata(layer(&ebb).join("outer")).expect("it").len(), 1024);
    }
}

#[test]
fn odd_whiteouts_hide_nothing_that_they_should_not() {
    let ebb = Ebb::empty();
    for name in [".wh.", ".wh..", ".wh...", "a/.wh..."] {
        let said = import(&ebb, &Tar::default().file(name, "").end());
        assert!(said.code == 1 && said.stderr.contains("whiteout"), "{name}: {}", said.shown());
    }
    let canary = canary(&ebb);
    let tar = Tar::default()
        .entry(b'2', "d", canary.to_str().expect("UTF-8"), b"")
        .file("d/.wh.f", "")
        .file("d/.wh..wh..opq", "");
    import(&ebb, &tar.end());
    assert_untouched(&canary);
}

#[test]
fn devices_are_not_made_and_overlay_marks_cannot_be_forged() {
    let ebb = Ebb::empty();
    let tar = Tar::default()
        .entry(b'3', "null", "", b"")
        .entry(b'4', "disk", "", b"")
        .pax(&[
            "SCHILY.xattr.trusted.overlay.opaque=y",
            "SCHILY.xattr.user.overlay.opaque=y",
            "SCHILY.xattr.user.overlay.redirect=/etc",
            "SCHILY.xattr.security.capability=x",
            "SCHILY.xattr.user.kept=yes",
        ])
        .entry(b'5', "d", "", b"")
        .file("f", "f");
    let said = import(&ebb, &tar.end());
    assert_eq!(said.code, 0, "{}", said.shown());
    let layer = layer(&ebb);
    assert!(!layer.join("null").exists() && !layer.join("disk").exists());
    let names: Vec<_> = xattr::list(layer.join("d")).expect("its attributes").collect();
    assert_eq!(names, ["user.kept"]);
    assert_eq!(std::fs::metadata(ebb.store()).expect("the store").mode() & 0o777, 0o700, "nobody else may look in");
}

#[test]
fn a_bomb_is_refused_before_the_disk_is_full() {
    let ebb = Ebb::empty();
    // More than a gigabyte of zeros in one file of a tar of a few KB.
    let mut header = tar::Header::new_gnu();
    header.set_path("zeros").expect("a name");
    header.set_size(1100 << 20);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_cksum();
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).expect("an encoder");
    encoder.write_all(header.as_bytes()).expect("written");
    let zeros = vec![0u8; 1 << 20];
    for _ in 0..1100 {
        encoder.write_all(&zeros).expect("written");
    }
    let bomb = encoder.finish().expect("finished");
    assert!(bomb.len() < 1 << 20, "{} bytes", bomb.len());
    let said = import(&ebb, &bomb);
    assert!(said.code == 1 && said.stderr.contains("a decompression bomb"), "{}", said.shown());
    // gzip in gzip is a file that is no tar, not a tar twice wrapped.
    let mut inner = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    inner.write_all(&Tar::default().file("a", "a").end()).expect("written");
    let mut outer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    outer.write_all(&inner.finish().expect("finished")).expect("written");
    assert_eq!(import(&ebb, &outer.finish().expect("finished")).code, 1);
}

#[test]
fn a_path_deeper_than_the_kernel_takes_is_refused() {
    let ebb = Ebb::empty();
    let deep = "d/".repeat(4096);
    let said = import(&ebb, &Tar::default().pax(&[&format!("path={deep}f")]).file("short", "f").end());
    assert!(said.code == 1 && said.stderr.contains("its name is longer than a path may be"), "{}", said.shown());
}

/// chown(2) takes -1 for "as it is": the file would be the importer's.
#[test]
fn an_owner_that_is_no_id_is_refused_whole() {
    let ebb = Ebb::empty();
    for tar in no_ids() {
        let answer = import(&ebb, &tar);
        assert_eq!(answer.code, 1, "{}", answer.shown());
        let said = "its owner or group is 4294967295, which is no id: to the kernel it means \"as it is\" (chown(2))\n";
        assert!(answer.stderr.contains(said) && answer.stderr.contains("tar --numeric-owner"), "{}", answer.shown());
    }
}

#[test]
fn an_archive_that_ends_early_is_refused() {
    let ebb = Ebb::empty();
    let whole = Tar::default().file("a", &"x".repeat(3000)).file("b", "b").end();
    for cut in [1, 100, 511, 513, 2000, 3500] {
        let said = import(&ebb, &whole[..cut]);
        assert_eq!(said.code, 1, "cut at {cut}: {}", said.shown());
    }
}

#[test]
fn the_ways_of_a_killed_command_are_cleared_by_the_next() {
    let ebb = Ebb::new();
    // As a SIGKILL leaves it: a half-made layer and a half-removed container.
    for (place, name) in [("tmp", "layer.0123456789ab"), ("trash", "0123.0123456789ab")] {
        let half = ebb.store().join(place).join(name);
        std::fs::create_dir_all(half.join("fs/a/b")).expect("directories");
        std::fs::write(half.join("fs/a/f"), "x").expect("a file");
        symlink("/etc", half.join("fs/link")).expect("a link");
    }
    ebb.ok(["run", "--rm", "busybox", "true"]);
    assert_eq!(ebb.leftovers(), Vec::<String>::new());
}

#[test]
fn a_tree_deeper_than_descriptors_may_be_open_is_removed() {
    let ebb = Ebb::new();
    let script = "i=0; while [ $i -lt 1500 ]; do mkdir d && cd d || exit 1; i=$((i+1)); done; echo bottom > f";
    ebb.ok(["run", "--name", "deep", "-w", "/well", "busybox", "sh", "-c", script]);
    ebb.ok(["rm", "deep"]);
    assert_eq!(std::fs::read_dir(ebb.store().join("trash")).expect("trash/").count(), 0);
}
