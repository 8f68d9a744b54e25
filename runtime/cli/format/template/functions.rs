//! The functions that a template may call: Go's own, and those that Docker adds.

use super::compare;
use super::datum::Datum;
use super::print;
use super::printf::printf;
use super::{Fields, too_long};
use crate::cli::output;
use crate::store::bounds;
use std::cmp::Ordering;

/// Every function, how many arguments it takes, and of what type; a function with no most takes any number more.
/// `and` and `or` do not look at all of their arguments (eval.rs).
const KNOWN: &[(&str, usize, Option<usize>, &[Type])] = &[
    ("and", 1, None, &[]),
    ("eq", 1, None, &[]),
    ("ge", 2, Some(2), &[]),
    ("gt", 2, Some(2), &[]),
    ("html", 0, None, &[]),
    ("index", 1, None, &[]),
    ("join", 2, Some(2), &[Type::List, Type::Text]),
    ("js", 0, None, &[]),
    ("json", 1, Some(1), &[]),
    ("le", 2, Some(2), &[]),
    ("len", 1, Some(1), &[]),
    ("lower", 1, Some(1), &[Type::Text]),
    ("lt", 2, Some(2), &[]),
    ("ne", 2, Some(2), &[]),
    ("not", 1, Some(1), &[]),
    ("or", 1, None, &[]),
    ("pad", 3, Some(3), &[Type::Text, Type::Whole, Type::Whole]),
    ("print", 0, None, &[]),
    ("printf", 1, None, &[Type::Text]),
    ("println", 0, None, &[]),
    ("slice", 1, None, &[]),
    ("split", 2, Some(2), &[Type::Text, Type::Text]),
    ("title", 1, Some(1), &[Type::Text]),
    ("truncate", 2, Some(2), &[Type::Text, Type::Whole]),
    ("upper", 1, Some(1), &[Type::Text]),
    ("urlquery", 0, None, &[]),
];

#[derive(Clone, Copy, PartialEq)]
enum Type {
    Text,
    Whole,
    List,
}

pub fn is_known(name: &str) -> bool {
    KNOWN.iter().any(|(known, ..)| *known == name)
}

/// Whether the function `name` can be called with so many arguments.
pub fn check_count(name: &str, count: usize) -> Result<(), String> {
    let wrong = |wanted: String| Err(format!("wrong number of args for {name}: want {wanted} got {count}"));
    match KNOWN.iter().find(|(known, ..)| *known == name) {
        Some((_, least, Some(most), _)) if count < *least || count > *most => wrong(most.to_string()),
        Some((_, least, None, _)) if count < *least => wrong(format!("at least {least}")),
        _ => Ok(()),
    }
}

/// Whether the argument at `place` is of the type that the function wants. `literal` is how it was written, where it was.
pub fn check_type(
    name: &str,
    place: usize,
    value: &Datum,
    literal: Option<String>,
    fields: Fields,
) -> Result<(), String> {
    let wanted = KNOWN.iter().find(|(known, ..)| *known == name).and_then(|(.., types)| types.get(place));
    let (is_right, wanted) = match (wanted, value) {
        // A table's header line has strings where its rows may have something else.
        (Some(Type::List), Datum::Text(_)) if fields == Fields::OfHeader => return Ok(()),
        (None, _) => return Ok(()),
        (Some(Type::Text), value) => (matches!(value, Datum::Text(_)), "string"),
        (Some(Type::Whole), value) => (matches!(value, Datum::Int(_)), "int"),
        (Some(Type::List), value) => (matches!(value, Datum::List(_)), "[]string"),
    };
    match (is_right, literal) {
        (true, _) => Ok(()),
        (false, Some(literal)) => {
            let wanted = if wanted == "int" { "integer" } else { wanted };
            Err(format!("expected {wanted}; found {literal}"))
        }
        (false, None) => match value {
            Datum::Missing => Err(format!("invalid value; expected {wanted}")),
            value => Err(format!("wrong type for value; expected {wanted}; got {}", value.kind())),
        },
    }
}

/// Calls the function `name`. In a table's header line, what would change a value leaves the header as it is.
pub fn call(name: &str, values: &[Datum], fields: Fields) -> Result<Datum, String> {
    let in_header = fields == Fields::OfHeader;
    let truth = |ordering: fn(Ordering) -> bool| match values {
        [a, b] => compare::order(a, b).map(|found| Datum::Bool(ordering(found))),
        _ => Err(format!("wrong number of args for {name}")),
    };
    match (name, values) {
        ("json" | "title" | "lower" | "upper", [value]) | ("truncate", [value, _]) if in_header => Ok(value.clone()),
        ("json", [value]) => Ok(Datum::text(output::in_json(&value.to_json().to_string()))),
        ("upper", [value]) => Ok(Datum::text(text(name, value)?.to_uppercase())),
        ("lower", [value]) => Ok(Datum::text(text(name, value)?.to_lowercase())),
        ("title", [value]) => Ok(Datum::text(title(text(name, value)?))),
        ("split", [value, separator]) => Ok(split(text(name, value)?, text(name, separator)?)),
        ("join", [list, separator]) => join(list, text(name, separator)?),
        ("pad", [value, before, after]) => pad(text(name, value)?, whole(name, before)?, whole(name, after)?),
        ("truncate", [value, length]) => truncate(text(name, value)?, whole(name, length)?),
        ("not", [value]) => Ok(Datum::Bool(!value.is_true())),
        ("len", [value]) => length(value).map(Datum::Int),
        ("index", [Datum::Missing, ..]) => Err("index of untyped nil".into()),
        ("index", [value, keys @ ..]) => keys.iter().try_fold(value.clone(), |value, key| index(&value, key)),
        ("slice", [value]) => Ok(value.clone()),
        ("slice", [value, ends @ ..]) => slice(value, ends),
        ("print", values) => Ok(Datum::text(print::joined(values))),
        ("println", values) => Ok(Datum::text(values.iter().map(print::plain).collect::<Vec<_>>().join(" ") + "\n")),
        ("printf", [format, values @ ..]) => printf(text(name, format)?, values).map(Datum::text),
        ("html", values) => Ok(Datum::text(html(&spoken(values)))),
        ("js", values) => Ok(Datum::text(script(&spoken(values)))),
        ("urlquery", values) => Ok(Datum::text(url_query(&spoken(values)))),
        ("eq", values) => compare::equal(values).map(Datum::Bool),
        ("ne", [_, _]) => compare::equal(values).map(|equal| Datum::Bool(!equal)),
        ("lt", _) => truth(Ordering::is_lt),
        ("le", _) => truth(Ordering::is_le),
        ("gt", _) => truth(Ordering::is_gt),
        ("ge", _) => truth(Ordering::is_ge),
        (name, _) => Err(format!("wrong number of args for {name}")),
    }
}

fn text<'a>(name: &str, value: &'a Datum) -> Result<&'a str, String> {
    match value {
        Datum::Text(text) => Ok(text),
        other => Err(format!("wrong type for value of {name}; expected string; got {}", other.kind())),
    }
}

fn whole(name: &str, value: &Datum) -> Result<usize, String> {
    const MOST: i64 = 1_000_000;
    match value {
        Datum::Int(number) if (0..=MOST).contains(number) => Ok(*number as usize),
        Datum::Int(number) => Err(format!("{name}: {number} is out of range")),
        other => Err(format!("wrong type for value of {name}; expected int; got {}", other.kind())),
    }
}

/// Every word begins with a capital, the rest stays.
fn title(text: &str) -> String {
    let mut inside_word = false;
    let mut titled = String::new();
    for letter in text.chars() {
        if inside_word {
            titled.push(letter);
        } else {
            titled.extend(letter.to_uppercase());
        }
        inside_word = letter.is_alphanumeric() || letter == '_' || letter == '\'';
    }
    titled
}

fn split(text: &str, separator: &str) -> Datum {
    let parts: Vec<Datum> = match separator {
        "" => text.chars().map(|letter| Datum::text(letter.to_string())).collect(),
        separator => text.split(separator).map(Datum::text).collect(),
    };
    Datum::list(parts)
}

fn join(list: &Datum, separator: &str) -> Result<Datum, String> {
    match list {
        Datum::List(items) => {
            let items = items.as_ref().map_or(&[][..], |items| items.as_slice());
            if items.len().saturating_mul(separator.len()) > bounds::TEMPLATE {
                return Err(too_long());
            }
            Ok(Datum::text(items.iter().map(print::plain).collect::<Vec<_>>().join(separator)))
        }
        // A table's headers are strings where the rows may have lists.
        Datum::Text(_) => Ok(list.clone()),
        other => Err(format!("expected slice, got {}", other.kind())),
    }
}

fn pad(text: &str, before: usize, after: usize) -> Result<Datum, String> {
    match text {
        "" => Ok(Datum::text("")),
        text => Ok(Datum::text(format!("{}{text}{}", " ".repeat(before), " ".repeat(after)))),
    }
}

fn truncate(text: &str, length: usize) -> Result<Datum, String> {
    Ok(Datum::text(text.chars().take(length).collect::<String>()))
}

fn length(value: &Datum) -> Result<i64, String> {
    match value {
        Datum::Text(text) => Ok(text.len() as i64),
        Datum::List(items) => Ok(items.as_ref().map_or(0, |items| items.len() as i64)),
        Datum::Map(entries) => Ok(entries.as_ref().map_or(0, |entries| entries.len() as i64)),
        Datum::Missing | Datum::Nil => Err("len of nil pointer".into()),
        other => Err(format!("len of type {}", other.kind())),
    }
}

fn index(value: &Datum, key: &Datum) -> Result<Datum, String> {
    match (value, key) {
        (Datum::List(items), Datum::Int(place)) => {
            let items = items.as_ref().map_or(&[][..], |items| items.as_slice());
            let found = usize::try_from(*place).ok().and_then(|place| items.get(place));
            found.cloned().ok_or_else(|| format!("index out of range: {place}"))
        }
        (Datum::Text(text), Datum::Int(place)) => {
            let found = usize::try_from(*place).ok().and_then(|place| text.as_bytes().get(place));
            found.map(|byte| Datum::Int(i64::from(*byte))).ok_or_else(|| format!("index out of range: {place}"))
        }
        (Datum::Map(entries), Datum::Text(key)) => {
            let Some(entries) = entries else { return Ok(Datum::text("")) };
            // Go gives the zero value of the map's type: of a map of strings, as Labels are, the empty one.
            let zero = if entries.values().all(|value| matches!(value, Datum::Text(_))) {
                Datum::text("")
            } else {
                Datum::Missing
            };
            Ok(entries.get(&**key).cloned().unwrap_or(zero))
        }
        (Datum::Missing | Datum::Nil, _) => Err("index of untyped nil".into()),
        (Datum::List(_) | Datum::Text(_), key) => Err(format!("cannot index slice/array with type {}", key.kind())),
        (Datum::Map(_), key) => Err(format!("value has type {}; should be string", key.kind())),
        (other, _) => Err(format!("can't index item of type {}", other.kind())),
    }
}

fn slice(value: &Datum, ends: &[Datum]) -> Result<Datum, String> {
    let length = match value {
        Datum::Text(_) | Datum::List(_) => length(value)? as usize,
        other => return Err(format!("can't slice item of type {}", other.kind())),
    };
    let end = |place: usize, otherwise: usize| match ends.get(place) {
        None => Ok(otherwise),
        Some(Datum::Int(number)) => match usize::try_from(*number) {
            Ok(number) if number <= length => Ok(number),
            _ => Err(format!("index out of range: {number}")),
        },
        Some(other) => Err(format!("cannot index slice/array with type {}", other.kind())),
    };
    let (from, to) = (end(0, 0)?, end(1, length)?);
    if from > to {
        return Err(format!("invalid slice index: {from} > {to}"));
    }
    match value {
        Datum::Text(text) => match text.get(from..to) {
            Some(part) => Ok(Datum::text(part)),
            None => Err(format!("slice {from}:{to} cuts a character")),
        },
        Datum::List(items) => Ok(Datum::list(items.as_ref().map_or(Vec::new(), |items| items[from..to].to_vec()))),
        other => Ok(other.clone()),
    }
}

/// For the inside of a JavaScript string.
fn script(text: &str) -> String {
    let mut escaped = String::new();
    for letter in text.chars() {
        match letter {
            '\\' => escaped.push_str("\\\\"),
            '\'' => escaped.push_str("\\'"),
            '"' => escaped.push_str("\\\""),
            '<' | '>' | '&' | '=' => escaped.push_str(&format!("\\u{:04X}", letter as u32)),
            control if (control as u32) < 0x20 => escaped.push_str(&format!("\\u{:04X}", control as u32)),
            letter => escaped.push(letter),
        }
    }
    escaped
}

/// What is escaped: the values as `print` has them, except that what is not there is said so.
fn spoken(values: &[Datum]) -> String {
    let said = |value: &Datum| match value {
        Datum::Missing => Datum::text("<no value>"),
        value => value.clone(),
    };
    print::joined(&values.iter().map(said).collect::<Vec<_>>())
}

fn html(text: &str) -> String {
    let mut escaped = String::new();
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&#34;"),
            '\'' => escaped.push_str("&#39;"),
            letter => escaped.push(letter),
        }
    }
    escaped
}

fn url_query(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b' ' => escaped.push('+'),
            b'-' | b'_' | b'.' | b'~' => escaped.push(byte as char),
            byte if byte.is_ascii_alphanumeric() => escaped.push(byte as char),
            byte => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}
