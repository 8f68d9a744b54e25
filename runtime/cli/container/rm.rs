//! rm and container prune.

use crate::cli::format::{table, units};
use crate::cli::output::printable;
use crate::cli::volume::tell_trashed;
use crate::cli::{Execute, confirm, for_each, output, store};
use crate::engine::container::loss::{self, Kept, Loss};
use crate::engine::container::record::Container;
use crate::engine::container::{self, living, prune, remove};
use crate::error::{Doing, Error, Result};
use crate::store::Store;
use serde_json::json;
use std::collections::BTreeSet;
use std::io::IsTerminal;

/// Remove one or more containers
#[derive(Debug, clap::Parser)]
#[command(after_help = "Examples:
  ebb rm mycontainer
  ebb rm --dry-run mycontainer     what would be lost, and what would stay
  ebb rm -fv mycontainer           also when it runs, and with its anonymous volumes")]
pub struct Rm {
    /// Say what would go and what would stay, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Force the removal of a running container (uses SIGKILL)
    #[arg(short, long)]
    force: bool,
    /// Remove anonymous volumes associated with the container
    #[arg(short, long)]
    volumes: bool,
    /// Format the output of --dry-run: 'json', or a Go template
    #[arg(long, value_name = "string", requires = "dry_run")]
    format: Option<String>,
    #[arg(value_name = "CONTAINER", required = true)]
    containers: Vec<String>,
}

impl Execute for Rm {
    fn execute(self) -> Result<i32> {
        let store = store()?;
        let options = remove::Options { force: self.force, volumes: self.volumes };
        if self.dry_run {
            return self.foresee(&store, options);
        }
        // The walk that it takes to say what went is for a person who reads it; a script does not wait for it.
        let told = std::io::stderr().is_terminal();
        let (mut losses, mut trashed) = (Vec::new(), Vec::new());
        let done = for_each(&self.containers, |name| {
            let removed = find(&store, name).and_then(|container| {
                let loss = if told { loss::foresee(&store, &container, options, &[]).ok() } else { None };
                match remove::remove(&store, &container, options) {
                    Err(error) if !error.is_not_found() => {
                        Err(error).doing(|| format!("cannot remove container {name:?}"))
                    }
                    Err(error) => Err(error),
                    Ok(aside) => {
                        losses.extend(loss);
                        trashed.extend(aside);
                        Ok(())
                    }
                }
            });
            match removed {
                Ok(()) => Ok(Some(name.to_owned())),
                Err(error) if self.force && error.is_not_found() && end_lost(&store, name)? => {
                    Ok(Some(name.to_owned()))
                }
                // As in Docker: said, but what was wanted is so.
                Err(error) if self.force && error.is_not_found() => {
                    output::complain(&error);
                    Ok(None)
                }
                Err(error) => Err(error),
            }
        });
        tell_trashed(&store, &trashed);
        if !losses.is_empty() {
            eprintln!("{}", last_line(&store, &losses));
        }
        done
    }
}

/// No name at all is no container that is gone already, so that `-f` does not forgive it (`rm -f "$UNSET"`).
fn find(store: &Store, name: &str) -> Result<Container> {
    if name.is_empty() {
        return Err(Error::new("container name cannot be empty"));
    }
    container::find(store, name)
}

/// Ends a container whose directory is gone, if that is what runs under this name.
fn end_lost(store: &Store, name: &str) -> Result<bool> {
    match living::named(store, name) {
        None => Ok(false),
        Some(living) if living::end(&living) => Ok(true),
        Some(living) => {
            Err(Error::new(format!("process {} of {name} does not end although it was killed", living.pid())))
        }
    }
}

impl Rm {
    fn foresee(&self, store: &Store, options: remove::Options) -> Result<i32> {
        let mut earlier = Vec::new();
        for_each(&self.containers, |name| {
            let foreseen = find(store, name).and_then(|container| {
                // The second time that it is named it will be gone.
                if earlier.contains(&container.id) {
                    return Err(Error::not_found(format!("No such container: {name}")));
                }
                loss::foresee(store, &container, options, &earlier)
                    .doing(|| format!("cannot remove container {name:?}"))
            });
            let loss = match foreseen {
                // As `rm -f` does: said, but what is wanted is so.
                Err(error) if self.force && error.is_not_found() => {
                    output::complain(&error);
                    return Ok(None);
                }
                foreseen => foreseen?,
            };
            earlier.push(loss.id.clone());
            match &self.format {
                Some(format) => table::print(&[], &[json!(loss)], Some(format), None).map(|()| None),
                None => Ok(Some(whole_story(&loss))),
            }
        })
    }
}

/// `rm --dry-run` in words.
fn whole_story(loss: &Loss) -> String {
    let killed = if loss.running { ", killed first," } else { "" };
    let mut text = format!("{}{killed} would go, and with it:\n", loss.container);
    for change in &loss.changes {
        let size = if change.size > 0 { format!("\t{}", units::human_size(change.size)) } else { String::new() };
        text.push_str(&format!("  {} {}{size}\n", change.kind, printable(&change.path)));
    }
    if loss.changes.is_empty() {
        text.push_str("  no change to the image's files\n");
    }
    if loss.log > 0 {
        text.push_str(&format!("  its log\t{}\n", units::human_size(loss.log)));
    }
    for volume in &loss.volumes {
        let where_to = if volume.trash { ", into the trash" } else { "" };
        text.push_str(&format!("  anonymous volume {} ({}){where_to}\n", volume.name, printable(&volume.destination)));
    }
    text.push_str("and this would stay:\n");
    for kept in &loss.stays {
        text.push_str(&match kept.kind.as_str() {
            "image" => format!("  image {}", kept.name),
            "bind" => format!("  the host's {} ({})\n", printable(&kept.source), printable(&kept.destination)),
            kind if kept.source.is_empty() => format!(
                "  {kind} {} ({}), but what is in it is in memory, and ends with the last container that uses it\n",
                kept.name,
                printable(&kept.destination)
            ),
            kind => {
                let (destination, source) = (printable(&kept.destination), printable(&kept.source));
                format!("  {kind} {} ({destination}), in {source}\n", kept.name)
            }
        });
    }
    table::aligned(&text).unwrap_or(text)
}

/// What went and what stayed, in one line.
fn last_line(store: &Store, losses: &[Loss]) -> String {
    let counted = |count: usize, noun: &str| match count {
        1 => format!("1 {noun}"),
        count => format!("{count} {noun}s"),
    };
    let names: Vec<&str> = losses.iter().map(|loss| loss.container.as_str()).collect();
    let changes: usize = losses.iter().map(|loss| loss.changes.len()).sum();
    let bytes = losses.iter().map(|loss| loss.bytes).sum();
    let (trashed, gone): (Vec<_>, Vec<_>) =
        losses.iter().flat_map(|loss| &loss.volumes).partition::<Vec<&Kept>, _>(|volume| volume.trash);
    let mut line = format!("gone: {}, with {}", names.join(", "), counted(changes, "changed file"));
    if changes > 0 {
        line.push_str(&format!(" ({})", units::human_size(bytes)));
    }
    if !gone.is_empty() {
        line.push_str(&format!(" and {}", counted(gone.len(), "anonymous volume")));
    }
    if !trashed.is_empty() {
        line.push_str(&format!("; in the trash: {}", counted(trashed.len(), "anonymous volume")));
    }
    // What the first of two containers left because of the second may have gone with that.
    let went = |kept: &Kept| {
        losses
            .iter()
            .flat_map(|loss| &loss.volumes)
            .any(|volume| volume.name == kept.name && volume.source == kept.source)
    };
    let stays: BTreeSet<String> = losses
        .iter()
        .flat_map(|loss| &loss.stays)
        .filter(|kept| kept.kind != "image" && !went(kept) && loss::stays(store, kept))
        .map(|kept| match kept.kind.as_str() {
            "bind" => printable(&kept.source),
            kind => format!("{kind} {}", kept.name.get(..12).filter(|_| kind != "volume").unwrap_or(&kept.name)),
        })
        .collect();
    match stays.is_empty() {
        true => line,
        false => format!("{line}; stayed: {}", stays.into_iter().collect::<Vec<_>>().join(", ")),
    }
}

/// Remove all stopped containers
#[derive(Debug, clap::Parser)]
pub struct Prune {
    /// Provide filter values (e.g. "until=<timestamp>")
    #[arg(long, value_name = "filter")]
    filter: Vec<String>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    force: bool,
}

impl Execute for Prune {
    fn execute(self) -> Result<i32> {
        let filter = prune::Filter::parse(&self.filter)?;
        let store = store()?;
        if !self.force && !confirm::confirm("This will remove all stopped containers.")? {
            return Ok(0);
        }
        let pruned = prune::prune(&store, &filter)?;
        if !pruned.ids.is_empty() {
            output::line(&format!("Deleted Containers:\n{}\n", pruned.ids.join("\n")))?;
        }
        output::line(&format!("Total reclaimed space: {}", units::human_size_exact(pruned.bytes)))?;
        pruned.result.map(|()| 0)
    }
}
