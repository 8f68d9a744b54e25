//! wait: blocks until containers end.

use crate::cli::{Execute, for_each, store};
use crate::engine::container::{self, wait};
use crate::error::Result;

/// Block until one or more containers stop, then print their exit codes
#[derive(Debug, clap::Parser)]
pub struct Wait {
    #[arg(value_name = "CONTAINER", required = true)]
    containers: Vec<String>,
}

impl Execute for Wait {
    fn execute(self) -> Result<i32> {
        let store = store()?;
        for_each(&self.containers, |name| {
            let code = wait::wait(&store, &container::find(&store, name)?)?;
            Ok(Some(code.to_string()))
        })
    }
}
