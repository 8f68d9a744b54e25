//! A volume of any file system that the kernel mounts (`-o type=`): the kernel is asked for just what Docker asks it for.

mod common;

use common::{Answer, Ebb, is_root};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

/// Uses a volume of this type, under a strace(1) that answers in the kernel's place: yes to all, and in the end that the
/// server does not speak. (What it opens is then descriptor 0, which is one that can be closed.) Returns the words that the file system was given, and what was said.
fn asked(ebb: &Ebb, kind: &str, device: &str, words: &str) -> (Vec<String>, Answer) {
    let options = [format!("type={kind}"), format!("device={device}"), format!("o={words}")];
    ebb.ok(["volume", "create", "-o", &options[0], "-o", &options[1], "-o", &options[2], "remote"]);
    let (record, answer) = used(ebb, kind, &[]);
    ebb.ok(["volume", "rm", "--now", "remote"]);
    let word = |line: &str| {
        let quoted: Vec<&str> = line.split('"').collect();
        match line.contains("FSCONFIG_SET_STRING") {
            true => Some(format!("{}={}", quoted[1], quoted[3])),
            false => line.contains("FSCONFIG_SET_FLAG").then(|| quoted[1].to_owned()),
        }
    };
    (record.lines().filter_map(word).collect(), answer)
}

/// Starts a container with the volume `remote`, whose file system is of type `kind`. Returns what strace(1) recorded, too.
fn used(ebb: &Ebb, kind: &str, explain: &[&str]) -> (String, Answer) {
    used_by(ebb, kind, explain, "EHOSTUNREACH")
}

/// What of the host's is another in the command's own mount namespace: its hosts(5) is `hosts`, its getent(1) is `bin/getent`,
/// and where there is a directory `bin` without one, there is none.
const APART: &str = r#"
    if [ -e hosts ]; then mount --bind hosts /etc/hosts; fi
    if [ -e bin/getent ]; then mount --bind bin/getent /usr/bin/getent
    elif [ -e bin ]; then mount --bind /dev/null /usr/bin/getent; fi
    exec strace "$@"
"#;

fn used_by(ebb: &Ebb, kind: &str, explain: &[&str], error: &str) -> (String, Answer) {
    let mut strace = Command::new("unshare");
    strace.args(["-m", "sh", "-ec", APART, "sh"]);
    let record = ebb.dir.join("record");
    strace.args(["-f", "-qq", "-s", "1000", "-e", "signal=none", "-o"]).arg(&record);
    strace.args(["-e", "trace=fsopen,fsconfig,fsmount", "-e", "inject=fsopen:retval=0"]);
    strace.args(["-e", "inject=fsconfig:retval=0", "-e", &format!("inject=fsmount:error={error}")]);
    strace.arg(env!("CARGO_BIN_EXE_ebb")).args(explain).args(["run", "--rm", "-v", "remote:/data", "busybox", "true"]);
    strace.env("EBB_ROOT", ebb.store());
    let answer = common::answer(strace.current_dir(&ebb.dir));
    let record = std::fs::read_to_string(record).expect("what was asked");
    let first = record.lines().next().unwrap_or_default();
    assert!(answer.code == 125 && (first.is_empty() || first.contains(&format!("fsopen(\"{kind}\""))), "{record}");
    (record, answer)
}

/// A getent(1) that knows one name, by an address of each kind, and none else.
fn known_names(ebb: &Ebb) {
    std::fs::create_dir(ebb.dir.join("bin")).expect("a directory");
    let program = ebb.dir.join("bin/getent");
    let script = "#!/bin/sh\n[ \"$*\" = 'ahosts -- server' ] || exit 2\n\
                  echo '2001:db8::7 STREAM server'\necho '10.1.2.3 STREAM'\n";
    std::fs::write(&program, script).expect("written");
    std::fs::set_permissions(program, PermissionsExt::from_mode(0o755)).expect("executable");
}

#[test]
fn of_nfs_and_cifs_the_kernel_is_given_dockers_words_with_addresses_for_names() {
    if !is_root() {
        // Without root the kernel mounts neither, and newuidmap(1) is not setuid under a tracer.
        return;
    }
    let ebb = Ebb::new();
    known_names(&ebb);
    for (kind, device, words, wanted) in [
        ("nfs", ":/export", "addr=server,rw,vers=4,soft", "source=:/export addr=10.1.2.3 vers=4 soft"),
        ("nfs4", ":/export", "addr=server", "source=:/export addr=10.1.2.3"),
        ("nfs", "server:/export", "addr=10.0.0.5,ro,nolock", "source=server:/export addr=10.0.0.5 nolock ro"),
        ("nfs", ":/export", "addr=fd00::5", "source=:/export addr=fd00::5"),
        // Without an addr= it is cifs's device that has the name.
        ("cifs", "//server/s/d", "username=me,password=a=b", "source=//10.1.2.3/s/d username=me password=a=b"),
        ("cifs", "//server/s", "addr=10.0.0.5,vers=3.0", "source=//10.1.2.3/s addr=10.0.0.5 vers=3.0"),
        ("cifs", "//server/s", "addr=server", "source=//server/s addr=10.1.2.3"),
        ("cifs", "//10.0.0.5/s", "guest", "source=//10.0.0.5/s guest"),
        // Of other types a name is nobody's but the file system's own.
        ("9p", "server", "addr=server", "source=server addr=server"),
    ] {
        let (given, answer) = asked(&ebb, kind, device, words);
        assert_eq!(given.join(" "), wanted, "{}", answer.shown());
        let source = given[0].trim_start_matches("source=");
        let data = ebb.store().join("volumes/remote/_data");
        let said = format!(
            "error while mounting volume '{0}': failed to mount local volume: mount {source}:{0}: ",
            data.display()
        );
        assert!(answer.stderr.contains(&said) && answer.stderr.contains("no route to host"), "{}", answer.shown());
    }
    for (device, words) in [(":/export", "addr=nowhere"), ("//nowhere/share", "guest")] {
        let kind = if device.starts_with("//") { "cifs" } else { "nfs" };
        let (given, answer) = asked(&ebb, kind, device, words);
        let said = "_data': error resolving passed in network volume address: lookup nowhere: no such host\n";
        assert!(given.is_empty() && answer.stderr.contains(said), "{given:?} {}", answer.shown());
    }
    assert_eq!(ebb.leftovers(), Vec::<String>::new());
}

#[test]
fn where_nobody_can_be_asked_for_a_name_the_hosts_file_is_read_and_what_it_lacks_is_said() {
    if !is_root() {
        return; // As above.
    }
    let ebb = Ebb::new();
    let hosts = "# server 10.9.9.9\n10.1.1.1 another servers\n\n2001:db8::7\tother.example SERVER # 10.8.8.8 server\n\
                 10.1.2.3   first.example\tServer\t# nowhere\n10.1.2.4 server\n";
    std::fs::write(ebb.dir.join("hosts"), hosts).expect("written");
    std::fs::create_dir(ebb.dir.join("bin")).expect("a directory");
    let asked = |device: &str, words: &str| {
        let options = [format!("type=cifs,device={device}"), format!("o={words}")];
        let (kind, device) = options[0].split_once(',').expect("two");
        ebb.ok(["volume", "create", "-o", kind, "-o", device, "-o", &options[1], "remote"]);
        let (record, answer) = used_by(&ebb, "cifs", &[], "EHOSTUNREACH");
        ebb.ok(["volume", "rm", "--now", "remote"]);
        (record, answer)
    };
    let not_there = "lookup nowhere: no such host in /etc/hosts, and there is no getent(1) here to ask the host's other name \
                     services\n  give the server's address, or make its name known in /etc/hosts\n";
    let look = || {
        let (record, answer) = asked("//server/share", "guest");
        assert!(record.contains("\"//10.1.2.3/share\""), "IPv4 goes first: {record} {}", answer.shown());
        let (record, answer) = asked("//10.0.0.5/share", "addr=other.example");
        assert!(record.contains("\"addr\", \"2001:db8::7\""), "{record} {}", answer.shown());
        let (record, answer) = asked("//nowhere/share", "guest");
        assert!(!record.contains("fsconfig") && answer.stderr.contains(not_there), "{record} {}", answer.shown());
    };
    look();
    // One that knows of no such question (another C library's) is as none; one that says that the name is unknown is believed.
    let program = ebb.dir.join("bin/getent");
    let answers = |script: &str| {
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).expect("written");
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).expect("executable");
    };
    answers("echo 'Unknown database: ahosts' >&2; exit 1");
    look();
    answers("exit 2");
    let (record, answer) = asked("//server/share", "guest");
    assert!(
        !record.contains("fsconfig") && answer.stderr.contains("lookup server: no such host\n"),
        "{}",
        answer.shown()
    );
}

/// As real servers were seen to refuse (tests/machine/network.rs).
#[test]
fn what_a_server_s_refusal_most_often_means_is_said_with_the_kernels_word() {
    if !is_root() {
        return; // As above.
    }
    let ebb = Ebb::new();
    for (kind, device, error, said) in [
        ("cifs", "//10.1.2.3/s", "EACCES", "permission denied\n  the server refuses the user name or the password"),
        ("cifs", "//10.1.2.3/s", "ENOENT", "no such file or directory\n  the server has no such share"),
        ("nfs", "10.1.2.3:/s", "ENOENT", "no such file or directory\n  the server exports nothing by this name"),
        ("nfs", "10.1.2.3:/s", "ECONNREFUSED", "connection refused\n  no such server listens at this address"),
        ("ext4", "/dev/nosuch", "ENOENT", "no such file or directory\n\n"),
    ] {
        let options = [format!("type={kind}"), format!("device={device}"), "o=addr=10.1.2.3,password=hush".to_owned()];
        ebb.ok(["volume", "create", "-o", &options[0], "-o", &options[1], "-o", &options[2], "remote"]);
        let (_, answer) = used_by(&ebb, kind, &[], error);
        let data = ebb.store().join("volumes/remote/_data");
        let expected = format!("mount {device}:{}: {said}", data.display());
        assert!(answer.stderr.contains(&expected) && !answer.stderr.contains("hush"), "{}", answer.shown());
        ebb.ok(["volume", "rm", "--now", "remote"]);
    }
}

#[test]
fn a_narration_tells_no_secret_that_the_kernel_is_given() {
    let ebb = Ebb::new();
    let secrets = ["hush-1", "hush-2", "hush-3", "hush-4", "hush-5"];
    let words = "o=username=me%hush-1,password=hush-2,pass=hush-3,PassWD=hush-4,credentials=/root/hush-5,vers=3.0";
    let options = ["-o", "type=cifs", "-o", "device=//10.1.2.3/s", "-o", words];
    ebb.ok([&["volume", "create"], &options[..], &["remote"]].concat());
    for explain in ["--explain", "--explain=json"] {
        let told = if is_root() {
            let (record, answer) = used(&ebb, "cifs", &[explain]);
            assert!(secrets.iter().all(|secret| record.contains(secret)), "the kernel is given them all: {record}");
            // Told is the call itself, with the others' values beside it.
            assert!(
                answer.stderr.contains("FSCONFIG_SET_STRING") && answer.stderr.contains("3.0"),
                "{}",
                answer.shown()
            );
            answer.stderr
        } else {
            ebb.fails(125, [explain, "run", "--rm", "-v", "remote:/data", "busybox", "true"])
        };
        let shown =
            "mount -t cifs -o username=me%***,password=***,pass=***,PassWD=***,credentials=***,vers=3.0 //10.1.2.3/s";
        assert!(told.contains(shown), "{told}");
        assert!(!told.contains("hush-"), "{told}");
    }
    let other = ebb.fails(1, ["volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "remote"]);
    assert!(other.contains("password=***") && !other.contains("hush-"), "{other}");
    // Docker's `inspect` shows what was given, to its owner, and so does ours.
    let inspected = ebb.ok(["volume", "inspect", "-f", "{{.Options.o}}", "remote"]);
    assert_eq!(inspected, words.trim_start_matches("o="));
}

#[test]
fn a_type_that_the_kernel_does_not_know_is_named_and_nothing_is_left_of_the_try() {
    let ebb = Ebb::new();
    ebb.ok(["volume", "create", "-o", "type=nosuchfs", "-o", "device=x", "unknown"]);
    let before = ebb.ok(["volume", "inspect", "unknown"]);
    // Where the image has something to copy, the volume is needed to create already.
    for words in [&["run", "--rm", "-v", "unknown:/data"][..], &["create", "-v", "unknown:/etc"]] {
        let said = ebb.fails(125, words.iter().chain(&["busybox", "true"]));
        assert!(said.contains("failed to mount local volume: mount x:"), "{said}");
        assert!(said.contains(": no such device: this kernel knows no type nosuchfs\n"), "{said}");
        assert!(said.contains("it has those of /proc/filesystems"), "{said}");
    }
    assert_eq!((ebb.ok(["ps", "-aq"]), ebb.ok(["volume", "inspect", "unknown"])), (String::new(), before));
    for verb in ["export", "clone"] {
        let words: &[&str] = if verb == "clone" { &["unknown", "copy"] } else { &["-o", "x.tar", "unknown"] };
        ebb.fails(1, ["volume", verb].iter().chain(words));
    }
    assert!(!ebb.dir.join("x.tar").exists() && !ebb.ok(["volume", "ls", "-q"]).contains("copy"));
}

#[test]
fn a_disk_that_cannot_be_written_to_is_mounted_read_only_where_that_is_asked_for() {
    if !is_root() {
        return; // The kernel lets only root mount a disk.
    }
    let ebb = Ebb::new();
    let disk = ebb.dir.join("disk");
    std::fs::File::create(&disk).and_then(|file| file.set_len(8 << 20)).expect("a file");
    assert!(Command::new("mkfs.ext4").arg("-q").arg(&disk).status().expect("mkfs.ext4 starts").success());
    let attached = Command::new("losetup").args(["--read-only", "--find", "--show"]).arg(&disk).output();
    let device = String::from_utf8(attached.expect("losetup starts").stdout).expect("UTF-8").trim().to_owned();
    let device_option = format!("device={device}");
    ebb.ok(["volume", "create", "-o", "type=ext4", "-o", &device_option, "-o", "o=ro", "sealed"]);
    ebb.ok(["volume", "create", "-o", "type=ext4", "-o", &device_option, "open"]);
    let sealed = ebb.run(["run", "--rm", "-v", "sealed:/data", "busybox", "sh", "-c", "ls /data; touch /data/x"]);
    let open = ebb.run(["run", "--rm", "-v", "open:/data", "busybox", "true"]);
    assert!(Command::new("losetup").args(["--detach", &device]).status().expect("losetup starts").success());
    assert!(sealed.stdout == "lost+found\n" && sealed.stderr.contains("Read-only file system"), "{}", sealed.shown());
    assert!(open.code == 125 && open.stderr.contains("failed to mount local volume"), "{}", open.shown());
}
