//! What a mount is told and a reader is not: a narration is copied into questions, lessons and logs.

use std::borrow::Cow;

const HIDDEN: &str = "***";

/// A mount's word as it may be shown: the value of one that is a secret is `***`. Who says `user=NAME%PASSWORD`, as
/// mount.cifs(8) has it, has said one there, too.
pub fn hidden(word: &str) -> Cow<'_, str> {
    match word.split_once('=') {
        Some((key, value)) => match hidden_value(key, value) {
            Cow::Borrowed(_) => word.into(),
            Cow::Owned(value) => format!("{key}={value}").into(),
        },
        None => word.into(),
    }
}

/// [`hidden`] for a word in two parts.
pub fn hidden_value<'a>(key: &str, value: &'a str) -> Cow<'a, str> {
    let key = key.to_ascii_lowercase();
    // cifs: pass, password, password2, cred, credentials; ceph: secret; ecryptfs: passphrase.
    if ["pass", "cred", "secret"].iter().any(|secret| key.starts_with(secret)) {
        return HIDDEN.to_owned().into();
    }
    match value.split_once('%') {
        Some((name, _)) if key.starts_with("user") => format!("{name}%{HIDDEN}").into(),
        _ => value.into(),
    }
}

/// Several words, with commas between them.
pub fn hidden_words<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words.into_iter().map(hidden).collect::<Vec<_>>().join(",")
}
