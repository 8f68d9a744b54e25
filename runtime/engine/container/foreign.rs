//! `run --runtime PATH`: another OCI runtime (runc, crun) turns the bundle into a process.
//!
//! Ebb's bundle names the overlay as its first mount, at `/`, which only Ebb's `oci` knows how to mount inside the
//! container. Another runtime wants a root directory that is already there: so the calling process, the container's
//! supervisor, moves into a mount namespace of its own, mounts the overlay on the bundle's `rootfs` there, and runs the
//! other runtime from there. When the supervisor ends, so does the namespace: no mount can leak. Mounting takes root.

use crate::error::{Doing, Error, Kind, Result};
use crate::explain::{self, calls};
use crate::kernel;
use crate::oci::{self, Given, Io, detached, process_stat};
use crate::store::{atomic, tree};
use nix::mount::{MntFlags, MsFlags};
use nix::sched::CloneFlags;
use nix::sys::stat::{SFlag, fstat};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A container that another runtime has created; the counterpart of `oci::Init`. Its first process becomes a child of
/// the caller, who therefore reaps it.
pub struct Foreign {
    pub pid: Pid,
    pub pidfd: OwnedFd,
    pub start_time: u64,
    pub console: Option<OwnedFd>,
    /// As the bundle names it, below the root of each tree: where runc and crun put it too.
    pub cgroup: String,
    runtime: PathBuf,
    /// `BUNDLE/foreign`: the other runtime's bundle and its state.
    dir: PathBuf,
    id: String,
}

/// Creates the container of Ebb's `bundle` by `runtime`, a path or a name in PATH.
///
/// Changes the calling process for good: it gets a mount namespace of its own and becomes a subreaper. For a supervisor.
pub fn create(runtime: &Path, bundle: &Path, id: &str, io: Io, given: &[Given]) -> Result<Foreign> {
    if !nix::unistd::geteuid().is_root() {
        return Err(Error::new(format!(
            "--runtime {} takes root: another runtime cannot mount the overlay itself",
            runtime.display()
        )));
    }
    let dir = bundle.join("foreign");
    if dir.exists() {
        tree::remove(&dir)?;
    }
    std::fs::create_dir(&dir).doing(|| format!("make {}", dir.display()))?;
    let mut config: Value = atomic::read_json(&bundle.join("config.json"))?;
    let rootfs = bundle.join("rootfs");
    let overlay = adapt(&mut config, &rootfs);
    leave_out_capabilities(&mut config, &oci::capabilities::held()?);

    explain::step("the container's first process will be ours to wait for, whoever forks it", "");
    calls::prctl(libc::PR_SET_CHILD_SUBREAPER, 1).doing(|| "become a subreaper")?;
    let peers = peers(&config)?;
    mount_privately(overlay.as_ref(), &rootfs)?;
    attach_given(given.iter().chain(&peers), &mut config, &dir)?;
    mount_subpaths(&mut config, &dir)?;
    atomic::write_json(&dir.join("config.json"), &config)?;
    let created = run_create(runtime, &dir, id, io, &config);
    if created.is_err() {
        let _ = run(command(runtime, &dir).args(["delete", "--force", id]).stdin(Stdio::null()), runtime, &dir);
        let _ = calls::umount2(&rootfs, MntFlags::MNT_DETACH);
    }
    created
}

/// Turns Ebb's configuration into one that any runtime takes, and gives the overlay mount that was in it.
///
/// Without a user namespace: Ebb shifts ids by id-mapped mounts, which older runtimes do not know.
fn adapt(config: &mut Value, rootfs: &Path) -> Option<Value> {
    config["ociVersion"] = json!("1.0.2");
    config["root"]["path"] = json!(rootfs);
    if let Some(linux) = config["linux"].as_object_mut() {
        linux.remove("uidMappings");
        linux.remove("gidMappings");
        if let Some(namespaces) = linux.get_mut("namespaces").and_then(Value::as_array_mut) {
            namespaces.retain(|namespace| namespace["type"] != "user");
        }
    }
    let mounts = config["mounts"].as_array_mut()?;
    let overlay = mounts.iter().position(|mount| mount["destination"] == "/").map(|index| mounts.remove(index));
    for mount in mounts.iter_mut().filter_map(Value::as_object_mut) {
        mount.remove("uidMappings");
        mount.remove("gidMappings");
        if let Some(options) = mount.get_mut("options").and_then(Value::as_array_mut) {
            options.retain(|option| option != "idmap" && option != "ridmap");
        }
    }
    overlay
}

/// What nobody here has (a root with less than all) is left out, as Ebb's own runtime does; runc fails at it.
fn leave_out_capabilities(config: &mut Value, held: &[String]) {
    let sets = config["process"]["capabilities"].as_object_mut().into_iter().flat_map(|sets| sets.values_mut());
    for set in sets.filter_map(Value::as_array_mut) {
        set.retain(|name| name.as_str().is_some_and(|name| held.iter().any(|held| held == name)));
    }
}

fn mount_privately(overlay: Option<&Value>, rootfs: &Path) -> Result<()> {
    explain::step(
        "the supervisor makes a mount namespace of its own: the other runtime finds the root ready there",
        "unshare --mount …",
    );
    calls::unshare(CloneFlags::CLONE_NEWNS).doing(|| "make a mount namespace")?;
    // Slaves: what is mounted or unmounted on the host still arrives here, and nothing from here gets out.
    explain::step("what is mounted there is not seen outside", "mount --make-rslave /");
    calls::mount(None, "/", None, MsFlags::MS_REC | MsFlags::MS_SLAVE, None).doing(|| "separate the mounts")?;
    let Some(overlay) = overlay else { return Ok(()) };
    let options: Vec<&str> = overlay["options"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let what = || format!("mount the overlay on {}", rootfs.display());
    explain::step(
        "the overlay, which the other runtime will take for its root",
        format_args!("mount -t overlay overlay -o {} {}", options.join(","), rootfs.display()),
    );
    calls::mount(Some("overlay"), rootfs, Some("overlay"), MsFlags::empty(), Some(options.join(",").as_str()))
        .doing(what)
}

/// What is to be shared with the host: copies of its mounts, taken while ours are still their peers. (In the supervisor's own
/// mounts there are only slaves of them, which hear and are not heard.)
fn peers(config: &Value) -> Result<Vec<Given>> {
    let mut peers = Vec::new();
    for mount in config["mounts"].as_array().into_iter().flatten() {
        let has = |wanted: &[&str]| {
            let mut words = mount["options"].as_array().into_iter().flatten().filter_map(Value::as_str);
            words.any(|word| wanted.contains(&word))
        };
        let (Some(source), Some(destination)) = (mount["source"].as_str(), mount["destination"].as_str()) else {
            continue;
        };
        if has(&["shared", "rshared"]) && has(&["bind", "rbind"]) {
            explain::step(
                "a copy that stays in touch: what is mounted below it on one side will be seen on the other",
                format_args!("mount --bind {source} …"),
            );
            let copied = detached::peer_of(Path::new(source), has(&["rbind"]), has(&[oci::NO_LINKS]))?;
            peers.push(Given { destination: PathBuf::from(destination), mount: std::rc::Rc::new(copied) });
        }
    }
    Ok(peers)
}

/// What was given for a mount is attached where the other runtime finds it as a directory.
fn attach_given<'a>(given: impl Iterator<Item = &'a Given>, config: &mut Value, dir: &Path) -> Result<()> {
    for (index, given) in given.enumerate() {
        let is_for = |mount: &&mut Value| mount["destination"].as_str().map(Path::new) == Some(&given.destination);
        let Some(mount) = config["mounts"].as_array_mut().into_iter().flatten().find(is_for) else { continue };
        let place = dir.join(format!("{SUBPATH_STEM}given-{index}"));
        match SFlag::from_bits_truncate(fstat(&*given.mount).doing(|| "look at a mount")?.st_mode) & SFlag::S_IFMT {
            SFlag::S_IFDIR => std::fs::create_dir(&place),
            _ => File::create_new(&place).map(drop),
        }
        .doing(|| format!("make {}", place.display()))?;
        detached::attach(&*given.mount, &place)?;
        mount["source"] = json!(place);
        // It is the part already that was asked for.
        if let Some(options) = mount["options"].as_array_mut() {
            options.retain(|word| !word.as_str().is_some_and(oci::is_own_word));
        }
    }
    Ok(())
}

/// What is mounted of a volume, and a bind's source without links, are words of Ebb's own: mounted here, for the other
/// runtime to find it as a directory.
fn mount_subpaths(config: &mut Value, dir: &Path) -> Result<()> {
    for (index, mount) in config["mounts"].as_array_mut().into_iter().flatten().enumerate() {
        let Some(options) = mount["options"].as_array_mut() else { continue };
        let ours: Vec<String> =
            options.iter().filter_map(Value::as_str).filter(|word| oci::is_own_word(word)).map(str::to_owned).collect();
        if ours.is_empty() {
            continue;
        }
        options.retain(|word| !word.as_str().is_some_and(oci::is_own_word));
        let subpath = ours.iter().find_map(|word| word.strip_prefix(oci::SUBPATH)).map(Path::new);
        let no_links = ours.iter().any(|word| word == oci::NO_LINKS);
        let place = dir.join(format!("{SUBPATH_STEM}{index}"));
        oci::bind_at(Path::new(mount["source"].as_str().unwrap_or_default()), subpath, no_links, &place)?;
        mount["source"] = json!(place);
    }
    Ok(())
}

const SUBPATH_STEM: &str = "volume-";

fn unmount_subpaths(dir: &Path) -> Result<()> {
    let names = std::fs::read_dir(dir).doing(|| format!("read {}", dir.display()))?.flatten();
    for place in names.filter(|name| name.file_name().as_encoded_bytes().starts_with(SUBPATH_STEM.as_bytes())) {
        let place = place.path();
        // What lies below a peer would be unmounted on the host, too.
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        calls::mount(None, &place, None, private, None).doing(|| format!("separate {}", place.display()))?;
        calls::umount2(&place, MntFlags::MNT_DETACH).doing(|| format!("unmount {}", place.display()))?;
    }
    Ok(())
}

fn run_create(runtime: &Path, dir: &Path, id: &str, io: Io, config: &Value) -> Result<Foreign> {
    let pid_file = dir.join("pid");
    let mut command = command(runtime, dir);
    command.arg("create").arg("--bundle").arg(dir).arg("--pid-file").arg(&pid_file);
    let listener = match io {
        Io::Descriptors { stdin, stdout, stderr } => {
            command.stdin(stdin).stdout(stdout).stderr(stderr);
            None
        }
        Io::Inherit => None,
        Io::Terminal { rows, columns } => {
            let console = Console::listen(dir)?;
            command
                .arg("--console-socket")
                .arg(&console.path)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            Some((console, rows, columns))
        }
    };
    let done = run(command.arg(id), runtime, dir);
    let console = match listener {
        Some((console, rows, columns)) => {
            done?;
            let console =
                receive(&console.listener).doing(|| format!("receive the terminal from {}", runtime.display()))?;
            kernel::set_window_size(&console, rows, columns).doing(|| "size the terminal")?;
            Some(console)
        }
        None => done.map(|()| None)?,
    };
    let pid = std::fs::read_to_string(&pid_file).doing(|| format!("read {}", pid_file.display()))?;
    let pid = Pid::from_raw(pid.trim().parse().map_err(|_| Error::new(format!("{} wrote no pid", runtime.display())))?);
    Ok(Foreign {
        pid,
        pidfd: kernel::pidfd_open(pid).doing(|| "watch the container's first process")?,
        start_time: process_stat(pid.as_raw()).map_or(0, |(_, start)| start),
        console,
        cgroup: config["linux"]["cgroupsPath"].as_str().unwrap_or("").to_owned(),
        runtime: runtime.to_owned(),
        dir: dir.to_owned(),
        id: id.to_owned(),
    })
}

/// Where the other runtime sends the terminal: a socket in the container's own directory, where nobody else can put one.
struct Console {
    listener: UnixListener,
    /// A socket's address holds 108 bytes, and a store may lie deeper than that: by our descriptor of the directory.
    path: PathBuf,
    _directory: File,
}

impl Console {
    fn listen(dir: &Path) -> Result<Console> {
        let directory = File::open(dir).doing(|| format!("open {}", dir.display()))?;
        let path = PathBuf::from(format!("/proc/{}/fd/{}/console", std::process::id(), directory.as_raw_fd()));
        let listener = UnixListener::bind(&path).doing(|| format!("bind {}/console", dir.display()))?;
        Ok(Console { listener, path, _directory: directory })
    }
}

/// The descriptor that the runtime sends over the console socket (SCM_RIGHTS). Its connection is already waiting.
fn receive(listener: &UnixListener) -> Result<OwnedFd> {
    let (stream, _) = listener.accept().doing(|| "accept")?;
    let (_, mut descriptors) = kernel::receive(&stream, &mut [0; 256]).doing(|| "receive")?;
    descriptors.pop().ok_or_else(|| Error::new("no descriptor came with the message"))
}

fn command(runtime: &Path, dir: &Path) -> Command {
    let mut command = Command::new(runtime);
    command.arg("--root").arg(dir.join("state")).arg("--log").arg(dir.join("log")).args(["--log-format", "json"]);
    command
}

/// Runs the other runtime, and gives its own words where it fails: from its log, since stderr is the container's.
fn run(command: &mut Command, runtime: &Path, dir: &Path) -> Result<()> {
    let name = runtime.display();
    explain::step(format_args!("the other runtime does its part: {name}"), "");
    let status = calls::status(command).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::new(format!("unknown or invalid runtime name: {name}")),
        _ => Error::new(format!("run {name}: {error}")),
    })?;
    if status.success() {
        return Ok(());
    }
    let log = std::fs::read_to_string(dir.join("log")).unwrap_or_default();
    let mut newest_first = log.lines().rev().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let last = newest_first.find(|line| line["level"] == "error");
    let last = last.and_then(|line| line["msg"].as_str().map(str::to_owned));
    let message = last.unwrap_or_else(|| format!("{name} failed with {status}"));
    let kind = if message.contains("executable file not found") || message.contains("no such file or directory") {
        Kind::CommandNotFound
    } else if message.contains("permission denied") {
        Kind::NotExecutable
    } else {
        Kind::Other
    };
    Err(Error::of(kind, format!("{name}: {message}")))
}

impl Foreign {
    /// Lets the container's program begin.
    pub fn start(&mut self) -> Result<()> {
        let mut command = command(&self.runtime, &self.dir);
        run(command.arg("start").arg(&self.id).stdin(Stdio::null()), &self.runtime, &self.dir)
    }

    /// By the other runtime, which may know of more processes than the first.
    pub fn kill(&self, signal: i32) -> Result<()> {
        let mut command = command(&self.runtime, &self.dir);
        command.arg("kill").arg(&self.id).arg(signal.to_string()).stdin(Stdio::null());
        run(&mut command, &self.runtime, &self.dir)
    }

    /// Once it has ended and was reaped: what the other runtime holds, and the overlay.
    pub fn delete(&self) -> Result<()> {
        let mut command = command(&self.runtime, &self.dir);
        let deleted =
            run(command.args(["delete", "--force"]).arg(&self.id).stdin(Stdio::null()), &self.runtime, &self.dir);
        let rootfs = self.dir.with_file_name("rootfs");
        let unmounted = match calls::umount2(&rootfs, MntFlags::MNT_DETACH) {
            Ok(()) | Err(nix::errno::Errno::EINVAL) => Ok(()),
            Err(errno) => Err(errno).doing(|| format!("unmount {}", rootfs.display())),
        };
        let unmounted = unmounted.and(unmount_subpaths(&self.dir));
        let removed = tree::remove(&self.dir);
        deleted.and(unmounted).and(removed)
    }
}
