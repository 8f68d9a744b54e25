//! The values of numbers and quoted strings.

use super::Fault;
use super::lexer::Token;
use super::tree::What;

/// Go's numbers: `42`, `0x1F`, `1_000`, `1.5`, `1e3`.
pub fn number(token: &Token) -> Result<What, Fault> {
    let text = token.text.replace('_', "");
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(&text)),
    };
    let lower = digits.to_ascii_lowercase();
    let in_base = |prefix: &str, base| {
        lower.strip_prefix(prefix).and_then(|rest| i64::from_str_radix(&format!("{sign}{rest}"), base).ok())
    };
    let whole = in_base("0x", 16).or_else(|| in_base("0o", 8)).or_else(|| in_base("0b", 2));
    if let Some(whole) = whole.or_else(|| text.parse().ok()) {
        return Ok(What::Int(whole, token.text.clone()));
    }
    match text.parse::<f64>() {
        Ok(value) if lower.starts_with(|c: char| c.is_ascii_digit() || c == '.') => {
            Ok(What::Float(value, token.text.clone()))
        }
        _ if digits.is_empty() => Err(Fault::at(token.position, format!("illegal number syntax: {:?}", token.text))),
        _ => Err(Fault::at(token.position, format!("bad number syntax: {:?}", token.text))),
    }
}

/// The value of a quoted piece with Go's escapes; `None` where it is malformed.
pub fn unquote(quoted: &str) -> Option<String> {
    let mut letters = quoted.get(1..quoted.len().checked_sub(1)?)?.chars();
    let mut value = String::new();
    while let Some(letter) = letters.next() {
        value.push(match letter {
            '\\' => escape(&mut letters)?,
            _ => letter,
        });
    }
    Some(value)
}

fn escape(letters: &mut std::str::Chars) -> Option<char> {
    let kind = letters.next()?;
    let mut code = |digits: usize| {
        let text: String = letters.take(digits).collect();
        if text.len() == digits { u32::from_str_radix(&text, 16).ok().and_then(char::from_u32) } else { None }
    };
    Some(match kind {
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        'a' => '\x07',
        'b' => '\x08',
        'f' => '\x0c',
        'v' => '\x0b',
        '\\' | '\'' | '"' => kind,
        'x' => code(2)?,
        'u' => code(4)?,
        'U' => code(8)?,
        _ => return None,
    })
}
