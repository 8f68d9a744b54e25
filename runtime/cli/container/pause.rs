//! pause and unpause.

use crate::cli::{Execute, for_each, store};
use crate::engine::container::{self, pause};
use crate::error::Result;

/// Pause all processes within one or more containers
#[derive(Debug, clap::Parser)]
pub struct Pause {
    #[arg(value_name = "CONTAINER", required = true)]
    containers: Vec<String>,
}

impl Execute for Pause {
    fn execute(self) -> Result<i32> {
        let store = store()?;
        for_each(&self.containers, |name| {
            pause::pause(&store, &container::find(&store, name)?)?;
            Ok(Some(name.to_owned()))
        })
    }
}

/// Unpause all processes within one or more containers
#[derive(Debug, clap::Parser)]
pub struct Unpause {
    #[arg(value_name = "CONTAINER", required = true)]
    containers: Vec<String>,
}

impl Execute for Unpause {
    fn execute(self) -> Result<i32> {
        let store = store()?;
        for_each(&self.containers, |name| {
            pause::unpause(&store, &container::find(&store, name)?)?;
            Ok(Some(name.to_owned()))
        })
    }
}
