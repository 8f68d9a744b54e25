//! Where state lives, and the only code that writes metadata.
//!
//! ```text
//! $EBB_ROOT/            /var/lib/ebb, or $XDG_DATA_HOME/ebb without root; mode 0700
//!   store.json          the mark of a store, and the version of its layout (layout.rs)
//!   images/             blobs, layers and names of images
//!   containers/ID/      one directory a container
//!   names/NAME          symlink to a container's id: the claim on a name
//!   volumes/NAME/       _data/ volume.json
//!   volume-trash/       volumes that can be brought back
//!   tmp/                directories being made; renamed into place when whole
//!   trash/              directories being removed; renamed out of the way first
//! ```

pub mod archive;
pub mod atomic;
pub mod attribute;
pub mod beneath;
pub mod bounds;
pub mod buffer;
pub mod copy;
pub mod descent;
pub mod early;
mod extents;
pub mod id;
mod layout;
pub mod lock;
pub mod measure;
mod memory;
pub mod node;
pub mod pack;
pub mod tree;
pub mod unpack;
pub mod walk;

pub use layout::{MARK, exchangeable, is_made};

use crate::error::{Doing, Error, Result};
use crate::explain::{self, calls};
use std::fs::File;
use std::path::{Path, PathBuf};

/// A store's root. Cheap to make and to clone; holds no file open.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// Opens the store at `root`, or at `$EBB_ROOT`, or at the user's default place, and makes what is missing.
    pub fn open(root: Option<&Path>) -> Result<Store> {
        Store::opened_by(root, layout::open_or_make)
    }

    /// [`Store::open`] for `system check`: also where the store's own mark cannot be read.
    pub fn open_to_check(root: Option<&Path>) -> Result<Store> {
        Store::opened_by(root, layout::open_to_check)
    }

    fn opened_by(root: Option<&Path>, open: fn(&Store) -> Result<()>) -> Result<Store> {
        let is_named = root.is_some() || std::env::var_os("EBB_ROOT").is_some_and(|value| !value.is_empty());
        let root = match root {
            Some(path) => std::path::absolute(path).doing(|| "resolve the store's path")?,
            None => default_root()?,
        };
        let mut store = Store { root };
        let mut found = std::fs::metadata(&store.root);
        let is_missing = |found: &std::io::Result<std::fs::Metadata>| matches!(found, Err(error) if error.kind() == std::io::ErrorKind::NotFound);
        if is_missing(&found)
            && !is_named
            && let Some(place) = memory::instead_of(&store.root)
        {
            found = std::fs::metadata(&place);
            if is_missing(&found) {
                let (usual, place) = (store.root.display(), place.display());
                eprintln!(
                    "ebb: {usual} would lie on an overlay, as all does that is a container's own, and no container could \
                     run from there: the store is in memory, at {place}, and GOES with the container or the machine\n  \
                     a volume or a tmpfs at {usual} is used without a word, and so is what EBB_ROOT names"
                );
            }
            store.root = place;
        }
        match found {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            found => {
                let found = found.doing(|| format!("open the store {}", store.root.display()))?;
                layout::refuse_writable(&store.root, &found)?;
            }
        }
        open(&store)?;
        Ok(store)
    }

    /// Whether the store's mark can be read.
    pub fn marked(&self) -> Result<()> {
        layout::marked(self)
    }

    /// Writes the mark anew.
    pub fn mark(&self) -> Result<()> {
        layout::mark(self)
    }

    /// The directories that every store has, and this one lacks.
    pub fn missing(&self) -> Vec<PathBuf> {
        layout::missing(self)
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether what is in it is gone with the machine, or with the container around us.
    pub fn is_on_memory(&self) -> bool {
        memory::is_on(&self.root)
    }

    pub fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    pub fn containers(&self) -> PathBuf {
        self.root.join("containers")
    }

    pub fn names(&self) -> PathBuf {
        self.root.join("names")
    }

    pub fn volumes(&self) -> PathBuf {
        self.root.join("volumes")
    }

    /// What `volume rm` has moved aside. (`trash/` is what is being removed for good.)
    pub fn volume_trash(&self) -> PathBuf {
        self.root.join("volume-trash")
    }

    pub fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    pub fn trash(&self) -> PathBuf {
        self.root.join("trash")
    }

    /// A fresh private directory in `tmp/`, to be filled and then published by [`atomic::publish_dir`].
    pub fn make_tmp(&self, stem: &str) -> Result<TmpDir> {
        loop {
            let path = self.tmp().join(format!("{stem}.{}", &id::random()?[..id::TAIL]));
            explain::step(
                format_args!("a new {stem} is made aside, where nobody looks, until it is whole"),
                format_args!("mkdir -m 700 {}", path.display()),
            );
            calls::mkdir(&path, 0o700).doing(|| format!("make {}", path.display())).map_err(lost_directory)?;
            match lock::exclusive(&path) {
                Ok(lock) => return Ok(TmpDir { path, lock }),
                // Somebody's clean-up came between the two calls and took it for a crashed command's.
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// All that this store has acknowledged is on the disk when it returns.
    pub fn sync(&self) -> Result<()> {
        sync(&self.opened()?, &self.root)
    }

    /// The store's directory, to be opened before that is written which [`sync`] is to force to the disk.
    pub fn opened(&self) -> Result<File> {
        File::open(&self.root).doing(|| format!("open {}", self.root.display()))
    }
}

/// What helps where a directory that every store has is gone. It is no object that somebody has removed, which callers forgive.
pub fn lost_directory(error: Error) -> Error {
    match error.is_not_found() {
        true => Error::new(error.message).with_cure("`ebb system check --repair` makes the store's directories again"),
        false => error,
    }
}

/// One `syncfs` of the file system of `dir`, whose path is `shown`. An error of the disk's is told once to each descriptor
/// that was open when it happened: one that is opened only now hears of none that somebody else's sync has been told of.
pub fn sync(dir: &File, shown: &Path) -> Result<()> {
    explain::step("what is acknowledged has reached the disk", format_args!("sync -f {}", shown.display()));
    calls::syncfs(dir).doing(|| format!("sync the file system of {}", shown.display()))
}

/// A directory being made. Locked, so that nobody's clean-up takes it; removed when dropped, unless it was published.
pub struct TmpDir {
    pub path: PathBuf,
    lock: lock::Lock,
}

impl TmpDir {
    /// [`sync`], of a descriptor that was opened before anything was written here.
    pub fn sync(&self) -> Result<()> {
        sync(self.lock.directory(), &self.path)
    }
}

impl Drop for TmpDir {
    fn drop(&mut self) {
        let _ = tree::remove(&self.path);
    }
}

fn default_root() -> Result<PathBuf> {
    let from = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(root) = from("EBB_ROOT") {
        return std::path::absolute(root).doing(|| "resolve EBB_ROOT");
    }
    if nix::unistd::geteuid().is_root() {
        return Ok(PathBuf::from("/var/lib/ebb"));
    }
    if let Some(data) = from("XDG_DATA_HOME").filter(|path| path.is_absolute()) {
        return Ok(data.join("ebb"));
    }
    match from("HOME") {
        Some(home) => Ok(home.join(".local/share/ebb")),
        None => Err(Error::new("cannot tell where to keep the store: HOME is not set")
            .with_cure("name a directory with --root DIR or EBB_ROOT")),
    }
}
