//! The container's root: an overlay of an image's layers below and one writable directory on top, mounted where only
//! the container can see it; then pivot_root(2), after which the host's files have no name any more.

use super::mounts::{self, Sources};
use super::{confined, options};
use crate::error::{Doing, Error, Result};
use crate::explain::{self, calls};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::mount::{MntFlags, MsFlags};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::fchdir;
use oci_spec::runtime::{Mount, Spec};
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

const PATH_DIRECTORY: OFlag = OFlag::O_PATH.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);

/// Whether this mount is the bundle's root itself: Ebb's bundles say so with the destination `/`.
pub fn is_root(mount: &Mount) -> bool {
    mount.destination() == Path::new("/")
}

fn is_overlay(mount: &Mount) -> bool {
    mount.typ().as_deref() == Some("overlay")
}

/// The directories whose mounts the root is made of, in the order in which [`mount_root`] takes them.
pub fn sources(mount: &Mount) -> Result<Vec<PathBuf>> {
    if is_overlay(mount) { Ok(Overlay::read(mount)?.sources()) } else { Ok(mount.source().iter().cloned().collect()) }
}

/// The directory that the root is mounted on: the bundle's `root.path`.
pub fn path(bundle: &Path, spec: &Spec) -> Result<PathBuf> {
    let root = spec.root().as_ref().ok_or_else(|| Error::new("the bundle's config.json has no root"))?;
    Ok(bundle.join(root.path()))
}

/// Opens the directory to mount on. In the child, in its own mount namespace (a descriptor of the host's could not be
/// mounted on), and before it changes its ids (the bundle may lie in a directory that only its maker can pass).
pub fn open_place(path: &Path) -> Result<OwnedFd> {
    openat(AT_FDCWD, path, PATH_DIRECTORY, Mode::empty()).doing(|| format!("open the root {}", path.display()))
}

/// Everything becomes a slave, so that mounts still arrive from outside and none leak out; or private, where the bundle
/// asks for that (`rootfsPropagation`). What else it asks for is the container's root's, and comes after pivot_root: here it
/// would make the overlay seen on the host.
pub fn isolate_mounts(spec: &Spec) -> Result<()> {
    let (flags, word) = match root_propagation(spec) & libc::MS_PRIVATE {
        0 => (libc::MS_SLAVE, "rslave"),
        private => (private, "rprivate"),
    };
    let none: Option<&str> = None;
    explain::step("what is mounted here from now on is not seen outside", format_args!("mount --make-{word} /"));
    calls::mount(none, "/", none, MsFlags::from_bits_retain(flags | libc::MS_REC), none)
        .doing(|| "separate the mount tree from the host's")
}

fn root_propagation(spec: &Spec) -> u64 {
    let asked = spec.linux().as_ref().and_then(|linux| linux.rootfs_propagation().clone());
    asked.as_deref().and_then(options::propagation).unwrap_or(0)
}

/// `linux.rootfsPropagation`, once the root is `/`: of the root alone, since each mount below it has its own.
pub fn propagate(spec: &Spec, root: &OwnedFd) -> Result<()> {
    let flags = root_propagation(spec) & !libc::MS_REC;
    if flags == 0 || flags == libc::MS_PRIVATE {
        return Ok(());
    }
    explain::step("the root passes on what is mounted in it, as the bundle asks for", "mount --make-… /");
    calls::mount_setattr(root, false, 0, 0, flags, None).doing(|| "set the root's propagation")
}

/// Mounts the root on `place`, and returns a descriptor of it.
pub fn mount_root(spec: &Spec, place: &OwnedFd, sources: &mut Sources) -> Result<OwnedFd> {
    let root = match spec.mounts().iter().flatten().find(|mount| is_root(mount)) {
        Some(mount) if is_overlay(mount) => overlay(mount, place, sources)?,
        Some(mount) => {
            let source = mount.source().as_deref().ok_or_else(|| Error::new("the root's mount has no source"))?;
            explain::step(
                "one directory is the root, with no layers",
                format_args!("mount --bind {} ROOTFS", source.display()),
            );
            let copy = sources.take(source, false)?;
            calls::move_mount(&copy, place).doing(|| "mount the root")?;
            copy
        }
        None => {
            let flags = libc::OPEN_TREE_CLONE | (libc::AT_RECURSIVE | libc::AT_EMPTY_PATH) as u32;
            explain::step("the bundle's root becomes a mount, which a root must be", "mount --bind ROOTFS ROOTFS");
            let copy = calls::open_tree(place, c"", flags).doing(|| "copy the mount of the root")?;
            calls::move_mount(&copy, place).doing(|| "mount the root")?;
            copy
        }
    };
    // pivot_root(2) wants neither the new root nor the mount that it lies on to be shared.
    explain::step("the new root is nobody's mirror: pivot_root wants it private", "mount --make-private ROOTFS");
    calls::mount_setattr(&root, false, 0, 0, libc::MS_PRIVATE, None).doing(|| "make the root private")?;
    Ok(root)
}

/// The layers are first attached side by side in a small tmpfs: kernels before 6.15 take no detached mount for a layer,
/// and names as short as `l0` keep any number of layers within the one page that options may fill. That page is
/// mount(2)'s: the newer fsconfig(2) takes at most 255 bytes of a value, which 67 layers exceed.
pub fn overlay(described: &Mount, place: &OwnedFd, sources: &mut Sources) -> Result<OwnedFd> {
    let wanted = Overlay::read(described)?;
    explain::step(
        "a small tmpfs to lay the layers side by side in, each under a short name",
        "mount -t tmpfs tmpfs ROOTFS",
    );
    let scratch = mounts::new(c"tmpfs", &[], 0).doing(|| "mount a tmpfs for the layers")?;
    calls::move_mount(&scratch, place).doing(|| "attach the tmpfs for the layers")?;
    let mut attach = |name: &str, source: &Path| -> Result<()> {
        mkdirat(&scratch, name, Mode::S_IRWXU).doing(|| format!("make {name}"))?;
        let target = openat(&scratch, name, PATH_DIRECTORY, Mode::empty()).doing(|| format!("open {name}"))?;
        let what = if name == "rw" {
            "the container's own writable layer"
        } else {
            "a layer of the image, which nobody writes to"
        };
        explain::step(
            format_args!("{what}: {}", source.display()),
            format_args!("mount --bind {} {name}", source.display()),
        );
        let layer = sources.take(source, false)?;
        calls::move_mount(&layer, &target).doing(|| format!("attach {}", source.display()))
    };
    for (index, layer) in wanted.lower.iter().enumerate() {
        attach(&format!("l{index}"), layer)?;
    }
    let names: Vec<String> = (0..wanted.lower.len()).map(|index| format!("l{index}")).collect();
    let mut data = vec![format!("lowerdir={}", names.join(":"))];
    if let Some((upper, work)) = &wanted.writable {
        // Upper and work must be on the same mount, so it is their common parent that is attached.
        attach("rw", upper.parent().unwrap_or(Path::new("/")))?;
        let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        data.push(format!("upperdir=rw/{}", name(upper)));
        data.push(format!("workdir=rw/{}", name(work)));
    }
    data.extend(wanted.other);
    mkdirat(&scratch, "root", Mode::S_IRWXU).doing(|| "make root")?;
    fchdir(&scratch).doing(|| "enter the tmpfs of the layers")?;
    let overlay = Some("overlay");
    explain::step(
        "the overlay: what is read comes from the topmost layer that has it, what is written goes to the upper one",
        format_args!("mount -t overlay overlay -o {} root", data.join(",")),
    );
    calls::mount(overlay, "root", overlay, MsFlags::empty(), Some(data.join(",").as_str()))
        .doing(|| "mount the overlay")
        .map_err(|error| {
            confined::explain_overlay(error, wanted.writable.as_ref().map(|(upper, _)| upper.as_path()))
        })?;
    let root = openat(&scratch, "root", PATH_DIRECTORY, Mode::empty()).doing(|| "open the overlay")?;
    if wanted.attributes != 0 {
        calls::mount_setattr(&root, false, wanted.attributes, 0, 0, None).doing(|| "set the overlay's options")?;
    }
    calls::move_mount(&root, &scratch).doing(|| "attach the overlay")?;
    Ok(root)
}

/// The overlay of a bundle's first mount.
pub struct Overlay {
    /// The topmost first, as in the mount option.
    pub lower: Vec<PathBuf>,
    pub writable: Option<(PathBuf, PathBuf)>,
    pub other: Vec<String>,
    pub attributes: u64,
}

impl Overlay {
    pub fn read(mount: &Mount) -> Result<Overlay> {
        let options = options::read(mount);
        let value = |key: &str| options.data.iter().find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
        let lower = value("lowerdir").ok_or_else(|| Error::new("the overlay of the root has no lowerdir"))?;
        let writable = match (value("upperdir"), value("workdir")) {
            (Some(upper), Some(work)) => Some((PathBuf::from(upper), PathBuf::from(work))),
            (None, None) => None,
            _ => return Err(Error::new("the overlay of the root needs upperdir and workdir, or neither")),
        };
        if let Some((upper, work)) = &writable
            && upper.parent() != work.parent()
        {
            return Err(Error::new("upperdir and workdir of the root must lie in one directory"));
        }
        let known = ["lowerdir=", "upperdir=", "workdir="];
        let other =
            options.data.iter().filter(|word| !known.iter().any(|key| word.starts_with(key))).cloned().collect();
        Ok(Overlay { lower: split(lower), writable, other, attributes: options.attributes })
    }

    fn sources(&self) -> Vec<PathBuf> {
        let writable = self.writable.iter().filter_map(|(upper, _)| upper.parent().map(Path::to_owned));
        self.lower.iter().cloned().chain(writable).collect()
    }
}

/// `lowerdir` separates with colons; one in a path is written `\:`.
fn split(lower: &str) -> Vec<PathBuf> {
    let mut paths = vec![String::new()];
    let mut letters = lower.chars();
    while let Some(letter) = letters.next() {
        match letter {
            ':' => paths.push(String::new()),
            '\\' => paths.last_mut().into_iter().for_each(|path| path.extend(letters.next())),
            letter => paths.last_mut().into_iter().for_each(|path| path.push(letter)),
        }
    }
    paths.into_iter().map(PathBuf::from).collect()
}

/// The container's root becomes `/`, and everything else of the host's tree is gone.
pub fn pivot(spec: &Spec, root: &OwnedFd) -> Result<()> {
    fchdir(root).doing(|| "enter the new root")?;
    if spec.annotations().as_ref().is_some_and(|all| all.contains_key(super::CHROOT_ONLY)) {
        return change_root_only(spec);
    }
    explain::step("the new root becomes /, and the host's tree lies on top of it for a moment", "pivot_root . .");
    calls::pivot_root_here().doing(|| "pivot_root")?;
    // The old root now lies on top of the new one, at the same place. It is detached whole, busy or not.
    explain::step("the host's tree is taken off: its files have no name here any more", "umount --lazy .");
    calls::umount2(".", MntFlags::MNT_DETACH).doing(|| "unmount the old root")?;
    nix::unistd::chdir("/").doing(|| "enter the new root")
}

/// Where the kernel cannot pivot, since `/` is an initramfs: the new root is moved on top of it. The host's tree is still
/// there, below. Its views of processes and devices go: who may mount is kept from new ones by what these hide.
pub fn move_over(root: &OwnedFd) -> Result<()> {
    fchdir(root).doing(|| "enter the new root")?;
    let here = nix::unistd::getcwd().doing(|| "find the new root")?;
    let top = openat(AT_FDCWD, "/", PATH_DIRECTORY, Mode::empty()).doing(|| "open /")?;
    let all = crate::procfs::read("/proc/self/mountinfo").doing(|| "read the mounts")?;
    let of_kernel = all.lines().filter(|line| line.contains(" - proc ") || line.contains(" - sysfs "));
    let places = of_kernel.filter_map(|line| line.split(' ').nth(4)).map(Path::new);
    for place in places.filter(|place| !place.starts_with(&here)) {
        explain::step("the host's view of the kernel goes", format_args!("umount --lazy {}", place.display()));
        match calls::umount2(place, MntFlags::MNT_DETACH) {
            // Below another that has gone already.
            Err(Errno::ENOENT) => {}
            // In a user namespace it is locked.
            result => result.doing(|| format!("without pivot_root: take the host's {} off", place.display()))?,
        }
    }
    explain::step("the new root is moved on top of the old one, which stays below", "mount --move . /");
    calls::move_mount(root, &top).doing(|| "move the root")?;
    drop(top);
    explain::step("and becomes /", "chroot .");
    calls::chroot(".").doing(|| "chroot")?;
    nix::unistd::chdir("/").doing(|| "enter the new root")
}

/// What pivot_root(2) is better than: the host's tree stays mounted around the new root.
fn change_root_only(spec: &Spec) -> Result<()> {
    let has_user_namespace = super::ids::of(spec).is_some();
    if !has_user_namespace {
        return Err(Error::new("a root changed by chroot alone can be left again: refused without a user namespace"));
    }
    explain::step("only the name / changes: the host's tree is still there, around it", "chroot .");
    calls::chroot(".").doing(|| "chroot")
}

/// `root.readonly`: last, since until here directories to mount on were still being made.
pub fn seal(spec: &Spec, root: impl AsFd) -> Result<()> {
    if spec.root().as_ref().and_then(|root| root.readonly()).unwrap_or(false) {
        explain::step("the root is read-only", "mount -o remount,bind,ro /");
        calls::mount_setattr(root, false, libc::MOUNT_ATTR_RDONLY, 0, 0, None).doing(|| "make the root read-only")?;
    }
    Ok(())
}

/// A path for a system call.
pub fn c_path(path: &Path) -> Result<CString> {
    CString::new(path.as_os_str().as_encoded_bytes()).map_err(|_| Error::new("a path has a NUL byte in it"))
}
