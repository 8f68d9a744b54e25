//! A volume with a limit: a file system of that size in a file, `volumes/NAME/disk`, mounted through a loop device. The
//! kernel itself says ENOSPC to the container when it is full.

use super::options::Place;
use crate::error::{Doing, Error, Result};
use crate::explain::{self, calls};
use crate::kernel;
use crate::oci::detached;
use crate::programs;
use crate::store::beneath;
use nix::errno::Errno;
use nix::sys::stat::{Mode, fchmod};
use nix::sys::statfs::fstatfs;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// The file's name, beside `_data`.
pub const FILE: &str = "disk";

/// Refuses what cannot be had, before anything is made.
pub fn check(place: &Place) -> Result<()> {
    let Place::Disk { kind, .. } = place else { return Ok(()) };
    let refused = |why: &str| Error::new(format!("quota size requested but no quota support: {why}"));
    if !nix::unistd::geteuid().is_root() {
        return Err(refused("a limit on the disk takes a loop device, and that takes root").with_cure(
            "without root a tmpfs has a limit, and is gone after the last container that uses it: -o type=tmpfs -o \
             device=tmpfs -o o=size=64m",
        ));
    }
    if !Path::new("/dev/loop-control").exists() {
        return Err(refused("there is no /dev/loop-control, and so no loop device"));
    }
    if programs::find(&format!("mkfs.{kind}")).is_none() {
        let cure = format!("mkfs.{kind} comes with the package e2fsprogs");
        return Err(refused(&format!("there is no mkfs.{kind} on this system")).with_cure(cure));
    }
    Ok(())
}

/// Makes the file system in the new file `path`, empty, and forces it to the disk. The file has holes: it takes room as the
/// volume is filled. Returns how many bytes files can have in it.
pub fn make(path: &Path, kind: &str, bytes: u64) -> Result<u64> {
    let doing = || format!("make a file system of {bytes} bytes in {}", path.display());
    let mut command = programs::command(&format!("mkfs.{kind}")).doing(doing)?;
    let file = File::options().read(true).write(true).create_new(true).mode(0o600).open(path).doing(doing)?;
    explain::step(
        format_args!("a file of {bytes} bytes, which is the volume's limit; it is all hole, and takes no room yet"),
        format_args!("truncate -s {bytes} {}", path.display()),
    );
    calls::set_length(&file, bytes).doing(doing)?;
    // No blocks are kept back for the host's root; what is not written is zero already.
    command.args(["-q", "-F", "-m", "0", "-E", "lazy_itable_init=1,nodiscard,root_owner=0:0"]).arg(path);
    explain::step("an empty file system in it", format_args!("mkfs.{kind} -q -m 0 {}", path.display()));
    let output = calls::output(&mut command).doing(doing)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
        return Err(Error::new(said)).doing(doing);
    }
    let (_, made) = detached::in_new_namespace(None, || {
        let disk = attach(path)?;
        Ok((true, vec![detached::file_system(kind, &disk.path, words(kind))?]))
    })
    .doing(doing)?;
    let root =
        made.into_iter().next().ok_or_else(|| Error::new("the new file system's mount got lost")).doing(doing)?;
    settle(&root).doing(doing)?;
    let room = fstatfs(&root).doing(doing)?;
    let usable = room.blocks_available().saturating_mul(room.block_size().unsigned_abs());
    drop(root);
    explain::step("unmounted again, it is forced to the disk", format_args!("sync {}", path.display()));
    calls::fsync(&file).doing(doing)?;
    Ok(usable)
}

/// A file system keeps a part of its size for itself, and of a small one a large part: who asked for 5 MiB meant their files.
pub fn tell_usable(name: &str, usable: u64, bytes: u64) {
    let mebibytes = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
    eprintln!(
        "ebb: {} of the {} of volume {name} can be used: the file system keeps the rest for itself",
        mebibytes(usable),
        mebibytes(bytes)
    );
}

/// A new volume is empty: fsck(8)'s own directory would keep the image's files out of it. fsck makes it again if need be.
fn settle(root: &OwnedFd) -> Result<()> {
    explain::step("a new volume is empty: fsck's own directory would keep the image's files out", "rmdir …/lost+found");
    match calls::rmdir_at(root, c"lost+found") {
        Ok(()) | Err(Errno::ENOENT) => {}
        Err(errno) => return Err(errno).doing(|| "remove lost+found"),
    }
    let top = beneath::open(root, Path::new("/"), nix::fcntl::OFlag::O_RDONLY, Mode::empty()).doing(|| "open it")?;
    fchmod(&top, Mode::from_bits_truncate(0o755)).doing(|| "set its mode")?;
    explain::step("what was written to the new file system is forced to its disk", "sync --file-system …");
    calls::syncfs(&File::from(top)).doing(|| "sync it")
}

/// mount(8)'s words for the file systems that Ebb has made.
pub fn words(kind: &str) -> &'static [String] {
    use std::sync::LazyLock;
    // The tables of inodes read as zeros: nobody need write them, which would fill the file's holes.
    static EXT4: LazyLock<Vec<String>> = LazyLock::new(|| vec!["noinit_itable".to_owned()]);
    if kind == "ext4" { &EXT4 } else { &[] }
}

/// A loop device that has the file. While this is open, or the device is mounted, it keeps it.
pub struct Attached {
    /// `/dev/loop0`
    pub path: String,
    _device: File,
}

/// Finds the loop device that has this file already, or gives it to a free one: two devices of one file would be two file
/// systems that know nothing of each other, on the same blocks. The caller holds the volume's lock.
pub fn attach(path: &Path) -> Result<Attached> {
    let doing = || format!("find a loop device for {}", path.display());
    let file = File::options().read(true).write(true).open(path).doing(doing)?;
    let meta = file.metadata().doing(doing)?;
    if let Some(found) = attached(meta.dev(), meta.ino()) {
        return Ok(found);
    }
    let control = File::options().read(true).write(true).open("/dev/loop-control").doing(doing)?;
    loop {
        let number = kernel::free_loop_device(&control).doing(doing)?;
        let device = format!("/dev/loop{number}");
        let opened = File::options().read(true).write(true).open(&device).doing(doing)?;
        explain::step(
            format_args!("the file becomes a disk, {device}, until it is used no more"),
            format_args!("losetup {device} {}", path.display()),
        );
        match calls::configure_loop_device(&opened, &file, path.as_os_str().as_encoded_bytes()) {
            // Somebody else was faster with this one.
            Err(Errno::EBUSY) => {}
            configured => {
                configured.doing(doing)?;
                return Ok(Attached { path: device, _device: opened });
            }
        }
    }
}

fn attached(dev: u64, inode: u64) -> Option<Attached> {
    let entries = std::fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let busy = entries.filter(|entry| entry.path().join("loop/backing_file").exists());
    busy.map(|entry| format!("/dev/{}", entry.file_name().to_string_lossy())).find_map(|path| {
        let device = File::options().read(true).write(true).open(&path).ok()?;
        // Asked after it is open: from here on it cannot let go of its file.
        let ours = kernel::loop_device_file(&device).is_ok_and(|found| found == (dev, inode));
        ours.then_some(Attached { path, _device: device })
    })
}
