//! Where Ebb itself is confined (in a container, in a chroot, by a sysctl, on a file system that takes no overlay): what the
//! kernel refuses there, why, and what helps. Looked for only after it has refused.

use crate::error::{Error, Kind};
use crate::required;
use nix::sys::statfs::{OVERLAYFS_SUPER_MAGIC, statfs};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Why a clone into new namespaces is refused.
pub fn explain_clone(error: Error) -> Error {
    let cure = if error.kind == Kind::NoRoom {
        "there are as many user namespaces as the sysctl user.max_user_namespaces allows, or 32 of them lie one in another"
    } else {
        why_no_namespace()
    };
    error.with_cure(cure)
}

fn why_no_namespace() -> &'static str {
    let is_root = nix::unistd::geteuid().is_root();
    let has = |setting: &str, value: &str| {
        std::fs::read_to_string(Path::new("/proc/sys").join(setting)).is_ok_and(|found| found.trim() == value)
    };
    if is_in_chroot() {
        "ebb runs in a chroot, and there the kernel makes no user namespace: start it outside, or enter by pivot_root \
         (bwrap, systemd-nspawn) and not by chroot"
    } else if has("user/max_user_namespaces", "0") {
        "user namespaces are switched off: sysctl -w user.max_user_namespaces=10000"
    } else if !is_root && has("kernel/unprivileged_userns_clone", "0") {
        "only root may make user namespaces: sysctl -w kernel.unprivileged_userns_clone=1"
    } else if !is_root && has("kernel/apparmor_restrict_unprivileged_userns", "1") {
        "AppArmor keeps user namespaces from ordinary users: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
    } else if is_filtered() {
        "a seccomp filter forbids it, that of a container around ebb: docker run --privileged, or --security-opt \
         seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined"
    } else {
        "user namespaces may be switched off: see /proc/sys/user/max_user_namespaces, \
         kernel.unprivileged_userns_clone and kernel.apparmor_restrict_unprivileged_userns"
    }
}

/// Its root is none of its mount namespace's: either no mount is there, or the first process's root is another.
fn is_in_chroot() -> bool {
    let mounts = crate::procfs::read("/proc/self/mountinfo").unwrap_or_default();
    let is_a_mount = mounts.lines().any(|line| line.split(' ').nth(4) == Some("/"));
    let root = |path: &str| std::fs::metadata(path).map(|found| (found.dev(), found.ino())).ok();
    let is_another = || root("/proc/1/root/").is_some_and(|first| Some(first) != root("/"));
    !mounts.is_empty() && (!is_a_mount || (shares_mounts() && is_another()))
}

/// With the first process, whose root is then most often that of the mount namespace.
fn shares_mounts() -> bool {
    let of = |who: &str| std::fs::read_link(format!("/proc/{who}/ns/mnt")).ok();
    of("1").is_some_and(|first| Some(first) == of("self"))
}

fn is_filtered() -> bool {
    let status = crate::procfs::read("/proc/self/status").unwrap_or_default();
    status.lines().any(|line| line.strip_prefix("Seccomp:").is_some_and(|mode| mode.trim() == "2"))
}

/// Why an overlay with this upper directory is refused.
pub fn explain_overlay(error: Error, upper: Option<&Path>) -> Error {
    if let Some(mut told) = upper.and_then(no_upper) {
        told.message = format!("{}: {}", error.message, told.message);
        return told;
    }
    let release = required::release();
    match required::is_at_least(&release, required::MINIMUM_AS_ROOT) {
        true => error,
        false => error.with_cure(format!("this is Linux {release}, and {}", required::needed())),
    }
}

/// Whether a directory lies where no overlay can have its writable layer: on another overlay, as a container's root is.
pub fn no_upper(directory: &Path) -> Option<Error> {
    let found = statfs(directory).ok()?;
    let shown = directory.display();
    (found.filesystem_type() == OVERLAYFS_SUPER_MAGIC).then(|| {
        Error::new(format!(
            "{shown} lies on an overlay, as all does that is a container's own, and no overlay takes another for its \
             writable layer"
        ))
        .with_cure(
            "give the store a volume or a tmpfs: docker run -v ebb:/var/lib/ebb … (or --tmpfs /var/lib/ebb), or \
                 EBB_ROOT=/dev/shm/ebb where that is large enough",
        )
    })
}
