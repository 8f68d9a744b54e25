//! volume create.

use crate::cli::container::values;
use crate::cli::{Execute, output, store};
use crate::engine::{mounts, volume};
use crate::error::{Doing, Error, Result};
use std::collections::BTreeMap;

/// Create a volume
#[derive(Debug, clap::Parser)]
#[command(after_help = "Examples:
  ebb volume create myvolume
  ebb volume create --label project=web site
  ebb volume create -o size=64m limited                                  on a disk of that size; takes root
  ebb volume create -o type=tmpfs -o device=tmpfs -o o=size=64m cache
  ebb volume create -o type=none -o o=bind -o device=/srv/data shown
  ebb volume create -o type=nfs -o o=addr=10.0.0.5,rw,vers=4 -o device=:/export remote")]
pub struct Create {
    /// Specify volume driver name
    #[arg(short, long, value_name = "string", default_value = "local")]
    driver: String,
    /// Set metadata for a volume
    #[arg(long, value_name = "list", value_parser = values::label)]
    label: Vec<String>,
    /// Set driver specific options
    #[arg(short, long, value_name = "map")]
    opt: Vec<String>,
    /// As Docker once had it, and has it still
    #[arg(long = "name", hide = true, value_name = "string")]
    flag_name: Option<String>,
    #[arg(value_name = "VOLUME")]
    name: Option<String>,
}

impl Execute for Create {
    fn execute(self) -> Result<i32> {
        if self.flag_name.is_some() && self.name.is_some() {
            return Err(Error::new(
                "conflicting options: cannot specify a volume-name through both --name and as a positional arg",
            ));
        }
        let name = self.name.or(self.flag_name);
        if self.driver != "local" {
            let shown = name.as_deref().unwrap_or_default();
            return Err(mounts::unknown_driver(&self.driver)).doing(|| format!("create {shown}"));
        }
        let pairs = |list: &[String]| -> BTreeMap<String, String> {
            let pair = |text: &String| {
                text.split_once('=').map_or((text.clone(), String::new()), |(k, v)| (k.into(), v.into()))
            };
            list.iter().map(pair).collect()
        };
        let name = name.filter(|name| !name.is_empty());
        let request = volume::Request { name, labels: pairs(&self.label), options: pairs(&self.opt) };
        let volume = volume::create(&store()?, &request)?;
        if let Ok(volume::Place::Directory { device, .. }) = volume::place(&volume.options)
            && !device.is_dir()
        {
            output::complain(&format!(
                "warning: there is no directory {}: a container can use {} once it is made",
                device.display(),
                volume.name
            ));
        }
        output::line(&volume.name)?;
        Ok(0)
    }
}
