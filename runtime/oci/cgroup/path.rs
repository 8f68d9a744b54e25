//! A cgroup's name, and the directories that it means.

use crate::error::{Error, Result};
use std::path::{Path, PathBuf};

/// A path that climbs nowhere. systemd's form of it, "slice:prefix:name", becomes the directory that systemd would make;
/// each of its words is one name.
pub fn plain(path: &str) -> Result<String> {
    let refused = |why: &str| Err(Error::new(format!("the cgroup path {path:?} must not contain {why}")));
    let plain = match path.split(':').collect::<Vec<_>>()[..] {
        [slice, prefix, name] if [slice, prefix, name].iter().all(|word| !word.contains('/')) => match prefix {
            "" => format!("/{slice}/{name}"),
            _ => format!("/{slice}/{prefix}-{name}.scope"),
        },
        _ => path.to_owned(),
    };
    // Asked of what came out: "..::x" has no ".." between slashes before.
    if plain.split('/').any(|part| part == "..") {
        return refused("\"..\"");
    }
    if plain.contains(|letter: char| letter.is_control()) {
        return refused("a control character");
    }
    if plain.split('/').all(|part| matches!(part, "" | ".")) {
        return Err(no_path());
    }
    Ok(plain)
}

pub fn no_path() -> Error {
    Error::new("the container's cgroup path is empty")
}

/// The directories below `base` that lead to `path`, each inside the one before it.
pub fn steps(base: &Path, path: &str) -> Vec<PathBuf> {
    let mut here = base.to_owned();
    let parts = path.split('/').filter(|part| !part.is_empty() && *part != ".");
    parts
        .map(|part| {
            here.push(part);
            here.clone()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn a_path_climbs_nowhere_in_either_form() {
        for bad in [
            "..::x",
            "x::..",
            "a/../b",
            "../x",
            "..",
            "/a/..",
            "/../b:c:d",
            "a:b:../../c",
            "a\0b",
            "a\nb",
            "",
            "/",
            "/.",
            "::",
        ] {
            assert!(plain(bad).is_err(), "{bad:?}");
        }
        assert_eq!(plain("user.slice:libpod:1f").unwrap(), "/user.slice/libpod-1f.scope");
        assert_eq!(plain("user.slice::1f").unwrap(), "/user.slice/1f");
        for same in ["/ebb/1f", "a..b/..c", "/a:b", "/a:b:c"] {
            assert_eq!(plain(same).unwrap(), same);
        }
    }
}
