//! Mounts that are attached nowhere: made, or taken from another mount namespace, and handed over as descriptors. Nobody
//! else sees such a mount, and the kernel takes it apart when the last copy of its descriptor is closed.

use super::within::{self, Place};
use super::{IdMap, options};
use super::{masks, mounts};
use crate::error::{Doing, Error, Result};
use crate::explain::{self, calls};
use crate::store::beneath;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag};
use nix::sched::CloneFlags;
use nix::sys::stat::Mode;
use oci_spec::runtime::MountBuilder;
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// A mount that is there already, for the container's mount at `destination`: what its bundle says of the source is then
/// only what people read, and the options are set on this one.
#[derive(Debug, Clone)]
pub struct Given {
    pub destination: PathBuf,
    pub mount: Rc<OwnedFd>,
}

/// A new file system of type `kind`, with mount(8)'s `words` for it.
pub fn file_system(kind: &str, source: &str, words: &[String]) -> Result<OwnedFd> {
    let described = MountBuilder::default().destination("/").typ(kind).source(source).options(words).build();
    let mut options = options::read(&described.doing(|| "describe the mount")?);
    // As words of the mount table's they are nothing to a mount of a directory; to a file system they are.
    // `ro`, too: a disk that cannot be written to is mounted in no other way.
    options.data.extend(words.iter().filter(|word| matches!(word.as_str(), "ro" | "sync" | "dirsync")).cloned());
    options.data.insert(0, format!("source={source}"));
    let name = CString::new(kind).map_err(|_| Error::new("a NUL in the file system's type"))?;
    let shown = explain::hidden_words(words.iter().map(String::as_str));
    let with = if shown.is_empty() { shown } else { format!(" -o {shown}") };
    explain::step(
        format_args!("a file system of type {kind}, attached nowhere yet"),
        format_args!("mount -t {kind}{with} {source} …"),
    );
    let context = match calls::fsopen(&name) {
        Err(Errno::ENODEV) => {
            return Err(Error::new(format!("no such device: this kernel knows no type {kind}"))
                .with_cure("it has those of /proc/filesystems, and what modules it is given (modprobe, the distribution's packages)"));
        }
        context => context.map_err(crate::error::Cause::into_error)?,
    };
    let made = mounts::configure(&context, &options.data).and_then(|()| calls::fsmount(&context, options.attributes));
    made.map_err(|errno| {
        let mut error = crate::error::Cause::into_error(errno);
        let said = complaints(&context);
        if !said.is_empty() {
            error.message = format!("{} ({said})", error.message);
        }
        error
    })
}

/// What the kernel says of a file system that it did not make: lines like `e tmpfs: Bad value for 'size'`.
fn complaints(context: &OwnedFd) -> String {
    let mut said = Vec::new();
    let mut line = [0u8; 256];
    while let Ok(length) = nix::unistd::read(context, &mut line) {
        if length == 0 {
            break;
        }
        let text = String::from_utf8_lossy(&line[..length]).trim_end().to_owned();
        said.extend(text.strip_prefix("e ").map(str::to_owned));
    }
    said.join("; ")
}

/// A copy, attached nowhere, of what is mounted at `path`; of the directory `below` in it where that is not empty.
pub fn copy(path: &Path, below: &Path) -> Result<OwnedFd> {
    let subpath = (!below.as_os_str().is_empty()).then(|| below.to_owned());
    mounts::copy_of(path, &options::Options { subpath, ..options::Options::default() })
}

/// A copy, attached nowhere, of the mount at `path`, and of those below it: where that is shared, its peer.
pub fn peer_of(path: &Path, recursive: bool, no_links: bool) -> Result<OwnedFd> {
    mounts::copy_of(path, &options::Options { recursive, no_links, ..options::Options::default() })
}

/// Attaches a mount at a path of this mount namespace.
pub fn attach(mount: impl AsFd, path: &Path) -> Result<()> {
    // A file or a directory, as the mount is.
    let place = nix::fcntl::openat(AT_FDCWD, path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
        .doing(|| format!("open {}", path.display()))?;
    explain::step(
        "it is attached where only this namespace sees it",
        format_args!("mount --move … {}", path.display()),
    );
    calls::move_mount(mount, &place).doing(|| format!("attach a mount at {}", path.display()))
}

/// Runs `make` in a forked child in a mount namespace of its own (and with `ids` in a user namespace of its own), and
/// hands over what it made: descriptors, of mounts that are attached nowhere, or of the namespace itself.
pub fn in_new_namespace(
    ids: Option<&IdMap>,
    make: impl FnOnce() -> Result<(bool, Vec<OwnedFd>)>,
) -> Result<(bool, Vec<OwnedFd>)> {
    within::elsewhere(Place::New(ids), make)
}

/// A copy, attached nowhere, of the mount of the file at `path`, which is read-only and which nobody makes writable again,
/// whatever they may do to mounts: what comes into a mount namespace that a new user namespace owns keeps the flags that
/// it had outside (mount_namespaces(7), "Restrictions on mount namespaces"), and so does every copy of it.
pub fn read_only_for_good(path: &Path) -> Result<OwnedFd> {
    let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    let own = IdMap { uids: vec![(0, uid, 1)], gids: vec![(0, gid, 1)] };
    // Who is not root mounts in a user namespace only: the first of the two.
    let (_, mut made) = in_new_namespace((uid != 0).then_some(&own), || {
        let copy = mounts::copy(path, false)?;
        calls::mount_setattr(&copy, false, libc::MOUNT_ATTR_RDONLY, 0, 0, None).doing(|| "make it read-only")?;
        attach(copy, path)?;
        explain::step("a user namespace more: there, what is read-only stays so", "unshare --user --mount …");
        let both = CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS;
        calls::unshare(both).doing(|| "make a user namespace")?;
        Ok((true, vec![mounts::copy(path, false)?]))
    })?;
    made.pop().ok_or_else(|| Error::new("the mount got lost"))
}

/// The null device, open for a process whose root may be the host's: it changes neither the owner nor the mode of the host's
/// node through its stdin, be it by fchmod(2) or by /proc/self/fd/0, since the mount that it is opened on is read-only.
pub fn null() -> Result<OwnedFd> {
    explain::step(
        "no input: the null device, which is the host's, and whose mode is not to be changed",
        "… < /dev/null",
    );
    let mount = masks::null_device()?;
    let path = format!("/proc/self/fd/{}", mount.as_raw_fd());
    std::fs::File::options().read(true).write(true).open(path).map(OwnedFd::from).doing(|| "open /dev/null")
}

/// The mount namespace that this process is in.
pub fn this_namespace() -> Result<OwnedFd> {
    std::fs::File::open("/proc/self/ns/mnt").map(OwnedFd::from).doing(|| "open our own mount namespace")
}

/// A copy, attached nowhere, of what is mounted at `path` in another mount namespace; `None` where nothing is.
pub fn take(namespace: &OwnedFd, path: &Path) -> Result<Option<OwnedFd>> {
    let (_, mut taken) = within::elsewhere(Place::Of(namespace), || {
        let id =
            |path: &Path| crate::kernel::mount_id(beneath::root(path)?).doing(|| format!("look at {}", path.display()));
        if id(path)? == id(path.parent().unwrap_or(Path::new("/")))? {
            return Ok((false, Vec::new()));
        }
        explain::step("a copy of the mount that lives there", format_args!("mount --bind {} …", path.display()));
        Ok((true, vec![mounts::copy(path, false)?]))
    })?;
    Ok(taken.pop())
}
