//! Moments and durations as a Docker user types them: `10m`, `2026-11-23T10:50`, `1795431600.5`.

use super::time;
use jiff::civil::{Date, DateTime};
use jiff::{SignedDuration, Timestamp};

/// A moment: a duration before now, RFC 3339, a date or time of day in the local zone, or seconds since 1970.
pub fn parse(text: &str) -> Option<Timestamp> {
    if let Some(ago) = duration(text) {
        return Timestamp::now().checked_sub(ago).ok();
    }
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Some(moment);
    }
    if let Some(moment) = seconds_since_1970(text) {
        return Some(moment);
    }
    let hours_only = text.len() == "2006-01-02T15".len();
    let civil = if hours_only { format!("{text}:00") } else { text.to_owned() };
    let local = |civil: DateTime| civil.to_zoned(time::zone()).ok().map(|zoned| zoned.timestamp());
    match civil.parse::<DateTime>() {
        Ok(found) => local(found),
        Err(_) => local(civil.parse::<Date>().ok()?.to_datetime(jiff::civil::Time::midnight())),
    }
}

fn seconds_since_1970(text: &str) -> Option<Timestamp> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    if seconds.is_empty() || fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nanoseconds = format!("{fraction:0<9}").parse().ok()?;
    Timestamp::new(seconds.parse().ok()?, nanoseconds).ok()
}

/// Go's durations: `300ms`, `1.5h`, `2h45m`, `-10s`, `0`.
pub fn duration(text: &str) -> Option<SignedDuration> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(SignedDuration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut nanoseconds = 0f64;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (digits, unit) = rest.split_at(number);
        let unit_end = unit.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(unit.len());
        let factor = match &unit[..unit_end] {
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        nanoseconds += digits.parse::<f64>().ok()? * factor;
        rest = &unit[unit_end..];
    }
    (nanoseconds < i64::MAX as f64).then(|| SignedDuration::from_nanos((sign * nanoseconds) as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        let nanos = |text| duration(text).map(|found| found.as_nanos());
        assert_eq!(nanos("1h30m"), Some(5_400_000_000_000));
        assert_eq!(nanos("1.5s"), Some(1_500_000_000));
        assert_eq!(nanos("300ms"), Some(300_000_000));
        assert_eq!(nanos("-2s"), Some(-2_000_000_000));
        assert_eq!(nanos("0"), Some(0));
        for bad in ["", "-", "5", "s", "1x", "1h2", "1..5s"] {
            assert_eq!(nanos(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_moment_is_a_duration_a_time_or_seconds() {
        let at = |text: &str| parse(text).map(|moment| moment.as_millisecond());
        assert_eq!(at("1795431600.5"), Some(1_795_431_600_500));
        assert_eq!(at("2026-11-23T10:50:24.123456789Z"), Some(1_795_431_024_123));
        assert_eq!(at("2026-11-23T12:50:24+02:00"), Some(1_795_431_024_000));
        for good in ["10m", "2026-11-23", "2026-11-23T10", "2026-11-23T10:50", "2026-11-23T10:50:01.5"] {
            assert!(at(good).is_some(), "{good}");
        }
        for bad in ["yesterday", "2026-13-01", ""] {
            assert_eq!(at(bad), None, "{bad}");
        }
    }
}
