//! A volume goes into one tar and comes out of it as it was, for whoever reads or writes it.

mod common;

use common::terminal::Terminal;
use common::{Ebb, has_one_id};
use sha2::{Digest, Sha256};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn data(ebb: &Ebb, volume: &str) -> PathBuf {
    ebb.ok(["volume", "inspect", "-f", "{{.Mountpoint}}", volume]).into()
}

/// Runs a script with the volume at /data.
fn inside(ebb: &Ebb, volume: &str, script: &str) -> String {
    ebb.ok([
        "run",
        "--rm",
        "--network",
        "none",
        "-v",
        &format!("{volume}:/data"),
        "-w",
        "/data",
        "busybox",
        "sh",
        "-c",
        script,
    ])
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", ebb::store::id::hex(&Sha256::digest(bytes)))
}

/// The tar of a volume, by stdout; its digest stands on stderr.
fn exported(ebb: &Ebb, volume: &str) -> Vec<u8> {
    let output = ebb.command().args(["volume", "export", volume]).output().expect("ebb starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert_eq!(said.trim_end(), digest(&output.stdout));
    output.stdout
}

/// A volume with one of everything that a file can be.
fn with_everything() -> Ebb {
    let ebb = Ebb::new();
    let script = "
        mkdir -p d/e 'with blank'; echo hello > a; echo x > d/e/f; ln a d/second; ln -s a link; ln -s /etc/passwd away
        mkfifo -m 640 pipe; dd if=/dev/zero of=sparse bs=1 count=0 seek=10000000 2>/dev/null
        echo middle | dd of=sparse bs=1 seek=5000000 conv=notrunc 2>/dev/null
        : > empty; echo long > $(printf '%0200d' 0); echo n > \"$(printf 'line\\nbreak')\"
        chmod 2750 d; chmod 4755 d/e/f; chmod 1777 .; chown 101:33 d a; chown -h 33:101 link; chown 3000:3000 .
        touch -d '2001-02-03 04:05:06' a";
    let _ = inside(&ebb, "vase", script);
    if !has_one_id() {
        assert_eq!(inside(&ebb, "vase", "stat -c '%u:%g %a' . a"), "3000:3000 1777\n101:33 644");
    }
    ebb
}

/// What a container sees of it, in its own words.
fn seen(ebb: &Ebb, volume: &str) -> String {
    inside(
        ebb,
        volume,
        "find . | sort | while read -r f; do stat -c '%n %F %a %u:%g %h %s %Y %N' \"$f\"; done; cat a d/e/f",
    )
}

#[test]
fn what_comes_out_of_an_archive_is_what_went_in() {
    let ebb = with_everything();
    let printed = ebb.ok(["volume", "export", "-o", "vase.tar", "vase"]);
    let tar = std::fs::read(ebb.dir.join("vase.tar")).expect("written");
    assert_eq!(printed, digest(&tar));
    assert!(tar.len() < 100_000, "{} bytes, with the hole", tar.len());
    assert_eq!(exported(&ebb, "vase"), tar, "the same files make the same archive");
    assert_eq!(ebb.ok(["volume", "import", "copy", "vase.tar"]), printed);
    assert_eq!(seen(&ebb, "copy"), seen(&ebb, "vase"));
    assert_eq!(exported(&ebb, "copy"), tar);
    let sparse = std::fs::metadata(data(&ebb, "copy").join("sparse"));
    if let Ok(meta) = sparse {
        assert!(meta.len() == 10_000_000 && meta.blocks() < 1000, "{} blocks", meta.blocks());
    }
}

#[test]
fn attributes_fractions_of_a_second_and_sockets_are_kept() {
    let ebb = Ebb::empty();
    ebb.ok(["volume", "create", "vase"]);
    let vase = data(&ebb, "vase");
    std::fs::write(vase.join("f"), "text").expect("written");
    xattr::set(vase.join("f"), "user.colour", b"blue\n\0=1").expect("an attribute");
    xattr::set(&vase, "user.top", b"1").expect("an attribute");
    let socket = std::os::unix::net::UnixListener::bind(vase.join("s")).expect("a socket");
    drop(socket);
    let before = std::fs::metadata(vase.join("f")).expect("it");
    assert_ne!(before.mtime_nsec(), 0, "a file system with a finer clock than seconds");
    ebb.ok(["volume", "export", "-o", "v.tar", "vase"]);
    ebb.ok(["volume", "import", "copy", "v.tar"]);
    let copy = data(&ebb, "copy");
    assert_eq!(xattr::get(copy.join("f"), "user.colour").expect("read"), Some(b"blue\n\0=1".to_vec()));
    assert_eq!(xattr::get(&copy, "user.top").expect("read"), Some(b"1".to_vec()));
    let after = std::fs::metadata(copy.join("f")).expect("it");
    assert_eq!((after.mtime(), after.mtime_nsec()), (before.mtime(), before.mtime_nsec()));
    let kind = std::fs::symlink_metadata(copy.join("s")).expect("it").mode() & libc::S_IFMT;
    assert_eq!(kind, libc::S_IFSOCK);
    // GNU tar knows no sockets: it says so, and goes on.
    std::fs::create_dir(ebb.dir.join("x")).expect("a directory");
    tar(&ebb, &["-C", "x", "-xf", "v.tar"]);
    assert_eq!(std::fs::metadata(ebb.dir.join("x/s")).expect("it").len(), 0);
    assert_eq!(std::fs::read_to_string(ebb.dir.join("x/f")).expect("it"), "text");
}

/// GNU tar.
fn tar(ebb: &Ebb, args: &[&str]) -> String {
    let output = Command::new("tar").args(args).current_dir(&ebb.dir).output().expect("tar starts");
    assert!(output.status.success(), "tar {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A tree of the host, with a sparse file, a long name and links.
fn host_tree(ebb: &Ebb) -> PathBuf {
    let tree = ebb.dir.join("tree");
    std::fs::create_dir_all(tree.join("deep").join("d".repeat(120))).expect("directories");
    std::fs::write(tree.join("deep").join("d".repeat(120)).join("f".repeat(150)), "far").expect("written");
    std::fs::write(tree.join("a"), "hello").expect("written");
    std::fs::hard_link(tree.join("a"), tree.join("b")).expect("linked");
    std::os::unix::fs::symlink("l".repeat(140), tree.join("link")).expect("linked");
    // More holes than fit in a header of GNU's old format.
    let file = std::fs::File::create(tree.join("holes")).expect("made");
    for number in 0..60u64 {
        std::os::unix::fs::FileExt::write_all_at(&file, &[b'0' + number as u8; 100], number * 1_000_000)
            .expect("written");
    }
    file.set_len(70_000_000).expect("a size");
    tree
}

fn same_trees(ebb: &Ebb, one: &Path, other: &Path) {
    let mut command = Command::new("diff");
    let output = command.args(["-r", "--no-dereference"]).args([one, other]).current_dir(&ebb.dir).output();
    let output = output.expect("diff starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn every_format_of_gnu_tar_is_read_its_sparse_files_too() {
    let ebb = Ebb::empty();
    let tree = host_tree(&ebb);
    let formats: [&[&str]; 7] = [
        &["--format=gnu", "--sparse"],
        &["--format=oldgnu", "--sparse"],
        &["--format=posix", "--sparse", "--sparse-version=0.0"],
        &["--format=posix", "--sparse", "--sparse-version=0.1"],
        &["--format=posix", "--sparse", "--sparse-version=1.0"],
        &["--format=posix"],
        &["--format=gnu", "--label=label"],
    ];
    for format in formats {
        tar(&ebb, &[format, &["-C", "tree", "-cf", "t.tar", "."][..]].concat());
        ebb.ok(["volume", "import", "vase", "t.tar"]);
        let vase = data(&ebb, "vase");
        same_trees(&ebb, &tree, &vase);
        let one = |name: &str| std::fs::metadata(vase.join(name)).expect("it");
        assert_eq!(one("a").ino(), one("b").ino(), "a hard link");
        if format.contains(&"--sparse") {
            assert!(one("holes").blocks() < 2000, "{format:?}: {} blocks", one("holes").blocks());
        }
    }
}

#[test]
fn gnu_tar_reads_what_is_written_its_sparse_files_too() {
    let ebb = Ebb::empty();
    let tree = host_tree(&ebb);
    // Owned by root inside, which is whoever runs this.
    tar(&ebb, &["--owner=0", "--group=0", "-C", "tree", "-cf", "t.tar", "."]);
    ebb.ok(["volume", "import", "vase", "t.tar"]);
    std::fs::remove_file(data(&ebb, "vase").join("holes")).expect("removed");
    let vase = data(&ebb, "vase");
    let copied = Command::new("cp").args(["--sparse=always", "tree/holes"]).arg(&vase).current_dir(&ebb.dir).status();
    assert!(copied.expect("cp starts").success());
    ebb.ok(["volume", "export", "-o", "v.tar", "vase"]);
    assert!(std::fs::metadata(ebb.dir.join("v.tar")).expect("it").len() < 1_000_000, "the holes are not stored");
    std::fs::create_dir(ebb.dir.join("x")).expect("a directory");
    tar(&ebb, &["-C", "x", "-xf", "v.tar"]);
    same_trees(&ebb, &tree, &ebb.dir.join("x"));
    assert!(std::fs::metadata(ebb.dir.join("x/holes")).expect("it").blocks() < 2000);
}

/// The archive was written by podman 4.3.1 (tests/fixtures/make-podman-volume.sh), which leaves out the top directory.
#[test]
fn what_podman_exports_is_read_with_owners_modes_links_and_times() {
    let ebb = Ebb::new();
    let archive = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/podman-volume.tar.gz");
    ebb.ok(["volume", "import", "shelf", archive]);
    let long = "0".repeat(120);
    let script = format!(
        "cat a books/deep/{long} owned; [ a -ef b ] && readlink books/link; stat -c '%n %F %a %u:%g %s' *; \
         stat -c %Y owned; tr -d '\\0' < holes"
    );
    let owner = if has_one_id() { "0:0" } else { "33:101" };
    assert_eq!(
        inside(&ebb, "shelf", &script),
        format!(
            "hello\nfar\nmine\n../a\na regular file 644 0:0 6\nb regular file 644 0:0 6\nbooks directory 2775 {owner} 4096\n\
             empty regular empty file 644 0:0 0\nholes regular file 644 0:0 1048576\nowned regular file 4750 {owner} 5\n\
             pipe fifo 644 0:0 0\n981173106\nmiddle"
        )
    );
    let colour = xattr::get(data(&ebb, "shelf").join("a"), "user.colour").expect("read");
    assert_eq!(colour, Some(b"blue".to_vec()));
}

#[test]
fn an_archive_s_name_says_how_it_is_compressed_and_its_first_bytes_how_it_is_read() {
    let ebb = with_everything();
    let plain = exported(&ebb, "vase");
    for (name, magic) in [("v.tar.gz", &b"\x1f\x8b"[..]), ("v.tgz", b"\x1f\x8b"), ("v.tar.zst", b"\x28\xb5\x2f\xfd")] {
        let printed = ebb.ok(["volume", "export", "-o", name, "vase"]);
        let bytes = std::fs::read(ebb.dir.join(name)).expect("written");
        assert!(bytes.starts_with(magic) && bytes.len() < plain.len() / 5, "{name}: {} bytes", bytes.len());
        assert_eq!(printed, digest(&bytes));
        std::fs::rename(ebb.dir.join(name), ebb.dir.join("nameless")).expect("renamed");
        assert_eq!(ebb.ok(["volume", "import", "copy", "nameless"]), printed);
        assert_eq!(exported(&ebb, "copy"), plain, "{name}");
        assert_eq!(ebb.run_with(&bytes, ["volume", "import", "copy"]).stdout.trim_end(), printed, "from stdin");
    }
    let said = ebb.fails(1, ["volume", "export", "-o", "v.tar.xz", "vase"]);
    assert!(
        said.contains("v.tar.xz names a format that is not written\n  name it .tar, .tar.gz or .tar.zst"),
        "{said}"
    );
    let answer = ebb.run_with(b"PK\x03\x04 and so on", ["volume", "import", "copy", "-"]);
    assert!(answer.stderr.contains("give what `unzip -p FILE` writes to"), "{}", answer.shown());
    assert_eq!(exported(&ebb, "copy"), plain);
}

#[test]
fn an_archive_holds_the_ids_that_containers_see_whoever_makes_or_reads_it() {
    let ebb = Ebb::new();
    let mut builder = ::tar::Builder::new(Vec::new());
    for (name, uid, gid) in [("./", 999, 998), ("./mine", 0, 0), ("./web", 101, 33), ("./last", 60_000, 60_001)] {
        let mut header = ::tar::Header::new_gnu();
        header.set_entry_type(if name == "./" { ::tar::EntryType::Directory } else { ::tar::EntryType::Regular });
        header.set_mode(if name == "./" { 0o750 } else { 0o600 });
        header.set_uid(uid);
        header.set_gid(gid);
        header.set_size(0);
        builder.append_data(&mut header, name, std::io::empty()).expect("written");
    }
    let tar = builder.into_inner().expect("ended");
    let answer = ebb.run_with(&tar, ["volume", "import", "vase"]);
    assert_eq!(answer.code, 0, "{}", answer.shown());
    let ids = "stat -c '%n %u:%g %a' . mine web last";
    let wanted = match has_one_id() {
        // Ownership cannot be kept with one id, and nothing is refused for it.
        true => ". 0:0 750\nmine 0:0 600\nweb 0:0 600\nlast 0:0 600",
        false => ". 999:998 750\nmine 0:0 600\nweb 101:33 600\nlast 60000:60001 600",
    };
    assert_eq!(inside(&ebb, "vase", ids), wanted);
    let bytes = exported(&ebb, "vase");
    let mut archive = ::tar::Archive::new(bytes.as_slice());
    let web = archive.entries().expect("a tar").map(|entry| entry.expect("whole"));
    let web = web
        .filter(|entry| entry.path().is_ok_and(|path| path.ends_with("web")))
        .map(|entry| (entry.header().uid().expect("a uid"), entry.header().gid().expect("a gid")));
    assert_eq!(web.collect::<Vec<_>>(), [if has_one_id() { (0, 0) } else { (101, 33) }]);
}

#[test]
fn docker_s_own_idiom_works_both_ways() {
    let ebb = with_everything();
    let backup = format!("{}:/backup", ebb.dir.display());
    let idiom = ["run", "--rm", "--network", "none", "-v"];
    let words = |volume: &str, script: &str| -> Vec<String> {
        let rest = [
            format!("{volume}:/data"),
            "-v".into(),
            backup.clone(),
            "busybox".into(),
            "sh".into(),
            "-c".into(),
            script.into(),
        ];
        idiom.iter().map(|word| (*word).to_owned()).chain(rest).collect()
    };
    // busybox's tar keeps neither a symlink's owner nor the time of a directory.
    let kept = "find . ! -type l | sort | while read -r f; do stat -c '%n %F %a %u:%g %h %s' \"$f\"; done; cat a d/e/f";
    let same = |volume: &str| assert_eq!(inside(&ebb, volume, kept), inside(&ebb, "vase", kept), "{volume}");
    ebb.ok(words("vase", "tar czf /backup/backup.tar.gz -C /data ."));
    ebb.ok(words("copy", "tar xzpf /backup/backup.tar.gz -C /data"));
    same("copy");
    ebb.ok(["volume", "import", "third", "backup.tar.gz"]);
    same("third");
    ebb.ok(["volume", "export", "-o", "ours.tar", "vase"]);
    ebb.ok(words("fourth", "tar xpf /backup/ours.tar -C /data"));
    assert_eq!(inside(&ebb, "fourth", "cat a d/e/f; stat -c %a d d/e/f"), "hello\nx\n2750\n4755");
}

#[test]
fn nothing_is_written_to_a_terminal_and_nothing_read_from_one() {
    let ebb = Ebb::empty();
    ebb.ok(["volume", "create", "vase"]);
    let mut command = ebb.command();
    command.args(["volume", "export", "vase"]);
    let mut terminal = Terminal::start(&command);
    terminal.shows("cowardly refusing to save to a terminal. Use the -o flag or redirect");
    assert_eq!(terminal.ends(), 1);
    let mut command = ebb.command();
    command.args(["volume", "import", "vase"]);
    let mut terminal = Terminal::start(&command);
    terminal.shows("requested import from stdin, but stdin is a terminal");
    assert_eq!(terminal.ends(), 1);
    // A file is another matter, and its making is watched.
    let mut command = ebb.command();
    command.env("TERM", "xterm").args(["volume", "export", "-o", "v.tar", "vase"]);
    let mut terminal = Terminal::start(&command);
    terminal.shows("exporting");
    terminal.shows("sha256:");
    assert_eq!(terminal.ends(), 0);
}

#[test]
fn a_volume_that_is_not_there_gives_no_file_and_a_bad_name_no_volume() {
    let ebb = Ebb::empty();
    let said = ebb.fails(1, ["volume", "export", "-o", "out.tar", "nope"]);
    assert!(said.contains("get nope: no such volume"), "{said}");
    assert!(!ebb.dir.join("out.tar").exists());
    let said = ebb.fails(1, ["volume", "import", "../x", "/dev/null"]);
    assert!(said.contains("includes invalid characters for a local volume name"), "{said}");
    let said = ebb.fails(1, ["volume", "import", "vase", "missing.tar"]);
    assert!(said.contains("open missing.tar: no such file or directory"), "{said}");
    assert_eq!(ebb.ok(["volume", "ls", "-q"]), "");
}

#[test]
fn a_file_of_backup_is_replaced_whole_or_not_at_all() {
    let ebb = Ebb::empty();
    ebb.ok(["volume", "create", "vase"]);
    std::fs::write(ebb.dir.join("b.tar"), "the backup of yesterday").expect("written");
    let said = ebb.fails(1, ["volume", "export", "-o", "b.tar", "nope"]);
    assert!(said.contains("no such volume"), "{said}");
    assert_eq!(std::fs::read_to_string(ebb.dir.join("b.tar")).expect("it"), "the backup of yesterday");
    // Into a full disk.
    let full = std::fs::File::options().write(true).open("/dev/full").expect("it");
    let mut command = ebb.command();
    command.args(["volume", "export", "vase"]).stdout(full).stderr(Stdio::piped());
    let output = command.spawn().expect("starts").wait_with_output().expect("ends");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no space left on device"));
}
