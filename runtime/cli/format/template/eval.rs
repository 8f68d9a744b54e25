//! Walks the tree with the data at hand.

use super::datum::{Datum, go_name, left_out};
use super::tree::{Branch, Command, Node, Operand, Pipe, What};
use super::{Fault, Fields, functions, print, too_long};
use crate::cli::output;
use crate::store::bounds;
use std::collections::BTreeMap;
use std::rc::Rc;

pub fn execute(nodes: &[Node], data: &Datum, fields: Fields) -> Result<String, Fault> {
    let mut walk =
        Walk { shown: String::new(), variables: vec![("$".into(), data.clone())], fields, spent: 0, raw: false };
    walk.list(nodes, data)?;
    Ok(walk.shown)
}

struct Walk {
    shown: String,
    /// The innermost last.
    variables: Vec<(String, Datum)>,
    fields: Fields,
    /// Bytes that all values together have taken.
    spent: usize,
    /// Whether a function is being called that escapes for itself, or shows nothing of what it is given.
    raw: bool,
}

/// The functions that are given an image's or a container's words as they are.
const RAW: [&str; 10] = ["json", "js", "urlquery", "len", "eq", "ne", "lt", "le", "gt", "ge"];

/// What one round of a loop counts as, beside what it makes.
const ROUND: usize = 64;

/// How a list of nodes ended.
#[derive(PartialEq)]
enum Flow {
    On,
    Break,
    Continue,
}

impl Walk {
    fn list(&mut self, nodes: &[Node], dot: &Datum) -> Result<Flow, Fault> {
        for node in nodes {
            let flow = match node {
                Node::Text(text) => {
                    self.spend(text.len()).map_err(|message| fault(0, &"text", message))?;
                    self.shown.push_str(text);
                    Flow::On
                }
                Node::Action(pipe) => {
                    let value = self.pipe(pipe, dot)?;
                    if pipe.variables.is_empty() {
                        self.spend(value.weight()).map_err(|message| fault(pipe.position(), pipe, message))?;
                        self.shown.push_str(&print::shown(&value));
                    }
                    Flow::On
                }
                Node::If(branch) => self.choice(branch, dot, false)?,
                Node::With(branch) => self.choice(branch, dot, true)?,
                Node::Range(branch) => self.range(branch, dot)?,
                Node::Break => Flow::Break,
                Node::Continue => Flow::Continue,
            };
            if flow != Flow::On {
                return Ok(flow);
            }
        }
        Ok(Flow::On)
    }

    /// Refuses what would take more than a template may, before it is made.
    fn spend(&mut self, bytes: usize) -> Result<(), String> {
        self.spent = self.spent.saturating_add(bytes);
        if self.spent > bounds::TEMPLATE { Err(too_long()) } else { Ok(()) }
    }

    /// `if` and `with`, which differ in what the dot is inside.
    fn choice(&mut self, branch: &Branch, dot: &Datum, moves_dot: bool) -> Result<Flow, Fault> {
        let depth = self.variables.len();
        let value = self.pipe(&branch.pipe, dot)?;
        let flow = match value.is_true() {
            true => self.list(&branch.body, if moves_dot { &value } else { dot }),
            false => self.list(&branch.otherwise, dot),
        };
        self.variables.truncate(depth);
        flow
    }

    fn range(&mut self, branch: &Branch, dot: &Datum) -> Result<Flow, Fault> {
        let depth = self.variables.len();
        let value = self.pipe(&branch.pipe, dot)?;
        let pairs: Box<dyn Iterator<Item = (Datum, Datum)>> = match &value {
            Datum::List(items) => {
                let items = items.as_ref().map_or(&[][..], |items| items.as_slice());
                Box::new(items.iter().enumerate().map(|(index, item)| (Datum::Int(index as i64), item.clone())))
            }
            Datum::Map(entries) => {
                let entries = entries.iter().flat_map(|entries| entries.iter());
                Box::new(entries.map(|(key, value)| (Datum::text(key), value.clone())))
            }
            Datum::Int(count) => Box::new((0..*count).map(|number| (Datum::Int(number), Datum::Int(number)))),
            Datum::Missing | Datum::Nil => Box::new(std::iter::empty()),
            other => {
                let message = format!("range can't iterate over {}", print::plain(other));
                return Err(fault(branch.pipe.position(), &branch.pipe, message));
            }
        };
        let mut is_empty = true;
        for (key, item) in pairs {
            is_empty = false;
            self.spend(ROUND).map_err(|message| fault(branch.pipe.position(), &branch.pipe, message))?;
            self.bind(branch, depth, &key, &item);
            let flow = self.list(&branch.body, &item)?;
            self.variables.truncate(depth + branch.pipe.variables.len());
            if flow == Flow::Break {
                break;
            }
        }
        self.variables.truncate(depth);
        if is_empty { self.list(&branch.otherwise, dot) } else { Ok(Flow::On) }
    }

    /// One variable is the element, two are the key and the element.
    fn bind(&mut self, branch: &Branch, depth: usize, key: &Datum, item: &Datum) {
        let values = if branch.pipe.variables.len() == 2 { vec![key, item] } else { vec![item] };
        for (place, (name, value)) in branch.pipe.variables.iter().zip(values).enumerate() {
            if branch.pipe.assigns {
                self.assign(name, value.clone());
            } else if let Some(slot) = self.variables.get_mut(depth + place) {
                slot.1 = value.clone();
            }
        }
    }

    fn assign(&mut self, name: &str, value: Datum) {
        if let Some(slot) = self.variables.iter_mut().rev().find(|(known, _)| known == name) {
            slot.1 = value;
        }
    }

    fn pipe(&mut self, pipe: &Pipe, dot: &Datum) -> Result<Datum, Fault> {
        let mut value = None;
        let before = self.raw;
        self.raw |= pipe.commands.last().is_some_and(is_raw);
        for command in &pipe.commands {
            value = Some(self.command(command, dot, value)?);
        }
        self.raw = before;
        let value = value.unwrap_or(Datum::Missing);
        for name in &pipe.variables {
            match pipe.assigns {
                true => self.assign(name, value.clone()),
                false => self.variables.push((name.clone(), value.clone())),
            }
        }
        Ok(value)
    }

    /// One step of a pipeline; `piped` is what the step before it gave.
    fn command(&mut self, command: &Command, dot: &Datum, piped: Option<Datum>) -> Result<Datum, Fault> {
        let Some(first) = command.words.first() else { return Ok(Datum::Missing) };
        if let What::Function(name) = &first.what {
            return self.call(name, command, dot, piped);
        }
        if let (What::Field(names), Datum::Struct(row), [_, key], None) = (&first.what, dot, &command.words[..], &piped)
            && self.fields != Fields::OfObject
            && *names == ["Label"]
        {
            let key = self.operand(key, dot)?;
            let key = print::plain(&key);
            return Ok(if self.fields == Fields::OfHeader {
                label_header(&key)
            } else {
                self.foreign(label(row, &key))
            });
        }
        if command.words.len() > 1 || piped.is_some() {
            let message = match &first.what {
                What::Field(names) | What::Chain(_, names) => {
                    let name = names.last().map_or("", String::as_str);
                    format!("{name} is not a method but has arguments")
                }
                _ => format!("can't give argument to non-function {first}"),
            };
            return Err(fault(first.position, first, message));
        }
        if matches!(first.what, What::Nil) {
            return Err(fault(first.position, first, "nil is not a command"));
        }
        self.operand(first, dot)
    }

    fn call(&mut self, name: &str, command: &Command, dot: &Datum, piped: Option<Datum>) -> Result<Datum, Fault> {
        let words = &command.words[1..];
        // As Go, which finds fault with the number of arguments before it looks at any, and names the function alone.
        functions::check_count(name, words.len() + usize::from(piped.is_some()))
            .map_err(|message| fault(command.position(), &name, message))?;
        let stops_at = match name {
            "and" => Some(false),
            "or" => Some(true),
            _ => None,
        };
        let mut values = Vec::new();
        for (place, word) in words.iter().enumerate() {
            let value = self.operand(word, dot)?;
            let is_literal = matches!(word.what, What::Bool(_) | What::Int(..) | What::Float(..) | What::Text(..));
            functions::check_type(name, place, &value, is_literal.then(|| word.to_string()), self.fields)
                .map_err(|message| fault(word.position, word, message))?;
            if stops_at == Some(value.is_true()) {
                return Ok(value);
            }
            values.push(value);
        }
        if let Some(value) = &piped {
            functions::check_type(name, words.len(), value, None, self.fields)
                .map_err(|message| fault(command.position(), command, message))?;
        }
        values.extend(piped);
        if let (Some(_), Some(last)) = (stops_at, values.last()) {
            return Ok(last.clone());
        }
        self.spend(values.iter().map(Datum::weight).sum())
            .and_then(|()| functions::call(name, &values, self.fields))
            .and_then(|answer| self.spend(answer.weight()).map(|()| answer))
            .map_err(|message| fault(command.position(), command, format!("error calling {name}: {message}")))
    }

    fn operand(&mut self, operand: &Operand, dot: &Datum) -> Result<Datum, Fault> {
        match &operand.what {
            What::Dot => Ok(self.foreign(dot.clone())),
            What::Nil => Ok(Datum::Missing),
            What::Bool(value) => Ok(Datum::Bool(*value)),
            What::Int(number, _) => Ok(Datum::Int(*number)),
            What::Float(number, _) => Ok(Datum::Float(*number)),
            What::Text(value, _) => Ok(Datum::text(value)),
            What::Field(names) => Ok(self.foreign(self.fields(dot.clone(), names, operand)?)),
            What::Variable(name, names) => {
                let value = self.variables.iter().rev().find(|(known, _)| known == name);
                let value = value.map_or(Datum::Missing, |(_, value)| value.clone());
                let value = self.fields(value, names, operand)?;
                // The others hold what the template itself made of something.
                Ok(if name == "$" { self.foreign(value) } else { value })
            }
            What::Pipe(pipe) => self.pipe(pipe, dot),
            What::Chain(inner, names) => {
                let value = self.operand(inner, dot)?;
                self.fields(value, names, operand)
            }
            What::Function(name) => functions::check_count(name, 0)
                .and_then(|()| functions::call(name, &[], self.fields))
                .map_err(|message| fault(operand.position, operand, message)),
        }
    }

    /// What an image or a container chose, as the reader may be shown it.
    fn foreign(&self, value: Datum) -> Datum {
        match self.fields {
            _ if self.raw => value,
            Fields::OfHeader => value,
            Fields::OfRow => value.map_texts(output::in_row),
            Fields::OfObject => value.map_texts(output::in_text),
        }
    }

    fn fields(&self, value: Datum, names: &[String], operand: &Operand) -> Result<Datum, Fault> {
        let mut value = value;
        let mut before = "";
        for name in names {
            value = self.field(&value, before, name).map_err(|(message, is_missing_field)| Fault {
                position: operand.position,
                node: operand.to_string(),
                message,
                is_missing_field,
            })?;
            before = name;
        }
        Ok(value)
    }

    /// Docker's structs answer to Go's names of their fields as well as to those of their JSON.
    fn is_called(&self, known: &str, name: &str) -> bool {
        known == name || self.fields == Fields::OfObject && go_name(known) == Some(name)
    }

    /// The field `name` of `value`, which was found under `before`.
    fn field(&self, value: &Datum, before: &str, name: &str) -> Result<Datum, (String, bool)> {
        match value {
            Datum::Struct(_) if self.fields == Fields::OfObject && value.embeds(name) => Ok(value.clone()),
            Datum::Struct(fields) => match fields.iter().find(|(known, _)| self.is_called(known, name)) {
                Some((_, Datum::Omitted(_))) | None if self.fields == Fields::OfObject => {
                    left_out(name).ok_or_else(|| (format!("map has no entry for key {name:?}"), true))
                }
                Some((_, found)) => Ok(found.clone()),
                None => Err((format!("can't evaluate field {name} in type row"), true)),
            },
            Datum::Map(entries) => {
                let found = entries.as_ref().and_then(|entries: &Rc<BTreeMap<String, Datum>>| entries.get(name));
                Ok(found.cloned().unwrap_or(Datum::Missing))
            }
            Datum::Missing => Ok(Datum::Missing),
            // An optional part that this object has not (`.State.Health.Status`): Docker names the part.
            Datum::Nil => Err((format!("map has no entry for key {before:?}"), false)),
            _ if self.fields == Fields::OfObject => {
                Err((format!("can't evaluate field {name} in type interface {{}}"), false))
            }
            other => Err((format!("can't evaluate field {name} in type {}", other.kind()), false)),
        }
    }
}

fn is_raw(command: &Command) -> bool {
    matches!(command.words.first().map(|word| &word.what), Some(What::Function(name)) if RAW.contains(&name.as_str()))
}

/// `{{.Label "key"}}`, the one method that Docker's rows have: a label out of `Labels`, `a=1,b=2`. A value may itself
/// have commas in it.
fn label(row: &[(String, Datum)], key: &str) -> Datum {
    let labels =
        row.iter().find(|(name, _)| name == "Labels").map(|(_, labels)| print::plain(labels)).unwrap_or_default();
    let mut value: Option<String> = None;
    for part in labels.split(',') {
        match (part.split_once('='), &mut value) {
            (Some(_), Some(_)) => break,
            (None, Some(value)) => value.push_str(&format!(",{part}")),
            (Some((name, found)), None) if name == key => value = Some(found.to_owned()),
            _ => {}
        }
    }
    Datum::text(value.unwrap_or_default())
}

/// Docker's header of a label's column: what follows the last dot of its key, in words.
fn label_header(key: &str) -> Datum {
    let last = key.rsplit('.').next().unwrap_or_default();
    Datum::text(last.replace(['-', '_'], " "))
}

fn fault(position: usize, node: &impl ToString, message: impl Into<String>) -> Fault {
    Fault { position, node: node.to_string(), message: message.into(), is_missing_field: false }
}
