//! What would let a container's process write where it may not: `:U`, `:idmap` or `--userns keep-id`, each only where it
//! can work here.

use super::access::{Answer, Asker, Look, Step};
use crate::engine::container::record::{Container, MountPoint};
use crate::engine::idmap::StoreIds;
use crate::engine::owners::chown;
use crate::oci::{self, IdMap};
use crate::store::Store;
use nix::errno::Errno;
use std::path::Path;

/// One way out, for a container made anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cure {
    /// `U`, `idmap` or `keep-id`.
    pub name: &'static str,
    /// What to give to `run` or `create`, in the place of the mount's own words.
    pub options: String,
    pub effect: String,
}

/// A question, with all that the answer depends on.
pub struct Question<'a> {
    pub store: &'a Store,
    pub container: &'a Container,
    pub ids: &'a StoreIds,
    pub mount: &'a MountPoint,
    /// Where the mount is in the container.
    pub at: &'a Path,
    pub asker: &'a Asker,
    /// The container's own user.
    pub user: (u32, u32),
    pub map: Option<&'a IdMap>,
    pub look: &'a Look,
    /// On the disk, from the mount's root to the path.
    pub owners: &'a [Option<(u32, u32)>],
}

/// All that fit, the one that changes least first. In each case the process becomes the owner of what is on the mount, so
/// that the owner's bits must allow it; and whatever lies before the mount must let it pass as it is.
pub fn fitting(question: &Question) -> Vec<Cure> {
    let Some(on_mount) = refused(question) else { return Vec::new() };
    if on_mount.is_empty() || shut(on_mount).is_some() {
        return Vec::new();
    }
    [keep_id(question), translate(question), give(question)].into_iter().flatten().collect()
}

/// The steps on the mount, where it is a file's or a directory's mode that refuses.
fn refused<'a>(question: &Question<'a>) -> Option<&'a [Step]> {
    let Question { mount, look, .. } = question;
    let before = question.at.components().count().saturating_sub(1);
    let Answer::No(index, errno) = look.answer else { return None };
    let helps = index >= before && errno == Errno::EACCES as i32 && mount.rw && mount.kind != "tmpfs";
    helps.then(|| look.way.get(before..).unwrap_or_default())
}

/// The first step whose mode does not let even its owner do what the way needs, and that need, as chmod(1) has it.
fn shut(steps: &[Step]) -> Option<(usize, &'static str)> {
    steps.iter().enumerate().find_map(|(index, step)| {
        let (needs, letters) = match (index + 1 == steps.len(), step.is_directory()) {
            (false, _) => (0o100, "u+x"),
            (true, true) => (0o300, "u+wx"),
            (true, false) => (0o200, "u+w"),
        };
        (step.mode & needs != needs).then_some((index, letters))
    })
}

/// What comes before any cure: the host's `chmod` that opens a mode which shuts even the owner out. `None` where that is not
/// the reason, or where whoever asks may not do it.
pub fn first(question: &Question) -> Option<String> {
    let steps = refused(question)?;
    let (index, letters) = shut(steps)?;
    let me = nix::unistd::geteuid();
    let owner = question.owners.get(index).copied().flatten();
    if !question.mount.subpath.is_empty() || !(me.is_root() || owner.is_some_and(|(uid, _)| uid == me.as_raw())) {
        return None;
    }
    let below = steps[index].path.strip_prefix(question.at).ok()?;
    let mut on_host = Path::new(&question.mount.source).to_owned();
    on_host.extend(below);
    Some(format!("chmod {letters} {}", quoted(on_host.to_str()?)))
}

fn keep_id(question: &Question) -> Option<Cure> {
    let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    let yours = question.owners.iter().all(|owner| owner.is_some_and(|(owner, _)| owner == uid));
    let host = &question.container.host_config;
    let free = host.userns_mode.is_empty() && !host.pid_mode.starts_with("container:");
    if !matches!(question.ids, StoreIds::Subordinate(_)) || !yours || !free || question.owners.is_empty() {
        return None;
    }
    let wanted = (question.asker.uid, question.asker.gid);
    let mode = if wanted == (uid, gid) { String::new() } else { format!(":uid={},gid={}", wanted.0, wanted.1) };
    Some(Cure {
        name: "keep-id",
        options: format!("{}--userns keep-id{mode}", as_user(question)),
        effect: format!("makes uid {} of the container you yourself; nothing on the disk changes", wanted.0),
    })
}

fn translate(question: &Question) -> Option<Cure> {
    let Question { mount, container, .. } = question;
    let source = Path::new(&mount.source);
    let owner = question.owners.first().copied().flatten()?;
    let all_one = question.owners.iter().all(|one| one.is_some_and(|(uid, _)| uid == owner.0));
    let could = *question.ids == StoreIds::Host
        && mount.kind == "bind"
        && !mount.id_mapped
        && container.host_config.runtime.is_empty()
        && all_one
        // Asked last: it takes a namespace and a mount.
        && oci::map_ids_for_a_try(source, !mount.non_recursive).is_ok();
    could.then(|| Cure {
        name: "idmap",
        options: format!("{}{}", as_user(question), mount_option(mount, "idmap")),
        effect: format!(
            "makes uid {} of the container {} on this mount; nothing on the disk changes",
            question.asker.uid,
            crate::engine::owners::host_user(owner.0)
        ),
    })
}

fn give(question: &Question) -> Option<Cure> {
    /// So many files are looked at; `:U` itself looks at all.
    const MOST: u64 = 10_000;
    let (uid, gid) = (question.asker.uid, question.asker.gid);
    let on_host = match question.map {
        Some(map) if *question.ids != StoreIds::Host => map.host_uid(uid).zip(map.host_gid(gid))?,
        _ => (uid, gid),
    };
    let owner = chown::Owner { inside: (uid, gid), on_host };
    chown::could(question.store, question.mount, question.ids, &owner, MOST).then(|| Cure {
        name: "U",
        options: format!("{}{}", as_user(question), mount_option(question.mount, "U")),
        effect: format!("changes the owner on the host's disk, to {}:{}, for good", on_host.0, on_host.1),
    })
}

/// `-u`, where it is not the container's own user who asks.
fn as_user(question: &Question) -> String {
    let asked = (question.asker.uid, question.asker.gid);
    if asked == question.user { String::new() } else { format!("-u {}:{} ", asked.0, asked.1) }
}

/// The mount once more, with one more word.
fn mount_option(mount: &MountPoint, word: &str) -> String {
    let source = if mount.kind == "volume" { &mount.name } else { &mount.source };
    let words = [source.as_str(), &mount.destination];
    if !mount.subpath.is_empty() || words.iter().any(|text| text.contains([':', ',', '"'])) {
        let csv = |key: &str, text: &str| match text.contains([',', '"']) {
            true => format!("\"{key}={}\"", text.replace('"', "\"\"")),
            false => format!("{key}={text}"),
        };
        let (source, target) = (csv("src", source), csv("dst", &mount.destination));
        let part = match mount.subpath.as_str() {
            "" => String::new(),
            below => format!(",{}", csv("volume-subpath", below)),
        };
        return format!("--mount {}", quoted(&format!("type={},{source},{target}{part},{word}", mount.kind)));
    }
    let mode = if mount.mode.is_empty() { word.to_owned() } else { format!("{},{word}", mount.mode) };
    format!("-v {}", quoted(&format!("{source}:{}:{mode}", mount.destination)))
}

/// For a shell.
fn quoted(text: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-:,=".contains(letter);
    if text.chars().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}
