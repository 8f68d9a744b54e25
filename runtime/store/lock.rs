//! One lock per object: `flock` on the object's own directory, so there is no lock file to leave behind
//! and the kernel lets go of it when the holder dies.

use crate::error::{Doing, Error, Result};
use nix::fcntl::{Flock, FlockArg};
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Held until dropped. Never held while a container runs.
pub struct Lock(Flock<File>);

impl Lock {
    /// The object's directory, as it was opened to be locked.
    pub fn directory(&self) -> &File {
        &self.0
    }
}

/// Waits for the lock of the object at `dir`. An object that was removed meanwhile is `Kind::NotFound`.
pub fn exclusive(dir: &Path) -> Result<Lock> {
    take(dir, FlockArg::LockExclusive)
}

/// For readers that must not see an object half-changed.
pub fn shared(dir: &Path) -> Result<Lock> {
    take(dir, FlockArg::LockShared)
}

/// [`shared`], but an error at once where somebody holds it alone.
pub fn try_shared(dir: &Path) -> Result<Lock> {
    take(dir, FlockArg::LockSharedNonblock)
}

fn take(dir: &Path, how: FlockArg) -> Result<Lock> {
    let file = File::open(dir).doing(|| format!("open {}", dir.display()))?;
    let file = Flock::lock(file, how).map_err(|(_, errno)| errno).doing(|| format!("lock {}", dir.display()))?;
    // While we waited, the holder may have renamed the object away and another may stand in its place.
    let here = std::fs::metadata(dir).doing(|| format!("lock {}", dir.display()))?;
    let ours = file.metadata().doing(|| format!("lock {}", dir.display()))?;
    if (here.dev(), here.ino()) != (ours.dev(), ours.ino()) {
        return Err(Error::not_found(format!("{} was replaced while we waited for it", dir.display())));
    }
    Ok(Lock(file))
}

/// [`exclusive`], but an error at once where somebody else holds it.
pub fn try_exclusive(dir: &Path) -> Result<Lock> {
    take(dir, FlockArg::LockExclusiveNonblock)
}
