//! An image's id means that image, whatever an archive or a person calls another one.

mod common;

use common::hostile::Tar;
use common::{Ebb, archives};
use serde_json::{Value, json};

/// A store with busybox, and the id of that.
fn with_id() -> (Ebb, String) {
    let ebb = Ebb::new();
    let id = ebb.ok(["images", "-q", "--no-trunc"]);
    (ebb, id.strip_prefix("sha256:").expect("an id").to_owned())
}

/// Another image: its configuration and its layer.
fn other() -> (Value, [Vec<u8>; 1]) {
    let layers = [Tar::default().file("stranger", "was here").end()];
    (archives::config(&layers, json!({"Cmd": ["/stranger"]})), layers)
}

/// An OCI layout of that, which containerd would know by this name; without a name, by its own id.
fn layout(name: Option<&str>) -> Vec<u8> {
    let (config, layers) = other();
    let mut members: Vec<(String, Vec<u8>)> = Vec::new();
    let mut blob = |bytes: Vec<u8>| {
        let digest = archives::digest(&bytes);
        members.push((format!("blobs/sha256/{digest}"), bytes));
        json!({"digest": format!("sha256:{digest}")})
    };
    let config = blob(config.to_string().into_bytes());
    let own = config["digest"].as_str().expect("text").to_owned();
    let manifest = json!({"config": config, "layers": [blob(layers[0].clone())]});
    let mut manifest = blob(manifest.to_string().into_bytes());
    manifest["annotations"] = json!({"io.containerd.image.name": name.unwrap_or(&own)});
    members.push(("index.json".into(), json!({"manifests": [manifest]}).to_string().into_bytes()));
    archives::tar(&members)
}

#[test]
fn no_archive_gives_an_image_the_id_of_another() {
    let (ebb, id) = with_id();
    let (config, layers) = other();
    let before = ebb.ok(["images", "-a", "--no-trunc"]);
    let said = "refusing to create an ambiguous tag using digest algorithm as name";
    let spelled = "cannot specify 64-byte hexadecimal strings";
    let full = format!("docker.io/library/sha256:{id}");
    let names = [format!("sha256:{id}"), full.clone(), "sha256:latest".into(), id.clone(), format!("{id}:latest")];
    for (name, said) in names.iter().zip([said, said, said, spelled, spelled]) {
        let answer = ebb.run_with(&archives::docker(&[name], &config, &layers), ["load"]);
        assert!(answer.code == 1 && answer.stderr.contains(said), "{}", answer.shown());
    }
    for name in [format!("sha256:{id}"), full] {
        let answer = ebb.run_with(&layout(Some(&name)), ["load"]);
        assert!(answer.code == 1 && answer.stderr.contains(said), "{}", answer.shown());
    }
    let digest = format!("busybox@sha256:{id}");
    let answer = ebb.run_with(&archives::docker(&[&digest], &config, &layers), ["load"]);
    assert!(answer.code == 1 && answer.stderr.contains("invalid tag"), "{}", answer.shown());
    assert_eq!(ebb.ok(["images", "-a", "--no-trunc"]), before, "nothing came in");
    assert_eq!(ebb.ok(["run", "--rm", &id, "echo", "busybox"]), "busybox");
}

#[test]
fn nobody_can_give_such_a_name_by_hand_either() {
    let (ebb, id) = with_id();
    std::fs::write(ebb.dir.join("root.tar"), &other().1[0]).expect("written");
    for name in [&format!("sha256:{id}"), &id, "sha256"] {
        ebb.fails(1, ["tag", "busybox", name]);
        ebb.fails(1, ["import", "root.tar", name]);
    }
    assert_eq!(ebb.ok(["images", "-aq"]).lines().count(), 1);
}

#[test]
fn what_containerd_knows_by_its_id_or_by_a_digest_comes_in_without_a_name() {
    let (ebb, id) = with_id();
    for name in [None, Some(format!("docker.io/library/busybox@sha256:{id}"))] {
        let answer = ebb.run_with(&layout(name.as_deref()), ["load"]);
        assert!(answer.code == 0 && answer.stdout.starts_with("Loaded image ID: sha256:"), "{}", answer.shown());
    }
    assert_eq!(ebb.inspect("busybox", "{{.Id}}"), format!("sha256:{id}"));
}

#[test]
fn an_id_as_a_list_shows_it_is_no_other_image_s_name() {
    let (ebb, id) = with_id();
    let (config, layers) = other();
    let short = &id[..12];
    let answer = ebb.run_with(&archives::docker(&[&format!("{short}:latest")], &config, &layers), ["load"]);
    assert_eq!(answer.code, 0, "{}", answer.shown());
    assert_eq!(ebb.inspect(short, "{{.Id}}"), format!("sha256:{id}"));
    // With its tag it can only be a name, and a name that is no image's id is found as ever.
    assert_ne!(ebb.inspect(&format!("{short}:latest"), "{{.Id}}"), format!("sha256:{id}"));
    ebb.ok(["tag", "busybox", "abcdefabcdef"]);
    assert_eq!(ebb.inspect("abcdefabcdef", "{{.Id}}"), format!("sha256:{id}"));
}

#[test]
fn a_name_like_an_id_that_a_store_holds_already_is_found_by_nobody_and_told_of() {
    let (ebb, id) = with_id();
    let (config, layers) = other();
    let answer = ebb.run_with(&archives::docker(&["other:1"], &config, &layers), ["load", "-q"]);
    assert_eq!(answer.code, 0, "{}", answer.shown());
    let other = ebb.inspect("other:1", "{{.Id}}");
    // As an earlier Ebb let it come in.
    let path = ebb.store().join("images/names.json");
    let mut names: Value = serde_json::from_slice(&std::fs::read(&path).expect("it")).expect("JSON");
    names["Names"][format!("sha256:{id}")] = json!(other);
    names["Names"][format!("{id}:latest")] = json!(other);
    std::fs::write(&path, names.to_string()).expect("written");
    for name in [&format!("sha256:{id}"), &id] {
        assert_eq!(ebb.inspect(name, "{{.Id}}"), format!("sha256:{id}"));
    }
    let found = ebb.run(["system", "check"]);
    let said = format!("sha256:{id}: the name of {other} is spelled like an id, and leads nowhere");
    assert!(found.code == 1 && found.stdout.contains(&said), "{}", found.shown());
    ebb.ok(["system", "check", "--repair"]);
    ebb.ok(["system", "check"]);
    assert_eq!(ebb.inspect("other:1", "{{.Id}}"), other);
    assert_eq!(ebb.inspect(&id, "{{.Id}}"), format!("sha256:{id}"));
}
