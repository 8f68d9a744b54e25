//! Where `save` and `export` write to, and where `load` and `import` read from.

use crate::error::{Doing, Error, Kind, Result};
use crate::kernel;
use crate::store::atomic;
use crate::store::pack::listener_is_gone;
use nix::fcntl::AT_FDCWD;
use nix::unistd::{LinkatFlags, linkat};
use std::fs::File;
use std::io::IsTerminal;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Where an archive goes: a file that appears when it is whole, or stdout, which may not be a terminal.
pub struct Target {
    pub file: File,
    place: Option<Place>,
}

/// Where a file comes to stand when it is whole.
struct Place {
    path: PathBuf,
    directory: PathBuf,
    /// Its name until then; `None` for one without a name, which is gone if we are killed.
    half: Option<PathBuf>,
}

/// What is read from stdin as a whole.
pub fn stdin() -> Result<File> {
    if kernel::was_closed(0) {
        return Err(Error::new("read stdin: bad file descriptor").with_cure("it was closed when the command began"));
    }
    std::io::stdin().as_fd().try_clone_to_owned().map(File::from).doing(|| "read stdin")
}

impl Target {
    pub fn open(path: Option<&PathBuf>) -> Result<Target> {
        let Some(path) = path else {
            if std::io::stdout().is_terminal() {
                return Err(Error::new("cowardly refusing to save to a terminal. Use the -o flag or redirect"));
            }
            return Target::stdout();
        };
        if path.exists() && !path.is_file() {
            // A device or a pipe is written to as it is.
            let file = File::options().write(true).open(path).doing(|| format!("open {}", path.display()))?;
            return Ok(Target { file, place: None });
        }
        if path.file_name().is_none() {
            return Err(Error::new(format!("invalid output path: {}", path.display())));
        }
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let (file, half) = unfinished(directory, path).doing(|| format!("make {}", path.display()))?;
        Ok(Target { file, place: Some(Place { path: path.clone(), directory: directory.to_owned(), half }) })
    }

    /// Stdout, even where that is a terminal.
    pub fn stdout() -> Result<Target> {
        if kernel::was_closed(1) {
            return Err(
                Error::new("write to stdout: bad file descriptor").with_cure("it was closed when the command began")
            );
        }
        let file = std::io::stdout().as_fd().try_clone_to_owned().map(File::from).doing(|| "write to stdout")?;
        Ok(Target { file, place: None })
    }

    /// [`Target::finish`], and a file has reached the disk when it returns: who has a backup may remove what it is of.
    pub fn finish_durably(self, result: Result<()>) -> Result<()> {
        let Some(Place { path, directory, .. }) = &self.place else { return self.finish(result) };
        let synced = result.and_then(|()| self.file.sync_all().doing(|| format!("write {}", path.display())));
        let directory = directory.clone();
        self.finish(synced)?;
        atomic::sync_dir(&directory)
    }

    pub fn finish(self, result: Result<()>) -> Result<()> {
        let Some(Place { path, half, .. }) = self.place else {
            // As SIGPIPE would have ended it: without a word.
            let unheard = result.is_err() && listener_is_gone(&self.file);
            return if unheard { Err(Error::of(Kind::Reported, "")) } else { result };
        };
        let mut named = half.clone();
        let renamed = result.and_then(|()| {
            let doing = || format!("write {}", path.display());
            let half = match half {
                Some(half) => half,
                // A name for it, which takes the place of no other, and then that one's: a link replaces nothing.
                None => {
                    let half = atomic::beside(&path)?;
                    let this = format!("/proc/self/fd/{}", self.file.as_raw_fd());
                    let follow = LinkatFlags::AT_SYMLINK_FOLLOW;
                    linkat(AT_FDCWD, this.as_str(), AT_FDCWD, &half, follow).doing(doing)?;
                    named = Some(half.clone());
                    half
                }
            };
            std::fs::rename(&half, &path).doing(doing)
        });
        if let (Err(_), Some(half)) = (&renamed, named) {
            let _ = std::fs::remove_file(half);
        }
        renamed
    }
}

/// A new file for its owner alone, as what is in it may be; where the file system knows none without a name, with one
/// that nobody can have foreseen and put something under.
fn unfinished(directory: &Path, path: &Path) -> Result<(File, Option<PathBuf>)> {
    let mut options = File::options();
    options.read(true).write(true).mode(0o600);
    match options.clone().custom_flags(libc::O_TMPFILE).open(directory) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EISDIR | libc::EINVAL)) => {}
        made => return made.map(|file| (file, None)).doing(|| "open a file in its directory"),
    }
    let half = atomic::beside(path)?;
    let made = options.create_new(true).custom_flags(libc::O_NOFOLLOW).open(&half);
    made.map(|file| (file, Some(half))).doing(|| "open a file in its directory")
}
