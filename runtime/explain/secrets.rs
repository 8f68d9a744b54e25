//! What a mount is told and a reader is not: a narration is copied into questions, lessons and logs.

use std::borrow::Cow;
use std::ffi::CString;

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

/// The words of a command of Ebb's, without the values that `-e` and `--env` give to variables.
pub fn command(words: &[CString]) -> Vec<CString> {
    let mut is_variable = false;
    let mut shown = Vec::new();
    for word in words {
        let bytes = word.to_bytes();
        let holds_one = is_variable || bytes.starts_with(b"--env=") || (bytes.starts_with(b"-e") && bytes.len() > 2);
        is_variable = matches!(bytes, b"-e" | b"--env");
        // Of `--env=NAME=value` it is the second sign that comes before the value.
        let signs = if bytes.starts_with(b"--env=") { 2 } else { 1 };
        let value = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'=').nth(signs - 1).map(|(at, _)| at + 1);
        let cut = value.filter(|_| holds_one).map(|at| [&bytes[..at], HIDDEN.as_bytes()].concat());
        shown.push(cut.and_then(|cut| CString::new(cut).ok()).unwrap_or_else(|| word.clone()));
    }
    shown
}

/// Several words, with commas between them.
pub fn hidden_words<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words.into_iter().map(hidden).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_told_without_the_values_of_its_variables() {
        let told = |words: &str| {
            let words: Vec<CString> = words.split(' ').map(|word| CString::new(word).unwrap()).collect();
            command(&words).iter().map(|word| word.to_str().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
        };
        let given = "ebb run -e T=SECRET --env U=SECRET --env=V=SECRET -eW=SECRET -e X -v a=b busybox";
        assert_eq!(told(given), "ebb run -e T=*** --env U=*** --env=V=*** -eW=*** -e X -v a=b busybox");
    }
}
