//! The words of `-v`, `--mount` and `--tmpfs`.

use super::{Kind, Request};
use crate::engine::container::limits;
use crate::error::{Error, Result};

/// `-v SRC:DST[:opts]`, `-v DST`.
pub fn parse_volume(text: &str) -> Result<Request> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, mode) = match parts.as_slice() {
        [target] => (None, *target, ""),
        [source, target] => (Some(*source), *target, ""),
        [source, target, mode] => (Some(*source), *target, *mode),
        _ => return Err(invalid(text)),
    };
    if target.is_empty() || source.is_some_and(str::is_empty) {
        return Err(invalid(text));
    }
    if !target.starts_with('/') {
        let error = Error::new(format!("invalid volume specification: '{text}': mount path must be absolute"));
        return Err(match source {
            None => error.with_cure(format!("a volume needs a path inside the container: -v {target}:/data")),
            Some(source) => error.with_cure(format!("did you mean -v {source}:/{target}?")),
        });
    }
    if super::clean(target) == std::path::Path::new("/") {
        return Err(Error::new(format!("invalid volume specification: '{text}': destination can't be '/'")));
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

fn invalid(text: &str) -> Error {
    Error::new(format!("invalid volume specification: '{text}'"))
        .with_cure("it is SOURCE:PATH[:OPTIONS], or PATH alone")
}

/// A path is what looks like one; everything else is a volume's name.
fn is_path(source: &str) -> bool {
    source.starts_with('/') || source == "." || source == ".." || source.starts_with("./") || source.starts_with("../")
}

/// At most one word of each kind: access, label, propagation, copying.
fn read_mode(request: &mut Request, mode: &str) -> Result<()> {
    let bad = || Error::new(format!("invalid mode: {mode}"));
    let (mut access, mut label, mut copying) = (0, 0, 0);
    for word in mode.split(',') {
        match word {
            "rw" => access += 1,
            "ro" | "readonly" => {
                access += 1;
                request.readonly = true;
            }
            // SELinux labels: accepted, and without effect where there is no SELinux.
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

fn is_propagation(word: &str) -> bool {
    matches!(word.strip_prefix('r').unwrap_or(word), "private" | "shared" | "slave")
        || matches!(word, "rprivate" | "rshared" | "rslave")
}

/// `--mount type=…,k=v`.
pub fn parse_mount(text: &str) -> Result<Request> {
    let mut request = Request::new(Kind::Volume);
    let mut tmpfs = Vec::new();
    for field in csv(text)? {
        let (key, value) = field.split_once('=').map_or((field.as_str(), None), |(key, value)| (key, Some(value)));
        let wanted = || {
            value
                .filter(|value| !value.is_empty())
                .ok_or_else(|| Error::new(format!("invalid field '{field}' must be a key=value pair")))
        };
        match key.to_ascii_lowercase().as_str() {
            "type" => {
                request.kind = match wanted()? {
                    "volume" => Kind::Volume,
                    "bind" => Kind::Bind,
                    "tmpfs" => Kind::Tmpfs,
                    other => {
                        return Err(Error::new(format!(
                            "invalid mount config for type \"{other}\": mount type unknown"
                        )));
                    }
                }
            }
            "source" | "src" => request.source = Some(wanted()?.to_owned()),
            "target" | "dst" | "destination" => request.target = wanted()?.to_owned(),
            "readonly" | "ro" => request.readonly = boolean(&field, value)?,
            "volume-nocopy" => request.nocopy = boolean(&field, value)?,
            // As Podman has them.
            "u" | "chown" => request.chown = boolean(&field, value)?,
            "idmap" => request.id_mapped = boolean(&field, value)?,
            "bind-propagation" => {
                let word = wanted()?;
                if !is_propagation(word) {
                    return Err(Error::new(format!("invalid propagation value '{word}'")));
                }
                request.propagation = Some(word.to_owned());
            }
            "bind-recursive" => match wanted()? {
                "enabled" | "writable" | "readonly" => {}
                "disabled" => request.bind_only = true,
                other => return Err(Error::new(format!("invalid value for bind-recursive: {other}"))),
            },
            "bind-nonrecursive" => request.bind_only = boolean(&field, value)?,
            "bind-create-src" => request.make_source = boolean(&field, value)?,
            "tmpfs-size" => tmpfs.push(format!("size={}", limits::memory(wanted()?)?)),
            "tmpfs-mode" => {
                let mode = wanted()?;
                u32::from_str_radix(mode, 8)
                    .map_err(|_| Error::new(format!("invalid value for tmpfs-mode: {mode}")))?;
                tmpfs.push(format!("mode={mode}"));
            }
            "volume-label" => {
                let label = wanted()?;
                let (name, value) = label.split_once('=').unwrap_or((label, ""));
                request.labels.push((name.to_owned(), value.to_owned()));
            }
            "volume-driver" if value == Some("local") => {}
            "volume-subpath" | "volume-opt" | "volume-driver" => {
                return Err(Error::new(format!("{key} comes with the volume issue")));
            }
            _ => return Err(Error::new(format!("unexpected key '{key}' in '{field}'"))),
        }
    }
    check_mount(&mut request, tmpfs)?;
    Ok(request)
}

fn check_mount(request: &mut Request, tmpfs: Vec<String>) -> Result<()> {
    if request.target.is_empty() {
        return Err(Error::new("target is required"));
    }
    let kind = match request.kind {
        Kind::Volume => "volume",
        Kind::Bind => "bind",
        Kind::Tmpfs => "tmpfs",
    };
    let bad = |why: &str| Err(Error::new(format!("invalid mount config for type \"{kind}\": {why}")));
    if !request.target.starts_with('/') {
        return bad(&format!("invalid mount path: '{}' mount path must be absolute", request.target));
    }
    match (request.kind, &request.source) {
        (Kind::Bind, None) => return bad("field Source must not be empty"),
        (Kind::Tmpfs, Some(_)) => return bad("field Source must not be specified"),
        (Kind::Bind, Some(source)) if !is_path(source) => {
            return bad(&format!("invalid mount path: '{source}' mount path must be absolute"));
        }
        _ => {}
    }
    if !tmpfs.is_empty() && request.kind != Kind::Tmpfs {
        return Err(Error::new(format!("cannot mix 'tmpfs-*' options with mount type '{kind}'")));
    }
    if (request.nocopy || !request.labels.is_empty()) && request.kind != Kind::Volume {
        return Err(Error::new(format!("cannot mix 'volume-*' options with mount type '{kind}'")));
    }
    if request.id_mapped && (request.kind != Kind::Bind || request.chown) {
        let with = if request.chown { "U, which changes the owner on the disk" } else { "a mount that is no bind" };
        return bad(&format!("idmap cannot go with {with}"));
    }
    if request.chown && request.kind == Kind::Tmpfs {
        return bad("U is for what lies on a disk; a tmpfs takes uid= and gid=");
    }
    if (request.propagation.is_some() || request.bind_only) && request.kind != Kind::Bind {
        return Err(Error::new(format!("cannot mix 'bind-*' options with mount type '{kind}'")));
    }
    request.tmpfs_options = tmpfs;
    Ok(())
}

fn boolean(field: &str, value: Option<&str>) -> Result<bool> {
    match value {
        None => Ok(true),
        Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
        Some(other) => {
            let key = field.split('=').next().unwrap_or_default();
            Err(Error::new(format!("invalid value for {key}: {other}")))
        }
    }
}

/// One record of CSV (RFC 4180): a field may be quoted, and a quote in it doubled.
fn csv(text: &str) -> Result<Vec<String>> {
    let mut fields = vec![String::new()];
    let mut letters = text.chars().peekable();
    let mut quoted = false;
    while let Some(letter) = letters.next() {
        let field = fields.last_mut();
        match (letter, quoted, field) {
            ('"', true, Some(field)) if letters.peek() == Some(&'"') => {
                letters.next();
                field.push('"');
            }
            ('"', true, _) => quoted = false,
            ('"', false, Some(field)) if field.is_empty() => quoted = true,
            (',', false, _) => fields.push(String::new()),
            (letter, _, Some(field)) => field.push(letter),
            (_, _, None) => {}
        }
    }
    if quoted {
        return Err(Error::new("a quote is left open"));
    }
    Ok(fields)
}

/// `--tmpfs PATH[:opts]`.
pub fn parse_tmpfs(text: &str) -> Result<Request> {
    let (target, options) = text.split_once(':').unwrap_or((text, ""));
    let mut request = Request::new(Kind::Tmpfs);
    if !target.starts_with('/') || super::clean(target) == std::path::Path::new("/") {
        return Err(Error::new(format!("invalid mount path: '{target}' mount path must be absolute, and not '/'")));
    }
    request.target = target.to_owned();
    for word in options.split(',').filter(|word| !word.is_empty()) {
        match word.split_once('=').map_or(word, |(key, _)| key) {
            "ro" => request.readonly = true,
            "rw" | "nosuid" | "nodev" | "noexec" => {}
            "exec" | "size" | "mode" | "uid" | "gid" | "nr_inodes" | "nr_blocks" | "noatime" | "relatime" => {
                request.tmpfs_options.push(word.to_owned());
            }
            _ => return Err(Error::new(format!("invalid tmpfs option [\"{word}\"]"))),
        }
    }
    Ok(request)
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
        for mode in ["ro,rw", "foo", "z,Z", "rprivate", ""] {
            let error = parse_volume(&format!("v:/a:{mode}")).unwrap_err();
            assert_eq!(error.message, format!("invalid mode: {mode}"));
        }
        assert!(parse_volume("v:/a:ro,z,nocopy").is_ok() && parse_volume("/h:/a:rslave,ro").is_ok());
    }

    #[test]
    fn mount_reads_csv_and_names_what_it_does_not_know() {
        let mount = parse_mount("type=bind,\"src=/a,b\",dst=/c,readonly").unwrap();
        assert_eq!((mount.source.as_deref(), mount.readonly), (Some("/a,b"), true));
        assert_eq!(parse_mount("type=bind,foo=1,dst=/a").unwrap_err().message, "unexpected key 'foo' in 'foo=1'");
        assert_eq!(parse_mount("src=shared").unwrap_err().message, "target is required");
        assert!(!parse_mount("src=v,dst=/a,ro=false").unwrap().readonly);
    }

    #[test]
    fn a_tmpfs_is_noexec_unless_exec_is_asked_for() {
        assert_eq!(parse_tmpfs("/t:size=1m,exec").unwrap().tmpfs_options, ["size=1m", "exec"]);
        assert!(parse_tmpfs("t").is_err() && parse_tmpfs("/t:bogus").is_err());
    }
}
