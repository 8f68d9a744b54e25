//! Extended attributes, and the access control lists and file capabilities among them.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use xattr::FileExt;

/// Sets an attribute. Returns whether all of it could be: a file system may know none of its kind, and a list may name
/// users and groups that have no id here. Such a list is set without what it says of those; to leave it out would give
/// the mode's group bits, which with a list are its mask, to the owner's group.
///
/// Capabilities are those of the user namespace that sets them, whose root the kernel notes beside them: they give nothing to
/// anybody outside of it (capabilities(7), "Namespaced file capabilities"). To be set after the owner, whose change takes them
/// away.
pub fn set(file: &File, name: &OsStr, value: &[u8]) -> io::Result<bool> {
    match file.set_xattr(name, value) {
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(false),
        // It is not ours to give here, means a namespace whose root has no id here, or nothing that this kernel knows.
        Err(error) if is_privileged(name) && matches!(error.raw_os_error(), Some(libc::EPERM | libc::EINVAL)) => {
            Ok(false)
        }
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) && is_acl(name.as_encoded_bytes()) => {
            file.set_xattr(name, &without_named(value)).map(|()| false)
        }
        set => set.map(|()| true),
    }
}

/// An attribute's value, where it has one that can be read: capabilities of a namespace whose root has no id here cannot.
pub fn get(file: &File, name: &OsStr) -> io::Result<Option<Vec<u8>>> {
    match file.get_xattr(name) {
        Err(error) if error.raw_os_error() == Some(libc::EOVERFLOW) => Ok(None),
        value => value,
    }
}

/// Gives `target` the attribute of `source`, if it has not gone meanwhile. Returns whether all of it could be.
pub fn copy(source: &File, target: &File, name: &OsStr) -> io::Result<bool> {
    match source.get_xattr(name) {
        Err(error) if error.raw_os_error() == Some(libc::EOVERFLOW) => Ok(false),
        value => value?.map_or(Ok(true), |value| set(target, name, &value)),
    }
}

/// The names of a file's attributes. A file system that knows none has none; that they cannot be read is an error.
pub fn names(file: &File) -> io::Result<Vec<OsString>> {
    match file.list_xattr() {
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(Vec::new()),
        names => Ok(names?.collect()),
    }
}

/// What a program may do beside what its user may.
pub const CAPABILITIES: &str = "security.capability";

pub fn is_capabilities(name: &[u8]) -> bool {
    name == CAPABILITIES.as_bytes()
}

fn is_privileged(name: &OsStr) -> bool {
    name == CAPABILITIES || name.as_encoded_bytes().starts_with(b"trusted.")
}

/// Whether an attribute of this name is an access control list.
pub fn is_acl(name: &[u8]) -> bool {
    name == b"system.posix_acl_access" || is_default_list(name)
}

/// What is made in a directory that has one begins with it (acl(5), "Object creation and default ACLs").
pub const DEFAULT_LIST: &str = "system.posix_acl_default";

pub fn is_default_list(name: &[u8]) -> bool {
    name == DEFAULT_LIST.as_bytes()
}

/// The list for the owner, its group and all others: a version, and entries of a tag, rights and an id (the kernel's
/// linux/posix_acl_xattr.h).
fn without_named(list: &[u8]) -> Vec<u8> {
    const VERSION: usize = 4;
    const ENTRY: usize = 8;
    const NAMED: [u16; 2] = [0x02, 0x08];
    let (version, entries) = list.split_at(list.len().min(VERSION));
    let is_named = |entry: &&[u8]| entry.len() < 2 || NAMED.contains(&u16::from_le_bytes([entry[0], entry[1]]));
    let kept = entries.chunks(ENTRY).filter(|entry| !is_named(entry));
    kept.fold(version.to_vec(), |list, entry| [&list, entry].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_without_its_named_users_and_groups_is_that_of_the_mode() {
        let entry = |tag: u8, rights: u8, id: u32| [&[tag, 0, rights, 0][..], &id.to_le_bytes()].concat();
        let none = u32::MAX;
        let (owner, group) = (entry(0x01, 6, none), entry(0x04, 4, none));
        let (mask, other) = (entry(0x10, 6, none), entry(0x20, 0, none));
        let version = 2u32.to_le_bytes().to_vec();
        let (user, named_group) = (entry(0x02, 6, 33), entry(0x08, 7, 9));
        let list = [&version, &owner, &user, &group, &named_group, &mask, &other].map(|part| &part[..]);
        let kept = [&version, &owner, &group, &mask, &other].map(|part| &part[..]);
        assert_eq!(without_named(&list.concat()), kept.concat());
        assert_eq!(without_named(b"\x02"), b"\x02");
    }
}
