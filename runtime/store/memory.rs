//! A store in memory, where there is no other place for one: in a container all that is its own lies on an overlay, and an
//! overlay takes no other for its writable layer. Only where nobody has named a place, and told when it is made.

use crate::required;
use nix::sys::statfs::{OVERLAYFS_SUPER_MAGIC, TMPFS_MAGIC, statfs};
use nix::unistd::{AccessFlags, access, geteuid};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Since when a tmpfs keeps the attributes that overlayfs marks directories with (`user.*`).
const TMPFS_HAS_ATTRIBUTES: (u32, u32) = (6, 6);

/// Where the store goes instead of `place`, which is not there yet; `None` where `place` is as good as any.
pub fn instead_of(place: &Path) -> Option<PathBuf> {
    let there = place.ancestors().find(|above| above.is_dir())?;
    if statfs(there).ok()?.filesystem_type() != OVERLAYFS_SUPER_MAGIC {
        return None;
    }
    if !required::is_at_least(&required::release(), TMPFS_HAS_ATTRIBUTES) {
        return None;
    }
    let uid = geteuid().as_raw();
    let own = std::env::var_os("XDG_RUNTIME_DIR").filter(|_| uid != 0).map(PathBuf::from);
    let own = own.filter(|path| std::fs::metadata(path).is_ok_and(|found| found.uid() == uid));
    let all = own.map(|path| path.join("ebb")).into_iter().chain([PathBuf::from(format!("/dev/shm/ebb-{uid}"))]);
    all.into_iter().find(|path| {
        let above = path.parent().unwrap_or(Path::new("/"));
        is_on(above) && access(above, AccessFlags::W_OK | AccessFlags::X_OK).is_ok() && !path.is_symlink()
    })
}

/// Whether a directory lies in memory, and is gone with the machine.
pub fn is_on(directory: &Path) -> bool {
    statfs(directory).is_ok_and(|found| found.filesystem_type() == TMPFS_MAGIC)
}
