//! The records of a pax header: `LENGTH KEY=VALUE\n`, one after the other (pax(1), "pax Extended Header").

use crate::error::{Error, Result};
use crate::store::bounds;

/// In the order of the archive: GNU's sparse format 0.0 repeats keys.
#[derive(Debug, Default)]
pub struct Records(Vec<(Vec<u8>, Vec<u8>)>);

impl Records {
    pub fn parse(mut text: &[u8]) -> Result<Records> {
        let bad = || Error::new("a pax header of the archive is damaged");
        let mut records = Vec::new();
        // Some writers fill it up with zeros.
        while !text.is_empty() && text[0] != 0 {
            let blank = text.iter().position(|byte| *byte == b' ').ok_or_else(bad)?;
            let length: usize =
                number(&text[..blank]).and_then(|length| usize::try_from(length).ok()).ok_or_else(bad)?;
            if length <= blank + 1 || length > text.len() || text[length - 1] != b'\n' {
                return Err(bad());
            }
            let pair = &text[blank + 1..length - 1];
            let equals = pair.iter().position(|byte| *byte == b'=').ok_or_else(bad)?;
            if records.len() == bounds::RECORDS {
                return Err(Error::new("a pax header of the archive has more records than any honest one"));
            }
            records.push((pair[..equals].to_vec(), pair[equals + 1..].to_vec()));
            text = &text[length..];
        }
        Ok(Records(records))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those of a later global header stand over those of an earlier one.
    pub fn add(&mut self, later: Records) {
        self.0.extend(later.0);
    }

    /// How much memory they take, about.
    pub fn bytes(&self) -> u64 {
        self.0.iter().map(|(key, value)| (key.len() + value.len() + 2 * size_of::<Vec<u8>>()) as u64).sum()
    }

    pub fn all(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.iter().map(|(key, value)| (key.as_slice(), value.as_slice()))
    }

    /// The last word on `key`. An empty value takes back what a global header has said.
    pub fn get(&self, key: &str) -> Option<&[u8]> {
        self.0.iter().rev().find(|(known, _)| known == key.as_bytes()).map(|(_, value)| value.as_slice())
    }

    /// The word of `local`, or where it has none, of these, the global ones.
    pub fn get_in<'a>(&'a self, local: &'a Records, key: &str) -> Option<&'a [u8]> {
        local.get(key).or_else(|| self.get(key)).filter(|value| !value.is_empty())
    }

    pub fn number_in(&self, local: &Records, key: &str) -> Result<Option<u64>> {
        let read = |text| number(text).ok_or_else(|| Error::new(format!("the archive's {key} is not a number")));
        self.get_in(local, key).map(read).transpose()
    }

    /// Extended attributes, by their full names.
    pub fn attributes_in(&self, local: &Records) -> Vec<(Vec<u8>, Vec<u8>)> {
        let both = self.all().chain(local.all());
        let named =
            both.filter_map(|(key, value)| Some((key.strip_prefix(b"SCHILY.xattr.")?.to_vec(), value.to_vec())));
        named.collect()
    }
}

pub fn number(text: &[u8]) -> Option<u64> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| digits)?.parse().ok()
}

/// Decimal seconds since 1970, as whole seconds and the nanoseconds after them.
pub fn time(text: &[u8]) -> Result<(i64, i64)> {
    let bad = || Error::new(format!("the archive's time {:?} is none", String::from_utf8_lossy(text)));
    let (negative, rest) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut parts = rest.splitn(2, |byte| *byte == b'.');
    let seconds = parts.next().and_then(number).and_then(|seconds| i64::try_from(seconds).ok()).ok_or_else(bad)?;
    let mut fraction = parts.next().unwrap_or(b"").to_vec();
    fraction.truncate(9);
    fraction.resize(9, b'0');
    let nanoseconds = number(&fraction).and_then(|number| i64::try_from(number).ok()).ok_or_else(bad)?;
    Ok(match (negative, nanoseconds) {
        (false, _) => (seconds, nanoseconds),
        (true, 0) => (-seconds, 0),
        (true, _) => (-seconds - 1, 1_000_000_000 - nanoseconds),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_1970_count_down_from_it() {
        assert_eq!(time(b"12").ok(), Some((12, 0)));
        assert_eq!(time(b"12.5").ok(), Some((12, 500_000_000)));
        assert_eq!(time(b"-1.25").ok(), Some((-2, 750_000_000)));
        assert_eq!(time(b"-3").ok(), Some((-3, 0)));
        assert!(time(b"soon").is_err() && time(b"").is_err() && time(b"1.x").is_err());
    }

    #[test]
    fn a_record_whose_length_is_not_its_own_is_damage() {
        assert_eq!(
            Records::parse(b"9 path=a\n").ok().and_then(|all| all.get("path").map(<[u8]>::to_vec)),
            Some(b"a".to_vec())
        );
        for bad in
            [&b"8 path=a\n"[..], b"90 path=a\n", b"x path=a\n", b"7 patha\n", b"2 \n", b"99999999999999999999 a=b\n"]
        {
            assert!(Records::parse(bad).is_err(), "{bad:?}");
        }
    }
}
