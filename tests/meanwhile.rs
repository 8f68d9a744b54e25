//! What a command meets when something goes wrong, or changes, between two of its calls. As root only: newuidmap(1) is
//! setuid, which it is not under the tracer that brings it about.

mod common;

use common::strace::{stopped_after, tampered};
use common::trash::{data, note, volume};
use common::{Ebb, is_root};
use std::os::unix::fs::{MetadataExt, PermissionsExt};

/// A file is looked at by its name, and opened: it need not be the same one.
#[test]
fn a_clone_gives_no_file_the_mode_of_another() {
    let ebb = Ebb::empty();
    if !is_root() {
        return;
    }
    ebb.ok(["volume", "create", "vase"]);
    let place = data(&ebb, "vase").join("note");
    let mut mode = 0o600;
    let mut replace = || {
        // Each says what its mode is.
        mode += 1;
        let next = ebb.dir.join("next");
        std::fs::write(&next, format!("{mode:o}")).expect("a file");
        std::fs::set_permissions(&next, std::fs::Permissions::from_mode(mode)).expect("a mode");
        std::fs::rename(&next, &place).expect("in its place");
    };
    replace();
    // Whatever is looked at is another one by the next call.
    let cloned = stopped_after(&ebb, "newfstatat", &["volume", "clone", "vase", "copy"], &mut replace);
    assert_eq!(cloned.code, 0, "{}", cloned.shown());
    let mode = std::fs::metadata(data(&ebb, "copy").join("note")).expect("it").mode() & 0o777;
    assert_eq!(note(&ebb, "copy"), format!("{mode:o}"), "{}", cloned.shown());
}

#[test]
fn a_clone_of_a_volume_that_is_replaced_meanwhile_is_none() {
    let ebb = Ebb::empty();
    if !is_root() {
        return;
    }
    volume(&ebb, "vase", "old");
    // At any call that opens something: when it is read, and after.
    let mut replaced = false;
    let cloned = stopped_after(&ebb, "linkat", &["volume", "clone", "vase", "copy"], &mut || {
        if !std::mem::replace(&mut replaced, true) {
            ebb.ok(["volume", "rm", "--now", "vase"]);
            volume(&ebb, "vase", "new");
        }
    });
    assert!(
        cloned.code == 1 && cloned.stderr.contains("vase was removed or replaced while it was copied"),
        "{}",
        cloned.shown()
    );
    assert_eq!(ebb.ok(["volume", "ls", "-q"]), "vase");
    assert_eq!(ebb.leftovers(), Vec::<String>::new());
}

#[test]
fn attributes_that_cannot_be_read_are_not_taken_for_none() {
    let ebb = Ebb::empty();
    if !is_root() {
        return;
    }
    volume(&ebb, "vase", "kept");
    for words in [&["volume", "clone", "vase", "copy"][..], &["volume", "export", "-o", "v.tar", "vase"]] {
        let said = tampered(&ebb, "flistxattr:error=EIO", words);
        assert!(said.code == 1 && said.stderr.contains("read its attributes: I/O error"), "{}", said.shown());
    }
    assert!(!ebb.dir.join("v.tar").exists());
    // A file system that has none is another thing.
    for words in [&["volume", "clone", "vase", "copy"][..], &["volume", "export", "-o", "v.tar", "vase"]] {
        let said = tampered(&ebb, "flistxattr:error=EOPNOTSUPP", words);
        assert_eq!(said.code, 0, "{}", said.shown());
    }
}

/// An immutable file (chattr +i): what the kernel says of it is EPERM, as some file systems say of a directory.
#[test]
fn what_may_not_be_removed_is_not_called_a_directory() {
    let ebb = Ebb::empty();
    if !is_root() {
        return;
    }
    volume(&ebb, "vase", "kept");
    let said = tampered(&ebb, "unlinkat:error=EPERM", &["volume", "rm", "--now", "vase"]);
    assert!(said.stderr.contains("note: operation not permitted"), "{}", said.shown());
    assert!(!said.stderr.contains("not a directory"), "{}", said.shown());
}
