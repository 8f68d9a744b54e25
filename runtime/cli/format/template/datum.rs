//! Values as Go has them. JSON does not tell a struct from a map, nor an empty list from none; Docker's types do, and
//! they print differently (`{on-failure 2}`, `map[a:b]`, `[]`), so the keys that hold maps and lists are named here.

use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::rc::Rc;

#[derive(Debug, Clone)]
pub enum Datum {
    /// A key that a map does not have: `<no value>`.
    Missing,
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Rc<str>),
    /// `None` prints as an empty one, and is `null` in JSON.
    List(Option<Rc<Vec<Datum>>>),
    Map(Option<Rc<BTreeMap<String, Datum>>>),
    /// A field that the JSON leaves out and Docker's struct has: how it prints.
    Omitted(&'static str),
    /// In the order of its fields.
    Struct(Rc<Vec<(String, Datum)>>),
}

/// Keys whose objects are Go maps.
const MAPS: &[&str] = &[
    "Annotations",
    "Attributes",
    "Data",
    "DriverOpts",
    "ExposedPorts",
    "Labels",
    "Metadata",
    "Networks",
    "Options",
    "PortBindings",
    "Ports",
    "Runtimes",
    "StorageOpt",
    "Sysctls",
    "Tmpfs",
    "Volumes",
];

/// Keys whose nulls are Go's nil slices.
const LISTS: &[&str] = &[
    "Args",
    "Binds",
    "BlkioDeviceReadBps",
    "BlkioWeightDevice",
    "CapAdd",
    "CapDrop",
    "Cmd",
    "DNS",
    "DeviceCgroupRules",
    "DeviceRequests",
    "Devices",
    "Dns",
    "DnsOptions",
    "DnsSearch",
    "Entrypoint",
    "Env",
    "ExecIDs",
    "ExtraHosts",
    "GroupAdd",
    "Links",
    "MaskedPaths",
    "Mounts",
    "OnBuild",
    "ReadonlyPaths",
    "RepoDigests",
    "RepoTags",
    "SecurityOpt",
    "Shell",
    "Ulimits",
    "VolumesFrom",
];

/// Keys that Docker leaves out of the JSON while its types have them: asked for, they are nil and no error.
const OPTIONAL: &[&str] =
    &["Health", "Healthcheck", "SizeRootFs", "SizeRw", "StopTimeout", "PidsLimit", "Init", "ImageManifestDescriptor"];

/// The same, of type string.
const OPTIONAL_TEXTS: &[&str] = &["StopSignal", "Name", "Driver", "MacAddress", "Domainname"];

impl Datum {
    pub fn of(value: &Value) -> Datum {
        Datum::under("", value)
    }

    pub fn text(text: impl AsRef<str>) -> Datum {
        Datum::Text(text.as_ref().into())
    }

    pub fn list(items: Vec<Datum>) -> Datum {
        Datum::List(Some(Rc::new(items)))
    }

    /// The value that stands at `key`.
    fn under(key: &str, value: &Value) -> Datum {
        match value {
            Value::Null if MAPS.contains(&key) => Datum::Map(None),
            Value::Null if LISTS.contains(&key) => Datum::List(None),
            Value::Null => Datum::Nil,
            Value::Bool(value) => Datum::Bool(*value),
            Value::Number(number) => match number.as_i64() {
                Some(whole) => Datum::Int(whole),
                None => Datum::Float(number.as_f64().unwrap_or(0.0)),
            },
            Value::String(text) => Datum::text(text),
            Value::Array(items) => {
                let item_key = if key == "Mounts" { MOUNT } else { "" };
                Datum::list(items.iter().map(|item| Datum::under(item_key, item)).collect())
            }
            Value::Object(object) if is_map(key, object) => {
                let entries = object.iter().map(|(name, value)| (name.clone(), Datum::under("", value)));
                Datum::Map(Some(Rc::new(entries.collect())))
            }
            Value::Object(object) => {
                let fields = object.iter().map(|(name, value)| (name.clone(), Datum::under(name, value)));
                Datum::Struct(Rc::new(with_omitted(key, fields.collect())))
            }
        }
    }

    /// Back to JSON, for `json`.
    pub fn to_json(&self) -> Value {
        match self {
            Datum::Missing | Datum::Nil | Datum::Omitted(_) | Datum::List(None) | Datum::Map(None) => Value::Null,
            Datum::Bool(value) => Value::Bool(*value),
            Datum::Int(number) => (*number).into(),
            Datum::Float(number) => (*number).into(),
            Datum::Text(text) => Value::String(text.to_string()),
            Datum::List(Some(items)) => Value::Array(items.iter().map(Datum::to_json).collect()),
            Datum::Map(Some(entries)) => {
                Value::Object(entries.iter().map(|(key, value)| (key.clone(), value.to_json())).collect())
            }
            Datum::Struct(fields) => {
                let shown = fields.iter().filter(|(_, value)| !matches!(value, Datum::Omitted(_)));
                Value::Object(shown.map(|(key, value)| (key.clone(), value.to_json())).collect())
            }
        }
    }

    /// Whether `name` is a part of this struct that adds no level to it.
    pub fn embeds(&self, name: &str) -> bool {
        let Datum::Struct(fields) = self else { return false };
        EMBEDDED.iter().any(|(known, of)| *known == name && fields.iter().any(|(key, _)| key == of))
    }

    /// With all of its texts changed.
    pub fn map_texts(&self, change: fn(&str) -> String) -> Datum {
        match self {
            Datum::Text(text) => Datum::text(change(text)),
            Datum::List(Some(items)) => Datum::list(items.iter().map(|item| item.map_texts(change)).collect()),
            Datum::Map(Some(entries)) => {
                let entries = entries.iter().map(|(key, value)| (change(key), value.map_texts(change)));
                Datum::Map(Some(Rc::new(entries.collect())))
            }
            Datum::Struct(fields) => {
                let fields = fields.iter().map(|(key, value)| (key.clone(), value.map_texts(change)));
                Datum::Struct(Rc::new(fields.collect()))
            }
            other => other.clone(),
        }
    }

    /// About how many bytes of memory it takes.
    pub fn weight(&self) -> usize {
        let inside = match self {
            Datum::Text(text) => text.len(),
            Datum::List(Some(items)) => items.iter().map(Datum::weight).sum(),
            Datum::Map(Some(entries)) => entries.iter().map(|(key, value)| key.len() + value.weight()).sum(),
            Datum::Struct(fields) => fields.iter().map(|(key, value)| key.len() + value.weight()).sum(),
            _ => 0,
        };
        size_of::<Datum>() + inside
    }

    /// Go's idea of truth: not false, not zero, not empty.
    pub fn is_true(&self) -> bool {
        match self {
            Datum::Missing | Datum::Nil | Datum::Omitted(_) => false,
            Datum::Bool(value) => *value,
            Datum::Int(number) => *number != 0,
            Datum::Float(number) => *number != 0.0,
            Datum::Text(text) => !text.is_empty(),
            Datum::List(items) => items.as_ref().is_some_and(|items| !items.is_empty()),
            Datum::Map(entries) => entries.as_ref().is_some_and(|entries| !entries.is_empty()),
            Datum::Struct(_) => true,
        }
    }

    /// The name of its Go type, for errors.
    pub fn kind(&self) -> &'static str {
        match self {
            Datum::Missing | Datum::Nil | Datum::Omitted(_) => "nil",
            Datum::Bool(_) => "bool",
            Datum::Int(_) => "int",
            Datum::Float(_) => "float64",
            Datum::Text(_) => "string",
            Datum::List(_) => "[]interface {}",
            Datum::Map(_) => "map[string]interface {}",
            Datum::Struct(_) => "struct",
        }
    }
}

/// Go's name of the field that the JSON calls `key`, where that is another one.
pub fn go_name(key: &str) -> Option<&'static str> {
    GO_NAMES.iter().find(|(json, _)| *json == key).map(|(_, name)| *name)
}

const GO_NAMES: &[(&str, &str)] = &[
    ("CpuPeriod", "CPUPeriod"),
    ("CpuQuota", "CPUQuota"),
    ("CpuRealtimePeriod", "CPURealtimePeriod"),
    ("CpuRealtimeRuntime", "CPURealtimeRuntime"),
    ("CpuShares", "CPUShares"),
    ("Dns", "DNS"),
    ("DnsOptions", "DNSOptions"),
    ("DnsSearch", "DNSSearch"),
    ("Id", "ID"),
    ("NanoCpus", "NanoCPUs"),
];

/// Structs that Docker's embed, and a field of each: they have names, and add no level.
const EMBEDDED: &[(&str, &str)] = &[
    ("ContainerJSONBase", "HostConfig"),
    ("DefaultNetworkSettings", "IPAddress"),
    ("NetworkSettingsBase", "Ports"),
    ("Resources", "CpuShares"),
];

/// What a struct of Docker's types holds at `key` where the JSON leaves it out.
pub fn left_out(key: &str) -> Option<Datum> {
    if OPTIONAL_TEXTS.contains(&key) {
        return Some(Datum::text(""));
    }
    OPTIONAL.contains(&key).then_some(Datum::Nil)
}

/// The key of what stands in `Mounts`.
const MOUNT: &str = "Mounts[]";

/// Of structs that people print as a whole: a field that may be left out, the one that it stands behind, and how it prints.
const OMITTED: &[(&str, &str, &str, &str)] =
    &[("State", "Health", "FinishedAt", "<nil>"), (MOUNT, "Name", "Type", ""), (MOUNT, "Driver", "Destination", "")];

fn with_omitted(key: &str, mut fields: Vec<(String, Datum)>) -> Vec<(String, Datum)> {
    for (_, name, before, prints) in OMITTED.iter().filter(|(holder, ..)| *holder == key) {
        if !fields.iter().any(|(known, _)| known == name)
            && let Some(place) = fields.iter().position(|(known, _)| known == before)
        {
            fields.insert(place + 1, ((*name).to_owned(), Datum::Omitted(prints)));
        }
    }
    fields
}

/// An object is a struct where its keys look like Go's field names. An empty one inside a map (`ExposedPorts`) is Go's
/// empty struct, anywhere else an empty map.
fn is_map(key: &str, object: &Map<String, Value>) -> bool {
    MAPS.contains(&key)
        || object.keys().any(|name| !name.starts_with(|c: char| c.is_ascii_uppercase()))
        || object.is_empty() && !key.is_empty()
}
