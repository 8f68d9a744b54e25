//! A `--mount` as Docker's API has it: what `inspect` shows under `HostConfig.Mounts`.

use super::{Kind, Recursion, Request};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

pub fn to_api(request: &Request) -> Value {
    let mut tree = Map::new();
    let mut set = |key: &str, value: Value| drop(tree.insert(key.to_owned(), value));
    set("Type", json!(request.kind.word()));
    if let Some(source) = &request.source {
        set("Source", json!(source));
    }
    set("Target", json!(request.target));
    if request.readonly {
        set("ReadOnly", json!(true));
    }
    let (key, options) = match request.kind {
        Kind::Bind => ("BindOptions", of_bind(request)),
        Kind::Volume => ("VolumeOptions", of_volume(request)),
        Kind::Tmpfs => ("TmpfsOptions", of_tmpfs(request)),
    };
    if !options.is_empty() {
        set(key, Value::Object(options));
    }
    Value::Object(tree)
}

fn of_bind(request: &Request) -> Map<String, Value> {
    let mut options = Map::new();
    if let Some(word) = &request.propagation {
        options.insert("Propagation".into(), json!(word));
    }
    match request.recursion {
        Recursion::Enabled => {}
        Recursion::Disabled => drop(options.insert("NonRecursive".into(), json!(true))),
        Recursion::Writable => drop(options.insert("ReadOnlyNonRecursive".into(), json!(true))),
    }
    if request.make_source {
        options.insert("CreateMountpoint".into(), json!(true));
    }
    options
}

fn of_volume(request: &Request) -> Map<String, Value> {
    let map = |pairs: &[(String, String)]| pairs.iter().cloned().collect::<BTreeMap<_, _>>();
    let mut options = Map::new();
    if request.nocopy {
        options.insert("NoCopy".into(), json!(true));
    }
    if !request.labels.is_empty() {
        options.insert("Labels".into(), json!(map(&request.labels)));
    }
    if !request.subpath.is_empty() {
        options.insert("Subpath".into(), json!(request.subpath));
    }
    if !request.options.is_empty() {
        options.insert("DriverConfig".into(), json!({"Name": "local", "Options": map(&request.options)}));
    }
    options
}

fn of_tmpfs(request: &Request) -> Map<String, Value> {
    let mut options = Map::new();
    for word in &request.tmpfs_options {
        match word.split_once('=') {
            Some(("size", bytes)) => drop(options.insert("SizeBytes".into(), json!(bytes.parse::<i64>().unwrap_or(0)))),
            // Go has the mode as a number.
            Some(("mode", mode)) => {
                drop(options.insert("Mode".into(), json!(u32::from_str_radix(mode, 8).unwrap_or(0))))
            }
            _ => {}
        }
    }
    options
}
