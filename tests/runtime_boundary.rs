//! The bundle is the boundary: a container looks the same from inside, whether Ebb or runc made it from its bundle.

mod common;

use common::bundle::Bundle;
use common::{Answer, answer, is_root, skip};
use oci_spec::runtime::Capabilities;
use serde_json::json;
use std::process::{Command, Stdio};

/// What a program can see of its container, line by line: "subject: value".
const LOOK: &str = r#"
echo "id: $(id -u):$(id -g)"
echo "cwd: $(pwd)"
env | sort | grep -vE '^(PWD|OLDPWD|SHLVL|_)=' | sed 's/^/env: /'
grep -E '^(Cap|NoNewPrivs|Seccomp:|Groups)' /proc/self/status | sed 's/^/status /'
echo "hostname: $(hostname)"
echo "nofile: $(ulimit -Sn):$(ulimit -Hn)"
echo "pid 1: $(tr '\0' ' ' < /proc/1/cmdline | cut -c1-5)"
for place in / /proc /dev /dev/pts /dev/shm /dev/mqueue /sys /proc/bus /proc/fs /proc/irq /proc/sys /proc/sysrq-trigger; do
    awk -v place=$place '$5 == place {
        split($0, halves, " - "); split(halves[2], kind, " "); split($6, option, ",")
        seen = "mount " place ": " kind[1] " " option[1]
        for (i in option) if (option[i] ~ /^(nosuid|nodev|noexec)$/) set[option[i]] = 1
    } END { print seen (set["nosuid"] ? " nosuid" : "") (set["nodev"] ? " nodev" : "") (set["noexec"] ? " noexec" : "") }' /proc/self/mountinfo
done
for masked in /proc/kcore /proc/keys /proc/timer_list /proc/sched_debug /proc/acpi /proc/scsi /sys/firmware; do
    if [ -d $masked ]; then echo "masked $masked: $(ls $masked | wc -l) entries"
    elif [ -e $masked ]; then echo "masked $masked: $(head -c 10 $masked 2>/dev/null | wc -c) bytes"; fi
done
for device in null zero full random urandom tty; do
    echo "device $device: $(stat -c '%F %t:%T %a' /dev/$device)"
done
for link in fd stdin stdout stderr ptmx; do echo "link $link: $(readlink /dev/$link)"; done
echo "descriptors: $(ls /proc/self/fd | wc -l)"
(echo x > /proc/sys/kernel/domainname) 2>/dev/null && echo "writes to /proc/sys: yes" || echo "writes to /proc/sys: no"
(mkdir /sys/fs/cgroup/x) 2>/dev/null && echo "writes to cgroups: yes" || echo "writes to cgroups: no"
(: > /x) 2>/dev/null && echo "writes to the root: yes" || echo "writes to the root: no"
unshare -U true 2>/dev/null && echo "makes a user namespace: yes" || echo "makes a user namespace: no"
for namespace in pid net ipc uts mnt cgroup user; do echo "namespace $namespace: $(readlink /proc/self/ns/$namespace)"; done
"#;

fn runc() -> Option<String> {
    let found = Command::new("runc").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    match found {
        Ok(status) if status.success() => None,
        _ => Some("runc is not installed (Debian: apt-get install runc)".into()),
    }
}

fn bundle() -> Bundle {
    let mut bundle = Bundle::new(&["sh", "-c", LOOK]);
    let profile = ebb::oci::seccomp::default_profile(&Capabilities::new());
    bundle.config["linux"]["seccomp"] = serde_json::to_value(profile).unwrap();
    bundle.config["process"]["cwd"] = json!("/bin");
    bundle.config["process"]["env"] = json!(["PATH=/bin:/sbin:/usr/bin", "GREETING=hello world", "EMPTY="]);
    bundle.config["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 200, "hard": 300}]);
    bundle
}

/// The lines that are about namespaces, and the others.
fn sorted(answer: &Answer) -> (Vec<String>, Vec<String>) {
    assert_eq!(answer.code, 0, "{}", answer.shown());
    let lines = answer.stdout.lines().map(str::to_owned);
    lines.partition(|line| line.starts_with("namespace "))
}

fn differences(ours: &[String], theirs: &[String]) -> String {
    let only = |mark: &str, these: &[String], those: &[String]| {
        these.iter().filter(|line| !those.contains(line)).map(|line| format!("{mark} {line}\n")).collect::<String>()
    };
    only("ebb ", ours, theirs) + &only("runc", theirs, ours)
}

/// What is seen from inside on Ebb and on runc must be the same, line by line.
fn compare(bundle: &Bundle) {
    // runc makes the cgroup of this name, which another test at the same time must not share.
    let id = bundle.dir.file_name().expect("a name").to_str().expect("UTF-8");
    let ours = sorted(&bundle.run(&["run", id]));
    let root = bundle.dir.join("runc-states");
    let mut command = Command::new("runc");
    command.arg("--root").arg(&root).args(["run", "--bundle"]).arg(&bundle.dir).arg(id);
    let theirs = sorted(&answer(command.stdin(Stdio::null())));
    let differences = differences(&ours.1, &theirs.1);
    assert!(differences.is_empty(), "{differences}");
    assert_eq!(ours.0.len(), 7);
    // The same namespaces are new in both.
    for (ours, theirs) in ours.0.iter().zip(&theirs.0) {
        let (name, ours) = ours.strip_prefix("namespace ").unwrap().split_once(": ").unwrap();
        let theirs = theirs.split_once(": ").unwrap().1;
        let host = std::fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
        let host = host.to_str().unwrap();
        assert_eq!(ours == host, theirs == host, "{name}");
        if name == "user" {
            assert_eq!(ours == host, is_root());
        }
    }
}

#[test]
fn one_bundle_looks_the_same_from_inside_on_ebb_and_on_runc() {
    match runc() {
        Some(why) => skip(&why),
        None => compare(&bundle()),
    }
}

#[test]
fn another_user_with_ambient_capabilities_looks_the_same_too() {
    if let Some(why) = runc() {
        return skip(&why);
    }
    let mut bundle = bundle();
    bundle.config["process"]["cwd"] = json!("/tmp");
    let two = json!(["CAP_NET_BIND_SERVICE", "CAP_KILL"]);
    for set in ["bounding", "permitted", "effective", "inheritable", "ambient"] {
        bundle.config["process"]["capabilities"][set] = two.clone();
    }
    // An ordinary user has one id, which runc wants to be root's.
    if is_root() {
        let user = json!({"uid": 1000, "gid": 1000, "umask": 0o27, "additionalGids": [5, 2000]});
        bundle.config["process"]["user"] = user;
        // A filter is then loaded by the right to do so, before that right is given up.
        bundle.config["process"]["noNewPrivileges"] = json!(false);
    }
    bundle.config["root"]["readonly"] = json!(false);
    bundle.config["hostname"] = json!("elsewhere");
    compare(&bundle);
}

#[test]
fn without_namespaces_of_its_own_a_container_shares_the_same_ones() {
    if let Some(why) = runc() {
        return skip(&why);
    }
    let mut bundle = bundle();
    let shared = ["ipc", "uts"];
    if let Some(config) = bundle.config.as_object_mut() {
        config.remove("hostname");
    }
    let namespaces = bundle.config["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.retain(|namespace| !shared.contains(&namespace["type"].as_str().unwrap()));
    bundle.config["mounts"].as_array_mut().unwrap().retain(|mount| mount["type"] != "mqueue");
    compare(&bundle);
}

#[test]
fn run_takes_another_runtime() {
    if let Some(why) = runc() {
        return skip(&why);
    }
    let ebb = common::Ebb::new();
    let look = [
        "id -u",
        "cat /proc/sys/kernel/hostname",
        "grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status",
        "ls /dev",
        "pwd",
    ];
    let look = look.join("; ");
    let arguments = |runtime: &str| {
        let options =
            ["run", "--rm", "--runtime", runtime, "--userns", "host", "-h", "here", "-w", "/tmp", "-e", "A=b"];
        let words = options.into_iter().chain(["busybox", "sh", "-c", look.as_str()]);
        words.map(str::to_owned).collect::<Vec<String>>()
    };
    if !is_root() {
        let said = ebb.fails(125, arguments("runc"));
        assert!(said.contains("takes root"), "{said}");
        return;
    }
    let (ours, theirs) = (ebb.ok(arguments("ebb")), ebb.ok(arguments("runc")));
    assert_eq!(ours, theirs);
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(ebb.store().to_str().unwrap()), "no mount of the store is left on the host");
    assert_eq!(ebb.run(["run", "--rm", "--runtime", "runc", "busybox", "sh", "-c", "exit 6"]).code, 6);
    assert_eq!(ebb.run(["run", "--rm", "--runtime", "runc", "busybox", "no-such-program"]).code, 127);
    ebb.fails(125, ["run", "--rm", "--runtime", "/no/such/runtime", "busybox", "true"]);
    // Whatever of root's power the host's root has.
    let all =
        ["run", "--rm", "--privileged", "--runtime", "runc", "busybox", "sh", "-c", ": < /dev/null && echo opened"];
    assert_eq!(ebb.ok(all), "opened");
}
