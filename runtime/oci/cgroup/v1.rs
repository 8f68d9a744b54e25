//! Version 1: one tree for each controller (or for a few that are mounted together).

use super::{
    Below, Prepared, Usage, children, collect, field, join, make, no_path, read, read_number, refuse_inhabited, set,
    steps,
};
use crate::error::{Doing, Error, Result};
use crate::explain::{self, calls};
use crate::kernel;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{AccessFlags, Pid, access};
use oci_spec::runtime::LinuxResources;
use std::fs::{File, OpenOptions};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

mod limit;

pub(super) use limit::limit;

pub(super) struct Tree {
    pub mount: PathBuf,
    /// Which part of the tree is mounted: in a container that has kept the host's cgroup namespace not its top.
    pub root: String,
    pub controllers: Vec<String>,
}

/// The controllers that limit, count or freeze; the rest (net_cls, perf_event, rdma, …) a container does not join.
const OURS: &[&str] = &["cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "pids", "blkio", "hugetlb"];

/// The trees of this host, where this user may make cgroups in them.
pub(super) fn trees() -> std::result::Result<&'static [Tree], String> {
    found().as_ref().map(|found| found.trees.as_slice()).map_err(Clone::clone)
}

/// The tree of version 2 that a hybrid host has beside them, without controllers: a process is somewhere in it, too.
pub(super) fn unified() -> Option<&'static Tree> {
    found().as_ref().ok().and_then(|found| found.unified.as_ref())
}

struct Found {
    trees: Vec<Tree>,
    unified: Option<Tree>,
}

/// Asked at every step, and the same for as long as a process lives.
fn found() -> &'static std::result::Result<Found, String> {
    static FOUND: OnceLock<std::result::Result<Found, String>> = OnceLock::new();
    FOUND.get_or_init(find_trees)
}

fn find_trees() -> std::result::Result<Found, String> {
    let mounts =
        crate::procfs::read("/proc/self/mountinfo").map_err(|error| format!("no mounts to be seen: {error}"))?;
    let (mut trees, mut unified): (Vec<Tree>, Option<Tree>) = (Vec::new(), None);
    for line in mounts.lines() {
        let Some((place, kind)) = line.split_once(" - ") else { continue };
        let mut kind = kind.split(' ');
        let mut place = place.split(' ').skip(3);
        let root = place.next().unwrap_or("/").to_owned();
        let mount = PathBuf::from(place.next().unwrap_or(super::ROOT));
        let name = kind.next();
        let mut found = trees.iter_mut().chain(&mut unified);
        // What is mounted over it, a part of the same tree, is what is found there.
        if let (Some("cgroup" | "cgroup2"), Some(tree)) = (name, found.find(|tree| tree.mount == mount)) {
            tree.root = root;
            continue;
        }
        match name {
            Some("cgroup") => {}
            Some("cgroup2") if unified.is_none() && access(&mount, AccessFlags::W_OK).is_ok() => {
                unified = Some(Tree { mount, root, controllers: Vec::new() });
                continue;
            }
            _ => continue,
        }
        let options = kind.nth(1).unwrap_or("");
        let controllers: Vec<String> =
            options.split(',').filter(|word| OURS.contains(word)).map(str::to_owned).collect();
        let known = trees.iter().any(|tree| tree.controllers == controllers);
        if !controllers.is_empty() && !known {
            trees.push(Tree { mount, root, controllers });
        }
    }
    let first = trees.first().ok_or_else(|| format!("no cgroup file system is mounted at {}", super::ROOT))?;
    if access(&first.mount, AccessFlags::W_OK).is_err() {
        return Err(if crate::oci::is_root_of_host() {
            format!("the cgroups of this host are read-only here ({})", first.mount.display())
        } else {
            "this host has cgroup v1, of which an ordinary user may make none".into()
        });
    }
    Ok(Found { trees, unified })
}

/// A path of /proc/PID/cgroup, which begins at the top of the tree, from where the tree is mounted.
pub(super) fn as_mounted<'a>(trees: &[Tree], path: &'a str) -> &'a str {
    let below = |tree: &Tree| path.strip_prefix(tree.root.as_str()).filter(|below| below.starts_with('/'));
    trees.iter().filter(|tree| tree.root != "/").find_map(below).unwrap_or(path)
}

pub(super) fn tree_of<'a>(trees: &'a [Tree], controller: &str) -> Option<&'a Tree> {
    trees.iter().find(|tree| tree.controllers.iter().any(|name| name == controller))
}

fn directory(tree: &Tree, cgroup: &str) -> PathBuf {
    tree.mount.join(cgroup.trim_start_matches('/'))
}

fn directory_of(trees: &[Tree], controller: &str, cgroup: &str) -> Result<PathBuf> {
    let tree = tree_of(trees, controller);
    tree.map(|tree| directory(tree, cgroup))
        .ok_or_else(|| Error::new(format!("this host has no {controller} controller")))
}

/// A directory in which all processes of the cgroup are listed: any of its trees.
pub(super) fn any_directory(trees: &[Tree], cgroup: &str) -> Option<PathBuf> {
    trees.iter().map(|tree| directory(tree, cgroup)).find(|directory| directory.exists())
}

pub(super) fn directories(trees: &[Tree], cgroup: &str) -> Vec<(String, PathBuf)> {
    trees.iter().map(|tree| (tree.controllers.join(","), directory(tree, cgroup))).collect()
}

pub(super) fn prepare(trees: &[Tree], path: &str, resources: &Option<LinuxResources>) -> Result<Prepared> {
    let (joined, others): (Vec<&Tree>, Vec<&Tree>) = trees.iter().partition(|tree| joins(tree, resources.as_ref()));
    // It may join these later, and at its end it goes from all of them.
    others.iter().try_for_each(|tree| refuse_inhabited(&directory(tree, path)))?;
    let mut made = Vec::new();
    let prepared = (|| {
        joined.iter().try_for_each(|tree| make_in(tree, path, &mut made))?;
        if let Some(resources) = resources {
            limit(trees, path, resources, true)?;
        }
        open_tasks(&joined, path)
    })();
    if prepared.is_err() {
        for directory in &made {
            let _ = remove_tree(directory, soon());
        }
    }
    prepared
}

/// Every container joins what counts, freezes or caps it; the other trees only where something in them is asked for: each
/// is three more directories and mounts in the kernel, and a container pays for them at its start and at its end.
fn joins(tree: &Tree, resources: Option<&LinuxResources>) -> bool {
    let asked = |list: &Option<String>| list.as_ref().is_some_and(|list| !list.is_empty());
    tree.controllers.iter().any(|controller| match controller.as_str() {
        "cpuset" => resources
            .and_then(|resources| resources.cpu().as_ref())
            .is_some_and(|cpu| asked(cpu.cpus()) || asked(cpu.mems())),
        "devices" => {
            resources.and_then(|resources| resources.devices().as_ref()).is_some_and(|rules| !rules.is_empty())
        }
        "hugetlb" => {
            resources.and_then(|resources| resources.hugepage_limits().as_ref()).is_some_and(|all| !all.is_empty())
        }
        _ => true,
    })
}

/// Makes the cgroup's directory in the tree of version 2, and opens it for a process to be born in: to move one there later
/// the kernel would wait until no processor forks. `made` is what was not there.
pub(super) fn open_to_be_born(path: &str) -> Result<Option<(File, Option<PathBuf>)>> {
    let Some(tree) = unified() else { return Ok(None) };
    let (here, mut made) = (directory(tree, path), Vec::new());
    make_in(tree, path, &mut made)?;
    let opened = File::open(&here).doing(|| format!("open {}", here.display()))?;
    Ok(Some((opened, made.pop())))
}

/// Such a directory, where there is one.
pub(super) fn birthplace(path: &str) -> Option<PathBuf> {
    unified().map(|tree| directory(tree, path)).filter(|directory| directory.exists())
}

/// Makes the cgroup's directory in one tree, and notes it in `made` where it was not there. What is above it most often is.
fn make_in(tree: &Tree, path: &str, made: &mut Vec<PathBuf>) -> Result<()> {
    let steps = steps(&tree.mount, path);
    let (here, above) = steps.split_last().ok_or_else(no_path)?;
    let has_cpuset = tree.controllers.iter().any(|name| name == "cpuset");
    if !has_cpuset {
        match make(here) {
            Err(error) if error.is_not_found() && !above.is_empty() => {}
            is_new => {
                if !is_new? {
                    return refuse_inhabited(here);
                }
                made.push(here.clone());
                return Ok(());
            }
        }
    }
    let mut parent = &tree.mount;
    for step in &steps {
        match make(step)? {
            true if step == here => made.push(here.clone()),
            false if step == here => refuse_inhabited(here)?,
            _ => {}
        }
        if has_cpuset {
            inherit_cpuset(parent, step)?;
        }
        parent = step;
    }
    Ok(())
}

/// A running container joins a tree in which nothing was asked for at its start.
fn join_late(trees: &[Tree], cgroup: &str, controller: &str) -> Result<()> {
    let Some(tree) = tree_of(trees, controller).filter(|tree| !directory(tree, cgroup).exists()) else { return Ok(()) };
    make_in(tree, cgroup, &mut Vec::new())?;
    for pid in any_directory(trees, cgroup).map(|directory| listed(&directory)).unwrap_or_default() {
        match set(&directory(tree, cgroup), "cgroup.procs", &pid.to_string()) {
            // It has ended meanwhile.
            Err(_) if !Path::new(&format!("/proc/{pid}")).exists() => {}
            result => result?,
        }
    }
    Ok(())
}

fn listed(directory: &Path) -> Vec<i32> {
    let mut pids = Vec::new();
    collect(directory, &mut pids);
    pids
}

pub(super) fn open_to_join(trees: &[Tree], cgroup: &str, below: &[Below]) -> Result<Prepared> {
    let has = |tree: &&Tree| directory(tree, cgroup).exists();
    let joined: Vec<&Tree> = trees.iter().filter(has).collect();
    for name in below.iter().flat_map(|place| &place.controllers) {
        if !joined.iter().any(|tree| tree.controllers.contains(name)) {
            return Err(Error::new(format!("the container is in no cgroup of a controller \"{name}\"")));
        }
    }
    let wanted = |tree: &Tree, place: &Below| {
        place.controllers.is_empty() || place.controllers.iter().any(|name| tree.controllers.contains(name))
    };
    let mut prepared = open_tasks(&joined, cgroup)?;
    for (tree, tasks) in joined.iter().zip(&mut prepared.tasks) {
        if let Some(place) = below.iter().find(|place| wanted(tree, place)) {
            let path = directory(tree, &join::below(cgroup, Some(place))?).join("tasks");
            *tasks = OpenOptions::new().write(true).open(&path).doing(|| format!("open {}", path.display()))?;
        }
    }
    Ok(prepared)
}

fn open_tasks(trees: &[&Tree], cgroup: &str) -> Result<Prepared> {
    let mut prepared = Prepared { path: cgroup.to_owned(), ..Prepared::default() };
    for tree in trees {
        let tasks = directory(tree, cgroup).join("tasks");
        match OpenOptions::new().write(true).open(&tasks) {
            Ok(file) => prepared.tasks.push(file),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).doing(|| format!("open {}", tasks.display())),
        }
    }
    prepared.directory = unified().and_then(|tree| File::open(directory(tree, cgroup)).ok());
    if prepared.tasks.is_empty() {
        return Err(Error::not_found(format!("the cgroup {cgroup} does not exist")));
    }
    Ok(prepared)
}

/// A new cpuset has no processor and no memory, and nothing can join it: it gets its parent's.
fn inherit_cpuset(parent: &Path, child: &Path) -> Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if read(child, file).is_some_and(|list| list.is_empty()) {
            set(child, file, &read(parent, file).unwrap_or_default())?;
        }
    }
    Ok(())
}

pub(super) fn usage(trees: &[Tree], cgroup: &str) -> Usage {
    let here = |controller: &str| directory_of(trees, controller, cgroup).unwrap_or_default();
    let (memory, pids) = (here("memory"), here("pids"));
    let statistics = read(&memory, "memory.stat").unwrap_or_default();
    let cache = field(&statistics, "total_inactive_file").unwrap_or(0);
    let io = read(&here("blkio"), "blkio.throttle.io_service_bytes_recursive").unwrap_or_default();
    // "8:0 Read 4096"; the last line is "Total N".
    let bytes = |word: &str| {
        let lines = io.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        lines.filter(|line| line.len() == 3 && line[1] == word).filter_map(|line| line[2].parse::<u64>().ok()).sum()
    };
    Usage {
        memory_bytes: read_number(&memory, "memory.usage_in_bytes").unwrap_or(0).saturating_sub(cache),
        // "No limit" is the largest number of whole pages.
        memory_limit: read_number(&memory, "memory.limit_in_bytes").filter(|limit| *limit < 1 << 62),
        cpu_nanoseconds: read_number(&here("cpuacct"), "cpuacct.usage").unwrap_or(0),
        pids: read_number(&pids, "pids.current").unwrap_or(0),
        pids_limit: read_number(&pids, "pids.max"),
        block_read_bytes: bytes("Read"),
        block_write_bytes: bytes("Write"),
        oom_kills: oom_kills(trees, cgroup),
    }
}

pub(super) fn oom_kills(trees: &[Tree], cgroup: &str) -> u64 {
    let memory = directory_of(trees, "memory", cgroup).unwrap_or_default();
    read(&memory, "memory.oom_control").and_then(|text| field(&text, "oom_kill")).unwrap_or(0)
}

/// The kernel brings `freezer.state` up to date when it is read, and tells nobody: there is nothing to wait on, so we
/// ask again after a moment. A process that forks while its cgroup freezes can escape the first attempt, which is why
/// the wish is written again with each question.
pub(super) fn set_frozen(trees: &[Tree], cgroup: &str, frozen: bool) -> Result<()> {
    let here = directory_of(trees, "freezer", cgroup)?;
    let wish = if frozen { "FROZEN" } else { "THAWED" };
    let give_up = Instant::now() + Duration::from_secs(10);
    loop {
        set(&here, "freezer.state", wish)?;
        if read(&here, "freezer.state").as_deref() == Some(wish) {
            return Ok(());
        }
        if Instant::now() > give_up {
            let _ = set(&here, "freezer.state", "THAWED");
            return Err(Error::new("a process in it does not stop within 10 seconds"));
        }
        std::thread::sleep(Duration::from_micros(100));
    }
}

pub(super) fn is_frozen(trees: &[Tree], cgroup: &str) -> bool {
    let state = directory_of(trees, "freezer", cgroup).ok().and_then(|here| read(&here, "freezer.state"));
    matches!(state.as_deref(), Some("FROZEN" | "FREEZING"))
}

/// rmdir(2) in every tree. Goes on past a tree that refuses, and reports the last that did.
pub(super) fn remove(trees: &[Tree], cgroup: &str) -> Result<()> {
    let mut result = Ok(());
    for tree in trees.iter().chain(unified()) {
        let removed = remove_tree(&directory(tree, cgroup), soon());
        result = removed.and(result);
    }
    result
}

/// How long those that are ending may take.
pub(super) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

pub(super) fn remove_tree(directory: &Path, give_up: Instant) -> Result<()> {
    loop {
        explain::step("its cgroup, empty now, goes", format_args!("rmdir {}", directory.display()));
        match calls::rmdir(directory) {
            Ok(()) | Err(Errno::ENOENT) => return Ok(()),
            Err(Errno::EBUSY) if Instant::now() < give_up => match children(directory) {
                // Cgroups that the container made inside its own go first.
                below if !below.is_empty() => below.iter().try_for_each(|child| remove_tree(child, give_up))?,
                _ => wait_for_exits(directory),
            },
            Err(errno) => return Err(errno).doing(|| format!("rmdir {}", directory.display())),
        }
    }
}

/// A process leaves its cgroup a moment after its parent has heard of its end, and version 1 tells nobody. While one is
/// listed its pidfd says when it ends; after that there is only to ask again.
fn wait_for_exits(directory: &Path) {
    let mut pids = Vec::new();
    collect(directory, &mut pids);
    match pids.first().and_then(|pid| kernel::pidfd_open(Pid::from_raw(*pid)).ok()) {
        Some(pidfd) => {
            let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
            let _ = poll(&mut fds, PollTimeout::from(1000u16));
        }
        None => std::thread::sleep(Duration::from_micros(200)),
    }
}
