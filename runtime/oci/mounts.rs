//! The mounts of a container: each is made detached, given its attributes, and attached to a place that the kernel has
//! resolved inside the container's root. A path of the host is never looked up in the container, nor the other way.

use super::Given;
use super::options::{self, Options};
use super::place::{place_for, refuse_link};
use super::rootfs::{self, c_path};
use super::{cgroupfs, devices};
use crate::error::{Cause, Doing, Error, Result};
use crate::explain::{self, calls};
use crate::store::beneath;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag};
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::sys::statfs::{PROC_SUPER_MAGIC, SYSFS_MAGIC, fstatfs};
use oci_spec::runtime::{Mount, Spec};
use std::collections::VecDeque;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Where the mounts of directories come from: the id-mapped ones that the parent made, in the order of the bundle, and
/// copies of our own for the rest.
#[derive(Debug, Default)]
pub struct Sources {
    mapped: VecDeque<OwnedFd>,
    root_is_mapped: bool,
    peers: VecDeque<OwnedFd>,
    /// The path of the container's cgroup; empty where it has none.
    cgroup: String,
    below_cgroups: Vec<PathBuf>,
    given: Vec<Given>,
}

impl Sources {
    /// To be made before [`rootfs::isolate_mounts`]: a copy that is to hear of the host's mounts, or to be heard there, must
    /// be taken while our own mounts are still the host's peers. (In a new user namespace they are slaves from the start;
    /// there it is the parent's id-mapped copies that are peers.)
    pub fn new(spec: &Spec, mapped: Vec<OwnedFd>, cgroup: &str, given: &[Given]) -> Result<Sources> {
        let root = spec.mounts().iter().flatten().find(|mount| rootfs::is_root(mount));
        let mut sources = Sources {
            mapped: mapped.into(),
            root_is_mapped: root.is_some_and(is_mapped),
            peers: VecDeque::new(),
            cgroup: cgroup.to_owned(),
            below_cgroups: cgroupfs::places_below(spec),
            given: given.to_vec(),
        };
        for mount in spec.mounts().iter().flatten().filter(|mount| !rootfs::is_root(mount) && !is_mapped(mount)) {
            let options = options::read(mount);
            let is_given = given.iter().any(|given| given.destination == *mount.destination());
            if options.bind && has_peers(&options) && !is_given {
                let source = mount.source().as_deref().ok_or_else(|| Error::new("a bind mount needs a source"))?;
                explain::step(
                    "a copy that stays in touch: what is mounted below it on the host will be seen here",
                    format_args!("mount --bind {} …", source.display()),
                );
                sources.peers.push_back(copy_of(source, &options)?);
            }
        }
        Ok(sources)
    }

    /// The source of a bind mount.
    fn bind(&mut self, mount: &Mount, options: &Options) -> Result<OwnedFd> {
        let source = mount.source().as_deref().ok_or_else(|| Error::new("a bind mount needs a source"))?;
        let given = self.given.iter().find(|given| given.destination == *mount.destination());
        match given {
            _ if is_mapped(mount) => self.next(source),
            Some(given) => given.mount.try_clone().doing(|| "take over a mount"),
            None if has_peers(options) => self.peers.pop_front().ok_or_else(|| Error::new("its copy was not made")),
            None => copy_of(source, options),
        }
    }

    /// The next layer of the root's overlay.
    pub fn take(&mut self, source: &Path, recursive: bool) -> Result<OwnedFd> {
        if self.root_is_mapped {
            return self.next(source);
        }
        copy(source, recursive)
    }

    fn next(&mut self, source: &Path) -> Result<OwnedFd> {
        self.mapped.pop_front().ok_or_else(|| Error::new(format!("no id-mapped mount came for {}", source.display())))
    }
}

/// Whether the bundle asks for this mount to be id-mapped.
pub fn is_mapped(mount: &Mount) -> bool {
    mount.uid_mappings().as_ref().is_some_and(|mappings| !mappings.is_empty())
}

/// A detached copy of the mount at `source`.
pub fn copy(source: &Path, recursive: bool) -> Result<OwnedFd> {
    let flags = libc::OPEN_TREE_CLONE | if recursive { libc::AT_RECURSIVE as u32 } else { 0 };
    let path = c_path(source)?;
    calls::open_tree(here(), &path, flags).doing(|| format!("copy the mount of {}", source.display()))
}

/// [`copy`], of the source's `subpath` where there is one: the directory that is opened is the one that is mounted, and
/// nobody who moves a symlink in between changes that.
pub fn copy_of(source: &Path, options: &Options) -> Result<OwnedFd> {
    let recursive = if options.recursive { libc::AT_RECURSIVE as u32 } else { 0 };
    let doing = || format!("copy the mount of {}", source.display());
    if options.no_links {
        let root = open_without_links(source)?;
        let opened = options.subpath.as_ref().map(|subpath| open_below(&root, subpath, source)).transpose()?;
        let copied = calls::open_tree(opened.unwrap_or(root), c"", OPEN_TREE_CLONE_HERE | recursive).doing(doing);
        return copied.map_err(|error| locked(error, options));
    }
    let Some(subpath) = &options.subpath else {
        return copy(source, options.recursive).map_err(|error| locked(error, options));
    };
    let opened = open_below(&beneath::root(source)?, subpath, source)?;
    calls::open_tree(opened, c"", OPEN_TREE_CLONE_HERE | recursive).doing(doing)
}

/// What is opened is what is mounted: whoever looked where the path leads has said that there is no link on the way, and one
/// that was put there since is not followed.
fn open_without_links(source: &Path) -> Result<OwnedFd> {
    let doing = || format!("open {}", source.display());
    match beneath::open_without_links(source, OFlag::O_PATH) {
        Err(Errno::ELOOP) => Err(Error::new("a symlink is on the way, where none was a moment ago")).doing(doing),
        opened => opened.doing(doing),
    }
}

fn open_below(root: &OwnedFd, subpath: &Path, source: &Path) -> Result<OwnedFd> {
    let what = || format!("open {} in {}", subpath.display(), source.display());
    let found = match beneath::open_below(root, subpath, OFlag::O_PATH) {
        Err(Errno::ENOENT) => Err(Error::not_found("no such file or directory").with_cure(
            "what is to be mounted of a volume must be there: mount all of it once, and make the directory",
        )),
        Err(Errno::EXDEV) => Err(Error::new("it leads out of the volume, through a symlink")),
        found => found.map_err(Cause::into_error),
    };
    found.doing(what)
}

/// Mounts `source`, or `subpath` of it, at `place`, which is made, and must be on a mount that is nobody's peer.
pub fn bind_at(source: &Path, subpath: Option<&Path>, no_links: bool, place: &Path) -> Result<()> {
    let options = Options { recursive: true, subpath: subpath.map(Path::to_owned), no_links, ..Options::default() };
    let whole = subpath.map_or_else(|| source.to_owned(), |subpath| source.join(subpath));
    explain::step(
        "what was asked for, as it is found now, for the other runtime to take",
        format_args!("mount --rbind {} {}", whole.display(), place.display()),
    );
    let made = copy_of(source, &options)?;
    match kind_of(&made)? {
        SFlag::S_IFDIR => std::fs::create_dir(place),
        _ => std::fs::File::create_new(place).map(drop),
    }
    .doing(|| format!("make {}", place.display()))?;
    let target = nix::fcntl::openat(AT_FDCWD, place, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
        .doing(|| format!("open {}", place.display()))?;
    attach(made, target)
}

const OPEN_TREE_CLONE_HERE: u32 = libc::OPEN_TREE_CLONE | libc::AT_EMPTY_PATH as u32;

/// What is mounted below a directory covers files. Who has no say in the host's mounts may not lift them off, and so gets
/// all of them or nothing: EINVAL (mount_namespaces(7), "Restrictions on mount namespaces").
fn locked(error: Error, options: &Options) -> Error {
    match !options.recursive && error.message.ends_with("invalid argument") {
        true => error.with_cure(
            "where something else is mounted below a directory, only root may bind it without that: leave \
             bind-recursive=disabled away",
        ),
        false => error,
    }
}

fn has_peers(options: &Options) -> bool {
    options.propagation & (libc::MS_SHARED | libc::MS_SLAVE) != 0
}

/// A new, detached mount of a file system, with `k=v` or `k` words for it and MOUNT_ATTR_* for the mount.
pub fn new(kind: &CStr, data: &[String], attributes: u64) -> nix::Result<OwnedFd> {
    let context = calls::fsopen(kind)?;
    configure(&context, data)?;
    calls::fsmount(&context, attributes)
}

/// Tells a file system that is being made its words, and has it made.
pub fn configure(context: &OwnedFd, data: &[String]) -> nix::Result<()> {
    for word in data {
        match word.split_once('=') {
            Some((key, value)) => calls::fsconfig_string(context, &text(key)?, &text(value)?)?,
            None => calls::fsconfig_flag(context, &text(word)?)?,
        }
    }
    calls::fsconfig_create(context)
}

fn text(text: &str) -> nix::Result<CString> {
    CString::new(text).map_err(|_| Errno::EINVAL)
}

fn here() -> BorrowedFd<'static> {
    AT_FDCWD
}

/// Which mounts to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    All,
    /// Only those that show the host's directories: enough to look at a stopped container's files.
    Binds,
}

/// Makes the bundle's mounts, in their order, in `root`.
pub fn make(spec: &Spec, root: &OwnedFd, sources: &mut Sources, which: Which) -> Result<()> {
    for mount in spec.mounts().iter().flatten().filter(|mount| !rootfs::is_root(mount)) {
        let options = options::read(mount);
        if which == Which::Binds && !options.bind {
            continue;
        }
        let destination = mount.destination();
        explain::step(in_words(mount, &options), as_command(mount, &options));
        one(mount, &options, root, sources)
            .doing(|| format!("mount {} at {}", source_text(mount), destination.display()))?;
        if which == Which::All && destination == Path::new("/dev") && !options.bind {
            devices::populate(spec, root)?;
        }
    }
    Ok(())
}

/// What a mount is for, to be told.
fn in_words(mount: &Mount, options: &Options) -> String {
    let (kind, source, place) =
        (mount.typ().as_deref().unwrap_or("none"), source_text(mount), mount.destination().display());
    match kind {
        _ if options.bind => format!("a directory of the host's, seen at {place}: {source}"),
        "proc" => format!("{place}: the processes, as its own pid namespace has them"),
        "sysfs" => format!("{place}: the kernel's devices and settings, as its own network namespace has them"),
        "tmpfs" => format!("{place}: a file system in memory, which ends with the container"),
        "devpts" => format!("{place}: terminals of its own"),
        "mqueue" => format!("{place}: message queues of its own ipc namespace"),
        "cgroup" | "cgroup2" => format!("{place}: its own cgroup, to be looked at"),
        other => format!("{place}: a file system of type {other}"),
    }
}

/// mount(8) with the same effect, to be shown.
fn as_command(mount: &Mount, options: &Options) -> String {
    let is_bind = |word: &str| matches!(word, "bind" | "rbind") || options::is_own_word(word);
    let words = mount.options().iter().flatten().filter(|word| !is_bind(word));
    let shown = explain::hidden_words(words.map(String::as_str));
    let with = if shown.is_empty() { shown } else { format!(" -o {shown}") };
    let kind = mount.typ().as_deref().unwrap_or("none");
    let how =
        if options.bind { (if options.recursive { "--rbind" } else { "--bind" }).into() } else { format!("-t {kind}") };
    format!("mount {how} {} ROOTFS{}{with}", source_text(mount), mount.destination().display())
}

fn source_text(mount: &Mount) -> String {
    let kind = mount.typ().clone().unwrap_or_default();
    let subpath = options::read(mount).subpath.unwrap_or_default();
    let whole = |source: &PathBuf| source.join(&subpath).components().collect::<PathBuf>();
    mount.source().as_ref().map_or(kind, |source| whole(source).display().to_string())
}

fn one(mount: &Mount, options: &Options, root: &OwnedFd, sources: &mut Sources) -> Result<()> {
    let kind = mount.typ().as_deref().unwrap_or("none");
    refuse_link(root, mount.destination(), kind)?;
    if kind == "cgroup" || kind == "cgroup2" {
        let place = place_for(root, mount.destination(), true)?;
        return cgroupfs::mount(&place, options, &sources.cgroup, &sources.below_cgroups);
    }
    if !options.bind {
        return new_one(kind, mount, options, root);
    }
    let made = sources.bind(mount, options)?;
    let place = place_for(root, mount.destination(), is_directory(&made)?)?;
    guard_kernel_file_systems(mount.destination(), &made, &place)?;
    set_flags(&made, options)?;
    attach(&made, &place)?;
    propagate(&made, options)
}

/// A mount that is no directory of the host's.
fn new_one(kind: &str, mount: &Mount, options: &Options, root: &OwnedFd) -> Result<()> {
    let mut place = None;
    let mut options = options.clone();
    // A tmpfs over a directory has its mode, as with runc, unless one is asked for: /tmp stays everybody's.
    if kind == "tmpfs" && !options.data.iter().any(|word| word.starts_with("mode=")) {
        let was_there = beneath::open(root, mount.destination(), OFlag::O_PATH, Mode::empty()).is_ok();
        let opened = place_for(root, mount.destination(), true)?;
        if was_there {
            let mode = fstat(&opened).doing(|| "look at the directory")?.st_mode & 0o7777;
            options.data.push(format!("mode={mode:o}"));
        }
        place = Some(opened);
    }
    let (made, is_copy) = file_system(kind, mount, &options)?;
    let place = match place {
        Some(place) => place,
        None => place_for(root, mount.destination(), kind_of(&made)? == SFlag::S_IFDIR)?,
    };
    guard_kernel_file_systems(mount.destination(), &made, &place)?;
    // A new mount was born with its options; what is a copy after all must not show more than it was to.
    if is_copy {
        set(&made, true, options.attributes)?;
    }
    attach(&made, &place)?;
    propagate(&made, &options)
}

/// The flags that a bind is asked to have.
pub fn set_flags(made: &OwnedFd, options: &Options) -> Result<()> {
    set(made, options.recursive, options.attributes & !options.not_below)?;
    set(made, false, options.not_below)
}

pub fn is_directory(mount: &OwnedFd) -> Result<bool> {
    Ok(kind_of(mount)? == SFlag::S_IFDIR)
}

fn set(made: &OwnedFd, recursive: bool, attributes: u64) -> Result<()> {
    if attributes == 0 {
        return Ok(());
    }
    // The three kinds of atime are one field: to set one, the field must be cleared (mount_setattr(2)).
    const ATIME: u64 = libc::MOUNT_ATTR__ATIME;
    let clear = if attributes & ATIME == 0 { 0 } else { ATIME };
    calls::mount_setattr(made, recursive, attributes, clear, 0, None).doing(|| "set the mount's options")
}

fn propagate(made: &OwnedFd, options: &Options) -> Result<()> {
    if options.propagation == 0 {
        return Ok(());
    }
    let recursive = options.propagation & libc::MS_REC != 0;
    calls::mount_setattr(made, recursive, 0, 0, options.propagation & !libc::MS_REC, None)
        .doing(|| "set the mount's propagation")
}

/// A new file system of its own for the container; or a copy of the host's mount, and then true, where none is to be had.
fn file_system(kind: &str, mount: &Mount, options: &Options) -> Result<(OwnedFd, bool)> {
    let mut data = options.data.clone();
    // What /proc/mounts shows in its first column.
    data.insert(0, format!("source={}", mount.source().as_deref().unwrap_or(Path::new(kind)).display()));
    // Every devpts is an instance of its own since Linux 4.7; the word is only accepted, no longer needed.
    data.retain(|word| word != "newinstance");
    let name = text(kind).doing(|| "name the file system")?;
    match new(&name, &data, options.attributes) {
        // Only the owner of a network namespace may make a sysfs: with the host's network, the host's is shown.
        Err(Errno::EPERM) if kind == "sysfs" => copy(Path::new("/sys"), true).map(|made| (made, true)),
        // gid=5 (tty) can only be given where 5 is mapped.
        Err(Errno::EINVAL) if kind == "devpts" => {
            data.retain(|word| !word.starts_with("gid="));
            new(&name, &data, options.attributes).map(|made| (made, false)).doing(|| "mount devpts")
        }
        result => result.map(|made| (made, false)).doing(|| format!("make a file system of type {kind}")),
    }
}

/// Attaches a detached mount. A directory goes on a directory, and a file on a file: the kernel says only EINVAL.
pub fn attach(made: impl AsFd, place: impl AsFd) -> Result<()> {
    match calls::move_mount(&made, &place) {
        Err(Errno::EINVAL) if (kind_of(&made)? == SFlag::S_IFDIR) != (kind_of(&place)? == SFlag::S_IFDIR) => {
            Err(Error::new(
                "not a directory: Are you trying to mount a directory onto a file (or vice-versa)? Check if the \
                 specified host path exists and is the expected type",
            ))
        }
        result => result.map_err(crate::error::Cause::into_error),
    }
}

/// Through a read-only mount a device can be written to as before, but nobody changes its owner or its mode (EROFS): the
/// node is the host's, and where a container's root is the host's, or a device's owner, it would be changed for all.
pub fn protect_node(mount: &OwnedFd) -> Result<()> {
    calls::mount_setattr(mount, false, libc::MOUNT_ATTR_RDONLY, 0, 0, None).doing(|| "protect a device's mode")
}

fn kind_of(fd: impl AsFd) -> Result<SFlag> {
    let stat = fstat(fd).doing(|| "look at a mount")?;
    Ok(SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT)
}

/// Only procfs may lie on /proc and only sysfs on /sys, and nothing inside them but what masks: a process that is made
/// to write to "/proc/self/attr/…" must write to the kernel (CVE-2019-16884, CVE-2025-52881).
fn guard_kernel_file_systems(destination: &Path, made: &OwnedFd, place: &OwnedFd) -> Result<()> {
    let kind = |fd: &OwnedFd| fstatfs(fd).map(|found| found.filesystem_type()).doing(|| "look at a file system");
    let below = kind(place)?;
    for (path, magic) in [("/proc", PROC_SUPER_MAGIC), ("/sys", SYSFS_MAGIC)] {
        let itself = destination == Path::new(path);
        if itself && kind(made)? != magic {
            return Err(Error::new(format!("only the kernel's own file system may be mounted at {path}")));
        }
        // Below: what counts is where the path led, not how it is written.
        if !itself && below == magic && kind(made)? != magic && !destination.starts_with("/sys/fs/cgroup") {
            return Err(Error::new(format!("{} lies in {path}, where nothing may be mounted", destination.display())));
        }
    }
    Ok(())
}
