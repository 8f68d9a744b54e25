//! The floor: what the kernel itself takes for a container, in a program that does nothing else.
//!
//! `floor FEATURES ROOTFS WORKDIR CMD…`, where FEATURES are words joined by commas. It always clones into new mount, pid,
//! uts and ipc namespaces, mounts an overlay of ROOTFS, pivots and execs. Beside that:
//!
//! | word | what it adds |
//! |---|---|
//! | `net` | a network namespace, lo up |
//! | `volatile` | the overlay's, which spares the sync at its unmount |
//! | `seccomp` | a filter of a usual length, no_new_privs, and no capabilities but three |
//! | `dev` | /proc, /dev with its nodes, devpts, shm, mqueue, /sys, and masked paths |
//! | `cgroup` | memory, pids and cpu: made, limited, joined as cheaply as the kernel lets, removed |
//! | `state` | a state file, written and renamed twice, without a sync |
//! | `log` | a pipe for the output, and a log |
//! | `one-id` | a user namespace of one id, as an ordinary user has |
//! | `subordinate` | with it: all their ids, which newuidmap and newgidmap write, as in Ebb's containers of ordinary users |
//! | `ids` | a user namespace of 65536 ids and id-mapped layers, as Ebb's containers of root have |
//! | `supervisor` | a process between the command and the container, which outlives the command and removes what is left |
//! | `record` | the container's place, name and description on the disk, and the three files that are its own in /etc |
//! | `leave` | the container is left alone, its pid told, and nothing removed: see [`clear_left`] |
//! | `six` | three cgroups more in v1, without which there is no `stats` and no `pause`: cpuacct, blkio, freezer |

mod rights;

use ebb::kernel::{self, Cloned};
use nix::fcntl::AT_FDCWD;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::socket::{AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType};
use nix::sys::socket::{sendmsg, socket};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::sys::wait::{WaitStatus, waitpid};
use std::ffi::CString;
use std::fs::{create_dir, remove_dir, remove_file, write};
use std::io::{IoSlice, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

/// All that a container of Ebb's needs beside its own namespaces, the sum that `peers.sh` calls the full floor.
pub const FULL: &str = "net,volatile,seccomp,dev,cgroup,state,log";

const NONE: Option<&str> = None;
/// All that Ebb's containers have beside the full floor: as root, and as an ordinary user.
pub const PROMISED: &str = "ids,supervisor,record,six";

const V1: [&str; 3] = ["/sys/fs/cgroup/memory", "/sys/fs/cgroup/pids", "/sys/fs/cgroup/cpu"];
const MORE_OF_V1: [&str; 3] = ["/sys/fs/cgroup/cpuacct", "/sys/fs/cgroup/blkio", "/sys/fs/cgroup/freezer"];
/// What the description of a container takes, and what it has of its own in /etc.
const RECORD: [(&str, usize); 5] =
    [("container.json", 1800), ("config.json", 19000), ("hosts", 170), ("hostname", 13), ("resolv.conf", 0)];

struct Floor<'a> {
    features: Vec<&'a str>,
    rootfs: &'a Path,
    work: PathBuf,
    command: &'a [String],
}

pub fn main(words: &[String]) -> i32 {
    let [features, rootfs, work, command @ ..] = words else { return 2 };
    let work = Path::new(work).join(format!("floor-{}", std::process::id()));
    Floor { features: features.split(',').collect(), rootfs: Path::new(rootfs), work, command }.run()
}

impl Floor<'_> {
    fn has(&self, feature: &str) -> bool {
        self.features.contains(&feature)
    }

    fn run(&self) -> i32 {
        create_dir(&self.work).expect("a directory");
        for dir in ["upper", "work", "root", "lower", "own"] {
            create_dir(self.work.join(dir)).expect("a directory");
        }
        if self.has("record") {
            self.record();
        }
        match self.has("supervisor") {
            true => self.supervised(),
            false => {
                let (code, cgroups) = self.contain();
                self.clear(&cgroups);
                code
            }
        }
    }

    /// A process in a session of its own does it all, and the command waits for its answer.
    fn supervised(&self) -> i32 {
        let (answer, answers) = nix::unistd::pipe().expect("a pipe");
        match kernel::clone3(0, None).expect("fork") {
            Cloned::Child => {
                drop(answer);
                nix::unistd::setsid().expect("a session");
                let (code, cgroups) = self.contain();
                let _ = std::fs::File::from(answers).write_all(&[code as u8]);
                self.clear(&cgroups);
                kernel::exit_now(0)
            }
            Cloned::Parent { .. } => {
                drop(answers);
                let mut code = [1];
                std::fs::File::from(answer).read_exact(&mut code).expect("an answer");
                code[0].into()
            }
        }
    }

    fn contain(&self) -> (i32, Vec<PathBuf>) {
        let cgroups = if self.has("cgroup") { self.cgroups() } else { Vec::new() };
        if self.has("state") {
            self.state();
        }
        let output = self.has("log").then(|| nix::unistd::pipe().expect("a pipe"));
        // The parent's end closes when the ids are mapped; the mounts that are id-mapped come through it.
        let (go, wait) = std::os::unix::net::UnixDatagram::pair().expect("a socket pair");
        let mut flags = libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWUTS | libc::CLONE_NEWIPC;
        if self.has("net") {
            flags |= libc::CLONE_NEWNET;
        }
        let mapped = self.has("one-id") || self.has("ids");
        if mapped {
            flags |= libc::CLONE_NEWUSER;
        }
        // In v2 the child is born in its group; in v1 it writes itself into it.
        let into = if v2() { cgroups.first().map(|dir| std::fs::File::open(dir).expect("a cgroup")) } else { None };
        let child = kernel::clone3(flags as u64, into.as_ref().map(|dir| dir.as_fd())).expect("clone3");
        let pid = match child {
            Cloned::Child => {
                drop(go);
                if mapped {
                    self.receive(&wait);
                }
                if let Some((_, stdout)) = &output {
                    nix::unistd::dup2_stdout(stdout).expect("dup2");
                }
                if self.has("leave") {
                    let null = std::fs::File::options().write(true).open("/dev/null").expect("/dev/null");
                    nix::unistd::dup2_stdout(&null).expect("dup2");
                    nix::unistd::dup2_stderr(&null).expect("dup2");
                }
                let joins = if v2() { &[] } else { cgroups.as_slice() };
                self.child(joins)
            }
            Cloned::Parent { pid, .. } => pid,
        };
        if mapped {
            self.map_ids(pid, &go);
        }
        drop((go, wait));
        if self.has("leave") {
            println!("{pid} {}", self.work.display());
            kernel::exit_now(0);
        }
        if let Some((read, write)) = output {
            drop(write);
            self.log(read);
        }
        let code = match waitpid(pid, None) {
            Ok(WaitStatus::Exited(_, code)) => code,
            _ => 1,
        };
        (code, cgroups)
    }

    fn record(&self) {
        for (file, length) in RECORD {
            write(self.work.join(file), vec![b' '; length]).expect("a file");
        }
        let name = self.work.with_extension("name");
        std::os::unix::fs::symlink(&self.work, name).expect("a name");
    }

    fn child(&self, joins: &[PathBuf]) -> ! {
        for dir in joins {
            write(dir.join("tasks"), "0").expect("join a cgroup");
        }
        if self.has("ids") {
            nix::unistd::setresgid(0.into(), 0.into(), 0.into()).expect("setresgid");
            nix::unistd::setresuid(0.into(), 0.into(), 0.into()).expect("setresuid");
        }
        nix::unistd::sethostname("floor").expect("sethostname");
        if self.has("net") {
            let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None).expect("socket");
            kernel::loopback_up(&socket).expect("lo");
        }
        mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE).expect("private");
        self.overlay();
        nix::unistd::chdir(&self.work.join("root")).expect("chdir");
        if self.has("dev") {
            self.devices();
        }
        kernel::pivot_root_here().expect("pivot_root");
        umount2(".", MntFlags::MNT_DETACH).expect("umount");
        nix::unistd::chdir("/").expect("chdir");
        if self.has("seccomp") {
            rights::lock_down();
        }
        let words: Vec<CString> =
            self.command.iter().map(|word| CString::new(word.as_str()).expect("no NUL")).collect();
        let error = nix::unistd::execve(&words[0], &words, &[c"PATH=/bin:/usr/bin"]).unwrap_err();
        eprintln!("floor: execve: {error}");
        kernel::exit_now(127)
    }

    fn overlay(&self) {
        let (mut lower, mut own) = (self.rootfs.to_path_buf(), self.work.clone());
        if self.has("ids") {
            // The mounts that `map_ids` has made wait in a directory of each of them.
            (lower, own) = (self.work.join("lower"), self.work.join("own"));
        }
        let mut options = format!(
            "lowerdir={},upperdir={},workdir={}",
            lower.display(),
            own.join("upper").display(),
            own.join("work").display()
        );
        for (feature, option) in [("volatile", ",volatile"), ("one-id", ",userxattr"), ("ids", ",userxattr")] {
            if self.has(feature) {
                options += option;
            }
        }
        mount(Some("overlay"), &self.work.join("root"), Some("overlay"), MsFlags::empty(), Some(options.as_str()))
            .expect("overlay");
    }

    fn devices(&self) {
        let quiet = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        let put = |kind: &str, at: &str, flags: MsFlags, options: Option<&str>| {
            mount(Some(kind), at, Some(kind), flags, options).unwrap_or_else(|errno| panic!("{at}: {errno}"));
        };
        put("proc", "proc", quiet, None);
        put("tmpfs", "dev", MsFlags::MS_NOSUID, Some("mode=755,size=65536k"));
        for (name, major, minor) in
            [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)]
        {
            let path = format!("dev/{name}");
            if self.has("ids") || self.has("one-id") {
                // In a user namespace no device can be made, so the host's is shown.
                write(&path, "").expect("a file");
                mount(Some(format!("/dev/{name}").as_str()), path.as_str(), NONE, MsFlags::MS_BIND, NONE)
                    .expect("bind");
            } else {
                mknod(path.as_str(), SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(major, minor))
                    .expect("mknod");
            }
        }
        for (target, link) in [
            ("/proc/self/fd", "fd"),
            ("/proc/self/fd/0", "stdin"),
            ("/proc/self/fd/1", "stdout"),
            ("/proc/self/fd/2", "stderr"),
            ("pts/ptmx", "ptmx"),
        ] {
            std::os::unix::fs::symlink(target, format!("dev/{link}")).expect("a link");
        }
        for dir in ["pts", "shm", "mqueue"] {
            create_dir(format!("dev/{dir}")).expect("a directory");
        }
        let on_pts = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
        put("devpts", "dev/pts", on_pts, Some("newinstance,ptmxmode=0666,mode=0620"));
        put("tmpfs", "dev/shm", quiet, Some("mode=1777,size=65536k"));
        put("mqueue", "dev/mqueue", quiet, None);
        put("sysfs", "sys", quiet | MsFlags::MS_RDONLY, None);
        for path in ["proc/kcore", "proc/keys", "proc/timer_list"] {
            let _ = mount(Some("dev/null"), path, NONE, MsFlags::MS_BIND, NONE);
        }
        for path in ["proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger"] {
            if mount(Some(path), path, NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE).is_ok() {
                let _ =
                    mount(NONE, path, NONE, MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY | quiet, NONE);
            }
        }
    }

    fn map_ids(&self, pid: nix::unistd::Pid, child: &UnixDatagram) {
        let proc = PathBuf::from(format!("/proc/{pid}"));
        let mut trees = Vec::new();
        if self.has("subordinate") {
            rights::subordinate_ids(pid);
        } else if self.has("one-id") {
            write(proc.join("setgroups"), "deny").expect("setgroups");
            write(proc.join("uid_map"), format!("0 {} 1", nix::unistd::geteuid())).expect("uid_map");
            write(proc.join("gid_map"), format!("0 {} 1", nix::unistd::getegid())).expect("gid_map");
        } else {
            write(proc.join("uid_map"), "0 300000 65536").expect("uid_map");
            write(proc.join("gid_map"), "0 300000 65536").expect("gid_map");
            let namespace = std::fs::File::open(proc.join("ns/user")).expect("its user namespace");
            for path in [self.rootfs, &self.work] {
                let path = CString::new(path.as_os_str().as_encoded_bytes()).expect("no NUL");
                let tree = kernel::open_tree(AT_FDCWD, &path, libc::OPEN_TREE_CLONE).expect("open_tree");
                kernel::mount_setattr(&tree, false, 0, 0, 0, Some(namespace.as_fd())).expect("an id-mapped mount");
                trees.push(tree);
            }
        }
        let numbers: Vec<_> = trees.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&numbers)];
        let rights = if numbers.is_empty() { &rights[1..] } else { &rights[..] };
        sendmsg::<()>(child.as_raw_fd(), &[IoSlice::new(b"m")], rights, MsgFlags::empty(), None).expect("sendmsg");
    }

    /// The parent has mapped our ids, and sends the id-mapped mounts, which only we can attach in our namespace.
    fn receive(&self, parent: &UnixDatagram) {
        let (_, trees) = kernel::receive(parent, &mut [0]).expect("recvmsg");
        for (name, tree) in ["lower", "own"].iter().zip(&trees) {
            let place = std::fs::File::open(self.work.join(name)).expect("a directory");
            kernel::move_mount(tree, &place).expect("move_mount");
        }
    }

    fn log(&self, from: OwnedFd) {
        let mut log = std::fs::File::create(self.work.join("log")).expect("a file");
        let (mut from, mut bytes) = (std::fs::File::from(from), [0; 4096]);
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            let _ = log.write_all(&bytes[..count]);
            let _ = std::io::stdout().write_all(&bytes[..count]);
        }
    }

    fn state(&self) {
        for _ in 0..2 {
            write(self.work.join(".state"), [b' '; 3000]).expect("a file");
            std::fs::rename(self.work.join(".state"), self.work.join("state.json")).expect("rename");
        }
    }

    fn cgroups(&self) -> Vec<PathBuf> {
        let name = self.work.file_name().expect("a name");
        let dirs: Vec<PathBuf> = match v2() {
            true => vec![Path::new("/sys/fs/cgroup").join(name)],
            false => {
                let more = if self.has("six") { &MORE_OF_V1[..] } else { &[] };
                V1.iter().chain(more).map(|dir| Path::new(dir).join(name)).collect()
            }
        };
        for dir in &dirs {
            create_dir(dir).expect("a cgroup");
            for (file, limit) in
                [("memory.limit_in_bytes", "268435456"), ("memory.max", "268435456"), ("pids.max", "100")]
            {
                let file = dir.join(file);
                if file.exists() {
                    write(file, limit).expect("a limit");
                }
            }
        }
        dirs
    }

    fn clear(&self, cgroups: &[PathBuf]) {
        for dir in
            ["work/work/incompat/volatile", "work/work/incompat", "work/work", "work", "upper", "root", "lower", "own"]
        {
            let _ = remove_file(self.work.join(dir).join("dirty"));
            let _ = remove_dir(self.work.join(dir));
        }
        for file in ["log", "state.json"].into_iter().chain(RECORD.map(|(file, _)| file)) {
            let _ = remove_file(self.work.join(file));
        }
        let _ = remove_file(self.work.with_extension("name"));
        let _ = remove_dir(&self.work);
        for dir in cgroups {
            let _ = remove_dir(dir);
        }
    }
}

/// Ends a container that was left alone, by the line that was told of it.
pub fn clear_left(told: &str) {
    let Some((pid, work)) = told.trim().split_once(' ') else { return };
    let pid = nix::unistd::Pid::from_raw(pid.parse().expect("a pid"));
    let handle = kernel::pidfd_open(pid).expect("it lives");
    kernel::pidfd_send_signal(&handle, libc::SIGKILL).expect("it is ours");
    let mut ended = [nix::poll::PollFd::new(handle.as_fd(), nix::poll::PollFlags::POLLIN)];
    nix::poll::poll(&mut ended, nix::poll::PollTimeout::NONE).expect("poll");
    let work = Path::new(work);
    let _ = std::fs::remove_dir_all(work);
    let _ = remove_file(work.with_extension("name"));
    for tree in V1.iter().chain(&MORE_OF_V1).copied().chain(["/sys/fs/cgroup"]) {
        let _ = remove_dir(Path::new(tree).join(work.file_name().expect("a name")));
    }
}

fn v2() -> bool {
    Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}
