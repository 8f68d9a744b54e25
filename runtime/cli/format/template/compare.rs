//! `eq ne lt le gt ge`.

use super::datum::Datum;
use std::cmp::Ordering;

/// `eq A B…`: A is one of the others.
pub fn equal(values: &[Datum]) -> Result<bool, String> {
    let [first, others @ ..] = values else { return Err("missing argument for comparison".into()) };
    if others.is_empty() {
        return Err("missing argument for comparison".into());
    }
    for other in others {
        if same(first, other)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn same(a: &Datum, b: &Datum) -> Result<bool, String> {
    match (a, b) {
        (Datum::Missing | Datum::Nil, Datum::Missing | Datum::Nil) => Ok(true),
        (Datum::Missing | Datum::Nil, Datum::List(None) | Datum::Map(None)) => Ok(true),
        (Datum::List(None) | Datum::Map(None), Datum::Missing | Datum::Nil) => Ok(true),
        (Datum::Missing | Datum::Nil, _) | (_, Datum::Missing | Datum::Nil) => Ok(false),
        (Datum::Bool(a), Datum::Bool(b)) => Ok(a == b),
        (Datum::List(_) | Datum::Map(_) | Datum::Struct(_), _)
        | (_, Datum::List(_) | Datum::Map(_) | Datum::Struct(_)) => {
            Err(format!("non-comparable type {}: {}", a.kind(), super::print::plain(a)))
        }
        _ => Ok(order(a, b)? == Ordering::Equal),
    }
}

/// For `lt`, `le`, `gt`, `ge`: numbers with numbers, strings with strings.
pub fn order(a: &Datum, b: &Datum) -> Result<Ordering, String> {
    match (a, b) {
        (Datum::Int(a), Datum::Int(b)) => Ok(a.cmp(b)),
        (Datum::Text(a), Datum::Text(b)) => Ok(a.cmp(b)),
        (Datum::Int(_) | Datum::Float(_), Datum::Int(_) | Datum::Float(_)) => {
            number(a).partial_cmp(&number(b)).ok_or_else(|| "incompatible types for comparison".into())
        }
        (Datum::Bool(_), Datum::Bool(_))
        | (Datum::List(_) | Datum::Map(_) | Datum::Struct(_) | Datum::Nil | Datum::Missing, _) => {
            Err("invalid type for comparison".into())
        }
        _ => Err("incompatible types for comparison".into()),
    }
}

fn number(datum: &Datum) -> f64 {
    match datum {
        Datum::Int(number) => *number as f64,
        Datum::Float(number) => *number,
        _ => f64::NAN,
    }
}
