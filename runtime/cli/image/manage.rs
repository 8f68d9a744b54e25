//! tag, rm and prune: names, and the end of images.

use crate::cli::confirm::confirm;
use crate::cli::format::filter::Filters;
use crate::cli::format::units;
use crate::cli::{Execute, for_each, output, store};
use crate::engine::image::{self, Image, reference, remove};
use crate::error::{Error, Result};

/// Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE
#[derive(Debug, clap::Parser)]
#[command(after_help = "Examples:
  ebb tag nginx mine:1")]
pub struct Tag {
    #[arg(value_name = "SOURCE_IMAGE[:TAG]")]
    source: String,
    #[arg(value_name = "TARGET_IMAGE[:TAG]")]
    target: String,
}

impl Execute for Tag {
    fn execute(self) -> Result<i32> {
        let name = reference::given(&self.target)?;
        if self.target.contains('@') {
            return Err(Error::new("refusing to create a tag with a digest reference"));
        }
        let store = store()?;
        image::tag(&store, &self.source, &name)?;
        Ok(0)
    }
}

/// Remove one or more images
#[derive(Debug, clap::Parser)]
#[command(after_help = "Examples:
  ebb rmi mine:1
  ebb rmi -f $(ebb images -q)")]
pub struct Rm {
    /// Force removal of the image
    #[arg(short, long)]
    force: bool,
    /// Do not delete untagged parents (Ebb's images have none)
    #[arg(long)]
    no_prune: bool,
    #[arg(value_name = "IMAGE", required = true)]
    names: Vec<String>,
}

impl Execute for Rm {
    fn execute(self) -> Result<i32> {
        let store = store()?;
        for_each(&self.names, |name| match remove::remove(&store, name, self.force) {
            Err(error) if error.is_not_found() && self.force => {
                output::complain(&error);
                Ok(None)
            }
            result => Ok(Some(result?.join("\n"))),
        })
    }
}

/// Remove unused images
#[derive(Debug, clap::Parser)]
#[command(after_help = "Examples:
  ebb image prune          images without a name
  ebb image prune -a -f    all that no container uses, without a question")]
pub struct Prune {
    /// Remove all unused images, not just dangling ones
    #[arg(short, long)]
    all: bool,
    /// Provide filter values: label, label!, until
    #[arg(long, value_name = "filter")]
    filter: Vec<String>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    force: bool,
}

impl Execute for Prune {
    fn execute(self) -> Result<i32> {
        let wanted = unused(&self.filter, self.all)?;
        let what = match self.all {
            true => "all images without at least one container associated to them.",
            false => "all dangling images.",
        };
        if !self.force && !confirm(&format!("This will remove {what}"))? {
            return Ok(0);
        }
        let pruned = remove::prune(&store()?, wanted)?;
        if !pruned.lines.is_empty() {
            let lines: Vec<String> = pruned
                .lines
                .iter()
                .map(|line| line.replacen("Untagged:", "untagged:", 1).replacen("Deleted:", "deleted:", 1))
                .collect();
            output::line(&format!("Deleted Images:\n{}\n", lines.join("\n")))?;
        }
        output::line(&format!("Total reclaimed space: {}", units::human_size(pruned.bytes)))?;
        pruned.result.map(|()| 0)
    }
}

/// Which of the images that no container uses are meant: those without a name or `all`, and what the filters leave.
pub fn unused(filter: &[String], all: bool) -> Result<impl Fn(&Image) -> bool> {
    let filters = Filters::parse(filter, &["label", "label!", "until"])?;
    let until = filters.until()?;
    Ok(move |image: &Image| {
        let created = image.created.parse::<jiff::Timestamp>();
        (all || image.names.is_empty())
            && filters.labels(&image.config.labels)
            && until.is_none_or(|until| created.is_ok_and(|created| created < until))
    })
}
