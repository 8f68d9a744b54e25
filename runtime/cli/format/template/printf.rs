//! Go's fmt.Sprintf: `%s %q %d %v %x %f %t %c %T`, with flags, width and precision.

use super::datum::Datum;
use super::{print, too_long};
use crate::store::bounds;

/// More than this many spaces or digits is a mistake; Go says so too.
const WIDEST: usize = 1_000_000;

/// A binary fraction has no more decimals than this: what follows is zeros.
const MOST_DECIMALS: usize = 1_074;

pub fn printf(format: &str, values: &[Datum]) -> Result<String, String> {
    let mut shown = String::new();
    let mut values = values.iter();
    let mut letters = format.chars().peekable();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            shown.push(letter);
            continue;
        }
        let verb = Verb::read(&mut letters, &mut values);
        shown.push_str(verb.fault);
        match verb.letter {
            None => shown.push_str("%!(NOVERB)"),
            Some('%') => shown.push('%'),
            Some(letter) => match values.next() {
                Some(value) if verb.least_length(value) > bounds::TEMPLATE => return Err(too_long()),
                Some(value) => shown.push_str(&verb.show(letter, value)),
                None => shown.push_str(&format!("%!{letter}(MISSING)")),
            },
        }
        if shown.len() > bounds::TEMPLATE {
            return Err(too_long());
        }
    }
    let extra: Vec<_> = values.map(|value| format!("{}={}", value.kind(), print::plain(value))).collect();
    if !extra.is_empty() {
        shown.push_str(&format!("%!(EXTRA {})", extra.join(", ")));
    }
    Ok(shown)
}

#[derive(Default)]
struct Verb {
    minus: bool,
    plus: bool,
    sharp: bool,
    zero: bool,
    space: bool,
    width: Option<usize>,
    precision: Option<usize>,
    letter: Option<char>,
    /// What Go says of a `*` that is no number, or a very large one.
    fault: &'static str,
}

/// What stands where a width or a precision may stand.
enum Number {
    None,
    Some(i64),
    /// Of a `*`: no whole number, or too large.
    Bad,
    /// Digits without an end: Go takes the rest of the format for them.
    Endless,
}

impl Number {
    fn read<'a>(
        letters: &mut std::iter::Peekable<std::str::Chars>,
        values: &mut impl Iterator<Item = &'a Datum>,
    ) -> Number {
        if letters.next_if_eq(&'*').is_some() {
            return match values.next() {
                Some(Datum::Int(number)) if number.unsigned_abs() <= WIDEST as u64 => Number::Some(*number),
                _ => Number::Bad,
            };
        }
        let mut number = None;
        while let Some(digit) = letters.peek().and_then(|letter| letter.to_digit(10)) {
            if number.is_some_and(|number| number > WIDEST as i64) {
                letters.by_ref().for_each(drop);
                return Number::Endless;
            }
            letters.next();
            number = Some(number.unwrap_or(0) * 10 + i64::from(digit));
        }
        number.map_or(Number::None, Number::Some)
    }
}

impl Verb {
    fn read<'a>(
        letters: &mut std::iter::Peekable<std::str::Chars>,
        values: &mut impl Iterator<Item = &'a Datum>,
    ) -> Verb {
        let mut verb = Verb::default();
        while let Some(flag) = letters.peek() {
            match flag {
                '-' => verb.minus = true,
                '+' => verb.plus = true,
                '#' => verb.sharp = true,
                '0' => verb.zero = true,
                ' ' => verb.space = true,
                _ => break,
            }
            letters.next();
        }
        match Number::read(letters, values) {
            Number::Some(width) => {
                verb.minus |= width < 0;
                verb.width = Some(width.unsigned_abs() as usize);
            }
            Number::Bad => verb.fault = "%!(BADWIDTH)",
            Number::None | Number::Endless => {}
        }
        if letters.next_if_eq(&'.').is_some() {
            match Number::read(letters, values) {
                Number::Some(precision) => verb.precision = usize::try_from(precision).ok(),
                Number::Bad => verb.fault = "%!(BADPREC)",
                Number::None | Number::Endless => verb.precision = Some(0),
            }
        }
        verb.letter = letters.next();
        verb
    }

    /// How long the answer is at least: each part of a list has the width of its own.
    fn least_length(&self, value: &Datum) -> usize {
        let parts = match value {
            Datum::List(Some(items)) => items.len(),
            _ => 1,
        };
        parts.saturating_mul(self.width.unwrap_or(0))
    }

    fn show(&self, letter: char, value: &Datum) -> String {
        let signed = |text: String, negative: bool| match negative {
            false if self.plus => format!("+{text}"),
            false if self.space => format!(" {text}"),
            _ => text,
        };
        match (letter, value) {
            ('T', value) => self.padded(value.kind().into()),
            ('v', Datum::Text(text)) if self.sharp => self.padded(print::quoted(text)),
            ('v' | 's', Datum::Text(text)) => self.padded(self.cut(text)),
            ('q', Datum::Text(text)) => self.padded(print::quoted(&self.cut(text))),
            ('x', Datum::Text(text)) => self.padded(text.bytes().map(|byte| format!("{byte:02x}")).collect()),
            ('X', Datum::Text(text)) => self.padded(text.bytes().map(|byte| format!("{byte:02X}")).collect()),
            ('v' | 'd', Datum::Int(number)) => self.number(signed(number.to_string(), *number < 0)),
            ('x', Datum::Int(number)) => self.number(format!("{}{number:x}", if self.sharp { "0x" } else { "" })),
            ('X', Datum::Int(number)) => self.number(format!("{}{number:X}", if self.sharp { "0X" } else { "" })),
            ('o', Datum::Int(number)) => self.number(format!("{}{number:o}", if self.sharp { "0" } else { "" })),
            ('b', Datum::Int(number)) => self.number(format!("{number:b}")),
            ('c', Datum::Int(number)) => {
                let letter =
                    u32::try_from(*number).ok().and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER);
                self.padded(letter.to_string())
            }
            ('f' | 'F', Datum::Float(number)) => {
                self.number(signed(decimals(*number, self.precision.unwrap_or(6)), *number < 0.0))
            }
            ('v' | 'g', Datum::Float(number)) => self.number(signed(print::float(*number), *number < 0.0)),
            ('v' | 't', Datum::Bool(value)) => self.padded(value.to_string()),
            ('v', value) => self.padded(print::plain(value)),
            ('s' | 'd' | 'q' | 'x' | 'X', Datum::List(items)) => {
                let items =
                    items.as_ref().map(|items| items.iter().map(|item| self.show(letter, item)).collect::<Vec<_>>());
                format!("[{}]", items.unwrap_or_default().join(" "))
            }
            ('s' | 'd' | 'q', Datum::Missing | Datum::Nil) => format!("%!{letter}(<nil>)"),
            (letter, value) => format!("%!{letter}({}={})", value.kind(), print::plain(value)),
        }
    }

    fn cut(&self, text: &str) -> String {
        match self.precision {
            Some(most) => text.chars().take(most).collect(),
            None => text.to_owned(),
        }
    }

    fn number(&self, text: String) -> String {
        let missing = self.width.unwrap_or(0).saturating_sub(text.chars().count());
        if !self.zero || self.minus || missing == 0 {
            return self.padded(text);
        }
        let sign = text.find(|c: char| !matches!(c, '-' | '+' | ' ')).unwrap_or(0);
        format!("{}{}{}", &text[..sign], "0".repeat(missing), &text[sign..])
    }

    fn padded(&self, text: String) -> String {
        let missing = self.width.unwrap_or(0).saturating_sub(text.chars().count());
        match self.minus {
            true => format!("{text}{}", " ".repeat(missing)),
            false => format!("{}{text}", " ".repeat(missing)),
        }
    }
}

/// Rust's formatting ends the program at a precision of 65536.
fn decimals(number: f64, places: usize) -> String {
    let exact = format!("{number:.*}", places.min(MOST_DECIMALS));
    let zeros = if number.is_finite() { places.saturating_sub(MOST_DECIMALS) } else { 0 };
    exact + &"0".repeat(zeros)
}
