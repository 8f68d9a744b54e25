//! inspect and container inspect.

use crate::cli::format::inspect::print;
use crate::cli::{Execute, store};
use crate::engine::{container, image, volume};
use crate::error::{Error, Result};
use crate::store::Store;
use serde_json::Value;

/// Return low-level information on Ebb objects
#[derive(Debug, clap::Parser)]
#[command(after_help = "\
Examples:
  ebb inspect mycontainer
  ebb inspect -f '{{.State.Status}} {{.State.ExitCode}}' mycontainer
  ebb inspect -f '{{range .Mounts}}{{.Name}} {{.Destination}}{{println}}{{end}}' mycontainer
  ebb inspect --type volume myvolume")]
pub struct Inspect {
    /// Format output using a custom template: 'json', or a Go template (https://docs.docker.com/go/formatting/)
    #[arg(short, long, value_name = "string")]
    format: Option<String>,
    /// Display total file sizes if the type is container
    #[arg(short, long)]
    size: bool,
    /// Only inspect objects of the given type: container, image or volume
    #[arg(long = "type", value_name = "string", value_enum)]
    kind: Option<Type>,
    #[arg(value_name = "NAME|ID", required = true)]
    names: Vec<String>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Type {
    Container,
    Image,
    Volume,
}

impl Execute for Inspect {
    fn execute(self) -> Result<i32> {
        let store = store()?;
        print(&self.names, self.format.as_deref(), |name| match self.kind {
            Some(Type::Container) => of_container(&store, name, self.size),
            Some(Type::Image) => of_image(&store, name),
            Some(Type::Volume) => of_volume(&store, name),
            None => of_any(&store, name, self.size),
        })
    }
}

/// Display detailed information on one or more containers
#[derive(Debug, clap::Parser)]
#[command(after_help = "\
Examples:
  ebb container inspect mycontainer
  ebb container inspect -s -f '{{.SizeRw}}' mycontainer")]
pub struct InspectContainer {
    /// Format output using a custom template: 'json', or a Go template (https://docs.docker.com/go/formatting/)
    #[arg(short, long, value_name = "string")]
    format: Option<String>,
    /// Display total file sizes
    #[arg(short, long)]
    size: bool,
    #[arg(value_name = "CONTAINER", required = true)]
    containers: Vec<String>,
}

impl Execute for InspectContainer {
    fn execute(self) -> Result<i32> {
        let store = store()?;
        print(&self.containers, self.format.as_deref(), |name| of_container(&store, name, self.size))
    }
}

/// One name may be a container's, an image's or a volume's; the first of them that has it answers.
fn of_any(store: &Store, name: &str, size: bool) -> Result<Value> {
    let kinds: [&dyn Fn() -> Result<Value>; 3] =
        [&|| of_container(store, name, size), &|| of_image(store, name), &|| of_volume(store, name)];
    for inspect in kinds {
        match inspect() {
            Err(error) if error.is_not_found() => {}
            result => return result,
        }
    }
    Err(Error::not_found(format!("Error: No such object: {name}")))
}

fn of_container(store: &Store, name: &str, size: bool) -> Result<Value> {
    container::inspect(store, &container::find(store, name)?, size)
}

fn of_image(store: &Store, name: &str) -> Result<Value> {
    Ok(image::inspect(store, &image::find(store, name)?))
}

fn of_volume(store: &Store, name: &str) -> Result<Value> {
    volume::inspect(store, &volume::get(store, name)?, false)
}
