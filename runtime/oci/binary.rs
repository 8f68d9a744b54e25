//! Ebb's own program, which no container may write to (CVE-2019-5736).
//!
//! Whoever enters a container is this program until its execve(2). What it executes then may be a script that begins with
//! `#!/proc/self/exe`: the kernel executes this program once more, inside, and other processes there find its file by
//! /proc/PID/exe. To write to it they only have to wait until nobody executes it any more, and that comes when an upgrade moves
//! another into its place. Where the container's root does not own the file, that is in vain.
//!
//! Where it does, the command executes itself again, from a mount of this one file which is read-only and attached nowhere: by
//! /proc/PID/exe the file is then found on that mount, where to open it for writing is EROFS, whatever becomes of it. When the
//! descriptor of the mount is closed, by that very execve(2), nobody can change its flags any more: it is in no namespace.

use super::{IdMap, detached, ids, mounts};
use crate::error::{Doing, Error, Result};
use crate::explain::{self, calls};
use crate::umask;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::fstat;
use nix::sys::statvfs::{FsFlags, fstatvfs};
use oci_spec::runtime::{LinuxNamespaceType as Type, Spec};
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const LINK: &str = "/proc/self/exe";

/// Names the program's file where the kernel does not: the link to a file on a mount that is attached nowhere is `/`.
const PATH: &str = "EBB_BINARY";

/// Where this program was executed from.
pub fn path() -> Result<PathBuf> {
    let link = std::fs::read_link(LINK).doing(|| "find Ebb's own binary")?;
    Ok(std::env::var_os(PATH).filter(|_| !is_a_path(&link)).map_or(link, PathBuf::from))
}

/// For whoever is not root, in a command that starts programs: all ids of their containers are theirs, and so may the
/// program's file be. Returns where it is root's, or is out of reach already.
pub fn keep_from_own_containers() -> Result<()> {
    if nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    let meta = std::fs::metadata(LINK).doing(|| "look at Ebb's own binary")?;
    if meta.uid() == 0 && meta.mode() & 0o022 == 0 { Ok(()) } else { keep_from_containers() }
}

/// For root, before a container of this description is made or entered.
pub fn keep_from(spec: &Spec) -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    let namespaces = spec.linux().iter().filter_map(|linux| linux.namespaces().as_ref()).flatten();
    let joins_users = namespaces.into_iter().any(|one| one.typ() == Type::User && one.path().is_some());
    let owner = std::fs::metadata(LINK).doing(|| "look at Ebb's own binary")?.uid();
    let has = |map: &IdMap| map.uids.iter().any(|(_, first, length)| owner >= *first && owner - first < *length);
    match ids::of(spec) {
        Some(map) if !joins_users && !has(&map) => Ok(()),
        _ => keep_from_containers(),
    }
}

/// Returns where the program's file is out of reach of all containers. Does not return otherwise, but executes itself again.
pub fn keep_from_containers() -> Result<()> {
    let own = File::open(LINK).doing(|| "open Ebb's own binary")?;
    if is_out_of_reach(own.as_fd()) {
        // The kernel has taken the number of a descriptor for the program's name.
        let _ = std::fs::write("/proc/self/comm", "ebb");
        return Ok(());
    }
    let path = path()?;
    let sealed = match read_only(&path, &own) {
        Ok(sealed) => sealed,
        Err(_) => sealed_copy(&own)?,
    };
    // What is executed now finds itself out of reach by this same question: it is not executed a third time.
    if !is_out_of_reach(sealed.as_fd()) {
        return Err(Error::new("Ebb's own binary could not be put out of reach of the container, whose root owns it")
            .with_cure(format!("install it as a file of root's: sudo install {} /usr/local/bin/", path.display())));
    }
    execute(&sealed, &path)
}

/// On a read-only mount that is attached nowhere, or a copy in memory that nobody can change.
fn is_out_of_reach(file: impl AsFd) -> bool {
    let link = std::fs::read_link(format!("/proc/self/fd/{}", file.as_fd().as_raw_fd())).unwrap_or_default();
    if link == Path::new("/") {
        return fstatvfs(&file).is_ok_and(|found| found.flags().contains(FsFlags::ST_RDONLY));
    }
    let seals = fcntl(&file, FcntlArg::F_GET_SEALS).unwrap_or_default();
    SealFlag::from_bits_retain(seals).contains(SealFlag::F_SEAL_WRITE)
}

/// Whether the link of an open file leads to where it is attached.
fn is_a_path(link: &Path) -> bool {
    link != Path::new("/") && !link.as_os_str().as_bytes().starts_with(b"/memfd:")
}

/// A read-only mount of the program's file, attached nowhere. Who is not root has the right to make one in a user namespace.
fn read_only(path: &Path, own: &File) -> Result<OwnedFd> {
    let copy = || {
        explain::step(
            "the container's root owns our own program: we go on from a mount of it that cannot be written to",
            format_args!("mount --bind -o ro {} …", path.display()),
        );
        let copy = mounts::copy(path, false)?;
        calls::mount_setattr(&copy, false, libc::MOUNT_ATTR_RDONLY, 0, 0, None).doing(|| "make it read-only")?;
        Ok(copy)
    };
    let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    let mount = if uid == 0 {
        copy()?
    } else {
        let map = IdMap { uids: vec![(0, uid, 1)], gids: vec![(0, gid, 1)] };
        let (_, mut made) = detached::in_new_namespace(Some(&map), || Ok((true, vec![copy()?])))?;
        made.pop().ok_or_else(|| Error::new("the mount got lost"))?
    };
    let (found, own) = (fstat(&mount).doing(|| "look at the mount")?, own.metadata().doing(|| "look at the binary")?);
    if (found.st_dev, found.st_ino) == (own.dev(), own.ino()) {
        Ok(mount)
    } else {
        Err(Error::new("an upgrade has put another binary into its place meanwhile"))
    }
}

/// A copy in memory that nobody can change: where there can be no such mount.
fn sealed_copy(own: &File) -> Result<OwnedFd> {
    explain::step("where that mount cannot be had: a copy of our program in memory, sealed", "");
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    // Older kernels know no such flag; what they make can be executed.
    let executable = MFdFlags::from_bits_retain(libc::MFD_EXEC);
    let made = memfd_create(c"ebb", flags | executable).or_else(|_| memfd_create(c"ebb", flags));
    let mut copy = File::from(made.doing(|| "copy Ebb's own binary into memory")?);
    std::io::copy(&mut &*own, &mut copy).doing(|| "copy Ebb's own binary into memory")?;
    let seals = SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_SEAL;
    fcntl(&copy, FcntlArg::F_ADD_SEALS(seals)).doing(|| "seal the copy of Ebb's own binary")?;
    // A file that is open for writing is not executed (ETXTBSY).
    let path = format!("/proc/self/fd/{}", copy.as_raw_fd());
    let options = std::fs::OpenOptions::new().read(true).custom_flags(OFlag::O_CLOEXEC.bits()).open(path);
    options.map(OwnedFd::from).doing(|| "open the copy of Ebb's own binary")
}

/// Begins anew, with the caller's words, environment and umask. Returns only with an error.
fn execute(file: &OwnedFd, path: &Path) -> Result<()> {
    let text = |bytes: Vec<u8>| CString::new(bytes).map_err(|_| Error::new("a NUL byte in an argument"));
    let words: Vec<CString> = std::env::args_os().map(|word| text(word.into_vec())).collect::<Result<_>>()?;
    let pair = |name: &OsStr, value: &OsStr| text([name.as_bytes(), b"=", value.as_bytes()].concat());
    let mut environment: Vec<CString> = std::env::vars_os()
        .filter(|(name, _)| name != PATH)
        .map(|(name, value)| pair(&name, &value))
        .collect::<Result<_>>()?;
    environment.push(pair(OsStr::new(PATH), path.as_os_str())?);
    umask::give_back();
    match calls::execveat(file, &words, &environment) {
        Ok(never) => match never {},
        Err(errno @ (Errno::EACCES | Errno::EPERM)) => {
            Err(errno).doing(|| "execute Ebb's own binary again").map_err(|error| {
                error.with_cure(format!(
                    "install it as a file of root's: sudo install {} /usr/local/bin/",
                    path.display()
                ))
            })
        }
        Err(errno) => Err(errno).doing(|| "execute Ebb's own binary again"),
    }
}
