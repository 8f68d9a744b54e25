//! Hostile input costs a bounded amount of memory, of disk and of time, whatever it claims (runtime/store/bounds.rs).

mod common;

use common::hostile::Tar;
use common::{Answer, Ebb, answer, archives};
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

/// An image's configuration: `extra` is more of it, and `layers` are its tars.
fn config(extra: &str, layers: &[&[u8]]) -> Vec<u8> {
    let diff_ids: Vec<String> = layers.iter().map(|layer| format!("\"sha256:{}\"", archives::digest(layer))).collect();
    let text =
        format!(r#"{{"os": "linux", {extra} "rootfs": {{"type": "layers", "diff_ids": [{}]}}}}"#, diff_ids.join(","));
    text.into_bytes()
}

/// Loads a docker-save archive of one image of one layer.
fn load_with(ebb: &Ebb, name: &str, extra: &str, layer: &[u8]) -> Answer {
    let manifest = format!(r#"[{{"Config": "config", "RepoTags": ["{name}"], "Layers": ["layer"]}}]"#);
    let members = [("layer", layer.to_vec()), ("config", config(extra, &[layer])), ("manifest.json", manifest.into())];
    let bytes = archives::tar(&members.map(|(name, bytes)| (name.to_owned(), bytes)));
    std::fs::write(ebb.dir.join("archive.tar"), bytes).expect("written");
    bounded(ebb, &["load", "-i", "archive.tar"])
}

#[test]
fn an_index_of_indexes_of_indexes_ends() {
    let ebb = Ebb::empty();
    let layer = Tar::default().file("f", "f").end();
    let mut members = Vec::new();
    let mut blob = |bytes: Vec<u8>| -> String {
        let hex = archives::digest(&bytes);
        members.push((format!("blobs/sha256/{hex}"), bytes));
        format!(r#"{{"digest": "sha256:{hex}"}}"#)
    };
    let config = blob(config("", &[&layer]));
    let layer = blob(layer);
    let mut below = blob(format!(r#"{{"config": {config}, "layers": [{layer}]}}"#).into_bytes());
    for _ in 0..4 {
        below = blob(format!(r#"{{"manifests": [{}]}}"#, vec![below; 1000].join(",")).into_bytes());
    }
    members.push(("index.json".into(), format!(r#"{{"manifests": [{below}]}}"#).into_bytes()));
    let bytes = archives::tar(&members);
    assert!(bytes.len() < 400_000);
    std::fs::write(ebb.dir.join("archive.tar"), bytes).expect("written");
    let said = bounded(&ebb, &["load", "-i", "archive.tar"]);
    assert!(said.code == 1 && said.stderr.contains("have more than 10000 references"), "{}", said.shown());
    assert_eq!((ebb.ok(["images", "-q"]), ebb.leftovers()), (String::new(), Vec::new()));
}

/// As containerd writes an image for several platforms that has two names: by two ways to one index.
#[test]
fn one_index_that_two_names_lead_to_gives_its_image_both() {
    let ebb = Ebb::empty();
    let layer = Tar::default().file("f", "f").end();
    let mut members = Vec::new();
    let mut blob = |bytes: Vec<u8>| -> String {
        let hex = archives::digest(&bytes);
        members.push((format!("blobs/sha256/{hex}"), bytes));
        format!(r#""digest": "sha256:{hex}""#)
    };
    let config = blob(config("", &[&layer]));
    let layer = blob(layer);
    let manifest = blob(format!(r#"{{"config": {{{config}}}, "layers": [{{{layer}}}]}}"#).into_bytes());
    let index = blob(format!(r#"{{"manifests": [{{{manifest}}}]}}"#).into_bytes());
    let named = |name: &str| format!(r#"{{{index}, "annotations": {{"io.containerd.image.name": "{name}"}}}}"#);
    let top = format!(r#"{{"manifests": [{}, {}]}}"#, named("docker.io/library/a:1"), named("docker.io/library/b:1"));
    members.push(("index.json".into(), top.into_bytes()));
    std::fs::write(ebb.dir.join("archive.tar"), archives::tar(&members)).expect("written");
    assert_eq!(ebb.ok(["load", "-i", "archive.tar"]), "Loaded image: a:1\nLoaded image: b:1");
    assert_eq!(ebb.ok(["images", "--format", "{{.Repository}}"]), "a\nb");
}

#[test]
fn a_configuration_that_many_images_name_is_read_once() {
    let ebb = Ebb::empty();
    let layer = Tar::default().file("f", "f").end();
    let extra = format!(r#""padding": "{}","#, "x".repeat(3 << 20));
    let entry = |number: i32| format!(r#"{{"Config": "config", "RepoTags": ["a:{number}"], "Layers": ["layer"]}}"#);
    let manifest = format!("[{}]", (0..200).map(entry).collect::<Vec<_>>().join(","));
    let members =
        [("layer", layer.clone()), ("config", config(&extra, &[&layer])), ("manifest.json", manifest.into_bytes())];
    let bytes = archives::tar(&members.map(|(name, bytes)| (name.to_owned(), bytes)));
    std::fs::write(ebb.dir.join("archive.tar"), bytes).expect("written");
    let said = bounded(&ebb, &["load", "-i", "archive.tar"]);
    assert!(said.code == 0 && said.stdout.lines().count() == 200, "{}", said.shown());
    assert_eq!(ebb.ok(["images", "--format", "{{.Tag}}"]).lines().count(), 200);
    let id = ebb.ok(["images", "-q", "--no-trunc", "a:7"]);
    assert!(ebb.ok(["rmi", "-f", &id]).contains("Untagged: a:199"));
    let large = load_with(&ebb, "large", &format!(r#""padding": "{}","#, "x".repeat(5 << 20)), &layer);
    assert!(large.code == 1 && large.stderr.contains("config is too large"), "{}", large.shown());
}

/// GNU tar's old format, and its newest: 3 GiB of which the archive has 4 bytes, or none.
fn sparse(size: u64) -> Tar {
    let mut tar = Tar::default().entry(b'S', "old", "", b"data");
    let header = &mut tar.bytes[..512];
    // In binary, as GNU tar writes what the octal digits do not hold.
    let mut number = |at: usize, value: u64| {
        header[at..at + 4].copy_from_slice(&[0x80, 0, 0, 0]);
        header[at + 4..at + 12].copy_from_slice(&value.to_be_bytes());
    };
    number(386, 4096);
    number(398, 4);
    number(483, size);
    let mut checked = tar::Header::from_byte_slice(header).clone();
    checked.set_cksum();
    tar.bytes[..512].copy_from_slice(checked.as_bytes());
    let size = format!("GNU.sparse.realsize={size}");
    let records = ["GNU.sparse.major=1", "GNU.sparse.minor=0", "GNU.sparse.name=new", &size];
    let mut map = b"1\n0\n4\n".to_vec();
    map.resize(512, 0);
    map.extend_from_slice(b"data");
    tar.pax(&records).entry(b'0', "GNUSparseFile.0/new", "", &map)
}

#[test]
fn the_holes_of_a_layers_files_stay_holes_and_count() {
    use std::os::unix::fs::MetadataExt;
    let ebb = Ebb::empty();
    let layer = sparse(3 << 30).end();
    assert!(layer.len() < 8192);
    let said = load_with(&ebb, "holes", "", &layer);
    assert_eq!(said.code, 0, "{}", said.shown());
    let tree = ebb.store().join("images/layers/sha256").join(archives::digest(&layer)).join("fs");
    for (name, at) in [("old", 4096), ("new", 0)] {
        let file = std::fs::File::open(tree.join(name)).expect(name);
        let meta = file.metadata().expect("it");
        assert!(meta.len() == 3 << 30 && meta.blocks() * 512 < 1 << 20, "{name}: {meta:?}");
        let mut data = [0; 5];
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut data, at).expect("its data");
        assert_eq!(&data, b"data\0", "{name}");
    }
    // What comes out is, to the byte, what came in.
    ebb.ok(["save", "-o", "saved.tar", "holes"]);
    ebb.ok(["rmi", "holes"]);
    ebb.ok(["load", "-i", "saved.tar"]);
    let many = load_with(&ebb, "many", "", &sparse(600 << 30).end());
    assert!(many.code == 1 && many.stderr.contains("sparse files have more than 1024 GiB"), "{}", many.shown());
    assert_eq!(ebb.leftovers(), Vec::<String>::new());
}

#[test]
fn an_environment_that_no_program_could_have_is_refused_and_a_large_one_costs_no_time() {
    let ebb = Ebb::new();
    let layer = Tar::default().file("f", "f").end();
    let load = |name: &str, variables: &[String]| {
        let list: Vec<String> = variables.iter().map(|variable| format!("\"{variable}\"")).collect();
        let said =
            load_with(&ebb, name, &format!(r#""config": {{"Cmd": ["sh"], "Env": [{}]}},"#, list.join(",")), &layer);
        assert_eq!(said.code, 0, "{}", said.shown());
    };
    let variables = |count: usize| (0..count).map(|number| format!("E{number}=")).collect::<Vec<_>>();
    load("many", &variables(380_000));
    load("long", &[format!("LONG={}", "x".repeat(1 << 17))]);
    load("large", &variables(300_000));
    let many = bounded(&ebb, &["create", "many"]);
    assert!(many.code == 125 && many.stderr.contains("no program can be started with more than"), "{}", many.shown());
    let long = bounded(&ebb, &["create", "long"]);
    assert!(long.code == 125 && long.stderr.contains("\"LONG\" has 131077 bytes"), "{}", long.shown());
    assert_eq!(ebb.ok(["ps", "-aq"]), "");
    // By squares this took minutes, in a supervisor that nobody could end.
    ebb.ok(["create", "--name", "box", "-e", "E7=seven", "large"]);
    let started = ebb.run(["start", "-a", "box"]);
    assert!(started.code == 127 && started.stderr.contains("executable file not found"), "{}", started.shown());
    ebb.ok(["rm", "-f", "box"]);
}

#[test]
fn an_image_that_wants_more_volumes_than_can_be_mounted_gets_no_container() {
    let ebb = Ebb::empty();
    let layer = Tar::default().file("f", "f").end();
    let volumes: Vec<String> = (0..1001).map(|number| format!(r#""/v{number}": {{}}"#)).collect();
    let extra = format!(r#""config": {{"Cmd": ["sh"], "Volumes": {{{}}}}},"#, volumes.join(","));
    assert_eq!(load_with(&ebb, "wide", &extra, &layer).code, 0);
    let said = ebb.fails(125, ["create", "wide"]);
    assert!(said.contains("declares 1001 volumes"), "{said}");
    assert_eq!(ebb.ok(["volume", "ls", "-q"]), "");
    let deep = format!(r#""config": {{"Cmd": ["sh"], "WorkingDir": "{}"}},"#, "/d".repeat(1 << 20));
    assert_eq!(load_with(&ebb, "deep", &deep, &layer).code, 0);
    assert!(ebb.fails(125, ["create", "deep"]).contains("longer than a path may be"));
}

#[test]
fn what_a_layers_headers_may_say_is_bounded() {
    let ebb = Ebb::empty();
    // Records of 6 bytes each, of which a header of 16 MiB would hold millions.
    let many = Tar::default().entry(b'x', "pax", "", "6 a=b\n".repeat(70_000).as_bytes()).file("f", "f").end();
    let global = Tar::default().entry(b'g', "pax", "", "6 a=b\n".repeat(11_000).as_bytes());
    let global = global.entry(b'g', "pax", "", b"6 a=b\n").file("f", "f").end();
    let size = "GNU.sparse.realsize=1000";
    let mut map = format!("{}\n", (1 << 22) + 1).into_bytes();
    map.resize(512, 0);
    let records = ["GNU.sparse.major=1", "GNU.sparse.minor=0", "GNU.sparse.name=new", size];
    let stretches = Tar::default().pax(&records).entry(b'0', "GNUSparseFile.0/new", "", &map).end();
    for (layer, wanted) in [
        (many, "has more records than any honest one"),
        (global, "global headers are longer than any honest ones"),
        (stretches, "the map of a sparse file in the archive is damaged"),
    ] {
        let said = load_with(&ebb, "hostile", "", &layer);
        assert!(said.code == 1 && said.stderr.contains(wanted), "{}", said.shown());
    }
    assert_eq!((ebb.ok(["images", "-q"]), ebb.leftovers()), (String::new(), Vec::new()));
}

#[test]
fn what_an_archive_may_hold_is_bounded() {
    let ebb = Ebb::empty();
    let layer = Tar::default().file("f", "f").end();
    let load = |mut members: Vec<(String, Vec<u8>)>, manifest: &[String], wanted: &str| {
        members.push(("manifest.json".into(), format!("[{}]", manifest.join(",")).into_bytes()));
        std::fs::write(ebb.dir.join("archive.tar"), archives::tar(&members)).expect("written");
        let said = bounded(&ebb, &["load", "-i", "archive.tar"]);
        assert!(said.code == 1 && said.stderr.contains(wanted), "{wanted}: {}", said.shown());
    };
    let entry = |config: usize, layers: usize| {
        let layers = vec!["\"layer\""; layers].join(",");
        format!(r#"{{"Config": "{config}", "RepoTags": null, "Layers": [{layers}]}}"#)
    };
    let configs = |count: usize, padding: usize| {
        let of = |number| format!(r#""padding": "{number}{}","#, " ".repeat(padding));
        let all = (0..count).map(|number| (number.to_string(), config(&of(number), &[&layer])));
        all.chain([("layer".to_owned(), layer.clone())]).collect::<Vec<_>>()
    };
    let named = |count: usize| (0..count).map(|number| entry(number, 1)).collect::<Vec<_>>();
    load(configs(1001, 0), &named(1001), "the archive has more than 1000 images");
    load(configs(22, 3 << 20), &named(22), "manifests and configurations are larger than any honest ones");
    load(configs(1, 0), &[entry(0, 501)], "overlayfs mounts at most 500");
    let high = [("0".to_owned(), config("", &[&layer[..]; 400])), ("layer".to_owned(), layer.clone())];
    load(high.to_vec(), &vec![entry(0, 400); 30], "have more than 10000 references");
    let mut deep = Vec::new();
    let mut below = r#"{"manifests": []}"#.to_owned();
    for _ in 0..6 {
        let hex = archives::digest(below.as_bytes());
        deep.push((format!("blobs/sha256/{hex}"), below.into_bytes()));
        below = format!(r#"{{"manifests": [{{"digest": "sha256:{hex}"}}]}}"#);
    }
    deep.push(("index.json".into(), below.into_bytes()));
    std::fs::write(ebb.dir.join("archive.tar"), archives::tar(&deep)).expect("written");
    let said = bounded(&ebb, &["load", "-i", "archive.tar"]);
    assert!(said.code == 1 && said.stderr.contains("indexes are nested too deep"), "{}", said.shown());
    let members = (0..100_001).map(|number| (number.to_string(), Vec::new())).collect();
    load(members, &[], "the archive has more members than any image");
    assert_eq!((ebb.ok(["images", "-q"]), ebb.leftovers()), (String::new(), Vec::new()));
}
