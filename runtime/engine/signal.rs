//! Signals by name or number.

use crate::error::{Error, Result};
use nix::sys::signal::Signal;
use std::str::FromStr;

/// `SIGTERM`, `TERM`, `term`, `15`, `SIGRTMIN+3` as a signal number.
pub fn parse(text: &str) -> Result<i32> {
    let bad = || Error::new(format!("Invalid signal: {text}"));
    if let Ok(number) = text.parse::<i32>() {
        return if (1..=64).contains(&number) { Ok(number) } else { Err(bad()) };
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    // glibc keeps 32 and 33 for itself, so that its SIGRTMIN is 34; Docker's numbers are these too.
    let real_time = |rest: &str, base: i32, sign: i32| match rest {
        "" => Ok(base),
        rest => rest
            .get(1..)
            .and_then(|offset| offset.parse::<i32>().ok())
            .map(|offset| base + sign * offset)
            .ok_or_else(bad),
    };
    let number = if let Some(rest) = name.strip_prefix("RTMIN") {
        real_time(rest, 34, 1)?
    } else if let Some(rest) = name.strip_prefix("RTMAX") {
        real_time(rest, 64, -1)?
    } else {
        Signal::from_str(&format!("SIG{name}")).map_err(|_| bad())? as i32
    };
    if (1..=64).contains(&number) { Ok(number) } else { Err(bad()) }
}
