//! An image's configuration as Go reads it: what is null is empty, and a command may be one word.

use serde::Deserialize;
use std::collections::BTreeMap;

/// To Go null is what a field has when nothing is said of it: where a list or a map is empty Docker writes it itself.
pub fn or_default<'de, D: serde::Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> std::result::Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

pub fn texts<'de, D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Vec<String>, D::Error> {
    let texts: Vec<Option<String>> = or_default(deserializer)?;
    Ok(texts.into_iter().map(Option::unwrap_or_default).collect())
}

pub fn labels<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<BTreeMap<String, String>, D::Error> {
    let labels: BTreeMap<String, Option<String>> = or_default(deserializer)?;
    Ok(labels.into_iter().map(|(key, value)| (key, value.unwrap_or_default())).collect())
}

/// A command may be one text, which is its only word: so did the first images have it.
pub fn words<'de, D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<Vec<String>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Words {
        One(String),
        Several(Vec<Option<String>>),
    }
    Ok(match Option::deserialize(deserializer)? {
        None => None,
        Some(Words::One(word)) => Some(vec![word]),
        Some(Words::Several(words)) => Some(words.into_iter().map(Option::unwrap_or_default).collect()),
    })
}
