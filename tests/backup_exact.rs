//! What comes out of a backup is what was in it, no more and no less; and what goes in is what containers see.

mod common;

use common::Ebb;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

const ACCESS: &str = "system.posix_acl_access";
const DEFAULT: &str = "system.posix_acl_default";

fn data(ebb: &Ebb, volume: &str) -> PathBuf {
    ebb.ok(["volume", "inspect", "-f", "{{.Mountpoint}}", volume]).into()
}

/// A list as the kernel writes it (linux/posix_acl_xattr.h), which names the caller's own user beside the owner.
fn list(directory: &Path) -> Vec<u8> {
    let own = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(directory).expect("it"));
    let entry =
        |tag: u16, rights: u16, id: u32| [&tag.to_le_bytes()[..], &rights.to_le_bytes(), &id.to_le_bytes()].concat();
    let none = u32::MAX;
    let entries = [(0x01, 7, none), (0x02, 7, own), (0x04, 5, none), (0x10, 7, none), (0x20, 5, none)];
    entries
        .iter()
        .fold(2u32.to_le_bytes().to_vec(), |list, (tag, rights, id)| [list, entry(*tag, *rights, *id)].concat())
}

fn directory(builder: &mut tar::Builder<Vec<u8>>, name: &str, mode: u32) {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Directory);
    header.set_mode(mode);
    header.set_size(0);
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_cksum();
    builder.append(&header, std::io::empty()).expect("packed");
}

fn import(ebb: &Ebb, names: &[(&str, u32)]) {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, mode) in names {
        directory(&mut builder, name, *mode);
    }
    let answer = ebb.run_with(&builder.into_inner().expect("packed"), ["volume", "import", "vase"]);
    assert_eq!((answer.code, answer.stderr.as_str()), (0, ""), "{}", answer.shown());
}

#[test]
fn a_top_directory_is_what_the_archive_says_of_it_or_what_it_was() {
    let ebb = Ebb::empty();
    ebb.ok(["volume", "create", "vase"]);
    let list = list(&data(&ebb, "vase"));
    xattr::set(data(&ebb, "vase"), "user.note", b"old").expect("an attribute");
    xattr::set(data(&ebb, "vase"), DEFAULT, &list).expect("a file system with lists");
    let look = |name: &str| xattr::get(data(&ebb, "vase"), name).expect("read");
    let mode = |path: &Path| std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(path).expect("it")) & 0o7777;
    // Not named, it stays what it was, and what comes into it is as the archive has it.
    import(&ebb, &[("d/", 0o750)]);
    assert_eq!((look("user.note"), look(DEFAULT)), (Some(b"old".to_vec()), Some(list)));
    let inner = data(&ebb, "vase").join("d");
    let of_inner = |name: &str| xattr::get(&inner, name).expect("read");
    assert_eq!((of_inner(ACCESS), of_inner(DEFAULT), mode(&inner)), (None, None, 0o750));
    // Named, it is what the archive has, and nothing of what it was; the last word on it counts.
    import(&ebb, &[("./", 0o700), ("d/", 0o750), ("d/", 0o711), ("./", 0o1777)]);
    assert_eq!((look("user.note"), look(DEFAULT)), (None, None));
    assert_eq!((mode(&data(&ebb, "vase")), mode(&inner)), (0o1777, 0o711));
}

#[test]
fn a_file_without_a_list_has_none_when_it_comes_back_into_a_directory_with_a_default_one() {
    let ebb = Ebb::empty();
    ebb.ok(["volume", "create", "vase"]);
    let vase = data(&ebb, "vase");
    for inner in ["d", "d/e"] {
        std::fs::create_dir(vase.join(inner)).expect("a directory");
    }
    std::fs::write(vase.join("d/f"), "text").expect("a file");
    for place in [vase.clone(), vase.join("d")] {
        xattr::set(&place, DEFAULT, &list(&vase)).expect("a file system with lists");
    }
    ebb.ok(["volume", "export", "-o", "v.tar", "vase"]);
    ebb.ok(["volume", "import", "back", "v.tar"]);
    ebb.ok(["volume", "clone", "vase", "copy"]);
    for volume in ["back", "copy"] {
        let place = data(&ebb, volume);
        let names = |at: &str| -> Vec<String> {
            let names = xattr::list(place.join(at)).expect("read").map(|name| name.to_string_lossy().into_owned());
            names.filter(|name| name.starts_with("system.")).collect()
        };
        assert_eq!(names("."), [DEFAULT], "{volume}");
        assert_eq!(names("d"), [DEFAULT], "{volume}");
        assert_eq!((names("d/e"), names("d/f")), (vec![], vec![]), "{volume}");
    }
}

#[test]
fn a_clone_has_the_fractions_of_a_second_and_what_is_said_of_directories() {
    let ebb = Ebb::empty();
    ebb.ok(["volume", "create", "vase"]);
    let vase = data(&ebb, "vase");
    std::fs::create_dir(vase.join("d")).expect("a directory");
    std::fs::write(vase.join("d/f"), "text").expect("a file");
    std::os::unix::fs::symlink("f", vase.join("d/l")).expect("a link");
    xattr::set(vase.join("d"), "user.note", b"of d").expect("an attribute");
    xattr::set(&vase, "user.note", b"of the top").expect("an attribute");
    // What is deepest first: whatever is made below changes the time of what is above.
    for (name, time) in [("d/l", "01.123456789"), ("d/f", "02.000000001"), ("d", "03.999999999"), (".", "04.5")] {
        let time = format!("2001-02-03 04:05:{time}");
        let touched = Command::new("touch").args(["-h", "-d", &time]).arg(vase.join(name)).status();
        assert!(touched.expect("touch runs").success());
    }
    ebb.ok(["volume", "clone", "vase", "copy"]);
    let copy = data(&ebb, "copy");
    for name in ["d/l", "d/f", "d", "."] {
        let time = |root: &Path| {
            let meta = root.join(name).symlink_metadata().expect("it");
            (std::os::unix::fs::MetadataExt::mtime(&meta), std::os::unix::fs::MetadataExt::mtime_nsec(&meta))
        };
        assert_eq!(time(&copy), time(&vase), "{name}");
        assert_ne!(time(&vase).1, 0, "{name}");
    }
    let note = |at: &Path| xattr::get(at, "user.note").expect("read").expect("the attribute");
    assert_eq!((note(&copy.join("d")), note(&copy)), (b"of d".to_vec(), b"of the top".to_vec()));
}

/// The host's mounts below it are none of its containers'; what lies beneath them is.
#[test]
fn a_bind_without_its_mounts_is_copied_as_its_containers_see_it() {
    let ebb = Ebb::empty();
    let script =
        "cd \"$1\"; export EBB_ROOT=\"$1/store\"; mkdir -p host/sub; echo seen > host/sub/below; echo of > host/f
        mount -t tmpfs none host/sub; echo other > host/sub/above
        for how in bind rbind; do
            \"$2\" volume create -o type=none -o o=$how -o device=\"$1/host\" $how
            \"$2\" volume export -o $how.tar $how >/dev/null 2>&1
            tar tf $how.tar | sort
            \"$2\" volume inspect -s -f '{{.UsageData.Size}}' $how
            \"$2\" where $how:/sub/below >/dev/null 2>&1 && echo found || echo not found
            \"$2\" volume rm $how
        done";
    let mut shell = Command::new("unshare");
    shell.args(["-rm", "sh", "-ec", script, "sh"]).arg(&ebb.dir).arg(env!("CARGO_BIN_EXE_ebb"));
    let answer = common::answer(&mut shell);
    assert_eq!(answer.code, 0, "{}", answer.shown());
    assert_eq!(
        answer.stdout,
        "bind\n./\n./f\n./sub/\n./sub/below\n8\nfound\nbind\n\
         rbind\n./\n./f\n./sub/\n./sub/above\n9\nnot found\nrbind\n",
        "{}",
        answer.shown()
    );
}

#[test]
fn a_volume_that_is_replaced_by_one_with_the_same_options_is_not_taken_for_the_same() {
    let ebb = Ebb::empty();
    std::fs::create_dir(ebb.dir.join("host")).expect("a directory");
    std::fs::write(ebb.dir.join("host/big"), vec![b'x'; 4 << 20]).expect("a file");
    let device = format!("device={}", ebb.dir.join("host").display());
    let create = || ebb.ok(["volume", "create", "-o", "type=none", "-o", "o=bind", "-o", &device, "shown"]);
    create();
    let mut export = ebb.spawn(["volume", "export", "shown"]);
    let mut stdout = export.stdout.take().expect("a pipe");
    stdout.read_exact(&mut [0]).expect("it has begun");
    ebb.ok(["volume", "rm", "--now", "shown"]);
    create();
    let mut rest = Vec::new();
    stdout.read_to_end(&mut rest).expect("read");
    let output = export.wait_with_output().expect("ended");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("export shown: the volume was removed, renamed or replaced meanwhile"), "{said}");
}
