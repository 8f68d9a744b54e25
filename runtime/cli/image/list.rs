//! ls, inspect and history: what images there are, and what is in them.

use crate::cli::format::filter::{self, Filters};
use crate::cli::format::{inspect, table, units};
use crate::cli::{Execute, output, store};
use crate::engine::image::{self, Image, reference};
use crate::engine::time;
use crate::error::{Error, Result};
use crate::store::id;
use jiff::Timestamp;
use regex::bytes::Regex;
use serde_json::{Value, json};

/// List images
#[derive(Debug, clap::Parser)]
#[command(after_help = "Examples:
  ebb images
  ebb images -q --filter dangling=true
  ebb images --format '{{.Repository}}:{{.Tag}} {{.Size}}' nginx")]
pub struct Ls {
    /// Show all images (Ebb has no hidden ones)
    #[arg(short, long)]
    all: bool,
    /// Show digests
    #[arg(long)]
    digests: bool,
    /// Filter output based on conditions provided: dangling, reference, label, before, since
    #[arg(short, long, value_name = "filter")]
    filter: Vec<String>,
    /// Format output: 'table', 'table TEMPLATE', 'json', or a Go template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Don't truncate output
    #[arg(long)]
    no_trunc: bool,
    /// Only show image IDs
    #[arg(short, long)]
    quiet: bool,
    #[arg(value_name = "REPOSITORY[:TAG]")]
    name: Option<String>,
}

impl Execute for Ls {
    fn execute(self) -> Result<i32> {
        let filters = Filters::parse(&self.filter, &["dangling", "reference", "label", "before", "since"])?;
        let store = store()?;
        let moment = |key: &str| -> Result<Option<String>> {
            filters.values(key).first().map(|name| Ok(image::find(&store, name)?.created)).transpose()
        };
        let (before, since) = (moment("before")?, moment("since")?);
        let dangling = filters.boolean("dangling")?;
        let asked = self.name.as_deref().map(Reference::read).transpose()?;
        let references: Vec<_> =
            filters.values("reference").iter().map(|text| Reference::read(text)).collect::<Result<_>>()?;
        let mut rows = Vec::new();
        let (images, unread) = image::list_readable(&store)?;
        for image in images {
            let fits = dangling.is_none_or(|wanted| wanted == image.names.is_empty())
                && filters.labels(&image.config.labels)
                && before.as_ref().is_none_or(|moment| image.created < *moment)
                && since.as_ref().is_none_or(|moment| image.created > *moment);
            if !fits {
                continue;
            }
            let named = |name: &&String| {
                asked.as_ref().is_none_or(|wanted| wanted.is(name))
                    && (references.is_empty() || references.iter().any(|wanted| wanted.is(name)))
            };
            let names: Vec<&String> = image.names.iter().filter(named).collect();
            rows.extend(names.iter().map(|name| row(&image, Some(name), self.no_trunc)));
            if image.names.is_empty() && self.name.is_none() && !filters.has("reference") {
                rows.push(row(&image, None, self.no_trunc));
            }
        }
        if self.quiet {
            // One line an image, however many names it has.
            rows.dedup_by(|a, b| a["ID"] == b["ID"]);
        }
        let mut columns = vec![("REPOSITORY", "Repository"), ("TAG", "Tag")];
        if self.digests {
            columns.push(("DIGEST", "Digest"));
        }
        columns.extend([("IMAGE ID", "ID"), ("CREATED", "CreatedSince"), ("SIZE", "Size")]);
        table::print(&columns, &rows, self.format.as_deref(), self.quiet.then_some("ID"))?;
        output::complain_of(&unread)
    }
}

/// `nginx` means all its tags; `*` any text without a slash, as in a shell.
struct Reference {
    repository: Regex,
    tag: Option<Regex>,
}

impl Reference {
    fn read(wanted: &str) -> Result<Reference> {
        let (repository, tag) = reference::split(wanted);
        let repository = repository.strip_prefix("docker.io/").unwrap_or(repository);
        let repository = repository.strip_prefix("library/").unwrap_or(repository);
        Ok(Reference {
            repository: filter::shell_pattern(repository)?,
            tag: tag.map(filter::shell_pattern).transpose()?,
        })
    }

    fn is(&self, name: &str) -> bool {
        let (repository, tag) = reference::split(name);
        self.repository.is_match(repository.as_bytes())
            && self.tag.as_ref().is_none_or(|wanted| wanted.is_match(tag.unwrap_or_default().as_bytes()))
    }
}

/// One row with Docker's keys.
pub fn row(image: &Image, name: Option<&str>, whole: bool) -> Value {
    let (repository, tag) = name.map_or(("<none>", "<none>"), |name| {
        let (repository, tag) = reference::split(name);
        (repository, tag.unwrap_or("latest"))
    });
    let created: Timestamp = image.created.parse().unwrap_or(Timestamp::UNIX_EPOCH);
    json!({
        "Containers": "N/A",
        "CreatedAt": units::in_zone(created),
        "CreatedSince": units::ago(created, Timestamp::now()),
        "Digest": "<none>",
        "ID": if whole { image.id.clone() } else { id::short(&image.id).to_owned() },
        "Repository": repository,
        "SharedSize": "N/A",
        "Size": units::human_size(image.size),
        "Tag": tag,
        "UniqueSize": "N/A",
        "VirtualSize": units::human_size(image.size),
    })
}

/// Display detailed information on one or more images
#[derive(Debug, clap::Parser)]
#[command(after_help = "Examples:
  ebb image inspect nginx
  ebb image inspect -f '{{json .Config.Volumes}}' nginx")]
pub struct Inspect {
    /// Format output: 'json', or a Go template
    #[arg(short, long, value_name = "string")]
    format: Option<String>,
    #[arg(value_name = "IMAGE", required = true)]
    names: Vec<String>,
}

impl Execute for Inspect {
    fn execute(self) -> Result<i32> {
        let store = store()?;
        inspect::print(&self.names, self.format.as_deref(), |name| {
            let found = image::find(&store, name).map_err(|error| match error.is_not_found() {
                true => Error::not_found(format!("no such image: {name}: {}", error.message)),
                false => error,
            })?;
            Ok(image::inspect(&store, &found))
        })
    }
}

/// Show the history of an image
#[derive(Debug, clap::Parser)]
#[command(after_help = "Examples:
  ebb history nginx
  ebb history --no-trunc --format '{{.CreatedBy}}' nginx")]
pub struct History {
    /// Format output: 'table', 'table TEMPLATE', 'json', or a Go template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Print sizes and dates in human readable format
    #[arg(short = 'H', long, default_value_t = true, hide_default_value = true, action = clap::ArgAction::Set,
          num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    human: bool,
    /// Don't truncate output
    #[arg(long)]
    no_trunc: bool,
    /// Only show image IDs
    #[arg(short, long)]
    quiet: bool,
    #[arg(value_name = "IMAGE")]
    name: String,
}

impl Execute for History {
    fn execute(self) -> Result<i32> {
        let store = store()?;
        let image = image::find(&store, &self.name)?;
        let columns = [
            ("IMAGE", "ID"),
            ("CREATED", "Created"),
            ("CREATED BY", "CreatedBy"),
            ("SIZE", "Size"),
            ("COMMENT", "Comment"),
        ];
        let sizes = image.file.rootfs.diff_ids.iter().map(|diff_id| image::layer::size(&store, diff_id));
        let mut sizes = sizes.collect::<Result<Vec<_>>>()?.into_iter();
        let mut rows = Vec::new();
        for step in &image.file.history {
            let size = if step.empty_layer { 0 } else { sizes.next().unwrap_or(0) };
            rows.push(self.row(step, size));
        }
        // An image whose history says nothing of its layers still has them.
        rows.extend(sizes.map(|size| self.row(&image::History::default(), size)));
        rows.reverse();
        if let Some(newest) = rows.first_mut() {
            let id = if self.no_trunc { &image.id } else { id::short(&image.id) };
            newest["ID"] = json!(id);
        }
        table::print(&columns, &rows, self.format.as_deref(), self.quiet.then_some("ID"))?;
        Ok(0)
    }
}

/// RFC 3339 in the caller's zone, as Go writes it.
fn moment_in_zone(moment: Timestamp) -> String {
    let local = moment.to_zoned(time::zone());
    let offset = if local.offset().is_zero() { "Z" } else { "%:z" };
    local.strftime(&format!("%Y-%m-%dT%H:%M:%S{offset}")).to_string()
}

impl History {
    fn row(&self, step: &image::History, size: u64) -> Value {
        let created = step.created.as_ref().and_then(|text| text.parse::<Timestamp>().ok());
        let since = created.map_or("N/A".into(), |created| units::ago(created, Timestamp::now()));
        let at = created.map_or(String::new(), moment_in_zone);
        // As Docker, which keeps a recipe's tabs out of the table's columns.
        let created_by = step.created_by.replace('\t', " ");
        let by = match self.no_trunc || created_by.chars().count() <= 45 {
            true => created_by,
            false => created_by.chars().take(44).collect::<String>() + "…",
        };
        json!({
            "Comment": step.comment,
            "Created": if self.human { &since } else { &at },
            "CreatedAt": at,
            "CreatedBy": by,
            "CreatedSince": since,
            "ID": "<missing>",
            "Size": if self.human { units::human_size(size) } else { size.to_string() },
        })
    }
}
