//! `ebb oci` is a runtime that other engines drive: what podman, docker and containerd ask of it, they get.

mod common;

use common::answer;
use common::bundle::Bundle;
use serde_json::json;
use std::process::Command;

/// Rootless podman is root in a user namespace, where the host's /run belongs to nobody that it knows.
#[test]
fn root_of_a_user_namespace_has_its_containers_where_the_user_may_write() {
    let mut bundle = Bundle::new(&["echo", "from within"]);
    let process_and_root = [bundle.config["process"].clone(), bundle.config["root"].clone()];
    bundle.config = ebb::oci::features::example(true);
    [bundle.config["process"], bundle.config["root"]] = process_and_root;
    for map in ["uidMappings", "gidMappings"] {
        bundle.config["linux"][map] = json!([{"containerID": 0, "hostID": 0, "size": 1}]);
    }
    bundle.oci(); // Writes config.json.
    let runtime_dir = bundle.dir.join("runtime");
    std::fs::create_dir(&runtime_dir).expect("a directory");
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", env!("CARGO_BIN_EXE_ebb"), "oci", "run", "--keep", "c1"]);
    let said = answer(command.env("XDG_RUNTIME_DIR", &runtime_dir).current_dir(&bundle.dir));
    assert_eq!(said.stdout, "from within\n", "{}", said.shown());
    assert!(runtime_dir.join("ebb-oci/c1/state.json").is_file(), "kept where the user's own state is");
}

#[test]
fn exec_passes_on_the_descriptors_that_it_was_asked_to_pass_and_no_other() {
    let bundle = Bundle::new(&["sleep", "1000"]);
    bundle.create("c1");
    bundle.ok(&["start", "c1"]);
    let script = r#"printf three > f3; printf four > f4; exec 3<f3 4<f4; "$0" oci --root "$1" exec "$@""#;
    let exec = |words: &[&str]| {
        let mut command = Command::new("sh");
        let script = script.replace(r#""$@""#, &words.join(" "));
        command.args(["-c", &script, env!("CARGO_BIN_EXE_ebb")]).arg(bundle.root()).current_dir(&bundle.dir);
        answer(&mut command)
    };
    let both = exec(&["--preserve-fds 2 c1 sh -c 'cat <&3; cat <&4'"]);
    assert_eq!((both.stdout.as_str(), both.code), ("threefour", 0), "{}", both.shown());
    let one = exec(&["--preserve-fds 1 c1 sh -c 'cat <&3; cat <&4'"]);
    assert!(one.stdout == "three" && one.code != 0, "{}", one.shown());
    let none = exec(&["c1 sh -c 'cat <&3'"]);
    assert!(none.stdout.is_empty() && none.code != 0, "{}", none.shown());
    let missing = exec(&["--preserve-fds 3 c1 true"]);
    assert!(missing.code == 255 && missing.stderr.contains("5 is not open"), "{}", missing.shown());
}

#[test]
fn exec_joins_a_cgroup_below_the_containers_own() {
    let mut bundle = Bundle::new(&["sleep", "1000"]);
    bundle.config["linux"]["cgroupsPath"] = json!(format!("/ebb/below-{}", std::process::id()));
    let wrong = |bundle: &Bundle, word: &[&str]| bundle.fails(255, &[&["exec"], word, &["c1", "true"]].concat());
    bundle.create("c1");
    bundle.ok(&["start", "c1"]);
    assert!(wrong(&bundle, &["--cgroup", "a:b:c"]).contains("invalid --cgroup argument: a:b:c"));
    assert!(wrong(&bundle, &["--cgroup", "a", "--cgroup", "b"]).contains("missing <controller>: prefix"));
    assert!(wrong(&bundle, &["--cgroup", ":b"]).contains("empty <controller> prefix"));
    assert!(
        wrong(&bundle, &["--cgroup", "a,b:x", "--cgroup", "b:y"]).contains("controller b specified multiple times")
    );
    if let Err(why) = ebb::oci::cgroup::available() {
        assert!(wrong(&bundle, &["--cgroup", "sub"]).contains("the container has no cgroup"), "{why}");
        return;
    }
    let record = std::fs::read(bundle.root().join("c1/state.json")).expect("the record");
    let own =
        serde_json::from_slice::<serde_json::Value>(&record).expect("JSON")["cgroup"].as_str().unwrap().to_owned();
    assert!(wrong(&bundle, &["--cgroup", "sub"]).contains("no such file"), "it is not made");
    assert!(wrong(&bundle, &["--cgroup", "../.."]).contains("must not contain"));
    let directories = ebb::oci::cgroup::directories(&own);
    let where_it_is = |words: &[&str]| bundle.ok(&[&["exec"], words, &["c1", "cat", "/proc/self/cgroup"]].concat());
    if directories.is_empty() {
        let here = std::path::Path::new("/sys/fs/cgroup").join(own.trim_start_matches('/')).join("sub");
        std::fs::create_dir(&here).expect("a cgroup below it");
        assert!(where_it_is(&["--cgroup", "sub"]).contains("/sub"));
        return;
    }
    for (_, directory) in directories.iter().filter(|(_, directory)| directory.exists()) {
        std::fs::create_dir(directory.join("sub")).expect("a cgroup below it");
    }
    let everywhere = where_it_is(&["--cgroup", "sub"]);
    assert!(everywhere.lines().filter(|line| line.ends_with("/sub")).count() > 3, "{everywhere}");
    let some = where_it_is(&["--cgroup", "pids,memory:sub"]);
    assert_eq!(some.lines().filter(|line| line.ends_with("/sub")).count(), 2, "{some}");
    assert!(wrong(&bundle, &["--cgroup", "nosuch:sub"]).contains("no cgroup of a controller \"nosuch\""));
}

/// `podman run --systemd=always`, on cgroup v1: the tree of systemd is bound into the mount of the container's own cgroups.
#[test]
fn a_bundle_may_mount_more_inside_the_mount_of_its_cgroups() {
    let script = "grep -c ' /sys/fs/cgroup/systemd ' /proc/self/mountinfo; mkdir /sys/fs/cgroup/x 2>&1 || true";
    let mut bundle = Bundle::new(&["sh", "-c", script]);
    let mounts = bundle.config["mounts"].as_array_mut().expect("mounts");
    mounts.retain(|mount| !mount["destination"].as_str().expect("a path").starts_with("/sys/fs/cgroup"));
    mounts.push(json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro"]}));
    mounts.push(json!({"destination": "/sys/fs/cgroup/systemd", "type": "tmpfs", "source": "tmpfs"}));
    if std::fs::metadata("/sys/fs/cgroup/cgroup.procs").is_ok() {
        return; // Cgroup v2 is one tree, in which nothing can be mounted.
    }
    let said = bundle.ok(&["run", "c1"]);
    assert!(said.starts_with("1\n") && said.contains("Read-only file system"), "{said}");
}
