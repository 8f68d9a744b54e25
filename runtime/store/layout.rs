//! What says that a directory is a store: `store.json`, with the version of what lies beside it. Nothing is deleted in a
//! directory that does not carry it (podman #18287: a `reset` that took the user's own files along).

use super::atomic::{self, Versioned};
use super::{Store, id};
use crate::error::{Doing, Error, Kind, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs::{File, Metadata};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// store.json
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Layout {
    version: u32,
}

impl Versioned for Layout {
    const VERSION: u32 = 1;

    fn version(&self) -> u32 {
        self.version
    }
}

pub const MARK: &str = "store.json";
const DIRECTORIES: [&str; 6] = ["images", "containers", "names", "volumes", "trash", "tmp"];
/// What a store may lack, since there was none of it when some were made: whoever needs it makes it.
const ADDED: [&str; 1] = ["volume-trash"];

/// Refuses a store that somebody else can write to: what is in it is done as us, and whoever can put a link in a
/// directory's place has us read and write wherever that leads. `found` is the store's own directory; who may not enter
/// that reaches nothing in it.
pub fn refuse_writable(root: &Path, found: &Metadata) -> Result<()> {
    let me = nix::unistd::geteuid().as_raw();
    if found.uid() != me {
        let (root, uid) = (root.display(), found.uid());
        return Err(Error::new(format!("the store {root} belongs to uid {uid}, not to you (uid {me})"))
            .with_cure("name another with --root DIR or EBB_ROOT"));
    }
    refuse_mode("the store", root, found)?;
    if found.mode() & 0o011 == 0 {
        return Ok(());
    }
    for directory in DIRECTORIES.iter().chain(&ADDED).map(|name| root.join(name)) {
        let Ok(found) = std::fs::metadata(&directory) else { continue };
        if found.uid() != me {
            let (shown, uid) = (directory.display(), found.uid());
            return Err(Error::new(format!("the store's {shown} belongs to uid {uid}, not to you (uid {me})"))
                .with_cure(format!("look at what is in it before anything else; chmod go-rwx {}", root.display())));
        }
        refuse_mode("the store's", &directory, &found)?;
    }
    Ok(())
}

fn refuse_mode(whose: &str, directory: &Path, found: &Metadata) -> Result<()> {
    // The group's bits are also the most that an access control list can give to anybody (acl(5)).
    if found.mode() & 0o022 == 0 {
        return Ok(());
    }
    let shown = directory.display();
    Err(Error::new(format!("other users can write to {whose} {shown} (its mode is {:04o})", found.mode() & 0o7777))
        .with_cure(format!("look at what is in it, and then: chmod go-w {shown}; nothing was read or changed")))
}

/// Who else can put another directory in the place of the store.
pub struct Exchangeable {
    /// Who, and by what: "everybody can write to /shared".
    pub who: String,
    pub cure: String,
}

/// Looks at the directories above `root`: whoever can rename what is in one of them can exchange the store. That is the owner, and
/// everybody where everybody can write. (In one that is sticky, as /tmp is, only the owner can.)
pub fn exchangeable(root: &Path) -> Option<Exchangeable> {
    let real = std::fs::canonicalize(root).unwrap_or_else(|_| root.to_owned());
    let me = nix::unistd::geteuid().as_raw();
    real.ancestors().skip(1).find_map(|directory| {
        let found = std::fs::metadata(directory).ok()?;
        let shown = directory.display();
        if found.mode() & 0o002 != 0 && found.mode() & 0o1000 == 0 {
            let (who, cure) = (format!("everybody can write to {shown}"), format!("chmod o-w {shown} (or +t)"));
            return Some(Exchangeable { who, cure });
        }
        let is_anothers = ![0, me, NOBODY].contains(&found.uid());
        is_anothers.then(|| Exchangeable {
            who: format!("{shown} belongs to uid {}, who is not you (uid {me})", found.uid()),
            cure: format!("chown {me} {shown}"),
        })
    })
}

/// In a user namespace the host's root is shown as this user (/proc/sys/kernel/overflowuid).
const NOBODY: u32 = 65534;

/// Finds the mark of a store that this Ebb knows, or makes the store where there is none yet. A store of a later version
/// is refused as it is, and so is a directory that holds anything of somebody else's.
pub fn open_or_make(store: &Store) -> Result<()> {
    match atomic::read_record::<Layout>(&store.root().join(MARK)) {
        Err(error) if error.is_not_found() => make(store),
        marked => marked.map(drop).doing(|| format!("open the store {}", store.root().display())),
    }
}

/// [`open_or_make`] for `system check`, which mends what can be mended: a mark that says nothing is none of its troubles. One
/// of a later Ebb is.
pub fn open_to_check(store: &Store) -> Result<()> {
    match marked(store) {
        Err(error) if error.kind != Kind::Newer && std::fs::read(store.root().join(MARK)).is_ok() => Ok(()),
        _ => open_or_make(store),
    }
}

/// Whether the mark can be read.
pub fn marked(store: &Store) -> Result<()> {
    atomic::read_record::<Layout>(&store.root().join(MARK)).map(drop)
}

/// Writes it anew.
pub fn mark(store: &Store) -> Result<()> {
    mark_as(store.root(), &store.root().join(MARK))
}

/// The directories that the store should have, and lacks.
pub fn missing(store: &Store) -> Vec<PathBuf> {
    DIRECTORIES.iter().map(|name| store.root().join(name)).filter(|directory| !directory.is_dir()).collect()
}

/// The mark comes last: its presence says that the layout is whole.
fn make(store: &Store) -> Result<()> {
    let mark = store.root().join(MARK);
    let found = names_in(store.root())?;
    // Stores had no mark before there was a second thing that a store could be.
    let unmarked = DIRECTORIES.iter().all(|name| found.contains(*name));
    let strangers: Vec<&String> = found.iter().filter(|name| !unmarked && !may_be_ours(store.root(), name)).collect();
    // Another command may have made the store, and begun to use it, while we looked.
    if let Some(first) = strangers.first().filter(|_| !mark.exists()) {
        let more = match strangers.len() - 1 {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        return Err(Error::new(format!(
            "{} is no store of Ebb's, and not empty: {first}{more} would lie among what Ebb makes and deletes",
            store.root().display()
        ))
        .with_cure("name an empty directory, or a new one, with --root DIR or EBB_ROOT; nothing was changed"));
    }
    if let Some(Exchangeable { who, cure }) = exchangeable(store.root()).filter(|_| !unmarked) {
        return Err(Error::new(format!(
            "{who}, and so another directory could be put in the place of the store {}",
            store.root().display()
        ))
        .with_cure(format!("{cure}, or name another place with --root DIR or EBB_ROOT")));
    }
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    let names = DIRECTORIES.iter().chain(ADDED.iter().filter(|_| !unmarked));
    for dir in names.map(|name| store.root().join(name)).chain([store.root().to_owned()]) {
        builder.create(&dir).doing(|| format!("make the store's directory {}", dir.display()))?;
    }
    // In a directory that others can write to as well, one of them may have been faster.
    let made = std::fs::metadata(store.root()).doing(|| format!("open the store {}", store.root().display()))?;
    refuse_writable(store.root(), &made)?;
    match mark_as(store.root(), &mark) {
        // A full disk is no reason not to read what is there; the next command marks it.
        Err(_) if unmarked => Ok(()),
        marked => marked,
    }
}

/// In one rename, durable, as any record; but untold: who steps through a first command came to see that command.
fn mark_as(root: &Path, mark: &Path) -> Result<()> {
    let doing = || format!("write {}", mark.display());
    let mut bytes = serde_json::to_vec_pretty(&Layout { version: Layout::VERSION }).doing(doing)?;
    bytes.push(b'\n');
    let beside = atomic::beside(mark)?;
    let written = File::create_new(&beside).and_then(|mut file| {
        file.write_all(&bytes)?;
        file.sync_data()
    });
    written.and_then(|()| std::fs::rename(&beside, mark)).and_then(|()| File::open(root)?.sync_all()).doing(doing)
}

fn names_in(root: &Path) -> Result<BTreeSet<String>> {
    match std::fs::read_dir(root) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeSet::new()),
        entries => {
            let entries = entries.doing(|| format!("open the store {}", root.display()))?.flatten();
            Ok(entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
        }
    }
}

/// What a command that was killed at making the store leaves, and what every new file system has.
fn may_be_ours(root: &Path, name: &str) -> bool {
    let is_empty = || std::fs::read_dir(root.join(name)).is_ok_and(|mut entries| entries.next().is_none());
    name == MARK
        || name == "lost+found"
        || name.starts_with(&format!(".{MARK}."))
        || ((DIRECTORIES.contains(&name) || ADDED.contains(&name)) && is_empty())
}

/// Whether Ebb gave this name to something in `tmp/` or `trash/`: a stem, a dot, and digits that nobody else types.
pub fn is_made(name: &str) -> bool {
    let tail = name.rsplit_once('.').map_or("", |(_, tail)| tail);
    matches!(tail.len(), id::TAIL | id::LONG_TAIL) && tail.bytes().all(|byte| byte.is_ascii_hexdigit())
}
