//! What every `inspect` prints: an array of all that was found, or a template filled for each.

use super::template::{Datum, Fields, Template};
use crate::cli::output;
use crate::error::{Doing, Error, Kind, Result};
use serde::Serialize;
use serde_json::Value;

/// Docker's exit code for a template that cannot be read.
const BAD_TEMPLATE: i32 = 64;

/// Finds and prints all of `names`, then reports those that were not found: what a caller of `inspect` parses is whole
/// even then (`[]` where nothing was found).
pub fn print<N: AsRef<str>>(
    names: &[N],
    format: Option<&str>,
    mut find: impl FnMut(&str) -> Result<Value>,
) -> Result<i32> {
    let template = match format.unwrap_or_default().trim() {
        "" | "json" => None,
        text => match Template::parse(text) {
            Ok(template) => Some(template),
            Err(error) => {
                output::complain(&error);
                return Ok(BAD_TEMPLATE);
            }
        },
    };
    let mut errors = Vec::new();
    let mut found = Vec::new();
    let mut shown = String::new();
    for name in names {
        match find(name.as_ref()) {
            Err(error) => errors.push(error),
            Ok(value) => match template.as_ref().map(|template| template.execute(&Datum::of(&value), Fields::OfObject))
            {
                None => found.push(value),
                Some(Ok(text)) => shown.push_str(&(text + "\n")),
                Some(Err(error)) => errors.push(error),
            },
        }
    }
    match format {
        Some(_) if template.is_some() => output::bytes(if shown.is_empty() { b"\n" } else { shown.as_bytes() })?,
        Some("json") => output::line(&output::in_json(&Value::Array(found).to_string()))?,
        _ => output::line(&output::in_json(&indented(&Value::Array(found))?))?,
    }
    for error in &errors {
        match error.message.strip_prefix("Error: ") {
            Some(_) => eprintln!("{}", output::lines(error)),
            None => output::complain(error),
        }
    }
    if errors.is_empty() { Ok(0) } else { Err(Error::of(Kind::Reported, "")) }
}

/// JSON with Docker's indentation of four spaces.
pub fn indented(value: &Value) -> Result<String> {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    value.serialize(&mut serializer).doing(|| "encode the answer")?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
