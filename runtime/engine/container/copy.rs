//! cp and export: files in and out of a container, running or not, volumes included.

use super::record::Container;
use super::state;
use super::{archive, bundle};
use crate::error::{Doing, Error, Result};
use crate::oci::{self, View};
use crate::store::{Store, beneath};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::{Mode, SFlag, fstat, fstatat};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// How to copy.
#[derive(Debug, Default, Clone, Copy)]
pub struct Options {
    /// Owners are kept.
    pub archive: bool,
    /// A link that is named itself is followed.
    pub follow: bool,
}

/// Works on the container's files as it sees them.
fn inside<T: Serialize + DeserializeOwned>(
    store: &Store,
    container: &Container,
    work: impl FnOnce(BorrowedFd) -> Result<T>,
) -> Result<T> {
    let state = state::current(store, container)?;
    if state.init.is_alive() {
        return oci::within(View::Running(Pid::from_raw(state.init.pid)), work);
    }
    let directory = super::dir(store, &container.id);
    if !directory.join("config.json").exists() {
        bundle::write(store, container)?;
    }
    oci::within(View::Bundle(&directory), work)
}

/// Writes the container's root as a tar, without what is mounted in it.
pub fn export(store: &Store, container: &Container, out: &File) -> Result<()> {
    inside(store, container, |root| {
        let root = root.try_clone_to_owned().doing(|| "open the container's root")?;
        archive::pack(&root, OsStr::new("."), Path::new(""), true, std::io::BufWriter::with_capacity(1 << 18, out))
    })
}

/// What a path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Kind {
    Missing,
    Directory,
    Other,
}

/// `cp CONTAINER:PATH -`: a tar on `out`.
pub fn out_to_tar(store: &Store, container: &Container, path: &str, options: Options, out: &File) -> Result<()> {
    let shown = base_name(path);
    pack_from(store, container, path, &shown, options, out).map(drop)
}

/// `cp CONTAINER:PATH HOST`.
pub fn out(store: &Store, container: &Container, path: &str, host: &str, options: Options) -> Result<u64> {
    let kind = inside(store, container, |root| kind_in(root, path, options.follow))?;
    if kind == Kind::Missing {
        return Err(not_there(container, path));
    }
    let target =
        std::fs::metadata(host).map_or(Kind::Missing, |meta| if meta.is_dir() { Kind::Directory } else { Kind::Other });
    let (directory, name) = destination(kind, path, target, host)?;
    let spool = spool(store)?;
    pack_from(store, container, path, &name, options, &spool)?;
    let directory = beneath::root(if directory.as_os_str().is_empty() { Path::new(".") } else { &directory })?;
    let size = rewind(&spool)?;
    archive::unpack(&spool, &directory, options.archive && nix::unistd::geteuid().is_root())?;
    Ok(size)
}

/// `cp HOST CONTAINER:PATH`.
pub fn into(store: &Store, container: &Container, host: &str, path: &str, options: Options) -> Result<u64> {
    let look = if options.follow { std::fs::metadata(host) } else { std::fs::symlink_metadata(host) };
    let kind = match look {
        Ok(meta) if meta.is_dir() => Kind::Directory,
        Ok(_) => Kind::Other,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let shown = std::path::absolute(host).unwrap_or_else(|_| host.into());
            return Err(Error::new(format!("lstat {}: no such file or directory", shown.display())));
        }
        Err(error) => return Err(error).doing(|| format!("lstat {host}")),
    };
    let target = inside(store, container, |root| kind_in(root, path, true))?;
    let (directory, name) = destination(kind, host, target, path)?;
    let spool = spool(store)?;
    let source =
        if options.follow { std::fs::canonicalize(host).doing(|| format!("resolve {host}"))? } else { host.into() };
    pack_host(&source, &name, &spool)?;
    let size = rewind(&spool)?;
    from_tar(store, container, &spool, &directory, options.archive)?;
    Ok(size)
}

/// `cp - CONTAINER:PATH`: a tar into a directory that is there.
pub fn into_from_tar(store: &Store, container: &Container, tar: &File, path: &str) -> Result<()> {
    match inside(store, container, |root| kind_in(root, path, true))? {
        Kind::Directory => from_tar(store, container, tar, Path::new(path), true),
        Kind::Missing => Err(not_there(container, path)),
        Kind::Other => Err(Error::new(format!("destination \"{}:{path}\" must be a directory", container.name))),
    }
}

fn from_tar(store: &Store, container: &Container, tar: &File, directory: &Path, owners: bool) -> Result<()> {
    inside(store, container, |root| {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        let opened = beneath::open(root, directory, flags, Mode::empty());
        archive::unpack(tar, &opened.doing(|| format!("open {} in the container", directory.display()))?, owners)
    })
}

fn not_there(container: &Container, path: &str) -> Error {
    Error::not_found(format!("Could not find the file {path} in container {}", container.name))
}

/// Docker's rules: into which directory, and under which name (an empty one: a directory's contents).
fn destination(source: Kind, from: &str, target: Kind, to: &str) -> Result<(PathBuf, PathBuf)> {
    let contents = from.ends_with("/.") || from == ".";
    let into = |directory: &str, name: PathBuf| Ok((PathBuf::from(directory), name));
    match (source, target) {
        (Kind::Directory, Kind::Directory) if contents => into(to, PathBuf::new()),
        (_, Kind::Directory) => into(to, base_name(from)),
        (Kind::Directory, Kind::Other) => Err(Error::new(format!("cannot copy directory to the file {to}"))),
        (Kind::Other, Kind::Missing) if to.ends_with('/') => {
            Err(Error::new(format!("destination directory {to} must exist")))
        }
        _ => {
            let path = Path::new(to.trim_end_matches('/'));
            let name = path.file_name().ok_or_else(|| Error::new(format!("{to} is no name to copy to")))?;
            Ok((path.parent().map(Path::to_owned).unwrap_or_default(), PathBuf::from(name)))
        }
    }
}

fn base_name(path: &str) -> PathBuf {
    let path = path.strip_suffix("/.").unwrap_or(path).trim_end_matches('/');
    Path::new(path).file_name().map(PathBuf::from).unwrap_or_default()
}

/// The directory that a path's last part is in, and that part: what is above it is followed, it is not.
fn split(root: BorrowedFd, path: &str, follow: bool) -> Result<Option<(OwnedFd, OsString)>> {
    let whole = Path::new(path);
    let trailing = path.ends_with('/') || path.ends_with("/.") || follow;
    let (above, name) = match (trailing, whole.parent(), whole.file_name()) {
        (false, Some(above), Some(name)) => (above, name.to_owned()),
        // The thing itself, wherever it leads: opened, and then named "." in itself.
        _ => (whole, OsString::from(".")),
    };
    match beneath::open(root, above, OFlag::O_PATH | OFlag::O_DIRECTORY, Mode::empty()) {
        Ok(directory) => Ok(Some((directory, name))),
        Err(Errno::ENOENT) => Ok(None),
        // A file was named with a trailing slash, or is to be followed.
        Err(Errno::ENOTDIR) if follow => follow_file(root, whole),
        Err(Errno::ENOTDIR) => Ok(None),
        Err(errno) => Err(errno).doing(|| format!("open {path} in the container")),
    }
}

/// Where a link to a file leads: one step after the other, each inside the root.
fn follow_file(root: BorrowedFd, path: &Path) -> Result<Option<(OwnedFd, OsString)>> {
    let mut path = path.to_owned();
    for _ in 0..40 {
        let (Some(above), Some(name)) = (path.parent(), path.file_name()) else { return Ok(None) };
        let directory = match beneath::open(root, above, OFlag::O_PATH | OFlag::O_DIRECTORY, Mode::empty()) {
            Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(None),
            result => result.doing(|| format!("open {}", above.display()))?,
        };
        match nix::fcntl::readlinkat(&directory, name) {
            Ok(target) => path = above.join(target),
            Err(_) => return Ok(Some((directory, name.to_owned()))),
        }
    }
    Err(Error::new(format!("too many links at {}", path.display())))
}

fn kind_in(root: BorrowedFd, path: &str, follow: bool) -> Result<Kind> {
    let Some((directory, name)) = split(root, path, follow)? else { return Ok(Kind::Missing) };
    let stat = match fstatat(&directory, name.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
        Err(Errno::ENOENT) => return Ok(Kind::Missing),
        result => result.doing(|| format!("look at {path}"))?,
    };
    let kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
    Ok(if kind == SFlag::S_IFDIR { Kind::Directory } else { Kind::Other })
}

fn pack_from(
    store: &Store,
    container: &Container,
    path: &str,
    shown: &Path,
    options: Options,
    out: &File,
) -> Result<()> {
    inside(store, container, |root| {
        let found = split(root, path, options.follow)?;
        let (directory, name) = found.ok_or_else(|| not_there(container, path))?;
        let buffered = std::io::BufWriter::with_capacity(1 << 18, out);
        archive::pack(&directory, &name, shown, false, buffered)
            .map_err(|error| if error.is_not_found() { not_there(container, path) } else { error })
    })
}

fn pack_host(source: &Path, shown: &Path, out: &File) -> Result<()> {
    let (above, name) = match (source.parent(), source.file_name()) {
        (Some(above), Some(name)) => (if above.as_os_str().is_empty() { Path::new(".") } else { above }, name),
        _ => (source, OsStr::new(".")),
    };
    archive::pack(&beneath::root(above)?, name, shown, false, std::io::BufWriter::with_capacity(1 << 18, out))
}

/// A file without a name, for what is on its way between two views of the files.
fn spool(store: &Store) -> Result<File> {
    let held = store.make_tmp("cp")?;
    let path = held.path.join("spool");
    let opened = File::options().read(true).write(true).create_new(true).open(&path);
    opened.doing(|| format!("make {}", path.display()))
}

fn rewind(mut spool: &File) -> Result<u64> {
    spool.flush().and_then(|()| spool.rewind()).doing(|| "read the copy")?;
    Ok(u64::try_from(fstat(spool.as_fd()).doing(|| "read the copy")?.st_size).unwrap_or(0))
}
