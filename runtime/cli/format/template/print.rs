//! How Go shows values with `%v`, and its JSON.

use super::datum::Datum;

/// What an action `{{…}}` writes.
pub fn shown(datum: &Datum) -> String {
    match datum {
        Datum::Missing => "<no value>".into(),
        other => plain(other),
    }
}

/// `%v`.
pub fn plain(datum: &Datum) -> String {
    let joined = |items: Vec<String>| items.join(" ");
    match datum {
        Datum::Missing | Datum::Nil => "<nil>".into(),
        Datum::Omitted(text) => (*text).into(),
        Datum::Bool(value) => value.to_string(),
        Datum::Int(number) => number.to_string(),
        Datum::Float(number) => float(*number),
        Datum::Text(text) => text.to_string(),
        Datum::List(None) => "[]".into(),
        Datum::List(Some(items)) => format!("[{}]", joined(items.iter().map(plain).collect())),
        Datum::Map(None) => "map[]".into(),
        Datum::Map(Some(entries)) => {
            format!("map[{}]", joined(entries.iter().map(|(key, value)| format!("{key}:{}", plain(value))).collect()))
        }
        Datum::Struct(fields) => format!("{{{}}}", joined(fields.iter().map(|(_, value)| plain(value)).collect())),
    }
}

/// Go's `%v` of a float: the shortest that reads back as the same, with an exponent where it is very large or small.
pub fn float(number: f64) -> String {
    if number.is_nan() {
        return "NaN".into();
    }
    if number.is_infinite() {
        return if number > 0.0 { "+Inf".into() } else { "-Inf".into() };
    }
    let scientific = format!("{number:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..21).contains(&exponent) {
        return format!("{number}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

/// A quoted Go string, `%q`.
pub fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            '\x07' => quoted.push_str("\\a"),
            '\x08' => quoted.push_str("\\b"),
            '\x0c' => quoted.push_str("\\f"),
            '\x0b' => quoted.push_str("\\v"),
            control if (control as u32) < 0x20 || control == '\x7f' => {
                quoted.push_str(&format!("\\x{:02x}", control as u32));
            }
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

/// `print`: a space between two operands where neither is a string.
pub fn joined(values: &[Datum]) -> String {
    let mut shown = String::new();
    for (index, value) in values.iter().enumerate() {
        let is_text = |datum: &Datum| matches!(datum, Datum::Text(_));
        if index > 0 && !is_text(value) && !is_text(&values[index - 1]) {
            shown.push(' ');
        }
        shown.push_str(&plain(value));
    }
    shown
}
