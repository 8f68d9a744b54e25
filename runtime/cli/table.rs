//! The table of commands. A command line finds its row by its first words; only that row's clap definition is built.

use super::{Execute, container, events, help, image, lesson, oci, place, system, usage, volume};
use crate::error::{Error, Result};
use std::ffi::OsString;

/// One row: the words that name a command, and the functions of its type.
pub struct Entry {
    /// `"run"`, `"volume create"`.
    pub path: &'static str,
    /// `Some(path)` where this is another spelling of that row (`images` of `image ls`).
    pub alias_of: Option<&'static str>,
    pub command: fn() -> clap::Command,
    pub run: fn(&'static Entry, Vec<OsString>) -> Result<i32>,
}

const fn row<T: Execute>(path: &'static str) -> Entry {
    Entry { path, alias_of: None, command: T::command, run: run::<T> }
}

const fn alias<T: Execute>(path: &'static str, alias_of: &'static str) -> Entry {
    Entry { path, alias_of: Some(alias_of), command: T::command, run: run::<T> }
}

fn run<T: Execute>(entry: &'static Entry, words: Vec<OsString>) -> Result<i32> {
    let command = help::dress(entry.path, T::command());
    let words = help::plain_flags(&command, words);
    let parsed = command.try_get_matches_from(&words).and_then(|mut matches| T::from_arg_matches_mut(&mut matches));
    match parsed {
        Ok(command) => command.execute(),
        Err(error) => usage::rejected(entry, &words, &error),
    }
}

/// Families, in the order of `ebb --help`, with what Docker says of them.
pub const FAMILIES: &[(&str, &str)] = &[
    ("container", "Manage containers"),
    ("image", "Manage images"),
    ("volume", "Manage volumes"),
    ("volume trash", "Manage the volumes that rm and prune have moved aside"),
    ("system", "Manage Ebb"),
    ("oci", "Run OCI bundles, as runc does"),
];

pub const TABLE: &[Entry] = &[
    row::<container::Run>("run"),
    row::<container::Create>("create"),
    row::<container::Start>("start"),
    row::<container::Stop>("stop"),
    row::<container::Restart>("restart"),
    row::<container::Kill>("kill"),
    row::<container::Rm>("rm"),
    row::<container::Exec>("exec"),
    row::<container::Attach>("attach"),
    row::<container::Wait>("wait"),
    row::<container::Rename>("rename"),
    row::<container::Pause>("pause"),
    row::<container::Unpause>("unpause"),
    row::<container::Update>("update"),
    row::<container::Ps>("ps"),
    row::<container::Logs>("logs"),
    row::<container::Inspect>("inspect"),
    row::<container::Diff>("diff"),
    row::<container::Cp>("cp"),
    row::<container::Export>("export"),
    row::<container::Top>("top"),
    row::<container::Stats>("stats"),
    row::<container::Prune>("container prune"),
    row::<container::InspectContainer>("container inspect"),
    alias::<container::Ps>("container ls", "ps"),
    alias::<container::Ps>("container list", "ps"),
    alias::<container::Ps>("container ps", "ps"),
    alias::<container::Run>("container run", "run"),
    alias::<container::Create>("container create", "create"),
    alias::<container::Start>("container start", "start"),
    alias::<container::Stop>("container stop", "stop"),
    alias::<container::Restart>("container restart", "restart"),
    alias::<container::Kill>("container kill", "kill"),
    alias::<container::Rm>("container rm", "rm"),
    alias::<container::Exec>("container exec", "exec"),
    alias::<container::Attach>("container attach", "attach"),
    alias::<container::Wait>("container wait", "wait"),
    alias::<container::Rename>("container rename", "rename"),
    alias::<container::Pause>("container pause", "pause"),
    alias::<container::Unpause>("container unpause", "unpause"),
    alias::<container::Update>("container update", "update"),
    alias::<container::Logs>("container logs", "logs"),
    alias::<container::Diff>("container diff", "diff"),
    alias::<container::Cp>("container cp", "cp"),
    alias::<container::Export>("container export", "export"),
    alias::<container::Top>("container top", "top"),
    alias::<container::Stats>("container stats", "stats"),
    row::<image::Ls>("image ls"),
    alias::<image::Ls>("images", "image ls"),
    alias::<image::Ls>("image list", "image ls"),
    row::<image::Inspect>("image inspect"),
    row::<image::History>("image history"),
    alias::<image::History>("history", "image history"),
    row::<image::Load>("image load"),
    alias::<image::Load>("load", "image load"),
    row::<image::Save>("image save"),
    alias::<image::Save>("save", "image save"),
    row::<image::Import>("image import"),
    alias::<image::Import>("import", "image import"),
    row::<image::Tag>("image tag"),
    alias::<image::Tag>("tag", "image tag"),
    row::<image::Rm>("image rm"),
    alias::<image::Rm>("rmi", "image rm"),
    alias::<image::Rm>("image remove", "image rm"),
    row::<image::Prune>("image prune"),
    row::<image::Pull>("image pull"),
    alias::<image::Pull>("pull", "image pull"),
    row::<volume::Create>("volume create"),
    row::<volume::Clone>("volume clone"),
    row::<volume::Rename>("volume rename"),
    row::<volume::Restore>("volume restore"),
    row::<volume::TrashLs>("volume trash ls"),
    alias::<volume::TrashLs>("volume trash list", "volume trash ls"),
    row::<volume::Empty>("volume trash empty"),
    row::<volume::Ls>("volume ls"),
    alias::<volume::Ls>("volume list", "volume ls"),
    row::<volume::Inspect>("volume inspect"),
    row::<volume::Rm>("volume rm"),
    alias::<volume::Rm>("volume remove", "volume rm"),
    row::<volume::Prune>("volume prune"),
    row::<volume::Export>("volume export"),
    row::<volume::Import>("volume import"),
    row::<place::Where>("where"),
    row::<lesson::Lesson>("lesson"),
    row::<events::Events>("events"),
    alias::<events::Events>("system events", "events"),
    row::<system::Info>("info"),
    alias::<system::Info>("system info", "info"),
    row::<system::Df>("system df"),
    row::<system::Prune>("system prune"),
    row::<system::Check>("system check"),
    row::<system::Version>("version"),
    row::<system::Completions>("completions"),
    row::<system::Man>("man"),
    row::<oci::Create>("oci create"),
    row::<oci::Start>("oci start"),
    row::<oci::State>("oci state"),
    row::<oci::Kill>("oci kill"),
    row::<oci::Delete>("oci delete"),
    row::<oci::Exec>("oci exec"),
    row::<oci::Ps>("oci ps"),
    row::<oci::List>("oci list"),
    row::<oci::Pause>("oci pause"),
    row::<oci::Resume>("oci resume"),
    row::<oci::Events>("oci events"),
    row::<oci::Update>("oci update"),
    row::<oci::Features>("oci features"),
    row::<oci::Spec>("oci spec"),
    row::<oci::Run>("oci run"),
];

pub fn row_named(path: &str) -> Option<&'static Entry> {
    TABLE.iter().find(|entry| entry.path == path)
}

/// The row that `words` begin with, and the words after its name. `Err` carries the exit code of what was printed instead.
pub fn find(words: &[OsString]) -> std::result::Result<(&'static Entry, Vec<OsString>), i32> {
    let word = |index: usize| words.get(index).and_then(|word| word.to_str()).unwrap_or("");
    if let Some(entry) = row_named(word(0)) {
        return Ok((entry, words[1..].to_vec()));
    }
    if FAMILIES.iter().any(|(name, _)| *name == word(0)) {
        // runc's global options stand between `oci` and the command; `oci` itself takes them apart.
        if word(0) == "oci" {
            return oci::find(&words[1..]);
        }
        for count in [2, 3] {
            let path: Vec<&str> = (0..count).map(word).collect();
            if let Some(entry) = row_named(&path.join(" ")) {
                return Ok((entry, words[count..].to_vec()));
            }
        }
    }
    Err(usage::no_command(words))
}

/// The whole tree, for `--help`, completions and man pages.
pub fn whole() -> clap::Command {
    let root = clap::Command::new("ebb").version(env!("CARGO_PKG_VERSION")).about(help::ABOUT);
    let mut root = root.disable_help_subcommand(true).disable_version_flag(true).args(help::global_options());
    for entry in TABLE.iter().filter(|entry| !entry.path.contains(' ')) {
        root = root.subcommand((entry.command)().name(entry.path));
    }
    for (family, about) in FAMILIES.iter().filter(|(family, _)| !family.contains(' ')) {
        root = root.subcommand(whole_family(family, family, about));
    }
    root
}

/// The commands below the words `path`, of which the last is `name`, and the families among them.
fn whole_family(path: &str, name: &'static str, about: &'static str) -> clap::Command {
    let below = |longer: &'static str| {
        let rest = longer.strip_prefix(path).and_then(|rest| rest.strip_prefix(' '));
        rest.filter(|rest| !rest.contains(' '))
    };
    let mut command = clap::Command::new(name).about(about);
    for entry in TABLE {
        if let Some(name) = below(entry.path) {
            command = command.subcommand((entry.command)().name(name));
        }
    }
    for (family, about) in FAMILIES {
        if let Some(name) = below(family) {
            command = command.subcommand(whole_family(family, name, about));
        }
    }
    command
}

/// For a row whose work belongs to a later issue: a sentence that says so.
pub fn not_yet(what: &str) -> Error {
    Error::new(what)
}
