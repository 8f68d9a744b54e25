//! Who a container's process is: `-u name|uid[:group|gid]`, through the passwd and group files of the container itself.

use super::diff::is_opaque;
use super::record::Container;
use crate::engine::idmap::{self, StoreIds};
use crate::error::{Doing, Error, Result};
use crate::oci::{self, IdMap, View};
use crate::store::{Store, beneath};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstatat};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// A user as the kernel needs it, and the home that goes with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
    /// Supplementary groups, exact. Its own group is one of them: what a setgid program takes away from a process must not
    /// open to it what is closed to that group (CVE-2022-36109).
    pub groups: Vec<u32>,
    pub home: String,
}

impl User {
    pub fn to_oci(&self) -> oci_spec::runtime::User {
        let mut user = oci_spec::runtime::User::default();
        user.set_uid(self.uid).set_gid(self.gid).set_additional_gids(Some(self.groups.clone()));
        user
    }

    /// Refuses ids that the container's user namespace does not have: nobody can become them.
    pub fn check_mapped(&self, map: &IdMap) -> Result<()> {
        let count = |map: &[(u32, u32, u32)]| map.iter().map(|(.., length)| u64::from(*length)).sum::<u64>();
        let refuse = |what: &str, id: u32, map: &[(u32, u32, u32)]| {
            let (count, word) = (count(map), if count(map) == 1 { "id" } else { "ids" });
            let error = Error::new(format!("{what} {id} is none of the container's {count} {word}"));
            Err(match nix::unistd::geteuid().is_root() {
                true => error.with_cure("--userns host, where the ids are the host's; or a smaller id"),
                false => {
                    error.with_cure("an id that the container has, or more subordinate ids (/etc/subuid, /etc/subgid)")
                }
            })
        };
        if map.host_uid(self.uid).is_none() {
            return refuse("user", self.uid, &map.uids);
        }
        match self.groups.iter().chain([&self.gid]).find(|gid| map.host_gid(**gid).is_none()) {
            Some(gid) => refuse("group", *gid, &map.gids),
            None => Ok(()),
        }
    }

    /// Without supplementary groups where the caller's user has no subordinate ids: whoever maps a single id must give
    /// setgroups(2) up (user_namespaces(7)), so the container has none, whatever its /etc/group says.
    pub fn as_far_as_ids_go(mut self) -> Result<User> {
        if let StoreIds::Single(_) = idmap::store_ids()? {
            self.groups.clear();
        }
        Ok(self)
    }
}

/// Resolves `text` (empty: root) inside the container's `root`. `more` are `--group-add`'s groups.
pub fn resolve(root: BorrowedFd, text: &str, more: &[String]) -> Result<User> {
    let (passwd, group) = (database(root, "/etc/passwd")?, database(root, "/etc/group")?);
    let found = look_up(&passwd, &group, text)?;
    add_groups(found, &group, more)
}

/// The user of a container that does not run yet.
pub fn of_container(store: &Store, container: &Container) -> Result<User> {
    let (passwd, group) = (in_layers(store, container, "passwd")?, in_layers(store, container, "group")?);
    let found = look_up(&passwd, &group, &container.config.image.user)?;
    add_groups(found, &group, &container.host_config.group_add)?.as_far_as_ids_go()
}

/// What a container that does not run will see as `/etc/NAME`: looked up in its layers, the top one first, without mounting
/// them, as far as that goes.
fn in_layers(store: &Store, container: &Container, name: &str) -> Result<String> {
    let mut layers = super::layer_paths(store, container);
    layers.push(super::dir(store, &container.id).join("upper"));
    let ids = idmap::store_ids()?;
    for layer in layers.iter().rev() {
        let Ok(root) = beneath::root(layer) else { continue };
        // What is closed to us (another id's, 0600) may be open to the ids that the store's files carry.
        let look = || InLayer::of(&root, name);
        match look().or_else(|_| oci::with_ids(ids.map(), look))? {
            InLayer::Silent => {}
            InLayer::Says(text) => return Ok(text),
            InLayer::Link => {
                let path = format!("/etc/{name}");
                return oci::within(View::Layers { layers: &layers, ids: ids.map() }, |root| database(root, &path));
            }
        }
    }
    Ok(String::new())
}

/// What one layer says of a file in /etc.
#[derive(Debug, Serialize, Deserialize)]
enum InLayer {
    /// Nothing: what the next one below says counts.
    Silent,
    /// This, and what is below is hidden: by a file, a whiteout, an opaque directory.
    Says(String),
    /// A symlink is there, which may lead through any other layer: only all of them together know.
    Link,
}

impl InLayer {
    fn of(root: &OwnedFd, name: &str) -> Result<InLayer> {
        let doing = || format!("look for the container's /etc/{name}");
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let look = |at: &OwnedFd, name: &str| fstatat(at, name, AtFlags::AT_SYMLINK_NOFOLLOW);
        let kind = |stat: &FileStat| SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
        let (found, etc) = match openat(root, "etc", flags, Mode::empty()) {
            Err(Errno::ENOENT) => return Ok(InLayer::Silent),
            // It is none here, whatever lower layers have.
            Err(Errno::ENOTDIR | Errno::ELOOP) => (look(root, "etc"), None),
            etc => {
                let etc = etc.doing(doing)?;
                (look(&etc, name), Some(etc))
            }
        };
        Ok(match (found, etc) {
            (Err(Errno::ENOENT), Some(etc)) if !is_opaque(&etc) => InLayer::Silent,
            (Ok(stat), _) if kind(&stat) == SFlag::S_IFLNK => InLayer::Link,
            (Ok(stat), Some(etc)) if kind(&stat) == SFlag::S_IFREG => InLayer::Says(database(etc.as_fd(), name)?),
            (Ok(_) | Err(Errno::ENOENT), _) => InLayer::Says(String::new()),
            (Err(errno), _) => return Err(errno).doing(doing),
        })
    }
}

/// All users of a container by their numbers, as far as its layers tell without mounting them.
pub fn of_layers(store: &Store, container: &Container) -> Result<HashMap<u32, String>> {
    let text = in_layers(store, container, "passwd")?;
    let entry = |line: &str| {
        let fields: Vec<_> = line.split(':').collect();
        Some((fields.get(2)?.parse().ok()?, fields[0].to_owned()))
    };
    // Of several names for one number the first is it, as for getpwuid(3).
    Ok(text.lines().rev().filter_map(entry).collect())
}

/// The names of a user and of a group in the container whose `root` this is.
pub fn names(root: impl AsFd, uid: u32, gid: u32) -> Result<(Option<String>, Option<String>)> {
    let name = |file: &str, id: u32| -> Result<Option<String>> {
        let (text, number) = (database(root.as_fd(), file)?, id.to_string());
        let line = text.lines().find(|line| line.split(':').nth(2) == Some(&number));
        Ok(line.and_then(|line| line.split(':').next()).map(str::to_owned))
    };
    Ok((name("/etc/passwd", uid)?, name("/etc/group", gid)?))
}

/// A file of the image, which may be anything: a FIFO, a device, a terabyte. Nothing where there is none.
fn database(root: BorrowedFd, path: &str) -> Result<String> {
    const LARGEST: u64 = 16 << 20;
    let doing = || format!("read the container's {path}");
    let open = |flags| beneath::open(root, Path::new(path), flags, Mode::empty());
    // Looked at before it is opened, which for some is more than a look.
    let place = match open(OFlag::O_PATH) {
        Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(String::new()),
        found => File::from(found.doing(doing)?),
    };
    if !place.metadata().doing(doing)?.is_file() {
        return Ok(String::new());
    }
    let file = File::from(open(OFlag::O_RDONLY | OFlag::O_NONBLOCK).doing(doing)?);
    let meta = file.metadata().doing(doing)?;
    if !meta.is_file() {
        return Ok(String::new());
    }
    let mut bytes = Vec::with_capacity(meta.len().min(LARGEST) as usize + 1);
    file.take(LARGEST).read_to_end(&mut bytes).doing(doing)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn look_up(passwd: &str, group: &str, text: &str) -> Result<User> {
    let (name, group_name) = match text.split_once(':') {
        Some((name, group)) => (name, Some(group).filter(|group| !group.is_empty())),
        None => (text, None),
    };
    let name = if name.is_empty() { "0" } else { name };
    let entries = || passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let named =
        entries().find(|fields| fields[0] == name).or_else(|| entries().find(|fields| fields.get(2) == Some(&name)));
    let mut user = match &named {
        Some(fields) => User {
            uid: number(fields, 2)?.ok_or_else(|| bad_user(name))?,
            gid: number(fields, 3)?.ok_or_else(|| bad_user(name))?,
            groups: Vec::new(),
            home: fields.get(5).filter(|home| !home.is_empty()).map_or("/", |home| *home).to_owned(),
        },
        None => {
            let uid = id(name)?.ok_or_else(|| bad_user(name))?;
            User { uid, gid: 0, groups: Vec::new(), home: "/".to_owned() }
        }
    };
    match group_name {
        Some(group_name) => user.gid = group_id(group, group_name)?,
        // Without a group of its own, the user has those that list its name.
        None => {
            let login = named.as_ref().map_or(name, |fields| fields[0]);
            user.groups = group
                .lines()
                .map(|line| line.split(':').collect::<Vec<_>>())
                .filter(|fields| fields.get(3).is_some_and(|members| members.split(',').any(|member| member == login)))
                .filter_map(|fields| number(&fields, 2).transpose())
                .collect::<Result<_>>()?;
        }
    }
    Ok(user)
}

fn add_groups(mut user: User, group: &str, more: &[String]) -> Result<User> {
    user.groups.push(user.gid);
    for name in more {
        user.groups.push(group_id(group, name)?);
    }
    user.groups.sort_unstable();
    user.groups.dedup();
    Ok(user)
}

fn group_id(group: &str, name: &str) -> Result<u32> {
    let by_name = group.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| fields[0] == name);
    let found = by_name.map_or(Ok(None), |fields| number(&fields, 2))?;
    found
        .map_or_else(|| id(name), |gid| Ok(Some(gid)))?
        .ok_or_else(|| Error::new(format!("unable to find group {name}: no matching entries in group file")))
}

fn number(fields: &[&str], at: usize) -> Result<Option<u32>> {
    fields.get(at).map_or(Ok(None), |field| id(field))
}

/// An id, where `text` is a number. To setresuid(2) the largest one means "stay who you are", which is root.
fn id(text: &str) -> Result<Option<u32>> {
    const LARGEST: u32 = i32::MAX as u32;
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    match text.parse::<u32>() {
        Ok(id) if id <= LARGEST => Ok(Some(id)),
        _ => Err(Error::new(format!("invalid id {text}: uids and gids must be in range 0-{LARGEST}"))),
    }
}

fn bad_user(name: &str) -> Error {
    Error::new(format!("unable to find user {name}: no matching entries in passwd file"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nweb:x:101:102::/srv:/bin/false\n";
    const GROUP: &str = "root:x:0:\nweb:x:102:\nadm:x:4:web,other\n";

    fn ids(text: &str) -> (u32, u32, Vec<u32>, String) {
        let user = look_up(PASSWD, GROUP, text).unwrap();
        (user.uid, user.gid, user.groups, user.home)
    }

    #[test]
    fn a_user_is_a_name_or_a_number_with_or_without_a_group() {
        assert_eq!(ids(""), (0, 0, vec![], "/root".into()));
        assert_eq!(ids("web"), (101, 102, vec![4], "/srv".into()));
        assert_eq!(ids("101"), (101, 102, vec![4], "/srv".into()));
        assert_eq!(ids("web:adm"), (101, 4, vec![], "/srv".into()));
        assert_eq!(ids("7"), (7, 0, vec![], "/".into()));
        assert_eq!(ids("7:9"), (7, 9, vec![], "/".into()));
        assert!(look_up(PASSWD, GROUP, "nobody").is_err() && look_up(PASSWD, GROUP, "web:none").is_err());
    }
}
