//! The words of `-v` and `--tmpfs`; those of `--mount` are in `parse_mount`.

use super::{Kind, Request, clean};
use crate::error::{Error, Result};
use std::path::Path;

/// `-v SRC:DST[:opts]`, `-v DST`.
pub fn parse_volume(text: &str) -> Result<Request> {
    if text.is_empty() {
        return Err(Error::new("invalid empty volume spec").with_cure(WORDS));
    }
    let parts: Vec<&str> = text.split(':').collect();
    if parts.iter().any(|part| part.is_empty()) {
        return Err(Error::new(format!("invalid spec: {text}: empty section between colons")).with_cure(WORDS));
    }
    let (source, target, mode) = match parts.as_slice() {
        [target] => (None, *target, ""),
        [source, target] => (Some(*source), *target, ""),
        [source, target, mode] => (Some(*source), *target, *mode),
        _ => return Err(Error::new(format!("invalid volume specification: '{text}'")).with_cure(WORDS)),
    };
    if !target.starts_with('/') {
        let error = Error::new(format!("invalid volume specification: '{text}': mount path must be absolute"));
        return Err(match source {
            None => error.with_cure(format!("a volume needs a path inside the container: -v {target}:/data")),
            Some(source) => error.with_cure(format!("did you mean -v {source}:/{target}?")),
        });
    }
    if clean(target) == Path::new("/") {
        return Err(Error::new(format!("invalid volume specification: '{text}': destination can't be '/'")).with_cure(
            "Docker on Linux takes such a word for a drive letter, and mounts nothing; name a path below /",
        ));
    }
    let mut request = Request::new(match source {
        Some(source) if is_path(source) => Kind::Bind,
        _ => Kind::Volume,
    });
    request.source = source.map(str::to_owned);
    request.target = target.to_owned();
    request.make_source = request.kind == Kind::Bind;
    if parts.len() == 3 {
        read_mode(&mut request, mode)?;
    }
    Ok(request)
}

const WORDS: &str = "it is SOURCE:PATH[:OPTIONS], or PATH alone; a path with a colon in it goes into --mount";

/// A path is what looks like one; everything else is a volume's name.
pub(super) fn is_path(source: &str) -> bool {
    source.starts_with('/') || source == "." || source == ".." || source.starts_with("./") || source.starts_with("../")
}

/// At most one word of each kind: access, label, propagation, copying.
fn read_mode(request: &mut Request, mode: &str) -> Result<()> {
    let bad = || invalid_mode(request.kind, mode);
    let (mut access, mut label, mut copying) = (0, 0, 0);
    for word in mode.split(',') {
        match word {
            "rw" => access += 1,
            "ro" | "readonly" => {
                access += 1;
                request.readonly = true;
            }
            // SELinux labels: accepted, and what they do not do is said when the mount is made.
            "z" | "Z" => label += 1,
            "nocopy" | "volume-nocopy" if request.kind == Kind::Volume => {
                copying += 1;
                request.nocopy = true;
            }
            "U" if !request.chown && request.kind != Kind::Tmpfs => request.chown = true,
            "idmap" if !request.id_mapped && request.kind == Kind::Bind => request.id_mapped = true,
            word if is_propagation(word) && request.kind == Kind::Bind && request.propagation.is_none() => {
                request.propagation = Some(word.to_owned());
            }
            _ => return Err(bad()),
        }
    }
    // The one changes the owner on the disk, the other translates it so that it need not be changed.
    if access > 1 || label > 1 || copying > 1 || (request.chown && request.id_mapped) {
        return Err(bad());
    }
    request.mode = mode.to_owned();
    Ok(())
}

/// The mode of `--volumes-from`: whether it is read-only.
pub(super) fn only_access(mode: &str) -> Result<bool> {
    let mut request = Request::new(Kind::Bind);
    match mode {
        "" => {}
        mode if mode.split(',').any(is_propagation) => return Err(invalid_mode(Kind::Bind, mode)),
        mode => read_mode(&mut request, mode)?,
    }
    if request.chown || request.id_mapped {
        return Err(Error::new(format!("invalid mode: {mode}")).with_cure("it is NAME, NAME:ro or NAME:rw"));
    }
    Ok(request.readonly)
}

/// Docker's words, and what was meant: its page shows words in `-v` that only `--mount` takes, and the other way round.
fn invalid_mode(kind: Kind, mode: &str) -> Error {
    let error = Error::new(format!("invalid mode: {mode}"));
    let known =
        |word: &str| matches!(word, "rw" | "ro" | "readonly" | "z" | "Z" | "nocopy" | "volume-nocopy" | "U" | "idmap");
    let Some(word) = mode.split(',').find(|word| !known(word)) else {
        return error.with_cure(match kind {
            Kind::Bind if mode.contains("nocopy") => {
                "nocopy is for volumes: nothing is ever copied into a host directory"
            }
            Kind::Volume if mode.contains("idmap") => {
                "idmap is for host directories: the ids in a volume are the containers' own"
            }
            _ => "at most one of ro and rw, one of z and Z, and one of U and idmap",
        });
    };
    let key = word.split('=').next().unwrap_or_default();
    if super::parse_mount::is_key(key) {
        return error.with_cure(format!("{key} is a word of --mount: --mount type=…,src=…,dst=…,{word}"));
    }
    if is_propagation(word) {
        return error.with_cure(match kind {
            Kind::Volume => "propagation is for host directories: what is mounted in a volume is nobody else's",
            _ => "one word of propagation at most",
        });
    }
    error.with_cure(
        "it is ro or rw, z or Z, U, nocopy (volumes), and idmap, rprivate, rshared, rslave, … (host directories)",
    )
}

pub(super) fn is_propagation(word: &str) -> bool {
    matches!(word, "private" | "shared" | "slave" | "rprivate" | "rshared" | "rslave")
}

/// `--tmpfs PATH[:opts]`.
pub fn parse_tmpfs(text: &str) -> Result<Request> {
    let (target, options) = text.split_once(':').unwrap_or((text, ""));
    let mut request = Request::new(Kind::Tmpfs);
    if !target.starts_with('/') || clean(target) == Path::new("/") {
        return Err(Error::new(format!("invalid mount path: '{target}' mount path must be absolute, and not '/'")));
    }
    request.target = target.to_owned();
    for word in options.split(',').filter(|word| !word.is_empty()) {
        match tmpfs_word(word) {
            Some(Access::ReadOnly) => request.readonly = true,
            Some(Access::Writable) => request.readonly = false,
            Some(Access::Unsaid) => request.tmpfs_options.push(word.to_owned()),
            None => {
                return Err(Error::new(format!("invalid tmpfs option [\"{word}\"]")).with_cure(
                    "it takes size=, mode=, uid=, gid=, nr_inodes=, nr_blocks=, ro, exec, suid, dev, noatime and the like",
                ));
            }
        }
    }
    Ok(request)
}

/// What a word of a tmpfs says of writing to it.
enum Access {
    ReadOnly,
    Writable,
    Unsaid,
}

/// `None` for what is no word of a tmpfs. The values of numbers are the kernel's to check: it says which it refuses.
fn tmpfs_word(word: &str) -> Option<Access> {
    const FLAGS: &[&str] = &[
        "defaults",
        "suid",
        "nosuid",
        "dev",
        "nodev",
        "exec",
        "noexec",
        "atime",
        "noatime",
        "diratime",
        "nodiratime",
        "relatime",
        "norelatime",
        "strictatime",
        "nostrictatime",
        "sync",
        "async",
    ];
    match word.split_once('=') {
        Some(("size" | "mode" | "uid" | "gid" | "nr_inodes" | "nr_blocks" | "mpol", value)) if !value.is_empty() => {
            Some(Access::Unsaid)
        }
        Some(_) => None,
        None if word == "ro" => Some(Access::ReadOnly),
        None if word == "rw" => Some(Access::Writable),
        None => FLAGS.contains(&word).then_some(Access::Unsaid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_is_a_name_a_path_or_nothing() {
        let named = parse_volume("v:/data:ro").unwrap();
        assert_eq!((named.kind, named.source.as_deref(), named.readonly), (Kind::Volume, Some("v"), true));
        let bind = parse_volume("./x:/data").unwrap();
        assert_eq!((bind.kind, bind.make_source), (Kind::Bind, true));
        let anonymous = parse_volume("/data").unwrap();
        assert_eq!((anonymous.kind, anonymous.source), (Kind::Volume, None));
    }

    #[test]
    fn what_docker_swallows_is_refused_with_a_hint() {
        for text in ["x:/", "a:b", "shared", "", ":/a", "a::", "a:/b:c:d"] {
            assert!(parse_volume(text).is_err(), "{text}");
        }
        assert!(parse_volume("a:b").unwrap_err().cure.unwrap().contains("a:/b"));
    }

    #[test]
    fn a_mode_has_one_word_of_each_kind() {
        for mode in ["ro,rw", "foo", "z,Z", "rprivate"] {
            let error = parse_volume(&format!("v:/a:{mode}")).unwrap_err();
            assert_eq!(error.message, format!("invalid mode: {mode}"));
        }
        assert_eq!(parse_volume("v:/a:").unwrap_err().message, "invalid spec: v:/a:: empty section between colons");
        assert!(parse_volume("v:/a:ro,z,nocopy").is_ok() && parse_volume("/h:/a:rslave,ro").is_ok());
    }

    #[test]
    fn a_tmpfs_is_noexec_unless_exec_is_asked_for() {
        assert_eq!(parse_tmpfs("/t:size=1m,exec").unwrap().tmpfs_options, ["size=1m", "exec"]);
        assert!(parse_tmpfs("/t:ro,size=1m").unwrap().readonly && !parse_tmpfs("/t:ro,rw").unwrap().readonly);
        for text in ["t", "/", "/t:bogus", "/t:size", "/t:size=", "/t:ro=1"] {
            assert!(parse_tmpfs(text).is_err(), "{text}");
        }
    }
}
