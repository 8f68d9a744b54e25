//! rename.

use crate::cli::{Execute, store};
use crate::engine::container::{self, rename};
use crate::error::{Error, Result};

/// Rename a container
#[derive(Debug, clap::Parser)]
pub struct Rename {
    #[arg(value_name = "CONTAINER")]
    container: String,
    #[arg(value_name = "NEW_NAME")]
    new_name: String,
}

impl Execute for Rename {
    fn execute(self) -> Result<i32> {
        if self.container.is_empty() || self.new_name.is_empty() {
            return Err(Error::new("Neither old nor new names may be empty"));
        }
        let store = store()?;
        rename::rename(&store, &container::find(&store, &self.container)?, &self.new_name)?;
        Ok(0)
    }
}
