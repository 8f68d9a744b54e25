//! A program that an image gives capabilities to (capabilities(7), "File capabilities") has them wherever it is put, and
//! they are worth in a container what that container allows.

mod common;

use common::hostile::Tar;
use common::{Ebb, has_one_id, image_with, is_root};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const NAME: &str = "security.capability";

/// CAP_NET_BIND_SERVICE, permitted and effective, as the kernel writes it (linux/capability.h, version 2).
const BIND: [u8; 20] = capability(1 << 10);

const fn capability(permitted: u32) -> [u8; 20] {
    let [a, b, c, d] = permitted.to_le_bytes();
    [1, 0, 0, 2, a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
}

/// The same, of a user namespace whose root is `root` (version 3).
fn of_namespace(value: &[u8], root: u32) -> Vec<u8> {
    let mut value = [value, &root.to_le_bytes()].concat();
    value[3] = 3;
    value
}

/// A store with an image `capable`: busybox, which in /cap is called grep and has the capability to bind low ports.
fn store() -> Ebb {
    let ebb = Ebb::new();
    add_image(&ebb, "capable", &BIND);
    ebb
}

fn add_image(ebb: &Ebb, name: &str, value: &[u8]) {
    image_with(ebb, name, &["CMD [\"sh\"]"], |tar| {
        let program = busybox(ebb);
        for (path, owner) in [("cap/grep", 0), ("cap/theirs/grep", 33)] {
            let record = format!("SCHILY.xattr.{NAME}");
            tar.append_pax_extensions([(record.as_str(), value)]).expect("written");
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o755);
            header.set_uid(owner);
            header.set_gid(owner);
            header.set_mtime(1_000_000_000);
            header.set_size(program.len() as u64);
            tar.append_data(&mut header, path, &program[..]).expect("written");
        }
    });
}

fn busybox(ebb: &Ebb) -> Vec<u8> {
    let mut root = tar::Archive::new(std::fs::File::open(ebb.dir.join("root.tar")).expect("exported"));
    let mut entries = root.entries().expect("a tar").map(|entry| entry.expect("whole"));
    let mut found =
        entries.find(|entry| entry.path().is_ok_and(|path| path.ends_with("bin/busybox"))).expect("busybox");
    let mut bytes = Vec::new();
    found.read_to_end(&mut bytes).expect("read");
    bytes
}

fn data(ebb: &Ebb, volume: &str) -> PathBuf {
    ebb.store().join("volumes").join(volume).join("_data")
}

fn on_disk(path: &Path) -> Option<Vec<u8>> {
    xattr::get(path, NAME).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What the kernel makes of `BIND` on the disk: for root the same; for a user that of a namespace whose root is that user,
/// who could give it to themselves in any other, too.
fn expected() -> Vec<u8> {
    let own = std::fs::metadata("/proc/self").expect("procfs").uid();
    if is_root() { BIND.to_vec() } else { of_namespace(&BIND, own) }
}

/// The effective capabilities of the image's program, run as user 1000.
fn effective(ebb: &Ebb, words: &[&str], image: &str) -> String {
    let run = ["run", "--rm", "-u", "1000"].iter().chain(words);
    let said = ebb.ok(run.chain(&[image, "/cap/grep", "^CapEff:", "/proc/self/status"]));
    said.trim_start_matches("CapEff:").trim().to_owned()
}

const NONE: &str = "0000000000000000";

#[test]
fn a_program_of_an_image_gets_its_capability_once_new_privileges_are_allowed() {
    let ebb = store();
    assert_eq!(effective(&ebb, &[], "capable"), NONE, "no_new_privs holds unless it is switched off");
    // Who has one id has no other root than themselves, and in this container is user 1000.
    let gained = if has_one_id() { NONE } else { "0000000000000400" };
    assert_eq!(effective(&ebb, &["--security-opt", "no-new-privileges=false"], "capable"), gained);
    let again = ["run", "--rm", "-u", "1000", "capable", "sh", "-c", "/cap/grep ^CapEff: /proc/self/status"];
    assert_eq!(ebb.ok(again), format!("CapEff:\t{NONE}"), "for what a program starts, too");
    // A container's own changes to its file system keep it, as far as they keep the file.
    ebb.ok(["run", "--name", "box", "capable", "sh", "-c", "mv /cap/grep /cap/moved && chmod 700 /cap/theirs/grep"]);
    let upper = ebb.store().join("containers").join(ebb.inspect("box", "{{.Id}}")).join("upper/cap");
    assert_eq!(on_disk(&upper.join("moved")), Some(expected()));
    // A container that is exported and imported is the same image.
    ebb.ok(["create", "--name", "whole", "capable"]);
    ebb.ok(["export", "-o", "whole.tar", "whole"]);
    ebb.ok(["import", "whole.tar", "again"]);
    assert_eq!(effective(&ebb, &["--security-opt", "no-new-privileges=false"], "again"), gained);
}

#[test]
fn exec_starts_with_what_its_own_user_has() {
    let ebb = store();
    ebb.ok(["run", "-d", "--name", "box", "-u", "1000", "capable", "sleep", "1000"]);
    let look = |words: &[&str]| {
        let words = ["exec"].iter().chain(words).chain(&["box", "/cap/grep", "^CapEff:", "/proc/self/status"]);
        ebb.ok(words).trim_start_matches("CapEff:").trim().to_owned()
    };
    assert_eq!(look(&[]), NONE);
    if !has_one_id() {
        // CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE SYS_CHROOT SETFCAP
        assert_eq!(look(&["-u", "0"]), "00000000800405fb", "root of a container that runs as somebody else");
    }
    ebb.ok(["rm", "-f", "box"]);
    ebb.ok(["run", "-d", "--name", "box", "capable", "sleep", "1000"]);
    if !has_one_id() {
        assert_eq!(look(&["-u", "1000"]), NONE);
        assert_eq!(look(&["-u", "1000", "--privileged"]), "0000000000000400", "--privileged lifts no_new_privs");
    }
    ebb.ok(["rm", "-f", "box"]);
}

#[test]
fn a_program_that_demands_more_than_the_container_has_is_not_started_and_why_is_said() {
    let ebb = store();
    let said = ebb.fails(126, ["run", "--rm", "--cap-drop", "ALL", "capable", "/cap/grep", "x"]);
    assert!(said.contains("exec /cap/grep: operation not permitted"), "{said}");
    assert!(said.contains("--cap-add NET_BIND_SERVICE"), "{said}");
    // CAP_NET_RAW and CAP_SYS_TIME, of which a container by default has neither.
    add_image(&ebb, "ping", &capability(1 << 13 | 1 << 25));
    let said = ebb.fails(126, ["run", "--rm", "ping", "/cap/grep", "x"]);
    assert!(said.contains("--cap-add NET_RAW --cap-add SYS_TIME"), "{said}");
    ebb.ok(["run", "-d", "--name", "box", "ping", "sleep", "1000"]);
    let said = ebb.fails(126, ["exec", "box", "/cap/grep", "x"]);
    assert!(said.contains("what the container was made without: --cap-add NET_RAW --cap-add SYS_TIME"), "{said}");
    ebb.ok(["rm", "-f", "box"]);
    let given = ["--cap-add", "NET_RAW", "--cap-add", "SYS_TIME"];
    assert_eq!(effective(&ebb, &given, "ping"), NONE);
}

#[test]
fn copy_up_clone_backup_and_restore_keep_it_and_in_a_volume_it_gives_nothing() {
    let ebb = store();
    let words = ["-v", "vase:/cap", "--security-opt", "no-new-privileges=false"];
    assert_eq!(effective(&ebb, &words, "capable"), NONE, "volumes are nosuid");
    let both =
        |volume: &str| [on_disk(&data(&ebb, volume).join("grep")), on_disk(&data(&ebb, volume).join("theirs/grep"))];
    let kept = [Some(expected()), Some(expected())];
    // (A directory of another id's is not closed to us: the image's are 0755.)
    assert_eq!(both("vase"), kept);
    ebb.ok(["volume", "clone", "vase", "copy"]);
    assert_eq!(both("copy"), kept);
    ebb.ok(["volume", "export", "-o", "v.tar", "vase"]);
    let imported = ebb.run(["volume", "import", "back", "v.tar"]);
    assert!(imported.code == 0 && imported.stderr.is_empty(), "{}", imported.shown());
    assert_eq!(both("back"), kept);
    // Whoever made the archive, it says what containers see.
    let mut archive = tar::Archive::new(std::fs::File::open(ebb.dir.join("v.tar")).expect("exported"));
    let mut found = 0;
    for entry in archive.entries().expect("a tar") {
        let mut entry = entry.expect("whole");
        for extension in entry.pax_extensions().expect("records").into_iter().flatten() {
            let extension = extension.expect("a record");
            if extension.key_bytes() == format!("SCHILY.xattr.{NAME}").as_bytes() {
                assert_eq!(extension.value_bytes(), BIND);
                found += 1;
            }
        }
    }
    assert_eq!(found, 2);
    // Removed and restored, it is the same directory.
    ebb.ok(["volume", "rm", "vase"]);
    ebb.ok(["volume", "restore", "vase"]);
    assert_eq!(both("vase"), kept);
}

#[test]
fn cp_takes_it_along_with_the_owners_and_leaves_it_out_without() {
    let ebb = store();
    ebb.ok(["create", "--name", "box", "capable"]);
    let inside =
        |name: &str| ebb.store().join("containers").join(ebb.inspect("box", "{{.Id}}")).join("upper").join(name);
    ebb.ok(["cp", "box:/cap/grep", "plain"]);
    assert_eq!(on_disk(&ebb.dir.join("plain")), None);
    ebb.ok(["cp", "-a", "box:/cap/grep", "kept"]);
    // Only root may give it to a file of the host's.
    assert_eq!(on_disk(&ebb.dir.join("kept")), is_root().then(|| BIND.to_vec()));
    if is_root() {
        ebb.ok(["cp", "-a", "kept", "box:/with"]);
        ebb.ok(["cp", "kept", "box:/without"]);
        assert_eq!([on_disk(&inside("with")), on_disk(&inside("without"))], [Some(BIND.to_vec()), None]);
    }
}

/// As chown(1) does, and Podman's `:U`.
#[test]
fn with_u_a_file_loses_it_to_its_new_owner() {
    let ebb = store();
    if has_one_id() {
        return; // Nothing changes its owner.
    }
    ebb.ok(["run", "--rm", "-v", "vase:/cap", "capable", "true"]);
    ebb.ok(["run", "--rm", "-u", "33", "-v", "vase:/cap:U", "capable", "true"]);
    assert_eq!(on_disk(&data(&ebb, "vase").join("grep")), None);
    // What was that user's already is not touched.
    assert_eq!(on_disk(&data(&ebb, "vase").join("theirs/grep")), Some(expected()));
}

#[test]
fn what_the_kernel_would_not_take_is_left_out_and_counted() {
    let ebb = Ebb::empty();
    let record = |value: &[u8]| {
        let value = String::from_utf8(value.to_vec()).expect("ASCII");
        format!("SCHILY.xattr.{NAME}={value}")
    };
    // Root of that namespace is nobody whom an ordinary user could mean.
    let (good, foreign, broken) = (record(&BIND), record(&of_namespace(&BIND, 0x7171_7171)), record(b"x"));
    let tar = Tar::default().pax(&[&good]).file("good", "").pax(&[&foreign]).file("foreign", "");
    let tar = tar.pax(&[&broken]).file("broken", "").end();
    let said = ebb.run_with(&tar, ["volume", "import", "vase"]);
    assert_eq!(said.code, 0, "{}", said.shown());
    let files = if is_root() { "1 file" } else { "2 files" };
    assert!(said.stderr.contains(&format!("attributes of {files} were left out")), "{}", said.shown());
    let disk = |name: &str| on_disk(&data(&ebb, "vase").join(name));
    assert_eq!([disk("good"), disk("broken")], [Some(expected()), None]);
    assert_eq!(disk("foreign"), is_root().then(|| of_namespace(&BIND, 0x7171_7171)));
    // An image with such files is loaded without, and says so.
    let said = ebb.run_with(&tar, ["import", "-", "odd"]);
    assert_eq!(said.code, 0, "{}", said.shown());
    let first = if is_root() { "broken" } else { "foreign" };
    let expected = format!("ebb: warning: the file capabilities of {files} were left out (the first is {first})");
    assert!(said.stderr.contains(&expected), "{}", said.shown());
}

#[test]
fn nobody_else_on_the_host_can_come_at_such_a_program() {
    // A store made in a directory that was there, and open to all.
    let ebb = Ebb::empty();
    std::fs::create_dir(ebb.store()).expect("a directory");
    ebb.ok(["image", "load", "-q", "-i", common::busybox_archive().to_str().expect("UTF-8")]);
    add_image(&ebb, "capable", &BIND);
    ebb.ok(["run", "--rm", "-v", "vase:/cap", "capable", "true"]);
    let program = data(&ebb, "vase").join("grep");
    for place in ["images", "containers", "volumes", "tmp", "volume-trash"] {
        let mode = std::fs::metadata(ebb.store().join(place)).expect("a directory of the store").mode();
        assert_eq!(mode & 0o777, 0o700, "{place}");
    }
    assert_eq!(Command::new(&program).arg("--help").output().map(|output| output.status.success()).ok(), Some(true));
    if !is_root() {
        return; // Only root can ask as another user. To others this one's means nothing: it is that of a namespace.
    }
    let mut another = Command::new("setpriv");
    // (The shell between them: setpriv itself still has root's capabilities when it executes something.)
    another.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--", "sh", "-c", "exec \"$0\" --help"]);
    another.arg(&program);
    let refused = common::answer(&mut another);
    assert!(refused.code != 0 && refused.stderr.contains("Permission denied"), "{}", refused.shown());
}

/// Of `trusted.*` nothing is anybody's but the host's root's: overlayfs keeps its marks there.
#[test]
fn trusted_attributes_come_from_no_archive_and_go_along_only_with_a_clone_of_root_s() {
    let ebb = Ebb::empty();
    let records =
        ["SCHILY.xattr.trusted.overlay.opaque=y", "SCHILY.xattr.trusted.md5sum=x", "SCHILY.xattr.user.kept=yes"];
    let tar = Tar::default().pax(&records).entry(b'5', "d", "", b"").pax(&records).file("d/f", "").end();
    let said = ebb.run_with(&tar, ["volume", "import", "vase"]);
    assert!(said.code == 0 && said.stderr.contains("attributes of 2 files were left out"), "{}", said.shown());
    let said = ebb.run_with(&tar, ["import", "-", "marked"]);
    assert_eq!(said.code, 0, "{}", said.shown());
    let layers = std::fs::read_dir(ebb.store().join("images/layers/sha256")).expect("layers");
    let layer = layers.map(|entry| entry.expect("a layer").path().join("fs")).next().expect("one");
    let names = |path: PathBuf| {
        let names = xattr::list(&path).expect("attributes").map(|name| name.to_string_lossy().into_owned());
        names.collect::<Vec<_>>()
    };
    for top in [layer, data(&ebb, "vase")] {
        assert_eq!([names(top.join("d")), names(top.join("d/f"))], [["user.kept"], ["user.kept"]]);
    }
    if !is_root() {
        return; // An ordinary user neither sees nor sets them.
    }
    let vase = data(&ebb, "vase");
    xattr::set(vase.join("d"), "trusted.overlay.opaque", b"y").expect("an attribute");
    ebb.ok(["volume", "clone", "vase", "copy"]);
    assert_eq!(xattr::get(data(&ebb, "copy").join("d"), "trusted.overlay.opaque").expect("read"), Some(b"y".to_vec()));
    // A backup is for anybody's machine.
    ebb.ok(["volume", "export", "-o", "v.tar", "vase"]);
    let bytes = std::fs::read(ebb.dir.join("v.tar")).expect("exported");
    let has = |word: &[u8]| bytes.windows(word.len()).any(|window| window == word);
    assert!(has(b"SCHILY.xattr.user.kept") && !has(b"trusted."), "no trusted.* in an archive");
}
