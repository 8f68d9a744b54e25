//! What is on a volume stays, and goes only when somebody says so.

mod common;

use common::Ebb;

fn volumes(ebb: &Ebb) -> Vec<String> {
    ebb.ok(["volume", "ls", "-q"]).lines().map(str::to_owned).collect()
}

#[test]
fn a_second_create_of_a_name_succeeds_and_changes_nothing() {
    let ebb = Ebb::empty();
    ebb.ok(["volume", "create", "--label", "a=1", "vase"]);
    let before = ebb.ok(["volume", "inspect", "vase"]);
    assert_eq!(ebb.ok(["volume", "create", "vase"]), "vase");
    assert_eq!(ebb.ok(["volume", "inspect", "vase"]), before);
    assert!(before.contains("\"a\": \"1\""), "{before}");
}

#[test]
fn a_volume_without_a_name_is_anonymous() {
    let ebb = Ebb::empty();
    let name = ebb.ok(["volume", "create"]);
    assert!(name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit()), "{name}");
    assert_eq!(
        ebb.ok(["volume", "inspect", "-f", "{{json .Labels}}", &name]),
        "{\"com.docker.volume.anonymous\":\"\"}"
    );
}

#[test]
fn bad_names_and_options_are_refused_in_docker_s_words() {
    let ebb = Ebb::empty();
    let said = ebb.fails(1, ["volume", "create", "bad name"]);
    assert!(said.starts_with("ebb: create bad name: \"bad name\" includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed."), "{said}");
    assert!(ebb.fails(1, ["volume", "create", "a"]).contains("volume name is too short, names should be at least two"));
    assert!(ebb.fails(1, ["volume", "create", "../x"]).contains("includes invalid characters"));
    assert!(
        ebb.fails(1, ["volume", "create", "-o", "bogus=1", "foo"]).contains("create foo: invalid option: \"bogus\"")
    );
    assert!(
        ebb.fails(1, ["volume", "create", "-o", "o=size=1", "foo"]).contains("missing required option: \"device\"")
    );
    assert!(
        ebb.fails(1, ["volume", "create", "-o", "type=ext4", "-o", "device=/dev/x", "-o", "size=10m", "foo"])
            .contains("quota size requested but no quota support")
    );
    assert_eq!(volumes(&ebb), Vec::<String>::new());
}

#[test]
fn an_unknown_volume_is_said_and_force_forgives_it() {
    let ebb = Ebb::empty();
    let shown = ebb.run(["volume", "inspect", "nope"]);
    assert_eq!(
        (shown.code, shown.stdout.as_str(), shown.stderr.as_str()),
        (1, "[]\n", "ebb: get nope: no such volume\n")
    );
    assert_eq!(ebb.fails(1, ["volume", "rm", "nope"]), "ebb: get nope: no such volume\n");
    assert_eq!(ebb.ok(["volume", "rm", "-f", "nope"]), "nope");
    ebb.ok(["volume", "create", "real"]);
    let some = ebb.run(["volume", "rm", "nope", "real"]);
    assert_eq!((some.code, some.stdout.as_str()), (1, "real\n"), "what can be done is done");
}

#[test]
fn a_volume_in_use_is_not_removed_and_the_message_names_who() {
    let ebb = Ebb::new();
    let id = ebb.ok(["run", "-d", "--name", "user1", "-v", "vase:/data", "busybox", "sleep", "1000"]);
    for force in [vec!["volume", "rm", "vase"], vec!["volume", "rm", "-f", "vase"]] {
        let said = ebb.fails(1, force);
        assert!(said.starts_with(&format!("ebb: remove vase: volume is in use - [{id}]\n")), "{said}");
        let next = "  used by user1 (running); `ebb rm -f user1` removes what uses it, and leaves the volume\n";
        assert!(said.ends_with(next), "who, in which state, and the next command: {said}");
    }
    ebb.ok(["stop", "-t", "0", "user1"]);
    assert!(ebb.fails(1, ["volume", "rm", "vase"]).contains("user1 (exited)"), "a stopped container uses it, too");
    ebb.ok(["rm", "user1"]);
    ebb.ok(["create", "--name", "user2", "-v", "vase:/data", "busybox"]);
    assert!(ebb.fails(1, ["volume", "rm", "vase"]).contains("user2 (created)"));
    // A name that is only the beginning of another is no use of it.
    ebb.ok(["volume", "create", "vas"]);
    assert_eq!(ebb.ok(["volume", "rm", "vas"]), "vas");
    ebb.ok(["rm", "user2"]);
    assert_eq!(ebb.ok(["volume", "rm", "vase"]), "vase");
    assert_eq!(ebb.leftovers(), Vec::<String>::new());
}

#[test]
fn rm_and_rm_v_and_rm_option_take_anonymous_volumes_and_never_named_ones() {
    let ebb = Ebb::new();
    ebb.ok(["run", "--name", "one", "-v", "/anon", "-v", "named:/n", "busybox", "touch", "/anon/f", "/n/f"]);
    assert_eq!(volumes(&ebb).len(), 2);
    ebb.ok(["rm", "one"]);
    assert_eq!(volumes(&ebb).len(), 2, "a plain rm takes no volume");
    ebb.ok(["volume", "prune", "-f"]);
    assert_eq!(volumes(&ebb), ["named"], "prune takes anonymous ones only");
    ebb.ok(["run", "--name", "two", "-v", "/anon", "-v", "named:/n", "busybox", "true"]);
    ebb.ok(["rm", "-v", "two"]);
    assert_eq!(volumes(&ebb), ["named"]);
    assert_eq!(ebb.ok(["run", "--rm", "-v", "/anon", "-v", "named:/n", "busybox", "ls", "/n"]), "f");
    assert_eq!(volumes(&ebb), ["named"], "--rm takes the anonymous one");
}

#[test]
fn prune_asks_spares_what_is_used_and_says_what_went() {
    let ebb = Ebb::new();
    ebb.ok(["volume", "create", "idle"]);
    ebb.ok(["run", "--name", "user1", "-v", "busy:/b", "busybox", "true"]);
    let asked = ebb.run_with(b"n\n", ["volume", "prune"]);
    assert!(
        asked.stdout.starts_with(
            "WARNING! This will remove anonymous local volumes not used by at least one container.\nAre you sure"
        ),
        "{}",
        asked.shown()
    );
    assert_eq!(volumes(&ebb), ["busy", "idle"]);
    let pruned = ebb.ok(["volume", "prune", "-a", "-f"]);
    assert_eq!(pruned, "Deleted Volumes:\nidle\n\nTotal reclaimed space: 0B");
    assert_eq!(volumes(&ebb), ["busy"]);
}

#[test]
fn filters_pick_volumes() {
    let ebb = Ebb::new();
    ebb.ok(["volume", "create", "--label", "tier=db", "alpha"]);
    ebb.ok(["volume", "create", "beta"]);
    ebb.ok(["create", "-v", "beta:/b", "busybox"]);
    assert_eq!(ebb.ok(["volume", "ls", "-q", "-f", "dangling=true"]), "alpha");
    assert_eq!(ebb.ok(["volume", "ls", "-q", "-f", "dangling=false"]), "beta");
    assert_eq!(ebb.ok(["volume", "ls", "-q", "-f", "label=tier=db"]), "alpha");
    assert_eq!(ebb.ok(["volume", "ls", "-q", "-f", "name=et"]), "beta");
    assert_eq!(
        ebb.ok(["volume", "ls", "--format", "{{.Name}}:{{.Driver}}", "-f", "driver=local"]),
        "alpha:local\nbeta:local"
    );
    assert!(ebb.fails(1, ["volume", "ls", "-f", "colour=red"]).contains("invalid filter 'colour'"));
}

#[test]
fn what_is_mounted_below_a_volume_is_not_deleted_with_it() {
    if !common::is_root() {
        // An ordinary user cannot mount there: the refusal is root's to need.
        return;
    }
    let ebb = Ebb::empty();
    ebb.ok(["volume", "create", "vase"]);
    let inner = ebb.store().join("volumes/vase/_data/inner");
    let other = ebb.dir.join("other");
    std::fs::create_dir(&inner).expect("a directory");
    std::fs::create_dir(&other).expect("a directory");
    std::fs::write(other.join("precious"), b"x").expect("a file");
    let mount =
        |args: &[&std::ffi::OsStr]| std::process::Command::new("mount").args(args).status().expect("mount runs");
    assert!(mount(&["--bind".as_ref(), other.as_os_str(), inner.as_os_str()]).success());
    let said = ebb.fails(1, ["volume", "rm", "vase"]);
    assert!(said.contains("is mounted inside it"), "{said}");
    assert!(std::process::Command::new("umount").arg(&inner).status().expect("umount runs").success());
    ebb.ok(["volume", "rm", "vase"]);
    assert!(other.join("precious").exists());
}

#[test]
fn rm_of_a_volume_races_run_and_nothing_is_half_there() {
    let ebb = Ebb::new();
    for _ in 0..5 {
        let runner = ebb.spawn(["run", "--rm", "-v", "vase:/d", "busybox", "sh", "-c", "echo x > /d/f && cat /d/f"]);
        let remover = ebb.spawn(["volume", "rm", "-f", "vase"]);
        let ran = runner.wait_with_output().expect("run ends");
        remover.wait_with_output().expect("rm ends");
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        assert_eq!(String::from_utf8_lossy(&ran.stdout), "x\n");
    }
}
