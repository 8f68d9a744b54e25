//! What a Docker user limits beside memory, processors and processes is honoured, or refused with the reason.

mod common;

use common::{Ebb, is_root};
use std::path::PathBuf;

/// The file of a controller in the cgroup of a container of root's on a host with cgroup v1.
fn setting(ebb: &Ebb, name: &str, controller: &str, file: &str) -> Option<String> {
    let id = ebb.inspect(name, "{{.Id}}");
    let parent = ebb.inspect(name, "{{.HostConfig.CgroupParent}}");
    let parent = if parent.is_empty() { "/ebb" } else { parent.as_str() };
    let path = PathBuf::from(format!("/sys/fs/cgroup/{controller}{parent}/{id}/{file}"));
    Some(std::fs::read_to_string(path).ok()?.trim().to_owned())
}

/// An ordinary user of a host with cgroup v1 has none: then the option is refused, with the reason.
fn can_limit(ebb: &Ebb, option: &[&str]) -> bool {
    if ebb::oci::cgroup::available() == Ok("v1") {
        return true;
    }
    assert!(!is_root(), "root has cgroups of version 1 where this test runs");
    let said = ebb.fails(125, [&["run", "--rm"], option, &["busybox", "true"]].concat());
    assert!(said.contains("cannot be honoured"), "{option:?}: {said}");
    assert_eq!(ebb.ok(["ps", "-aq"]), "", "nothing is left");
    false
}

#[test]
fn memory_is_reserved_swapped_and_kept_from_the_oom_killer_as_asked() {
    let ebb = Ebb::new();
    if ["--memory-reservation=32m", "--memory-swappiness=10", "--oom-kill-disable"]
        .iter()
        .any(|option| !can_limit(&ebb, &[option]))
    {
        return;
    }
    ebb.ok([
        "run",
        "-d",
        "--name",
        "box",
        "--memory-swappiness",
        "10",
        "--oom-kill-disable",
        "busybox",
        "sleep",
        "1000",
    ]);
    assert_eq!(setting(&ebb, "box", "memory", "memory.swappiness").as_deref(), Some("10"));
    let oom = setting(&ebb, "box", "memory", "memory.oom_control").expect("it");
    assert!(oom.starts_with("oom_kill_disable 1"), "{oom}");
    ebb.ok(["update", "--memory-reservation", "32m", "box"]);
    assert_eq!(setting(&ebb, "box", "memory", "memory.soft_limit_in_bytes"), Some((32 << 20).to_string()));
    let shown = "{{.HostConfig.MemoryReservation}} {{.HostConfig.MemorySwappiness}} {{.HostConfig.OomKillDisable}}";
    assert_eq!(ebb.inspect("box", shown), "33554432 10 true");
    ebb.ok(["run", "--name", "plain", "busybox", "true"]);
    assert_eq!(ebb.inspect("plain", "{{json .HostConfig.MemorySwappiness}}"), "null");
}

#[test]
fn processor_time_is_given_in_periods_and_quotas_and_on_nodes() {
    let ebb = Ebb::new();
    if !can_limit(&ebb, &["--cpu-quota", "5000"]) {
        return;
    }
    let asked = ["--cpu-period", "50000", "--cpu-quota", "25000", "--cpuset-mems", "0"];
    ebb.ok([&["run", "-d", "--name", "box"], &asked[..], &["busybox", "sleep", "1000"]].concat());
    assert_eq!(setting(&ebb, "box", "cpu", "cpu.cfs_period_us").as_deref(), Some("50000"));
    assert_eq!(setting(&ebb, "box", "cpu", "cpu.cfs_quota_us").as_deref(), Some("25000"));
    assert_eq!(setting(&ebb, "box", "cpuset", "cpuset.mems").as_deref(), Some("0"));
    ebb.ok(["update", "--cpu-quota", "40000", "box"]);
    assert_eq!(setting(&ebb, "box", "cpu", "cpu.cfs_quota_us").as_deref(), Some("40000"));
    assert_eq!(ebb.inspect("box", "{{.HostConfig.CpuPeriod}} {{.HostConfig.CpuQuota}}"), "50000 40000");
    let said = ebb.fails(1, ["update", "--cpus", "1", "box"]);
    assert!(said.contains("Nano CPUs cannot be updated as CPU Period has already been set"), "{said}");
    assert_eq!(setting(&ebb, "box", "cpu", "cpu.cfs_quota_us").as_deref(), Some("40000"), "it changed nothing");
}

#[test]
fn a_containers_cgroup_is_made_where_the_parent_is_named_and_goes_with_it() {
    let ebb = Ebb::new();
    if ebb::oci::cgroup::available() != Ok("v1") {
        // Nobody can make one: as without the option, it has none.
        return assert_eq!(ebb.ok(["run", "--rm", "--cgroup-parent", "ebb-test/x", "busybox", "echo", "runs"]), "runs");
    }
    let parent = format!("ebb-test-{}", std::process::id());
    ebb.ok(["run", "-d", "--name", "box", "--cgroup-parent", &parent, "busybox", "sleep", "1000"]);
    let id = ebb.inspect("box", "{{.Id}}");
    let pid = ebb.inspect("box", "{{.State.Pid}}");
    let mine = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("its cgroups");
    assert!(mine.lines().any(|line| line.ends_with(&format!(":memory:/{parent}/{id}"))), "{mine}");
    ebb.ok(["exec", "box", "true"]);
    assert_eq!(ebb.ok(["stats", "--no-stream", "--format", "{{.PIDs}}", "box"]), "1");
    ebb.ok(["rm", "-f", "box"]);
    let made: Vec<_> = std::fs::read_dir("/sys/fs/cgroup").expect("the trees").flatten().collect();
    for tree in made {
        let parent = tree.path().join(&parent);
        assert!(!parent.join(&id).exists(), "{} is left", parent.join(&id).display());
        let _ = std::fs::remove_dir(parent);
    }
}

#[test]
fn the_rate_of_a_device_is_limited_by_its_numbers() {
    let ebb = Ebb::new();
    let Some(device) = std::fs::read_dir("/dev").expect("devices").flatten().find(|entry| {
        use std::os::unix::fs::FileTypeExt;
        entry.file_type().is_ok_and(|kind| kind.is_block_device())
    }) else {
        return common::skip("this machine has no block device");
    };
    let device = device.path().display().to_string();
    let limit = format!("{device}:1mb");
    if !can_limit(&ebb, &["--device-read-bps", &limit]) {
        return;
    }
    let writes = format!("{device}:100");
    let asked = ["--device-read-bps", &limit, "--device-write-iops", &writes];
    ebb.ok([&["run", "-d", "--name", "box"], &asked[..], &["busybox", "sleep", "1000"]].concat());
    let reads = setting(&ebb, "box", "blkio", "blkio.throttle.read_bps_device").expect("it");
    assert!(reads.ends_with(" 1048576"), "{reads}");
    let operations = setting(&ebb, "box", "blkio", "blkio.throttle.write_iops_device").expect("it");
    assert!(operations.ends_with(" 100"), "{operations}");
    let shown = ebb.inspect("box", "{{json .HostConfig.BlkioDeviceReadBps}}");
    assert_eq!(shown, format!("[{{\"Path\":\"{device}\",\"Rate\":1048576}}]"));
}

#[test]
fn a_weight_of_block_io_is_set_or_refused_where_the_kernel_weighs_nothing() {
    let ebb = Ebb::new();
    if !can_limit(&ebb, &["--blkio-weight", "100"]) {
        return;
    }
    let started = ebb.run(["run", "-d", "--name", "box", "--blkio-weight", "100", "busybox", "sleep", "1000"]);
    if started.code != 0 {
        let said = &started.stderr;
        return assert!(started.code == 125 && said.contains("blkio.bfq.weight"), "{}", started.shown());
    }
    let weight = ["blkio.weight", "blkio.bfq.weight"].iter().find_map(|file| setting(&ebb, "box", "blkio", file));
    assert_eq!(weight.as_deref(), Some("100"));
}

#[test]
fn a_rule_opens_devices_to_a_container_of_the_hosts_root_and_is_refused_where_it_would_open_none() {
    let ebb = Ebb::new();
    let said = ebb.fails(125, ["create", "--device-cgroup-rule", "c 1:1 r", "busybox", "true"]);
    assert!(said.contains("in a user namespace the kernel makes no device"), "{said}");
    let bad = ebb.fails(125, ["create", "--device-cgroup-rule", "x 1:1 r", "busybox", "true"]);
    assert!(bad.contains("invalid device cgroup format 'x 1:1 r'"), "{bad}");
    if !is_root() {
        return;
    }
    // /dev/loop-control, which no container may open of itself.
    let look = "mknod /k c 10 237 && (: </k) 2>/dev/null && echo open || echo shut";
    let host = ["run", "--rm", "--userns", "host", "--cap-add", "MKNOD"];
    assert_eq!(ebb.ok([&host[..], &["busybox", "sh", "-c", look]].concat()), "shut");
    assert_eq!(
        ebb.ok([&host[..], &["--device-cgroup-rule", "c 10:237 r", "busybox", "sh", "-c", look]].concat()),
        "open"
    );
}

#[test]
fn names_are_searched_and_asked_for_as_said() {
    let ebb = Ebb::new();
    let words =
        ["--dns", "192.0.2.1", "--dns-search", "a.example", "--dns-search", "b.example", "--dns-option", "ndots:2"];
    let read = ["busybox", "cat", "/etc/resolv.conf", "/proc/sys/kernel/domainname"];
    let said = ebb.ok([&["run", "--name", "box", "--domainname", "nis.example"], &words[..], &read].concat());
    assert_eq!(said, "nameserver 192.0.2.1\nsearch a.example b.example\noptions ndots:2\nnis.example");
    let shown = "{{.Config.Domainname}} {{json .HostConfig.DnsSearch}} {{json .HostConfig.DnsOptions}}";
    assert_eq!(ebb.inspect("box", shown), "nis.example [\"a.example\",\"b.example\"] [\"ndots:2\"]");
    // A dot: nothing is searched, not even what the host searches.
    let none = ebb.ok(["run", "--rm", "--network", "host", "--dns-search", ".", "busybox", "cat", "/etc/resolv.conf"]);
    assert!(!none.contains("search"), "{none}");
}

#[test]
fn an_annotation_reaches_the_runtime_and_none_is_taken_for_ebbs_own() {
    let ebb = Ebb::new();
    ebb.ok(["run", "--name", "box", "--annotation", "org.example.note=here", "busybox", "true"]);
    assert_eq!(ebb.inspect("box", "{{json .HostConfig.Annotations}}"), "{\"org.example.note\":\"here\"}");
    let id = ebb.inspect("box", "{{.Id}}");
    let bundle =
        std::fs::read_to_string(ebb.store().join("containers").join(id).join("config.json")).expect("its bundle");
    assert!(bundle.contains("\"org.example.note\": \"here\""), "{bundle}");
    let said = ebb.fails(125, ["create", "--annotation", "dev.ebb.chroot-only=true", "busybox", "true"]);
    assert!(said.contains("are Ebb's own"), "{said}");
}

#[test]
fn what_makes_no_sense_is_refused_in_dockers_words_and_changes_nothing() {
    let ebb = Ebb::new();
    for (words, said) in [
        (&["--memory-reservation", "1m"][..], "Minimum memory reservation allowed is 6MB"),
        (
            &["--memory", "16m", "--memory-reservation", "32m"],
            "Minimum memory limit can not be less than memory reservation",
        ),
        (&["--memory-swappiness", "101"], "Invalid value: 101, valid memory swappiness range is 0-100"),
        (
            &["--cpu-period", "1"],
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
        ),
        (&["--cpu-quota", "5"], "CPU cfs quota can not be less than 1ms (i.e. 1000)"),
        (&["--cpus", "1", "--cpu-quota", "5000"], "Conflicting options: Nano CPUs and CPU Quota cannot both be set"),
        (&["--cpus", "1", "--cpu-period", "5000"], "Conflicting options: Nano CPUs and CPU Period cannot both be set"),
        (&["--cpuset-mems", "x"], "Invalid value x for cpuset mems"),
        (&["--cpuset-mems", "4095"], "Requested memory nodes are not available - requested 4095"),
        (&["--blkio-weight", "5"], "Range of blkio weight is from 10 to 1000"),
        (&["--blkio-weight-device", "/dev/x:5"], "invalid weight for device: /dev/x:5"),
        (&["--device-read-bps", "x:1"], "bad format for device path: x:1"),
        (&["--device-read-bps", "/dev/x"], "bad format: /dev/x"),
        (&["--device-read-bps", "/dev/ebb-has-none:1mb"], "find the device /dev/ebb-has-none"),
        (&["--device-write-bps", "/dev/null:1mb"], "/dev/null is no block device"),
        (&["--device-write-iops", "/dev/x:1k"], "The correct format is <device-path>:<number>."),
        (&["--cgroup-parent", "../x"], "must not contain \"..\""),
        (&["--domainname", "a/b"], "invalid domainname: a/b"),
        (&["--dns-search", "a b"], "a b is not a valid domain"),
        (&["--annotation", "x"], "'x' must be formatted as key=value"),
        (&["--gpus", "all"], "could not select device driver \"\" with capabilities: [[gpu]]"),
        (
            &["--storage-opt", "size=1g"],
            "--storage-opt is supported only for overlay over xfs with 'pquota' mount option",
        ),
    ] {
        let answer = ebb.fails(125, [&["run", "--rm"], words, &["busybox", "true"]].concat());
        assert!(answer.contains(said), "{words:?}: {answer}");
    }
    assert_eq!(ebb.ok(["ps", "-aq"]), "");
}

#[test]
fn quiet_says_nothing_of_the_image_that_is_made() {
    let ebb = Ebb::new();
    ebb.ok(["rmi", "busybox"]);
    let answer = ebb.run(["run", "--rm", "--quiet", "busybox", "echo", "it"]);
    assert_eq!((answer.stdout.as_str(), answer.stderr.as_str()), ("it\n", ""));
    assert_eq!(ebb.run(["pull", "-q", "busybox"]).stderr, "");
}
