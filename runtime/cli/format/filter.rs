//! `--filter key=value`: the same key repeated means "or", different keys mean "and"; labels are all asked for, as in Docker.

use crate::engine::moment;
use crate::error::{Error, Kind, Result};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// What the user wants to see.
#[derive(Debug, Default, Clone)]
pub struct Filters {
    by_key: BTreeMap<String, Vec<String>>,
}

impl Filters {
    /// Refuses what is no `key=value`, and a key that is not in `allowed`.
    pub fn parse(texts: &[String], allowed: &[&str]) -> Result<Filters> {
        let mut filters = Filters::default();
        for text in texts.iter().filter(|text| !text.is_empty()) {
            let (key, value) = text.split_once('=').ok_or_else(|| {
                Error::of(
                    Kind::Usage,
                    format!("invalid argument {text:?} for \"-f, --filter\" flag: bad format of filter (expected name=value)"),
                )
            })?;
            let key = key.trim().to_lowercase();
            if !allowed.contains(&key.as_str()) {
                return Err(Error::new(format!("invalid filter '{key}'"))
                    .with_cure(format!("known filters: {}", allowed.join(", "))));
            }
            filters.by_key.entry(key).or_default().push(value.trim().to_owned());
        }
        Ok(filters)
    }

    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// The moment that `until` names; a second one is refused, as by Docker.
    pub fn until(&self) -> Result<Option<Timestamp>> {
        match self.values("until") {
            [] => Ok(None),
            [text] => {
                let bad = || Error::new(format!("invalid filter 'until={text}': not a time or duration"));
                moment::parse(text).ok_or_else(bad).map(Some)
            }
            _ => Err(Error::new("more than one until filter specified")),
        }
    }

    /// What was asked of `key`; empty where nothing was.
    pub fn values(&self, key: &str) -> &[String] {
        self.by_key.get(key).map_or(&[], Vec::as_slice)
    }

    pub fn has(&self, key: &str) -> bool {
        self.by_key.contains_key(key)
    }

    /// Whether nothing was asked of `key`, or any of what was asked holds.
    pub fn any(&self, key: &str, holds: impl FnMut(&str) -> bool) -> bool {
        !self.has(key) || self.values(key).iter().map(String::as_str).any(holds)
    }

    /// Whether `text` matches one of the patterns asked of `key` (see [`matches`]).
    pub fn any_pattern(&self, key: &str, text: &str) -> bool {
        self.any(key, |pattern| matches(pattern, text))
    }

    /// Whether every `label=KEY` and `label=KEY=VALUE` holds, and no `label!=…` does.
    pub fn labels(&self, labels: &BTreeMap<String, String>) -> bool {
        let has = |wanted: &String| match wanted.split_once('=') {
            Some((key, value)) => labels.get(key).is_some_and(|found| found == value),
            None => labels.contains_key(wanted),
        };
        self.values("label").iter().all(has) && !self.values("label!").iter().any(has)
    }

    /// `dangling=true`: the answer that was asked for, or `None`. Refuses what is no boolean.
    pub fn boolean(&self, key: &str) -> Result<Option<bool>> {
        let mut asked = None;
        for value in self.values(key) {
            let found = match value.as_str() {
                "1" | "t" | "T" | "true" | "TRUE" | "True" => true,
                "0" | "f" | "F" | "false" | "FALSE" | "False" => false,
                other => return Err(Error::new(format!("invalid filter '{key}=[{other}]'"))),
            };
            if asked.is_some_and(|before| before != found) {
                return Err(Error::new(format!("invalid filter '{key}': both true and false were asked for")));
            }
            asked = Some(found);
        }
        Ok(asked)
    }
}

/// Whether `pattern` occurs in `text`. Docker takes it as a regular expression; of these, `^`, `$`, `.`, `*`, `+` and `?`
/// are known here.
pub fn matches(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    match pattern.first() {
        Some('^') => matches_here(&pattern[1..], &text),
        _ => (0..=text.len()).any(|start| matches_here(&pattern, &text[start..])),
    }
}

fn matches_here(pattern: &[char], text: &[char]) -> bool {
    let fits = |wanted: char, found: char| wanted == '.' || wanted == found;
    match pattern {
        [] => true,
        ['$'] => text.is_empty(),
        ['\\', literal, rest @ ..] => text.first() == Some(literal) && matches_here(rest, &text[1..]),
        [one, count @ ('*' | '+' | '?'), rest @ ..] => {
            let most = text.iter().take_while(|found| fits(*one, **found)).count();
            let (least, most) = match count {
                '*' => (0, most),
                '+' => (1, most),
                _ => (0, most.min(1)),
            };
            (least..=most).any(|taken| matches_here(rest, &text[taken..]))
        }
        [one, rest @ ..] => text.first().is_some_and(|found| fits(*one, *found)) && matches_here(rest, &text[1..]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filters(texts: &[&str]) -> Result<Filters> {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        Filters::parse(&texts, &["name", "label", "label!", "dangling"])
    }

    #[test]
    fn a_name_is_a_pattern() {
        for (pattern, text, expected) in [
            ("web", "my-web-1", true),
            ("^web", "my-web-1", false),
            ("^web$", "web", true),
            ("^web$", "web1", false),
            ("w.b", "wxb", true),
            ("^w.*1$", "web-1", true),
            ("a+b", "aab", true),
            ("a+b", "b", false),
            ("a?b$", "b", true),
            ("", "anything", true),
            ("a\\.b", "a.b", true),
            ("a\\.b", "axb", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn one_key_is_or_ed_and_labels_are_and_ed() {
        let labels: BTreeMap<_, _> = [("a".to_owned(), "1".to_owned()), ("b".to_owned(), String::new())].into();
        let found = filters(&["name=x", "name=y", "label=a=1", "label=b"]).unwrap();
        assert!(found.any_pattern("name", "y") && !found.any_pattern("name", "z"));
        assert!(found.labels(&labels));
        assert!(!filters(&["label=a=2"]).unwrap().labels(&labels));
        assert!(!filters(&["label=a", "label=c"]).unwrap().labels(&labels));
        assert!(!filters(&["label!=a"]).unwrap().labels(&labels));
        assert!(Filters::default().labels(&labels) && Filters::default().any("name", |_| false));
    }

    #[test]
    fn what_is_unknown_or_malformed_is_refused() {
        assert!(filters(&["bogus=1"]).unwrap_err().message.contains("invalid filter 'bogus'"));
        assert!(filters(&["name"]).unwrap_err().message.contains("bad format of filter (expected name=value)"));
        assert_eq!(filters(&["dangling=true"]).unwrap().boolean("dangling").unwrap(), Some(true));
        assert_eq!(filters(&["dangling=0"]).unwrap().boolean("dangling").unwrap(), Some(false));
        assert_eq!(filters(&[]).unwrap().boolean("dangling").unwrap(), None);
        assert!(filters(&["dangling=perhaps"]).unwrap().boolean("dangling").is_err());
    }
}
