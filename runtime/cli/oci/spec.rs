//! oci spec and features: a bundle to begin with, and what Ebb can do with one.

use super::{Execute, Globals};
use crate::cli::output;
use crate::error::{Doing, Error, Result};
use crate::oci::features;
use crate::umask;
use std::io::Write;
use std::path::PathBuf;

/// The version of the OCI runtime specification that Ebb follows.
pub const OCI_VERSION: &str = features::OCI_VERSION;

/// Write a config.json to begin with
#[derive(Debug, clap::Parser)]
pub struct Spec {
    #[command(flatten)]
    globals: Globals,

    /// Directory of the bundle
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    bundle: PathBuf,

    /// For an ordinary user: a user namespace in which this user is root
    #[arg(long)]
    rootless: bool,
}

impl Execute for Spec {
    fn execute(self) -> Result<i32> {
        self.globals.report(|| {
            let path = self.bundle.join("config.json");
            if path.exists() {
                return Err(Error::conflict("File config.json exists. Remove it first"));
            }
            let spec = features::example(self.rootless);
            let mut text = serde_json::to_string_pretty(&spec).doing(|| "encode config.json")?;
            text.push('\n');
            // A link that leads to nothing exists for nobody but open(2): O_EXCL follows none.
            let made = umask::with_callers(|| std::fs::File::create_new(&path));
            made.and_then(|mut file| file.write_all(text.as_bytes())).doing(|| format!("write {}", path.display()))?;
            Ok(0)
        })
    }
}

/// Print what Ebb can do, as JSON
#[derive(Debug, clap::Parser)]
pub struct Features {
    #[command(flatten)]
    globals: Globals,
}

impl Execute for Features {
    fn execute(self) -> Result<i32> {
        self.globals.report(|| {
            output::line(&serde_json::to_string_pretty(&features::features()).doing(|| "encode the features")?)?;
            Ok(0)
        })
    }
}
