//! What hostile input may cost. Every image, archive, bundle and tree may come from a stranger, and each of them can say in
//! a few bytes what would take gigabytes or hours to do. Each such thing has its bound in this one table, far above
//! what honest input needs; what goes beyond it is refused with a sentence. `tests/bounds.rs` tries each.
//!
//! | bound | unit | what it stops |
//! |---|---|---|
//! | [`EXTENDED_HEADER`], [`RECORDS`] | bytes, records | a long name or a pax header of 900 MiB, packed into 900 kB |
//! | [`GLOBAL_HEADERS`] | bytes | records that each member of an archive is looked up in |
//! | [`MAP_OF_SPARSE_FILE`] | stretches | a sparse file's map that fills the memory |
//! | [`HOLES_IN_LAYER`] | bytes | files of a layer that are larger than any disk, in an archive of 1.5 kB |
//! | [`ENTRIES_IN_LAYER`] | entries | a layer that takes all inodes |
//! | [`NAMES_KEPT`], [`DIRECTORIES_KEPT`] | bytes | names of directories and members, which are kept until the archive's end |
//! | [`INFLATED`], [`INFLATED_TIMES`] | bytes, ratio | a decompression bomb |
//! | [`UNPACKING_KIB`] | KiB | an xz stream that asks for a dictionary of 4 GiB |
//! | [`DOCUMENT`], [`DOCUMENTS`] | bytes | a manifest or a configuration that fills the memory, or many |
//! | [`REFERENCES`], [`INDEX_DEPTH`] | references, levels | an index of indexes that never ends |
//! | [`NAMES_GIVEN`] | names | a list of names that fills the memory |
//! | [`IMAGES_IN_ARCHIVE`], [`LAYERS_IN_IMAGE`] | images, layers | one configuration named again and again |
//! | [`MEMBERS_IN_ARCHIVE`] | members | an archive's table of contents that fills the memory |
//! | [`PATH_TOLD`] | bytes | a container's tree so deep that the paths of its directories fill the memory |
//! | [`COMPOSED`] | bytes | a file of the kernel's that never ends (/proc/kcore), which must be read before its size is known |
//! | [`ARGUMENT`], [`ARGUMENTS`] | bytes | an environment that execve(2) would refuse, merged at a great cost |
//! | [`NAMED_FILE`] | bytes | a file that an option names, and that never ends: `--env-file /dev/zero` |
//! | [`TEMPLATE`] | bytes | a `--format` that doubles a text, or repeats itself a million million times |
//! | [`VOLUMES_OF_IMAGE`] | volumes | a container that takes a hundred thousand mounts |

use std::io::Read;
use std::path::Path;

/// Bytes of one pax header or long name, which is kept in memory, and the records in it, some 100 bytes of memory each. An
/// honest one holds a path, an owner, times, and extended attributes of at most 64 KiB each.
pub const EXTENDED_HEADER: u64 = 16 << 20;
pub const RECORDS: usize = 1 << 16;

/// Bytes of all global pax headers of an archive: each member is looked up in them. git-archive(1) writes one of 52 bytes.
pub const GLOBAL_HEADERS: u64 = 64 << 10;

/// Stretches of data in one sparse file, 16 bytes of memory each. A fragmented disk image has some 100,000.
pub const MAP_OF_SPARSE_FILE: usize = 1 << 22;

/// Bytes of all sparse files of a layer, holes included. Holes stay holes on the disk, but whoever copies the file elsewhere may
/// write them out. The largest honest file is /var/log/lastlog of a user with a great number: 292 bytes a uid, 585 GiB at 2^31.
pub const HOLES_IN_LAYER: u64 = 1 << 40;

/// Entries of one layer: more names than any real image has.
pub const ENTRIES_IN_LAYER: u64 = 2_000_000;

/// Bytes of the names that one archive has us keep in memory until its end. A system of 200,000 directories has 12 MB of them.
pub const NAMES_KEPT: usize = 64 << 20;

/// The same of what is unpacked into a volume, with their default ACLs: a mail server's spool may have millions of directories,
/// and a backup must come back.
pub const DIRECTORIES_KEPT: usize = 512 << 20;

/// Bytes that compressed input may always become, and how many times its size it may become beyond that.
pub const INFLATED: u64 = 1 << 30;
pub const INFLATED_TIMES: u64 = 200;

/// KiB of memory that may be needed to unpack xz: `xz -9` takes 64 MiB. (zstd's own bound is 128 MiB.)
pub const UNPACKING_KIB: u32 = 256 << 10;

/// Bytes of a manifest, an index or a configuration, and of all of those in one archive. Registries take 4 MiB of each.
pub const DOCUMENT: u64 = 4 << 20;
pub const DOCUMENTS: u64 = 64 << 20;

/// References that the indexes of one archive may follow, and how deep an index may lie in another. An index of an image for all
/// platforms has about ten, at a depth of two.
pub const REFERENCES: usize = 10_000;

/// Names that one archive may give. A build server's image has had twenty thousand tags.
pub const NAMES_GIVEN: usize = 100_000;
pub const INDEX_DEPTH: usize = 4;

/// Images in one archive, and layers in one image: overlayfs mounts at most 500 (OVL_MAX_STACK).
pub const IMAGES_IN_ARCHIVE: usize = 1_000;
pub const LAYERS_IN_IMAGE: usize = 500;

/// Members of an archive of images: a layer, a configuration and a manifest each.
pub const MEMBERS_IN_ARCHIVE: usize = 100_000;

/// Bytes of a file that the kernel writes while it is read. /proc/kallsyms has 15 MB.
pub const COMPOSED: usize = 64 << 20;

/// Bytes of one argument or variable, and of all of them with their pointers: execve(2) takes no more (MAX_ARG_STRLEN, and three
/// quarters of the 8 MiB of _STK_LIM).
pub const ARGUMENT: usize = 128 << 10;
pub const ARGUMENTS: usize = 6 << 20;

/// Bytes of a path to which `diff` and `rm --dry-run` give a line of its own. One that is longer fits into no call (PATH_MAX). As many
/// directories in one another as a container can make would have as many paths, each longer than the one before: gigabytes. One line,
/// which ends in `/…`, stands for all of them in a directory.
pub const PATH_TOLD: usize = 4096;

/// Bytes of a file that an option names and that is read as a whole: variables, labels, a seccomp profile, a bundle.
pub const NAMED_FILE: u64 = 16 << 20;

/// Reads a file that an option names, which may be a device or a pipe.
pub fn read_named(path: &Path) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(NAMED_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > NAMED_FILE {
        return Err(std::io::Error::other(format!(
            "it has more than {} MiB, and none such is so large",
            NAMED_FILE >> 20
        )));
    }
    String::from_utf8(bytes).map_err(|error| {
        let line =
            1 + error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
        std::io::Error::other(format!("invalid utf8 bytes at line {line}"))
    })
}

/// Bytes that all values of a template may take together, each round of a loop counting as some: a template of 30 bytes can ask for
/// more than any memory holds. What people ask for are some kilobytes.
pub const TEMPLATE: usize = 64 << 20;

/// Anonymous volumes that an image has made for each of its containers: a directory and a mount each. Honest ones declare five.
pub const VOLUMES_OF_IMAGE: usize = 1_000;

/// Bytes of the store's events before a new file is begun: with the one before, some twenty thousand. Docker keeps 256.
pub const EVENTS: u64 = 4 << 20;

/// Bytes of labels that are told with an event, and of a command that `exec` runs.
pub const EVENT_LABELS: usize = 16 << 10;
