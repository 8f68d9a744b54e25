//! Whose files are these: `:U`, `:idmap` and `--userns keep-id`.

mod common;

use common::owners::{asked, empty, host_directory, owner};
use common::{Ebb, has_one_id, is_root};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

#[test]
fn u_gives_the_files_to_the_container_s_user_once_and_says_so() {
    let ebb = Ebb::new();
    let host = host_directory(&ebb);
    let before = owner(&host);
    let mount = format!("{}:/c:U", host.display());
    let made = ebb.run([
        "run",
        "--name",
        "box",
        "-u",
        "33",
        "-v",
        &mount,
        "busybox",
        "sh",
        "-c",
        "stat -c %u:%g /c /c/a /c/d/b; echo more >> /c/a && echo new > /c/d/new && echo written",
    ]);
    assert_eq!(made.code, 0, "{}", made.shown());
    assert_eq!(made.stdout, "33:33\n33:33\n33:33\nwritten\n", "{}", made.shown());
    if has_one_id() {
        assert!(made.stderr.is_empty(), "who has one id is the owner as it is: {}", made.shown());
        return;
    }
    assert!(made.stderr.contains("ebb: changed the owner of 4 files in "), "{}", made.shown());
    assert!(made.stderr.contains(&format!("itself was {}:{}", before.0, before.1)), "{}", made.shown());
    let given = owner(&host);
    assert_ne!(given, before);
    assert_eq!([owner(&host.join("a")), owner(&host.join("d/b")), owner(&host.join("d/new"))], [given; 3]);
    if is_root() {
        assert_eq!(given, (33, 33), "as root the ids on the disk are those in the container");
    }
    // What changes its owner afterwards is left alone by the next start, which does not walk again.
    ebb.ok(["run", "--rm", "-v", &format!("{}:/c", host.display()), "busybox", "chown", "44:44", "/c/d/b"]);
    let other = owner(&host.join("d/b"));
    let started = ebb.run(["start", "-a", "box"]);
    assert_eq!((started.stdout.as_str(), started.stderr.as_str()), ("33:33\n33:33\n44:44\nwritten\n", ""));
    assert_eq!(owner(&host.join("d/b")), other);
    // A new container gives again, and only what is not given yet.
    let again = ebb.run(["run", "--rm", "-u", "33", "-v", &mount, "busybox", "true"]);
    assert!(again.stderr.contains("changed the owner of 1 file in"), "{}", again.shown());
    // Back: root in an ordinary user's container is that user.
    let back = ebb.run(["run", "--rm", "-v", &mount, "busybox", "true"]);
    assert_eq!((back.code, owner(&host)), (0, before), "{}", back.shown());
    // A volume can be given as well, and --mount has the word, too.
    ebb.ok(["run", "--rm", "-u", "33:44", "-v", "vase:/c:U", "busybox", "touch", "/c/f"]);
    let mount = "type=volume,src=vase,dst=/c,U=true";
    let shown = ebb.ok(["run", "--rm", "-u", "50:60", "--mount", mount, "busybox", "stat", "-c", "%u:%g", "/c/f"]);
    assert_eq!(shown, "50:60");
    // What a volume's options name counts as what a bind mount names; what is in memory has no owner to keep.
    ebb.ok(["volume", "create", "-o", "type=none", "-o", "o=bind", "-o", "device=/usr/share", "system"]);
    assert!(ebb.fails(125, ["create", "-v", "system:/c:U", "busybox"]).contains("chowning host path"));
    ebb.ok(["volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "memory"]);
    assert!(ebb.fails(125, ["create", "-v", "memory:/c:U", "busybox"]).contains("-o o=uid=UID,gid=GID"));
    if is_root() {
        ebb.ok(["volume", "create", "-o", "size=20m", "disk"]);
        ebb.ok(["run", "--rm", "-u", "33", "-v", "disk:/c:U", "busybox", "touch", "/c/f"]);
        assert_eq!(ebb.ok(["run", "--rm", "-v", "disk:/c", "busybox", "stat", "-c", "%u:%g", "/c"]), "33:33");
    }
    // Of a part of a volume that part, and where says how to ask for it.
    ebb.ok(["run", "--rm", "-v", "vase:/c", "busybox", "mkdir", "/c/part"]);
    let part = "type=volume,src=vase,dst=/c,volume-subpath=part";
    ebb.ok(["create", "--name", "part", "-u", "44", "--mount", part, "busybox"]);
    let cures = asked(&ebb, &["part:/c"])["Cures"].to_string();
    assert!(cures.contains(&format!("--mount {part},U")), "{cures}");
    ebb.ok(["run", "--rm", "-u", "44:44", "--mount", &format!("{part},U"), "busybox", "touch", "/c/f"]);
    let shown = ebb.ok([
        "run",
        "--rm",
        "-v",
        "vase:/c",
        "busybox",
        "stat",
        "-c",
        "%u:%g",
        "/c",
        "/c/f",
        "/c/part",
        "/c/part/f",
    ]);
    assert_eq!(shown, "50:60\n50:60\n44:44\n44:44");
}

/// The command dies after some of the files; it is the next `start` of whatever container that finds what it began.
#[test]
fn u_that_was_killed_half_way_is_finished_by_the_next_start_which_says_so() {
    if !is_root() {
        // strace would take newuidmap its setuid bit; tests/torture kills it there, too.
        return;
    }
    if Command::new("strace").arg("-V").output().is_err() {
        return common::skip("strace is not installed");
    }
    let ebb = Ebb::new();
    let host = host_directory(&ebb);
    let before = owner(&host);
    ebb.ok(["create", "--name", "waiting", "-v", &format!("{}:/c", host.display()), "busybox", "true"]);
    let mut killed = Command::new("strace");
    killed.args(["-f", "-o", "/dev/null", "-e", "trace=fchownat", "-e", "inject=fchownat:signal=SIGKILL:when=2"]);
    killed.arg(env!("CARGO_BIN_EXE_ebb")).args(["create", "--name", "box", "-u", "33:44", "-v"]);
    killed.arg(format!("{}:/c:U", host.display())).args(["busybox", "true"]).env("EBB_ROOT", ebb.store());
    let killed = common::answer(killed.current_dir(&ebb.dir));
    let owners = || [host.clone(), host.join("a"), host.join("d"), host.join("d/b")].map(|path| owner(&path));
    assert!(killed.code != 0 && owners().contains(&before) && owners().contains(&(33, 44)), "{}", killed.shown());
    let started = ebb.run(["start", "-a", "waiting"]);
    assert_eq!((started.code, owners()), (0, [(33, 44); 4]), "{}", started.shown());
    for said in ["a command was killed while it gave", "changed the owner of 4 files in"] {
        assert!(started.stderr.contains(said), "{}", started.shown());
    }
    let again = ebb.run(["start", "-a", "waiting"]);
    assert_eq!((again.code, again.stderr.as_str()), (0, ""), "once");
    assert_eq!(ebb.run(["inspect", "box"]).code, 1, "what was killed left no container");
}

#[test]
fn u_follows_no_link_enters_no_mount_and_takes_no_name_from_outside() {
    let ebb = Ebb::new();
    let host = host_directory(&ebb);
    let outside = ebb.dir.join("outside");
    std::fs::create_dir(&outside).expect("a directory");
    std::fs::write(outside.join("secret"), "").expect("a file");
    symlink(&outside, host.join("way")).expect("a link");
    symlink(outside.join("secret"), host.join("link")).expect("a link");
    let before = owner(&outside);
    let mount = format!("{}:/c:U", host.display());
    let run = |ebb: &Ebb| ebb.run(["run", "--rm", "-u", "33", "-v", &mount, "busybox", "true"]);
    if is_root() {
        let below = host.join("below");
        std::fs::create_dir(&below).expect("a directory");
        let other = ebb.dir.join("other");
        std::fs::create_dir(&other).expect("a directory");
        std::fs::write(other.join("f"), "").expect("a file");
        let mounted = nix::mount::mount(Some(&other), &below, None::<&str>, nix::mount::MsFlags::MS_BIND, None::<&str>);
        mounted.expect("mounted");
        let given = run(&ebb);
        nix::mount::umount(&below).expect("unmounted");
        assert_eq!(given.code, 0, "{}", given.shown());
        assert!(given.stderr.contains("what is mounted below"), "{}", given.shown());
        assert_eq!((owner(&other), owner(&other.join("f"))), ((0, 0), (0, 0)), "a mount is not entered");
    } else {
        assert_eq!(run(&ebb).code, 0);
    }
    assert_eq!((owner(&outside), owner(&outside.join("secret"))), (before, before));
    if !has_one_id() {
        assert_ne!(owner(&host.join("link")), before, "the link itself is given");
    }
    empty(&ebb, &host);
    // A file that is also called something else outside: all or nothing.
    std::fs::write(host.join("mine"), "").expect("a file");
    std::fs::hard_link(host.join("mine"), host.join("mine too")).expect("a link");
    std::fs::hard_link(outside.join("secret"), host.join("theirs")).expect("a link");
    let mine = owner(&host.join("mine"));
    let refused = run(&ebb);
    if has_one_id() {
        assert_eq!(refused.code, 0, "nothing would change: {}", refused.shown());
        return;
    }
    assert_eq!(refused.code, 125, "{}", refused.shown());
    assert!(refused.stderr.contains("theirs has another name outside of"), "{}", refused.shown());
    assert_eq!((owner(&host.join("mine")), owner(&outside.join("secret"))), (mine, before), "nothing was changed");
    assert_eq!(ebb.ok(["ps", "-aq"]), "", "and no container is left of it");
    std::fs::remove_file(host.join("theirs")).expect("removed");
    let given = run(&ebb);
    assert_eq!(given.code, 0, "{}", given.shown());
    assert_ne!(owner(&host.join("mine too")), mine, "all names of it lie in the tree");
    empty(&ebb, &host);
}

#[test]
fn u_refuses_what_is_the_system_s_or_everybody_s() {
    let ebb = Ebb::new();
    let link = ebb.dir.join("link");
    symlink("/usr", &link).expect("a link");
    let home = ebb.dir.join("home");
    std::fs::create_dir(&home).expect("a directory");
    // (The rest of the list is held by a unit test: a fault here would give this very machine away.)
    for place in [link.as_path(), Path::new("/usr/share/doc"), &home, &ebb.store(), &ebb.dir] {
        let mut command = ebb.command();
        command.env("HOME", &home).args(["create", "-v", &format!("{}:/c:U", place.display()), "busybox"]);
        let refused = common::answer(&mut command);
        assert_eq!(refused.code, 125, "{}", refused.shown());
        let said = format!("ebb: chowning host path {:?} is not allowed\n", place);
        assert!(refused.stderr.starts_with(&said), "{}", refused.shown());
    }
    assert_eq!(ebb.ok(["ps", "-aq"]), "");
    if !is_root() {
        // Others' files cannot be given away, and that is seen before any is.
        let refused = ebb.run(["create", "-v", "/var/lib/dpkg:/c:U", "busybox"]);
        assert_eq!(refused.code, 125, "{}", refused.shown());
        assert!(
            refused.stderr.contains("/var/lib/dpkg belongs to a user or a group that is not yours"),
            "{}",
            refused.shown()
        );
    }
}

#[test]
fn the_words_contradict_each_other_and_fit_their_kind_of_mount() {
    let ebb = Ebb::empty();
    for bad in ["/h:/c:U,idmap", "vase:/c:idmap", "/h:/c:U,U"] {
        let said = ebb.fails(125, ["create", "-v", bad, "busybox"]);
        assert!(said.contains("invalid mode: "), "{said}");
    }
    for bad in ["type=volume,src=vase,dst=/c,idmap", "type=tmpfs,dst=/c,U", "type=bind,src=/tmp,dst=/c,U,idmap"] {
        let said = ebb.fails(125, ["create", "--mount", bad, "busybox"]);
        assert!(said.contains("invalid mount config for type"), "{said}");
    }
    assert!(
        ebb.fails(125, ["create", "--userns", "keep-it", "busybox"]).contains("--userns: invalid USER mode: keep-it")
    );
}

#[test]
fn idmap_makes_the_container_s_user_the_directory_s_owner_where_the_kernel_can() {
    let ebb = Ebb::new();
    let host = host_directory(&ebb);
    let mount = format!("{}:/c:idmap", host.display());
    let write = ["busybox", "sh", "-c", "echo new > /c/new && stat -c %u:%g /c /c/new"];
    let run = |user: &str, more: &[&str]| ebb.run([&["run", "--rm", "-u", user, "-v", &mount], more, &write].concat());
    if is_root() {
        for more in [&[][..], &["--privileged"], &["--userns", "host"]] {
            let _ = std::fs::remove_file(host.join("new"));
            for path in [host.clone(), host.join("a"), host.join("d")] {
                std::os::unix::fs::chown(path, Some(1234), Some(1235)).expect("given");
            }
            let ran = run("33:44", more);
            assert_eq!((ran.code, ran.stdout.as_str()), (0, "33:44\n33:44\n"), "{}", ran.shown());
            assert_eq!(owner(&host.join("new")), (1234, 1235), "on the host it is the directory's owner's");
            // Nobody else has become somebody else, and root of the host has no place in there.
            let seen = ebb.ok([
                &["run", "--rm", "-u", "33:44", "-v", &mount],
                more,
                &["busybox", "stat", "-c", "%u:%g", "/c/a", "/c/d/b"],
            ]
            .concat());
            assert_eq!(seen, "33:44\n65534:65534");
            // An owner for whom the container has no id at all.
            std::os::unix::fs::chown(&host, Some(300_000), Some(300_000)).expect("given");
            std::fs::remove_file(host.join("new")).expect("removed");
            let ran = run("0", more);
            assert_eq!((ran.code, ran.stdout.as_str()), (0, "0:0\n0:0\n"), "{}", ran.shown());
            assert_eq!(owner(&host.join("new")), (300_000, 300_000));
        }
        // The map is for the owner that was seen: a path that leads elsewhere by the time of the mount is refused.
        let id = ebb.ok(["create", "-u", "33", "-v", &mount, "busybox", "true"]);
        ebb.ok(["cp", &format!("{id}:/c/a"), "copy"]);
        let bundle = ebb.store().join("containers").join(&id);
        let config = std::fs::read_to_string(bundle.join("config.json")).expect("a bundle");
        assert!(config.contains("owner=300000:300000"), "{config}");
        std::os::unix::fs::chown(&host, Some(0), Some(0)).expect("given");
        let refused = ebb.run(["oci", "run", "--bundle", bundle.to_str().expect("UTF-8"), "swapped"]);
        assert_ne!(refused.code, 0, "{}", refused.shown());
        assert!(refused.stderr.contains("belongs to 0:0, and belonged to 300000:300000"), "{}", refused.shown());
        let refused = ebb.run(["create", "-v", "/proc/sys:/c:idmap", "busybox"]);
        assert_eq!(refused.code, 125, "{}", refused.shown());
        assert!(
            refused.stderr.starts_with("ebb: map the ids of the mount of /proc/sys: invalid argument\n"),
            "{}",
            refused.shown()
        );
        assert!(refused.stderr.contains("`:U` changes the owner"), "{}", refused.shown());
        return;
    }
    // Root in an ordinary user's container is the owner as it is; nothing need be mapped.
    let ran = run("0", &[]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "0:0\n0:0\n"), "{}", ran.shown());
    let ran = run("33", &[]);
    if has_one_id() {
        assert_eq!(ran.code, 0, "whoever the container runs as is the user: {}", ran.shown());
        return;
    }
    assert_eq!(ran.code, 125, "{}", ran.shown());
    for part in ["operation not permitted", "CAP_SYS_ADMIN", "`--userns keep-id:uid=33,gid=33`", "`:U`"] {
        assert!(ran.stderr.contains(part), "{}", ran.shown());
    }
    assert_eq!(ebb.ok(["ps", "-aq"]), "");
    let seen = ebb.run(["run", "--rm", "--userns", "keep-id:uid=33,gid=33", "-v", &mount, "busybox", "true"]);
    assert_eq!(seen.code, 0, "with keep-id it is so as it is: {}", seen.shown());
}

/// A file of root's with the setuid bit, in a directory of the host: whoever runs it there is root.
#[test]
fn idmap_keeps_a_container_from_leaving_a_setuid_file_of_root_s_on_the_host() {
    let ebb = Ebb::new();
    let host = host_directory(&ebb);
    let leave = "cp /bin/busybox /c/mine && chown 1234:1235 /c/mine; chmod 6755 /c/mine; cp /bin/busybox /c/roots && \
                 chmod 6755 /c/roots; chown 0:0 /c/roots; ls -ln /c";
    let mount = format!("{}:/c", host.display());
    if !is_root() {
        // An ordinary user's container has no id of root's to give.
        ebb.run(["run", "--rm", "-v", &mount, "busybox", "sh", "-c", leave]);
        for name in ["mine", "roots"] {
            assert_ne!(owner(&host.join(name)).0, 0);
        }
        return;
    }
    ebb.ok(["run", "--rm", "-v", &mount, "busybox", "sh", "-c", leave]);
    assert_eq!(owner(&host.join("roots")), (0, 0), "without :idmap it can, as with Docker, and the README says so");
    for (owned_by, user) in [(1234, "0:0"), (1234, "1234:1235"), (1234, "33:44")] {
        std::os::unix::fs::chown(&host, Some(owned_by), Some(1235)).expect("given");
        for name in ["mine", "roots"] {
            let _ = std::fs::remove_file(host.join(name));
        }
        let translated = format!("{mount}:idmap");
        ebb.ok(["run", "--name", "box", "-d", "-u", user, "-v", &translated, "busybox", "sleep", "1000"]);
        for who in ["0:0", "33:44", "1234:1235"] {
            ebb.run(["exec", "-u", who, "box", "sh", "-c", leave]);
            for name in ["mine", "roots"] {
                let path = host.join(name);
                assert!(!path.exists() || (owner(&path).0 != 0 && owner(&path).1 != 0), "{user}, {who}: {name}");
            }
        }
        ebb.ok(["rm", "-f", "box"]);
    }
}

#[test]
fn keep_id_makes_a_user_of_the_container_the_caller() {
    let ebb = Ebb::new();
    let host = host_directory(&ebb);
    let bind = format!("{}:/c", host.display());
    let (uid, gid) = owner(&host);
    if is_root() {
        let refused = ebb.run(["run", "--userns", "keep-id", "busybox"]);
        assert_eq!(refused.code, 125);
        // Podman's words.
        assert!(refused.stderr.starts_with("ebb: keep-id is only supported in rootless mode\n"), "{}", refused.shown());
        assert!(refused.stderr.contains("As root every id has the same number"), "{}", refused.shown());
        return;
    }
    let write = ["busybox", "sh", "-c", "echo \"$(id -u):$(id -g)\"; echo kept > /c/kept; stat -c %u:%g /c /c/kept"];
    let as_me = ebb.ok([&["run", "--rm", "--userns", "keep-id", "-v", &bind], &write[..]].concat());
    assert_eq!(as_me, format!("{uid}:{gid}\n{uid}:{gid}\n{uid}:{gid}"));
    assert_eq!(owner(&host.join("kept")), (uid, gid));
    let mode = "keep-id:uid=33,gid=44";
    ebb.ok(["run", "-d", "--name", "box", "--userns", mode, "-v", &bind, "-v", "vase:/v", "busybox", "sleep", "1000"]);
    assert_eq!(ebb.ok(["exec", "box", "stat", "-c", "%u:%g", "/c/kept"]), "33:44");
    ebb.ok(["exec", "box", "touch", "/c/by33"]);
    assert_eq!(owner(&host.join("by33")), (uid, gid));
    assert_eq!(ebb.inspect("box", "{{.HostConfig.UsernsMode}} {{.Config.User}}"), format!("{mode} 33:44"));
    let place = asked(&ebb, &["box:/c/kept"]);
    assert_eq!((&place["MayWrite"], &place["Owner"]["Uid"]), (&true.into(), &33.into()), "{place}");
    assert_eq!(place["Makes"]["Uid"], uid, "{place}");
    if has_one_id() {
        let refused = ebb.run(["run", "--rm", "--userns", mode, "-u", "0", "busybox", "true"]);
        assert_eq!(refused.code, 125, "{}", refused.shown());
        assert!(refused.stderr.contains("you have one id only"), "{}", refused.shown());
        return;
    }
    // There is still a root, with other ids, and its files are somebody else's.
    ebb.ok(["exec", "-u", "0", "box", "sh", "-c", "id -u && echo root > /v/f && chmod 600 /v/f"]);
    assert!(ebb.run(["exec", "box", "cat", "/v/f"]).stderr.contains("Permission denied"));
    assert_eq!(asked(&ebb, &["box:/v/f"])["MayWrite"], false);
    // Stopped it looks the same, is copied out of, and starts again.
    ebb.ok(["stop", "-t", "0", "box"]);
    ebb.ok(["cp", "box:/c/by33", "copy"]);
    ebb.ok(["start", "box"]);
    assert_eq!(ebb.ok(["exec", "box", "stat", "-c", "%u:%g", "/c/kept"]), "33:44");
    // Who gives a user is that one.
    assert_eq!(ebb.ok(["run", "--rm", "--userns", "keep-id", "-u", "7", "busybox", "id", "-u"]), "7");
    let refused = ebb.fails(125, ["create", "--userns", "keep-id", "--pid", "container:box", "busybox"]);
    assert!(refused.contains("conflicting options: --userns keep-id and --pid container:box"), "{refused}");
}
