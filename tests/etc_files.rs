//! /etc/hosts, /etc/hostname and /etc/resolv.conf are each container's own: they lie above whatever is mounted at /etc, and
//! are not written into it.

mod common;

use common::{Ebb, image_with};

const FILES: [&str; 3] = ["hostname", "hosts", "resolv.conf"];
const SHOW: &str = "cat /etc/hostname; grep -c '9.9.9.9' /etc/hosts; cat /etc/mine";

/// A directory of the host's with files that would stand for the container's own.
fn etc_of_the_host(ebb: &Ebb) -> std::path::PathBuf {
    let etc = ebb.dir.join("etc");
    std::fs::create_dir(&etc).expect("a directory");
    std::fs::write(etc.join("hosts"), "9.9.9.9 elsewhere\n").expect("a file");
    std::fs::write(etc.join("mine"), "kept\n").expect("a file");
    etc
}

#[test]
fn a_directory_at_etc_does_not_cover_them_and_gets_no_byte_of_them() {
    let ebb = Ebb::new();
    let etc = etc_of_the_host(&ebb);
    let mount = format!("{}:/etc", etc.display());
    let shown = ebb.run(["run", "--rm", "-h", "own-name", "-v", &mount, "busybox", "sh", "-c", SHOW]);
    assert_eq!(shown.stdout, "own-name\n0\nkept\n", "{}", shown.shown());
    // As with Docker, a place to mount on is made where there was none, and what was there is as it was.
    let text = |name: &str| std::fs::read_to_string(etc.join(name)).expect("a place for it");
    assert_eq!(
        (text("hostname"), text("hosts"), text("resolv.conf")),
        ("".into(), "9.9.9.9 elsewhere\n".into(), "".into())
    );
}

#[test]
fn a_volume_or_a_tmpfs_at_etc_does_not_cover_them_nor_in_another_container() {
    let ebb = Ebb::new();
    for name in ["first", "second"] {
        let shown = ebb.ok([
            "run",
            "--rm",
            "-h",
            name,
            "-v",
            "conf:/etc",
            "busybox",
            "sh",
            "-c",
            "cat /etc/hostname; echo x >> /etc/hosts",
        ]);
        assert_eq!(shown, name);
    }
    let listed = ebb.ok(["run", "--rm", "-v", "conf:/data", "busybox", "wc", "-c", "/data/hostname", "/data/hosts"]);
    assert!(listed.lines().all(|line| line.trim().starts_with("0 ")), "{listed}");
    let listed = ebb.ok(["run", "--rm", "--tmpfs", "/etc", "busybox", "ls", "/etc"]);
    assert_eq!(listed.lines().collect::<Vec<_>>(), FILES);
}

#[test]
fn what_is_mounted_on_one_of_them_is_shown_in_its_place() {
    let ebb = Ebb::new();
    let hosts = etc_of_the_host(&ebb).join("hosts");
    let own = format!("{}:/etc/hosts", hosts.display());
    let shown = ebb.ok(["run", "--rm", "-v", &own, "-v", "conf:/etc", "busybox", "cat", "/etc/hosts"]);
    assert_eq!(shown, "9.9.9.9 elsewhere");
}

#[test]
fn where_and_cp_see_them_as_the_container_does_whether_it_runs_or_not() {
    let ebb = Ebb::new();
    ebb.ok(["run", "-d", "--name", "box", "-h", "own-name", "-v", "conf:/etc", "busybox", "sleep", "1000"]);
    let look = || {
        let holder = |path: &str| ebb.ok(["where", "--format", "{{.HeldBy}}", &format!("box:{path}")]);
        assert_eq!(
            (holder("/etc/hostname"), holder("/etc/passwd")),
            ("a file that Ebb gives this container".into(), "volume conf".into())
        );
        ebb.ok(["cp", "box:/etc/hostname", "copied"]);
        assert_eq!(std::fs::read_to_string(ebb.dir.join("copied")).expect("copied"), "own-name\n");
    };
    look();
    ebb.ok(["stop", "-t", "0", "box"]);
    look();
}

#[test]
fn they_are_no_change_of_the_container_whoever_writes_to_them() {
    let ebb = Ebb::new();
    let script = "echo 10.9.8.7 friend >> /etc/hosts; echo other > /etc/hostname; cat /etc/hosts /etc/hostname";
    let shown = ebb.ok(["run", "--name", "box", "busybox", "sh", "-c", script]);
    assert!(shown.ends_with("10.9.8.7 friend\nother"), "{shown}");
    assert_eq!(ebb.ok(["diff", "box"]), "");
    ebb.ok(["export", "-o", "box.tar", "box"]);
    let tar = std::fs::read(ebb.dir.join("box.tar")).expect("written");
    assert!(!tar.windows(8).any(|window| window == b"10.9.8.7"), "nor of an image that is made of it");
}

#[test]
fn where_there_is_no_place_for_them_and_none_can_be_made_that_is_said() {
    let ebb = Ebb::new();
    let said = ebb.fails(125, ["run", "--rm", "-v", "conf:/etc:ro", "busybox", "true"]);
    assert!(
        said.contains(" in the container: read-only file system\n  a mount needs a file to lie on: make the file in"),
        "{said}"
    );
    // With the places there it can be read-only.
    ebb.ok(["run", "--rm", "-v", "conf:/etc", "busybox", "true"]);
    let shown = ebb.ok(["run", "--rm", "-h", "own-name", "-v", "conf:/etc:ro", "busybox", "cat", "/etc/hostname"]);
    assert_eq!(shown, "own-name");
}

#[test]
fn an_image_whose_resolv_conf_is_a_link_to_what_is_not_there_starts() {
    let ebb = Ebb::new();
    image_with(&ebb, "dangling:1", &[], |builder| {
        for (name, target) in
            [("etc/resolv.conf", "../run/systemd/resolve/stub.conf"), ("etc/hosts", "/etc/../../../own/hosts")]
        {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            header.set_mode(0o777);
            builder.append_link(&mut header, name, target).expect("written");
        }
    });
    let script = "readlink /etc/resolv.conf; ls /run/systemd/resolve; grep -c localhost /own/hosts";
    let shown = ebb.ok(["run", "--rm", "dangling:1", "sh", "-c", script]);
    assert_eq!(shown, "../run/systemd/resolve/stub.conf\nstub.conf\n2");
    assert!(!std::path::Path::new("/own").exists(), "never outside");
}
