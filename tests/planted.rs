//! A container that runs puts links in the way of a command that works in a directory that it can write to. What the
//! command has made, or looked at, is never looked up by its name again: nothing of the host is changed, and none is read.

mod common;

use common::strace::stopped_after;
use common::{Ebb, has_one_id, image_with, is_root};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// newuidmap(1) is setuid, which it is not under a tracer.
fn can_be_traced() -> bool {
    is_root() || has_one_id()
}

fn header(kind: tar::EntryType, mode: u32, owner: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(owner);
    header.set_gid(owner);
    header.set_size(0);
    header.set_mtime(1_000_000_000);
    header
}

/// An image `pipes` with so many FIFOs in /pipes, which everybody may read and execute; and `links`, with a symlink
/// of another owner's in /links.
fn store_with_pipes(count: usize) -> Ebb {
    let ebb = Ebb::new();
    image_with(&ebb, "pipes", &["CMD [\"sh\"]"], |tar| {
        for name in ["pipes", "links"] {
            let mut directory = header(tar::EntryType::Directory, 0o755, 0);
            tar.append_data(&mut directory, format!("{name}/"), std::io::empty()).expect("written");
        }
        for number in 0..count {
            let mut pipe = header(tar::EntryType::Fifo, 0o755, 0);
            tar.append_data(&mut pipe, format!("pipes/{number}"), std::io::empty()).expect("written");
        }
        let mut link = header(tar::EntryType::Symlink, 0o777, if has_one_id() { 0 } else { 7 });
        tar.append_link(&mut link, "links/link", "away").expect("written");
    });
    ebb
}

fn data(ebb: &Ebb, volume: &str) -> PathBuf {
    PathBuf::from(ebb.ok(["volume", "inspect", "-f", "{{.Mountpoint}}", volume]))
}

/// What is being copied has such a name until it is whole.
fn unfinished(directory: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).find(|path| path.to_string_lossy().contains("/.ebb-copying"))
}

fn secret(place: PathBuf) -> PathBuf {
    std::fs::write(&place, "a secret").expect("a file");
    std::fs::set_permissions(&place, PermissionsExt::from_mode(0o600)).expect("a mode");
    place
}

/// Owner, mode and time: all that a copy sets.
fn state(path: &Path) -> (u32, u32, u32, i64) {
    let meta = std::fs::symlink_metadata(path).expect("it is there");
    (meta.uid(), meta.gid(), meta.mode() & 0o7777, meta.mtime())
}

/// What a1 does with renameat2(2) in a loop, done for certain between the call that makes a FIFO and the next one.
#[test]
fn a_copy_up_changes_nothing_that_a_link_in_the_place_of_its_fifo_leads_to() {
    if !can_be_traced() {
        return;
    }
    let ebb = store_with_pipes(1);
    ebb.ok(["run", "-d", "--name", "a1", "-v", "shared:/s", "busybox", "sleep", "1000"]);
    let (file, directory) = (secret(ebb.dir.join("secret")), ebb.dir.join("private"));
    std::fs::create_dir(&directory).expect("a directory");
    std::fs::set_permissions(&directory, PermissionsExt::from_mode(0o700)).expect("a mode");
    let before = (state(&file), state(&directory));
    for victim in [&file, &directory] {
        let shared = data(&ebb, "shared");
        let mut planted = false;
        let words = ["create", "-v", "shared:/pipes", "pipes"];
        let created = stopped_after(&ebb, "mknodat", &words, &mut || {
            if let Some(made) = unfinished(&shared) {
                std::fs::remove_file(&made).expect("removed");
                symlink(victim, &made).expect("a link");
                planted = true;
            }
        });
        assert!(planted, "{}", created.shown());
        assert_eq!((state(&file), state(&directory)), before, "{}", created.shown());
        assert!(
            created.code == 125 && created.stderr.contains("another process has put something else in its place"),
            "{}",
            created.shown()
        );
        let left = unfinished(&shared).expect("what was planted stays with who planted it");
        std::fs::remove_file(left).expect("removed");
    }
    // And undisturbed it is done.
    ebb.ok(["create", "-v", "shared:/pipes", "pipes"]);
    assert_eq!(state(&data(&ebb, "shared").join("0")).2, 0o755);
    ebb.ok(["rm", "-f", "a1"]);
}

/// A link has an owner and a time, too. What another user of the container's moves into its place does not get them.
#[test]
fn a_copy_up_gives_no_other_file_the_owner_of_its_symlink() {
    if !can_be_traced() {
        return;
    }
    let ebb = store_with_pipes(1);
    ebb.ok(["volume", "create", "shared"]);
    let shared = data(&ebb, "shared");
    let file = secret(ebb.dir.join("store/elsewhere"));
    let before = state(&file);
    let mut planted = None;
    let created = stopped_after(&ebb, "symlinkat", &["create", "-v", "shared:/links", "pipes"], &mut || {
        if let Some(made) = unfinished(&shared).filter(|_| planted.is_none()) {
            std::fs::remove_file(&made).expect("removed");
            std::fs::rename(&file, &made).expect("in its place");
            planted = Some(made);
        }
    });
    let planted = planted.unwrap_or_else(|| panic!("nothing was planted: {}", created.shown()));
    let found = [planted, shared.join("link")].into_iter().find(|path| path.is_file()).expect("it is there");
    assert_eq!(state(&found), before, "{}", created.shown());
}

/// As the same user, a container that swaps as fast as it can: for who cannot be traced, and for all others as well.
#[test]
fn no_swap_in_a_shared_volume_changes_a_file_of_the_users() {
    const PIPES: usize = 400;
    let ebb = store_with_pipes(PIPES);
    let file = secret(ebb.dir.join("secret"));
    let before = state(&file);
    let done = AtomicBool::new(false);
    ebb.ok(["volume", "create", "shared"]);
    let shared = data(&ebb, "shared");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (known, aside) = (shared.join(".ebb-copying"), ebb.dir.join("aside"));
            while !done.load(Ordering::Relaxed) {
                // The name of an earlier Ebb's, and whatever name there is.
                let found = if known.symlink_metadata().is_ok() { Some(known.clone()) } else { unfinished(&shared) };
                if let Some(made) = found
                    && std::fs::rename(&made, &aside).is_ok()
                {
                    let _ = symlink(&file, &made);
                }
            }
        });
        let tries = (0..20).map(|_| ebb.run(["create", "-v", "shared:/pipes", "pipes"]));
        let changed = tries.filter(|_| state(&file) != before).count();
        done.store(true, Ordering::Relaxed);
        assert_eq!(changed, 0, "the user's file has another mode: {:o}", state(&file).2);
    });
}

/// `ps -s` and `inspect -s` count what a container has written: not what a link leads to that takes a directory's place
/// between two looks.
#[test]
fn a_container_is_not_measured_through_a_link_in_the_place_of_a_directory() {
    if !can_be_traced() {
        return;
    }
    let ebb = Ebb::new();
    let id = ebb.ok(["create", "--name", "box", "busybox"]);
    let host = ebb.dir.join("host");
    std::fs::create_dir(&host).expect("a directory");
    std::fs::write(host.join("big"), vec![0; 5_000_000]).expect("a file");
    let place = ebb.store().join("containers").join(id).join("upper/dir");
    let mut swapped = 0;
    for moment in 1..30 {
        std::fs::create_dir(&place).expect("a directory");
        let mut reads = 0;
        let shown = stopped_after(&ebb, "getdents64", &["inspect", "-s", "-f", "{{.SizeRw}}", "box"], &mut || {
            reads += 1;
            if reads == moment {
                std::fs::remove_dir(&place).expect("removed");
                symlink(&host, &place).expect("a link");
                swapped += 1;
            }
        });
        assert_eq!(shown.code, 0, "{}", shown.shown());
        let size: u64 = shown.stdout.trim().parse().expect("a size");
        assert!(size < 5_000_000, "at read {moment}: {}", shown.shown());
        if reads < moment {
            break;
        }
        std::fs::remove_file(&place).expect("removed");
    }
    assert!(swapped > 1, "{swapped}");
}

/// Between the failed look at a directory of mode 0 and its change of mode.
#[test]
fn the_removal_of_a_tree_opens_no_directory_that_a_link_leads_to() {
    // Root needs no mode to look into a directory.
    if !has_one_id() || is_root() {
        return;
    }
    let ebb = Ebb::empty();
    ebb.ok(["volume", "create", "vase"]);
    let closed = data(&ebb, "vase").join("closed");
    let private = ebb.dir.join("private");
    for (directory, mode) in [(&closed, 0), (&private, 0o500)] {
        std::fs::create_dir(directory).expect("a directory");
        std::fs::set_permissions(directory, PermissionsExt::from_mode(mode)).expect("a mode");
    }
    let before = state(&private);
    let mut planted = false;
    stopped_after(&ebb, "openat2", &["volume", "rm", "--now", "vase"], &mut || {
        let trash = std::fs::read_dir(ebb.store().join("trash")).expect("the trash").flatten();
        let found = trash.map(|entry| entry.path().join("_data/closed")).find(|path| path.symlink_metadata().is_ok());
        if let Some(closed) = found.filter(|_| !planted) {
            std::fs::rename(&closed, closed.with_file_name("aside")).expect("moved");
            symlink(&private, &closed).expect("a link");
            planted = true;
        }
    });
    assert!(planted && state(&private) == before, "{planted}, {:o}", state(&private).2);
}

/// `cp -a` into a container that runs: a file takes the place of the FIFO before that has got its owner and its time, and
/// another directory that of the one that was made before it has got its mode.
#[test]
fn a_copy_into_a_container_gives_nothing_else_what_its_own_files_are_to_get() {
    if !can_be_traced() {
        return;
    }
    let ebb = Ebb::new();
    ebb.ok(["run", "-d", "--name", "box", "-v", "shared:/v", "busybox", "sleep", "1000"]);
    let shared = data(&ebb, "shared");
    let source = ebb.dir.join("source");
    std::fs::create_dir(&source).expect("a directory");
    std::fs::set_permissions(&source, PermissionsExt::from_mode(0o755)).expect("a mode");
    let pipe = ebb.dir.join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
    for path in [&source, &pipe] {
        let touched = std::process::Command::new("touch").args(["-d", "2001-02-03"]).arg(path).status();
        assert!(touched.expect("touch starts").success());
    }
    let file = secret(shared.join("secret"));
    let private = shared.join("private");
    std::fs::create_dir(&private).expect("a directory");
    std::fs::set_permissions(&private, PermissionsExt::from_mode(0o700)).expect("a mode");
    let before = (state(&file), state(&private));
    // A directory is looked at (statx) when it has been made and opened; its mode comes last.
    for (call, name, victim) in [("mknodat", "pipe", &file), ("statx", "source", &private)] {
        let mut planted = false;
        let place = shared.join(name);
        let words = ["cp", "-a", name, &format!("box:/v/{name}")];
        let copied = stopped_after(&ebb, call, &words, &mut || {
            if !planted && place.symlink_metadata().is_ok() {
                std::fs::rename(&place, shared.join("aside")).expect("moved");
                std::fs::rename(victim, &place).expect("in its place");
                planted = true;
            }
        });
        assert!(planted, "{}", copied.shown());
        let found = if name == "pipe" { (state(&place), state(&private)) } else { (before.0, state(&place)) };
        assert_eq!(found, before, "{}", copied.shown());
        let _ = std::fs::remove_file(shared.join("aside"));
    }
    ebb.ok(["rm", "-f", "box"]);
}
