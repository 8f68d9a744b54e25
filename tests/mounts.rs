//! Every mount that Docker knows is made as Docker makes it, or refused in its words.

mod common;

use common::shell::{make, says, shell};
use common::{Ebb, has_one_id, is_root};
use std::path::Path;

fn volumes(ebb: &Ebb) -> Vec<String> {
    ebb.ok(["volume", "ls", "-q"]).lines().map(str::to_owned).collect()
}

#[test]
fn read_only_is_read_only_and_a_bind_shows_the_host() {
    let ebb = Ebb::new();
    for word in ["ro", "readonly"] {
        let said = shell(&ebb, &["-v", &format!("vase:/d:{word}")], "touch /d/x");
        assert!(said.code == 1 && said.stderr.contains("Read-only file system"), "{}", said.shown());
    }
    for field in ["ro", "readonly", "readonly=true", "ro=1"] {
        let said = shell(&ebb, &["--mount", &format!("type=volume,src=vase,dst=/d,{field}")], "touch /d/x");
        assert!(said.code == 1 && said.stderr.contains("Read-only file system"), "{}", said.shown());
    }
    for writable in ["vase:/d", "vase:/d:rw"] {
        assert_eq!(says(&ebb, &["-v", writable], "touch /d/x && echo yes"), "yes");
    }
    assert_eq!(says(&ebb, &["--mount", "source=vase,target=/d,readonly=false"], "touch /d/y && echo yes"), "yes");
    make(&ebb, "shared", "f", "host\n");
    assert_eq!(says(&ebb, &["-v", "./shared:/d"], "cat /d/f"), "host");
    says(&ebb, &["--mount", "type=bind,src=./shared,destination=/d"], "echo in > /d/g");
    assert_eq!(std::fs::read_to_string(ebb.dir.join("shared/g")).expect("written"), "in\n");
    let one = format!("{}:/etc/one:ro", ebb.dir.join("shared/f").display());
    assert_eq!(says(&ebb, &["-v", &one], "cat /etc/one"), "host", "a file can be bound, too");
}

#[test]
fn v_makes_a_missing_host_directory_and_says_so_and_mount_refuses() {
    let ebb = Ebb::new();
    let made = shell(&ebb, &["-v", "./fresh:/d"], "ls -d /d");
    assert_eq!((made.code, made.stdout.as_str()), (0, "/d\n"), "{}", made.shown());
    assert!(made.stderr.contains("made the host directory") && ebb.dir.join("fresh").is_dir(), "{}", made.shown());
    assert_eq!(shell(&ebb, &["-v", "./fresh:/d"], "true").stderr, "", "and not a second time");
    let said = ebb.fails(125, ["run", "--rm", "--mount", "type=bind,src=/no/such/dir,dst=/a", "busybox", "true"]);
    assert!(
        said.starts_with(
            "ebb: invalid mount config for type \"bind\": bind source path does not exist: /no/such/dir\n"
        ),
        "{said}"
    );
    let made = shell(&ebb, &["--mount", "type=bind,src=./wanted,dst=/d,bind-create-src"], "true");
    assert!(made.code == 0 && made.stderr.contains("made the host directory"), "{}", made.shown());
    assert!(ebb.dir.join("wanted").is_dir());
}

#[test]
fn mounts_that_make_no_sense_are_refused_and_change_nothing() {
    let ebb = Ebb::new();
    ebb.ok(["create", "--name", "taken", "busybox"]);
    for (words, wanted) in [
        (vec!["-v", "m1:/a", "-v", "m2:/a"], "Duplicate mount point: /a"),
        (vec!["-v", "m1:/a", "-v", "m2:/b/../a"], "Duplicate mount point: /a"),
        (vec!["-v", "m1:/a", "--tmpfs", "/a"], "Duplicate mount point: /a"),
        (vec!["-v", "m1:/a", "--mount", "src=m2,dst=/a/"], "Duplicate mount point: /a"),
        (vec!["-v", "m1:/a:foo"], "invalid mode: foo"),
        (vec!["-v", "m1:/a:ro,rw"], "invalid mode: ro,rw"),
        (vec!["-v", "m1:/a:z,Z"], "at most one of ro and rw, one of z and Z"),
        (vec!["-v", "m1:/a:"], "invalid spec: m1:/a:: empty section between colons\n"),
        (vec!["-v", "/tmp:/a:nocopy"], "nothing is ever copied into a host directory"),
        (vec!["-v", "m1:/a:rslave"], "propagation is for host directories"),
        (vec!["-v", "/tmp:/a:rslave,shared"], "one word of propagation at most"),
        (vec!["-v", "m1:/a:volume-subpath=x"], "--mount type=…,src=…,dst=…,volume-subpath=x"),
        (vec!["-v", "/tmp:/a:bind-propagation=rslave"], "bind-propagation is a word of --mount"),
        (vec!["-v", "m1:/"], "destination can't be '/'"),
        (vec!["-v", "xx:/"], "takes such a word for a drive letter"),
        (vec!["-v", "aa:bb"], "did you mean -v aa:/bb?"),
        (vec!["-v", "shared"], "a volume needs a path inside the container: -v shared:/data"),
        (vec!["-v", "m1:/a:ro:x"], "a path with a colon in it goes into --mount"),
        (vec!["-v", "x:/a"], "volume name is too short"),
        (
            vec!["-v", "@bad:/a"],
            "\"@bad\" includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are \
             allowed. If you intended to pass a host directory, use absolute path\n",
        ),
        (vec!["-v", "m1:/proc"], "must not cover"),
        (vec!["-v", "m1:/sys/fs/x"], "must not cover"),
        (vec!["-v", "m1:/a", "--name", "taken"], "The container name \"/taken\" is already in use"),
        (vec!["--volume-driver", "nfs", "-v", "m1:/a"], "error looking up volume plugin nfs: plugin \"nfs\" not found"),
        (vec!["--tmpfs", "relative"], "mount path must be absolute"),
        (vec!["--tmpfs", "/t:bogus"], "invalid tmpfs option [\"bogus\"]"),
        (vec!["--tmpfs", "/t:size"], "invalid tmpfs option [\"size\"]"),
    ] {
        let said = ebb.fails(125, ["run", "--rm"].into_iter().chain(words.clone()).chain(["busybox", "true"]));
        assert!(said.contains(wanted), "{words:?}: {said}");
    }
    assert_eq!(volumes(&ebb), Vec::<String>::new());
    assert_eq!(ebb.ok(["ps", "-a", "--format", "{{.Names}}"]), "taken");
}

#[test]
fn what_mount_cannot_read_is_refused_in_dockers_words() {
    let ebb = Ebb::new();
    for (mount, wanted) in [
        ("type=bogus,dst=/a", "ebb: invalid mount config for type \"bogus\": mount type unknown"),
        ("type=bind,foo=1,dst=/a", "unexpected key 'foo' in 'foo=1'"),
        ("src=m1", "target is required"),
        ("src=m1,dst", "invalid field 'dst' must be a key=value pair"),
        ("src=m1,dst=a", "invalid mount path: 'a' mount path must be absolute"),
        ("src=m1,dst=/", "destination can't be '/'"),
        ("src=m1,dst=/a,ro=maybe", "invalid value for ro: maybe"),
        ("src=m1,dst=/a,nocopy", "it is volume-nocopy"),
        ("src=m1,dst=/a,rw", "a mount is writable unless it is readonly"),
        ("src=m1,dst=/a,consistency=lax", "invalid value for consistency: lax"),
        ("type=bind,dst=/a", "field Source must not be empty"),
        ("type=bind,src=m1,dst=/a", "invalid mount path: 'm1' mount path must be absolute"),
        ("type=tmpfs,src=m1,dst=/a", "field Source must not be specified"),
        ("type=bind,src=/tmp,dst=/a,volume-nocopy", "cannot mix 'volume-*' options with mount type 'bind'"),
        ("type=tmpfs,dst=/a,bind-propagation=rslave", "cannot mix 'bind-*' options with mount type 'tmpfs'"),
        ("type=volume,src=m1,dst=/a,tmpfs-size=1m", "cannot mix 'tmpfs-*' options with mount type 'volume'"),
        ("type=bind,src=/tmp,dst=/a,bind-propagation=loud", "invalid propagation value: loud"),
        (
            "type=bind,src=/tmp,dst=/a,bind-recursive=no",
            "must be \"enabled\", \"disabled\", \"writable\", or \"readonly\"",
        ),
        (
            "type=bind,src=/tmp,dst=/a,bind-recursive=writable",
            "option 'bind-recursive=writable' requires 'readonly' to be specified in conjunction",
        ),
        (
            "type=bind,src=/tmp,dst=/a,bind-recursive=readonly",
            "option 'bind-recursive=readonly' requires 'readonly' to be specified in conjunction",
        ),
        (
            "type=bind,src=/tmp,dst=/a,ro,bind-recursive=readonly,bind-propagation=rslave",
            "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in conjunction",
        ),
        ("type=tmpfs,dst=/a,tmpfs-size=much", "invalid value for tmpfs-size: much"),
        ("type=tmpfs,dst=/a,tmpfs-mode=9", "invalid value for tmpfs-mode: 9"),
        ("src=m1,dst=/a,volume-driver=nfs", "ebb: error looking up volume plugin nfs: plugin \"nfs\" not found"),
        ("src=m1,dst=/a,volume-opt=colour=red", "invalid option: \"colour\""),
        ("src=m1,dst=/a,volume-subpath=../x", "subpath must be a relative path within the volume"),
        ("dst=/a,volume-subpath=x", "must not set Subpath when using anonymous volumes"),
        ("src=m1,\"dst=/a", "a quote is left open"),
    ] {
        let said = ebb.fails(125, ["run", "--rm", "--mount", mount, "busybox", "true"]);
        assert!(said.contains(wanted), "{mount}: {said}");
    }
    assert_eq!(volumes(&ebb), Vec::<String>::new());
}

#[test]
fn every_key_of_mount_works_and_inspect_shows_what_was_asked() {
    let ebb = Ebb::new();
    make(&ebb, "a,b", "f", "comma\n");
    assert_eq!(says(&ebb, &["--mount", "type=bind,\"src=./a,b\",dst=/d,consistency=cached"], "cat /d/f"), "comma");
    let labelled = "src=m1,dst=/d,volume-label=tier=db,volume-label=bare,volume-nocopy,volume-driver=local";
    ebb.ok([
        "create",
        "--name",
        "box",
        "--mount",
        labelled,
        "--mount",
        "type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=700",
        "busybox",
    ]);
    assert_eq!(ebb.ok(["volume", "inspect", "-f", "{{json .Labels}}", "m1"]), r#"{"bare":"","tier":"db"}"#);
    assert_eq!(
        ebb.inspect("box", "{{json .HostConfig.Mounts}}"),
        r#"[{"Type":"volume","Source":"m1","Target":"/d","VolumeOptions":{"NoCopy":true,"Labels":{"bare":"","tier":"db"}}},"#
            .to_owned()
            + r#"{"Type":"tmpfs","Target":"/t","TmpfsOptions":{"SizeBytes":1048576,"Mode":448}}]"#
    );
    assert_eq!(ebb.inspect("box", "{{json .HostConfig.Binds}}"), "null");
    // A volume's own options, as `volume create -o` has them.
    let optioned = "src=m2,dst=/o,volume-opt=type=tmpfs,volume-opt=device=tmpfs,\"volume-opt=o=size=1m,mode=711\"";
    let shown = says(&ebb, &["--mount", optioned], "grep ' /o ' /proc/mounts; stat -c %a /o");
    assert!(shown.contains("size=1024k") && shown.ends_with("\n711"), "{shown}");
    let options = ebb.ok(["volume", "inspect", "-f", "{{json .Options}}", "m2"]);
    assert_eq!(options, r#"{"device":"tmpfs","o":"size=1m,mode=711","type":"tmpfs"}"#);
}

#[test]
fn a_tmpfs_is_in_memory_with_the_options_that_were_asked_for() {
    let ebb = Ebb::new();
    let shown = says(&ebb, &["--tmpfs", "/t:size=1m,mode=750"], "grep ' /t ' /proc/mounts; stat -c %a /t");
    for word in ["rw", "nosuid", "nodev", "noexec", "size=1024k"] {
        assert!(shown.split([' ', ',']).any(|found| found == word), "{word}: {shown}");
    }
    assert!(shown.ends_with("\n750"), "{shown}");
    let full = shell(&ebb, &["--tmpfs", "/t:size=1m"], "dd if=/dev/zero of=/t/f bs=64k count=32");
    assert!(full.code == 1 && full.stderr.contains("No space left on device"), "{}", full.shown());
    let program = "cp /bin/busybox /t/true && chmod 755 /t/true && /t/true";
    assert_eq!(shell(&ebb, &["--tmpfs", "/t"], program).code, 126, "noexec unless exec is asked for");
    assert_eq!(shell(&ebb, &["--tmpfs", "/t:exec"], program).code, 0);
    let said = shell(&ebb, &["--tmpfs", "/t:ro"], "touch /t/x");
    assert!(said.stderr.contains("Read-only file system"), "{}", said.shown());
    let long = says(
        &ebb,
        &["--mount", "type=tmpfs,dst=/t,tmpfs-size=2m,tmpfs-mode=1700"],
        "grep ' /t ' /proc/mounts; stat -c %a /t",
    );
    assert!(long.contains("size=2048k") && long.ends_with("\n1700"), "{long}");
    assert_eq!(says(&ebb, &["--tmpfs", "/fresh"], "stat -c %a /fresh"), "1777");
    assert_eq!(
        says(&ebb, &["--tmpfs", "/root"], "stat -c %a /root"),
        says(&ebb, &[], "stat -c %a /root"),
        "as runc does"
    );
    if !has_one_id() {
        assert_eq!(says(&ebb, &["--tmpfs", "/t:uid=3,gid=4"], "stat -c %u:%g /t"), "3:4");
    }
    let memory = ["--tmpfs", "/t", "--mount", "type=tmpfs,dst=/u"];
    let script = "ls -A /t /u; touch /t/gone /u/gone /kept; ls /kept";
    let run = [&["run", "--name", "box"][..], &memory, &["busybox", "sh", "-c", script]].concat();
    assert_eq!(ebb.ok(run), "/t:\n\n/u:\n/kept");
    assert_eq!(ebb.ok(["start", "-a", "box"]), "/t:\n\n/u:\n/kept", "what was in memory is gone with the stop");
    assert_eq!(ebb.inspect("box", "{{json .HostConfig.Tmpfs}}"), r#"{"/t":""}"#);
}

#[test]
fn a_directory_on_a_file_is_explained() {
    let ebb = Ebb::new();
    let said = ebb.fails(125, ["run", "--rm", "-v", "vase:/etc/passwd", "busybox", "true"]);
    assert!(said.contains("Are you trying to mount a directory onto a file (or vice-versa)?"), "{said}");
}

#[test]
fn selinux_words_are_accepted_and_explained() {
    let ebb = Ebb::new();
    for word in ["z", "Z", "ro,z"] {
        let answer = shell(&ebb, &["-v", &format!("vase:/d:{word}")], "true");
        // On a terminal they are explained: tests/typed.rs.
        assert_eq!((answer.code, answer.stderr.as_str()), (0, ""), "{}", answer.shown());
    }
}

#[test]
fn mounts_below_each_other_are_made_from_the_top_whatever_the_order_of_the_words() {
    let ebb = Ebb::new();
    make(&ebb, "host", "f", "host\n");
    let words = ["-v", "./host:/a/b/c", "--tmpfs", "/a/b", "-v", "outer:/a"];
    assert_eq!(
        says(&ebb, &words, "touch /a/outer /a/b/memory && cat /a/b/c/f && ls /a /a/b"),
        "host\n/a:\nb\nouter\n\n/a/b:\nc\nmemory"
    );
    assert_eq!(
        says(&ebb, &["-v", "outer:/o"], "ls /o /o/b"),
        "/o:\nb\nouter\n\n/o/b:",
        "each kept only what is its own"
    );
    let said = ebb.fails(125, ["run", "--rm", "-v", "closed:/a:ro", "-v", "inner:/a/b", "busybox", "true"]);
    assert!(said.contains("make the directory in what is mounted above it"), "{said}");
    assert_eq!(
        says(&ebb, &["-v", "outer:/a:ro", "-v", "inner:/a/b"], "touch /a/b/x && ls /a/b"),
        "x",
        "it is there by now"
    );
}

#[test]
fn the_mounts_below_a_bound_directory_follow_bind_recursive() {
    // What is mounted below must be there on the host: root mounts it itself, another user takes /dev and its /dev/pts.
    let ebb = Ebb::new();
    let say = |script: &str| {
        let wrapped = format!("mount --make-rprivate / && {script}");
        let mut command = std::process::Command::new("unshare");
        command
            .args(["--mount", "sh", "-ec", &wrapped])
            .env("EBB_ROOT", ebb.store())
            .env("EBB", env!("CARGO_BIN_EXE_ebb"));
        common::answer(command.current_dir(&ebb.dir))
    };
    if is_root() {
        let script = "mkdir -p top; mount -t tmpfs top top; mkdir top/sub; mount -t tmpfs sub top/sub; touch top/sub/below
            for word in enabled disabled writable readonly; do
                $EBB run --rm --mount type=bind,src=./top,dst=/d,readonly,bind-recursive=$word busybox sh -c \"
                    echo $word \\$(ls /d/sub) \\$(touch /d/x 2>/dev/null && echo top) \\$(touch /d/sub/x 2>/dev/null && echo sub; rm -f /d/sub/x)\" 2>/dev/null || true
            done
            $EBB run --rm -v ./top:/d:ro busybox touch /d/sub/x || true";
        let answer = say(script);
        assert_eq!(answer.code, 0, "{}", answer.shown());
        let lines: Vec<&str> = answer.stdout.lines().collect();
        assert_eq!(lines, ["enabled below", "disabled", "writable below sub", "readonly below"], "{}", answer.shown());
        assert!(answer.stderr.contains("Read-only file system"), "ro is for the mounts below, too: {}", answer.shown());
        return;
    }
    let mount = |word: &str| format!("type=bind,src=/dev,dst=/d,readonly,bind-recursive={word}");
    for word in ["enabled", "writable", "readonly"] {
        let options = says(&ebb, &["--mount", &mount(word)], "grep ' /d/pts ' /proc/mounts");
        assert_eq!(
            options.split(' ').nth(3).expect("options").starts_with("ro,"),
            word != "writable",
            "{word}: {options}"
        );
    }
    let said = ebb.fails(125, ["run", "--rm", "--mount", &mount("disabled"), "busybox", "true"]);
    assert!(said.contains("only root may bind it without that"), "{said}");
}

#[test]
fn all_of_the_host_can_be_bound() {
    let ebb = Ebb::new();
    std::fs::write(ebb.dir.join("f"), "here\n").expect("a file");
    let inside = Path::new("/host").join(ebb.dir.strip_prefix("/").expect("absolute")).join("f");
    assert_eq!(ebb.ok(["run", "--rm", "-v", "/:/host:ro", "busybox", "cat", &inside.to_string_lossy()]), "here");
    let said = shell(&ebb, &["-v", "/:/host:ro"], "touch /host/dev/shm/ebb-was-here");
    assert!(said.stderr.contains("Read-only file system"), "and all of it is read-only: {}", said.shown());
}

#[test]
fn another_runtime_gets_the_same_mounts() {
    let ebb = Ebb::new();
    says(&ebb, &["-v", "vase:/v"], "mkdir -p /v/a && echo deep > /v/a/f && ln -s /etc /v/out");
    let words = [
        "run",
        "--rm",
        "--runtime",
        "runc",
        "--mount",
        "src=vase,dst=/d,volume-subpath=a,readonly",
        "busybox",
        "cat",
        "/d/f",
    ];
    if !is_root() {
        assert!(ebb.fails(125, words).contains("takes root"));
        return;
    }
    if !Path::new("/usr/sbin/runc").exists() && !Path::new("/usr/bin/runc").exists() {
        return common::skip("runc is not installed");
    }
    assert_eq!(ebb.ok(words), "deep");
    let out = ["run", "--rm", "--runtime", "runc", "--mount", "src=vase,dst=/d,volume-subpath=out", "busybox", "true"];
    assert!(ebb.fails(125, out).contains("it leads out of the volume"));
}
