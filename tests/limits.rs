//! Limits are honoured, or refused with the reason where this kernel or this user cannot.

mod common;

use common::bundle::Bundle;
use common::{Ebb, is_root, skip};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

/// Whether `controller` can limit here. An ordinary user without a delegated cgroup is told why not, which each test
/// checks in its place; for root a kernel without the controller is a reason to skip.
fn lacks(controller: &str) -> Option<String> {
    let offered = ebb::oci::cgroup::controllers();
    let lacks = !offered.iter().any(|offer| offer == controller);
    lacks.then(|| format!("this host offers this user no {controller} controller"))
}

/// The option is refused, in a sentence with the reason, and nothing is left of the attempt.
fn is_refused(ebb: &Ebb, option: &str, value: &str, named: &str) {
    let said = ebb.fails(125, ["run", "--rm", option, value, "busybox", "true"]);
    assert!(said.contains(named) && said.contains("cannot be honoured"), "{said}");
    assert_eq!(ebb.ok(["ps", "-aq"]), "", "nothing is left");
}

#[test]
fn who_takes_more_memory_than_its_limit_is_killed_and_inspect_says_so() {
    let ebb = Ebb::new();
    if let Some(why) = lacks("memory") {
        return if is_root() { skip(&why) } else { is_refused(&ebb, "--memory", "32m", "a memory limit") };
    }
    let swap: &[&str] = if ebb::oci::cgroup::can_limit_swap() { &["--memory-swap", "32m"] } else { &[] };
    // One line without an end: tail keeps all of it in memory.
    let run = [&["run", "--name", "hungry", "--memory", "32m"], swap, &["busybox", "tail", "/dev/zero"]].concat();
    assert_eq!(ebb.run(run).code, 137);
    assert_eq!(ebb.inspect("hungry", "{{.State.OOMKilled}} {{.State.ExitCode}}"), "true 137");
    assert_eq!(ebb.inspect("hungry", "{{.HostConfig.Memory}}"), (32 << 20).to_string());
    ebb.ok(["run", "--name", "modest", "--memory", "32m", "busybox", "true"]);
    assert_eq!(ebb.inspect("modest", "{{.State.OOMKilled}}"), "false");
}

#[test]
fn who_forks_more_than_its_limit_is_told_so_by_the_kernel() {
    let ebb = Ebb::new();
    if let Some(why) = lacks("pids") {
        return if is_root() { skip(&why) } else { is_refused(&ebb, "--pids-limit", "5", "a limit of processes") };
    }
    let forks = "for i in 1 2 3 4 5 6 7 8; do sleep 1000 & done";
    let answer = ebb.run(["run", "--rm", "--pids-limit", "5", "busybox", "sh", "-c", forks]);
    assert!(answer.stderr.contains("can't fork"), "{}", answer.shown());
}

#[test]
fn a_fork_bomb_meets_a_default_limit_of_512_processes() {
    let ebb = Ebb::new();
    if let Some(why) = lacks("pids") {
        // Without a cgroup there is no such limit; that the container runs all the same is the promise.
        assert_eq!(ebb.run(["run", "--rm", "busybox", "true"]).code, 0);
        return if is_root() {
            skip(&why)
        };
    }
    let bomb = "i=0; while [ $i -lt 600 ]; do sleep 1000 & i=$((i+1)); done";
    let answer = ebb.run(["run", "--rm", "busybox", "sh", "-c", bomb]);
    assert!(answer.stderr.contains("can't fork"), "{}", answer.shown());
}

#[test]
fn a_share_of_the_processors_is_what_the_container_gets() {
    let ebb = Ebb::new();
    if let Some(why) = lacks("cpu") {
        return if is_root() { skip(&why) } else { is_refused(&ebb, "--cpus", "0.5", "a CPU limit") };
    }
    ebb.ok(["run", "-d", "--name", "box", "--cpus", "0.5", "busybox", "sleep", "1000"]);
    assert_eq!(ebb.inspect("box", "{{.HostConfig.NanoCpus}}"), "500000000");
    // What the kernel was told stands in the container's cgroup, which the host sees.
    let pid = ebb.inspect("box", "{{.State.Pid}}");
    let cgroups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("procfs");
    let quota = cgroups.lines().find_map(|line| {
        let [_, controllers, path] = line.splitn(3, ':').collect::<Vec<_>>().try_into().expect("three fields");
        match controllers.split(',').any(|name| name == "cpu") {
            true => std::fs::read_to_string(format!("/sys/fs/cgroup/{controllers}{path}/cpu.cfs_quota_us")).ok(),
            false => std::fs::read_to_string(format!("/sys/fs/cgroup{path}/cpu.max")).ok(),
        }
    });
    let quota = quota.expect("the limit's file");
    assert!(quota.trim() == "50000" || quota.trim() == "50000 100000", "{quota}");
}

#[test]
fn ulimits_are_the_containers_and_no_higher_than_the_users() {
    let ebb = Ebb::new();
    let show = ["busybox", "sh", "-c", "ulimit -Sn; ulimit -Hn; ulimit -Sc"];
    let run = [&["run", "--rm", "--ulimit", "nofile=100:200", "--ulimit", "core=0"][..], &show].concat();
    assert_eq!(ebb.ok(run), "100\n200\n0");
    let said = ebb.fails(125, ["run", "--ulimit", "nofile=200:100", "busybox"]);
    assert!(said.contains("ulimit soft limit must be less than or equal to hard limit: 200 > 100"), "{said}");
    assert!(
        ebb.fails(125, ["run", "--ulimit", "nosuch=1", "busybox"])
            .starts_with("invalid argument \"nosuch=1\" for \"--ulimit\" flag: invalid ulimit type: nosuch\n")
    );
    if !is_root() {
        let said = ebb.fails(125, ["run", "--rm", "--ulimit", "nofile=2000000000", "busybox", "true"]);
        assert!(said.contains("can only be raised with CAP_SYS_RESOURCE"), "{said}");
    }
}

#[test]
fn cpus_that_are_not_there_are_refused_in_docker_s_words_and_those_that_are_are_taken() {
    let ebb = Ebb::new();
    let refused = |cpus: &str| ebb.fails(125, ["run", "--rm", "--cpuset-cpus", cpus, "busybox", "true"]);
    let online = std::fs::read_to_string("/sys/devices/system/cpu/online").expect("the machine's CPUs");
    let words =
        |cpus: &str| format!("Requested CPUs are not available - requested {cpus}, available: {}", online.trim());
    for cpus in ["7777", "0,7777", "0-7777", "0-4294967295"] {
        let said = refused(cpus);
        assert!(said.contains(&words(cpus)), "{said}");
    }
    for cpus in ["x", "1-0", ",", "0-", "-1"] {
        let said = refused(&format!("0,{cpus}"));
        assert!(said.contains("for cpuset cpus"), "{said}");
    }
    assert_eq!(ebb.ok(["ps", "-aq"]), "", "nothing is left");
    ebb.ok(["create", "--name", "box", "busybox"]);
    let said = ebb.fails(1, ["update", "--cpuset-cpus", "7777", "box"]);
    assert!(said.contains(&words("7777")), "{said}");
    if lacks("cpuset").is_none() {
        let seen = ebb.ok([
            "run",
            "--rm",
            "--cpuset-cpus",
            online.trim(),
            "busybox",
            "grep",
            "Cpus_allowed_list",
            "/proc/self/status",
        ]);
        assert!(seen.ends_with(online.trim()), "{seen}");
    }
}

#[test]
fn a_sysctl_of_the_containers_own_namespaces_is_set_and_no_other() {
    let ebb = Ebb::new();
    let read = ["busybox", "cat", "/proc/sys/net/ipv4/ip_unprivileged_port_start"];
    let set = ["run", "--rm", "--sysctl", "net.ipv4.ip_unprivileged_port_start=7"];
    assert_eq!(ebb.ok([&set[..], &read].concat()), "7");
    let said = ebb.fails(125, ["run", "--rm", "--sysctl", "vm.swappiness=1", "busybox", "true"]);
    assert!(said.contains("vm.swappiness"), "{said}");
    let host = ["run", "--rm", "--network", "host", "--sysctl", "net.ipv4.ip_forward=1", "busybox", "true"];
    assert!(ebb.fails(125, host).contains("host"), "the host's own is not changed");
}

#[test]
fn shared_memory_is_64_megabytes_or_what_is_asked_for() {
    let ebb = Ebb::new();
    let size = ["busybox", "sh", "-c", "df -k /dev/shm | tail -n 1 | awk '{print $2}'"];
    assert_eq!(ebb.ok([&["run", "--rm"][..], &size].concat()), (64 << 10).to_string());
    assert_eq!(ebb.ok([&["run", "--rm", "--shm-size", "3m"][..], &size].concat()), (3 << 10).to_string());
}

/// Cgroups of somebody else's.
struct Theirs(Vec<PathBuf>);

impl Theirs {
    /// By the name `path`: one in each tree of version 1, where each may be empty or not for itself; the one of version 2.
    fn make(path: &str) -> Theirs {
        let trees = ebb::oci::cgroup::directories(path);
        // What joins a new cpuset must first have given it processors.
        let trees = trees.into_iter().filter(|(controllers, _)| controllers != "cpuset").map(|(_, place)| place);
        let mut places: Vec<PathBuf> = trees.collect();
        if places.is_empty() {
            places.push(Path::new("/sys/fs/cgroup").join(path.trim_start_matches('/')));
        }
        places.iter().for_each(|place| std::fs::create_dir(place).expect("a cgroup"));
        Theirs(places)
    }
}

impl Drop for Theirs {
    fn drop(&mut self) {
        for place in &self.0 {
            let _ = std::fs::remove_dir(place);
        }
    }
}

/// Somebody in a cgroup, until the end of the test.
struct Inhabitant(Child);

impl Inhabitant {
    fn of(place: &Path) -> Inhabitant {
        let child = Command::new("sleep").arg("1000").spawn().expect("sleep");
        std::fs::write(place.join("cgroup.procs"), child.id().to_string()).expect("moved");
        Inhabitant(child)
    }
}

impl Drop for Inhabitant {
    fn drop(&mut self) {
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

#[test]
fn a_bundle_is_refused_a_cgroup_in_which_somebody_is_and_it_stays_as_it_is() {
    if !is_root() {
        return; // Who may make no cgroup can take nobody's.
    }
    if let Err(why) = ebb::oci::cgroup::available() {
        return skip(&why);
    }
    let mut bundle = Bundle::new(&["true"]);
    let path = format!("/{}", bundle.dir.file_name().expect("a name").display());
    bundle.config["linux"]["cgroupsPath"] = path.as_str().into();
    let theirs = Theirs::make(&path);
    for place in &theirs.0 {
        let _somebody = Inhabitant::of(place);
        let said = bundle.fails(1, &["create", "c1"]);
        assert!(said.contains(&format!("the cgroup {} is in use by 1 process", place.display())), "{said}");
        assert!(theirs.0.iter().all(|place| place.is_dir()), "{} was inhabited", place.display());
        assert_eq!(bundle.ok(&["list", "-q"]), "");
    }
}
