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
