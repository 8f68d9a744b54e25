//! cp: files in and out of a container.

use crate::cli::{Execute, store};
use crate::engine::container::copy::{self, Options};
use crate::engine::container::{self};
use crate::error::{Doing, Error, Result};
use std::fs::File;
use std::io::IsTerminal;
use std::os::fd::AsFd;

/// Copy files/folders between a container and the local filesystem
#[derive(Debug, clap::Parser)]
#[command(after_help = "Examples:
  ebb cp mycontainer:/app/data/note.txt .
  ebb cp site/. mycontainer:/usr/share/nginx/html
  ebb cp mycontainer:/etc - | tar t      a tar, in either direction")]
pub struct Cp {
    /// Archive mode (copy all uid/gid information)
    #[arg(short, long)]
    archive: bool,
    /// Always follow symbol link in SRC_PATH
    #[arg(short = 'L', long)]
    follow_link: bool,
    /// Suppress progress output during copy
    #[arg(short, long)]
    quiet: bool,
    #[arg(value_name = "SRC")]
    source: String,
    #[arg(value_name = "DST")]
    target: String,
}

/// `CONTAINER:PATH`; a path of the host's may have a colon after its first slash or dot.
fn place(text: &str) -> (Option<&str>, &str) {
    match text.split_once(':') {
        Some((name, path)) if !text.starts_with(['/', '.']) => (Some(name), if path.is_empty() { "/" } else { path }),
        _ => (None, text),
    }
}

impl Execute for Cp {
    fn execute(self) -> Result<i32> {
        let options = Options { archive: self.archive, follow: self.follow_link };
        let store = store()?;
        let stream = |fd: std::os::fd::BorrowedFd| fd.try_clone_to_owned().map(File::from).doing(|| "use the stream");
        let size = match (place(&self.source), place(&self.target)) {
            ((Some(name), path), (None, "-")) => {
                if std::io::stdout().is_terminal() {
                    return Err(Error::new("cowardly refusing to copy to a terminal: redirect stdout"));
                }
                let container = container::find(&store, name)?;
                copy::out_to_tar(&store, &container, path, options, &stream(std::io::stdout().as_fd())?)?;
                return Ok(0);
            }
            ((None, "-"), (Some(name), path)) => {
                let container = container::find(&store, name)?;
                copy::into_from_tar(&store, &container, &stream(std::io::stdin().as_fd())?, path)?;
                return Ok(0);
            }
            ((Some(name), path), (None, host)) => {
                copy::out(&store, &container::find(&store, name)?, path, host, options)?
            }
            ((None, host), (Some(name), path)) => {
                copy::into(&store, &container::find(&store, name)?, host, path, options)?
            }
            ((Some(_), _), (Some(_), _)) => return Err(Error::new("copying between containers is not supported")),
            ((None, _), (None, _)) => return Err(Error::new("must specify at least one container source")),
        };
        if !self.quiet && std::io::stderr().is_terminal() {
            let size = crate::cli::format::units::human_size(size);
            eprintln!("Successfully copied {size} to {}", self.target);
        }
        Ok(0)
    }
}
