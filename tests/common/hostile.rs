//! Archives that no honest writer would make, and a directory of the host that none of them may touch.

use super::Ebb;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Tars of raw headers, so that they can say what no honest writer would.
pub struct Tar {
    pub bytes: Vec<u8>,
    file_mode: u32,
}

impl Default for Tar {
    fn default() -> Tar {
        Tar { bytes: Vec::new(), file_mode: 0o644 }
    }
}

impl Tar {
    /// One whose files are setuid.
    pub fn of_setuid() -> Tar {
        Tar { file_mode: 0o4755, ..Tar::default() }
    }

    pub fn entry(mut self, kind: u8, name: &str, link: &str, content: &[u8]) -> Tar {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(tar::EntryType::new(kind));
        header.set_mode(if kind == b'5' { 0o777 } else { self.file_mode });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(content.len() as u64);
        if matches!(kind, b'3' | b'4') {
            header.set_device_major(1).expect("a number");
            header.set_device_minor(3).expect("a number");
        }
        header.set_cksum();
        self.bytes.extend_from_slice(header.as_bytes());
        self.bytes.extend_from_slice(content);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
        self
    }

    pub fn file(self, name: &str, content: &str) -> Tar {
        self.entry(b'0', name, "", content.as_bytes())
    }

    /// A header of `key=value` records for the entry that follows.
    pub fn pax(self, records: &[&str]) -> Tar {
        let mut text = String::new();
        for record in records {
            let rest = format!(" {record}\n");
            let mut length = rest.len() + 1;
            while length.to_string().len() + rest.len() != length {
                length = length.to_string().len() + rest.len();
            }
            text.push_str(&format!("{length}{rest}"));
        }
        self.entry(b'x', "pax", "", text.as_bytes())
    }

    pub fn end(mut self) -> Vec<u8> {
        self.bytes.extend_from_slice(&[0; 1024]);
        self.bytes
    }
}

/// Archives of one file each, `nobody-s`, whose owner or group is -1: of every kind that has one, in both ways to say it.
pub fn no_ids() -> Vec<Vec<u8>> {
    let mut tars = Vec::new();
    for (kind, link) in [(b'0', ""), (b'5', ""), (b'2', "f"), (b'6', "")] {
        for id in ["uid=4294967295", "gid=4294967295"] {
            tars.push(Tar::default().pax(&[id]).entry(kind, "nobody-s", link, b"").end());
        }
        for field in [108..116, 116..124] {
            let mut tar = Tar::default().entry(kind, "nobody-s", link, b"").end();
            // In binary, as GNU tar writes what seven octal digits do not hold.
            tar[field].copy_from_slice(&[0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
            let mut header = tar::Header::from_byte_slice(&tar[..512]).clone();
            header.set_cksum();
            tar[..512].copy_from_slice(header.as_bytes());
            tars.push(tar);
        }
    }
    tars
}

/// A directory beside the store that no archive may touch.
pub fn canary(ebb: &Ebb) -> PathBuf {
    let directory = ebb.dir.join("canary");
    std::fs::create_dir(&directory).expect("a directory");
    std::fs::write(directory.join("f"), "untouched").expect("a file");
    std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o711)).expect("a mode");
    directory
}

pub fn assert_untouched(directory: &Path) {
    assert_eq!(std::fs::metadata(directory).expect("it").mode() & 0o777, 0o711, "its mode");
    let names: Vec<_> =
        std::fs::read_dir(directory).expect("it").map(|entry| entry.expect("an entry").file_name()).collect();
    assert_eq!(names, ["f"]);
    assert_eq!(std::fs::read_to_string(directory.join("f")).expect("it"), "untouched");
}
