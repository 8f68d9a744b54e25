//! Images come in, are what they were, and go.

mod common;

use common::Ebb;
use common::hostile::Tar;
use std::io::Write;

/// A tar of (path, content) files, with a mode and owners that must survive.
fn layer(files: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o640);
        header.set_uid(7);
        header.set_gid(8);
        header.set_mtime(1_000_000_000);
        builder.append_data(&mut header, path, content.as_bytes()).expect("written");
    }
    builder.into_inner().expect("a tar")
}

fn digest(bytes: &[u8]) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("compressed");
    encoder.finish().expect("compressed")
}

fn archive(members: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        builder.append_data(&mut header, name, &bytes[..]).expect("written");
    }
    builder.into_inner().expect("a tar")
}

fn config(layers: &[&[u8]]) -> Vec<u8> {
    let diff_ids: Vec<String> = layers.iter().map(|layer| format!("sha256:{}", digest(layer))).collect();
    let architecture = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
    serde_json::to_vec(&serde_json::json!({
        "architecture": architecture, "os": "linux", "config": {"Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids}, "history": [],
    }))
    .expect("JSON")
}

/// A docker-save archive of before 2019: `HEX/layer.tar`, `CONFIG.json`.
fn legacy(name: &str, layers: &[&[u8]]) -> Vec<u8> {
    let config = config(layers);
    let config_name = format!("{}.json", digest(&config));
    let mut members: Vec<(String, Vec<u8>)> = Vec::new();
    let mut names = Vec::new();
    for (index, layer) in layers.iter().enumerate() {
        names.push(format!("layer{index}/layer.tar"));
        members.push((format!("layer{index}/layer.tar"), layer.to_vec()));
    }
    members.push((config_name.clone(), config));
    let manifest = serde_json::json!([{"Config": config_name, "RepoTags": [name], "Layers": names}]);
    members.push(("manifest.json".into(), serde_json::to_vec(&manifest).expect("JSON")));
    archive(&members)
}

/// An OCI layout with an index in an index, an image for another platform, and compressed layers.
fn layout(layers: &[&[u8]], compress: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let mut members: Vec<(String, Vec<u8>)> = Vec::new();
    let mut blob = |bytes: Vec<u8>| {
        let descriptor =
            serde_json::json!({"mediaType": "x", "digest": format!("sha256:{}", digest(&bytes)), "size": bytes.len()});
        members.push((format!("blobs/sha256/{}", digest(&bytes)), bytes));
        descriptor
    };
    let packed: Vec<_> = layers.iter().map(|layer| blob(compress(layer))).collect();
    let config = blob(config(layers));
    let manifest = serde_json::json!({"schemaVersion": 2, "config": config, "layers": packed});
    let mut own = blob(serde_json::to_vec(&manifest).expect("JSON"));
    let mut other = own.clone();
    own["platform"] = serde_json::json!({"os": "linux", "architecture": if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" }});
    other["platform"] = serde_json::json!({"os": "plan9", "architecture": "mips"});
    let inner = serde_json::json!({"schemaVersion": 2, "manifests": [other, own]});
    let mut inner = blob(serde_json::to_vec(&inner).expect("JSON"));
    inner["annotations"] = serde_json::json!({"io.containerd.image.name": "docker.io/library/laid:out"});
    let index = serde_json::json!({"schemaVersion": 2, "manifests": [inner]});
    members.push(("index.json".into(), serde_json::to_vec(&index).expect("JSON")));
    members.push(("oci-layout".into(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()));
    archive(&members)
}

fn load(ebb: &Ebb, bytes: &[u8]) -> common::Answer {
    ebb.run_with(bytes, ["load"])
}

#[test]
fn saved_images_load_again_with_the_same_ids_whatever_packs_them() {
    let ebb = Ebb::new();
    let id = ebb.ok(["images", "-q", "--no-trunc"]);
    ebb.ok(["save", "-o", "plain.tar", "busybox"]);
    let plain = std::fs::read(ebb.dir.join("plain.tar")).expect("saved");
    let zstd = zstd::encode_all(&plain[..], 1).expect("compressed");
    for (what, bytes) in [("plain", plain.clone()), ("gzip", gzip(&plain)), ("zstd", zstd)] {
        ebb.ok(["rmi", "busybox"]);
        let said = load(&ebb, &bytes);
        assert_eq!(said.stdout, "Loaded image: busybox:latest\n", "{what}: {}", said.shown());
        assert_eq!(ebb.ok(["images", "-q", "--no-trunc"]), id, "{what}");
        let again = ebb.command().args(["save", "busybox"]).output().expect("saved");
        assert!(again.stdout == plain, "{what}: save gives the same bytes");
    }
}

#[test]
fn old_archives_and_oci_layouts_are_read_and_their_layers_stack() {
    let ebb = Ebb::empty();
    let bottom = layer(&[("a/one", "1"), ("a/two", "2"), ("b/x", "x"), ("c/x", "x")]);
    let top = layer(&[
        ("a/.wh.one", ""),
        ("a/three", "3"),
        ("b/y", "y"),
        ("b/.wh..wh..opq", ""),
        ("c/.wh.x", ""),
        ("c/z", "z"),
    ]);
    for (name, bytes) in [
        ("old:1", legacy("old:1", &[&bottom, &top])),
        ("laid:out", layout(&[&bottom, &top], gzip)),
        ("laid:out", layout(&[&bottom, &top], |bytes| zstd::encode_all(bytes, 1).expect("compressed"))),
    ] {
        let said = load(&ebb, &bytes);
        assert_eq!(said.stdout, format!("Loaded image: {name}\n"), "{}", said.shown());
        ebb.ok(["create", "--name", "box", name]);
        ebb.ok(["export", "-o", "root.tar", "box"]);
        let mut archive = tar::Archive::new(std::fs::File::open(ebb.dir.join("root.tar")).expect("exported"));
        let mut files: Vec<String> = Vec::new();
        for entry in archive.entries().expect("a tar") {
            let entry = entry.expect("an entry");
            // The runtime makes places for /etc/hosts and its kin.
            if entry.header().entry_type().is_file() && !entry.path().expect("a path").starts_with("etc") {
                files.push(entry.path().expect("a path").display().to_string());
                assert_eq!(entry.header().mode().expect("a mode") & 0o7777, 0o640);
                assert_eq!(entry.header().mtime().expect("a time"), 1_000_000_000);
                let owner = (entry.header().uid().expect("a uid"), entry.header().gid().expect("a gid"));
                assert_eq!(owner, if common::has_one_id() { (0, 0) } else { (7, 8) });
            }
        }
        files.sort();
        assert_eq!(files, ["a/three", "a/two", "b/y", "c/z"], "whiteouts and opaque directories hide what is below");
        ebb.ok(["rm", "box"]);
        ebb.ok(["rmi", name]);
        assert_eq!(std::fs::read_dir(ebb.store().join("images/layers/sha256")).expect("layers").count(), 0);
    }
}

#[test]
fn what_is_damaged_is_refused_and_nothing_of_it_stays() {
    let ebb = Ebb::empty();
    let good = layer(&[("a", "content of a file that is long enough to be cut in the middle of it")]);
    let whole = legacy("cut:1", &[&good]);
    let mut wrong = whole.clone();
    // One bit of the file's content: the layer's digest is another.
    let place = wrong.windows(9).position(|window| window == b"content o").expect("the content");
    wrong[place] ^= 1;
    assert!(load(&ebb, &wrong).stderr.contains("digest"), "{}", load(&ebb, &wrong).shown());
    for cut in (0..whole.len()).step_by(512).chain([1, 100, 700]) {
        let said = load(&ebb, &whole[..cut]);
        // Without only the zeros at its end an archive is whole.
        if said.code == 0 {
            ebb.ok(["rmi", "cut:1"]);
            continue;
        }
        assert!(said.code == 1 && said.stderr.starts_with("ebb: "), "cut at {cut}: {}", said.shown());
    }
    let both = serde_json::json!({"schemaVersion": 2, "manifests": [], "config": {"digest": "sha256:0"}, "layers": []});
    let both = serde_json::to_vec(&both).expect("JSON");
    let index = serde_json::json!({"manifests": [{"digest": format!("sha256:{}", digest(&both))}]});
    let members = [
        (format!("blobs/sha256/{}", digest(&both)), both.clone()),
        ("index.json".to_owned(), serde_json::to_vec(&index).expect("JSON")),
    ];
    assert!(load(&ebb, &archive(&members)).stderr.contains("neither an image's nor an index"));
    assert!(load(&ebb, b"no tar at all").stderr.starts_with("ebb: "));
    assert_eq!(ebb.ok(["images", "-aq"]), "");
    assert_eq!(std::fs::read_dir(ebb.store().join("tmp")).expect("tmp/").count(), 0);
}

/// Which members are layers is said last; what looks like one is unpacked as it comes by.
#[test]
fn of_what_comes_through_a_pipe_only_the_layers_stay() {
    let ebb = Ebb::empty();
    let good = layer(&[("a", "1")]);
    let members = |extra: &[(&str, Vec<u8>)]| {
        let config = config(&[&good]);
        let manifest = serde_json::json!([{"Config": "config", "RepoTags": ["piped:1"], "Layers": ["layer"]}]);
        let named = extra.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.clone()));
        let manifest = serde_json::to_vec(&manifest).expect("JSON");
        let own = [("config".to_owned(), config), ("manifest.json".to_owned(), manifest)];
        named.chain(own).collect::<Vec<(String, Vec<u8>)>>()
    };
    let layers = || std::fs::read_dir(ebb.store().join("images/layers/sha256")).map_or(0, |layers| layers.count());
    let needless = layer(&[("b", "2")]);
    let hostile = Tar::default().file("../../../../f", "x").end();
    // A name that comes twice stands for what came last.
    let extra =
        [("layer", needless.clone()), ("other", needless), ("hostile", hostile.clone()), ("layer", good.clone())];
    for bytes in [archive(&members(&extra)), gzip(&archive(&members(&extra)))] {
        let said = load(&ebb, &bytes);
        assert_eq!(said.stdout, "Loaded image: piped:1\n", "{}", said.shown());
        assert_eq!((layers(), ebb.leftovers()), (1, Vec::new()));
        ebb.ok(["rmi", "piped:1"]);
    }
    let said = load(&ebb, &gzip(&archive(&members(&[("layer", hostile)]))));
    assert!(said.code == 1 && said.stderr.starts_with("ebb: load the layer layer: unpack "), "{}", said.shown());
    let said = load(&ebb, &gzip(&archive(&members(&[("layer", layer(&[("a", "2")]))]))));
    assert!(said.code == 1 && said.stderr.contains("but it should be sha256:"), "{}", said.shown());
    assert_eq!((layers(), ebb.leftovers()), (0, Vec::new()));
}

/// Of a member of eight gigabytes only a pax record says the size. What its header says leads into its contents.
#[test]
fn a_tar_in_a_layer_whose_header_has_no_size_is_not_taken_for_a_member() {
    let ebb = Ebb::empty();
    let inner = Tar::default().file("in", "no member of the archive").end();
    let inner = String::from_utf8(inner).expect("text");
    let layer = layer(&[("inner.tar", &inner)]);
    let manifest = r#"[{"Config": "config", "RepoTags": ["long:1"], "Layers": ["layer"]}]"#;
    let config = String::from_utf8(config(&[&layer])).expect("JSON");
    let mut tar = Tar::default().file("config", &config).file("manifest.json", manifest);
    tar = tar.pax(&[&format!("size={}", layer.len())]).entry(b'0', "layer", "", b"");
    tar.bytes.extend_from_slice(&layer);
    let said = load(&ebb, &tar.end());
    assert_eq!(said.stdout, "Loaded image: long:1\n", "{}", said.shown());
    ebb.ok(["create", "--name", "box", "long:1"]);
    ebb.ok(["cp", "box:/inner.tar", "inner.tar"]);
    assert_eq!(std::fs::read_to_string(ebb.dir.join("inner.tar")).expect("the file"), inner);
}

#[test]
fn tag_rmi_and_prune_say_what_they_did() {
    let ebb = Ebb::new();
    let id = ebb.ok(["images", "-q", "--no-trunc"]);
    ebb.ok(["tag", "busybox", "other:2"]);
    ebb.ok(["tag", &id[7..19], "docker.io/library/third"]);
    assert_eq!(ebb.ok(["rmi", "other:2"]), "Untagged: other:2");
    assert_eq!(ebb.ok(["images", "--format", "{{.Repository}}:{{.Tag}}"]), "busybox:latest\nthird:latest");
    ebb.ok(["rmi", "third"]);
    let user = ebb.ok(["create", "--name", "user1", "busybox", "true"]);
    let said = ebb.fails(1, ["rmi", "busybox"]);
    let wanted = format!(
        "ebb: conflict: unable to remove repository reference \"busybox\" (must force) - container {} is using its referenced image {}\n",
        &user[..12],
        &id[7..19]
    );
    assert_eq!(said, wanted);
    ebb.ok(["rmi", "-f", "busybox"]);
    ebb.ok(["start", "-a", "user1"]);
    ebb.ok(["rm", "user1"]);
    let pruned = ebb.ok(["image", "prune", "-f"]);
    assert!(pruned.contains(&format!("deleted: {id}")) && pruned.contains("Total reclaimed space:"), "{pruned}");
    assert_eq!(ebb.ok(["images", "-aq"]), "");
    assert_eq!(ebb.fails(1, ["rmi", "nope"]), "ebb: No such image: nope:latest\n");
    assert!(ebb.fails(1, ["tag", "nope", "x"]).contains("No such image: nope:latest"));
}

#[test]
fn a_reference_is_asked_for_by_a_shells_pattern_in_linear_time() {
    let ebb = Ebb::new();
    let long = "a".repeat(100);
    ebb.ok(["tag", "busybox", &long]);
    ebb.ok(["tag", "busybox", "team/tool:1.2"]);
    let named = |pattern: &str| {
        let filter = format!("reference={pattern}");
        ebb.ok(["images", "--filter", &filter, "--format", "{{.Repository}}:{{.Tag}}"]).replace('\n', " ")
    };
    assert_eq!(named("team/*"), "team/tool:1.2");
    assert_eq!(named("t*"), "", "a star does not cross a slash");
    assert_eq!(named("*/t[a-o]ol:1.?"), "team/tool:1.2");
    assert_eq!(named(&format!("{}z", "*a".repeat(40))), "");
    assert_eq!(named(&format!("{}*", "*a".repeat(40))), format!("{long}:latest"));
    assert!(ebb.fails(1, ["images", "--filter", "reference=[z-a]"]).contains("syntax error in pattern \"[z-a]\""));
}

#[test]
fn import_makes_an_image_of_a_root() {
    let ebb = Ebb::empty();
    let tar = layer(&[("etc/motd", "hello\n")]);
    std::fs::write(ebb.dir.join("r.tar.gz"), gzip(&tar)).expect("written");
    std::fs::write(ebb.dir.join("r.tar.zst"), zstd::encode_all(&tar[..], 1).expect("compressed")).expect("written");
    let id = ebb.ok(["import", "--change", "ENV A=1", "--change", "EXPOSE 80", "-m", "by hand", "r.tar.gz", "mine:1"]);
    assert!(id.starts_with("sha256:") && id.len() == 71, "{id}");
    let config =
        ebb.ok(["image", "inspect", "-f", "{{json .Config.Env}} {{json .Config.ExposedPorts}} {{.Comment}}", "mine:1"]);
    assert_eq!(config, "[\"A=1\"] {\"80/tcp\":{}} by hand");
    ebb.ok(["import", "r.tar.zst", "mine:2"]);
    let layers = |name: &str| ebb.ok(["image", "inspect", "-f", "{{json .RootFS.Layers}}", name]);
    assert_eq!(layers("mine:1"), layers("mine:2"), "one layer, however it came");
    assert!(ebb.fails(1, ["import", "--change", "FROM x", "r.tar.gz"]).contains("is not a valid change command"));
    assert!(ebb.fails(1, ["import", "r.tar.gz", "Bad Name"]).contains("invalid reference format"));
    assert_eq!(ebb.ok(["image", "ls", "-q"]).lines().count(), 2);
    let shown = ebb.run(["image", "inspect", "nope"]);
    assert_eq!(
        (shown.stdout.as_str(), shown.stderr.as_str()),
        ("[]\n", "ebb: no such image: nope: No such image: nope:latest\n")
    );
}

#[test]
fn two_loads_of_one_archive_at_once_both_succeed() {
    let ebb = Ebb::empty();
    let bytes = legacy("twice:1", &[&layer(&[("a", "1")])]);
    std::fs::write(ebb.dir.join("a.tar"), bytes).expect("written");
    let children: Vec<_> = (0..6).map(|_| ebb.spawn(["load", "-i", "a.tar"])).collect();
    for child in children {
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(ebb.ok(["images", "-q"]).lines().count(), 1);
}
