//! Propagation: whether what is mounted in a directory on one side appears on the other (mount_namespaces(7)). It takes
//! two: a mount that is nobody's peer on the host can neither send nor receive.

use crate::error::{Doing, Error, Result};
use crate::kernel;
use std::path::{Path, PathBuf};

/// Refuses `shared` and `slave` (or `rshared`, …) for a directory whose mount on the host has no peers, in Docker's words.
pub fn check(source: &Path, propagation: &str) -> Result<()> {
    let (wanted, what) = match propagation.strip_prefix('r').unwrap_or(propagation) {
        "shared" => (&["shared:"][..], "a shared"),
        "slave" => (&["shared:", "master:"][..], "a shared or slave"),
        _ => return Ok(()),
    };
    let Some(mount) = mount_of(source)? else { return Ok(()) };
    if mount.tags.iter().any(|tag| wanted.iter().any(|wanted| tag.starts_with(wanted))) {
        return Ok(());
    }
    let (source, at) = (source.display(), &mount.at);
    Err(Error::new(format!("path {source} is mounted on {at} but it is not {what} mount"))
        .with_cure(format!("what is mounted below it can only be seen on both sides after: mount --make-rshared {at}")))
}

/// Whether anything is mounted below `path`. Its letters may lie, with a symlink in them: then the kernel says so later.
pub fn has_mounts_below(path: &Path) -> Result<bool> {
    let text = mountinfo()?;
    let escaped = escaped(path);
    let below = |at: &str| Path::new(at) != Path::new(&escaped) && Path::new(at).starts_with(&escaped);
    Ok(text.lines().filter_map(|line| line.split(' ').nth(4)).any(below))
}

/// As the kernel writes a path there (proc_pid_mountinfo(5)).
fn escaped(path: &Path) -> String {
    let escapes = [('\\', "\\134"), (' ', "\\040"), ('\t', "\\011"), ('\n', "\\012")];
    escapes.iter().fold(path.to_string_lossy().into_owned(), |text, (from, to)| text.replace(*from, to))
}

/// Where a path, without links in it, lies in its file system: the device, and the path from that file system's own root.
/// Two paths that a bind mount makes of one are the same there.
pub fn in_file_system(path: &Path) -> Result<Option<(String, PathBuf)>> {
    let Some(mount) = mount_of(path)? else { return Ok(None) };
    let path = escaped(path);
    let below = Path::new(&path).strip_prefix(&mount.at).unwrap_or(Path::new(""));
    Ok(Some((mount.device, Path::new(&mount.root).join(below))))
}

fn mountinfo() -> Result<String> {
    std::fs::read_to_string("/proc/self/mountinfo").doing(|| "read /proc/self/mountinfo")
}

struct Mounted {
    /// `8:1`.
    device: String,
    /// What of its file system is mounted.
    root: String,
    /// As /proc/self/mountinfo writes it.
    at: String,
    /// `shared:1`, `master:2`.
    tags: Vec<String>,
}

/// The mount that `path` lies on.
fn mount_of(path: &Path) -> Result<Option<Mounted>> {
    use nix::fcntl::{AT_FDCWD, OFlag, openat};
    let fd = openat(AT_FDCWD, path, OFlag::O_PATH | OFlag::O_CLOEXEC, nix::sys::stat::Mode::empty())
        .doing(|| format!("open {}", path.display()))?;
    let id = kernel::mount_id(&fd).doing(|| format!("find the mount of {}", path.display()))?;
    let text = mountinfo()?;
    Ok(text.lines().find_map(|line| {
        let mut words = line.split(' ');
        (words.next()?.parse() == Ok(id)).then_some(())?;
        let (device, root) = (words.nth(1)?.to_owned(), words.next()?.to_owned());
        let at = words.next()?.to_owned();
        // After the mount's own options, and up to a dash.
        let tags = words.skip(1).take_while(|word| *word != "-").map(str::to_owned).collect();
        Some(Mounted { device, root, at, tags })
    }))
}
