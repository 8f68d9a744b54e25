//! ps: the containers, one row each.

use crate::cli::format::{filter::Filters, table, units};
use crate::cli::{Execute, output, store};
use crate::engine::container::record::Container;
use crate::engine::container::state::{self, State, Status};
use crate::engine::container::{self, living, size};
use crate::engine::image;
use crate::error::{Error, Result};
use crate::store::{Store, id};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// List containers
#[derive(Debug, clap::Parser)]
#[command(after_help = "\
Examples:
  ebb ps -a
  ebb ps -a --filter status=exited --filter volume=myvolume
  ebb ps --format 'table {{.Names}}\\t{{.Status}}\\t{{.Mounts}}'
  ebb rm $(ebb ps -aq --filter label=lesson=3)")]
pub struct Ps {
    /// Show all containers (default shows just running)
    #[arg(short, long)]
    all: bool,
    /// Filter output based on conditions provided: id, name, label, status, exited, ancestor, volume, network, before,
    /// since, health
    #[arg(short, long, value_name = "filter")]
    filter: Vec<String>,
    /// Format output: 'table', 'table TEMPLATE', 'json', or a Go template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Show n last created containers (includes all states)
    #[arg(short = 'n', long, value_name = "int", default_value = "-1", allow_negative_numbers = true)]
    last: i64,
    /// Show the latest created container (includes all states)
    #[arg(short, long)]
    latest: bool,
    /// Don't truncate output
    #[arg(long)]
    no_trunc: bool,
    /// Only display container IDs
    #[arg(short, long)]
    quiet: bool,
    /// Display total file sizes
    #[arg(short, long)]
    size: bool,
}

const COLUMNS: &[(&str, &str)] = &[
    ("CONTAINER ID", "ID"),
    ("IMAGE", "Image"),
    ("COMMAND", "Command"),
    ("CREATED", "RunningFor"),
    ("STATUS", "Status"),
    ("PORTS", "Ports"),
    ("NAMES", "Names"),
    ("SIZE", "Size"),
];

impl Execute for Ps {
    fn execute(self) -> Result<i32> {
        let store = store()?;
        let wanted = Wanted::parse(&store, &self)?;
        // `.Size` costs a walk through every layer: only for those who ask.
        let with_size = self.size || self.format.as_deref().is_some_and(|format| format.contains(".Size"));
        let mut screen = Screen { store: &store, whole: self.no_trunc, with_size, images: BTreeMap::new() };
        let columns = if self.size { COLUMNS } else { &COLUMNS[..COLUMNS.len() - 1] };
        let format = self.format.as_deref();
        if !self.quiet {
            let nobody = Container { created: Timestamp::UNIX_EPOCH.to_string(), ..Container::default() };
            let row = screen.row(&nobody, &State::new(), Timestamp::UNIX_EPOCH)?;
            table::check(format, &row)?;
        }
        let now = Timestamp::now();
        let mut rows = Vec::new();
        let mut unread = Vec::new();
        for (container, state) in wanted.containers(&store, &mut unread)? {
            rows.push(screen.row(&container, &state, now)?);
        }
        table::print(columns, &rows, format, self.quiet.then_some("ID"))?;
        unread.extend(unlisted(&store));
        output::complain_of(&unread)
    }
}

/// What runs, and is in no list: its directory is gone. Looked for where a name leads to nothing.
fn unlisted(store: &Store) -> Vec<Error> {
    let leads_nowhere = |name: std::fs::DirEntry| {
        std::fs::read_link(name.path()).is_ok_and(|id| !container::dir(store, &id.to_string_lossy()).exists())
    };
    if !std::fs::read_dir(store.names()).into_iter().flatten().flatten().any(leads_nowhere) {
        return Vec::new();
    }
    let lost = |living: living::Living| {
        let (short, pid) = (id::short(&living.id).to_owned(), living.pid());
        Error::new(format!("container {short} runs, as process {pid}, and is in no list: its directory is gone"))
            .with_cure(format!("`ebb system check --repair` or `ebb rm -f {short}` ends it"))
    };
    living::without_directory(store).into_iter().map(lost).collect()
}

/// The row of one container, without its size; `whole`, as `--no-trunc` has it.
pub fn row(store: &Store, container: &Container, state: &State, whole: bool) -> Result<Value> {
    let mut screen = Screen { store, whole, with_size: false, images: BTreeMap::new() };
    screen.row(container, state, Timestamp::now())
}

/// Which containers are meant.
struct Wanted {
    /// Stopped ones too.
    all: bool,
    most: Option<usize>,
    filters: Filters,
    before: Vec<Container>,
    since: Vec<Container>,
    ancestors: Vec<Ancestor>,
}

/// `--filter ancestor=IMAGE`: containers of that image, and of images built upon it.
struct Ancestor {
    named: String,
    image: Option<(String, Vec<String>)>,
}

const FILTERS: &[&str] =
    &["id", "name", "label", "status", "exited", "ancestor", "volume", "network", "before", "since", "health"];
const STATUSES: &[&str] = &["created", "restarting", "running", "removing", "paused", "exited", "dead"];
const HEALTHS: &[&str] = &["starting", "healthy", "unhealthy", "none"];

impl Wanted {
    fn parse(store: &Store, ps: &Ps) -> Result<Wanted> {
        let filters = Filters::parse(&ps.filter, FILTERS)?;
        for (key, known) in [("status", STATUSES), ("health", HEALTHS)] {
            if let Some(bad) = filters.values(key).iter().find(|value| !known.contains(&value.as_str())) {
                return Err(Error::new(format!("invalid filter '{key}={bad}'"))
                    .with_cure(format!("known values: {}", known.join(", "))));
            }
        }
        if let Some(bad) = filters.values("exited").iter().find(|value| value.parse::<i32>().is_err()) {
            return Err(Error::new(format!("invalid filter 'exited={bad}': not an exit code")));
        }
        let containers = |key| filters.values(key).iter().map(|name| container::find(store, name)).collect();
        let (before, since): (Result<Vec<_>>, Result<Vec<_>>) = (containers("before"), containers("since"));
        let ancestors = filters.values("ancestor").iter().map(|name| Ancestor::find(store, name)).collect();
        let most = if ps.latest { Some(1) } else { usize::try_from(ps.last).ok().filter(|most| *most > 0) };
        let all = ps.all || most.is_some() || filters.has("status");
        Ok(Wanted { all, most, before: before?, since: since?, ancestors, filters })
    }

    /// Them, the newest first. One that goes away while we read is left out; one that cannot be read does not hide the others.
    fn containers(&self, store: &Store, unread: &mut Vec<Error>) -> Result<Vec<(Container, State)>> {
        let mut found = Vec::new();
        let mut listed = container::list_readable(store)?;
        unread.append(&mut listed.unread);
        for container in listed.containers {
            if self.most == Some(found.len()) {
                break;
            }
            match state::current(store, &container) {
                Ok(state) if self.has(&container, &state) => found.push((container, state)),
                Ok(_) => {}
                Err(error) if error.is_not_found() => {}
                Err(error) => unread.push(error),
            }
        }
        Ok(found)
    }

    fn has(&self, container: &Container, state: &State) -> bool {
        let filters = &self.filters;
        let is_up = state.is_running() || state.status == Status::Restarting;
        let has_ended = !is_up && state.status != Status::Created;
        let health = state.health.as_ref().map_or("none", |health| health.status.as_str());
        let volume = |name: &str| {
            let mut mounts = container.mounts.iter();
            mounts.any(|mount| {
                mount.destination == name || if mount.name.is_empty() { &mount.source } else { &mount.name } == name
            })
        };
        (self.all || is_up)
            && filters.any_pattern("id", &container.id)
            && is_named(filters, &container.name)
            && filters.labels(&container.config.image.labels)
            && filters.any("status", |status| status == state.status.word())
            && filters.any("exited", |code| has_ended && code.parse() == Ok(state.exit_code))
            && filters.any("health", |word| word == health)
            && filters.any("volume", volume)
            && filters.any("network", |network| network == container.host_config.network_mode)
            && (self.ancestors.is_empty() || self.ancestors.iter().any(|ancestor| ancestor.is_of(container)))
            && self.before.iter().all(|other| container.created < other.created)
            && self.since.iter().all(|other| container.created > other.created)
    }
}

/// As Docker, with or without the slash that its names have inside.
fn is_named(filters: &Filters, name: &str) -> bool {
    filters.any_pattern("name", name) || filters.any_pattern("name", &format!("/{name}"))
}

impl Ancestor {
    fn find(store: &Store, name: &str) -> Ancestor {
        let layers = store.images().join("layers");
        let layer = |path: &std::path::PathBuf| path.strip_prefix(&layers).unwrap_or(path).display().to_string();
        let image = image::find(store, name).ok().map(|image| (image.id, image.layers.iter().map(layer).collect()));
        Ancestor { named: name.to_owned(), image }
    }

    fn is_of(&self, container: &Container) -> bool {
        match &self.image {
            Some((id, layers)) => *id == container.image || !layers.is_empty() && container.layers.starts_with(layers),
            // The image may be gone, its containers are not.
            None => self.named == container.image_name,
        }
    }
}

/// How rows are shown.
struct Screen<'a> {
    store: &'a Store,
    whole: bool,
    with_size: bool,
    /// The id that a name of an image stands for now, and the image's size; each looked up once.
    images: BTreeMap<String, Option<(String, u64)>>,
}

impl Screen<'_> {
    /// One row with Docker's keys.
    fn row(&mut self, container: &Container, state: &State, now: Timestamp) -> Result<Value> {
        let created: Timestamp = container.created.parse().unwrap_or(now);
        let cut = |text: &str, width| if self.whole { text.to_owned() } else { ellipsis(text, width) };
        let mounts =
            container.mounts.iter().map(|mount| if mount.name.is_empty() { &mount.source } else { &mount.name });
        // A tmpfs has neither name nor source.
        let mounts: Vec<_> = mounts.filter(|name| !name.is_empty()).map(|name| cut(name, 15)).collect();
        let labels: Vec<_> =
            container.config.image.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let locals = container.mounts.iter().filter(|mount| mount.kind == "volume").count();
        let command = cut(&command(container), 20);
        Ok(json!({
            "Command": crate::cli::format::template::quoted(&command),
            "CreatedAt": units::in_zone(created),
            "ID": if self.whole { &container.id } else { id::short(&container.id) },
            "Image": self.image(container),
            "Labels": labels.join(","),
            "LocalVolumes": locals.to_string(),
            "Mounts": mounts.join(","),
            "Names": container.name,
            "Networks": container.host_config.network_mode,
            "Platform": null,
            "Ports": "",
            "RunningFor": units::ago(created, now),
            "Size": if self.with_size { self.size(container)? } else { "0B".to_owned() },
            "State": state.status.word(),
            "Status": status(state, now),
        }))
    }

    /// The name that the image was given by, while it still means the same image.
    fn image(&mut self, container: &Container) -> String {
        let name = &container.image_name;
        if name.is_empty() {
            return "<no image>".into();
        }
        match self.found(name) {
            Some((id, _)) if *id == container.image && is_id(name, id) => self.shown_id(&container.image),
            Some((id, _)) if *id == container.image => name.clone(),
            _ => self.shown_id(&container.image),
        }
    }

    fn shown_id(&self, image: &str) -> String {
        if self.whole { image.to_owned() } else { id::short(image).to_owned() }
    }

    fn found(&mut self, name: &str) -> &Option<(String, u64)> {
        let store = self.store;
        let find = || image::find(store, name).ok().map(|image| (image.id, image.size));
        self.images.entry(name.to_owned()).or_insert_with(find)
    }

    fn size(&mut self, container: &Container) -> Result<String> {
        let written = match size::written(self.store, container) {
            Err(error) if error.is_not_found() => 0,
            // What a container makes of its files is no reason to say nothing of the others.
            Err(error) => {
                crate::cli::output::complain(&error);
                return Ok("N/A".to_owned());
            }
            Ok(written) => written,
        };
        let image = self.found(&container.image).as_ref().map_or(0, |(_, size)| *size);
        let shown = units::human_size(written);
        Ok(if image > 0 { format!("{shown} (virtual {})", units::human_size(image + written)) } else { shown })
    }
}

/// Whether the image was named by its id, or by the beginning of it.
fn is_id(name: &str, id: &str) -> bool {
    id.starts_with(name) || id.strip_prefix("sha256:").is_some_and(|digest| digest.starts_with(name))
}

/// The program and its arguments; one with a space in it is quoted.
fn command(container: &Container) -> String {
    let quote = |word: &String| if word.contains(' ') { format!("'{word}'") } else { word.clone() };
    let words: Vec<_> = std::iter::once(container.path.clone()).chain(container.args.iter().map(quote)).collect();
    words.join(" ")
}

fn ellipsis(text: &str, width: usize) -> String {
    match text.chars().count() > width {
        true => text.chars().take(width - 1).chain(['…']).collect(),
        false => text.to_owned(),
    }
}

/// Docker's words: `Up 5 seconds (healthy)`, `Exited (0) 2 minutes ago`.
fn status(state: &State, now: Timestamp) -> String {
    let since = |time: &str| {
        let moment = time.parse().unwrap_or(now);
        units::human_duration(now.duration_since(moment))
    };
    let up = || format!("Up {}", since(&state.started_at));
    match state.status {
        Status::Created => "Created".into(),
        Status::Paused => format!("{} (Paused)", up()),
        Status::Restarting => format!("Restarting ({}) {} ago", state.exit_code, since(&state.finished_at)),
        Status::Dead => "Dead".into(),
        Status::Exited => format!("Exited ({}) {} ago", state.exit_code, since(&state.finished_at)),
        Status::Running => match state.health.as_ref().map(|health| health.status.as_str()) {
            Some("starting") => format!("{} (health: starting)", up()),
            Some(word) if !word.is_empty() && word != "none" => format!("{} ({word})", up()),
            _ => up(),
        },
    }
}
