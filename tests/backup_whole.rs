//! What is not the whole of a backup is never taken for it, by whoever writes it, and by whoever reads it.

mod common;

use common::Ebb;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

fn data(ebb: &Ebb, volume: &str) -> PathBuf {
    ebb.ok(["volume", "inspect", "-f", "{{.Mountpoint}}", volume]).into()
}

/// A volume `src` with the files f1 to f4, and `vase` with the file `old`.
fn with_two() -> Ebb {
    let ebb = Ebb::empty();
    ebb.ok(["volume", "create", "src"]);
    ebb.ok(["volume", "create", "vase"]);
    for name in ["f1", "f2", "f3", "f4"] {
        std::fs::write(data(&ebb, "src").join(name), name).expect("written");
    }
    std::fs::write(data(&ebb, "vase").join("old"), "kept").expect("written");
    ebb
}

fn exported(ebb: &Ebb) -> Vec<u8> {
    ebb.ok(["volume", "export", "-o", "src.tar", "src"]);
    std::fs::read(ebb.dir.join("src.tar")).expect("the archive")
}

/// Imports what must be refused, and the volume must be as before.
fn refused(ebb: &Ebb, tar: &[u8], why: &str) {
    let answer = ebb.run_with(tar, ["volume", "import", "vase"]);
    assert!(answer.code == 1 && answer.stderr.contains(why), "{}", answer.shown());
    assert_eq!(std::fs::read_to_string(data(ebb, "vase").join("old")).expect("it"), "kept");
}

#[test]
fn an_archive_with_a_lost_header_or_another_behind_it_is_refused() {
    let ebb = with_two();
    let whole = exported(&ebb);
    let at = whole.windows(5).position(|window| window == b"./f3\0").expect("its header");
    let mut damaged = whole.clone();
    damaged[at..at + 512].fill(0);
    refused(&ebb, &damaged, "something follows what looks like its end");
    // Two blocks of zeros, behind a header that announces another one.
    damaged[at..at + 1024].fill(0);
    refused(&ebb, &damaged, "the archive is cut off");
    refused(&ebb, &[whole.clone(), whole.clone()].concat(), "something follows what looks like its end");
    refused(&ebb, &whole[..whole.len() - 512], "the archive is cut off");
    // What fills a tape's record up is nothing.
    let padded = [whole, vec![0; 10_240]].concat();
    assert_eq!(ebb.run_with(&padded, ["volume", "import", "vase"]).code, 0);
    assert_eq!(std::fs::read_dir(data(&ebb, "vase")).expect("it").count(), 4);
}

#[test]
fn nothing_takes_the_place_of_what_is_there_only_when_it_is_asked_for() {
    let ebb = with_two();
    refused(&ebb, &vec![0; 1 << 20], "the archive has nothing in it, and the volume has");
    // podman writes as much for a volume that is empty.
    let answer = ebb.run_with(&[0; 1024], ["volume", "import", "new"]);
    assert!(
        answer.code == 0 && answer.stderr.contains("the archive has nothing in it: new is empty"),
        "{}",
        answer.shown()
    );
}

#[test]
fn an_export_that_fails_half_way_has_no_end_and_no_import_takes_it() {
    let ebb = with_two();
    std::fs::write(data(&ebb, "src").join("big"), vec![7; 4 << 20]).expect("written");
    let mut export = ebb.spawn(["volume", "export", "src"]);
    let mut stdout = export.stdout.take().expect("a pipe");
    let mut tar = vec![0; 1];
    stdout.read_exact(&mut tar).expect("it has begun");
    ebb.ok(["volume", "rm", "--now", "src"]);
    stdout.read_to_end(&mut tar).expect("the rest");
    let output = export.wait_with_output().expect("ended");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("removed, renamed or replaced meanwhile"), "{said}");
    refused(&ebb, &tar, "the archive is cut off");
}

#[test]
fn a_backup_is_its_owners_and_what_others_put_in_its_way_stays_as_it_is() {
    let ebb = with_two();
    std::fs::write(ebb.dir.join("victim"), "precious").expect("written");
    let script = "ln -s victim .x.tar.$$; exec \"$EBB\" volume export -o x.tar src";
    let mut shell = Command::new("sh");
    let shell = shell.args(["-c", script]).env("EBB", env!("CARGO_BIN_EXE_ebb")).env("EBB_ROOT", ebb.store());
    assert!(shell.current_dir(&ebb.dir).output().expect("it starts").status.success());
    assert_eq!(std::fs::read_to_string(ebb.dir.join("victim")).expect("it"), "precious");
    let mode = std::fs::metadata(ebb.dir.join("x.tar")).expect("it").permissions().mode() & 0o777;
    assert_eq!(format!("{mode:o}"), "600");
    assert_eq!(ebb.run_with(&std::fs::read(ebb.dir.join("x.tar")).expect("it"), ["volume", "import", "vase"]).code, 0);
}

#[test]
fn an_export_that_is_killed_leaves_no_half_of_a_file() {
    let ebb = with_two();
    std::fs::write(data(&ebb, "src").join("big"), vec![7; 64 << 20]).expect("written");
    let mut export = ebb.spawn(["--explain", "volume", "export", "-o", "x.tar", "src"]);
    let stderr = std::io::BufReader::new(export.stderr.take().expect("a pipe"));
    let mut lines = std::io::BufRead::lines(stderr).map_while(Result::ok);
    assert!(lines.any(|line| line.contains("digests the archive")), "it has begun");
    export.kill().expect("killed");
    export.wait().expect("ended");
    let names = std::fs::read_dir(&ebb.dir).expect("it").flatten().map(|entry| entry.file_name());
    let mut names: Vec<_> = names.filter(|name| name != "x.tar").collect();
    names.sort();
    assert_eq!(names, ["store"]);
}

/// There are file systems that know no file without a name (NFS, vfat): strace answers for one.
#[test]
fn where_a_file_must_have_a_name_from_the_start_it_has_one_that_goes_with_a_failure() {
    if Command::new("strace").arg("-V").output().is_err() {
        return common::skip("strace is not installed");
    }
    let ebb = with_two();
    let out = ebb.dir.join("out");
    std::fs::create_dir(&out).expect("a directory");
    // A file may have no more than so many blocks, and to write more is an error.
    let export = |blocks: &str| {
        let script = "trap '' XFSZ; ulimit -f $2; exec strace -o /dev/null -P \"$1\" -e trace=openat \
                      -e inject=openat:error=EOPNOTSUPP:when=1 \"$0\" volume export -o \"$1/x.tar\" src";
        let mut shell = Command::new("sh");
        shell.args(["-c", script, env!("CARGO_BIN_EXE_ebb")]).arg(&out).arg(blocks);
        common::answer(shell.env("EBB_ROOT", ebb.store()).current_dir(&ebb.dir))
    };
    let names =
        || -> Vec<_> { std::fs::read_dir(&out).expect("it").flatten().map(|entry| entry.file_name()).collect() };
    let failed = export("4");
    assert!(failed.code == 1 && failed.stderr.contains("file too large"), "{}", failed.shown());
    assert_eq!(names(), Vec::<std::ffi::OsString>::new(), "{}", failed.shown());
    let done = export("unlimited");
    assert!(done.code == 0 && names() == ["x.tar"], "{:?} {}", names(), done.shown());
    let mode = std::fs::metadata(out.join("x.tar")).expect("it").permissions().mode() & 0o777;
    assert_eq!(format!("{mode:o}"), "600");
    assert_eq!(std::fs::read(out.join("x.tar")).expect("it"), exported(&ebb));
}

/// A header and what it says of itself.
fn header(kind: u8, name: &str, link: &str, size: u64, owner: u64) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_entry_type(tar::EntryType::new(kind));
    header.set_mode(0o755);
    header.set_uid(owner);
    header.set_gid(owner);
    header.set_mtime(0);
    header.set_size(size);
    header.set_cksum();
    header.as_bytes().to_vec()
}

fn pax(kind: u8, record: &[u8]) -> Vec<u8> {
    let mut block = header(kind, "pax", "", record.len() as u64, 0);
    block.extend_from_slice(record);
    block.resize(block.len().next_multiple_of(512), 0);
    block
}

#[test]
fn a_size_beyond_any_file_s_and_headers_without_end_are_refused() {
    let ebb = with_two();
    let huge = pax(b'x', b"29 size=18446744073709551615\n");
    let tar = [huge, header(b'5', "d", "", 0, 0), header(b'0', "smuggled", "", 0, 0), vec![0; 1024]].concat();
    refused(&ebb, &tar, "is beyond that of any file");
    // Each of them honest, and together more than is kept in memory.
    let mut record = b"9000000 comment=".to_vec();
    record.resize(9_000_000 - 1, b'x');
    record.push(b'\n');
    let globals = [pax(b'g', &record), pax(b'g', &record), vec![0; 1024]].concat();
    refused(&ebb, &globals, "global headers are longer than any honest ones");
}

/// Some archivers write what a directory took on their disk.
#[test]
fn a_directory_has_no_data_whatever_size_its_header_names() {
    let ebb = with_two();
    let tar = [header(b'5', "d", "", 4096, 0), header(b'0', "d/f", "", 0, 0), vec![0; 1024]].concat();
    assert_eq!(ebb.run_with(&tar, ["volume", "import", "vase"]).code, 0);
    assert!(data(&ebb, "vase").join("d/f").is_file());
}

#[test]
fn the_archive_s_owner_counts_also_where_it_is_ours() {
    let ebb = with_two();
    let tar = [header(b'5', "d", "", 0, 7), header(b'5', "d", "", 0, 0), vec![0; 1024]].concat();
    assert_eq!(ebb.run_with(&tar, ["volume", "import", "vase"]).code, 0);
    let exported = ebb.command().args(["volume", "export", "vase"]).output().expect("ebb starts").stdout;
    let mut archive = tar::Archive::new(exported.as_slice());
    let uids = archive.entries().expect("a tar").map(|entry| {
        let entry = entry.expect("whole");
        (entry.path().expect("a path").display().to_string(), entry.header().uid().expect("a uid"))
    });
    assert!(uids.collect::<Vec<_>>().contains(&("./d/".to_owned(), 0)), "the last word on it");
}

#[test]
fn cp_keeps_the_old_file_where_a_hard_link_cannot_be_made() {
    let ebb = Ebb::new();
    ebb.ok(["create", "--name", "box", "busybox", "cat", "/root/a"]);
    let cp = |tar: &[u8]| ebb.run_with(tar, ["cp", "-", "box:/root"]);
    let mut file = header(b'0', "a", "", 8, 0);
    file.extend_from_slice(b"precious");
    file.resize(1024, 0);
    assert_eq!(cp(&[file, vec![0; 1024]].concat()).code, 0);
    let missing = cp(&[header(b'1', "a", "nothere", 0, 0), vec![0; 1024]].concat());
    assert_eq!(missing.code, 1, "{}", missing.shown());
    assert_eq!(ebb.ok(["start", "-a", "box"]), "precious");
    // As GNU tar writes it where one file is named twice.
    let itself = cp(&[header(b'1', "a", "a", 0, 0), vec![0; 1024]].concat());
    assert_eq!(itself.code, 0, "{}", itself.shown());
    assert_eq!(ebb.ok(["start", "-a", "box"]), "precious");
}

/// It is known only at the end: the volume is made while its content comes through a pipe.
#[test]
fn an_import_says_so_where_another_makes_the_volume_meanwhile() {
    let ebb = Ebb::empty();
    ebb.ok(["volume", "create", "vase"]);
    let vase = ebb.ok(["volume", "inspect", "-f", "{{.Mountpoint}}", "vase"]);
    std::fs::write(std::path::Path::new(&vase).join("f"), vec![b'x'; 3 << 20]).expect("a file");
    ebb.ok(["volume", "export", "vase", "-o", "vase.tar"]);
    let script = "(head -c 2000000 vase.tar; \"$0\" volume create late >&2; tail -c +2000001 vase.tar) | \"$0\" volume import late -";
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", script, env!("CARGO_BIN_EXE_ebb")]).env("EBB_ROOT", ebb.store()).current_dir(&ebb.dir);
    let answer = common::answer(&mut shell);
    assert_eq!(answer.code, 1, "{}", answer.shown());
    assert!(
        answer.stderr.contains("import late: another command has made a volume late meanwhile"),
        "{}",
        answer.shown()
    );
    assert!(ebb.leftovers().is_empty());
}
