//! What a template says, as a tree; printed as Go prints it in its error messages.

use std::fmt;

#[derive(Debug)]
pub enum Node {
    Text(String),
    Action(Pipe),
    If(Branch),
    With(Branch),
    Range(Branch),
    Break,
    Continue,
}

#[derive(Debug)]
pub struct Branch {
    pub pipe: Pipe,
    pub body: Vec<Node>,
    pub otherwise: Vec<Node>,
}

/// `$x := .A | upper`
#[derive(Debug)]
pub struct Pipe {
    pub variables: Vec<String>,
    /// `=` and not `:=`.
    pub assigns: bool,
    pub commands: Vec<Command>,
}

/// One step of a pipeline: a function or a value, and its arguments.
#[derive(Debug)]
pub struct Command {
    pub words: Vec<Operand>,
}

#[derive(Debug)]
pub struct Operand {
    pub what: What,
    /// Where Go says that it is.
    pub position: usize,
}

#[derive(Debug)]
pub enum What {
    Dot,
    Nil,
    Bool(bool),
    Int(i64, String),
    Float(f64, String),
    /// Its value, and as written.
    Text(String, String),
    Function(String),
    /// `.A.B`
    Field(Vec<String>),
    /// `$x.A.B`
    Variable(String, Vec<String>),
    Pipe(Pipe),
    /// `(…).A.B`
    Chain(Box<Operand>, Vec<String>),
}

impl Pipe {
    pub fn position(&self) -> usize {
        self.commands.first().map_or(0, Command::position)
    }
}

impl Command {
    pub fn position(&self) -> usize {
        self.words.first().map_or(0, |word| word.position)
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields =
            |f: &mut fmt::Formatter<'_>, names: &[String]| names.iter().try_for_each(|name| write!(f, ".{name}"));
        match &self.what {
            What::Dot => f.write_str("."),
            What::Nil => f.write_str("nil"),
            What::Bool(value) => write!(f, "{value}"),
            What::Int(_, text) | What::Float(_, text) | What::Text(_, text) => f.write_str(text),
            What::Function(name) => f.write_str(name),
            What::Field(names) => fields(f, names),
            What::Variable(name, names) => {
                f.write_str(name)?;
                fields(f, names)
            }
            What::Pipe(pipe) => write!(f, "({pipe})"),
            What::Chain(inner, names) => {
                write!(f, "{inner}")?;
                fields(f, names)
            }
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<_> = self.words.iter().map(ToString::to_string).collect();
        f.write_str(&words.join(" "))
    }
}

impl fmt::Display for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.variables.is_empty() {
            let sign = if self.assigns { "=" } else { ":=" };
            write!(f, "{} {sign} ", self.variables.join(", "))?;
        }
        let commands: Vec<_> = self.commands.iter().map(ToString::to_string).collect();
        f.write_str(&commands.join(" | "))
    }
}
