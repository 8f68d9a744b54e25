//! Times as Docker writes them, and the zone that they are shown in.

use jiff::tz::TimeZone;
use std::io::Read;
use std::path::Path;
use std::sync::OnceLock;

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

/// The caller's: what TZ says (`Asia/Tokyo`, a file, or POSIX's `JST-9`), else the host's. What is not known is UTC, as for
/// any other program.
pub fn zone() -> TimeZone {
    static ZONE: OnceLock<TimeZone> = OnceLock::new();
    let asked = || match std::env::var("TZ") {
        Err(_) => from_file("localtime", Path::new("/etc/localtime")),
        Ok(text) => named(text.strip_prefix(':').unwrap_or(&text)),
    };
    ZONE.get_or_init(|| asked().unwrap_or(TimeZone::UTC)).clone()
}

fn named(name: &str) -> Option<TimeZone> {
    // A name that begins with a slash is a path, and takes the directory's place.
    let path = Path::new("/usr/share/zoneinfo").join(name);
    from_file(name, &path).or_else(|| TimeZone::posix(name).ok())
}

fn from_file(name: &str, path: &Path) -> Option<TimeZone> {
    const LARGEST: u64 = 1 << 20;
    // Looked at before it is opened, which for some is more than a look.
    if !path.metadata().ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path).ok()?.take(LARGEST).read_to_end(&mut bytes).ok()?;
    TimeZone::tzif(name, &bytes).ok()
}
