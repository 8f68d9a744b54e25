//! What a bundle says is done or refused: a word that builds a wall is never passed over in silence.

mod common;

use common::bundle::Bundle;
use common::{answer_to, is_root, skip};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// A cgroup path that no other test has.
fn own_path(bundle: &Bundle) -> String {
    format!("/ebb/{}", bundle.dir.file_name().unwrap().to_str().unwrap())
}

fn with_devices(rules: Value) -> Bundle {
    let mut bundle = Bundle::new(&["sleep", "20"]);
    bundle.config["linux"]["resources"] = json!({"devices": rules});
    bundle.config["linux"]["cgroupsPath"] = json!(own_path(&bundle));
    bundle
}

/// The directory of the devices controller, on a host that has one; cgroup v2 has a program, which its unit tests run.
fn devices_directory(bundle: &Bundle) -> Option<PathBuf> {
    let path = own_path(bundle);
    let all = ebb::oci::cgroup::directories(&path);
    all.into_iter().find(|(controllers, _)| controllers == "devices").map(|(_, directory)| directory)
}

#[test]
fn a_rule_for_devices_without_a_type_opens_only_what_it_names() {
    if !is_root() {
        return; // An ordinary user may make no rules, and has no right to any device that it could give away.
    }
    let bundle = with_devices(json!([{"allow": false}, {"allow": true, "major": 10, "minor": 229, "access": "rw"},
        {"allow": false, "type": "c", "major": 1, "minor": 5, "access": "w"}]));
    bundle.create("c1");
    let Some(directory) = devices_directory(&bundle) else { return };
    let list = std::fs::read_to_string(directory.join("devices.list")).unwrap();
    let lines: Vec<&str> = list.lines().collect();
    assert!(!list.contains('a'), "all devices are open:\n{list}");
    assert!(lines.contains(&"b 10:229 rw") && lines.contains(&"c 10:229 rw"), "{list}");
    assert!(lines.contains(&"c 1:3 rwm") && lines.contains(&"c 1:5 rm"), "a default device is denied in part:\n{list}");
}

#[test]
fn a_rule_for_devices_that_cannot_be_held_to_is_refused() {
    if !is_root() {
        return;
    }
    let denied = json!({"allow": false});
    let refused = |rules: Value, why: &str| {
        let bundle = with_devices(rules);
        let said = bundle.fails(1, &["run", "c1"]);
        assert!(said.contains(why), "{said}");
        assert_eq!(bundle.ok(&["list", "-q"]), "");
        assert!(!ebb::oci::cgroup::exists(&own_path(&bundle)), "its cgroup is left behind");
    };
    refused(json!([denied, {"allow": true, "type": "x"}]), "config.json");
    refused(json!([denied, {"allow": true, "type": "p"}]), "a FIFO is no device");
    refused(json!([denied, {"allow": true, "type": "c", "major": 4294967295u32}]), "no device has the major number");
    refused(json!([denied, {"allow": true, "type": "c", "major": 10, "minor": -7}]), "no device has the minor number");
    refused(json!([denied, {"allow": false, "type": "c", "major": 1, "access": "RW"}]), "is not made of the letters");
    if devices_directory(&with_devices(json!([]))).is_some() {
        let hole = json!([denied, {"allow": true, "type": "c", "major": 10},
            {"allow": false, "type": "c", "major": 10, "minor": 229, "access": "w"}]);
        refused(hole, "cgroup v1 cannot deny c 10:229 w where c 10:* rwm is allowed");
    }
}

#[test]
fn rules_for_devices_without_a_place_for_them_are_no_wall_for_who_may_make_devices() {
    if !is_root() {
        return;
    }
    let mut bundle = with_devices(json!([{"allow": false}]));
    let run = |bundle: &Bundle| {
        // The host without its devices controller, or without cgroups at all.
        let script = "umount /sys/fs/cgroup/devices || umount -l /sys/fs/cgroup; exec \"$@\"";
        let mut command = std::process::Command::new("unshare");
        command.args(["--mount", "sh", "-c", script, "sh"]).arg(bundle.oci().get_program());
        command.args(bundle.oci().get_args()).args(["run", "c1"]).current_dir(&bundle.dir);
        common::answer(&mut command)
    };
    bundle.config["process"]["args"] = json!(["true"]);
    assert_eq!(run(&bundle).code, 0);
    for set in ["bounding", "permitted", "effective"] {
        bundle.config["process"]["capabilities"][set] = json!(["CAP_MKNOD"]);
    }
    let answer = run(&bundle);
    assert_eq!(answer.code, 1, "{}", answer.shown());
    assert!(answer.stderr.contains("may make any (CAP_MKNOD), which this host cannot do"), "{}", answer.shown());
}

#[test]
fn update_changes_no_rules_for_devices_in_silence() {
    if let Err(why) = ebb::oci::cgroup::available() {
        return if is_root() {
            skip(&why)
        };
    }
    let rules = json!([{"allow": false, "access": "rwm"}]);
    let bundle = with_devices(rules.clone());
    bundle.create("c1");
    let update = |rules: &Value| {
        let resources = json!({"devices": rules, "pids": {"limit": 60}}).to_string();
        answer_to(bundle.oci().args(["update", "-r", "-", "c1"]), resources.as_bytes())
    };
    assert_eq!(update(&rules).code, 0, "containerd sends the old rules with new limits");
    let answer = update(&json!([{"allow": false, "type": "c", "major": 1, "minor": 3}]));
    assert_eq!(answer.code, 1, "{}", answer.shown());
    assert!(answer.stderr.contains("cannot be changed by update"), "{}", answer.shown());
}

#[test]
fn a_cgroup_path_climbs_nowhere_in_systemds_form_either() {
    if let Err(why) = ebb::oci::cgroup::available() {
        return if is_root() {
            skip(&why)
        };
    }
    for (bad, why) in [
        ("..::x", "must not contain"),
        ("x::..", "must not contain"),
        ("/ebb/../../x", "must not contain"),
        ("a:b:../../c", "must not contain"),
        ("/ebb/\u{0}", "must not contain"),
        ("/ebb/a\nb", "must not contain"),
        ("/", "cgroup path is empty"),
        ("", "cgroup path is empty"),
    ] {
        let mut bundle = Bundle::new(&["true"]);
        bundle.config["linux"]["cgroupsPath"] = json!(bad);
        let said = bundle.fails(1, &["run", "c1"]);
        assert!(said.contains(why), "{bad:?}: {said}");
        assert_eq!(bundle.ok(&["list", "-q"]), "");
    }
}

#[test]
fn a_process_that_has_left_the_cgroup_is_not_killed_with_it() {
    if !is_root() {
        return; // A tracer's child makes no user namespace with newuidmap.
    }
    if let Err(why) = ebb::oci::cgroup::available() {
        return skip(&why);
    }
    let bundle = with_devices(json!([]));
    bundle.create("c1");
    bundle.ok(&["start", "c1"]);
    let pid = bundle.state("c1")["pid"].to_string();
    let (root, path) = (bundle.root(), own_path(&bundle));
    let words = ["oci", "--root", root.to_str().unwrap(), "kill", "--all", "c1", "KILL"];
    let mut opened = 0;
    let ebb = common::Ebb::empty();
    // Its first handle is on the first process; the second on what it has read from the list.
    let answer = common::strace::stopped_after(&ebb, "pidfd_open", &words, &mut || {
        opened += 1;
        if opened == 2 {
            leave(&path, &pid);
        }
    });
    assert_eq!((answer.code, opened), (0, 2), "{}", answer.shown());
    assert_eq!(bundle.state("c1")["status"], "running", "what is in the cgroup no more was killed");
}

/// Moves a process out of its cgroup, in every tree.
fn leave(path: &str, pid: &str) {
    let trees = ebb::oci::cgroup::directories(path);
    let directories: Vec<PathBuf> = match trees.is_empty() {
        true => vec![PathBuf::from("/sys/fs/cgroup")],
        false => trees.into_iter().filter(|(_, here)| here.exists()).map(|(_, here)| above(&here)).collect(),
    };
    for directory in directories {
        std::fs::write(directory.join("cgroup.procs"), pid).expect("moved");
    }
}

/// The root of the tree, above /ebb/NAME.
fn above(directory: &Path) -> PathBuf {
    directory.ancestors().nth(2).expect("a tree").to_owned()
}

#[test]
fn a_time_namespace_has_the_clocks_that_the_bundle_gives_it_and_exec_sees_them_too() {
    let mut bundle = Bundle::new(&["sh", "-c", "cat /proc/uptime; exec sleep 20"]);
    bundle.config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "time"}));
    bundle.config["linux"]["timeOffsets"] =
        json!({"boottime": {"secs": 90_000_000, "nanosecs": 5}, "monotonic": {"secs": -1}});
    bundle.create("c1");
    bundle.ok(&["start", "c1"]);
    let uptime = |text: &str| text.split('.').next().unwrap().parse::<u64>().unwrap();
    assert!(uptime(&bundle.ok(&["exec", "c1", "cat", "/proc/uptime"])) >= 90_000_000);
    bundle.ok(&["kill", "c1", "KILL"]);
    assert!(uptime(&bundle.said()) >= 90_000_000, "{}", bundle.said());
}

#[test]
fn words_that_would_be_a_wall_and_are_not_done_are_refused() {
    let refused = |change: &dyn Fn(&mut Value), why: &str| {
        let mut bundle = Bundle::new(&["true"]);
        change(&mut bundle.config);
        let said = bundle.fails(1, &["run", "c1"]);
        assert!(said.contains(why), "{said}");
        assert_eq!(bundle.ok(&["list", "-q"]), "");
    };
    refused(&|config| config["process"]["apparmorProfile"] = json!("mine"), "ebb loads no AppArmor profiles");
    refused(&|config| config["process"]["selinuxLabel"] = json!("a:b:c"), "ebb loads no SELinux profiles");
    refused(&|config| config["linux"]["mountLabel"] = json!("a:b:c"), "ebb loads no SELinux profiles");
    refused(&|config| config["linux"]["intelRdt"] = json!({"closID": "x"}), "does not use Intel RDT");
    let network = json!({"network": {"classID": 7}});
    refused(&|config| config["linux"]["resources"] = network.clone(), "ebb does not mark packets");
    refused(&|config| config["linux"]["timeOffsets"] = json!({"boottime": {"secs": 1}}), "the bundle lists none");
    let ids = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
    let unmapped = |config: &mut Value| {
        config["linux"]["uidMappings"] = ids.clone();
        let list = config["linux"]["namespaces"].as_array_mut().unwrap();
        list.retain(|one| one["type"] != "user");
    };
    refused(&unmapped, "the bundle lists no user namespace");
    let twice = |config: &mut Value| {
        let list = config["linux"]["namespaces"].as_array_mut().unwrap();
        list.push(json!({"type": "network", "path": "/proc/self/ns/net"}));
    };
    refused(&twice, "two net namespaces");
    let errno = json!({"defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["sethostname"], "action": "SCMP_ACT_ERRNO", "errnoRet": 65536}]});
    refused(&|config| config["linux"]["seccomp"] = errno.clone(), "65536 is no errno");
}

#[test]
fn a_setting_of_the_kernels_that_is_the_hosts_is_refused() {
    let now = |name: &str| std::fs::read_to_string(Path::new("/proc/sys").join(name)).unwrap().trim().to_owned();
    // Each is given the value that it has: where it is written all the same, nothing changes.
    let refused = |name: &str, value: String, without: &str, why: &str| {
        let mut bundle = Bundle::new(&["true"]);
        bundle.config["linux"]["sysctl"] = json!({name: value});
        bundle.config["linux"]["namespaces"].as_array_mut().unwrap().retain(|one| one["type"] != without);
        let said = bundle.fails(1, &["run", "c1"]);
        assert!(said.contains(why), "{said}");
    };
    refused("kernel.core_pattern", now("kernel/core_pattern"), "", "is one for the whole host");
    refused("vm.swappiness", now("vm/swappiness"), "", "is one for the whole host");
    refused("net/../kernel/core_pattern", now("kernel/core_pattern"), "", "is not the name of a setting");
    refused("net.core.somaxconn", now("net/core/somaxconn"), "network", "no net namespace of its own");
    refused("kernel.shmmni", now("kernel/shmmni"), "ipc", "no ipc namespace of its own");
    let mut bundle = Bundle::new(&["cat", "/proc/sys/kernel/msgmni", "/proc/sys/net/ipv4/ip_unprivileged_port_start"]);
    bundle.config["linux"]["sysctl"] = json!({"kernel.msgmni": "77", "net.ipv4.ip_unprivileged_port_start": "88"});
    assert_eq!(bundle.ok(&["run", "c1"]), "77\n88");
}

#[test]
fn on_a_hybrid_host_a_container_has_a_place_of_its_own_in_the_tree_of_version_2_too() {
    let tree = Path::new("/sys/fs/cgroup/unified");
    if !is_root() || !tree.join("cgroup.procs").exists() {
        return; // An ordinary user has no cgroup on such a host, and on others there is one tree.
    }
    let bundle = with_devices(json!([]));
    bundle.create("c1");
    bundle.ok(&["start", "c1"]);
    let here = tree.join(own_path(&bundle).trim_start_matches('/'));
    let procs = || std::fs::read_to_string(here.join("cgroup.procs")).unwrap();
    assert_eq!(procs().trim(), bundle.state("c1")["pid"].to_string());
    assert!(bundle.ok(&["exec", "c1", "cat", "/proc/self/cgroup"]).lines().any(|line| line == "0::/"));
    bundle.ok(&["exec", "--detach", "c1", "sh", "-c", "exec sleep 20 >/dev/null 2>&1"]);
    assert_eq!(procs().lines().count(), 2, "who joins the container is elsewhere");
    bundle.ok(&["delete", "--force", "c1"]);
    assert!(!here.exists(), "it is left behind");
    // One that comes to nothing leaves nothing.
    let mut failing = with_devices(json!([]));
    failing.config["process"]["args"] = json!(["/no/such/program"]);
    assert_ne!(failing.run(&["run", "c1"]).code, 0);
    failing.config["mounts"] =
        json!([{"destination": "/x", "type": "bind", "source": "/no/such", "options": ["bind"]}]);
    assert_ne!(failing.run(&["run", "c1"]).code, 0);
    assert!(!tree.join(own_path(&failing).trim_start_matches('/')).exists());
    // Nor does a start that is killed before anything is written down of it, once the container is removed.
    let ebb = common::Ebb::new();
    ebb.ok(["create", "--name", "one", "busybox", "true"]);
    let left = tree.join("ebb").join(ebb.inspect("one", "{{.Id}}"));
    std::fs::create_dir_all(&left).unwrap();
    ebb.ok(["rm", "-f", "one"]);
    assert!(!left.exists(), "{} is left behind", left.display());
}
