//! The properties of a bundle beside its walls: each is applied, as runc applies it, or refused with a sentence.

mod common;

use common::bundle::Bundle;
use common::is_root;
use serde_json::json;
use std::os::unix::fs::symlink;

/// CVE-2019-19921: what is masked and guarded at /proc would be something else.
#[test]
fn what_the_kernel_shows_of_itself_goes_on_no_symlink_of_the_root() {
    for (link, kind) in [("proc", "proc"), ("sys", "sysfs")] {
        let mut bundle = Bundle::new(&["true"]);
        let root = bundle.dir.join("root");
        std::fs::create_dir_all(root.join("elsewhere")).unwrap();
        symlink("/elsewhere", root.join(link)).unwrap();
        bundle.config["root"] = json!({"path": root});
        let said = bundle.fails(1, &["run", "c1"]);
        assert!(said.contains(&format!("filesystem \"{kind}\" must be mounted on ordinary directory")), "{said}");
        assert_eq!(bundle.ok(&["list", "-q"]), "");
        // Whatever it is that is bound there.
        let mounts = json!([{"destination": format!("/{link}"), "type": "bind", "source": format!("/{link}"), "options": ["rbind"]}]);
        bundle.config["mounts"] = mounts;
        let said = bundle.fails(1, &["run", "c1"]);
        assert!(said.contains("must be mounted on ordinary directory"), "{said}");
    }
}

/// What is left to do after the filter, if it is not loaded by no_new_privs, is what takes the right to load it away.
#[test]
fn a_filter_without_no_new_privs_need_not_know_the_calls_that_come_before_the_program() {
    let killed = json!([
        "accept4",
        "chdir",
        "close_range",
        "faccessat2",
        "fchdir",
        "getcwd",
        "getdents64",
        "openat2",
        "recvmsg",
        "sendmsg",
        "setgroups",
        "setresgid",
        "setresuid",
        "setsid",
        "socket",
        "statx",
        "umask"
    ]);
    for user in [0, 1000] {
        let mut bundle = Bundle::new(&["/bin/cat", "/proc/self/status"]);
        bundle.config["process"]["noNewPrivileges"] = json!(false);
        bundle.config["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": killed, "action": "SCMP_ACT_KILL_PROCESS"}]});
        if !is_root() && user != 0 {
            continue; // One id is mapped.
        }
        bundle.config["process"]["user"] = json!({"uid": user, "gid": user});
        // What the bundle says of capabilities is what the program has: not the right by which the filter came.
        bundle.config["process"]["capabilities"] = json!({"bounding": ["CAP_KILL"], "effective": ["CAP_KILL"],
            "permitted": ["CAP_KILL"], "inheritable": ["CAP_KILL"], "ambient": ["CAP_KILL"]});
        let said = bundle.ok(&["run", "c1"]);
        let kill = format!("{:016x}", 1 << 5);
        for wanted in [
            format!("Uid:\t{user}\t"),
            format!("CapPrm:\t{kill}"),
            format!("CapEff:\t{kill}"),
            "Seccomp:\t2".into(),
            "NoNewPrivs:\t0".into(),
        ] {
            assert!(said.contains(&wanted), "{wanted:?} of {user}: {said}");
        }
        // Where nothing is said of them, they are what the kernel leaves.
        bundle.config["process"]["capabilities"] = json!(null);
        let said = bundle.ok(&["run", "c1"]);
        assert!(said.contains("Seccomp:\t2"), "{said}");
        let none = "CapEff:\t0000000000000000";
        assert_eq!(said.contains(none), user != 0, "{said}");
        bundle.config["process"]["args"] = json!(["/bin/sleep", "1000"]);
        bundle.create("c2");
        bundle.ok(&["start", "c2"]);
        if !is_root() {
            // Without a user namespace between, who enters is born with no right at all, and the filter is there already.
            assert_eq!(bundle.ok(&["exec", "c2", "/bin/echo", "entered"]), "entered");
        }
    }
}

/// The container's first process, and one that `exec` adds.
fn in_both(bundle: &mut Bundle, command: &[&str]) -> [String; 2] {
    bundle.config["process"]["args"] = json!(command);
    let first = bundle.ok(&["run", "c1"]);
    bundle.config["process"]["args"] = json!(["sleep", "1000"]);
    bundle.create("c2");
    bundle.ok(&["start", "c2"]);
    let file = bundle.dir.join("process.json");
    bundle.config["process"]["args"] = json!(command);
    std::fs::write(&file, bundle.config["process"].to_string()).unwrap();
    let entered = bundle.ok(&["exec", "--process", file.to_str().unwrap(), "c2"]);
    bundle.ok(&["delete", "--force", "c2"]);
    [first, entered]
}

#[test]
fn a_bundle_gives_its_processes_their_share_of_the_machine() {
    let mut bundle = Bundle::new(&["true"]);
    bundle.config["process"]["ioPriority"] = json!({"class": "IOPRIO_CLASS_IDLE", "priority": 0});
    bundle.config["process"]["scheduler"] = json!({"policy": "SCHED_BATCH", "nice": 7});
    // A kernel may be built without NUMA.
    let has_nodes = std::path::Path::new("/proc/self/numa_maps").exists();
    if has_nodes {
        let policy = json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]});
        bundle.config["linux"]["memoryPolicy"] = policy;
    }
    // Fields 19 and 41 of stat(5): the nice value, and the policy (SCHED_BATCH is 3).
    let script = "cut -d' ' -f19,41 /proc/self/stat; ionice; head -1 /proc/self/numa_maps | cut -d' ' -f2";
    let wanted = match has_nodes {
        true => "7 3\nidle: prio 0\nbind=static:0",
        false => "7 3\nidle: prio 0",
    };
    let said = in_both(&mut bundle, &["sh", "-c", &format!("{script} 2>/dev/null; true")]);
    assert_eq!(said.map(|said| said.replace("idle\n", "idle: prio 0\n")), [wanted, wanted]);
}

#[test]
#[cfg(target_arch = "x86_64")]
fn a_bundle_says_which_kernel_its_processes_are_told_of() {
    let mut bundle = Bundle::new(&["true"]);
    bundle.config["linux"]["personality"] = json!({"domain": "LINUX32"});
    assert_eq!(in_both(&mut bundle, &["uname", "-m"]), ["i686", "i686"]);
    bundle.config["linux"]["personality"] = json!({"domain": "LINUX"});
    assert_eq!(in_both(&mut bundle, &["uname", "-m"]), ["x86_64", "x86_64"]);
}

#[test]
fn a_share_that_there_is_not_is_refused_and_leaves_nothing() {
    for (place, value, wanted) in [
        ("/process/scheduler", json!({"policy": "SCHED_OTHER", "nice": 20}), "a nice value is from -20 to 19"),
        (
            "/process/scheduler",
            json!({"policy": "SCHED_BATCH", "priority": 1}),
            "a priority is for SCHED_FIFO and SCHED_RR",
        ),
        ("/process/scheduler", json!({"policy": "SCHED_OTHER", "runtime": 1}), "are for SCHED_DEADLINE"),
        ("/process/scheduler", json!({"policy": "SCHED_BEST"}), "unknown variant"),
        ("/process/ioPriority", json!({"class": "IOPRIO_CLASS_BE", "priority": 8}), "a priority is from 0 to 7"),
        ("/linux/personality", json!({"domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"]}), "there is no flag"),
        ("/linux/memoryPolicy", json!({"mode": "MPOL_BIND"}), "needs nodes"),
        ("/linux/memoryPolicy", json!({"mode": "MPOL_LOCAL", "nodes": "0"}), "takes no nodes"),
        ("/linux/memoryPolicy", json!({"mode": "MPOL_BIND", "nodes": "3-1"}), "is no list of nodes"),
        ("/linux/netDevices", json!({"eth0": {}}), "ebb moves no network devices"),
    ] {
        let mut bundle = Bundle::new(&["true"]);
        let (above, name) = place.rsplit_once('/').unwrap();
        bundle.config.pointer_mut(above).unwrap()[name] = value;
        let said = bundle.fails(1, &["run", "c1"]);
        assert!(said.contains(wanted), "{place}: {said}");
        assert_eq!(bundle.ok(&["list", "-q"]), "");
    }
}
