//! The words of `--mount`: `type=volume,source=myvolume,target=/app/data,readonly`.

use super::parse::{is_path, is_propagation};
use super::{Kind, Recursion, Request};
use crate::engine::container::limits;
use crate::error::{Error, Result};
use std::path::{Component, Path};

/// Every key, as Docker has them; after the dash of the first word comes the type that it is for.
const KEYS: &[&str] = &[
    "type",
    "source",
    "src",
    "target",
    "dst",
    "destination",
    "readonly",
    "ro",
    "consistency",
    "u",
    "chown",
    "idmap",
    "bind-propagation",
    "bind-recursive",
    "bind-nonrecursive",
    "bind-create-src",
    "volume-nocopy",
    "volume-subpath",
    "volume-label",
    "volume-driver",
    "volume-opt",
    "tmpfs-size",
    "tmpfs-mode",
];

pub(super) fn is_key(word: &str) -> bool {
    KEYS.contains(&word)
}

/// `--mount type=…,k=v`.
pub fn parse_mount(text: &str) -> Result<Request> {
    let mut request = Request::new(Kind::Volume);
    let mut keys = Vec::new();
    let mut force_readonly = false;
    for field in csv(text)? {
        let (key, value) = field.split_once('=').map_or((field.as_str(), None), |(key, value)| (key, Some(value)));
        let key = key.to_ascii_lowercase();
        let field = Field { text: &field, key: &key, value };
        match key.split_once('-') {
            Some(("bind", of_bind)) => bind(&mut request, &mut force_readonly, of_bind, &field)?,
            Some(("volume", of_volume)) => volume(&mut request, of_volume, &field)?,
            Some(("tmpfs", of_tmpfs)) => tmpfs(&mut request, of_tmpfs, &field)?,
            _ => of_any_type(&mut request, &field)?,
        }
        keys.push(key);
    }
    check(&request, &keys)?;
    check_recursion(&request, force_readonly)?;
    Ok(request)
}

/// One `key=value`.
struct Field<'a> {
    text: &'a str,
    key: &'a str,
    value: Option<&'a str>,
}

impl Field<'_> {
    fn value(&self) -> Result<&str> {
        self.value
            .filter(|value| !value.is_empty())
            .ok_or_else(|| Error::new(format!("invalid field '{}' must be a key=value pair", self.text)))
    }

    /// The key alone says yes.
    fn boolean(&self) -> Result<bool> {
        match self.value {
            None | Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
            Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
            Some(other) => Err(self.invalid(other)),
        }
    }

    fn invalid(&self, value: &str) -> Error {
        Error::new(format!("invalid value for {}: {value}", self.key))
    }

    fn unknown(&self) -> Error {
        let error = match self.value {
            Some(_) => Error::new(format!("unexpected key '{}' in '{}'", self.key, self.text)),
            None => Error::new(format!("invalid field '{}' must be a key=value pair", self.text)),
        };
        match self.key {
            "rw" | "readwrite" => error.with_cure("a mount is writable unless it is readonly"),
            "nocopy" | "subpath" | "label" | "driver" | "opt" => error.with_cure(format!("it is volume-{}", self.key)),
            "propagation" | "recursive" => error.with_cure(format!("it is bind-{}", self.key)),
            "size" | "mode" => error.with_cure(format!("it is tmpfs-{}", self.key)),
            _ => error,
        }
    }
}

fn of_any_type(request: &mut Request, field: &Field) -> Result<()> {
    match field.key {
        "type" => {
            request.kind = match field.value()? {
                "volume" => Kind::Volume,
                "bind" => Kind::Bind,
                "tmpfs" => Kind::Tmpfs,
                other => {
                    let text = format!("invalid mount config for type \"{other}\": mount type unknown");
                    return Err(Error::new(text).with_cure("it is volume, bind or tmpfs"));
                }
            }
        }
        "source" | "src" => request.source = Some(field.value()?.to_owned()),
        "target" | "dst" | "destination" => request.target = field.value()?.to_owned(),
        "readonly" | "ro" => request.readonly = field.boolean()?,
        // As Podman has them.
        "u" | "chown" => request.chown = field.boolean()?,
        "idmap" => request.id_mapped = field.boolean()?,
        // For machines that have Docker in a virtual machine; on Linux Docker does nothing with it either.
        "consistency" => {
            let word = field.value()?;
            if !matches!(word, "default" | "consistent" | "cached" | "delegated") {
                return Err(field.invalid(word));
            }
        }
        _ => return Err(field.unknown()),
    }
    Ok(())
}

fn bind(request: &mut Request, force_readonly: &mut bool, key: &str, field: &Field) -> Result<()> {
    match key {
        "propagation" => {
            let word = field.value()?;
            if !is_propagation(word) {
                let text = format!("invalid propagation value: {word}");
                return Err(Error::new(text).with_cure("it is rprivate, private, rshared, shared, rslave or slave"));
            }
            request.propagation = Some(word.to_owned());
        }
        "recursive" => match field.value()? {
            "enabled" => request.recursion = Recursion::Enabled,
            "disabled" => request.recursion = Recursion::Disabled,
            "writable" => request.recursion = Recursion::Writable,
            "readonly" => {
                request.recursion = Recursion::Enabled;
                *force_readonly = true;
            }
            other => {
                let known = "must be \"enabled\", \"disabled\", \"writable\", or \"readonly\"";
                return Err(Error::new(format!("invalid value for bind-recursive: {other} ({known})")));
            }
        },
        "nonrecursive" if field.boolean()? => request.recursion = Recursion::Disabled,
        "nonrecursive" => request.recursion = Recursion::Enabled,
        "create-src" => request.make_source = field.boolean()?,
        _ => return Err(field.unknown()),
    }
    Ok(())
}

fn volume(request: &mut Request, key: &str, field: &Field) -> Result<()> {
    let pair = |text: &str| {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        (key.to_owned(), value.to_owned())
    };
    match key {
        "nocopy" => request.nocopy = field.boolean()?,
        "subpath" => {
            // Docker's own page shows a slash in front, which its daemon refuses; there is only one thing it can mean.
            let path = field.value()?.trim_start_matches('/');
            let inside = |part: Component| matches!(part, Component::Normal(_) | Component::CurDir);
            if path.is_empty() || !Path::new(path).components().all(inside) {
                return Err(Error::new(
                    "invalid mount config for type \"volume\": subpath must be a relative path within the volume",
                ));
            }
            request.subpath = Path::new(path).components().collect::<std::path::PathBuf>().display().to_string();
        }
        "label" => request.labels.push(pair(field.value()?)),
        "opt" => request.options.push(pair(field.value()?)),
        "driver" => {
            let driver = field.value()?;
            if driver != "local" {
                return Err(super::unknown_driver(driver));
            }
        }
        _ => return Err(field.unknown()),
    }
    Ok(())
}

fn tmpfs(request: &mut Request, key: &str, field: &Field) -> Result<()> {
    match key {
        "size" => {
            let text = field.value()?;
            let size = limits::memory(text).ok().filter(|size| *size >= 0).ok_or_else(|| field.invalid(text))?;
            request.tmpfs_options.push(format!("size={size}"));
        }
        "mode" => {
            let text = field.value()?;
            let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777);
            request.tmpfs_options.push(format!("mode={:o}", mode.ok_or_else(|| field.invalid(text))?));
        }
        _ => return Err(field.unknown()),
    }
    Ok(())
}

fn check(request: &Request, keys: &[String]) -> Result<()> {
    if request.target.is_empty() {
        return Err(Error::new("target is required"));
    }
    let kind = request.kind.word();
    let bad = |why: &str| Err(Error::new(format!("invalid mount config for type \"{kind}\": {why}")));
    for family in ["volume", "bind", "tmpfs"].into_iter().filter(|family| *family != kind) {
        if keys.iter().any(|key| key.split_once('-').is_some_and(|(of, _)| of == family)) {
            return Err(Error::new(format!("cannot mix '{family}-*' options with mount type '{kind}'")));
        }
    }
    if !request.target.starts_with('/') {
        return bad(&format!("invalid mount path: '{}' mount path must be absolute", request.target));
    }
    if super::clean(&request.target) == Path::new("/") {
        return bad("invalid specification: destination can't be '/'");
    }
    match (request.kind, &request.source) {
        (Kind::Bind, None) => bad("field Source must not be empty"),
        (Kind::Tmpfs, Some(_)) => bad("field Source must not be specified"),
        (Kind::Bind, Some(source)) if !is_path(source) => {
            bad(&format!("invalid mount path: '{source}' mount path must be absolute"))
        }
        _ if request.id_mapped && (request.kind != Kind::Bind || request.chown) => {
            let with = if request.chown { "U, which changes the owner on the disk" } else { "a mount that is no bind" };
            bad(&format!("idmap cannot go with {with}"))
        }
        (Kind::Tmpfs, _) if request.chown => bad("U is for what lies on a disk; a tmpfs takes uid= and gid="),
        (Kind::Volume, None) if !request.subpath.is_empty() => bad("must not set Subpath when using anonymous volumes"),
        _ => Ok(()),
    }
}

/// What Docker 25 made of read-only and of the mounts below: `enabled` is read-only all the way down here, always, since
/// every kernel that Ebb runs on can do it.
fn check_recursion(request: &Request, force_readonly: bool) -> Result<()> {
    let needs = |word: &str, what: &str| {
        Err(Error::new(format!("option 'bind-recursive={word}' requires '{what}' to be specified in conjunction")))
    };
    if request.recursion == Recursion::Writable && !request.readonly {
        return needs("writable", "readonly");
    }
    if force_readonly && !request.readonly {
        return needs("readonly", "readonly");
    }
    if force_readonly && request.propagation.as_deref().is_some_and(|word| word != "rprivate") {
        return needs("readonly", "bind-propagation=rprivate");
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_reads_csv_and_names_what_it_does_not_know() {
        let mount = parse_mount("type=bind,\"src=/a,b\",dst=/c,readonly").unwrap();
        assert_eq!((mount.source.as_deref(), mount.readonly), (Some("/a,b"), true));
        assert_eq!(parse_mount("type=bind,foo=1,dst=/a").unwrap_err().message, "unexpected key 'foo' in 'foo=1'");
        assert_eq!(parse_mount("src=shared").unwrap_err().message, "target is required");
        assert!(!parse_mount("src=v,dst=/a,ro=false").unwrap().readonly);
    }

    #[test]
    fn driver_options_may_hold_commas_and_equal_signs() {
        let mount = parse_mount("src=v,dst=/a,volume-opt=type=nfs,\"volume-opt=o=addr=10.0.0.1,ro\"").unwrap();
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(mount.options, [pair("type", "nfs"), pair("o", "addr=10.0.0.1,ro")]);
    }

    #[test]
    fn every_key_is_read() {
        for key in KEYS {
            let kind = key.split_once('-').map_or("volume", |(kind, _)| kind);
            let error = parse_mount(&format!("type={kind},{key}=\u{1}")).err().map(|error| error.message);
            assert!(!error.is_some_and(|message| message.contains("unexpected key")), "{key}");
        }
    }
}
