//! Tokens -> tree.

use super::Fault;
use super::functions;
use super::lexer::{Kind, Token};
use super::literal::{number, unquote};
use super::tree::{Branch, Command, Node, Operand, Pipe, What};

pub fn parse(tokens: Vec<Token>) -> Result<Vec<Node>, Fault> {
    let mut parser = Parser { tokens, at: 0, variables: vec!["$".into()], depth: 0, loops: 0 };
    let (nodes, stop) = parser.list()?;
    match stop {
        Stop::End(_) => Ok(nodes),
        Stop::Word(token) => Err(Fault::at(token.position, format!("unexpected {{{{{}}}}}", token.text))),
    }
}

/// Deeper than any template that a person writes, and far from the end of our stack.
const DEEPEST: usize = 100;

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    /// The variables that are known here.
    variables: Vec<String>,
    depth: usize,
    /// How many `range`s we are in.
    loops: usize,
}

/// What a list of nodes ended at.
enum Stop {
    End(Token),
    /// `end` or `else`, read but not the rest of its action.
    Word(Token),
}

#[derive(Clone, Copy, PartialEq)]
enum Control {
    If,
    With,
    Range,
}

impl Control {
    fn word(self) -> &'static str {
        match self {
            Control::If => "if",
            Control::With => "with",
            Control::Range => "range",
        }
    }
}

impl Parser {
    fn peek(&self) -> &Token {
        // The last token is `End`, which is never stepped over.
        &self.tokens[self.at.min(self.tokens.len() - 1)]
    }

    fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.at += 1;
        token
    }

    fn skip_space(&mut self) {
        while self.peek().kind == Kind::Space {
            self.at += 1;
        }
    }

    fn deeper(&mut self, position: usize) -> Result<(), Fault> {
        self.depth += 1;
        if self.depth > DEEPEST { Err(Fault::at(position, "max expression depth exceeded")) } else { Ok(()) }
    }

    /// Nodes up to `{{end}}`, `{{else}}` or the end of the template.
    fn list(&mut self) -> Result<(Vec<Node>, Stop), Fault> {
        let mut nodes = Vec::new();
        loop {
            let token = self.next();
            match token.kind {
                Kind::Text => nodes.push(Node::Text(token.text)),
                Kind::Left => {
                    self.skip_space();
                    let word = self.peek().clone();
                    match (word.kind, word.text.as_str()) {
                        (Kind::Word, "end" | "else") => {
                            self.at += 1;
                            return Ok((nodes, Stop::Word(word)));
                        }
                        _ => nodes.push(self.action(word)?),
                    }
                }
                _ => return Ok((nodes, Stop::End(token))),
            }
        }
    }

    /// One action, after its opening braces.
    fn action(&mut self, word: Token) -> Result<Node, Fault> {
        if word.kind == Kind::Word {
            self.at += 1;
            match word.text.as_str() {
                "if" => return Ok(Node::If(self.branch(Control::If, &word)?)),
                "with" => return Ok(Node::With(self.branch(Control::With, &word)?)),
                "range" => return Ok(Node::Range(self.branch(Control::Range, &word)?)),
                "break" | "continue" => {
                    if self.loops == 0 {
                        return Err(Fault::at(word.position, format!("{{{{{}}}}} outside {{{{range}}}}", word.text)));
                    }
                    self.closing(&word.text)?;
                    return Ok(if word.text == "break" { Node::Break } else { Node::Continue });
                }
                "define" | "template" | "block" => {
                    return Err(Fault::at(word.position, format!("{{{{{}}}}} is not known to ebb", word.text)));
                }
                _ => self.at -= 1,
            }
        }
        let pipe = self.pipeline("command", Kind::Right, 1)?;
        Ok(Node::Action(pipe))
    }

    /// The closing braces of `{{end}}`, `{{else}}`, …
    fn closing(&mut self, context: &str) -> Result<(), Fault> {
        self.skip_space();
        let token = self.next();
        match token.kind {
            Kind::Right => Ok(()),
            _ => Err(unexpected(&token, context)),
        }
    }

    /// `{{if pipe}} … {{else}} … {{end}}`, after its first word.
    fn branch(&mut self, control: Control, word: &Token) -> Result<Branch, Fault> {
        self.deeper(word.position)?;
        let known = self.variables.len();
        let most_variables = if control == Control::Range { 2 } else { 1 };
        let pipe = self.pipeline(control.word(), Kind::Right, most_variables)?;
        self.loops += usize::from(control == Control::Range);
        let (body, stop) = self.list()?;
        self.loops -= usize::from(control == Control::Range);
        let mut otherwise = Vec::new();
        match stop {
            Stop::End(token) => return Err(Fault::at(token.position, "unexpected EOF")),
            Stop::Word(stop) if stop.text == "else" => {
                self.skip_space();
                let chained = self.peek().clone();
                if chained.kind == Kind::Word && chained.text == control.word() && control != Control::Range {
                    // `{{else if …}}` is an `if` inside the `else`, and shares its `{{end}}`.
                    self.at += 1;
                    let inner = self.branch(control, &chained)?;
                    otherwise.push(if control == Control::If { Node::If(inner) } else { Node::With(inner) });
                } else {
                    self.closing("else")?;
                    let (nodes, stop) = self.list()?;
                    otherwise = nodes;
                    match stop {
                        Stop::Word(stop) if stop.text == "end" => self.closing("end")?,
                        Stop::Word(stop) => return Err(Fault::at(stop.position, "expected end; found {{else}}")),
                        Stop::End(token) => return Err(Fault::at(token.position, "unexpected EOF")),
                    }
                }
            }
            Stop::Word(_) => self.closing("end")?,
        }
        self.variables.truncate(known);
        self.depth -= 1;
        Ok(Branch { pipe, body, otherwise })
    }

    /// Commands with `|` between them, up to `end`; before them perhaps `$x :=`.
    fn pipeline(&mut self, context: &str, end: Kind, most_variables: usize) -> Result<Pipe, Fault> {
        self.skip_space();
        self.deeper(self.peek().position)?;
        let (variables, assigns) = self.declaration(context, most_variables)?;
        let mut commands = Vec::new();
        loop {
            self.skip_space();
            let token = self.peek().clone();
            if token.kind == end {
                self.at += 1;
                break;
            }
            if matches!(
                token.kind,
                Kind::Right
                    | Kind::Close
                    | Kind::Pipe
                    | Kind::Comma
                    | Kind::Declare
                    | Kind::Assign
                    | Kind::Other
                    | Kind::End
            ) {
                return Err(unexpected(&token, context));
            }
            let command = self.command()?;
            if let Some(first) = command.words.first().filter(|_| !commands.is_empty()) {
                // What a pipe feeds must be able to eat.
                if !matches!(first.what, What::Function(_)) && !is_field(first) {
                    let place = commands.len() + 1;
                    let message = format!("non executable command in pipeline stage {place}");
                    return Err(Fault::at(first.position, message));
                }
            }
            commands.push(command);
        }
        if commands.is_empty() {
            return Err(Fault::at(self.peek().position, format!("missing value for {context}")));
        }
        self.depth -= 1;
        Ok(Pipe { variables, assigns, commands })
    }

    /// `$x :=`, `$x =`, and for `range` also `$i, $x :=`.
    fn declaration(&mut self, context: &str, most: usize) -> Result<(Vec<String>, bool), Fault> {
        let start = self.at;
        let mut variables = Vec::new();
        while self.peek().kind == Kind::Variable {
            let variable = self.next();
            self.skip_space();
            let sign = self.next();
            variables.push(variable.text);
            match sign.kind {
                Kind::Declare => {
                    self.variables.extend(variables.iter().cloned());
                    return Ok((variables, false));
                }
                Kind::Assign => {
                    for name in &variables {
                        self.known(name, variable.position)?;
                    }
                    return Ok((variables, true));
                }
                Kind::Comma if variables.len() < most => self.skip_space(),
                Kind::Comma => return Err(Fault::at(sign.position, format!("too many declarations in {context}"))),
                _ => break,
            }
        }
        self.at = start;
        Ok((Vec::new(), false))
    }

    fn known(&self, variable: &str, position: usize) -> Result<(), Fault> {
        match self.variables.iter().any(|known| known == variable) {
            true => Ok(()),
            false => Err(Fault::at(position, format!("undefined variable {variable:?}"))),
        }
    }

    fn command(&mut self) -> Result<Command, Fault> {
        let mut words = Vec::new();
        loop {
            self.skip_space();
            if let Some(operand) = self.operand()? {
                words.push(operand);
            }
            let token = self.peek().clone();
            match token.kind {
                Kind::Space => continue,
                Kind::Right | Kind::Close => break,
                Kind::Pipe => {
                    self.at += 1;
                    break;
                }
                _ => return Err(unexpected(&token, "operand")),
            }
        }
        if words.is_empty() { Err(Fault::at(self.peek().position, "empty command")) } else { Ok(Command { words }) }
    }

    /// A term, and the fields that follow it without a space.
    fn operand(&mut self) -> Result<Option<Operand>, Fault> {
        let Some(term) = self.term()? else { return Ok(None) };
        if self.peek().kind != Kind::Field {
            return Ok(Some(term));
        }
        let position = self.peek().position;
        let mut names = Vec::new();
        while self.peek().kind == Kind::Field {
            names.push(self.next().text[1..].to_owned());
        }
        let what = match term.what {
            What::Field(first) => What::Field([first, names].concat()),
            What::Variable(name, first) => What::Variable(name, [first, names].concat()),
            What::Bool(_) | What::Int(..) | What::Float(..) | What::Text(..) | What::Nil | What::Dot => {
                return Err(Fault::at(position, format!("unexpected . after term {:?}", term.to_string())));
            }
            _ => What::Chain(Box::new(term), names),
        };
        Ok(Some(Operand { what, position }))
    }

    fn term(&mut self) -> Result<Option<Operand>, Fault> {
        let token = self.next();
        let position = token.position;
        let what = match token.kind {
            Kind::Word => match token.text.as_str() {
                "true" => What::Bool(true),
                "false" => What::Bool(false),
                "nil" => What::Nil,
                name if functions::is_known(name) => What::Function(token.text),
                name => return Err(Fault::at(position, format!("function {name:?} not defined"))),
            },
            Kind::Dot => What::Dot,
            Kind::Variable => {
                self.known(&token.text, position)?;
                What::Variable(token.text, Vec::new())
            }
            Kind::Field => What::Field(vec![token.text[1..].to_owned()]),
            Kind::Number => number(&token)?,
            Kind::Character => match unquote(&token.text).as_deref().map(|text| text.chars().collect::<Vec<_>>()) {
                Some(letters) if letters.len() == 1 => What::Int(i64::from(u32::from(letters[0])), token.text),
                _ => return Err(Fault::at(position, format!("malformed character constant: {}", token.text))),
            },
            Kind::Quoted => match unquote(&token.text) {
                Some(value) => What::Text(value, token.text),
                None => return Err(Fault::at(position, "invalid syntax")),
            },
            Kind::RawText => What::Text(token.text.trim_matches('`').replace('\r', ""), token.text),
            Kind::Open => What::Pipe(self.pipeline("parenthesized pipeline", Kind::Close, 1)?),
            Kind::End => return Err(Fault::at(position, "unexpected EOF")),
            _ => {
                self.at -= 1;
                return Ok(None);
            }
        };
        Ok(Some(Operand { what, position }))
    }
}

fn is_field(operand: &Operand) -> bool {
    matches!(operand.what, What::Field(_) | What::Variable(..) | What::Chain(..) | What::Pipe(_))
}

fn unexpected(token: &Token, context: &str) -> Fault {
    let what = match token.kind {
        Kind::End => "EOF".to_owned(),
        Kind::Word => format!("<{}>", token.text),
        _ => format!("{:?}", token.text),
    };
    Fault::at(token.position, format!("unexpected {what} in {context}"))
}
