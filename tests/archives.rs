//! What is in an archive is what is in the image, and what `save` gives back.

mod common;

use common::hostile::Tar;
use common::{Ebb, archives};
use serde_json::json;
use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom, Write};
use std::process::{Command, Stdio};

/// What a container of the image sees: each path with a file's contents or a link's target; directories end in a slash.
fn tree(ebb: &Ebb, image: &str) -> BTreeMap<String, Vec<u8>> {
    let id = ebb.ok(["create", image, "x"]);
    let exported = ebb.command().args(["export", &id]).output().expect("exported").stdout;
    ebb.ok(["rm", &id]);
    let mut found = BTreeMap::new();
    let mut archive = tar::Archive::new(&exported[..]);
    for entry in archive.entries().expect("a tar") {
        let mut entry = entry.expect("whole");
        let path = entry.path().expect("a path").to_str().expect("UTF-8").to_owned();
        let mut contents = Vec::new();
        match entry.link_name_bytes() {
            Some(link) => contents.extend_from_slice(&link),
            None => drop(entry.read_to_end(&mut contents).expect("read")),
        }
        found.insert(path, contents);
    }
    found
}

/// What the tree has at these paths.
fn seen(ebb: &Ebb, image: &str, paths: &[&str]) -> Vec<String> {
    let tree = tree(ebb, image);
    let text = |path: &&str| tree.get(*path).map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    paths.iter().map(|path| text(path).unwrap_or_else(|| "nothing".into())).collect()
}

/// The bytes of the layer with this content, as `save` gives them.
fn saved(ebb: &Ebb, image: &str, layer: &[u8]) -> Option<Vec<u8>> {
    let answer = ebb.command().args(["save", image]).output().expect("saved");
    assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
    archives::member(&answer.stdout, &format!("blobs/sha256/{}", archives::digest(layer)))
}

#[test]
fn sparse_files_of_every_format_come_in_as_they_were_and_go_out_bit_by_bit() {
    let ebb = Ebb::empty();
    let source = ebb.dir.join("tree");
    std::fs::create_dir(&source).expect("a directory");
    std::fs::File::create(source.join("hole")).and_then(|file| file.set_len(1 << 20)).expect("a hole");
    // So many stretches that their map takes more than one block of the archive.
    let mut holes = std::fs::File::create(source.join("holes")).expect("a file");
    for number in 0..200u64 {
        holes.seek(SeekFrom::Start(number * 16384 + 8192)).expect("there");
        holes.write_all(format!("stretch {number}").as_bytes()).expect("written");
    }
    holes.set_len(4 << 20).expect("longer");
    std::fs::write(source.join("last"), "behind them").expect("written");
    let wanted = ["hole", "holes", "last"].map(|name| std::fs::read(source.join(name)).expect("it"));
    let posix = |version| ["--format=posix".to_owned(), format!("--sparse-version={version}")];
    for format in [vec!["--format=gnu".to_owned()], posix("0.0").into(), posix("0.1").into(), posix("1.0").into()] {
        let mut tar = Command::new("tar");
        tar.arg("-S").args(&format).args(["-C", "tree", "-c", "."]).current_dir(&ebb.dir);
        let layer = tar.output().expect("tar").stdout;
        assert!(layer.len() < 2 << 20, "{format:?}: it knows holes");
        let check = |name: &str| {
            ebb.ok(["create", "--name", "box", name, "x"]);
            for (path, wanted) in ["hole", "holes", "last"].iter().zip(&wanted) {
                ebb.ok(["cp", &format!("box:/{path}"), "out"]);
                let found = std::fs::read(ebb.dir.join("out")).expect("copied");
                assert!(&found == wanted, "{format:?}: {path} of {name}");
            }
            ebb.ok(["rm", "box"]);
            assert!(saved(&ebb, name, &layer).as_ref() == Some(&layer), "{format:?}: {name} is saved");
            ebb.ok(["rmi", name]);
        };
        ebb.run_with(&layer, ["import", "-", "imported"]);
        check("imported:latest");
        let layers = [layer.clone()];
        let archive = archives::docker(&["loaded:1"], &archives::config(&layers, json!({})), &layers);
        ebb.run_with(&archive, ["load"]);
        check("loaded:1");
        std::fs::write(ebb.dir.join("archive.tar"), &archive).expect("written");
        ebb.ok(["load", "-i", "archive.tar"]);
        check("loaded:1");
    }
}

/// What a program makes of bytes on its stdin.
fn through(program: &str, bytes: &[u8]) -> Vec<u8> {
    let words: Vec<&str> = program.split(' ').collect();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{program}: {error}"));
    let mut stdin = child.stdin.take().expect("a pipe");
    let bytes = bytes.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(&bytes).expect("written"));
    let packed = child.wait_with_output().expect("it ends");
    writer.join().expect("written");
    assert!(packed.status.success(), "{program}");
    packed.stdout
}

#[test]
fn what_packs_an_archive_is_told_by_its_first_bytes_everywhere() {
    let ebb = Ebb::new();
    ebb.ok(["create", "--name", "box", "-v", "vol:/data", "busybox", "true"]);
    let content = "abcdefgh".repeat(20_000);
    let layer = Tar::default().file("packed", &content).end();
    let layers = [layer.clone()];
    let image = archives::docker(&["loaded:1"], &archives::config(&layers, json!({})), &layers);
    let skippable = [&[0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"any"].concat();
    // In two parts, one behind the other, as all of these programs allow.
    let twice = |program: &str, bytes: &[u8]| {
        let (one, two) = bytes.split_at(bytes.len() / 2);
        [through(program, one), through(program, two)].concat()
    };
    type Pack<'a> = &'a dyn Fn(&[u8]) -> Vec<u8>;
    let ways: [(&str, Pack); 7] = [
        ("gzip", &|bytes| twice("gzip -c", bytes)),
        ("xz", &|bytes| twice("xz -0 -c", bytes)),
        ("xz, with a filter", &|bytes| through("xz -c --check=sha256 --x86 --lzma2=preset=1", bytes)),
        ("bzip2", &|bytes| twice("bzip2 -c", bytes)),
        ("zstd", &|bytes| twice("zstd -c", bytes)),
        ("pzstd", &|bytes| through("pzstd -c -1 -p 2", bytes)),
        ("a frame to be skipped", &|bytes| [skippable.clone(), through("zstd -c", bytes), skippable.clone()].concat()),
    ];
    for (what, pack) in ways {
        let (layer, image) = (pack(&layer), pack(&image));
        std::fs::write(ebb.dir.join("layer"), &layer).expect("written");
        std::fs::write(ebb.dir.join("image"), &image).expect("written");
        let with = |input: &[u8], args: &[&str]| {
            let answer = ebb.run_with(input, args);
            assert_eq!(answer.code, 0, "{what}: {}", answer.shown());
        };
        let check = |name: &str| {
            assert!(tree(&ebb, name).get("packed").map(Vec::as_slice) == Some(content.as_bytes()), "{what}: {name}");
            ebb.ok(["rmi", name]);
        };
        ebb.ok(["import", "layer", "imported"]);
        check("imported");
        with(&layer, &["import", "-", "imported"]);
        check("imported");
        ebb.ok(["load", "-i", "image"]);
        check("loaded:1");
        with(&image, &["load"]);
        check("loaded:1");
        with(&layer, &["cp", "-", "box:/"]);
        ebb.ok(["cp", "box:/packed", "out"]);
        assert!(std::fs::read(ebb.dir.join("out")).expect("it") == content.as_bytes(), "{what}: cp");
        ebb.ok(["volume", "import", "vol", "layer"]);
        with(&layer, &["volume", "import", "vol"]);
        ebb.ok(["cp", "box:/data/packed", "out"]);
        assert!(std::fs::read(ebb.dir.join("out")).expect("it") == content.as_bytes(), "{what}: volume import");
    }
    // Of what cannot be read the cure is told, by every command.
    let unknown = [&b"\x04\x22\x4d\x18"[..], &[0; 2000]].concat();
    std::fs::write(ebb.dir.join("unknown"), &unknown).expect("written");
    for args in [&["import", "unknown", "x"][..], &["load", "-i", "unknown"], &["load"], &["cp", "-", "box:/"]] {
        let answer = ebb.run_with(&unknown, args);
        assert!(answer.code == 1 && answer.stderr.contains("lz4 -dc FILE"), "{}", answer.shown());
    }
}

/// `xz --lzma2=dict=1GiB` says so in its header; what is packed are seven bytes.
#[test]
fn xz_that_asks_for_more_memory_than_any_honest_one_is_refused() {
    let ebb = Ebb::empty();
    let packed = through("xz -c --lzma2=dict=1GiB", b"nothing");
    let answer = ebb.run_with(&packed, ["import", "-", "x"]);
    assert!(answer.code == 1 && answer.stderr.contains("takes more than 256 MiB of memory"), "{}", answer.shown());
}

#[test]
fn a_layer_that_has_a_path_twice_is_saved_bit_by_bit() {
    let ebb = Ebb::empty();
    let file = |tar: Tar, name: &str, content: &str| tar.file(name, content);
    let entry = |tar: Tar, kind: u8, name: &str, link: &str| tar.entry(kind, name, link, b"");
    let one = || file(Tar::default(), "a", "first");
    let within = || file(entry(Tar::default(), b'5', "d", ""), "d/a", "within");
    // By way of a link, which then leads elsewhere.
    let led = |to: &str| entry(entry(file(within(), "e/a", "other"), b'2', "l", "d"), b'2', "x", to);
    let cases: Vec<(&str, Tar, &[&str], &[&str])> = vec![
        ("a file", file(one(), "a", "second!"), &["a"], &["second!"]),
        ("three times", file(file(one(), "a", "2"), "a", "third"), &["a"], &["third"]),
        ("a directory", file(entry(one(), b'5', "a", ""), "a/b", "below"), &["a/b"], &["below"]),
        ("a link", entry(one(), b'2', "a", "b"), &["a"], &["b"]),
        ("a FIFO", entry(one(), b'6', "a", ""), &["a"], &[""]),
        ("a hard link", entry(file(one(), "b", "of b"), b'1', "a", "b"), &["a"], &["of b"]),
        ("its target", file(entry(one(), b'1', "b", "a"), "a", "new"), &["a", "b"], &["new", "first"]),
        ("a tree", file(within(), "d", "a file"), &["d", "d/a"], &["a file", "nothing"]),
        ("a tree by a link of it", entry(within(), b'1', "d", "d/a"), &["d"], &["within"]),
        (
            "a link to a directory",
            file(entry(file(led("e"), "l/b", "by l"), b'2', "l", "e"), "l/b", "by e"),
            &["d/b", "e/b", "l"],
            &["by l", "by e", "e"],
        ),
        (
            "what a link leads to",
            file(file(file(led("e"), "l/b", "by l"), "d", "a file"), "x/b", "by x"),
            &["d", "e/b"],
            &["a file", "by x"],
        ),
        ("a file, and its directory", file(file(file(within(), "d/a", "2"), "d/a", "3"), "d", "4"), &["d"], &["4"]),
    ];
    for (what, tar, paths, wanted) in cases {
        let layer = tar.end();
        let answer = ebb.run_with(&layer, ["import", "-", "twice"]);
        assert_eq!(answer.code, 0, "{what}: {}", answer.shown());
        assert_eq!(seen(&ebb, "twice", paths), wanted, "{what}");
        assert!(saved(&ebb, "twice", &layer).as_ref() == Some(&layer), "{what}");
        let moved = ebb.command().args(["save", "twice"]).output().expect("saved").stdout;
        ebb.ok(["rmi", "twice"]);
        // What was set aside goes with its layer.
        assert_eq!(ebb.ok(["system", "check"]), "0 containers, 0 volumes, 0 images: sound", "{what}");
        let answer = ebb.run_with(&moved, ["load", "-q"]);
        assert_eq!(answer.code, 0, "{what}: {}", answer.shown());
        assert_eq!(seen(&ebb, "twice", paths), wanted, "{what}: loaded again");
        ebb.ok(["rmi", "twice"]);
    }
}

#[test]
fn a_directory_that_a_layer_has_twice_is_as_its_last_entry_says() {
    let ebb = Ebb::empty();
    let directory = |tar: Tar, time: &str| tar.pax(&[&format!("mtime={time}")]).entry(b'5', "d", "", b"");
    let layer = directory(directory(Tar::default(), "1000").file("d/f", "f"), "2000").end();
    let answer = ebb.run_with(&layer, ["import", "-", "twice"]);
    assert_eq!(answer.code, 0, "{}", answer.shown());
    let id = ebb.ok(["create", "twice", "x"]);
    let exported = ebb.command().args(["export", &id]).output().expect("exported").stdout;
    let mut archive = tar::Archive::new(&exported[..]);
    let mut entries = archive.entries().expect("a tar").map(|entry| entry.expect("whole"));
    let found = entries.find(|entry| entry.path().is_ok_and(|path| path.to_str() == Some("d/"))).expect("it");
    assert_eq!(found.header().mtime().ok(), Some(2000));
}

/// As `tar` packs a directory in which a blob has a second name, and that comes first.
#[test]
fn a_blob_may_be_a_hard_link_to_another_member() {
    let layer = Tar::default().file("linked", "to").end();
    let config = archives::config(std::slice::from_ref(&layer), json!({})).to_string().into_bytes();
    let blob = |bytes: &[u8]| format!("blobs/sha256/{}", archives::digest(bytes));
    let manifest = json!([{"Config": blob(&config), "RepoTags": ["linked:1"], "Layers": [blob(&layer)]}]).to_string();
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    for (name, bytes) in [("./one", &layer[..]), ("two", &config), ("manifest.json", manifest.as_bytes())] {
        header.set_size(bytes.len() as u64);
        builder.append_data(&mut header, name, bytes).expect("written");
    }
    header.set_size(0);
    header.set_entry_type(tar::EntryType::Link);
    builder.append_link(&mut header, blob(&layer), "./one").expect("written");
    builder.append_link(&mut header, blob(&config), "two").expect("written");
    let archive = builder.into_inner().expect("a tar");
    for by_file in [true, false] {
        let ebb = Ebb::empty();
        std::fs::write(ebb.dir.join("archive.tar"), &archive).expect("written");
        let answer = if by_file { ebb.run(["load", "-i", "archive.tar"]) } else { ebb.run_with(&archive, ["load"]) };
        assert_eq!(answer.stdout, "Loaded image: linked:1\n", "{}", answer.shown());
        assert_eq!(seen(&ebb, "linked:1", &["linked"]), ["to"]);
    }
}

/// Go reads null as nothing, and one text as a command of one word.
#[test]
fn a_configuration_is_read_as_go_reads_it() {
    let ebb = Ebb::empty();
    let layers = [Tar::default().file("f", "f").end()];
    let nothing = json!({"User": null, "WorkingDir": null, "StopSignal": null, "Cmd": null, "Env": [null, "A=1"],
        "Healthcheck": {"Test": null, "Interval": null, "Timeout": null, "StartPeriod": null, "Retries": null},
        "Labels": {"a": null}, "Volumes": null, "Entrypoint": "/one word"});
    let mut config = archives::config(&layers, nothing);
    for key in ["author", "created", "architecture", "os"] {
        config[key] = json!(null);
    }
    config["history"] = json!([{"created": null, "created_by": null, "comment": null, "empty_layer": null}]);
    let answer = ebb.run_with(&archives::docker(&["null:1"], &config, &layers), ["load"]);
    assert_eq!(answer.code, 0, "{}", answer.shown());
    assert_eq!(ebb.inspect("null:1", "{{json .Config.Entrypoint}} {{json .Config.Cmd}}"), "[\"/one word\"] null");
    ebb.ok(["create", "null:1"]);
    ebb.ok(["history", "null:1"]);
    config["os"] = json!("windows");
    let answer = ebb.run_with(&archives::docker(&["win:1"], &config, &layers), ["load"]);
    assert!(answer.code == 1 && answer.stderr.contains("cannot load windows image on linux"), "{}", answer.shown());
}

/// A build server's image; it takes a third of a second.
#[test]
fn twenty_thousand_names_come_in() {
    let ebb = Ebb::empty();
    let layers = [Tar::default().file("f", "f").end()];
    let config = archives::config(&layers, json!({}));
    let names: Vec<String> = (0..20_000).map(|number| format!("many:{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let answer = ebb.run_with(&archives::docker(&names, &config, &layers), ["load"]);
    assert_eq!((answer.code, answer.stdout.lines().count()), (0, 20_000));
    assert_eq!(ebb.inspect("many:19999", "{{len .RepoTags}}"), "20000");
}

#[test]
fn an_image_for_another_machine_is_warned_of_and_one_that_this_one_runs_is_not() {
    let ebb = Ebb::empty();
    let layers = [Tar::default().file("f", "f").end()];
    let (older, here) = if cfg!(target_arch = "x86_64") { ("386", "amd64") } else { ("arm", "arm64") };
    for (architecture, warned) in [("s390x", true), (older, false), (here, false), ("", false)] {
        let mut config = archives::config(&layers, json!({"Cmd": ["/f"]}));
        config["architecture"] = json!(architecture);
        let answer = ebb.run_with(&archives::docker(&["other:1"], &config, &layers), ["load"]);
        assert!(answer.code == 0 && answer.stderr.is_empty(), "{}", answer.shown());
        let answer = ebb.run(["create", "other:1"]);
        let said = format!(
            "WARNING: The requested image's platform (linux/s390x) does not match the detected host platform (linux/{here}) \
             and no specific platform was requested\n"
        );
        assert_eq!((answer.code, answer.stderr.contains(&said)), (0, warned), "{}", answer.shown());
    }
}
