//! crun and runc on a ready bundle; podman and docker on the same small image.

use crate::measure::Line;
use crate::stage::{IMAGE, Stage, User, text};
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Child, Stdio};

/// A low-level runtime with a bundle each for `true` and for `sleep`.
pub struct Runtime {
    pub name: String,
    pub line: Line,
    pub once: String,
    pub asleep: String,
}

/// A Docker-compatible command.
pub struct Engine {
    pub name: String,
    pub line: Line,
    /// What `run` needs for a container without a network.
    pub no_net: String,
    pub rm: String,
}

/// dockerd, on a socket and a data root of its own, ended when dropped.
pub struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.0.id() as i32);
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

fn installed(program: &str) -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':').any(|dir| Path::new(dir).join(program).exists())
}

fn wanted(stage: &Stage, name: &str, programs: &[&str]) -> bool {
    stage.options.peers.iter().any(|peer| peer == name) && programs.iter().all(|program| installed(program))
}

pub fn runtimes(stage: &Stage) -> Vec<Runtime> {
    let mut runtimes = Vec::new();
    for name in ["crun", "runc"] {
        // `crun spec` and `runc spec` write the same document but for what each knows.
        if !wanted(stage, name, &[name]) {
            continue;
        }
        let bundle = |kind: &str, args: Value| -> Option<String> {
            let dir = stage.disk.join(format!("bundle-{name}-{kind}"));
            std::fs::create_dir_all(&dir).ok()?;
            let _ = std::fs::remove_file(dir.join("config.json"));
            Line::sh(format!("cd {} && {name} spec", text(&dir))).run().ok()?;
            let path = dir.join("config.json");
            let mut spec: Value = serde_json::from_slice(&std::fs::read(&path).ok()?).ok()?;
            spec["process"]["terminal"] = json!(false);
            spec["process"]["args"] = args;
            spec["process"]["rlimits"] = json!([]);
            spec["root"] = json!({"path": text(&stage.rootfs), "readonly": false});
            std::fs::write(&path, spec.to_string()).ok()?;
            Some(text(&dir))
        };
        if let (Some(once), Some(asleep)) =
            (bundle("true", json!(["/bin/true"])), bundle("sleep", json!(["/bin/sleep", "100000"])))
        {
            let line = Line::new([name, "--root"]).with([text(&stage.options.dir.join("run").join(name))]);
            runtimes.push(Runtime { name: name.into(), line, once, asleep });
        }
    }
    runtimes
}

/// podman and docker, each with the image; what does not come up is told and left out.
pub fn engines(stage: &Stage, small: &Path) -> (Vec<Engine>, Option<Daemon>) {
    let mut engines = Vec::new();
    let mut daemon = None;
    if wanted(stage, "podman", &["podman", "conmon"]) {
        let line = podman(stage, &stage.disk.join("podman"), &stage.options.dir.join("run/podman"));
        let imported = line.with(["import", &text(small), IMAGE]).run();
        keep(&mut engines, imported, || engine("podman", line));
    }
    if wanted(stage, "docker", &["docker", "dockerd"]) {
        let socket = stage.options.dir.join("run/docker.sock");
        let client =
            ["/usr/bin/docker", "docker"].into_iter().find(|path| Path::new(path).exists()).unwrap_or("docker");
        let line = Line::new([client, "-H"]).with([format!("unix://{}", text(&socket))]);
        daemon = dockerd(stage, &line, &socket);
        let imported = line.with(["import", &text(small), IMAGE]).run();
        keep(&mut engines, imported, || engine("docker", line));
    }
    (engines, daemon)
}

fn keep(engines: &mut Vec<Engine>, imported: Result<(), String>, engine: impl FnOnce() -> Engine) {
    match imported {
        Ok(()) => engines.push(engine()),
        Err(said) => eprintln!("left out: {said}"),
    }
}

fn engine(name: &str, line: Line) -> Engine {
    // podman's default limits need CAP_SYS_RESOURCE, which root of a small machine may lack; it waits 10 s at `rm -f`.
    let (limits, rm) = match name {
        "podman" => (" --ulimit nofile=1024:1024 --ulimit nproc=1000:1000", "rm -f -t 0"),
        _ => ("", "rm -f"),
    };
    Engine { name: name.into(), line, no_net: format!("--network none{limits}"), rm: rm.into() }
}

fn podman(stage: &Stage, storage: &Path, run: &Path) -> Line {
    let conf = stage.options.dir.join("containers.conf");
    let _ = std::fs::write(
        &conf,
        "[engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\nruntime = \"crun\"\n",
    );
    let (root, tmp) = (text(&storage.join("root")), text(&storage.join("tmp")));
    Line::new(["podman", "--root", &root, "--runroot", &text(run), "--tmpdir", &tmp])
        .env("CONTAINERS_CONF", text(&conf))
}

/// podman without root, with the image; None where it does not come up.
pub fn podman_of_user(stage: &Stage, user: &User) -> Option<Engine> {
    if !wanted(stage, "podman", &["podman", "conmon"]) {
        return None;
    }
    let line = podman(stage, &user.dir.join("podman"), &user.dir.join("run/podman"))
        .words("--storage-driver overlay")
        .env("HOME", text(&user.dir))
        .env("XDG_RUNTIME_DIR", text(&user.dir.join("run")))
        .user(user.uid, user.gid);
    // The user may read only what is theirs.
    let small = user.dir.join("small.tar");
    std::fs::copy(stage.disk.join("small.tar"), &small).ok()?;
    line.with(["import", &text(&small), IMAGE]).run().map_err(|said| eprintln!("left out: {said}")).ok()?;
    Some(engine("podman", line))
}

fn dockerd(stage: &Stage, client: &Line, socket: &Path) -> Option<Daemon> {
    let run = stage.options.dir.join("run/docker");
    std::fs::create_dir_all(&run).ok()?;
    let log = std::fs::File::create(stage.options.dir.join("dockerd.log")).ok()?;
    // No bridge and no packet filter: what is measured has no network, and the host's stays as it is.
    let line = Line::new(["dockerd", "--storage-driver", "overlay2", "--bridge", "none", "--iptables=false"])
        .with(["--data-root", &text(&stage.disk.join("docker")), "--exec-root", &text(&run)])
        .with(["--pidfile", &text(&run.join("dockerd.pid")), "-H", &format!("unix://{}", text(socket))]);
    let mut command = line.command();
    let child = command.stdout(log.try_clone().ok()?).stderr(log).stdin(Stdio::null()).spawn().ok()?;
    let daemon = Daemon(child);
    for _ in 0..150 {
        if client.words("version").run().is_ok() {
            return Some(daemon);
        }
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    eprintln!("left out: dockerd does not come up, see {}", text(&stage.options.dir.join("dockerd.log")));
    Some(daemon)
}
