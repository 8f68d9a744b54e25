//! Cuts a template into tokens: text outside the braces, words inside.

use super::Fault;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    /// `{{` and `}}`
    Left,
    Right,
    /// Space separates arguments: `.A .B` is two, `.A.B` is one.
    Space,
    /// `.Name`, with its dot.
    Field,
    /// `.` alone.
    Dot,
    /// `$` or `$name`.
    Variable,
    Word,
    /// With its quotes.
    Quoted,
    RawText,
    Character,
    Number,
    Pipe,
    Declare,
    Assign,
    Comma,
    Open,
    Close,
    /// A character that means nothing.
    Other,
    End,
}

#[derive(Debug, Clone)]
pub struct Token {
    pub kind: Kind,
    pub text: String,
    /// Its first byte in the template.
    pub position: usize,
}

/// The tokens, `End` last, and what could not be read: the parser may find fault with what stands before it.
pub fn tokens(text: &str) -> (Vec<Token>, Option<Fault>) {
    let mut lexer = Lexer { text, at: 0, tokens: Vec::new() };
    let fault = lexer.outside().err();
    lexer.tokens.push(Token { kind: Kind::End, text: String::new(), position: text.len() });
    (lexer.tokens, fault)
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    tokens: Vec<Token>,
}

const WHITE: [char; 4] = [' ', '\t', '\r', '\n'];

impl Lexer<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    /// The token from `from` to where we are.
    fn push(&mut self, kind: Kind, from: usize) {
        self.tokens.push(Token { kind, text: self.text[from..self.at].to_owned(), position: from });
    }

    /// Text up to the next action, and the actions themselves.
    fn outside(&mut self) -> Result<(), Fault> {
        let mut trim_start = false;
        loop {
            let found = self.rest().find("{{");
            let end = found.map_or(self.text.len(), |index| self.at + index);
            let trim_end = found.is_some() && is_trim_marker(&self.text[end + 2..]);
            let mut text = &self.text[self.at..end];
            if trim_start {
                text = text.trim_start_matches(WHITE);
            }
            if trim_end {
                text = text.trim_end_matches(WHITE);
            }
            if !text.is_empty() {
                self.tokens.push(Token { kind: Kind::Text, text: text.to_owned(), position: self.at });
            }
            self.at = end;
            if found.is_none() {
                return Ok(());
            }
            self.at += if trim_end { 3 } else { 2 };
            trim_start = match self.comment(end)? {
                Some(trims) => trims,
                None => {
                    self.tokens.push(Token { kind: Kind::Left, text: "{{".into(), position: end });
                    self.inside()?
                }
            };
        }
    }

    /// `{{/* … */}}`, and whether it trims what follows it.
    fn comment(&mut self, opened: usize) -> Result<Option<bool>, Fault> {
        let skipped = if self.rest().starts_with(WHITE) { self.rest().trim_start_matches(WHITE) } else { self.rest() };
        let Some(comment) = skipped.strip_prefix("/*") else { return Ok(None) };
        let Some(length) = comment.find("*/") else { return Err(Fault::at(opened, "unclosed comment")) };
        let after = &comment[length + 2..];
        let trims = after.trim_start_matches(WHITE).starts_with("-}}");
        let closed = if trims { after.trim_start_matches(WHITE).strip_prefix("-}}") } else { after.strip_prefix("}}") };
        let Some(rest) = closed else { return Err(Fault::at(opened, "comment ends before closing delimiter")) };
        self.at = self.text.len() - rest.len();
        Ok(Some(trims))
    }

    /// The words of one action, through its closing braces; returns whether these trim the text behind them.
    fn inside(&mut self) -> Result<bool, Fault> {
        let mut depth = 0usize;
        loop {
            let from = self.at;
            let trims = self.rest().starts_with(WHITE) && self.rest().trim_start_matches(WHITE).starts_with("-}}");
            if depth > 0 && (trims || self.rest().starts_with("}}")) {
                return Err(Fault::at(from, "unclosed left paren"));
            }
            if trims {
                self.at = self.text.len() - self.rest().trim_start_matches(WHITE).len() + 3;
                self.push(Kind::Right, from);
                return Ok(true);
            }
            if self.rest().starts_with("}}") {
                self.at += 2;
                self.push(Kind::Right, from);
                return Ok(false);
            }
            let Some(first) = self.rest().chars().next() else { return Err(Fault::at(self.at, "unclosed action")) };
            let kind = self.word(first)?;
            depth = match kind {
                Kind::Open => depth + 1,
                Kind::Close => depth.checked_sub(1).ok_or_else(|| Fault::at(from, "unexpected right paren"))?,
                _ => depth,
            };
            self.push(kind, from);
        }
    }

    /// Steps over one token that begins with `first`.
    fn word(&mut self, first: char) -> Result<Kind, Fault> {
        let from = self.at;
        let second = self.rest().chars().nth(1).unwrap_or(' ');
        let single = |kind| (kind, first.len_utf8());
        let (kind, length) = match first {
            _ if WHITE.contains(&first) => {
                (Kind::Space, self.rest().len() - self.rest().trim_start_matches(WHITE).len())
            }
            '|' => single(Kind::Pipe),
            '(' => single(Kind::Open),
            ')' => single(Kind::Close),
            ',' => single(Kind::Comma),
            '=' => single(Kind::Assign),
            ':' if second == '=' => (Kind::Declare, 2),
            '"' => (Kind::Quoted, self.quoted('"')?),
            '\'' => (Kind::Character, self.quoted('\'')?),
            '`' => match self.rest()[1..].find('`') {
                Some(end) => (Kind::RawText, end + 2),
                None => return Err(Fault::at(from, "unterminated raw quoted string")),
            },
            '$' => (Kind::Variable, 1 + self.name_length(1)),
            '.' if !second.is_ascii_digit() => match self.name_length(1) {
                0 => (Kind::Dot, 1),
                length => (Kind::Field, 1 + length),
            },
            '.' | '+' | '-' | '0'..='9' => {
                let number = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '+' | '-');
                (Kind::Number, self.rest().find(|c| !number(c)).unwrap_or(self.rest().len()))
            }
            _ if first.is_alphabetic() || first == '_' => (Kind::Word, self.name_length(0)),
            ':' => return Err(Fault::at(from, "expected :=")),
            ' '..='~' => single(Kind::Other),
            _ => return Err(Fault::at(from, format!("unrecognized character in action: {}", go_character(first)))),
        };
        self.at += length;
        if matches!(kind, Kind::Word | Kind::Field | Kind::Variable) {
            let ends = |c: char| WHITE.contains(&c) || matches!(c, '.' | ',' | '|' | ':' | ')' | '(' | '=' | '}' | '-');
            if let Some(bad) = self.rest().chars().next().filter(|next| !ends(*next)) {
                return Err(Fault::at(from, format!("bad character {}", go_character(bad))));
            }
        }
        Ok(kind)
    }

    fn name_length(&self, skipped: usize) -> usize {
        let name = &self.rest()[skipped..];
        name.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(name.len())
    }

    /// The length of a quoted piece, its quotes included.
    fn quoted(&self, quote: char) -> Result<usize, Fault> {
        let mut escaped = false;
        for (index, letter) in self.rest().char_indices().skip(1) {
            match letter {
                '\n' => break,
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                _ if letter == quote => return Ok(index + 1),
                _ => {}
            }
        }
        let what = if quote == '"' { "unterminated quoted string" } else { "unterminated character constant" };
        Err(Fault::at(self.at, what))
    }
}

/// `{{- ` with space behind it; `{{-3}}` is a number.
fn is_trim_marker(text: &str) -> bool {
    text.strip_prefix('-').is_some_and(|rest| rest.starts_with(WHITE))
}

/// Go's `%#U`.
fn go_character(letter: char) -> String {
    format!("U+{:04X} '{letter}'", letter as u32)
}
