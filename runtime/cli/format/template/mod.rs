//! Go's text/template, as far as `--format` uses it.
//!
//! The text is cut into tokens (lexer.rs), the tokens become a tree (parser.rs, over tree.rs), and the tree is walked
//! with the data at hand (eval.rs, functions.rs). datum.rs holds values as Go would, print.rs shows them as Go does.

mod compare;
mod datum;
mod eval;
mod functions;
mod lexer;
mod literal;
mod parser;
mod print;
mod printf;
mod tree;

pub use datum::Datum;
pub use print::quoted;

use crate::error::{Error, Result};
use crate::store::bounds;
use serde_json::Value;

/// Fills `template` with `value`, as `inspect --format` does. No newline is added.
pub fn render(template: &str, value: &Value) -> Result<String> {
    Template::parse(template)?.execute(&Datum::of(value), Fields::OfObject)
}

/// A template that has been read.
#[derive(Debug)]
pub struct Template {
    text: String,
    nodes: Vec<tree::Node>,
}

/// What a field that does not exist is, which decides the words of the error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fields {
    /// `inspect`: a key of the object's JSON.
    OfObject,
    /// A column of a table.
    OfRow,
    /// The header of a column: functions that change a value leave it alone.
    OfHeader,
}

impl Template {
    pub fn parse(text: &str) -> Result<Template> {
        let (tokens, unread) = lexer::tokens(text);
        let nodes = match (parser::parse(tokens), unread) {
            (Err(fault), Some(unread)) if fault.position < unread.position => Err(fault),
            (_, Some(unread)) => Err(unread),
            (nodes, None) => nodes,
        };
        match nodes {
            Ok(nodes) => Ok(Template { text: text.to_owned(), nodes }),
            Err(fault) => {
                let line = line_of(text, fault.position);
                Err(Error::new(format!("template parsing error: template: :{line}: {}", fault.message)))
            }
        }
    }

    pub fn execute(&self, data: &Datum, fields: Fields) -> Result<String> {
        eval::execute(&self.nodes, data, fields).map_err(|fault| {
            let line = line_of(&self.text, fault.position);
            let before = self.text.get(..fault.position).unwrap_or("");
            let column = before.len() - before.rfind('\n').map_or(0, |newline| newline + 1);
            let error = Error::new(format!(
                "template parsing error: template: :{line}:{column}: executing \"\" at <{}>: {}",
                fault.node, fault.message
            ));
            match data {
                Datum::Struct(known) if fault.is_missing_field && fields != Fields::OfObject => {
                    let known: Vec<_> = known.iter().map(|(key, _)| format!(".{key}")).collect();
                    error.with_cure(format!("known fields: {}", known.join(" ")))
                }
                _ => error,
            }
        })
    }

    /// The first line of a table: every field is its own header.
    pub fn header(&self, headers: &Value) -> Result<String> {
        self.execute(&Datum::of(headers), Fields::OfHeader)
    }
}

/// The words of what has grown beyond its bound.
fn too_long() -> String {
    format!("the template takes more than {} MiB", bounds::TEMPLATE >> 20)
}

fn line_of(text: &str, position: usize) -> usize {
    1 + text.bytes().take(position).filter(|byte| *byte == b'\n').count()
}

/// Why a template could not be read or filled, and where.
#[derive(Debug)]
struct Fault {
    position: usize,
    /// The node in question, as Go prints it; empty while reading.
    node: String,
    message: String,
    is_missing_field: bool,
}

impl Fault {
    fn at(position: usize, message: impl Into<String>) -> Fault {
        Fault { position, node: String::new(), message: message.into(), is_missing_field: false }
    }
}

#[cfg(test)]
mod tests;
