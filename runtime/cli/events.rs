//! events: what happens to containers, volumes and images, as it happens.

use super::format::filter::Filters;
use super::format::template::{Datum, Fields, Template};
use super::{Execute, output, store};
use crate::engine::events::{Event, Follow, Reader};
use crate::engine::image::reference;
use crate::engine::moment;
use crate::error::{Error, Result};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};
use std::os::fd::AsFd;

/// Get real time events: what happens to containers, volumes and images
#[derive(Debug, clap::Parser)]
#[command(after_help = "\
Examples:
  ebb events
  ebb events --since 10m --until 0s
  ebb events --filter type=container --filter event=die --format '{{.Actor.Attributes.name}}'")]
pub struct Events {
    /// Filter output based on conditions provided (container, event, image, label, type, volume)
    #[arg(short, long, value_name = "filter")]
    filter: Vec<String>,
    /// Format output: 'json', or a Go template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Show all events created since timestamp
    #[arg(long, value_name = "string", allow_hyphen_values = true)]
    since: Option<String>,
    /// Stream events until this timestamp
    #[arg(long, value_name = "string", allow_hyphen_values = true)]
    until: Option<String>,
}

/// What can be asked for. `network` and `scope` are Docker's, and there is one answer to each here.
const FILTERS: &[&str] = &["container", "event", "image", "label", "network", "scope", "type", "volume"];

impl Execute for Events {
    fn execute(self) -> Result<i32> {
        let now = Timestamp::now();
        let (since, until) = (time(&self.since)?, time(&self.until)?);
        if let (Some(begin), Some(end)) = (since, until)
            && end < begin
        {
            let shown = |text: &Option<String>| text.clone().unwrap_or_default();
            let (since, until) = (shown(&self.since), shown(&self.until));
            return Err(Error::new(format!("`since` time ({since}) cannot be after `until` time ({until})")));
        }
        let filters = Filters::parse(&self.filter, FILTERS)?;
        let form = Form::of(self.format.as_deref())?;
        let store = store()?;
        let is_past = until.is_some_and(|until| until <= now);
        let follow = if is_past { None } else { Some(Follow::begin(&store)?) };
        let mut reader = Reader::open(&store, since.is_none() && until.is_none())?;
        let is_within = |event: &Event| {
            let time = i128::from(event.time);
            since.is_none_or(|since| time >= since.as_nanosecond())
                && until.is_none_or(|until| time <= until.as_nanosecond())
        };
        let mut more = true;
        loop {
            let found = reader.drain()?;
            for event in found.iter().filter(|event| is_within(event) && is_wanted(&filters, event)) {
                output::line(&form.show(event)?)?;
            }
            // When `until` has come, what came in the moment before it is still to be read.
            match follow.as_ref().filter(|_| more) {
                Some(follow) => more = follow.wait(until, std::io::stdout().as_fd())?,
                None => return Ok(0),
            }
        }
    }
}

fn time(text: &Option<String>) -> Result<Option<Timestamp>> {
    match text.as_deref() {
        None | Some("") => Ok(None),
        Some(text) => moment::parse(text)
            .map(Some)
            .ok_or_else(|| Error::new(format!("failed to parse value as time or duration: {text:?}"))),
    }
}

/// Docker's rules: the beginning of an id or a name is enough for a container or a volume, an image is named whole, with its
/// tag or without.
fn is_wanted(filters: &Filters, event: &Event) -> bool {
    let attribute = |key: &str| event.attributes.get(key).map_or("", String::as_str);
    let is_of = |key: &str| {
        filters.any(key, |wanted| event.id.starts_with(wanted) || attribute("name").starts_with(wanted))
            && (!filters.has(key) || event.kind == key)
    };
    let named = if event.kind == "image" { attribute("name") } else { attribute("image") };
    let is_image = |wanted: &str| {
        [event.id.as_str(), named].into_iter().any(|name| name == wanted || reference::split(name).0 == wanted)
    };
    let acts = |wanted: &str| {
        // These three end in words of their own.
        let begins = ["health_status", "exec_create", "exec_start"].contains(&wanted);
        event.action == wanted || begins && event.action.starts_with(wanted)
    };
    filters.any("type", |wanted| event.kind == wanted)
        && filters.any("scope", |wanted| wanted == "local")
        && filters.any("event", acts)
        && is_of("container")
        && is_of("volume")
        && is_of("network")
        && filters.any("image", is_image)
        && filters.labels(&event.attributes)
}

/// How an event is shown.
enum Form {
    Line,
    Json,
    Template(Template),
}

impl Form {
    fn of(format: Option<&str>) -> Result<Form> {
        match format {
            None | Some("") => Ok(Form::Line),
            Some("json" | "{{json .}}") => Ok(Form::Json),
            Some(text) => Template::parse(text).map(Form::Template),
        }
    }

    fn show(&self, event: &Event) -> Result<String> {
        match self {
            Form::Line => Ok(output::printable(&line(event))),
            Form::Json => Ok(as_json(event).to_string()),
            Form::Template(template) => template.execute(&Datum::of(&as_struct(event)), Fields::OfObject),
        }
    }
}

/// Docker's line, with the local time.
fn line(event: &Event) -> String {
    let attributes: Vec<String> = event.attributes.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let attributes = if attributes.is_empty() { String::new() } else { format!(" ({})", attributes.join(", ")) };
    format!("{} {} {} {}{attributes}", local(event.time), event.kind, event.action, event.id)
}

fn local(nanoseconds: i64) -> String {
    let time = Timestamp::from_nanosecond(i128::from(nanoseconds)).unwrap_or_default().to_zoned(TimeZone::system());
    let zone = if time.offset().is_zero() { "Z".to_owned() } else { time.strftime("%:z").to_string() };
    format!("{}{zone}", time.strftime("%Y-%m-%dT%H:%M:%S%.9f"))
}

/// The fields that Docker has had since before an event had an actor, which go before the others.
fn early(event: &Event) -> [(&'static str, &'static str, String); 3] {
    let is = |kinds: &[&str], text: &str| if kinds.contains(&event.kind.as_str()) { text } else { "" }.to_owned();
    let image = event.attributes.get("image").map_or("", String::as_str);
    [
        ("Status", "status", is(&["container", "image"], &event.action)),
        ("ID", "id", is(&["container", "image"], &event.id)),
        ("From", "from", is(&["container"], image)),
    ]
}

/// With the keys of Docker's API.
fn as_json(event: &Event) -> Value {
    let mut object = serde_json::Map::new();
    for (_, key, value) in early(event).into_iter().filter(|(_, _, value)| !value.is_empty()) {
        object.insert(key.to_owned(), value.into());
    }
    let actor = json!({"ID": event.id, "Attributes": event.attributes});
    for (key, value) in [
        ("Type", json!(event.kind)),
        ("Action", json!(event.action)),
        ("Actor", actor),
        ("scope", json!("local")),
        ("time", json!(event.time / 1_000_000_000)),
        ("timeNano", json!(event.time)),
    ] {
        object.insert(key.to_owned(), value);
    }
    Value::Object(object)
}

/// With the names that a template knows the same by.
fn as_struct(event: &Event) -> Value {
    let mut object = serde_json::Map::new();
    for (name, _, value) in early(event) {
        object.insert(name.to_owned(), value.into());
    }
    if let Value::Object(rest) = as_json(event) {
        for (key, value) in rest {
            match key.as_str() {
                "status" | "id" | "from" => {}
                "scope" => drop(object.insert("Scope".to_owned(), value)),
                "time" => drop(object.insert("Time".to_owned(), value)),
                "timeNano" => drop(object.insert("TimeNano".to_owned(), value)),
                _ => drop(object.insert(key, value)),
            }
        }
    }
    Value::Object(object)
}
