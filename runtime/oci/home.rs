//! HOME, for a process whose environment has none: what the container's own /etc/passwd says, as runc does.

use crate::store::beneath;
use nix::fcntl::OFlag;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The home directory of `uid`, `/` where the container does not know it.
///
/// The file is the image's and may be anything: a FIFO or a device is not waited for, and reading has an end.
pub fn of(uid: u32) -> String {
    read_passwd().and_then(|text| home_in(&text, uid)).unwrap_or_else(|| "/".into())
}

fn read_passwd() -> Option<String> {
    const MOST: u64 = 1 << 20;
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let file = File::from(beneath::open_here(Path::new("/etc/passwd"), flags).ok()?);
    let regular = file.metadata().ok()?.is_file();
    let mut bytes = Vec::new();
    if regular {
        file.take(MOST).read_to_end(&mut bytes).ok()?;
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// `name:password:uid:gid:comment:home:shell`
fn home_in(passwd: &str, uid: u32) -> Option<String> {
    let fields = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let mut ours = fields.filter(|fields| fields.get(2).and_then(|text| text.parse().ok()) == Some(uid));
    ours.next()?.get(5).filter(|home| !home.is_empty()).map(|home| (*home).to_owned())
}

#[cfg(test)]
mod tests {
    use super::home_in;

    #[test]
    fn the_first_line_with_the_uid_counts() {
        let passwd =
            "root:x:0:0:root:/root:/bin/sh\nbad line\nweb:x:33:33::/var/www:\nother:x:33:33::/other:\nnone:x:5:5:::\n";
        assert_eq!(home_in(passwd, 0).as_deref(), Some("/root"));
        assert_eq!(home_in(passwd, 33).as_deref(), Some("/var/www"));
        assert_eq!((home_in(passwd, 5), home_in(passwd, 6)), (None, None));
    }
}
