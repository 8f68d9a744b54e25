//! The calls that change files of the store, and those of the kernel that are written like files.

use super::super::{Call, is_told, tell, tell_at};
use super::{fd, quoted, zero};
use nix::fcntl::AtFlags;
use nix::unistd::UnlinkatFlags;
use std::ffi::CStr;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::Location;
use std::path::Path;

/// Writes a file of the kernel's (an id map, a limit of a cgroup), whole and in one write.
#[track_caller]
pub fn write(path: &Path, text: &str) -> std::io::Result<()> {
    io(|| Call::new("write", format!("{}, {text:?}, {}", path.display(), text.len())), || std::fs::write(path, text))
}

/// The same into a file that is open.
#[track_caller]
pub fn write_to(file: &File, text: &str) -> std::io::Result<()> {
    let mut into = file;
    io(
        || Call::new("write", format!("{}, {text:?}, {}", fd(file), text.len())),
        || std::io::Write::write_all(&mut into, text.as_bytes()),
    )
}

/// mkdir(2); `mode` less the umask.
#[track_caller]
pub fn mkdir(path: &Path, mode: u32) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let call = || Call::new("mkdir", format!("{path:?}, {mode:#04o}").replace("0o", "0"));
    io(call, || std::fs::DirBuilder::new().mode(mode).create(path))
}

#[track_caller]
pub fn rmdir(path: &Path) -> nix::Result<()> {
    let call = || Call::new("unlinkat", format!("AT_FDCWD, {path:?}, AT_REMOVEDIR"));
    tell(call, zero, || nix::unistd::unlinkat(nix::fcntl::AT_FDCWD, path, UnlinkatFlags::RemoveDir))
}

/// unlinkat(2) of a directory, by its name in `parent`.
#[track_caller]
pub fn rmdir_at(parent: impl AsFd, name: &CStr) -> nix::Result<()> {
    let call = || Call::new("unlinkat", format!("{}, {}, AT_REMOVEDIR", fd(&parent), quoted(name)));
    tell(call, zero, || nix::unistd::unlinkat(&parent, name, UnlinkatFlags::RemoveDir))
}

#[track_caller]
pub fn symlink(target: &str, link: &Path) -> std::io::Result<()> {
    io(|| Call::new("symlink", format!("{target:?}, {link:?}")), || std::os::unix::fs::symlink(target, link))
}

#[track_caller]
pub fn unlink(path: &Path) -> std::io::Result<()> {
    io(|| Call::new("unlink", format!("{path:?}")), || std::fs::remove_file(path))
}

#[track_caller]
pub fn rename(from: &Path, to: &Path) -> std::io::Result<()> {
    io(|| Call::new("rename", format!("{from:?}, {to:?}")), || std::fs::rename(from, to))
}

/// renameat2(2) with RENAME_NOREPLACE: fails where `to` exists.
#[track_caller]
pub fn rename_new(from: &Path, to: &Path) -> nix::Result<()> {
    use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
    let call = || Call::new("renameat2", format!("AT_FDCWD, {from:?}, AT_FDCWD, {to:?}, RENAME_NOREPLACE"));
    tell(call, zero, || renameat2(AT_FDCWD, from, AT_FDCWD, to, RenameFlags::RENAME_NOREPLACE))
}

/// renameat2(2) with RENAME_EXCHANGE: each takes the other's place, at once.
#[track_caller]
pub fn rename_exchange(one: &Path, other: &Path) -> nix::Result<()> {
    use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
    let call = || Call::new("renameat2", format!("AT_FDCWD, {one:?}, AT_FDCWD, {other:?}, RENAME_EXCHANGE"));
    tell(call, zero, || renameat2(AT_FDCWD, one, AT_FDCWD, other, RenameFlags::RENAME_EXCHANGE))
}

/// ftruncate(2): what the file has not is a hole.
#[track_caller]
pub fn set_length(file: &File, bytes: u64) -> std::io::Result<()> {
    io(|| Call::new("ftruncate", format!("{}, {bytes}", fd(file))), || file.set_len(bytes))
}

#[track_caller]
pub fn fsync(file: &File) -> std::io::Result<()> {
    io(|| Call::new("fsync", fd(file)), || file.sync_all())
}

#[track_caller]
pub fn fdatasync(file: &File) -> std::io::Result<()> {
    io(|| Call::new("fdatasync", fd(file)), || file.sync_data())
}

#[track_caller]
pub fn syncfs(file: &File) -> nix::Result<()> {
    tell(|| Call::new("syncfs", fd(file)), zero, || nix::unistd::syncfs(file))
}

/// fchownat(2) of many open files, told as one line when the last is done. `walk` makes each by the function that it is
/// given.
#[track_caller]
pub fn chown_each<E>(
    uid: u32,
    gid: u32,
    walk: impl FnOnce(&mut dyn FnMut(BorrowedFd) -> nix::Result<()>) -> Result<(), E>,
) -> Result<(), E> {
    let mut numbers: Vec<String> = Vec::new();
    let mut last = Ok(());
    let walked = walk(&mut |file| {
        let owner = (Some(nix::unistd::Uid::from_raw(uid)), Some(nix::unistd::Gid::from_raw(gid)));
        last = nix::unistd::fchownat(file, "", owner.0, owner.1, AtFlags::AT_EMPTY_PATH);
        if is_told() {
            numbers.push(fd(file));
        }
        last
    });
    if !numbers.is_empty() {
        let call = || {
            let times = numbers.len();
            let arguments = match numbers.as_slice() {
                [one] => format!("{one}, \"\", {uid}, {gid}, AT_EMPTY_PATH"),
                all => format!("\"\", {uid}, {gid}, AT_EMPTY_PATH, {}", all.join(" ")),
            };
            Call { name: "fchownat", arguments, times }
        };
        // What is told is what the last one answered: the walk ends with the first that fails.
        let _ = tell(call, zero, || last);
    }
    walked
}

/// LOOP_CONFIGURE: `file` becomes a disk.
#[track_caller]
pub fn configure_loop_device(device: &File, file: &File, shown: &[u8]) -> nix::Result<()> {
    let call = || {
        let arguments = format!("{{fd={}, lo_flags=LO_FLAGS_AUTOCLEAR}}", fd(file));
        Call::new("ioctl", format!("{}, LOOP_CONFIGURE, {arguments}", fd(device)))
    };
    tell(call, zero, || crate::kernel::configure_loop_device(device, file, shown))
}

/// [`tell`] for the calls of std, whose error is passed on as it is.
#[track_caller]
fn io(call: impl FnOnce() -> Call, make: impl FnMut() -> std::io::Result<()>) -> std::io::Result<()> {
    let place = Location::caller();
    keeping_error(|make| tell_at(place, call, zero, make), make)
}

/// std's calls fail with an io::Error, which is more than an errno: it is passed on as it is.
pub(super) fn keeping_error<T>(
    told: impl FnOnce(&mut dyn FnMut() -> nix::Result<T>) -> nix::Result<T>,
    mut make: impl FnMut() -> std::io::Result<T>,
) -> std::io::Result<T> {
    let mut failed = None;
    let done = told(&mut || {
        make().map_err(|error| {
            let errno = nix::errno::Errno::from_raw(error.raw_os_error().unwrap_or_default());
            failed = Some(error);
            errno
        })
    });
    done.map_err(|errno| failed.unwrap_or_else(|| errno.into()))
}
