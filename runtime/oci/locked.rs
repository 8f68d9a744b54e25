//! Mounts of the host's whose flags and covers are locked against a container that may mount.
//!
//! Who holds CAP_SYS_ADMIN in the user namespace that owns their mount namespace takes `ro`, `nosuid` and `nodev` off a mount
//! again, and takes a mount off what it hides. But what comes into a mount namespace together with all that surrounds it,
//! when another user namespace is made to own it, is locked there: its flags stay, and what is mounted below comes off only
//! together with it (mount_namespaces(7), "Restrictions on mount namespaces"). So does every copy of it. A container's own mount
//! namespace does not do that for what is attached later: the mounts pass through one that is made only for this.

use super::detached::{Given, in_new_namespace};
use super::{IdMap, mounts, options, rootfs};
use crate::error::{Doing, Error, Result};
use crate::explain::{self, calls};
use nix::fcntl::{OFlag, openat};
use nix::sched::CloneFlags;
use nix::sys::stat::{Mode, mkdirat};
use oci_spec::runtime::Mount;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::rc::Rc;

/// The mounts of `binds`, with their flags, locked: for the container to take in the place of its own copies. Those of `given`
/// that are for one of them are what is locked, and the rest of them come along as they are. `ids` are those that whoever is
/// not root may use, and `place` is a directory to mount on, where nobody else sees it. (Not `/`: the kernel takes a process
/// whose root is covered for one in a chroot, and makes no user namespace for it.)
pub fn locked(binds: &[Mount], given: Vec<Given>, ids: Option<&IdMap>, place: &Path) -> Result<Vec<Given>> {
    if binds.is_empty() {
        return Ok(given);
    }
    let given_for = |mount: &Mount| given.iter().find(|given| given.destination == *mount.destination());
    let (_, made) = in_new_namespace(ids, || {
        let scratch = mounts::new(c"tmpfs", &[], 0).doing(|| "mount a tmpfs to lay mounts in")?;
        calls::move_mount(&scratch, rootfs::open_place(place)?).doing(|| "attach the tmpfs")?;
        for (index, bind) in binds.iter().enumerate() {
            let doing = || format!("lock the mount at {}", bind.destination().display());
            lay(&scratch, &index.to_string(), bind, given_for(bind)).doing(doing)?;
        }
        // The new mount namespace has copies of all mounts; the working directory moves to that of the tmpfs.
        nix::unistd::fchdir(&scratch).doing(|| "enter the tmpfs")?;
        explain::step(
            "a user namespace more: there, the flags of the mounts stay, and what they cover stays covered",
            "unshare --user --mount …",
        );
        calls::unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS).doing(|| "make a user namespace")?;
        let copies = (0..binds.len()).map(|index| mounts::copy(Path::new(&index.to_string()), true));
        Ok((true, copies.collect::<Result<_>>()?))
    })?;
    let new = binds
        .iter()
        .zip(made)
        .map(|(bind, mount)| Given { destination: bind.destination().clone(), mount: Rc::new(mount) });
    let new: Vec<Given> = new.collect();
    let others = given.into_iter().filter(|given| !new.iter().any(|new| new.destination == given.destination));
    let others: Vec<Given> = others.collect();
    Ok(new.into_iter().chain(others).collect())
}

/// Attaches one of them at `name` in the tmpfs, with the flags that it is to keep.
fn lay(scratch: &OwnedFd, name: &str, bind: &Mount, given: Option<&Given>) -> Result<()> {
    let options = options::read(bind);
    let copy = match (given, bind.source()) {
        (Some(given), _) => given.mount.try_clone().doing(|| "take over a mount")?,
        (None, Some(source)) => {
            explain::step(
                "a copy of the mount that this directory of the host lies on",
                format_args!("mount --bind {} …", source.display()),
            );
            mounts::copy_of(source, &options)?
        }
        (None, None) => return Err(Error::new("a bind mount needs a source")),
    };
    mounts::set_flags(&copy, &options)?;
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    match mounts::is_directory(&copy)? {
        true => mkdirat(scratch, name, Mode::S_IRWXU),
        false => openat(scratch, name, OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC, Mode::S_IRUSR).map(drop),
    }
    .doing(|| "make a place for the mount")?;
    let place = openat(scratch, name, flags, Mode::empty()).doing(|| "open the mount's place")?;
    mounts::attach(&copy, &place)
}
