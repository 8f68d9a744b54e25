//! Times as Docker writes them.

/// RFC 3339 in UTC with nanoseconds, as `inspect` shows and metadata keeps.
pub fn now() -> String {
    format(jiff::Timestamp::now())
}

pub fn format(time: jiff::Timestamp) -> String {
    let text = format!("{time:.9}");
    text
}

/// The zero time, Docker's word for "never".
pub const NEVER: &str = "0001-01-01T00:00:00Z";
