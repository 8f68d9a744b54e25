//! One record of a log, byte for byte as Docker writes it.

use super::Stream;

/// Appends `{"log":…,"stream":…,"time":…}` and a newline. Bytes that are no UTF-8 become U+FFFD, each of them.
pub fn record(out: &mut Vec<u8>, text: &[u8], stream: Stream, time: &str) {
    out.extend_from_slice(b"{\"log\":\"");
    escape(out, text);
    out.extend_from_slice(b"\",\"stream\":\"");
    out.extend_from_slice(stream.word().as_bytes());
    out.extend_from_slice(b"\",\"time\":\"");
    out.extend_from_slice(time.as_bytes());
    out.extend_from_slice(b"\"}\n");
}

/// Go's way of writing a JSON string: `<`, `>`, `&` and the two Unicode line separators are escaped too.
fn escape(out: &mut Vec<u8>, text: &[u8]) {
    for chunk in text.utf8_chunks() {
        let valid = chunk.valid();
        let mut written = 0;
        for (at, c) in valid.char_indices() {
            let short = match c {
                '"' => "\\\"",
                '\\' => "\\\\",
                '\n' => "\\n",
                '\r' => "\\r",
                '\0'..='\x1f' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => "",
                _ => continue,
            };
            out.extend_from_slice(&valid.as_bytes()[written..at]);
            match short {
                "" => out.extend_from_slice(format!("\\u{:04x}", c as u32).as_bytes()),
                short => out.extend_from_slice(short.as_bytes()),
            }
            written = at + c.len_utf8();
        }
        out.extend_from_slice(&valid.as_bytes()[written..]);
        for _ in chunk.invalid() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
}

/// RFC 3339 with as many fractional digits as it takes: what Docker writes into the file.
pub fn time(time: jiff::Timestamp) -> String {
    time.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_what_docker_writes() {
        let mut out = Vec::new();
        record(&mut out, b"a\"\\\t<\xff\xe2\x82\xac\n", Stream::Stderr, "2026-11-23T10:52:02.8Z");
        let expected = "{\"log\":\"a\\\"\\\\\\u0009\\u003c\\ufffd€\\n\",\"stream\":\"stderr\",\"time\":\"2026-11-23T10:52:02.8Z\"}\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
