//! Copy-up: an empty volume gets what the image has at its place, once, whole, and whatever happens meanwhile.

mod common;

use common::{Ebb, has_one_id, image_with, is_root};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;

fn volumes(ebb: &Ebb) -> Vec<String> {
    ebb.ok(["volume", "ls", "-q"]).lines().map(str::to_owned).collect()
}

/// `ebb run --rm WORDS IMAGE sh -c SCRIPT`.
fn shell(ebb: &Ebb, words: &[&str], image: &str, script: &str) -> String {
    ebb.ok(["run", "--rm"].iter().chain(words).chain(&[image, "sh", "-c", script]))
}

/// Where the volume's data lies on the host.
fn data(ebb: &Ebb, volume: &str) -> PathBuf {
    PathBuf::from(ebb.ok(["volume", "inspect", "-f", "{{.Mountpoint}}", volume]))
}

const MANY: usize = 800;

/// An entry of a tar, with a time of its own.
fn header(kind: tar::EntryType, mode: u32, owner: u64, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(owner);
    header.set_gid(owner);
    header.set_size(size);
    header.set_mtime(1_000_000_000);
    header
}

/// A store with an image `many`, which has that many files in /many.
fn store_with_many() -> Ebb {
    let ebb = Ebb::new();
    add_many(&ebb);
    ebb
}

fn add_many(ebb: &Ebb) {
    image_with(ebb, "many", &["CMD [\"sh\"]"], |tar| {
        let mut directory = header(tar::EntryType::Directory, 0o755, 0, 0);
        tar.append_data(&mut directory, "many/", std::io::empty()).expect("written");
        for number in 0..MANY {
            let text = format!("this is file {number}\n");
            let mut file = header(tar::EntryType::Regular, 0o644, 0, text.len() as u64);
            tar.append_data(&mut file, format!("many/{number}"), text.as_bytes()).expect("written");
        }
    });
}

/// A store with an image `odd`, which has one of everything in /odd.
fn store_with_odd() -> Ebb {
    let ebb = Ebb::new();
    image_with(&ebb, "odd", &["CMD [\"sh\"]"], |tar| {
        let mut add = |mut header: tar::Header, path: &str, data: &[u8]| {
            tar.append_data(&mut header, path, data).expect("written");
        };
        add(header(tar::EntryType::Directory, 0o1770, 7, 0), "odd/", b"");
        add(header(tar::EntryType::Directory, 0o711, 8, 0), "odd/inner/", b"");
        add(header(tar::EntryType::Regular, 0o4750, 9, 5), "odd/inner/program", b"data\n");
        add(header(tar::EntryType::Fifo, 0o604, 7, 0), "odd/fifo", b"");
        add(header(tar::EntryType::Directory, 0o700, 7, 0), "bare/", b"");
        tar.append_pax_extensions([("SCHILY.xattr.user.colour", &b"blue"[..])]).expect("written");
        let mut add = |mut header: tar::Header, path: &str, data: &[u8]| {
            tar.append_data(&mut header, path, data).expect("written");
        };
        add(header(tar::EntryType::Regular, 0o644, 7, 6), "painted/wall", b"paint\n");
        let mut link = header(tar::EntryType::Symlink, 0o777, 7, 0);
        tar.append_link(&mut link, "odd/away", "/etc/passwd").expect("written");
        let mut link = header(tar::EntryType::Link, 0o4750, 9, 0);
        tar.append_link(&mut link, "odd/second", "odd/inner/program").expect("written");
    });
    ebb
}

#[test]
fn an_empty_volume_is_filled_from_the_image_once() {
    let ebb = Ebb::new();
    let list = ebb.ok(["run", "--rm", "busybox", "ls", "/etc"]);
    // The files that the runtime gives are the container's, not the image's.
    let own: Vec<&str> = list.lines().filter(|name| !matches!(*name, "hostname" | "hosts" | "resolv.conf")).collect();
    let filled = ebb.ok(["run", "--rm", "-v", "conf:/etc", "busybox", "ls", "/etc"]);
    for name in &own {
        assert!(filled.lines().any(|found| found == *name), "{name} was not copied: {filled}");
    }
    ebb.ok(["run", "--rm", "-v", "conf:/etc", "busybox", "rm", "/etc/passwd"]);
    let again = ebb.ok(["run", "--rm", "-v", "conf:/etc", "busybox", "ls", "/etc"]);
    assert!(!again.lines().any(|name| name == "passwd"), "a volume with content is left alone: {again}");
    assert_eq!(ebb.ok(["run", "--rm", "-v", "bare:/mnt/x:nocopy", "busybox", "ls", "/mnt/x"]), "");
    let not_copied = ebb.ok(["run", "--rm", "-v", "bare2:/etc:nocopy", "busybox", "ls", "/etc"]);
    assert!(!not_copied.contains("passwd"), "{not_copied}");
    ebb.ok(["create", "-v", "closed:/etc:ro", "busybox"]);
    let place = ebb.ok(["volume", "inspect", "-f", "{{.Mountpoint}}", "closed"]);
    assert_eq!(std::fs::read_dir(place).expect("the volume").count(), 0, "never into a read-only volume");
}

#[test]
fn a_copy_up_that_was_killed_is_finished_by_the_next_start() {
    let ebb = Ebb::new();
    ebb.ok(["volume", "create", "conf"]);
    let volume = ebb.store().join("volumes/conf");
    // As a kill half-way leaves it: the mark, and a part of the files.
    std::fs::write(volume.join("copying"), b"").expect("the mark");
    std::fs::write(volume.join("_data/half"), b"").expect("a part");
    let found = ebb.ok(["run", "--rm", "-v", "conf:/etc", "busybox", "ls", "/etc"]);
    assert!(found.contains("passwd") && found.contains("group"), "{found}");
    assert!(!volume.join("copying").exists());
}

#[test]
fn many_containers_that_begin_at_once_fill_a_volume_once() {
    let ebb = Ebb::new();
    let children: Vec<_> =
        (0..8).map(|_| ebb.spawn(["run", "--rm", "-v", "conf:/etc", "busybox", "cat", "/etc/passwd"])).collect();
    for child in children {
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(String::from_utf8_lossy(&output.stdout).contains("root"), "every one of them sees it whole");
    }
    assert_eq!(volumes(&ebb), ["conf"]);
}

#[test]
fn owners_modes_times_and_links_come_along() {
    let ebb = store_with_odd();
    let list = "cd /odd && stat -c '%n %a %u:%g %h %Y %F' . inner inner/program second fifo away && readlink away && cat second";
    let image = shell(&ebb, &[], "odd", list);
    assert_eq!(shell(&ebb, &["-v", "copy:/odd"], "odd", list), image);
    if !has_one_id() {
        assert!(image.starts_with(". 1770 7:7 "), "the image is what the test means: {image}");
    }
    assert!(image.contains("inner/program 4750 ") && image.contains("fifo 604 "), "{image}");
    let ino = |name: &str| shell(&ebb, &["-v", "copy:/odd"], "odd", &format!("stat -c %i /odd/{name}"));
    assert_eq!(ino("second"), ino("inner/program"), "two names of one file are so in the volume");
    shell(&ebb, &["-v", "house:/painted"], "odd", "cat /painted/wall");
    let colour = xattr::get(data(&ebb, "house").join("wall"), "user.colour").expect("attributes");
    assert_eq!(colour.as_deref(), Some(&b"blue"[..]));
}

#[test]
fn a_user_of_the_image_may_write_where_the_image_gave_it_the_directory() {
    if has_one_id() {
        // With one id every user is the same one: there is no other to shut out. What holds is that it can write.
        let ebb = Ebb::new();
        assert_eq!(shell(&ebb, &["-u", "7", "-v", "own:/own"], "busybox", "touch /own/x && echo yes"), "yes");
        return;
    }
    let ebb = store_with_odd();
    let script = "touch /bare/x && stat -c '%a %u' /bare";
    assert_eq!(shell(&ebb, &["-u", "7", "-v", "own:/bare"], "odd", script), "700 7", "even where it is empty");
    let said = ebb.fails(1, ["run", "--rm", "-u", "7", "-v", "fresh:/fresh", "odd", "touch", "/fresh/x"]);
    assert!(said.contains("Permission denied"), "a fresh path belongs to root: {said}");
}

#[test]
fn nothing_is_copied_where_it_was_not_to_be() {
    let ebb = store_with_many();
    let empty = |words: &[&str], why: &str| assert_eq!(shell(&ebb, words, "many", "ls /many"), "", "{why}");
    empty(&["-v", "one:/many:nocopy"], "nocopy");
    empty(&["-v", "two:/many:volume-nocopy"], "Docker's page has it so");
    empty(&["--mount", "src=three,dst=/many,volume-nocopy"], "volume-nocopy");
    empty(&["-v", "four:/many:ro"], "a read-only one");
    empty(&["--mount", "src=five,dst=/many,readonly"], "a read-only one");
    empty(&["-v", "./host:/many"], "a host directory");
    empty(&["--tmpfs", "/many"], "a tmpfs");
    ebb.ok(["create", "--name", "source", "-v", "six:/many:nocopy", "many"]);
    empty(&["--volumes-from", "source"], "--volumes-from never copies");
    assert_eq!(shell(&ebb, &["-v", "one:/many"], "many", "ls /many | wc -l"), MANY.to_string(), "it is still empty");
    ebb.ok(["create", "--name", "anonymous", "-v", "/many", "many"]);
    let place = PathBuf::from(ebb.inspect("anonymous", "{{(index .Mounts 0).Source}}"));
    assert_eq!(std::fs::read_dir(place).expect("the volume").count(), MANY, "an anonymous one is filled, at create");
}

#[test]
fn an_empty_part_of_a_volume_is_filled_and_no_other() {
    let ebb = store_with_odd();
    shell(&ebb, &["-v", "vase:/v"], "busybox", "mkdir /v/part /v/other");
    let mount = "type=volume,src=vase,dst=/odd,volume-subpath=part";
    assert_eq!(shell(&ebb, &["--mount", mount], "odd", "ls /odd"), "away\nfifo\ninner\nsecond");
    assert_eq!(
        shell(&ebb, &["-v", "vase:/v"], "busybox", "ls -A /v /v/other; ls /v/part | wc -l"),
        "/v:\nother\npart\n\n/v/other:\n4"
    );
}

/// Begins to create a container of `many` with the volume `vase`, and kills it with all its children half-way.
fn kill_half_way(ebb: &Ebb) {
    let data = data(ebb, "vase");
    let count = || std::fs::read_dir(&data).map_or(0, Iterator::count);
    let mut command = ebb.command();
    let mut child = command.args(["create", "-v", "vase:/many", "many"]).process_group(0).spawn().expect("ebb starts");
    while count() == 0 {
        assert!(child.try_wait().expect("a child").is_none(), "it ended before a file was seen");
        std::thread::yield_now();
    }
    let group = nix::unistd::Pid::from_raw(child.id() as i32);
    nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL).expect("killed");
    child.wait().expect("it ends");
    // The one that copies may outlive its parent for a moment: it holds the volume's lock until it is gone.
    let volume = std::fs::File::open(data.parent().expect("the volume")).expect("the volume");
    volume.lock().expect("the lock");
    assert!(count() < MANY, "killed too late to tell anything");
    assert!(data.with_file_name("copying").exists(), "the mark says that it is half done");
}

#[test]
fn a_create_that_was_killed_half_way_is_finished_by_the_next() {
    let ebb = store_with_many();
    ebb.ok(["volume", "create", "vase"]);
    kill_half_way(&ebb);
    let script = "cd /many && ls | wc -l && cat 0 799 && stat -c '%a %u %Y' 500";
    assert_eq!(
        shell(&ebb, &["-v", "vase:/many"], "many", script),
        format!("{MANY}\nthis is file 0\nthis is file 799\n644 0 1000000000")
    );
    assert!(!data(&ebb, "vase").with_file_name("copying").exists());
    assert_eq!(ebb.ok(["ps", "-aq"]), "", "what was killed left no container");
}

#[test]
fn whoever_starts_next_finishes_it_and_what_was_changed_meanwhile_stays() {
    let ebb = store_with_many();
    ebb.ok(["run", "-d", "--name", "running", "-v", "vase:/seen", "busybox", "sleep", "1000"]);
    ebb.ok(["create", "--name", "waiting", "-v", "vase:/seen", "busybox", "sh", "-c", "ls /seen | wc -l"]);
    kill_half_way(&ebb);
    // One that was copied, and one that was not yet.
    let changed =
        ebb.ok(["exec", "running", "sh", "-c", "cd /seen; one=$(ls | head -n 1); echo mine > $one; echo $one"]);
    ebb.ok([
        "exec",
        "running",
        "sh",
        "-c",
        "for n in $(seq 0 799); do [ -e /seen/$n ] || { echo mine > /seen/$n; break; }; done",
    ]);
    // Its own image has nothing there, and it is no new container.
    assert_eq!(ebb.ok(["start", "-a", "waiting"]), MANY.to_string());
    assert_eq!(ebb.ok(["exec", "running", "cat", &format!("/seen/{changed}")]), "mine");
    assert_eq!(ebb.ok(["exec", "running", "sh", "-c", "cat /seen/* | grep -c mine"]), "2");
}

#[test]
fn whoever_copies_a_half_filled_volume_finishes_it_first() {
    let ebb = store_with_many();
    ebb.ok(["volume", "create", "vase"]);
    kill_half_way(&ebb);
    ebb.ok(["volume", "clone", "vase", "copy"]);
    let count = |volume: &str| std::fs::read_dir(data(&ebb, volume)).expect("the volume").count();
    assert_eq!((count("copy"), count("vase")), (MANY, MANY));
    ebb.ok(["run", "--rm", "-v", "vase:/seen", "busybox", "sh", "-c", "rm -rf /seen/*"]);
    kill_half_way(&ebb);
    ebb.ok(["volume", "export", "-o", "vase.tar", "vase"]);
    let mut archive = tar::Archive::new(std::fs::File::open(ebb.dir.join("vase.tar")).expect("written"));
    assert_eq!(archive.entries().expect("a tar").count(), MANY + 1, "with its top");
    assert!(!data(&ebb, "vase").with_file_name("copying").exists());
    // What nobody can finish is said, and whoever fills it again still finds the mark.
    ebb.ok(["run", "--rm", "-v", "vase:/seen", "busybox", "sh", "-c", "rm -rf /seen/*"]);
    kill_half_way(&ebb);
    ebb.ok(["rmi", "many"]);
    let exported = ebb.run(["volume", "export", "-o", "vase.tar", "vase"]);
    assert!(exported.stderr.contains("volume vase was being filled from an image"), "{}", exported.shown());
    assert!(data(&ebb, "vase").with_file_name("copying").exists());
    add_many(&ebb);
    assert_eq!(shell(&ebb, &["-v", "vase:/many"], "many", "ls /many | wc -l"), MANY.to_string());
}

#[test]
fn an_import_into_a_half_filled_volume_that_fails_leaves_it_whole() {
    if !is_root() {
        // newuidmap(1) is setuid, which it is not under a tracer.
        return;
    }
    let ebb = store_with_many();
    ebb.ok(["volume", "create", "vase"]);
    ebb.ok(["volume", "create", "other"]);
    std::fs::write(data(&ebb, "other").join("f"), "text").expect("a file");
    ebb.ok(["volume", "export", "-o", "other.tar", "other"]);
    kill_half_way(&ebb);
    let words = ["volume", "import", "vase", "other.tar"];
    let imported = common::strace::tampered(&ebb, "renameat2:error=EIO", &words);
    assert!(imported.code == 1 && imported.stderr.contains("I/O error"), "{}", imported.shown());
    let count = || std::fs::read_dir(data(&ebb, "vase")).expect("the volume").count();
    assert_eq!(count(), MANY, "the old content, and all of it");
    assert!(!data(&ebb, "vase").with_file_name("copying").exists());
    ebb.ok(["volume", "import", "vase", "other.tar"]);
    assert_eq!(count(), 1);
}

#[test]
fn what_cannot_be_finished_any_more_is_said() {
    let ebb = store_with_many();
    ebb.ok(["volume", "create", "vase"]);
    ebb.ok(["create", "--name", "waiting", "-v", "vase:/seen", "busybox", "true"]);
    for next in [&["run", "--rm", "-v", "vase:/seen", "busybox", "true"][..], &["start", "-a", "waiting"]] {
        kill_half_way(&ebb);
        ebb.ok(["rmi", "many"]);
        let said = ebb.run(next);
        assert!(
            said.code == 0 && said.stderr.contains("volume vase was being filled from an image"),
            "{}",
            said.shown()
        );
        let again = ebb.run(next);
        assert_eq!((again.code, again.stderr.as_str()), (0, ""), "once");
        add_many(&ebb);
        ebb.ok(["run", "--rm", "-v", "vase:/seen", "busybox", "sh", "-c", "rm -rf /seen/*"]);
    }
}

#[test]
fn a_volume_is_filled_once_by_containers_that_begin_together() {
    let ebb = store_with_many();
    // Each takes one file away: were the volume filled a second time, one of them would be back.
    let run = |number: usize| {
        let script = format!("ls /many | wc -l; rm /many/{number}");
        ebb.spawn(["run", "--rm", "-v", "vase:/many", "many", "sh", "-c", &script])
    };
    let children: Vec<_> = (0..6).map(run).collect();
    for child in children {
        let output = child.wait_with_output().expect("it ends");
        let seen: usize = String::from_utf8_lossy(&output.stdout).trim().parse().expect("a number");
        assert!(seen > MANY - 6, "each saw it whole, but for what the others took: {seen}");
    }
    assert_eq!(std::fs::read_dir(data(&ebb, "vase")).expect("the volume").count(), MANY - 6);
    assert_eq!(std::fs::metadata(data(&ebb, "vase")).expect("the volume").mode() & 0o777, 0o755);
}
