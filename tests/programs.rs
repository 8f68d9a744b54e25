//! The host's programs that Ebb runs are the host's: what the caller's environment says leads root to no other.

mod common;

use common::hostile::Tar;
use common::programs::script;
use common::{Answer, Ebb, answer, has_one_id, is_root};
use std::path::{Path, PathBuf};

/// A directory of programs that leave their name in `ran` and then do as the host's own.
fn planted(ebb: &Ebb) -> PathBuf {
    let bin = ebb.dir.join("bin");
    std::fs::create_dir(&bin).expect("a directory");
    for name in
        ["newuidmap", "newgidmap", "getent", "mkfs.ext4", "ps", "sh", "apt-get", "apt-cache", "dpkg-deb", "find"]
    {
        let ran = ebb.dir.join("ran");
        let own = format!(
            "echo {name} >>{}\nfor dir in /usr/sbin /usr/bin /sbin /bin; do\n[ -x $dir/{name} ] && exec $dir/{name} \"$@\"\n\
             done\nexit 127",
            ran.display()
        );
        script(&bin.join(name), &own);
    }
    bin
}

/// `ebb WORDS`, in a directory of the test's own, with this PATH.
fn with_path(ebb: &Ebb, path: &str, words: &[&str]) -> Answer {
    answer(ebb.command().env("PATH", path).env("APT_CONFIG", "/nowhere").args(words))
}

fn ran(directory: &Path) -> String {
    std::fs::read_to_string(directory.join("ran")).unwrap_or_default()
}

#[test]
fn root_runs_none_of_what_lies_first_in_path() {
    if !is_root() {
        return; // The next test is an ordinary user's.
    }
    let ebb = Ebb::new();
    let bin = planted(&ebb);
    let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", bin.display());
    ebb.ok(["volume", "create", "-o", "type=cifs", "-o", "device=//nowhere.invalid/s", "-o", "o=guest", "remote"]);
    ebb.ok(["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
    assert_eq!(with_path(&ebb, &path, &["top", "box", "-o", "pid,args"]).code, 0);
    let looked_up = with_path(&ebb, &path, &["run", "--rm", "-v", "remote:/r", "busybox", "true"]);
    assert!(looked_up.stderr.contains("no such host"), "{}", looked_up.shown());
    let disk = with_path(&ebb, &path, &["volume", "create", "-o", "size=16m", "disk"]);
    assert!(disk.code == 0 || disk.stderr.contains("loop device"), "{}", disk.shown());
    let made = with_path(&ebb, &path, &["pull", "-q", "busybox"]);
    assert_eq!(made.code, 0, "{}", made.shown());
    assert_eq!(ran(&ebb.dir), "");
    ebb.ok(["rm", "-f", "box"]);
}

/// As if PATH were `.`: of the user's own words only those count that name a place.
#[test]
fn an_entry_of_path_that_is_no_absolute_path_is_passed_over() {
    if is_root() || has_one_id() {
        return; // Neither runs a program to make a container.
    }
    let ebb = Ebb::empty();
    let bin = planted(&ebb);
    std::fs::write(ebb.dir.join("root.tar"), Tar::default().file("f", "f").end()).expect("written");
    for (path, runs) in [("bin:/usr/bin:/bin", false), (":/usr/bin:/bin", false), (bin.to_str().expect("UTF-8"), true)]
    {
        // Where an empty entry would look, too.
        let directory = if path.starts_with(':') { &bin } else { &ebb.dir };
        let mut command = ebb.command();
        command.current_dir(directory).env("PATH", path).arg("import").arg(ebb.dir.join("root.tar"));
        let said = answer(&mut command);
        assert_eq!(said.code, 0, "{}", said.shown());
        assert_eq!(ran(&ebb.dir).contains("newuidmap"), runs, "{path}");
    }
}
