//! What an access control list says goes with the file, in ids as containers see them; what cannot go is said.

mod common;

use common::Ebb;
use std::path::{Path, PathBuf};

const ACCESS: &str = "system.posix_acl_access";
const DEFAULT: &str = "system.posix_acl_default";
/// An id that nobody here has.
const NOBODYS: u32 = 4_000_000_000;

/// A list as the kernel writes it (linux/posix_acl_xattr.h): `user` may write, beside the owner, the group and all others.
fn list(user: Option<u32>) -> Vec<u8> {
    let entry =
        |tag: u16, rights: u16, id: u32| [&tag.to_le_bytes()[..], &rights.to_le_bytes(), &id.to_le_bytes()].concat();
    let named = user.map(|id| entry(0x02, 6, id)).unwrap_or_default();
    let none = u32::MAX;
    let parts = [
        2u32.to_le_bytes().to_vec(),
        entry(0x01, 6, none),
        named,
        entry(0x04, 4, none),
        entry(0x10, 6, none),
        entry(0x20, 0, none),
    ];
    parts.concat()
}

fn data(ebb: &Ebb, volume: &str) -> PathBuf {
    ebb.ok(["volume", "inspect", "-f", "{{.Mountpoint}}", volume]).into()
}

fn get(path: &Path, name: &str) -> Option<Vec<u8>> {
    xattr::get(path, name).expect("read")
}

/// A volume with a file and a directory that have lists with an id that has a place in this user's containers: 33 for
/// root, and for who else maps ids their own, which inside is 0.
fn with_lists() -> (Ebb, Vec<u8>) {
    let ebb = Ebb::empty();
    ebb.ok(["volume", "create", "vase"]);
    let vase = data(&ebb, "vase");
    let own = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(&vase).expect("it"));
    let known = list(Some(if common::is_root() { 33 } else { own }));
    std::fs::write(vase.join("f"), "text").expect("a file");
    std::fs::create_dir(vase.join("d")).expect("a directory");
    xattr::set(vase.join("f"), ACCESS, &known).expect("a file system with lists");
    xattr::set(vase.join("d"), DEFAULT, &known).expect("a file system with lists");
    (ebb, known)
}

#[test]
fn a_list_goes_through_export_import_and_clone() {
    let (ebb, known) = with_lists();
    let exported = ebb.run(["volume", "export", "-o", "v.tar", "vase"]);
    let imported = ebb.run(["volume", "import", "back", "v.tar"]);
    let cloned = ebb.run(["volume", "clone", "vase", "copy"]);
    for (answer, said) in [(&exported, ""), (&imported, ""), (&cloned, "")] {
        assert_eq!((answer.code, answer.stderr.as_str()), (0, said), "{}", answer.shown());
    }
    for volume in ["back", "copy"] {
        let place = data(&ebb, volume);
        assert_eq!(get(&place.join("f"), ACCESS), Some(known.clone()), "{volume}");
        assert_eq!(get(&place.join("d"), DEFAULT), Some(known.clone()), "{volume}");
    }
    // In the archive stands the id that a container sees.
    let inside = list(Some(if common::is_root() { 33 } else { 0 }));
    let tar = std::fs::read(ebb.dir.join("v.tar")).expect("written");
    assert!(tar.windows(inside.len()).any(|window| window == inside));
}

#[test]
fn of_a_list_that_names_who_has_no_id_here_the_rest_is_kept_and_that_is_said() {
    let (ebb, known) = with_lists();
    ebb.ok(["volume", "export", "-o", "v.tar", "vase"]);
    let mut tar = std::fs::read(ebb.dir.join("v.tar")).expect("written");
    let inside = list(Some(if common::is_root() { 33 } else { 0 }));
    // u32::MAX is nobody's id for root, too.
    let unknown = list(Some(if common::is_root() { u32::MAX } else { NOBODYS }));
    let mut replaced = 0;
    for at in 0..tar.len() - inside.len() {
        if tar[at..].starts_with(&inside) {
            tar[at..at + inside.len()].copy_from_slice(&unknown);
            replaced += 1;
        }
    }
    assert_eq!(replaced, 2);
    let imported = ebb.run_with(&tar, ["volume", "import", "back"]);
    assert_eq!(imported.code, 0, "{}", imported.shown());
    assert!(imported.stderr.starts_with("ebb: attributes of 2 files were left out: "), "{}", imported.shown());
    let back = data(&ebb, "back");
    assert_eq!(get(&back.join("f"), ACCESS), Some(list(None)), "the group has no more rights than the list gave it");
    assert_eq!(get(&back.join("d"), DEFAULT), Some(list(None)));
    if common::is_root() {
        return;
    }
    // A list of the host's may name who is nobody in a container: of a file whose owner gave a colleague access.
    let f = data(&ebb, "vase").join("f");
    xattr::set(&f, ACCESS, &list(Some(NOBODYS))).expect("anybody may name anybody");
    let cloned = ebb.run(["volume", "clone", "vase", "copy"]);
    assert_eq!((cloned.code, cloned.stdout.as_str()), (0, "copy\n"), "{}", cloned.shown());
    assert!(cloned.stderr.starts_with("ebb: attributes of 1 file were left out: "), "{}", cloned.shown());
    assert_eq!(get(&data(&ebb, "copy").join("f"), ACCESS), Some(list(None)));
    assert_eq!(get(&data(&ebb, "copy").join("d"), DEFAULT), Some(known));
}

#[test]
fn an_image_brings_no_lists_and_so_copy_up_has_none_to_copy() {
    let ebb = Ebb::new();
    common::image_with(&ebb, "listed:1", &[], |builder| {
        let record = [b" SCHILY.xattr.system.posix_acl_access=".as_slice(), &list(Some(33)), b"\n"].concat();
        let length = (record.len() + 2).to_string();
        let record = [length.as_bytes(), &record].concat();
        assert_eq!(record.len().to_string(), length);
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::XHeader);
        header.set_size(record.len() as u64);
        builder.append_data(&mut header, "pax", &record[..]).expect("written");
        let mut header = tar::Header::new_ustar();
        header.set_size(4);
        header.set_mode(0o640);
        builder.append_data(&mut header, "data/f", &b"text"[..]).expect("written");
    });
    ebb.ok(["run", "--rm", "-v", "vase:/data", "listed:1", "true"]);
    let f = data(&ebb, "vase").join("f");
    assert_eq!((get(&f, ACCESS), std::fs::read_to_string(&f).expect("copied").as_str()), (None, "text"));
}
