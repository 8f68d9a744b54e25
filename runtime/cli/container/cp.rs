//! cp.

use crate::cli::format::units;
use crate::cli::target::{self, Target};
use crate::cli::{Execute, store};
use crate::engine::container::{
    self,
    copy::{self, Options, Spot},
};
use crate::error::{Error, Result};
use std::io::IsTerminal;

/// Copy files/folders between a container and the local filesystem
///
/// Use '-' as the source to read a tar archive from stdin and extract it to a directory in a container. Use '-' as the
/// destination to stream a tar archive of a container's files to stdout.
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
    #[arg(value_name = "SRC_PATH")]
    source: String,
    #[arg(value_name = "DEST_PATH")]
    destination: String,
}

impl Execute for Cp {
    fn execute(self) -> Result<i32> {
        if self.source.is_empty() {
            return Err(Error::new("source can not be empty"));
        }
        if self.destination.is_empty() {
            return Err(Error::new("destination can not be empty"));
        }
        // Docker's words, without its slip.
        if [&self.source, &self.destination].iter().any(|text| split(text).is_some_and(|(_, path)| path.is_empty())) {
            return Err(Error::new("bad parameter: path cannot be empty").with_cure("all of a container is NAME:/"));
        }
        match (split(&self.source), split(&self.destination)) {
            (Some(from), None) => self.copy_out(from),
            (None, Some(to)) => self.copy_in(to),
            (Some(_), Some(_)) => Err(Error::new("copying between containers is not supported")),
            (None, None) => Err(Error::new("must specify at least one container source")),
        }
    }
}

impl Cp {
    fn options(&self) -> Options {
        Options { follow: self.follow_link, archive: self.archive }
    }

    fn copy_out(&self, (name, path): (&str, &str)) -> Result<i32> {
        let store = store()?;
        let container = container::find(&store, name)?;
        let from = Spot::in_container(name, path);
        if self.destination == "-" {
            if std::io::stdout().is_terminal() {
                return Err(Error::new("cowardly refusing to copy to a terminal: redirect stdout"));
            }
            let target = Target::stdout()?;
            let copied = copy::to_tar(&store, &container, &from, self.follow_link, &target.file);
            return target.finish(copied).map(|()| 0);
        }
        let to = Spot::on_host(&self.destination)?;
        let size = copy::out_of(&store, &container, &from, &to, self.options())?;
        self.tell(size)
    }

    fn copy_in(&self, (name, path): (&str, &str)) -> Result<i32> {
        let store = store()?;
        let container = container::find(&store, name)?;
        let to = Spot::in_container(name, path);
        let size = if self.source == "-" {
            let input = target::stdin()?;
            // Of a tar that somebody made the owners are what was meant.
            copy::from_tar(&store, &container, &to, true, input)?
        } else {
            copy::into(&store, &container, &Spot::on_host(&self.source)?, &to, self.options())?
        };
        self.tell(size)
    }

    fn tell(&self, size: u64) -> Result<i32> {
        if !self.quiet && std::io::stderr().is_terminal() {
            eprintln!("Successfully copied {} to {}", units::human_size(size), self.destination);
        }
        Ok(0)
    }
}

/// `CONTAINER:PATH`; a path of the host that has a colon in it begins with `/` or `.`.
fn split(text: &str) -> Option<(&str, &str)> {
    text.split_once(':').filter(|(name, _)| !name.is_empty() && !name.starts_with(['/', '.']))
}
