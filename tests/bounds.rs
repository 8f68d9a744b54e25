//! Hostile input costs a bounded amount of memory, of disk and of time, whatever it claims (runtime/store/bounds.rs).

mod common;

use common::hostile::Tar;
use common::{Answer, Ebb, answer};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

/// More than a hostile archive may take of the memory, in KiB: below the bombs of this file, above what Ebb itself takes.
const MEMORY: &str = "200000";

/// `ebb ARGS`, none of whose processes may have more than [`MEMORY`].
fn bounded(ebb: &Ebb, args: &[&str]) -> Answer {
    bounded_from(ebb, "/dev/null", args)
}

fn bounded_from(ebb: &Ebb, input: &str, args: &[&str]) -> Answer {
    let input = std::fs::File::open(ebb.dir.join(input)).expect("the input");
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("ulimit -v {MEMORY}; exec \"$@\""), "sh", env!("CARGO_BIN_EXE_ebb")]).args(args);
    answer(shell.stdin(input).env("EBB_ROOT", ebb.store()).env("TERM", "xterm").current_dir(&ebb.dir))
}

/// A header alone, which claims that `size` bytes follow.
fn header(kind: u8, name: &str, size: u64) -> Vec<u8> {
    let mut tar = Tar::default().entry(kind, name, "", b"").bytes;
    let mut header = tar::Header::from_byte_slice(&tar[..512]).clone();
    header.set_size(size);
    header.set_cksum();
    tar[..512].copy_from_slice(header.as_bytes());
    tar
}

/// A file of `bytes`, then so many zeros, then `rest`: holes, on the disk.
fn with_zeros(path: &Path, bytes: &[u8], zeros: u64, rest: &[u8]) {
    let mut file = std::fs::File::create(path).expect("a file");
    file.write_all(bytes).expect("written");
    file.seek(SeekFrom::Current(i64::try_from(zeros).expect("a number"))).expect("a hole");
    file.write_all(rest).expect("written");
    file.set_len(bytes.len() as u64 + zeros + rest.len() as u64).expect("its end");
}

fn packed(path: &Path) -> PathBuf {
    let to = path.with_extension("tgz");
    let out = std::fs::File::create(&to).expect("a file");
    let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::new(6));
    std::io::copy(&mut std::fs::File::open(path).expect("it"), &mut encoder).expect("packed");
    encoder.finish().expect("finished");
    to
}

const BOMB: u64 = 300 << 20;

/// Tars that begin with a header whose text is larger than our memory.
fn long_headers(ebb: &Ebb) -> Vec<PathBuf> {
    let rest = Tar::default().file("f", "f").end();
    let of = |kind: u8| {
        let path = ebb.dir.join(format!("long-{}.tar", kind as char));
        with_zeros(&path, &header(kind, "././@LongLink", BOMB), BOMB, &rest);
        path
    };
    vec![of(b'L'), of(b'K'), of(b'x'), of(b'g')]
}

#[test]
fn a_long_name_or_a_pax_header_that_would_fill_the_memory_is_refused_by_every_reader_of_tars() {
    let ebb = Ebb::new();
    ebb.ok(["volume", "create", "vase"]);
    ebb.ok(["create", "--name", "box", "busybox"]);
    for tar in long_headers(&ebb) {
        let packed = packed(&tar);
        assert!(packed.metadata().expect("it").len() < 2 << 20);
        let (tar, packed) = (tar.to_str().expect("UTF-8"), packed.to_str().expect("UTF-8"));
        let mut said = vec![bounded_from(&ebb, tar, &["cp", "-", "box:/"])];
        for path in [tar, packed] {
            said.push(bounded(&ebb, &["import", path, "hostile"]));
            said.push(bounded(&ebb, &["load", "-i", path]));
            said.push(bounded(&ebb, &["volume", "import", "vase", path]));
        }
        for said in said {
            assert_eq!(said.code, 1, "{}", said.shown());
            let wanted = "an extended header of 314572800 bytes is longer than any honest one";
            assert!(said.stderr.contains(wanted), "{}", said.shown());
        }
    }
    assert_eq!(ebb.ok(["system", "check"]), "1 containers, 1 volumes, 1 images: sound");
    assert_eq!(ebb.leftovers(), Vec::<String>::new());
}
