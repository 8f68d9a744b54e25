//! `ebb oci` is a runtime that other engines drive: what podman, docker and containerd ask of it, they get.

mod common;

use common::bundle::{Bundle, rootfs};
use common::{answer, has_one_id, is_root, scratch, skip};
use nix::unistd::Pid;
use serde_json::json;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

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

/// On cgroup v1 what is asked for without a limit beside it was passed over in silence.
#[test]
fn swappiness_is_set_where_no_limit_is() {
    let mut bundle = Bundle::new(&["sleep", "1000"]);
    let name = format!("/ebb/swappiness-{}", std::process::id());
    bundle.config["linux"]["cgroupsPath"] = json!(name);
    bundle.config["linux"]["resources"] = json!({"memory": {"swappiness": 10}});
    let directories = ebb::oci::cgroup::directories(&name);
    let Some((_, memory)) = directories.iter().find(|(controllers, _)| controllers == "memory") else {
        return; // Cgroup v2 has no such control.
    };
    bundle.create("c1");
    assert_eq!(std::fs::read_to_string(memory.join("memory.swappiness")).expect("the setting"), "10\n");
}

/// Engines mount the cgroups without `ro` for their privileged containers: an engine inside makes cgroups there.
#[test]
fn a_bundles_cgroups_are_read_only_where_it_says_so() {
    let mut bundle = Bundle::new(&["sh", "-c", "grep ' /sys/fs/cgroup/*.* - cgroup' /proc/self/mountinfo"]);
    if ebb::oci::cgroup::available().is_err() {
        return; // Nobody's cgroups are shown.
    }
    let options = |bundle: &mut Bundle, words: serde_json::Value| {
        let mounts = bundle.config["mounts"].as_array_mut().expect("mounts");
        mounts.retain(|mount| mount["destination"] != "/sys/fs/cgroup");
        mounts.push(json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": words}));
    };
    let writable = |said: &str| said.lines().filter(|line| line.split(' ').nth(5).unwrap().starts_with("rw")).count();
    options(&mut bundle, json!(["nosuid", "ro"]));
    let said = bundle.ok(&["run", "c1"]);
    assert_eq!(writable(&said), 0, "{said}");
    options(&mut bundle, json!(["nosuid"]));
    let said = bundle.ok(&["run", "c2"]);
    assert_eq!(writable(&said), said.lines().count(), "{said}");
}

#[test]
fn without_pivot_root_a_container_sees_as_little_of_the_host() {
    let script = "grep -c '' /proc/self/mountinfo; mount | grep -c ' /proc '; ls /; ls -d /proc/1/root/.. /proc/self";
    let bundle = Bundle::new(&["sh", "-c", script]);
    let pivoted = bundle.ok(&["run", "c1"]);
    let moved = bundle.run(&["run", "--no-pivot", "c2"]);
    if is_root() {
        assert_eq!((moved.stdout.trim_end(), moved.code), (pivoted.as_str(), 0), "{}", moved.shown());
    } else {
        assert!(moved.code == 1 && moved.stderr.contains("without pivot_root: take the host's"), "{}", moved.shown());
    }
}

/// A test's engine, in directories of its own.
struct Engine {
    dir: PathBuf,
}

const DAY: &str = include_str!("engines/day.sh");

impl Engine {
    fn new() -> Engine {
        let dir = scratch("engine");
        std::fs::create_dir(dir.join("bin")).expect("a directory");
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_ebb"), dir.join("bin/ebb-oci")).expect("a link");
        let tar = Command::new("tar").arg("-C").arg(rootfs()).arg("-cf").arg(dir.join("box.tar")).arg(".").status();
        assert!(tar.expect("tar").success());
        Engine { dir }
    }

    /// What the day brings. Whatever is mounted for it is mounted for it alone.
    fn day(&self, engine: &str, runtime: &str) -> String {
        let script = format!("E() {{ {engine}; }}\n{DAY}");
        let mut command = Command::new("timeout");
        if is_root() {
            command.args(["-k", "5", "60", "unshare", "--mount", "sh", "-c", &script]);
        } else {
            command.args(["-k", "5", "60", "sh", "-c", &script]);
        }
        let limits = if is_root() { "yes" } else { "" };
        command.env("TAR", self.dir.join("box.tar")).env("LIMITS", limits).env("DIR", &self.dir);
        command.env("RUNTIME", runtime).env("CONTAINERS_CONF", self.dir.join("containers.conf"));
        command.env("XDG_RUNTIME_DIR", &self.dir).current_dir(&self.dir);
        let said = answer(&mut command);
        assert_eq!(said.code, 0, "{}", said.shown());
        plain(&said.stdout, runtime)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Without what may differ: ids, the runtime's name, and how each says that it was a start that failed.
fn plain(said: &str, runtime: &str) -> String {
    let said = said.replace(&format!("{runtime}: "), "").replace("unable to start container process: ", "");
    let said = said.replace("runc create failed: ", "create failed: ").replace("ebb: ", "").replace("runc: ", "");
    let is_id = |word: &str| word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    // docker's client may notice that its wait was ended, or not.
    let lines = said.split_inclusive('\n').filter(|line| !line.contains("context canceled"));
    lines
        .flat_map(|line| line.split_inclusive(' '))
        .map(|word| if is_id(word.trim_matches(|letter: char| !letter.is_alphanumeric())) { "ID\n" } else { word })
        .collect()
}

#[test]
fn podmans_day_is_the_same_with_runc_and_with_ebb() {
    if has_one_id() {
        return; // Podman unpacks no image without subordinate ids.
    }
    if !["/usr/bin/podman", "/usr/sbin/runc", "/usr/bin/tini-static"].iter().all(|path| Path::new(path).exists()) {
        return skip("podman, runc and tini are not installed");
    }
    let engine = Engine::new();
    let conf = "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1000:1000\"]\n\
                init_path = \"/usr/bin/tini-static\"\n[engine]\ninit_path = \"/usr/bin/tini-static\"\n";
    std::fs::write(engine.dir.join("containers.conf"), conf).expect("podman's settings");
    let podman = r#"podman --root "$DIR/root" --runroot "$DIR/run" --tmpdir "$DIR/tmp" --storage-driver vfs \
        --cgroup-manager cgroupfs --events-backend file --runtime "$RUNTIME" "$@""#;
    let runc = engine.day(podman, "/usr/sbin/runc");
    let ebb = engine.day(podman, engine.dir.join("bin/ebb-oci").to_str().expect("UTF-8"));
    assert_eq!(ebb, runc);
    assert!(runc.contains("hello\n-> 0") && runc.contains("exited 3"), "{runc}");
}

/// dockerd and its containerd, in a mount namespace of their own, without a network.
struct Daemons {
    engine: Engine,
    children: Vec<Child>,
}

impl Daemons {
    fn start() -> Daemons {
        let mut daemons = Daemons { engine: Engine::new(), children: Vec::new() };
        let dir = daemons.engine.dir.clone();
        let place = |name: &str| dir.join(name).to_str().expect("UTF-8").to_owned();
        let containerd = format!(
            "version = 2\nroot = {:?}\nstate = {:?}\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
             [grpc]\naddress = {:?}\n",
            place("c-root"),
            place("c-state"),
            place("c.sock")
        );
        std::fs::write(dir.join("containerd.toml"), containerd).expect("containerd's settings");
        let docker = json!({
            "runtimes": {"ebb": {"path": place("bin/ebb-oci")}}, "iptables": false, "ip6tables": false,
            "ip-forward": false, "bridge": "none", "storage-driver": "vfs", "data-root": place("d-root"),
            "exec-root": place("d-exec"), "pidfile": place("d.pid"), "hosts": [format!("unix://{}", place("d.sock"))],
            "containerd": place("c.sock"), "exec-opts": ["native.cgroupdriver=cgroupfs"],
            "deprecated-key-path": place("d-key.json"),
        });
        std::fs::write(dir.join("docker.json"), docker.to_string()).expect("dockerd's settings");
        daemons.begin(&["containerd", "--config", &place("containerd.toml")]);
        daemons.begin(&["dockerd", "--config-file", &place("docker.json")]);
        daemons
    }

    /// Until it says that it is ready (sd_notify(3)). The first one makes the mount namespace that the next one joins.
    fn begin(&mut self, words: &[&str]) {
        let told = self.engine.dir.join(format!("{}.notify", words[0]));
        let socket = UnixDatagram::bind(&told).expect("a socket");
        socket.set_read_timeout(Some(Duration::from_secs(30))).expect("a limit");
        let mut command = match self.children.first() {
            None => Command::new("unshare"),
            Some(first) => {
                let mut command = Command::new("nsenter");
                command.args(["--target", &first.id().to_string()]);
                command
            }
        };
        let log = std::fs::File::create(self.engine.dir.join(format!("{}.log", words[0]))).expect("a log");
        command.arg("--mount").args(words).env("NOTIFY_SOCKET", &told).stdin(Stdio::null()).stdout(Stdio::null());
        self.children.push(command.stderr(log).spawn().expect("it starts"));
        let mut word = [0; 256];
        loop {
            let length = socket.recv(&mut word).unwrap_or_else(|error| panic!("{words:?} is not ready: {error}"));
            if String::from_utf8_lossy(&word[..length]).contains("READY=1") {
                return;
            }
        }
    }
}

impl Drop for Daemons {
    fn drop(&mut self) {
        for child in self.children.iter_mut().rev() {
            let _ = nix::sys::signal::kill(Pid::from_raw(child.id() as i32), nix::sys::signal::Signal::SIGTERM);
            let _ = child.wait();
        }
    }
}

#[test]
fn dockers_day_is_the_same_with_runc_and_with_ebb() {
    if !is_root() {
        return; // dockerd is root's.
    }
    if !["/usr/sbin/dockerd", "/usr/bin/containerd", "/usr/sbin/runc"].iter().all(|path| Path::new(path).exists()) {
        return skip("docker.io, containerd and runc are not installed");
    }
    let daemons = Daemons::start();
    let docker = r#"command=$1; shift; case $command in run) set -- --runtime "$RUNTIME" "$@";; esac
        /usr/bin/docker -H "unix://$DIR/d.sock" "$command" "$@""#;
    let runc = daemons.engine.day(docker, "runc");
    let ebb = daemons.engine.day(docker, "ebb");
    assert_eq!(ebb, runc);
    assert!(runc.contains("hello\n-> 0") && runc.contains("exited 3"), "{runc}");
}
