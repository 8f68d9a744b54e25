//! Where `save` and `export` write to.

use crate::error::{Doing, Error, Kind, Result};
use crate::store::atomic;
use crate::store::pack::listener_is_gone;
use std::fs::File;
use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// Where an archive goes: a file that appears when it is whole, or stdout, which may not be a terminal.
pub struct Target {
    pub file: File,
    path: Option<(PathBuf, PathBuf)>,
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
            return Ok(Target { file, path: None });
        }
        let name = path.file_name().ok_or_else(|| Error::new(format!("invalid output path: {}", path.display())))?;
        let half = path.with_file_name(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&half)
            .doing(|| format!("make {}", path.display()))?;
        Ok(Target { file, path: Some((half, path.clone())) })
    }

    /// Stdout, even where that is a terminal.
    pub fn stdout() -> Result<Target> {
        let file = std::io::stdout().as_fd().try_clone_to_owned().map(File::from).doing(|| "write to stdout")?;
        Ok(Target { file, path: None })
    }

    /// [`Target::finish`], and a file has reached the disk when it returns: who has a backup may remove what it is of.
    pub fn finish_durably(self, result: Result<()>) -> Result<()> {
        let Some((_, path)) = self.path.clone() else { return self.finish(result) };
        let synced = result.and_then(|()| self.file.sync_all().doing(|| format!("write {}", path.display())));
        self.finish(synced)?;
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        atomic::sync_dir(directory)
    }

    pub fn finish(self, result: Result<()>) -> Result<()> {
        let Some((half, path)) = self.path else {
            // As SIGPIPE would have ended it: without a word.
            let unheard = result.is_err() && listener_is_gone(&self.file);
            return if unheard { Err(Error::of(Kind::Reported, "")) } else { result };
        };
        let renamed = result.and_then(|()| std::fs::rename(&half, &path).doing(|| format!("write {}", path.display())));
        if renamed.is_err() {
            let _ = std::fs::remove_file(&half);
        }
        renamed
    }
}
