//! What goes to stdout: lines, tables, templates. A closed pipe ends the command quietly.

use crate::error::{Error, Kind, Result};
use std::io::Write;

/// One line on stdout.
pub fn line(text: &str) -> Result<()> {
    bytes(format!("{text}\n").as_bytes())
}

/// Bytes on stdout. A reader that went away ends the command without a word, as SIGPIPE would have.
pub fn bytes(bytes: &[u8]) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(|error| match error.kind() {
        std::io::ErrorKind::BrokenPipe => Error::of(Kind::Reported, ""),
        _ => Error::new(format!("write to stdout: {error}")),
    })
}

/// Docker's short sizes: four significant digits, decimal units (`1.982MB`, `26B`).
pub fn human_size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let whole_digits = (value.max(1.0).log10().floor() as usize) + 1;
    let text = format!("{value:.*}", 4usize.saturating_sub(whole_digits));
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    #[test]
    fn sizes_are_dockers() {
        for (bytes, text) in [(0, "0B"), (26, "26B"), (999, "999B"), (1000, "1kB"), (1_982_000, "1.982MB"), (57, "57B")]
        {
            assert_eq!(super::human_size(bytes), text);
        }
        assert_eq!(super::human_size(12_345_678), "12.35MB");
        assert_eq!(super::human_size(123_456_789), "123.5MB");
    }
}
