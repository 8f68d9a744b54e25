//! Mount options in mount(8)'s words, sorted into what the new mount calls want: attributes of the mount, propagation,
//! and what the file system itself takes.

use oci_spec::runtime::Mount;
use std::path::PathBuf;

#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Options {
    /// MOUNT_ATTR_* to set.
    pub attributes: u64,
    /// Those of them that the mounts below do not get.
    pub not_below: u64,
    /// Bind the mounts below, too.
    pub recursive: bool,
    pub bind: bool,
    /// MS_SHARED, MS_SLAVE, … and whether for the mounts below, too; 0 is none asked for.
    pub propagation: u64,
    /// For the file system: `size=64m`, `mode=1777`.
    pub data: Vec<String>,
    /// What of a bind's source is mounted: resolved below it by the kernel, when the mount is made. A word of Ebb's own.
    pub subpath: Option<PathBuf>,
    /// Of a bind's source no part may be a symlink when the mount is made. A word of Ebb's own.
    pub no_links: bool,
    /// [`IDMAP_WHERE_POSSIBLE`].
    pub idmap_where_possible: bool,
    /// To whom the directory must belong that is found when the mount is made: an id map was made for that one. A word of
    /// Ebb's own.
    pub owner: Option<(u32, u32)>,
}

/// What the word for [`Options::subpath`] begins with.
pub const SUBPATH: &str = "subpath=";

/// The word for [`Options::no_links`].
pub const NO_LINKS: &str = "source-without-links";

/// The word of a mount with id mappings that is mounted without them where its file system cannot translate ids: then the ids
/// on the disk are the host's, of which the container's user namespace has none.
pub const IDMAP_WHERE_POSSIBLE: &str = "idmap-where-possible";

/// Whether this is a word of Ebb's own, which no other program knows.
pub fn is_own_word(word: &str) -> bool {
    matches!(word, NO_LINKS | IDMAP_WHERE_POSSIBLE) || word.starts_with(SUBPATH) || word.starts_with(OWNER)
}

pub fn subpath_option(path: &str) -> String {
    format!("{SUBPATH}{path}")
}

pub fn read(mount: &Mount) -> Options {
    let mut options = Options { bind: mount.typ().as_deref() == Some("bind"), ..Options::default() };
    for word in mount.options().iter().flatten() {
        match word.as_str() {
            "bind" => options.bind = true,
            "rbind" => (options.bind, options.recursive) = (true, true),
            // The one attribute whose two words differ here: a mount below that is trusted with more helps nobody.
            "ro" => {
                options.attributes |= libc::MOUNT_ATTR_RDONLY;
                options.not_below |= libc::MOUNT_ATTR_RDONLY;
            }
            "rro" => options.attributes |= libc::MOUNT_ATTR_RDONLY,
            "nosuid" | "rnosuid" => options.attributes |= libc::MOUNT_ATTR_NOSUID,
            "nodev" | "rnodev" => options.attributes |= libc::MOUNT_ATTR_NODEV,
            "noexec" | "rnoexec" => options.attributes |= libc::MOUNT_ATTR_NOEXEC,
            "noatime" | "rnoatime" => options.attributes |= libc::MOUNT_ATTR_NOATIME,
            "strictatime" | "rstrictatime" => options.attributes |= libc::MOUNT_ATTR_STRICTATIME,
            "nodiratime" | "rnodiratime" => options.attributes |= libc::MOUNT_ATTR_NODIRATIME,
            "nosymfollow" | "rnosymfollow" => options.attributes |= libc::MOUNT_ATTR_NOSYMFOLLOW,
            // What is the kernel's default anyway, and words that are not for us.
            "rw" | "rrw" | "suid" | "rsuid" | "dev" | "rdev" | "exec" | "rexec" | "atime" | "ratime" | "relatime"
            | "rrelatime" | "diratime" | "rdiratime" | "symfollow" | "async" | "sync" | "defaults" | "nofail"
            | "tmpcopyup" | "idmap" | "ridmap" | "norelatime" | "nostrictatime" | "z" | "Z" => {}
            word => match propagation(word) {
                Some(flag) => options.propagation = flag,
                None => options.data.push(word.to_owned()),
            },
        }
    }
    if mount.options().iter().flatten().any(|word| word == "rro") {
        options.not_below = 0;
    }
    if options.bind {
        options.subpath = options.data.iter().find_map(|word| word.strip_prefix(SUBPATH)).map(PathBuf::from);
        options.no_links = options.data.iter().any(|word| word == NO_LINKS);
        options.idmap_where_possible = options.data.iter().any(|word| word == IDMAP_WHERE_POSSIBLE);
        options.owner = options.data.iter().find_map(|word| owner(word));
    }
    options
}

/// What the word for [`Options::owner`] begins with.
const OWNER: &str = "owner=";

pub fn owner_option((uid, gid): (u32, u32)) -> String {
    format!("{OWNER}{uid}:{gid}")
}

fn owner(word: &str) -> Option<(u32, u32)> {
    let (uid, gid) = word.strip_prefix(OWNER)?.split_once(':')?;
    Some((uid.parse().ok()?, gid.parse().ok()?))
}

/// `rslave` as MS_SLAVE|MS_REC.
pub fn propagation(word: &str) -> Option<u64> {
    let (kind, recursive) = match word.strip_prefix('r') {
        Some(kind) if !kind.is_empty() => (kind, libc::MS_REC),
        _ => (word, 0),
    };
    let flag = match kind {
        "private" => libc::MS_PRIVATE,
        "shared" => libc::MS_SHARED,
        "slave" => libc::MS_SLAVE,
        "unbindable" => libc::MS_UNBINDABLE,
        _ => return None,
    };
    Some(flag | recursive)
}
