//! What a container cannot do, and what it cannot see.

mod common;

use common::Ebb;
use std::path::Path;

fn status(ebb: &Ebb, args: &[&str]) -> String {
    ebb.ok(["run", "--rm"].iter().chain(args).chain(&["busybox", "cat", "/proc/self/status"]))
}

fn field<'a>(status: &'a str, name: &str) -> &'a str {
    let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    line.split(':').nth(1).unwrap_or_default().trim()
}

fn symlink(builder: &mut tar::Builder<std::fs::File>, path: &str, target: &str) {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    header.set_mode(0o777);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    builder.append_link(&mut header, path, target).expect("written");
}

#[test]
fn the_defaults_are_eleven_capabilities_no_new_privs_and_a_filter() {
    let ebb = Ebb::new();
    let status = status(&ebb, &[]);
    // CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE SYS_CHROOT SETFCAP; with one id not those
    // that are for other ids.
    let expected = if common::has_one_id() { 0x8004_0502 } else { 0x8004_05fb };
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        assert_eq!(u64::from_str_radix(field(&status, set), 16).expect("hex"), expected, "{set}");
    }
    for set in ["CapInh", "CapAmb"] {
        assert_eq!(u64::from_str_radix(field(&status, set), 16).expect("hex"), 0, "{set} (CVE-2022-29162)");
    }
    assert_eq!((field(&status, "NoNewPrivs"), field(&status, "Seccomp")), ("1", "2"));
    ebb.ok(["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
    let inside = ebb.ok(["exec", "box", "cat", "/proc/self/status"]);
    for name in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp"] {
        assert_eq!(field(&inside, name), field(&status, name), "exec has what run has: {name}");
    }
}

#[test]
fn capabilities_can_be_added_and_dropped() {
    let ebb = Ebb::new();
    assert_eq!(u64::from_str_radix(field(&status(&ebb, &["--cap-drop", "ALL"]), "CapBnd"), 16).expect("hex"), 0);
    let added = status(&ebb, &["--cap-drop", "all", "--cap-add", "NET_RAW", "--cap-add", "CAP_CHOWN"]);
    assert_eq!(u64::from_str_radix(field(&added, "CapEff"), 16).expect("hex"), 1 << 13 | 1);
    assert!(
        ebb.fails(125, ["run", "--rm", "--cap-add", "FLY", "busybox"])
            .contains("invalid CapAdd: unknown capability: \"CAP_FLY\"")
    );
    let open = status(&ebb, &["--security-opt", "no-new-privileges:false"]);
    assert_eq!(field(&open, "NoNewPrivs"), "0");
}

#[test]
fn every_namespace_is_its_own() {
    let ebb = Ebb::new();
    ebb.ok(["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
    let pid = ebb.ok(["inspect", "-f", "{{.State.Pid}}", "box"]);
    for name in ["mnt", "pid", "uts", "ipc", "net", "cgroup", "user"] {
        let ours = std::fs::read_link(format!("/proc/self/ns/{name}")).expect("ours");
        let theirs = std::fs::read_link(format!("/proc/{pid}/ns/{name}")).expect("theirs");
        assert_ne!(ours, theirs, "{name}");
    }
    // No mount of a container is seen on the host.
    let store = ebb.store().display().to_string();
    assert!(!std::fs::read_to_string("/proc/self/mountinfo").expect("mounts").contains(&store));
}

#[test]
fn what_shows_or_changes_the_host_is_masked_or_read_only() {
    let ebb = Ebb::new();
    let script = "cat /proc/kcore 2>/dev/null | head -c 1 | wc -c; ls /sys/firmware | wc -l; echo x > /proc/sys/kernel/hostname; \
                  echo x > /proc/sysrq-trigger; mkdir /sys/fs/cgroup/x; mount -t tmpfs t /mnt; unshare -m true; ls /dev";
    let ran = ebb.run(["run", "--rm", "busybox", "sh", "-c", script]);
    assert!(ran.stdout.starts_with("0\n0\n"), "{}", ran.shown());
    assert!(ran.stderr.lines().count() >= 5, "each of the five is refused: {}", ran.shown());
    let mut devices: Vec<&str> = ran.stdout.lines().skip(2).collect();
    devices.sort_unstable();
    let wanted = [
        "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty", "urandom",
        "zero",
    ];
    assert_eq!(devices, wanted);
    // Every tree of /sys/fs/cgroup, and so release_agent, is mounted read-only.
    let mounts = ebb.ok(["run", "--rm", "busybox", "cat", "/proc/mounts"]);
    for line in mounts.lines().filter(|line| line.contains("/sys/fs/cgroup")) {
        assert!(line.split(' ').nth(3).is_some_and(|options| options.split(',').any(|word| word == "ro")), "{line}");
    }
}

#[test]
fn only_the_three_standard_descriptors_are_open() {
    let ebb = Ebb::new();
    ebb.ok(["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
    // The shell's own glob opens one more while it looks, which is closed again by then. (In a pipeline the shell would
    // for a moment hold an end of the pipe as well.)
    let script = "n=0; for fd in /proc/$$/fd/*; do [ -L $fd ] && n=$((n+1)); done; echo $n";
    assert_eq!(ebb.ok(["run", "--rm", "busybox", "sh", "-c", script]), "3");
    assert_eq!(ebb.ok(["exec", "box", "sh", "-c", script]), "3");
    for number in 0..30 {
        let place = format!("/proc/self/fd/{number}");
        let ran = ebb.run(["run", "--rm", "-w", &place, "busybox", "ls"]);
        assert_ne!(ran.code, 0, "a descriptor of the host's is no way out (CVE-2024-21626): {}", ran.shown());
        assert_ne!(ebb.run(["exec", "-w", &place, "box", "ls"]).code, 0, "{place}");
    }
}

#[test]
fn a_container_cannot_overwrite_the_program_that_started_it() {
    let ebb = Ebb::new();
    let before = std::fs::read(env!("CARGO_BIN_EXE_ebb")).expect("the binary");
    common::image_with(&ebb, "selfish", &[], |builder| {
        let script = b"#!/proc/self/exe\n";
        let mut header = tar::Header::new_gnu();
        header.set_size(script.len() as u64);
        header.set_mode(0o755);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        builder.append_data(&mut header, "entry", &script[..]).expect("written");
    });
    ebb.run(["run", "--rm", "selfish", "/entry"]);
    ebb.ok([
        "run",
        "-d",
        "--name",
        "box",
        "busybox",
        "sh",
        "-c",
        "while :; do for p in /proc/[0-9]*; do echo x > $p/exe; done; done 2>/dev/null",
    ]);
    for _ in 0..10 {
        ebb.run(["exec", "box", "true"]);
    }
    assert!(std::fs::read(env!("CARGO_BIN_EXE_ebb")).expect("the binary") == before, "CVE-2019-5736");
}

#[test]
fn a_mount_lands_inside_whatever_the_images_links_say() {
    let ebb = Ebb::new();
    let canary = ebb.dir.join("canary");
    std::fs::create_dir(&canary).expect("a directory");
    common::image_with(&ebb, "linked", &[], |builder| {
        symlink(builder, "absolute", "/etc");
        symlink(builder, "up", "../../../../../../../../etc");
        symlink(builder, "outside", canary.to_str().expect("UTF-8"));
        for (name, target) in [("toproc", "/proc"), ("tosys", "/sys"), ("todev", "/dev"), ("topts", "dev/pts")] {
            symlink(builder, name, target);
        }
        symlink(builder, "relative", "etc");
        symlink(builder, "dangling", "/not/there/yet");
        symlink(builder, "loop", "loop");
        symlink(builder, "dangling-up", "../../../../../../../../../not-there-ebb");
    });
    for target in ["/absolute/new", "/up/new"] {
        assert_eq!(
            ebb.ok(["run", "--rm", "-v", &format!("vase:{target}"), "linked", "ls", "-d", "/etc/new"]),
            "/etc/new"
        );
        assert!(!Path::new("/etc/new").exists());
    }
    // The link itself: what is covered is the image's directory that it leads to, and the volume has that one's files.
    for (number, target) in ["/absolute", "/up", "/relative"].into_iter().enumerate() {
        let mount = format!("conf{number}:{target}");
        let script = "touch /etc/by-volume; ls /etc";
        let seen = ebb.ok(["run", "--rm", "-v", &mount, "linked", "sh", "-c", script]);
        assert!(seen.contains("by-volume") && seen.contains("passwd"), "{target}: {seen}");
        let kept = ebb.ok(["run", "--rm", "-v", &format!("conf{number}:/v"), "linked", "ls", "/v"]);
        assert!(kept.contains("by-volume"), "{target}: {kept}");
        assert!(!Path::new("/etc/by-volume").exists());
    }
    // What leads nowhere leads to what is made there, in the container.
    for (target, place) in [
        ("/dangling", "/not/there/yet"),
        ("/dangling/deeper", "/not/there/yet/deeper"),
        ("/dangling-up", "/not-there-ebb"),
    ] {
        let ran = ebb.run(["run", "--rm", "-v", &format!("vase:{target}"), "linked", "touch", &format!("{place}/f")]);
        assert!(ran.code == 0 && !Path::new(place).exists(), "{}", ran.shown());
        assert_eq!(ebb.ok(["run", "--rm", "-v", "vase:/v", "linked", "ls", "/v"]), "f");
    }
    ebb.run(["run", "--rm", "-v", "vase:/outside/in", "linked", "true"]);
    assert_eq!(std::fs::read_dir(&canary).expect("the canary").count(), 0, "nothing of the host is touched");
    assert_ne!(ebb.run(["run", "--rm", "-v", "vase:/toproc", "linked", "true"]).code, 0, "not over /proc, by no name");
    for target in ["/toproc/self", "/tosys", "/tosys/fs", "/loop", "/loop/x"] {
        assert_ne!(ebb.run(["run", "--rm", "-v", &format!("vase:{target}"), "linked", "true"]).code, 0, "{target}");
    }
    for target in ["/todev", "/topts", "/todev/new"] {
        let ran =
            ebb.run(["run", "--rm", "-v", &format!("vase:{target}"), "linked", "sh", "-c", "ls /dev; : > /dev/null"]);
        assert_eq!(ran.code, 0, "the container's own devices may be covered: {}", ran.shown());
    }
    let device = std::fs::symlink_metadata("/dev/null").expect("the host's");
    assert!(!Path::new("/dev/new").exists() && std::os::unix::fs::FileTypeExt::is_char_device(&device.file_type()));
}

#[test]
fn an_images_own_words_cannot_leave_it() {
    let ebb = Ebb::new();
    common::image_with(&ebb, "sly", &["VOLUME /../../etc/ebb-was-here", "WORKDIR /link/made", "ENV A=1"], |builder| {
        symlink(builder, "link", "/../../../../../../tmp");
    });
    let ran = ebb.run(["run", "--rm", "sly", "sh", "-c", "pwd -P; env"]);
    assert_eq!(ran.code, 0, "{}", ran.shown());
    assert!(ran.stdout.starts_with("/tmp/made\n"), "inside: {}", ran.shown());
    assert!(!Path::new("/etc/ebb-was-here").exists() && !Path::new("/tmp/made").exists());
}

#[test]
fn a_passwd_that_is_no_file_does_not_hang_us() {
    let ebb = Ebb::new();
    for (name, kind, target) in [("fifo", tar::EntryType::Fifo, ""), ("endless", tar::EntryType::Symlink, "/dev/zero")]
    {
        common::image_with(&ebb, name, &[], |builder| {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.set_size(0);
            header.set_mode(0o644);
            header.set_mtime(0);
            header.set_uid(0);
            header.set_gid(0);
            match target {
                "" => builder.append_data(&mut header, "etc/passwd", std::io::empty()).expect("written"),
                target => builder.append_link(&mut header, "etc/passwd", target).expect("written"),
            }
        });
        assert!(
            ebb.fails(125, ["run", "--rm", "-u", "web", name, "true"]).contains("unable to find user web"),
            "{name}"
        );
        ebb.ok(["run", "--rm", "-u", "0", name, "true"]);
    }
}

#[test]
fn without_a_user_namespace_only_the_devices_that_were_given_can_be_opened() {
    let ebb = Ebb::new();
    if !common::is_root() {
        let said = ebb.fails(125, ["run", "--rm", "--device", "/dev/full:/dev/full:r", "busybox", "true"]);
        assert!(said.contains("cannot be honoured"), "{said}");
        return;
    }
    // Devices that root may open with no further right.
    let harmless = [("/dev/loop-control", "10 237"), ("/dev/fuse", "10 229")];
    let Some((path, number)) = harmless.into_iter().find(|(path, _)| std::fs::File::open(path).is_ok()) else {
        return common::skip("the host has neither /dev/loop-control nor /dev/fuse");
    };
    let script = format!("mknod /own c {number}; mknod /all c 1 8; (: < /own) && echo own; (: < /all) && echo all");
    let make = ["run", "--rm", "--cap-add", "MKNOD", "busybox", "sh", "-c", &script];
    for option in ["--network", "--userns"] {
        let ran = ebb.run(["run", "--rm", option, "host"].iter().chain(&make[2..]));
        assert!(ran.stdout == "all\n" && ran.stderr.contains("not permitted"), "{}", ran.shown());
    }
    let script = format!("(: < {path}) && echo read; (: > {path}) && echo written; true");
    for (letters, can) in [("r", "read\n"), ("w", "written\n"), ("rwm", "read\nwritten\n")] {
        let device = format!("{path}:{path}:{letters}");
        let ran = ebb.run(["run", "--rm", "--userns", "host", "--device", &device, "busybox", "sh", "-c", &script]);
        assert_eq!(ran.stdout, can, "{}", ran.shown());
    }
    let said = ebb.fails(125, ["run", "--rm", "--device", "/dev/full:/dev/full:r", "busybox", "true"]);
    assert!(said.contains("cannot be honoured"), "{said}");
}

#[test]
fn a_passwd_that_the_container_has_deleted_is_not_read_from_the_layer_below() {
    let ebb = Ebb::new();
    ebb.ok(["run", "--name", "box", "-u", "root", "busybox", "rm", "/etc/passwd"]);
    let said = ebb.fails(1, ["start", "-a", "box"]);
    assert!(said.contains("unable to find user root"), "{said}");
}

/// Which of its layers has it: the one that the overlay will show.
#[test]
fn a_passwd_is_found_where_the_overlay_shows_it() {
    let ebb = Ebb::new();
    let lines = |name: &str| format!("{name}:x:0:0::/:\n");
    let (root, web) = (lines("root"), lines("web"));
    // Hidden by an opaque directory, by a whiteout of the directory, and behind a symlink which another layer has the end of.
    let hidden: [&[common::layers::Entry]; 2] =
        [&[("etc/.wh..wh..opq", Some(""), ""), ("etc/f", Some(""), "")], &[(".wh.etc", Some(""), "")]];
    for (name, layer) in ["opaque", "whiteout"].into_iter().zip(hidden) {
        common::layers::image(&ebb, name, &[layer]);
        let said = ebb.fails(125, ["run", "--rm", "-u", "root", name, "id"]);
        assert!(said.contains("unable to find user root"), "{name}: {said}");
    }
    let link: &[common::layers::Entry] = &[("etc/passwd", None, "/home/p"), ("home/p", Some(&root), "")];
    common::layers::image(&ebb, "link", &[link, &[("home/p", Some(&web), "")]]);
    assert_eq!(ebb.ok(["run", "--rm", "-u", "web", "link", "id", "-u"]), "0");
    assert!(ebb.fails(125, ["run", "--rm", "-u", "root", "link", "id"]).contains("unable to find user root"));
    // In the container's own layer.
    ebb.ok(["run", "--name", "box", "-u", "web", "link", "sh", "-c", "sed -i s/web/own/ /home/p"]);
    assert!(ebb.fails(1, ["start", "-a", "box"]).contains("unable to find user web"));
}

#[test]
fn supplementary_groups_are_exact() {
    let ebb = Ebb::new();
    let groups = |args: &[&str]| {
        let status = status(&ebb, args);
        field(&status, "Groups").to_owned()
    };
    if common::has_one_id() {
        // There is one group, the process's own, and no right to give it up.
        assert_eq!(groups(&["-u", "1:1", "--group-add", "7"]), "1");
        return;
    }
    assert_eq!(groups(&["-u", "1:1"]), "1");
    assert_eq!(groups(&["-u", "1:1", "--group-add", "7", "--group-add", "9"]), "1 7 9");
}

#[test]
fn the_number_that_is_no_id_makes_nobody_root() {
    let ebb = Ebb::new();
    ebb.ok(["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
    for user in ["4294967295", "2147483648", "5:4294967295", "99999999999"] {
        for refused in [
            ebb.fails(125, ["run", "--rm", "-u", user, "busybox", "id"]),
            ebb.fails(126, ["exec", "-u", user, "box", "id"]),
        ] {
            assert!(refused.contains("uids and gids must be in range 0-2147483647"), "{refused}");
        }
    }
    let group = ebb.fails(125, ["run", "--rm", "--group-add", "4294967295", "busybox", "id"]);
    assert!(group.contains("must be in range"), "{group}");
    common::image_with(&ebb, "sly", &[], |builder| {
        let line = b"web:x:4294967295:4294967295::/:/bin/sh\n";
        let mut header = tar::Header::new_gnu();
        header.set_size(line.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        builder.append_data(&mut header, "etc/passwd", &line[..]).expect("written");
    });
    assert!(ebb.fails(125, ["run", "--rm", "-u", "web", "sly", "id"]).contains("must be in range"));
}

#[test]
fn an_id_that_the_container_does_not_have_is_refused_with_a_cure() {
    if common::has_one_id() {
        return; // Its one id is mapped to whoever the container's user is.
    }
    let ebb = Ebb::new();
    ebb.ok(["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
    for said in [
        ebb.fails(125, ["run", "--rm", "-u", "7000000", "busybox", "id"]),
        ebb.fails(1, ["exec", "-u", "7000000", "box", "id"]),
    ] {
        assert!(said.contains("user 7000000 is none of the container's 6553"), "{said}");
    }
    let said = ebb.fails(125, ["run", "--rm", "--group-add", "7000000", "busybox", "id"]);
    assert!(said.contains("group 7000000 is none of the container's"), "{said}");
    if common::is_root() {
        assert!(said.contains("--userns host"), "{said}");
        assert_eq!(ebb.ok(["run", "--rm", "--userns", "host", "-u", "7000000", "busybox", "id", "-u"]), "7000000");
    }
}

#[test]
fn a_device_is_shown_under_another_name_and_only_with_letters_that_mean_something() {
    let ebb = Ebb::new();
    let script = "stat -c '%t:%T' /dev/mine; echo x > /dev/mine";
    for device in ["/dev/null:/dev/mine", "/dev/null:/dev/mine:rw"] {
        assert_eq!(ebb.ok(["run", "--rm", "--device", device, "busybox", "sh", "-c", script]), "1:3", "{device}");
    }
    for device in ["/dev/null:/dev/mine:zzz", "/dev/null:zzz"] {
        let said = ebb.fails(125, ["run", "--rm", "--device", device, "busybox", "true"]);
        assert!(said.contains("bad mode specified: zzz"), "{said}");
    }
}

#[test]
fn privileged_is_everything_that_this_user_can_give() {
    let ebb = Ebb::new();
    let status = status(&ebb, &["--privileged"]);
    assert_eq!(field(&status, "NoNewPrivs"), "0");
    let bounding = u64::from_str_radix(field(&status, "CapBnd"), 16).expect("hex");
    assert!(bounding.count_ones() > 30, "{bounding:x}");
    ebb.ok(["run", "--rm", "--privileged", "busybox", "mount", "-t", "tmpfs", "t", "/tmp"]);
}
