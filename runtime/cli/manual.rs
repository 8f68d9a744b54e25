//! Completions and man pages, from the command line's own definitions.

use super::table::{self, TABLE};
use super::{Execute, help, output};
use crate::error::{Doing, Result};
use crate::umask;
use std::path::{Path, PathBuf};

/// Print a completion script for a shell
#[derive(Debug, clap::Parser)]
#[command(after_help = "\
Examples:
  ebb completions bash > ~/.local/share/bash-completion/completions/ebb
  ebb completions zsh > ~/.zfunc/_ebb
  ebb completions fish > ~/.config/fish/completions/ebb.fish")]
pub struct Completions {
    #[arg(value_name = "SHELL", value_enum)]
    shell: Shell,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Execute for Completions {
    fn execute(self) -> Result<i32> {
        let mut script = Vec::new();
        let mut whole = table::whole();
        match self.shell {
            Shell::Bash => clap_complete::generate(clap_complete::Shell::Bash, &mut whole, "ebb", &mut script),
            Shell::Zsh => clap_complete::generate(clap_complete::Shell::Zsh, &mut whole, "ebb", &mut script),
            Shell::Fish => clap_complete::generate(clap_complete::Shell::Fish, &mut whole, "ebb", &mut script),
        }
        output::bytes(&script)?;
        Ok(0)
    }
}

/// Write man pages
#[derive(Debug, clap::Parser)]
#[command(after_help = "\
Examples:
  ebb man | man -l -
  ebb man ~/.local/share/man/man1")]
pub struct Man {
    /// Where to write one page for each command; without it the page of ebb itself goes to stdout
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Execute for Man {
    fn execute(self) -> Result<i32> {
        let Some(dir) = self.dir else {
            output::bytes(&page("ebb", table::whole())?)?;
            return Ok(0);
        };
        umask::with_callers(|| std::fs::create_dir_all(&dir)).doing(|| format!("make {}", dir.display()))?;
        write(&dir, "ebb", table::whole())?;
        for entry in TABLE {
            let name = format!("ebb-{}", entry.path.replace(' ', "-"));
            write(&dir, &name, help::dress(entry.path, (entry.command)()))?;
        }
        Ok(0)
    }
}

fn write(dir: &Path, name: &str, command: clap::Command) -> Result<()> {
    let path = dir.join(format!("{name}.1"));
    let page = page(name, command)?;
    umask::with_callers(|| std::fs::write(&path, page)).doing(|| format!("write {}", path.display()))
}

fn page(name: &str, command: clap::Command) -> Result<Vec<u8>> {
    let mut page = Vec::new();
    let manual =
        clap_mangen::Man::new(command.display_name(name)).title(name.to_uppercase()).section("1").source("ebb");
    manual.render(&mut page).doing(|| format!("make the page {name}"))?;
    Ok(page)
}
