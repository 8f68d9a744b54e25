//! Names of images: `nginx`, `nginx:1.25`, `docker.io/library/nginx:latest`, `repo@sha256:…` are spellings of one thing.

use crate::error::{Error, Result};

/// A name in Docker's familiar form: `nginx:latest`, `user/app:2`, `registry.example:5000/app:1`.
pub fn normalise(text: &str) -> Result<String> {
    let (name, digest) = text.split_once('@').map_or((text, None), |(name, digest)| (name, Some(digest)));
    let name = name.strip_prefix("docker.io/").unwrap_or(name);
    let name = name.strip_prefix("library/").unwrap_or(name);
    let (repository, tag) = split(name);
    let bad = || Error::new("invalid reference format").with_cure(format!("\"{text}\" is not [REGISTRY/]NAME[:TAG]"));
    if !valid_repository(repository) || !tag.is_none_or(valid_tag) {
        let upper = repository.chars().any(|letter| letter.is_ascii_uppercase());
        return Err(if upper {
            Error::new("invalid reference format: repository name must be lowercase")
        } else {
            bad()
        });
    }
    if digest.is_some_and(|digest| !valid_digest(digest)) {
        return Err(bad());
    }
    Ok(format!("{repository}:{}", tag.unwrap_or("latest")))
}

/// [`normalise`] of a name that an image is to have: none that is spelled like an image's id, which must never mean another
/// image. (Docker refuses them in these words.)
pub fn given(text: &str) -> Result<String> {
    let name = normalise(text)?;
    match split(&name).0 {
        "sha256" => Err(Error::new("refusing to create an ambiguous tag using digest algorithm as name")
            .with_cure(format!("{text:?} is spelled like the id of an image"))),
        repository if is_id(repository) => Err(Error::new(format!(
            "invalid repository name ({repository}), cannot specify 64-byte hexadecimal strings"
        ))),
        _ => Ok(name),
    }
}

/// Whether it is spelled as a whole id, without `sha256:`.
pub fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(is_hex)
}

/// Whether it is spelled as the id of an image that `ebb images` lists, or as more of one.
pub fn is_listed_id(text: &str) -> bool {
    (LISTED..=64).contains(&text.len()) && text.bytes().all(is_hex)
}

/// Digits of an id in a list.
const LISTED: usize = 12;

/// Repository and tag. A colon before the last slash belongs to a registry's port.
pub fn split(name: &str) -> (&str, Option<&str>) {
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
        _ => (name, None),
    }
}

/// The digest of `repo@sha256:…`, or of `sha256:…` alone.
pub fn digest(text: &str) -> Option<&str> {
    let digest = text.split_once('@').map_or(text, |(_, digest)| digest);
    valid_digest(digest).then_some(digest)
}

pub fn valid_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(is_id)
}

fn is_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

fn valid_tag(tag: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    (1..=128).contains(&tag.len()) && tag.bytes().all(letter) && !tag.starts_with(['.', '-'])
}

fn valid_repository(repository: &str) -> bool {
    let mut parts: Vec<&str> = repository.split('/').collect();
    // A first part with a dot or a port is a registry's host, for which other rules hold.
    if parts.len() > 1 && (parts[0].contains(['.', ':']) || parts[0] == "localhost") {
        let host = parts.remove(0);
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || b".-:".contains(&byte);
        if !host.bytes().all(letter) || !host.starts_with(|first: char| first.is_ascii_alphanumeric()) {
            return false;
        }
    }
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.-".contains(&byte);
    let plain = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let part = |part: &&str| part.bytes().all(letter) && plain(part.bytes().next()) && plain(part.bytes().last());
    repository.len() <= 255 && parts.iter().all(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spellings_of_one_name_are_one() {
        for text in ["nginx", "nginx:latest", "library/nginx", "docker.io/library/nginx:latest", "docker.io/nginx"] {
            assert_eq!(normalise(text).unwrap(), "nginx:latest", "{text}");
        }
        assert_eq!(normalise("localhost:5000/a/b").unwrap(), "localhost:5000/a/b:latest");
        assert_eq!(normalise("user/app:1.2-x").unwrap(), "user/app:1.2-x");
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in ["", "Nginx", "a//b", "-a", "a:", "a:b:c", "a b", "../a", "a@sha256:12", "a:.b", "a/"] {
            assert!(normalise(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_spelled_like_an_id_is_no_name_to_give() {
        let id = "0123456789abcdef".repeat(4);
        for text in
            [&format!("sha256:{id}"), &id, &format!("{id}:1"), "sha256", "sha256:latest", "docker.io/library/sha256"]
        {
            assert!(given(text).is_err(), "{text}");
        }
        for text in [&id[1..], "sha256x:1", "me/sha256:1", &format!("me/{id}")] {
            assert!(given(text).is_ok(), "{text}");
        }
    }
}
