//! The floor of a backup: every file below a directory is opened, looked at, read and closed, and nothing is made of it.

use nix::dir::{Dir, Type};
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, fstat};
use std::ffi::CString;
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use xattr::FileExt;

/// `reads plain|attributes DIRECTORY`: with attributes, whether a file has any is asked too, as whoever keeps them must.
pub fn main(words: &[String]) -> i32 {
    let [what, directory] = words else { return 2 };
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let top = Dir::open(directory.as_str(), flags, Mode::empty()).expect("the directory");
    below(top, what == "attributes", &mut vec![0; 64 << 10]);
    0
}

fn below(mut directory: Dir, attributes: bool, buffer: &mut [u8]) {
    let entries: Vec<(CString, Option<Type>)> = directory
        .iter()
        .map(|entry| entry.expect("an entry"))
        .map(|entry| (entry.file_name().to_owned(), entry.file_type()))
        .filter(|(name, _)| !matches!(name.to_bytes(), b"." | b".."))
        .collect();
    for (name, kind) in entries {
        let fd = openat(directory.as_fd(), name.as_c_str(), OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty());
        let mut file = File::from(fd.expect("a file"));
        let size = fstat(&file).expect("it").st_size;
        if attributes {
            assert!(file.list_xattr().is_ok());
        }
        match kind {
            Some(Type::Directory) => below(Dir::from_fd(file.into()).expect("it"), attributes, buffer),
            _ => {
                let mut left = usize::try_from(size).expect("a size");
                while left > 0 {
                    let most = left.min(buffer.len());
                    left -= file.read(&mut buffer[..most]).expect("its contents");
                }
            }
        }
    }
}
