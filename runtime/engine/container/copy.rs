//! `cp`: files into a container and out of it, running or not, as a tar stream between two processes. One of them sees
//! the container's files with the container's ids, the other the host's as whoever called us; neither sees both.

use super::record::Container;
use super::{bundle, dir, namespaces, state, wait};
use crate::engine::image::compression;
use crate::engine::mounts::{self, clean};
use crate::engine::volume;
use crate::error::{Doing, Error, Kind, Result};
use crate::explain::{self, calls};
use crate::kernel::{self, Cloned};
use crate::oci::{self, View};
use crate::store::pack::{self, Pack};
use crate::store::unpack::{self, Into};
use crate::store::{Store, beneath, lock};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, readlinkat};
use nix::sys::stat::{Mode, SFlag, fstat, fstatat};
use nix::sys::statvfs::{FsFlags, fstatvfs};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use serde::{Serialize, de::DeserializeOwned};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

#[derive(Debug, Default, Clone, Copy)]
pub struct Options {
    /// Follow a symlink that is the source itself.
    pub follow: bool,
    /// Keep owners.
    pub archive: bool,
}

/// A path as a user wrote it: what stands at its end has a meaning of its own.
#[derive(Debug, Clone)]
pub struct Spot {
    path: PathBuf,
    /// It ends in `/` or `/.`: it must be a directory.
    is_directory: bool,
    /// It ends in `/.`: what is in the directory, not the directory.
    is_contents: bool,
    /// The container that it is in, by the name that the user gave it.
    container: Option<String>,
}

impl Spot {
    pub fn in_container(name: &str, path: &str) -> Spot {
        Spot { container: Some(name.to_owned()), ..Spot::new(path, Path::new("/")) }
    }

    pub fn on_host(path: &str) -> Result<Spot> {
        Ok(Spot::new(path, &std::env::current_dir().doing(|| "find the working directory")?))
    }

    fn new(text: &str, base: &Path) -> Spot {
        let path = clean(&base.join(text).to_string_lossy());
        let is_contents = text.ends_with("/.") || text == "." || path == Path::new("/");
        Spot { is_directory: is_contents || text.ends_with('/'), path, is_contents, container: None }
    }

    /// Docker's words for a path that is not there.
    fn missing(&self, path: &Path) -> Error {
        let path = path.display();
        Error::not_found(match &self.container {
            Some(name) => format!("Could not find the file {path} in container {name}"),
            None => format!("lstat {path}: no such file or directory"),
        })
    }
}

/// Copies `from` in the container to `to` on the host. Returns the size of what went through.
pub fn out_of(store: &Store, container: &Container, from: &Spot, to: &Spot, options: Options) -> Result<u64> {
    let (read, write) = pipe()?;
    let (received, sent) = side_by_side(
        move || {
            let root = beneath::root(Path::new("/"))?;
            receive(&root, to, Some(from), options.archive, false, read)
        },
        move || look_into(store, container, |root, _| send(root, from, options.follow, &write)),
    )?;
    sent.and(received)
}

/// Copies `from` on the host to `to` in the container.
pub fn into(store: &Store, container: &Container, from: &Spot, to: &Spot, options: Options) -> Result<u64> {
    let (read, write) = pipe()?;
    let (sent, received) = side_by_side(
        move || {
            let root = beneath::root(Path::new("/"))?;
            send(&root, from, options.follow, &write)
        },
        move || {
            look_into(store, container, |root, sealed| receive(root, to, Some(from), options.archive, sealed, read))
        },
    )?;
    sent.and(received)
}

/// Writes `from` in the container to `out` as a tar.
pub fn to_tar(store: &Store, container: &Container, from: &Spot, follow: bool, out: &File) -> Result<()> {
    look_into(store, container, |root, _| send_all(root, from, follow, out))
}

/// Unpacks a tar, which may be compressed, into the directory `to` in the container.
pub fn from_tar(store: &Store, container: &Container, to: &Spot, archive: bool, input: File) -> Result<u64> {
    look_into(store, container, |root, sealed| receive(root, to, None, archive, sealed, compression::reader(input)?))
}

/// Sees the container's files as it sees them, or would: `work` is told whether the root is to be read-only.
pub fn look_into<T: Serialize + DeserializeOwned>(
    store: &Store,
    container: &Container,
    work: impl FnOnce(&OwnedFd, bool) -> Result<T>,
) -> Result<T> {
    let place = dir(store, &container.id);
    let own = |root: std::os::fd::BorrowedFd| root.try_clone_to_owned().doing(|| "open the container's root");
    let _held = loop {
        state::await_start(store, container)?;
        // That it has ended is known when its supervisor has written it down.
        let settled = |state: &state::State| !state.is_running() || state.init.is_alive();
        let init = wait::until(store, container, settled)?.ok_or_else(|| super::removed(container))?.init;
        // Where it ends before its files are in our hands, they are those of a stopped one.
        let mounts = init.open()?.map(|pidfd| oci::mounts_of(Pid::from_raw(init.pid), &pidfd)).transpose()?;
        if let Some(mounts) = mounts.flatten() {
            return oci::within(View::Running(mounts), |root| work(&own(root)?, false));
        }
        // Nobody starts it meanwhile: its layer must not be mounted twice.
        let held = lock::exclusive(&place).map_err(super::or_removed(container))?;
        if !state::current(store, container)?.is_running() {
            break held;
        }
    };
    let container = &mounts::as_of_now(store, container)?;
    let volumes = volume::hold(store, container)?;
    let spec = bundle::describe(store, container, namespaces::namespaces(store, container, &volumes)?, None)?;
    bundle::write(store, container, &spec)?;
    oci::within(View::Bundle(&place, &volumes.given), |root| work(&own(root)?, container.host_config.readonly_rootfs))
}

fn pipe() -> Result<(File, File)> {
    let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC).doing(|| "make a pipe")?;
    Ok((File::from(read), File::from(write)))
}

/// Runs `beside` in a forked child while `here` runs here. Each owns its end of what lies between them, so that each
/// hears when the other is gone.
fn side_by_side<A: Serialize + DeserializeOwned, B>(
    beside: impl FnOnce() -> Result<A>,
    here: impl FnOnce() -> Result<B>,
) -> Result<(Result<A>, Result<B>)> {
    let (mut result, mut answer) = pipe()?;
    explain::step("one process packs and another unpacks, with a pipe between them", "tar -c … | tar -x …");
    match calls::fork().doing(|| "fork")? {
        Cloned::Child => {
            explain::process("packer");
            drop((here, result));
            let text = serde_json::to_vec(&beside()).unwrap_or_default();
            let _ = answer.write_all(&text);
            kernel::exit_now(0)
        }
        Cloned::Parent { pid, .. } => {
            drop((beside, answer));
            let done = here();
            let mut text = Vec::new();
            let heard = result.read_to_end(&mut text);
            let _ = waitpid(pid, None);
            heard.doing(|| "hear from the child")?;
            let other = serde_json::from_slice::<Result<A>>(&text);
            Ok((other.unwrap_or_else(|_| Err(Error::new("the process on the other side of the copy died"))), done))
        }
    }
}

/// Writes what is at `from` to `out`.
fn send(root: &OwnedFd, from: &Spot, follow: bool, out: &File) -> Result<()> {
    match send_all(root, from, follow, out) {
        // The other side knows better why it stopped to listen.
        Err(_) if pack::listener_is_gone(out) => Ok(()),
        sent => sent,
    }
}

fn send_all(root: &OwnedFd, from: &Spot, follow: bool, out: &File) -> Result<()> {
    let through = if follow || from.is_directory { OFlag::empty() } else { OFlag::O_NOFOLLOW };
    let open = |flags: OFlag| match beneath::open(root, &from.path, flags | through, Mode::empty()) {
        Err(Errno::ENOENT) => Err(from.missing(&from.path)),
        opened => opened.doing(|| format!("open {}", from.path.display())),
    };
    let found = open(OFlag::O_PATH)?;
    let kind = kind_of(&found)?;
    if from.is_directory && kind != SFlag::S_IFDIR {
        return Err(Error::new(format!("lstat {}/: not a directory", from.path.display())));
    }
    let name = from.path.file_name().filter(|_| !from.is_contents).unwrap_or(".".as_ref());
    let mut pack = Pack::new(out);
    let packed = match (kind, from.path.parent(), from.path.file_name()) {
        (SFlag::S_IFDIR | SFlag::S_IFREG, ..) => {
            let reading = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
            pack.opened(open(reading)?, Path::new(name))
        }
        (_, Some(parent), Some(own)) => {
            let parent = beneath::open(root, parent, OFlag::O_PATH | OFlag::O_DIRECTORY, Mode::empty());
            pack.named(&parent.doing(|| "open its directory")?, own, Path::new(name))
        }
        _ => Err(Error::new("it has no name")),
    };
    packed.doing(|| format!("copy {}", from.path.display()))?;
    pack.finish().map(drop)
}

/// Unpacks `input` at `to`, by Docker's rules for what is there already. `from` is the source, or `None` where the user
/// gave a tar. `sealed`: the root is to be read-only, and is not yet.
fn receive(
    root: &OwnedFd,
    to: &Spot,
    from: Option<&Spot>,
    owners: bool,
    sealed: bool,
    input: impl Read,
) -> Result<u64> {
    let target = Target::find(root, to)?;
    if from.is_none() && target.name.is_some() {
        let name = to.container.as_deref().unwrap_or_default();
        return Err(Error::new(format!("destination \"{name}:{}\" must be a directory", to.path.display())));
    }
    refuse_read_only(root, &target.directory, to, sealed)?;
    let is_contents = from.is_none_or(|from| from.is_contents);
    let mut counted = Counted { inner: input, bytes: 0 };
    let mut first = true;
    unpack::unpack(&mut counted, &target.directory, owners, Into::Used, |path, is_directory| {
        if std::mem::take(&mut first) {
            target.allows(to, is_directory)?;
        }
        let Some(name) = &target.name else { return Ok(path.to_owned()) };
        let mut parts = path.components();
        if !is_contents {
            parts.next();
        }
        // Without the slash that joining nothing would leave.
        let rest = parts.as_path();
        Ok(if rest.as_os_str().is_empty() { name.clone() } else { name.join(rest) })
    })?;
    Ok(counted.bytes)
}

/// Where a copy goes: into `directory` under its own name, or under `name`.
struct Target {
    directory: OwnedFd,
    name: Option<PathBuf>,
    exists: bool,
}

impl Target {
    fn find(root: &OwnedFd, to: &Spot) -> Result<Target> {
        let mut path = to.path.clone();
        // What a symlink leads to is what is written, whether it is there or not.
        for _ in 0..40 {
            let exists = match beneath::open(root, &path, OFlag::O_PATH, Mode::empty()) {
                Ok(found) if kind_of(&found)? == SFlag::S_IFDIR => {
                    return Ok(Target { directory: found, name: None, exists: true });
                }
                Ok(_) if to.is_directory => return Err(Error::new("not a directory")),
                Ok(_) => true,
                Err(Errno::ENOENT) => false,
                Err(errno) => return Err(errno).doing(|| format!("open {}", path.display())),
            };
            let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { break };
            let directory = match beneath::open(root, parent, OFlag::O_PATH | OFlag::O_DIRECTORY, Mode::empty()) {
                Err(Errno::ENOENT) => return Err(missing_parent(to, parent)),
                opened => opened.doing(|| format!("open {}", parent.display()))?,
            };
            let found = fstatat(&directory, name, AtFlags::AT_SYMLINK_NOFOLLOW);
            if !found.is_ok_and(|stat| SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFLNK) {
                return Ok(Target { directory, name: Some(name.into()), exists });
            }
            path = parent.join(readlinkat(&directory, name).doing(|| "read a symlink")?);
        }
        Err(Error::new(format!("open {}: too many levels of symbolic links", to.path.display())))
    }

    fn allows(&self, to: &Spot, is_directory: bool) -> Result<()> {
        match (self.name.is_some(), self.exists, is_directory) {
            (true, true, true) => Err(Error::new("cannot copy directory")),
            (true, false, false) if to.is_directory => Err(Error::not_found("no such directory")),
            _ => Ok(()),
        }
    }
}

fn missing_parent(to: &Spot, parent: &Path) -> Error {
    match &to.container {
        Some(_) => to.missing(parent),
        None => Error::not_found(format!("invalid output path: directory {parent:?} does not exist")),
    }
}

/// In a container that runs the kernel says so too; here it is said in Docker's words.
fn refuse_read_only(root: &OwnedFd, directory: &OwnedFd, to: &Spot, sealed: bool) -> Result<()> {
    if to.container.is_none() {
        return Ok(());
    }
    let device = |fd: &OwnedFd| fstat(fd).map(|stat| stat.st_dev).doing(|| "look at a directory");
    let in_root = device(root)? == device(directory)?;
    let read_only = fstatvfs(directory).doing(|| "look at a file system")?.flags().contains(FsFlags::ST_RDONLY);
    match (in_root, read_only) {
        (true, _) if read_only || sealed => Err(Error::of(Kind::Conflict, "container rootfs is marked read-only")),
        (false, true) => Err(Error::of(Kind::Conflict, "mounted volume is marked read-only")),
        _ => Ok(()),
    }
}

fn kind_of(fd: &OwnedFd) -> Result<SFlag> {
    let stat = fstat(fd).doing(|| "look at it")?;
    Ok(SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT)
}

struct Counted<R> {
    inner: R,
    bytes: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.bytes += length as u64;
        Ok(length)
    }
}
