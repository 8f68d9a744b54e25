//! diff.

use crate::cli::format::table;
use crate::cli::{Execute, store};
use crate::engine::container::{self, diff};
use crate::error::Result;
use serde_json::json;

/// Inspect changes to files or directories on a container's filesystem
#[derive(Debug, clap::Parser)]
#[command(after_help = "Examples:
  ebb diff mycontainer     A added, C changed, D deleted; volumes are not the container's")]
pub struct Diff {
    /// Format output: 'table', 'table TEMPLATE', 'json', or a Go template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    #[arg(value_name = "CONTAINER")]
    container: String,
}

impl Execute for Diff {
    fn execute(self) -> Result<i32> {
        let store = store()?;
        let changes = diff::diff(&store, &container::find(&store, &self.container)?)?;
        let rows: Vec<_> =
            changes.iter().map(|change| json!({"Type": change.kind.to_string(), "Path": change.path})).collect();
        let format = self.format.as_deref().unwrap_or("{{.Type}} {{.Path}}");
        table::print(&[("CHANGE TYPE", "Type"), ("PATH", "Path")], &rows, Some(format), None)?;
        Ok(0)
    }
}
