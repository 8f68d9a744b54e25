//! A backup is whole or refused, an import leaves the old content or the new, and neither reaches outside of the volume.

mod common;

use common::Ebb;
use common::hostile::{Tar, assert_untouched, canary, no_ids};
use std::io::Write;
use std::path::PathBuf;

fn data(ebb: &Ebb, volume: &str) -> PathBuf {
    ebb.ok(["volume", "inspect", "-f", "{{.Mountpoint}}", volume]).into()
}

/// A volume `vase` with the file `old`, and a directory beside the store that no archive may touch.
fn with_vase(ebb: &Ebb) -> PathBuf {
    ebb.ok(["volume", "create", "vase"]);
    std::fs::write(data(ebb, "vase").join("old"), "kept").expect("written");
    canary(ebb)
}

/// Imports what must be refused; the volume and the store must then be as before.
fn refused(ebb: &Ebb, tar: &[u8]) -> String {
    let answer = ebb.run_with(tar, ["volume", "import", "vase"]);
    assert_eq!(answer.code, 1, "{}", answer.shown());
    assert!(
        answer.stderr.starts_with("ebb: import vase: ") && !answer.stderr.contains("panicked"),
        "{}",
        answer.shown()
    );
    assert_eq!(std::fs::read_dir(data(ebb, "vase")).expect("it").count(), 1, "nothing was added");
    assert_eq!(std::fs::read_to_string(data(ebb, "vase").join("old")).expect("it"), "kept");
    assert_eq!(ebb.leftovers(), Vec::<String>::new());
    answer.stderr
}

#[test]
fn an_archive_that_leads_outside_is_refused_and_changes_nothing() {
    let ebb = Ebb::empty();
    let canary = with_vase(&ebb);
    let outside = canary.to_str().expect("UTF-8");
    let tar = Tar::default;
    let said = refused(&ebb, &tar().file("../evil", "x").end());
    assert!(said.contains("the archive's ../evil has a \"..\" in it"), "{said}");
    refused(&ebb, &tar().file("a/../../evil", "x").end());
    refused(&ebb, &tar().pax(&["path=../evil"]).file("honest", "x").end());
    // A symlink, and then through it.
    refused(&ebb, &tar().entry(b'2', "d", outside, b"").entry(b'5', "d", "", b"").end());
    refused(&ebb, &tar().file("f", "x").entry(b'5', "f", "", b"").end());
    refused(&ebb, &tar().entry(b'5', "d", "", b"").file("d", "x").end());
    refused(&ebb, &tar().entry(b'1', "hard", &format!("{outside}/f"), b"").end());
    refused(&ebb, &tar().entry(b'1', "hard", "../../../canary/f", b"").end());
    refused(&ebb, &tar().pax(&["linkpath=../x"]).entry(b'1', "hard", "y", b"").end());
    assert_untouched(&canary);
    // What stays inside is taken: an absolute name, a symlink that leads away, a file written through it.
    let taken = tar().file("/etc/shadow", "mine").entry(b'2', "d", outside, b"").file("d/g", "inside").end();
    let answer = ebb.run_with(&taken, ["volume", "import", "vase"]);
    assert_untouched(&canary);
    if answer.code == 0 {
        assert_eq!(in_vase(&ebb, "etc/shadow"), "mine");
    }
}

#[test]
fn an_owner_that_is_no_id_is_refused_and_changes_nothing() {
    let ebb = Ebb::new();
    with_vase(&ebb);
    ebb.ok(["create", "--name", "box", "busybox"]);
    for tar in no_ids() {
        let said = "unpack \"nobody-s\": its owner or group is 4294967295, which is no id";
        assert!(refused(&ebb, &tar).contains(said));
        for words in [&["cp", "-", "box:/tmp"][..], &["cp", "-a", "-", "box:/tmp"]] {
            let answer = ebb.run_with(&tar, words);
            assert!(answer.code == 1 && answer.stderr.contains(said), "{}", answer.shown());
            assert!(!ebb.ok(["diff", "box"]).contains("nobody-s"), "the file is not made");
        }
    }
}

fn in_vase(ebb: &Ebb, name: &str) -> String {
    std::fs::read_to_string(data(ebb, "vase").join(name)).expect("a file in the volume")
}

/// A name in an archive could move the cursor, or set the clipboard.
#[test]
fn a_name_in_an_archive_tells_the_terminal_nothing() {
    let ebb = Ebb::empty();
    let _canary = with_vase(&ebb);
    let tar = Tar::of_setuid().entry(b'3', "a\u{1b}[2Jb", "", b"").file("f", "x").end();
    let answer = ebb.run_with(&tar, ["volume", "import", "vase"]);
    assert!(answer.stderr.contains("left out a") && !answer.stderr.contains('\u{1b}'), "{:?}", answer.stderr);
    let tar = Tar::of_setuid().file("../\u{1b}]0;owned\u{7}\nebb: all is well", "x").end();
    let answer = ebb.run_with(&tar, ["volume", "import", "vase"]);
    assert!(answer.code == 1 && !answer.stderr.contains(['\u{1b}', '\u{7}']), "{:?}", answer.stderr);
    assert!(!answer.stderr.contains("\nebb: "), "{:?}", answer.stderr);
}

#[test]
fn devices_and_powers_over_the_host_stay_outside() {
    let ebb = Ebb::empty();
    let canary = with_vase(&ebb);
    let tar = Tar::of_setuid().entry(b'3', "null", "", b"").entry(b'4', "disk", "", b"");
    let caps = "SCHILY.xattr.security.capability=\u{1}\0\0\u{2}\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let marks = ["SCHILY.xattr.trusted.overlay.opaque=y", "SCHILY.xattr.user.overlay.opaque=y"];
    let tar = tar.pax(&[caps, marks[0], marks[1], "SCHILY.xattr.security.selinux=label"]);
    let tar = tar.file("f", "x").end();
    let answer = ebb.run_with(&tar, ["volume", "import", "vase"]);
    assert_eq!(answer.code, 0, "{}", answer.shown());
    assert!(answer.stderr.contains("left out null: it is a device"), "{}", answer.shown());
    assert!(answer.stderr.contains("attributes of 1 file were left out"), "{}", answer.shown());
    let vase = data(&ebb, "vase");
    let names: Vec<_> = std::fs::read_dir(&vase).expect("it").map(|entry| entry.expect("it").file_name()).collect();
    assert_eq!(names, ["f"]);
    // Those are the container's, behind a directory that only its owner may enter (file_capabilities.rs).
    let kept: Vec<_> = xattr::list(vase.join("f")).expect("read").collect();
    assert_eq!(kept, ["security.capability"]);
    assert_untouched(&canary);
}

#[test]
fn what_is_damaged_or_cut_off_anywhere_leaves_the_old_content() {
    let ebb = Ebb::empty();
    with_vase(&ebb);
    let content = "0123456789".repeat(100);
    let sparse = ["GNU.sparse.major=1", "GNU.sparse.minor=0", "GNU.sparse.name=s", "GNU.sparse.realsize=10000"];
    let mut map = b"2\n0\n512\n9000\n1000\n".to_vec();
    map.resize(512, 0);
    let sparse_content = [map, vec![b'x'; 1512]].concat();
    let tar = Tar::of_setuid().entry(b'5', "d", "", b"").file("d/f", &content).pax(&["path=long"]).file("g", "g");
    let whole = tar.pax(&sparse).entry(b'0', "s", "", &sparse_content).end();
    // In the middle of a header, of contents, of padding, and between two members.
    for length in (0..whole.len() - 1024).step_by(256) {
        let said = refused(&ebb, &whole[..length]);
        assert!(
            said.contains("the archive is cut off") || said.contains("the archive ends in the middle"),
            "{length}: {said}"
        );
    }
    // A bit in a header, anywhere in it.
    for bit in [0, 100, 130, 150, 156, 300] {
        let mut damaged = whole.clone();
        damaged[bit] ^= 4;
        let said = refused(&ebb, &damaged);
        assert!(said.contains("checksum is wrong"), "{bit}: {said}");
    }
    for compress in ["gzip", "zstd"] {
        let compressed = compressed(&ebb, compress, &whole);
        for length in [7, compressed.len() / 2, compressed.len() - 1] {
            let said = refused(&ebb, &compressed[..length]);
            assert!(said.contains("the archive is cut off: its end is missing"), "{compress}, {length}: {said}");
        }
        let mut damaged = compressed.clone();
        let last = damaged.len() - 2;
        damaged[last] ^= 1;
        refused(&ebb, &damaged);
        assert_eq!(ebb.run_with(&compressed, ["volume", "import", "other"]).code, 0);
    }
    assert_eq!(ebb.run_with(&whole, ["volume", "import", "vase"]).code, 0);
    let made = std::fs::read(data(&ebb, "vase").join("s")).expect("the sparse file");
    assert!(
        made.len() == 10_000
            && made[511] == b'x'
            && made[512..9000].iter().all(|byte| *byte == 0)
            && made[9999] == b'x'
    );
}

fn compressed(ebb: &Ebb, program: &str, bytes: &[u8]) -> Vec<u8> {
    let mut command = std::process::Command::new(program);
    let input = ebb.dir.join("input");
    std::fs::write(&input, bytes).expect("written");
    let output = command.arg("-c").stdin(std::fs::File::open(input).expect("it")).output().expect("it starts");
    assert!(output.status.success());
    output.stdout
}

#[test]
fn lies_about_sizes_and_maps_are_refused_without_filling_memory_or_disk() {
    let ebb = Ebb::empty();
    with_vase(&ebb);
    let tar = Tar::default;
    let sparse = |map: &str, size: &str| {
        tar().pax(&[&format!("GNU.sparse.map={map}"), &format!("GNU.sparse.size={size}")]).file("s", "12345").end()
    };
    for (map, size) in [
        ("0,5,3,1", "100"),
        ("0,4", "100"),
        ("0,6", "100"),
        ("98,5", "100"),
        ("18446744073709551615,5", "100"),
        ("0", "9"),
    ] {
        let said = refused(&ebb, &sparse(map, size));
        assert!(said.contains("the map of a sparse file in the archive is damaged"), "{map}: {said}");
    }
    // More than any file system holds.
    refused(&ebb, &sparse("0,5", "9223372036854775807"));
    let mut long = tar().entry(b'L', "longname", "", b"");
    long.bytes[124..136].copy_from_slice(b"77777777777\0");
    let sum: u32 = long.bytes[..512]
        .iter()
        .enumerate()
        .map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u32::from(*byte) })
        .sum();
    long.bytes[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let said = refused(&ebb, &long.end());
    assert!(said.contains("is longer than any honest one"), "{said}");
    // What pax says of the size is what counts, as for GNU tar (CVE-2025-62518).
    let hidden = tar().file("hidden", "x").bytes;
    let said = ebb.run_with(
        &tar()
            .pax(&[&format!("size={}", hidden.len())])
            .entry(b'0', "outer", "", b"")
            .bytes
            .iter()
            .copied()
            .chain(hidden)
            .chain([0; 1024])
            .collect::<Vec<_>>(),
        ["volume", "import", "vase"],
    );
    assert_eq!(said.code, 0, "{}", said.shown());
    let names: Vec<_> =
        std::fs::read_dir(data(&ebb, "vase")).expect("it").map(|entry| entry.expect("it").file_name()).collect();
    assert_eq!(names, ["outer"], "and what lies in its contents is no member");
}

#[test]
fn an_import_that_is_killed_leaves_the_old_content_and_the_next_command_clears_the_rest() {
    let ebb = Ebb::empty();
    with_vase(&ebb);
    let tar = Tar::of_setuid().file("new", &"x".repeat(3 << 20)).bytes;
    let mut import = ebb.spawn(["volume", "import", "vase"]);
    let mut stdin = import.stdin.take().expect("a pipe");
    // More than pipes and buffers hold: when it is written, the import is in the middle of the file.
    stdin.write_all(&tar[..2 << 20]).expect("read by the import");
    assert_eq!(in_vase(&ebb, "old"), "kept");
    import.kill().expect("killed");
    import.wait().expect("ended");
    drop(stdin);
    assert_eq!(in_vase(&ebb, "old"), "kept");
    assert!(!data(&ebb, "vase").join("new").exists());
    let answer = ebb.run_with(&Tar::of_setuid().file("newer", "y").end(), ["volume", "import", "vase"]);
    assert_eq!(answer.code, 0, "{}", answer.shown());
    assert_eq!(in_vase(&ebb, "newer"), "y");
    assert!(!data(&ebb, "vase").join("old").exists(), "the whole of the old content has gone");
    // The old content is removed behind the answer, under its lock.
    assert_eq!(ebb.leftovers(), Vec::<String>::new());
}

#[test]
fn a_volume_whose_containers_run_is_not_replaced_under_them() {
    let ebb = Ebb::new();
    let tar = Tar::of_setuid().file("new", "x").end();
    ebb.ok([
        "run",
        "-d",
        "--name",
        "web",
        "-v",
        "vase:/data",
        "busybox",
        "sh",
        "-c",
        "echo mine > /data/old; echo up; exec sleep 1000",
    ]);
    ebb.await_line("web", "up");
    let answer = ebb.run_with(&tar, ["volume", "import", "vase"]);
    assert_eq!(answer.code, 1, "{}", answer.shown());
    assert!(answer.stderr.contains("import vase: volume is in use by web (running)"), "{}", answer.shown());
    assert!(answer.stderr.contains("`ebb stop web` first, `ebb start web` afterwards"), "{}", answer.shown());
    assert_eq!(ebb.ok(["exec", "web", "cat", "/data/old"]), "mine");
    ebb.ok(["stop", "-t", "0", "web"]);
    let answer = ebb.run_with(&tar, ["volume", "import", "vase"]);
    assert_eq!(answer.code, 0, "{}", answer.shown());
    ebb.ok(["start", "web"]);
    assert_eq!(ebb.ok(["exec", "web", "cat", "/data/new"]), "x", "and it sees the new content");
}

#[test]
fn no_file_of_the_host_comes_out_however_fast_a_container_swaps_its_paths() {
    let ebb = Ebb::new();
    ebb.ok(["volume", "create", "vase"]);
    let canary = ebb.dir.join("canary");
    std::fs::create_dir(&canary).expect("a directory");
    std::fs::write(canary.join("f"), "SECRET-OF-THE-HOST").expect("written");
    // Inside, the host's path leads nowhere; whoever followed it outside would find the secret.
    let script = format!(
        "cd /data; mkdir -p a/b; echo own > a/b/f; echo own > f; ln -s {0} link; ln -s {0}/f flink; echo up
         while :; do mv a x; mv link a; mv a link; mv x a; mv f y; mv flink f; mv f flink; mv y f; done",
        canary.display()
    );
    ebb.ok(["run", "-d", "--name", "swap", "-v", "vase:/data", "busybox", "sh", "-c", &script]);
    ebb.await_line("swap", "up");
    let mut swapped = 0;
    for round in 0..300 {
        let output = ebb.command().args(["volume", "export", "vase"]).output().expect("ebb starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "round {round}: {said}");
        assert!(!output.stdout.windows(6).any(|window| window == b"SECRET"), "round {round}");
        let mut archive = tar::Archive::new(output.stdout.as_slice());
        let entries = archive.entries().expect("a tar").map(|entry| entry.expect("a whole entry"));
        let caught = |entry: &tar::Entry<&[u8]>| {
            entry.header().entry_type().is_symlink() && matches!(&*entry.path_bytes(), b"./a" | b"./f")
        };
        swapped += entries.filter(caught).count();
    }
    assert!(swapped > 0, "the container was never seen in the act");
}
