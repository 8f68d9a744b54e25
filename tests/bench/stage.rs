//! Where it is measured: a disk of our own, a small image in every engine, and an ordinary user.

use crate::measure::Line;
use crate::options::Options;
use crate::peers::{self, Engine, Runtime};
use crate::report::Verdict;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

pub const IMAGE: &str = "benchimg";

pub struct Stage {
    pub options: Options,
    pub root: bool,
    /// Where all storage lies, and what kind of storage that is.
    pub disk: PathBuf,
    pub storage: String,
    ebb: PathBuf,
    /// A copy of this program, which is the floor.
    program: PathBuf,
    pub rootfs: PathBuf,
    pub runtimes: Vec<Runtime>,
    pub engines: Vec<Engine>,
    pub user: Option<User>,
    pub verdicts: Vec<Verdict>,
    daemon: Option<peers::Daemon>,
}

/// An ordinary user and a directory of theirs on the measured disk.
pub struct User {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
    pub dir: PathBuf,
}

impl Stage {
    pub fn set(options: Options) -> Stage {
        let root = nix::unistd::geteuid().is_root();
        let dir = options.dir.clone();
        std::fs::create_dir_all(&dir).expect("the scratch directory");
        if root {
            open(&dir);
        }
        // What a run that was killed has left of its runtimes' states: their processes are gone, or not ours to end.
        let _ = std::fs::remove_dir_all(dir.join("run"));
        let (disk, storage) = disk(&dir, root);
        let copy = |from: &Path, name: &str| {
            let to = dir.join(name);
            let _ = std::fs::remove_file(&to);
            std::fs::copy(from, &to).expect("a copy");
            to
        };
        let ebb = std::env::var_os("EBB_BENCH_BINARY").map_or(PathBuf::from(env!("CARGO_BIN_EXE_ebb")), PathBuf::from);
        let ebb = copy(&ebb, "ebb");
        let program = copy(&std::env::current_exe().expect("this program"), "bench");
        let rootfs = rootfs(&disk);
        let mut stage = Stage {
            root,
            disk,
            storage,
            ebb,
            program,
            rootfs,
            runtimes: Vec::new(),
            engines: Vec::new(),
            user: None,
            verdicts: Vec::new(),
            daemon: None,
            options,
        };
        let small = stage.disk.join("small.tar");
        Line::new(["tar", "-C"])
            .with([text(&stage.rootfs), "-cf".into(), text(&small), ".".into()])
            .run()
            .expect("tar");
        stage.ebb().with(["import", &text(&small), IMAGE]).run().expect("import");
        if root {
            stage.runtimes = peers::runtimes(&stage);
            (stage.engines, stage.daemon) = peers::engines(&stage, &small);
            stage.user = user(&stage.options, &stage.disk);
            if stage.user.is_some() {
                stage.ebb_of_user().with(["import", &text(&small), IMAGE]).run().expect("import as a user");
            }
        }
        stage
    }

    pub fn measured_program(&self) -> &Path {
        &self.ebb
    }

    /// Ebb, on the measured disk.
    pub fn ebb(&self) -> Line {
        Line::new([text(&self.ebb)]).env("EBB_ROOT", text(&self.disk.join("ebb")))
    }

    pub fn ebb_path(&self) -> &Path {
        &self.ebb
    }

    /// Ebb as the ordinary user: the one that runs this, or the one that root has picked.
    pub fn ebb_of_user(&self) -> Line {
        match &self.user {
            Some(user) => Line::new([text(&self.ebb)])
                .env("EBB_ROOT", text(&user.dir.join("ebb")))
                .env("HOME", text(&user.dir))
                .user(user.uid, user.gid),
            None => self.ebb(),
        }
    }

    /// The floor with these features, as in `floor.rs`.
    pub fn floor(&self, features: &str) -> Line {
        self.floor_of(features, "/bin/true")
    }

    /// [`Self::floor`], of another command.
    pub fn floor_of(&self, features: &str, command: &str) -> Line {
        let work = self.disk.join("floor");
        let _ = std::fs::create_dir_all(&work);
        self.this().with(["floor", features, &text(&self.rootfs), &text(&work)]).words(command)
    }

    pub fn floor_of_user(&self, features: &str) -> Line {
        let Some(user) = &self.user else { return self.floor(features) };
        let work = user.dir.join("floor");
        if std::fs::create_dir_all(&work).is_ok() {
            let _ = chown(&work, Some(user.uid), Some(user.gid));
        }
        self.this()
            .with(["floor", features, &text(&self.rootfs), &text(&work)])
            .words("/bin/true")
            .user(user.uid, user.gid)
    }

    /// This program, for what it can be asked to do by itself.
    pub fn this(&self) -> Line {
        Line::new([text(&self.program)])
    }

    /// Ends what was started and removes what was made.
    pub fn strike(mut self) {
        for engine in &self.engines {
            let _ = engine.line.words("container prune -f").run();
        }
        drop(self.daemon.take());
        if self.disk != self.options.dir.join("data") {
            let _ = umount2(&self.disk, MntFlags::MNT_DETACH);
            let _ = std::fs::remove_file(self.options.dir.join("disk.img"));
        } else {
            let _ = self.ebb().words("rmi -f").with([IMAGE]).run();
            let _ = std::fs::remove_dir_all(&self.disk);
        }
    }
}

pub fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn open(dir: &Path) {
    let _ = std::fs::set_permissions(dir, PermissionsExt::from_mode(0o755));
}

/// A fresh ext4 with a journal in a file, loop-mounted in a mount namespace of our own, so that it goes with us. On one
/// without a journal, as some small machines have, create-and-delete cycles are ten times slower for everybody.
fn disk(dir: &Path, root: bool) -> (PathBuf, String) {
    let plain = |why: &str| {
        let data = dir.join("data");
        std::fs::create_dir_all(&data).expect("a directory");
        let kind = Line::new(["stat", "-f", "-c", "%T"]).with([text(&data)]).output().unwrap_or_default();
        (data, format!("a directory on {kind}, since {why}"))
    };
    if !root {
        return plain("only root can mount a disk of its own");
    }
    if let Err(errno) = nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS) {
        return plain(&format!("unshare says {errno}"));
    }
    let none: Option<&str> = None;
    let _ = mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none);
    // crun refuses the hybrid of cgroup v1 and v2; podman keeps its locks in /dev/shm. Both only here.
    let _ = umount2("/sys/fs/cgroup/unified", MntFlags::MNT_DETACH);
    let _ = mount(Some("tmpfs"), "/dev/shm", Some("tmpfs"), MsFlags::empty(), Some("mode=1777"));
    let (image, disk) = (text(&dir.join("disk.img")), dir.join("disk"));
    std::fs::create_dir_all(&disk).expect("a directory");
    let make = format!(
        "rm -f {image} && truncate -s 12G {image} && \
         mkfs.ext4 -q -F -N 500000 -E lazy_itable_init=0,lazy_journal_init=0 {image} && mount -o loop {image} {}",
        text(&disk)
    );
    match Line::sh(make).run() {
        Ok(()) => {
            open(&disk);
            (disk, "a fresh loop-mounted ext4 with a journal".into())
        }
        Err(said) => plain(&said),
    }
}

/// The smallest root file system: busybox, and the directories that a runtime mounts on.
fn rootfs(disk: &Path) -> PathBuf {
    let rootfs = disk.join("rootfs");
    for dir in ["bin", "dev", "etc", "proc", "root", "sys", "tmp", "data"] {
        std::fs::create_dir_all(rootfs.join(dir)).expect("a directory");
    }
    let busybox =
        ["/bin/busybox", "/usr/bin/busybox", "/bin/busybox.static"].into_iter().find(|path| Path::new(path).exists());
    std::fs::copy(busybox.expect("busybox (Debian: busybox-static)"), rootfs.join("bin/busybox")).expect("a copy");
    for applet in ["sh", "true", "sleep", "echo", "cat", "dd", "tar", "gzip"] {
        let _ = symlink("busybox", rootfs.join("bin").join(applet));
    }
    std::fs::write(rootfs.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").expect("a file");
    std::fs::write(rootfs.join("etc/group"), "root:x:0:\n").expect("a file");
    rootfs
}

fn user(options: &Options, disk: &Path) -> Option<User> {
    let subordinate = std::fs::read_to_string("/etc/subuid").unwrap_or_default();
    let names = subordinate.lines().filter_map(|line| line.split(':').next());
    let name = options.user.clone().or_else(|| {
        names
            .filter(|name| *name != "root")
            .find(|name| nix::unistd::User::from_name(name).is_ok_and(|user| user.is_some()))
            .map(str::to_owned)
    })?;
    let found = nix::unistd::User::from_name(&name).ok()??;
    let dir = disk.join("user");
    let (uid, gid) = (found.uid.as_raw(), found.gid.as_raw());
    std::fs::create_dir_all(dir.join("run")).ok()?;
    for path in [dir.clone(), dir.join("run")] {
        chown(&path, Some(uid), Some(gid)).ok()?;
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o700)).ok()?;
    }
    Some(User { name, uid, gid, dir })
}
