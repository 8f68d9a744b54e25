//! load, save and import: images as files.

use crate::cli::target::{self, Target};
use crate::cli::{Execute, output, store};
use crate::engine::events;
use crate::engine::image::{self, Image, ImageConfig, ImageFile, change, compression, load, reference, save};
use crate::error::{Doing, Error, Result};
use crate::progress::Progress;
use std::fs::File;
use std::io::IsTerminal;
use std::path::PathBuf;

/// Load images from a tar archive or stdin
#[derive(Debug, clap::Parser)]
#[command(after_help = "Examples:
  ebb load -i nginx.tar.gz
  docker save nginx | ebb load")]
pub struct Load {
    /// Read from tar archive file, instead of stdin
    #[arg(short, long, value_name = "string")]
    input: Option<PathBuf>,
    /// Suppress the load output
    #[arg(short, long)]
    quiet: bool,
}

impl Execute for Load {
    fn execute(self) -> Result<i32> {
        let input = match &self.input {
            Some(path) => File::open(path).doing(|| format!("open {}", path.display()))?,
            None if std::io::stdin().is_terminal() => {
                return Err(Error::new("requested load from stdin, but stdin is empty"));
            }
            None => target::stdin()?,
        };
        let mut bar: Option<Progress> = None;
        let mut told = |done, total: Option<u64>| {
            if !self.quiet {
                bar.get_or_insert_with(|| Progress::new("loading", total.unwrap_or(0))).set(done);
            }
        };
        let loaded = load::load(&store()?, input, &mut told)?;
        if let Some(bar) = bar {
            bar.finish();
        }
        for image in loaded {
            if image.names.is_empty() {
                output::line(&format!("Loaded image ID: {}", image.id))?;
            }
            for name in image.names {
                output::line(&format!("Loaded image: {name}"))?;
            }
        }
        Ok(0)
    }
}

/// Save one or more images to a tar archive (streamed to stdout by default)
#[derive(Debug, clap::Parser)]
#[command(after_help = "Examples:
  ebb save -o nginx.tar nginx
  ebb save nginx busybox | gzip > both.tar.gz")]
pub struct Save {
    /// Write to a file, instead of stdout
    #[arg(short, long, value_name = "string")]
    output: Option<PathBuf>,
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
}

impl Execute for Save {
    fn execute(self) -> Result<i32> {
        let store = store()?;
        let mut wanted: Vec<(Image, Vec<String>)> = Vec::new();
        for text in &self.images {
            let image = image::find(&store, text)?;
            let name = reference::given(text).ok().filter(|name| image.names.contains(name));
            match wanted.iter_mut().find(|(known, _)| known.id == image.id) {
                Some((_, names)) => names.extend(name),
                None => wanted.push((image, name.into_iter().collect())),
            }
        }
        let target = Target::open(self.output.as_ref())?;
        let saved = save::save(&store, &wanted, &target.file);
        target.finish(saved)?;
        Ok(0)
    }
}

/// Import the contents from a tarball to create a filesystem image
#[derive(Debug, clap::Parser)]
#[command(after_help = "Examples:
  ebb import rootfs.tar.zst mine:1
  ebb import --change 'CMD [\"sh\"]' - mine < rootfs.tar")]
pub struct Import {
    /// Apply Dockerfile instruction to the created image
    #[arg(short, long, value_name = "list")]
    change: Vec<String>,
    /// Set commit message for imported image
    #[arg(short, long, value_name = "string", default_value = "", hide_default_value = true)]
    message: String,
    /// A file, or - for stdin
    #[arg(value_name = "FILE")]
    file: String,
    #[arg(value_name = "REPOSITORY[:TAG]")]
    name: Option<String>,
}

impl Execute for Import {
    fn execute(self) -> Result<i32> {
        let mut config = ImageConfig::default();
        for text in &self.change {
            change::apply(&mut config, text)?;
        }
        let name = self.name.as_deref().map(reference::given).transpose()?;
        let file = match self.file.as_str() {
            "-" => target::stdin()?,
            path => File::open(path).doing(|| format!("open {path}"))?,
        };
        let comment = if self.message.is_empty() { format!("Imported from {}", self.file) } else { self.message };
        let file = compression::reader(file)?;
        let described = ImageFile { config: Some(config), ..ImageFile::default() };
        let store = store()?;
        let made = image::add_layer(&store, file, described, name.as_deref(), &comment)?;
        events::tell(&store, &[events::of_image(&made.id, &made.id, "import", Some(&made.config))]);
        output::line(&made.id)?;
        Ok(0)
    }
}
