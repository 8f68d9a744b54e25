//! Sizes and times as Docker shows them to people, and as people type them.

use crate::engine::{moment, time};
use crate::error::{Error, Result};
use jiff::{SignedDuration, Timestamp};

/// Decimal units and three significant digits, as tables show sizes: `1.98MB`, `57B`.
pub fn human_size(bytes: u64) -> String {
    scaled(bytes as f64, 1000.0, &DECIMAL, 3)
}

/// Decimal units and four significant digits, as `Total reclaimed space:` shows them: `1.982MB`.
pub fn human_size_exact(bytes: u64) -> String {
    scaled(bytes as f64, 1000.0, &DECIMAL, 4)
}

/// Binary units and four significant digits, as `stats` shows memory: `12.34MiB`.
pub fn memory_size(bytes: u64) -> String {
    scaled(bytes as f64, 1024.0, &BINARY, 4)
}

const DECIMAL: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
const BINARY: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

fn scaled(mut value: f64, base: f64, units: &[&str], digits: usize) -> String {
    let mut unit = 0;
    // What would round up to the next unit is shown in it: 1MB, where Go's `%.3g` would write 1e+03kB.
    while unit + 1 < units.len() && (value >= base || rounded(value, digits) >= base) {
        value /= base;
        unit += 1;
    }
    let text = format!("{value:.*}", decimals(value, digits));
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{}", units[unit])
}

/// How many decimals give `digits` significant digits.
fn decimals(value: f64, digits: usize) -> usize {
    let whole = if value < 1.0 { 1 } else { value.log10().floor() as usize + 1 };
    digits.saturating_sub(whole)
}

fn rounded(value: f64, digits: usize) -> f64 {
    let factor = 10f64.powi(decimals(value, digits) as i32);
    (value * factor).round() / factor
}

/// As Go prints a time: `2026-11-23 10:50:28 +0000 UTC`, in the caller's zone.
pub fn in_zone(moment: Timestamp) -> String {
    moment.to_zoned(time::zone()).strftime("%Y-%m-%d %H:%M:%S %z %Z").to_string()
}

/// How long ago, for tables: `3 minutes ago`, `Less than a second ago`.
pub fn ago(from: Timestamp, now: Timestamp) -> String {
    format!("{} ago", human_duration(now.duration_since(from)))
}

/// Docker's words for a length of time: `5 seconds`, `About a minute`, `2 weeks`.
pub fn human_duration(length: SignedDuration) -> String {
    let seconds = length.as_secs();
    let minutes = seconds / 60;
    // Hours are rounded, minutes are not: as Docker has it.
    let hours = (length.as_secs_f64() / 3600.0 + 0.5) as i64;
    match () {
        () if seconds < 1 => "Less than a second".into(),
        () if seconds == 1 => "1 second".into(),
        () if seconds < 60 => format!("{seconds} seconds"),
        () if minutes == 1 => "About a minute".into(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".into(),
        () if hours < 48 => format!("{hours} hours"),
        () if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        () if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        () if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        () => format!("{} years", seconds / 3600 / 24 / 365),
    }
}

/// Bytes of memory or of a file, in binary multiples: `64m`, `1.5GiB`, `4096`.
pub fn parse_size(text: &str) -> Result<u64> {
    let bad = || Error::new(format!("invalid size: '{text}'"));
    let number = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (digits, unit) = text.split_at(number);
    if !digits.ends_with(|c: char| c.is_ascii_digit()) || digits.starts_with('.') {
        return Err(bad());
    }
    let unit = unit.strip_prefix(' ').unwrap_or(unit).to_ascii_lowercase();
    let power = match unit.as_str() {
        "" | "b" => 0,
        "k" | "kb" | "ki" | "kib" => 1,
        "m" | "mb" | "mi" | "mib" => 2,
        "g" | "gb" | "gi" | "gib" => 3,
        "t" | "tb" | "ti" | "tib" => 4,
        "p" | "pb" | "pi" | "pib" => 5,
        _ => return Err(bad()),
    };
    let bytes = match digits.parse::<u64>() {
        Ok(whole) => whole.checked_mul(1024u64.pow(power)),
        Err(_) => digits.parse::<f64>().ok().map(|number| number * 1024f64.powi(power as i32)).map(|size| size as u64),
    };
    bytes.filter(|bytes| *bytes <= i64::MAX as u64).ok_or_else(bad)
}

/// Go's durations (`1h30m`, `500ms`), in nanoseconds.
pub fn parse_duration(text: &str) -> Result<i64> {
    let nanoseconds = moment::duration(text).and_then(|length| i64::try_from(length.as_nanos()).ok());
    nanoseconds.ok_or_else(|| Error::new(format!("time: invalid duration {text:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_or_four_significant_digits() {
        for (bytes, three, four) in [
            (0, "0B", "0B"),
            (57, "57B", "57B"),
            (999, "999B", "999B"),
            (1000, "1kB", "1kB"),
            (1_500, "1.5kB", "1.5kB"),
            (1_982_000, "1.98MB", "1.982MB"),
            (12_345_678, "12.3MB", "12.35MB"),
            (123_456_789, "123MB", "123.5MB"),
            (999_999, "1MB", "1MB"),
            (1_000_000_000_000, "1TB", "1TB"),
        ] {
            assert_eq!(human_size(bytes), three);
            assert_eq!(human_size_exact(bytes), four);
        }
        assert!(human_size(u64::MAX).ends_with("EB"));
        for (bytes, text) in [(0, "0B"), (1023, "1023B"), (1024, "1KiB"), (12_939_428, "12.34MiB"), (1 << 30, "1GiB")] {
            assert_eq!(memory_size(bytes), text);
        }
    }

    #[test]
    fn durations_are_told_in_dockers_words() {
        for (seconds, text) in [
            (-5, "Less than a second"),
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (120, "2 minutes"),
            (3599, "59 minutes"),
            (3600, "About an hour"),
            (5399, "About an hour"),
            (5400, "2 hours"),
            (47 * 3600, "47 hours"),
            (48 * 3600, "2 days"),
            (13 * 86400, "13 days"),
            (14 * 86400, "2 weeks"),
            (59 * 86400, "8 weeks"),
            (60 * 86400, "2 months"),
            (729 * 86400, "24 months"),
            (730 * 86400, "2 years"),
        ] {
            assert_eq!(human_duration(SignedDuration::from_secs(seconds)), text, "{seconds}");
        }
    }

    #[test]
    fn sizes_are_read_in_binary_multiples() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("64m", 64 << 20),
            ("64M", 64 << 20),
            ("64mb", 64 << 20),
            ("64 MiB", 64 << 20),
            ("1.5g", 3 << 29),
            ("8k", 8192),
        ] {
            assert_eq!(parse_size(text).unwrap(), bytes, "{text}");
        }
        for bad in ["", "m", "-1", "1x", "1  m", ".5m", "5.m", "1mm", "9999999p", "1..5m"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations_are_read_as_go_reads_them() {
        assert_eq!(parse_duration("1h30m").unwrap(), 5_400_000_000_000);
        assert!(parse_duration("5").unwrap_err().message.contains("time: invalid duration \"5\""));
    }
}
