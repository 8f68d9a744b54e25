//! cp and export carry files in and out of a container, running or not, and nothing of anybody else's.

mod common;

use common::{Ebb, is_root};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;

/// A container that runs, with a volume at /data that holds the file `f`.
fn with_box() -> Ebb {
    let ebb = Ebb::new();
    ebb.ok(["run", "-d", "--name", "box", "-v", "vol:/data", "busybox", "sh", "-c", "echo up; exec sleep 1000"]);
    ebb.await_line("box", "up");
    inside(&ebb, "echo hi > /data/f");
    ebb
}

fn inside(ebb: &Ebb, script: &str) -> String {
    ebb.ok(["exec", "box", "sh", "-c", script])
}

fn write(ebb: &Ebb, name: &str, text: &str) -> PathBuf {
    let path = ebb.dir.join(name);
    std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
    std::fs::write(&path, text).expect("written");
    path
}

fn read(ebb: &Ebb, name: &str) -> String {
    std::fs::read_to_string(ebb.dir.join(name)).expect("a file")
}

/// The names in a tar, sorted.
fn names(tar: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(tar);
    let name =
        |entry: std::io::Result<tar::Entry<&[u8]>>| entry.expect("whole").path().expect("a path").display().to_string();
    let mut names: Vec<String> = archive.entries().expect("a tar").map(name).collect();
    names.sort();
    names
}

fn raw(ebb: &Ebb, args: &[&str]) -> Vec<u8> {
    let output = ebb.command().args(args).output().expect("ebb runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn a_file_goes_out_and_in_of_a_running_and_a_stopped_container() {
    let ebb = with_box();
    write(&ebb, "note", "from the host");
    for round in ["running", "stopped"] {
        ebb.ok(["cp", "box:/data/f", round]);
        assert_eq!(read(&ebb, round), "hi\n");
        ebb.ok(["cp", "note", &format!("box:/{round}")]);
        ebb.ok(["cp", "note", &format!("box:/data/{round}")]);
        ebb.run(["stop", "-t", "0", "box"]);
    }
    ebb.ok(["start", "box"]);
    let all = inside(&ebb, "cat /running /stopped /data/running /data/stopped; stat -c %u:%g /running /data/stopped");
    assert_eq!(all, format!("{}0:0\n0:0", "from the host".repeat(4)));
    let answer = ebb.run(["cp", "note", "box:/again"]);
    assert_eq!((answer.stdout.as_str(), answer.stderr.as_str()), ("", ""), "{}", answer.shown());
}

#[test]
fn a_directory_goes_where_docker_puts_it() {
    let ebb = with_box();
    write(&ebb, "d/one", "1");
    write(&ebb, "d/sub/two", "2");
    symlink("one", ebb.dir.join("d/link")).expect("linked");
    ebb.ok(["cp", "d", "box:/data"]);
    ebb.ok(["cp", "d", "box:/data/new"]);
    ebb.ok(["cp", "d/.", "box:/data/contents"]);
    ebb.ok(["cp", "d/.", "box:/data/contents"]);
    let found = inside(&ebb, "cd /data; find d new contents -type f -o -type l | sort | tr '\\n' ' '");
    let expected = "contents/link contents/one contents/sub/two d/link d/one d/sub/two new/link new/one new/sub/two ";
    assert_eq!(found, expected);
    ebb.ok(["cp", "box:/data/d", "out"]);
    ebb.ok(["cp", "box:/data/d", "out"]);
    ebb.ok(["cp", "box:/data/d/.", "flat/"]);
    assert_eq!(
        (read(&ebb, "out/sub/two"), read(&ebb, "out/d/sub/two"), read(&ebb, "flat/one")),
        ("2".into(), "2".into(), "1".into())
    );
}

#[test]
fn what_cannot_be_is_refused_in_dockers_words_and_changes_nothing() {
    let ebb = with_box();
    write(&ebb, "note", "x");
    write(&ebb, "d/one", "1");
    let cwd = ebb.dir.display().to_string();
    let host_missing = format!("lstat {cwd}/nope: no such file or directory");
    let output_missing = format!("invalid output path: directory \"{cwd}/no\" does not exist");
    for (from, to, said) in [
        ("box:/nope", ".", "Could not find the file /nope in container box"),
        ("box:/data/f/", ".", "lstat /data/f/: not a directory"),
        ("nope", "box:/", &host_missing),
        ("box:/data/f", "no/such", &output_missing),
        ("note", "box:/no/such", "Could not find the file /no in container box"),
        ("note", "box:/no/", "no such directory"),
        ("d", "box:/data/f", "cannot copy directory"),
        ("box:/data", "note", "cannot copy directory"),
        ("box:/a", "box:/b", "copying between containers is not supported"),
        ("a", "b", "must specify at least one container source"),
        ("", "box:/", "source can not be empty"),
        ("nosuch:/a", ".", "No such container: nosuch"),
    ] {
        assert_eq!(ebb.fails(1, ["cp", from, to]), format!("ebb: {said}\n"), "cp {from} {to}");
    }
    assert_eq!((read(&ebb, "note"), inside(&ebb, "cat /data/f; ls /data")), ("x".into(), "hi\nf".into()));
}

#[test]
fn a_directory_never_becomes_a_file_nor_a_file_a_directory() {
    let ebb = with_box();
    write(&ebb, "d/f/deep", "x");
    inside(&ebb, "mkdir -p /to/d; echo kept > /to/d/f");
    let said = ebb.fails(1, ["cp", "d", "box:/to"]);
    assert!(said.contains("cannot overwrite non-directory \"/d/f\" with directory"), "{said}");
    write(&ebb, "e/g", "x");
    inside(&ebb, "mkdir -p /to/e/g");
    let said = ebb.fails(1, ["cp", "e", "box:/to"]);
    assert!(said.contains("cannot overwrite directory \"/e/g\" with non-directory"), "{said}");
    assert_eq!(inside(&ebb, "cat /to/d/f; ls /to/e/g"), "kept");
}

#[test]
fn a_symlink_is_copied_as_one_and_with_l_what_it_leads_to() {
    let ebb = with_box();
    inside(&ebb, "ln -s /data/f /link; ln -s /data /dir");
    ebb.ok(["cp", "box:/link", "link"]);
    assert_eq!(std::fs::read_link(ebb.dir.join("link")).expect("a link"), PathBuf::from("/data/f"));
    ebb.ok(["cp", "-L", "box:/link", "file"]);
    assert_eq!(read(&ebb, "file"), "hi\n");
    ebb.ok(["cp", "box:/dir/", "through"]);
    assert_eq!(read(&ebb, "through/f"), "hi\n");
    symlink("file", ebb.dir.join("mine")).expect("linked");
    ebb.ok(["cp", "mine", "box:/mine"]);
    ebb.ok(["cp", "-L", "mine", "box:/followed"]);
    assert_eq!(inside(&ebb, "readlink /mine; cat /followed"), "file\nhi");
}

#[test]
fn a_target_that_is_a_symlink_is_written_through_and_never_outside() {
    let ebb = with_box();
    write(&ebb, "note", "new");
    let host = ebb.dir.join("host").display().to_string();
    write(&ebb, "host/secret", "old");
    inside(
        &ebb,
        &format!(
            "ln -s /data/f /link; ln -s ../../../../{host}/secret /up; ln -s {host} /outside; ln -s made /dangling"
        ),
    );
    ebb.ok(["cp", "note", "box:/link"]);
    ebb.ok(["cp", "note", "box:/dangling"]);
    assert_eq!(inside(&ebb, "cat /data/f /made; readlink /link"), "newnew/data/f");
    // Inside the container there is no such place.
    ebb.fails(1, ["cp", "note", "box:/up"]);
    ebb.fails(1, ["cp", "note", "box:/outside/secret"]);
    ebb.fails(1, ["cp", "box:/outside/secret", "got"]);
    ebb.fails(1, ["cp", "-L", "box:/up", "got"]);
    assert_eq!(read(&ebb, "host/secret"), "old");
    assert!(!ebb.dir.join("got").exists());
}

/// hardening.md 19: a path component is swapped with a symlink during cp (CVE-2018-15664).
#[test]
fn a_directory_swapped_with_a_symlink_lets_no_host_byte_out() {
    let ebb = with_box();
    write(&ebb, "host/f", "the host's");
    let host = ebb.dir.join("host").display().to_string();
    let swap = format!(
        "mkdir /real; echo ours > /real/f; ln -s {host} /evil; cp -r /real /dir; echo go > /go; \
         while true; do mv /dir /aside; mv /evil /dir; mv /dir /evil; mv /aside /dir; done"
    );
    let mut swapping = ebb.spawn(["exec", "box", "sh", "-c", &swap]);
    inside(&ebb, "until test -s /go; do :; done");
    for round in 0..60 {
        let to = format!("got{round}");
        if ebb.run(["cp", "box:/dir/f", &to]).code == 0 {
            assert_eq!(read(&ebb, &to), "ours\n");
        }
        ebb.run(["cp", "host/f", "box:/dir/written"]);
    }
    let _ = swapping.kill();
    let _ = swapping.wait();
    assert!(!ebb.dir.join("host/written").exists());
    assert_eq!(read(&ebb, "host/f"), "the host's");
}

#[test]
fn a_tar_goes_out_to_stdout_and_in_from_stdin() {
    let ebb = with_box();
    inside(&ebb, "mkdir /data/d; echo 2 > /data/d/two");
    let tar = raw(&ebb, &["cp", "box:/data", "-"]);
    assert_eq!(names(&tar), ["data/", "data/d/", "data/d/two", "data/f"]);
    assert_eq!(names(&raw(&ebb, &["cp", "box:/data/f", "-"])), ["f"]);
    let answer = ebb.run_with(&tar, ["cp", "-", "box:/tmp"]);
    assert_eq!(answer.code, 0, "{}", answer.shown());
    assert_eq!(inside(&ebb, "cat /tmp/data/d/two"), "2");
    let answer = ebb.run_with(&tar, ["cp", "-", "box:/data/f"]);
    assert_eq!(answer.stderr, "ebb: destination \"box:/data/f\" must be a directory\n");
    let cut = ebb.run_with(&tar[..tar.len() / 2], ["cp", "-", "box:/tmp/new"]);
    assert_eq!(cut.code, 1, "{}", cut.shown());
}

#[test]
fn a_tar_from_a_stranger_stays_in_its_directory() {
    let ebb = with_box();
    let mut tar = tar::Builder::new(Vec::new());
    let mut link = tar::Header::new_gnu();
    link.set_entry_type(tar::EntryType::Symlink);
    link.set_size(0);
    tar.append_link(&mut link, "out", "/data").expect("packed");
    let mut file = tar::Header::new_gnu();
    file.set_size(4);
    file.set_mode(0o644);
    tar.append_data(&mut file, "out/evil", &b"evil"[..]).expect("packed");
    ebb.run_with(&tar.into_inner().expect("packed"), ["cp", "-", "box:/tmp"]);
    assert_eq!(inside(&ebb, "ls /data"), "f");
    let mut header = tar::Header::new_gnu();
    header.set_size(4);
    header.as_old_mut().name[..7].copy_from_slice(b"../evil");
    header.set_cksum();
    let mut tar = tar::Builder::new(Vec::new());
    tar.append(&header, &b"evil"[..]).expect("packed");
    let answer = ebb.run_with(&tar.into_inner().expect("packed"), ["cp", "-", "box:/tmp"]);
    assert!(answer.code == 1 && answer.stderr.contains("\"..\""), "{}", answer.shown());
    assert_eq!(inside(&ebb, "ls /evil /tmp/evil 2>/dev/null || echo none"), "none");
}

#[test]
fn modes_times_attributes_and_hard_links_come_along_and_setuid_bits_do_not() {
    let ebb = with_box();
    inside(
        &ebb,
        "mkdir /d; echo a > /d/a; ln /d/a /d/b; chmod 4751 /d/a; touch -d '2001-02-03 04:05:06' /d/a; chmod 555 /d; touch -d '2002-02-03 04:05:06' /d",
    );
    ebb.ok(["cp", "box:/d", "d"]);
    let meta = |name: &str| std::fs::metadata(ebb.dir.join(name)).expect("a file");
    assert_eq!(meta("d/a").mode() & 0o7777, 0o751);
    assert_eq!((meta("d/a").mtime(), meta("d").mtime()), (981_173_106, 1_012_709_106));
    assert_eq!((meta("d/a").ino(), meta("d").mode() & 0o777), (meta("d/b").ino(), 0o555));
    std::fs::set_permissions(ebb.dir.join("d"), PermissionsExt::from_mode(0o755)).expect("opened");
    let note = write(&ebb, "note", "x");
    if xattr::set(&note, "user.colour", b"blue").is_ok() {
        ebb.ok(["cp", "note", "box:/data/note"]);
        ebb.ok(["cp", "box:/data/note", "back"]);
        assert_eq!(xattr::get(ebb.dir.join("back"), "user.colour").expect("read").as_deref(), Some(&b"blue"[..]));
    }
}

#[test]
fn with_a_owners_are_kept() {
    let ebb = with_box();
    if inside(&ebb, "touch /f; chown 7:8 /f; stat -c %u:%g /f") != "7:8" {
        return common::skip("this user has one id only: there are no owners to keep");
    }
    let tar = raw(&ebb, &["cp", "box:/f", "-"]);
    ebb.run_with(&tar, ["cp", "-", "box:/tmp"]);
    assert_eq!(inside(&ebb, "stat -c %u:%g /tmp/f"), "7:8");
    ebb.ok(["cp", "box:/f", "plain"]);
    ebb.ok(["cp", "-a", "box:/f", "kept"]);
    let owner =
        |name: &str| std::fs::metadata(ebb.dir.join(name)).map(|meta| (meta.uid(), meta.gid())).expect("a file");
    assert_eq!(owner("plain").0, std::fs::metadata("/proc/self").expect("procfs").uid());
    if is_root() {
        assert_eq!(owner("kept"), (7, 8));
        ebb.ok(["cp", "-a", "kept", "box:/kept"]);
        ebb.ok(["cp", "kept", "box:/given"]);
        assert_eq!(inside(&ebb, "stat -c %u:%g /kept /given"), "7:8\n0:0");
    }
}

#[test]
fn nothing_is_written_where_the_container_may_not_write() {
    let ebb = with_box();
    write(&ebb, "note", "x");
    ebb.ok([
        "create",
        "--name",
        "sealed",
        "--read-only",
        "-v",
        "vol:/rw",
        "-v",
        "vol:/ro:ro",
        "busybox",
        "sleep",
        "1000",
    ]);
    for _ in ["created", "running"] {
        assert_eq!(ebb.fails(1, ["cp", "note", "sealed:/x"]), "ebb: container rootfs is marked read-only\n");
        assert_eq!(ebb.fails(1, ["cp", "note", "sealed:/ro/x"]), "ebb: mounted volume is marked read-only\n");
        ebb.ok(["cp", "note", "sealed:/rw/x"]);
        ebb.ok(["start", "sealed"]);
    }
    assert_eq!(ebb.ok(["diff", "sealed"]), "A /ro\nA /rw");
}

#[test]
fn a_file_that_something_is_mounted_on_is_written_into() {
    let ebb = with_box();
    write(&ebb, "hosts", "127.0.0.1 me\n");
    ebb.ok(["cp", "hosts", "box:/etc/hosts"]);
    assert_eq!(inside(&ebb, "cat /etc/hosts; ls -A /etc | grep -c ebb- || true"), "127.0.0.1 me\n0");
}

#[test]
fn export_is_the_whole_root_without_what_is_mounted() {
    let ebb = with_box();
    inside(&ebb, "mkdir /new; echo x > /new/file; rm /bin/false");
    for stopped in [false, true] {
        let tar = raw(&ebb, &["export", "box"]);
        let names = names(&tar);
        let has = |name: &str| names.iter().any(|found| found == name);
        assert!(has("new/file") && has("bin/busybox") && has("data/") && has("proc/"), "{names:?}");
        assert!(!has("data/f") && !has("bin/false") && !has("proc/1/"), "{names:?}");
        let mut archive = tar::Archive::new(&tar[..]);
        let entries = archive.entries().expect("a tar").map(|entry| entry.expect("whole"));
        for mut entry in entries.filter(|entry| entry.path().is_ok_and(|path| path.ends_with("etc/hosts"))) {
            let mut text = String::new();
            entry.read_to_string(&mut text).expect("text");
            assert_eq!(text, "", "the runtime's own file is not the container's");
        }
        ebb.ok(["export", "-o", if stopped { "b.tar" } else { "a.tar" }, "box"]);
        ebb.run(["stop", "-t", "0", "box"]);
    }
    ebb.ok(["import", "b.tar", "exported"]);
    assert_eq!(ebb.ok(["run", "--rm", "exported", "cat", "/new/file"]), "x");
}

/// It is stopped when it is about to enter the container, and goes on when that has ended.
#[test]
fn a_container_that_ends_in_the_very_moment_gives_its_files_all_the_same() {
    if !common::is_root() {
        // newuidmap(1) is setuid, which it is not under a tracer.
        return;
    }
    let ebb = Ebb::new();
    for call in ["prctl", "pidfd_open"] {
        ebb.ok(["run", "-d", "--name", "box", "busybox", "sh", "-c", "echo kept > /f; echo up; sleep 1000"]);
        ebb.await_line("box", "up");
        let copied = common::strace::stopped_after(&ebb, call, &["cp", "box:/f", "taken"], &mut || {
            ebb.run(["kill", "box"]);
            ebb.ok(["wait", "box"]);
        });
        assert_eq!(copied.code, 0, "{call}: {}", copied.shown());
        assert_eq!(std::fs::read_to_string(ebb.dir.join("taken")).expect("it"), "kept\n");
        ebb.ok(["rm", "-f", "box"]);
    }
}

/// Their sizes are 0, or a page's: what is in them is known when they have been read.
#[test]
fn what_the_kernel_writes_while_it_is_read_is_copied_to_its_end() {
    let ebb = Ebb::new();
    let long = "x".repeat(10_000);
    let script = "trap : TERM; echo up; while :; do sleep 1000; done";
    ebb.ok(["run", "-d", "--name", "box", "busybox", "sh", "-c", script, &long]);
    ebb.await_line("box", "up");
    for path in
        ["/proc/version", "/sys/class/net/lo/mtu", "/sys/kernel/mm/transparent_hugepage/enabled", "/proc/1/cmdline"]
    {
        let wanted = ebb.command().args(["exec", "box", "cat", path]).output().expect("read").stdout;
        assert!(!wanted.is_empty(), "{path}");
        ebb.ok(["cp", &format!("box:{path}"), "out"]);
        assert!(std::fs::read(ebb.dir.join("out")).expect("copied") == wanted, "{path}");
        std::fs::remove_file(ebb.dir.join("out")).expect("removed");
        let tar = ebb.command().args(["cp", &format!("box:{path}"), "-"]).output().expect("packed").stdout;
        let mut archive = tar::Archive::new(&tar[..]);
        let mut found = Vec::new();
        let mut entries = archive.entries().expect("a tar");
        entries.next().expect("one").expect("whole").read_to_end(&mut found).expect("read");
        assert!(found == wanted && entries.next().is_none(), "{path}");
    }
    // With what is in a directory, and from the host into a container.
    ebb.ok(["cp", "box:/proc/sys/kernel/random", "."]);
    let wanted = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("it");
    assert_eq!(read(&ebb, "random/boot_id"), wanted);
    std::fs::set_permissions(ebb.dir.join("random"), PermissionsExt::from_mode(0o755)).expect("ours");
    ebb.ok(["cp", "/proc/sys/kernel/random/boot_id", "box:/"]);
    assert_eq!(inside(&ebb, "cat /boot_id"), wanted.trim_end());
}

/// One word for each page that a process could ever have: 256 GiB of them.
#[test]
fn a_file_of_the_kernels_without_an_end_is_refused() {
    let said = with_box().fails(1, ["cp", "/proc/self/pagemap", "box:/"]);
    assert!(said.contains("the kernel has more than 64 MiB to say in it"), "{said}");
}
