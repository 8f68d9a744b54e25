//! exec: one more process in a running container.

use super::values;
use crate::cli::{Execute, close_callers_descriptors, store};
use crate::engine::container::{self, exec, namespaces, terminal};
use crate::error::{Error, Kind, Result};
use std::path::PathBuf;

/// Execute a command in a running container
#[derive(Debug, clap::Parser)]
pub struct Exec {
    /// Detached mode: run command in the background
    #[arg(short, long)]
    detach: bool,
    /// Override the key sequence for detaching a container
    #[arg(long, value_name = "string", default_value = terminal::DETACH_KEYS)]
    detach_keys: String,
    /// Set environment variables
    #[arg(short, long, value_name = "list", value_parser = values::variable)]
    env: Vec<String>,
    /// Read in a file of environment variables
    #[arg(long, value_name = "list")]
    env_file: Vec<PathBuf>,
    /// Keep STDIN open even if not attached
    #[arg(short, long)]
    interactive: bool,
    /// Give extended privileges to the command
    #[arg(long)]
    privileged: bool,
    /// Allocate a pseudo-TTY
    #[arg(short, long)]
    tty: bool,
    /// Username or UID (format: "<name|uid>[:<group|gid>]")
    #[arg(short, long, value_name = "string")]
    user: Option<String>,
    /// Working directory inside the container
    #[arg(short, long, value_name = "string")]
    workdir: Option<String>,
    /// After the container's name everything belongs to the command
    #[arg(value_names = ["CONTAINER", "COMMAND"], required = true, num_args = 2.., trailing_var_arg = true)]
    words: Vec<String>,
}

impl Execute for Exec {
    fn execute(self) -> Result<i32> {
        let Some((name, command)) = self.words.split_first() else {
            return Err(Error::of(Kind::Usage, "no container"));
        };
        let store = store()?;
        let container = container::find(&store, name)?;
        // It may begin anew, and what the options name can be read once only (`--env-file /dev/stdin`).
        namespaces::keep_binary_from(&container.host_config)?;
        let env = values::environment(&self.env_file, &self.env)?;
        close_callers_descriptors();
        let request = exec::Request {
            command: command.to_vec(),
            interactive: self.interactive,
            tty: self.tty,
            detach: self.detach,
            env,
            workdir: self.workdir,
            user: self.user,
            privileged: self.privileged,
            detach_keys: self.detach_keys,
        };
        exec::exec(&store, &container, &request)
    }
}
