//! `--filter key=value`: the same key repeated means "or", different keys mean "and"; labels are all asked for, as in Docker.

use crate::cli::output;
use crate::engine::moment;
use crate::error::{Error, Kind, Result};
use jiff::Timestamp;
use regex::bytes::{Regex, RegexBuilder};
use std::collections::BTreeMap;

/// What the user wants to see.
#[derive(Debug, Default, Clone)]
pub struct Filters {
    by_key: BTreeMap<String, Vec<String>>,
    /// What was asked of [`PATTERNS`], read once.
    patterns: BTreeMap<String, Vec<Regex>>,
}

/// The keys whose values Docker takes for regular expressions.
const PATTERNS: [&str; 2] = ["id", "name"];

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
            if PATTERNS.contains(&key.as_str()) {
                match expression(value.trim()) {
                    Ok(pattern) => filters.patterns.entry(key.clone()).or_default().push(pattern),
                    // Docker says nothing, and finds nothing but what is spelled so.
                    Err(why) => output::complain(&format!("WARNING: {key}={value} is no regular expression: {why}")),
                }
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

    /// Whether nothing was asked of `key`, or `text` is what was asked, or one of the regular expressions asked matches it.
    pub fn any_pattern(&self, key: &str, text: &str) -> bool {
        let patterns = self.patterns.get(key).map_or(&[][..], Vec::as_slice);
        self.any(key, |wanted| wanted == text) || patterns.iter().any(|pattern| pattern.is_match(text.as_bytes()))
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

/// A pattern of a shell's, as Go's path.Match takes it: `*` and `?` do not match a slash.
pub fn shell_pattern(pattern: &str) -> Result<Regex> {
    let mut expression = String::from("^");
    let mut letters = pattern.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '*' => expression.push_str("[^/]*"),
            '?' => expression.push_str("[^/]"),
            '[' => {
                expression.push('[');
                for letter in letters.by_ref().take_while(|letter| *letter != ']') {
                    // What means something to a regular expression only (`[a&&b]`, `[[:alpha:]]`) does not here.
                    let special = matches!(letter, '&' | '~' | '[');
                    expression.push_str(if special { "\\" } else { "" });
                    expression.push(letter);
                }
                expression.push(']');
            }
            '\\' => expression.push_str(&regex::escape(&letters.next().map(String::from).unwrap_or_default())),
            letter => expression.push_str(&regex::escape(letter.encode_utf8(&mut [0; 4]))),
        }
    }
    self::expression(&(expression + "$")).map_err(|_| Error::new(format!("syntax error in pattern {pattern:?}")))
}

/// Linear in the length of the text, whatever the expression; its letters are bytes, as those of names are.
fn expression(text: &str) -> std::result::Result<Regex, String> {
    RegexBuilder::new(text).unicode(false).build().map_err(|error| match error {
        regex::Error::Syntax(said) => said.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned(),
        other => other.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filters(texts: &[&str]) -> Result<Filters> {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        Filters::parse(&texts, &["name", "label", "label!", "dangling"])
    }

    #[test]
    fn a_shells_pattern_does_not_cross_a_slash() {
        for (pattern, text, expected) in [
            ("web", "web", true),
            ("web", "web-1", false),
            ("*", "a/b", false),
            ("*/*", "a/b", true),
            ("a?c", "abc", true),
            ("a?c", "a/c", false),
            ("a.c", "abc", false),
            ("w[a-f]b", "web", true),
            ("w[^e]b", "web", false),
            ("a\\*b", "a*b", true),
            ("a\\*b", "axb", false),
        ] {
            let found = shell_pattern(pattern).unwrap();
            assert_eq!(found.is_match(text.as_bytes()), expected, "{pattern} {text}");
        }
        assert!(shell_pattern("[z-a]").unwrap_err().message.contains("syntax error in pattern"));
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
