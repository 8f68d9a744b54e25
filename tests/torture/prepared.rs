//! What the struck commands find: files beside the store, and images.

use crate::common::{self, Ebb};
use std::path::Path;

/// `tree`, five files to be copied; `new.tar`, what [`crate::commands`] imports; `busybox.tar.gz`.
pub fn files(dir: &Path) {
    let tree = dir.join("tree/sub");
    std::fs::create_dir_all(&tree).expect("a tree");
    for number in 0..5 {
        std::fs::write(tree.join(number.to_string()), "x".repeat(1000)).expect("a file");
    }
    let new = dir.join("new/tree");
    std::fs::create_dir_all(&new).expect("a tree");
    for number in 0..2 {
        std::fs::write(new.join(number.to_string()), "new\n").expect("a file");
    }
    std::fs::write(dir.join("new/c"), "new\n").expect("a file");
    let compressed = std::fs::File::create(dir.join("busybox.tar.gz")).expect("a file");
    let mut compressed = flate2::write::GzEncoder::new(compressed, flate2::Compression::fast());
    let mut archive = std::fs::File::open(common::busybox_archive()).expect("the archive");
    std::io::copy(&mut archive, &mut compressed).expect("written");
    compressed.finish().expect("written");
    let mut tar = std::process::Command::new("tar");
    assert!(tar.args(["-C", "new", "-cf", "new.tar", "."]).current_dir(dir).status().expect("tar starts").success());
}

/// The words, with the archive of busybox for ARCHIVE.
pub fn words(words: &[&str]) -> Vec<String> {
    let archive = common::busybox_archive().to_str().expect("UTF-8");
    words.iter().map(|word| if *word == "ARCHIVE" { archive.to_owned() } else { (*word).to_owned() }).collect()
}

/// In how many of the image's directories there are how many files.
const DIRECTORIES: (u32, u32) = (3, 6);

/// An image with /odd: files of every kind, each with a mode, an owner and a time that nothing gets by itself.
pub fn odd(ebb: &Ebb) {
    common::image_with(ebb, "odd", &["CMD [\"sh\"]"], |tar| {
        let header = |kind: tar::EntryType, mode: u32, owner: u64, size: u64| {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.set_mode(mode);
            header.set_uid(owner);
            header.set_gid(owner + 1);
            header.set_size(size);
            header.set_mtime(1_000_000_000 + u64::from(mode));
            header
        };
        let mut add = |mut header: tar::Header, path: &str, data: &str| {
            tar.append_data(&mut header, path, data.as_bytes()).expect("written");
        };
        add(header(tar::EntryType::Directory, 0o1770, 7, 0), "odd/", "");
        for directory in 0..DIRECTORIES.0 {
            add(header(tar::EntryType::Directory, 0o710 + directory, 8, 0), &format!("odd/{directory}/"), "");
            for number in 0..DIRECTORIES.1 {
                let text = format!("file {number} of {directory}\n").repeat(100);
                let header = header(tar::EntryType::Regular, 0o4750 + number, 9, text.len() as u64);
                add(header, &format!("odd/{directory}/{number}"), &text);
            }
        }
        add(header(tar::EntryType::Fifo, 0o604, 7, 0), "odd/0/fifo", "");
        let mut link = |kind: tar::EntryType, path: &str, to: &str| {
            tar.append_link(&mut header(kind, 0o777, 5, 0), path, to).expect("written");
        };
        link(tar::EntryType::Symlink, "odd/1/away", "/etc/passwd");
        link(tar::EntryType::Symlink, "odd/dangling", "no/where");
        link(tar::EntryType::Link, "odd/second", "odd/2/1");
    });
}

/// What a container of `odd` tells of the files at `path`, once `mount` is mounted: name, kind, mode, owner, time, names,
/// content.
pub fn told(ebb: &Ebb, mount: &[&str], path: &str) -> String {
    let script = format!(
        "cd {path} && find . | sort | while read -r f; do stat -c '%n %F %a %u:%g %Y %h' \"$f\"; \
         [ -f \"$f\" ] && [ ! -h \"$f\" ] && md5sum < \"$f\"; done; true"
    );
    let answer = ebb.run(["run", "--rm"].iter().chain(mount).chain(&["odd", "sh", "-c", &script]));
    if answer.code == 0 { answer.stdout } else { answer.shown().to_owned() }
}

/// Makes of what is in `vase` a copy-up that was killed half-way, as whoever comes next finds it: there is a mark.
pub fn half_copied(ebb: &Ebb) {
    let record = ebb.store().join("containers").join(ebb.inspect("box", "{{.Id}}")).join("container.json");
    let record = std::fs::read_to_string(record).expect("a record");
    let record: serde_json::Value = serde_json::from_str(&record).expect("JSON");
    let mark = serde_json::json!({"Layers": record["Layers"], "Path": "/odd", "Subpath": "", "OnlyDirectory": false});
    std::fs::write(ebb.store().join("volumes/vase/copying"), mark.to_string()).expect("the mark");
}

/// Where the struck command's stderr goes.
pub fn stderr_of_the_struck(ebb: &Ebb) -> std::process::Stdio {
    std::fs::File::create(ebb.dir.join("stderr")).expect("a file").into()
}

/// What the next command says of what it finds is said as well.
pub fn also_said(ebb: &Ebb, text: &str) {
    let file = std::fs::File::options().append(true).open(ebb.dir.join("stderr"));
    file.and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes())).expect("the file of what was said");
}

pub fn said_by_the_struck(ebb: &Ebb) -> String {
    std::fs::read_to_string(ebb.dir.join("stderr")).unwrap_or_default()
}
