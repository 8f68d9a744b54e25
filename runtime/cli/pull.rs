//! pull: makes an image by its recipe, again where it is here already, as Docker asks the registry again.

use super::{Execute, output};
use crate::engine::image::{self, Pull as When, recipe};
use crate::error::Result;
use crate::progress;

/// Make an image by its recipe
#[derive(Debug, clap::Parser)]
#[command(after_help = "Ebb asks no registry yet: it makes the images that have a recipe in images/.")]
pub struct Pull {
    /// Suppress verbose output
    #[arg(short, long)]
    quiet: bool,

    #[arg(value_name = "NAME[:TAG]")]
    name: String,
}

impl Execute for Pull {
    fn execute(self) -> Result<i32> {
        let store = super::store()?;
        if self.quiet {
            progress::keep_quiet();
        }
        let name = recipe::familiar(&self.name);
        // A name without a recipe is refused before anything is printed.
        recipe::of(&self.name).ok_or_else(|| recipe::none_makes(&name))?;
        if !self.quiet && name != self.name && name.strip_suffix(":latest") == Some(&self.name) {
            output::line("Using default tag: latest")?;
        }
        let before = image::find(&store, &self.name).ok();
        let made = image::ensure(&store, &self.name, When::Always)?;
        if !self.quiet {
            output::line(&match before.is_some_and(|before| before.id == made.id) {
                true => format!("Status: Image is up to date for {name}"),
                false => format!("Status: Downloaded newer image for {name}"),
            })?;
        }
        output::line(&format!("docker.io/library/{name}"))?;
        Ok(0)
    }
}
