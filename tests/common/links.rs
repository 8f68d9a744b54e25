//! The rules for code that works where a container can write, which tests/tidy.rs holds with the others: no link is followed, and
//! no path is used twice.

use super::source::*;

/// Calls that follow a symlink at the end of a path, and who may make them: what stands under the name by then, a container may
/// have put there.
const FOLLOWS: &[(&str, &[(&str, &str)])] = &[
    ("::FollowSymlink", &[("runtime/store/node.rs", "the link in /proc leads to the open file itself")]),
    (
        "AT_SYMLINK_FOLLOW",
        &[
            (
                "runtime/store/copy.rs",
                "linkat(2) of a file without a name, by the link in /proc to the open file itself",
            ),
            (
                "runtime/cli/target.rs",
                "linkat(2) of a file without a name, by the link in /proc to the open file itself",
            ),
        ],
    ),
    (
        "set_permissions(",
        &[
            (
                "runtime/engine/image/layer.rs",
                "a directory that was just made in tmp/, where nothing is of a container's",
            ),
            (
                "runtime/engine/image/recipe/host.rs",
                "the host's programs, laid into a directory of tmp/ before anything runs there",
            ),
            ("runtime/engine/image/recipe/mod.rs", "files of Ebb's own binary, laid into a directory of tmp/"),
            ("runtime/engine/volume/clone.rs", "a directory that was just made in tmp/"),
            ("runtime/engine/volume/mod.rs", "a directory that was just made in tmp/"),
        ],
    ),
    ("AtFlags::empty()", &[]),
    ("fs::chown(", &[]),
    ("unistd::chown(", &[]),
    ("stat::utimes(", &[]),
];

/// Where the files of containers, images, volumes and archives are worked on: by descriptors and names in them, or by
/// store::beneath; never by a path, which leads through whatever links there are by now.
const BY_DESCRIPTOR: &[&str] = &[
    "runtime/store/attribute.rs",
    "runtime/store/beneath.rs",
    "runtime/store/copy.rs",
    "runtime/store/descent.rs",
    "runtime/store/extents.rs",
    "runtime/store/measure.rs",
    "runtime/store/node.rs",
    "runtime/store/pack.rs",
    "runtime/store/pack/",
    "runtime/store/unpack.rs",
    "runtime/store/unpack/",
    "runtime/store/walk.rs",
    "runtime/engine/container/copy.rs",
    "runtime/engine/container/diff.rs",
    "runtime/engine/container/export.rs",
    "runtime/engine/container/size.rs",
    "runtime/engine/container/whereabouts/layers.rs",
    "runtime/engine/container/whereabouts/resolve.rs",
    "runtime/engine/container/workdir.rs",
    "runtime/engine/image/whiteout.rs",
    "runtime/engine/volume/export.rs",
    "runtime/engine/volume/size.rs",
    "runtime/oci/devices.rs",
    "runtime/oci/home.rs",
    "runtime/oci/masks.rs",
    "runtime/oci/place.rs",
    "runtime/oci/rootfs.rs",
];
const BY_PATH: &[&str] = &[
    "std::fs::",
    "File::open(",
    "File::create",
    "File::options(",
    "OpenOptions",
    ".is_dir()",
    ".is_symlink()",
    ".exists()",
    ".read_dir()",
    ".read_link()",
    ".canonicalize()",
    "stat::stat(",
    "stat::lstat(",
];

#[test]
fn no_link_is_followed_in_what_a_container_can_write_to() {
    let mut wrong = Vec::new();
    let all = sources("runtime");
    for source in &all {
        let code = without_unit_tests(source);
        // What is imported is a type, or a function that takes a descriptor; what is called shows here.
        for (index, line) in code.lines().enumerate().filter(|(_, line)| !line.starts_with("use ")) {
            for (call, allowed) in FOLLOWS.iter().filter(|(call, _)| line.contains(call)) {
                if !allowed.iter().any(|(name, _)| *name == source.name) {
                    wrong.push(format!("{}:{}: {call} follows links", source.name, index + 1));
                }
            }
            let listed = BY_DESCRIPTOR.iter().any(|name| source.name == *name || source.name.starts_with(name));
            for call in BY_PATH.iter().filter(|call| listed && line.contains(**call)) {
                wrong.push(format!("{}:{}: {call} goes by a path, through whatever is there", source.name, index + 1));
            }
        }
    }
    // A list that names what is not there holds nothing.
    for (call, allowed) in FOLLOWS {
        for (name, _) in allowed.iter().filter(|(name, why)| {
            why.is_empty() || !all.iter().any(|source| source.name == *name && source.code.contains(call))
        }) {
            wrong.push(format!("{name} does not call {call}"));
        }
    }
    for name in BY_DESCRIPTOR.iter().filter(|name| !all.iter().any(|source| source.name.starts_with(**name))) {
        wrong.push(format!("{name} is not there"));
    }
    none(wrong);
}
