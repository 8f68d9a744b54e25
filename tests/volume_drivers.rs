//! The options of a volume (`type`, `o`, `device`, `size`) are kept: what they name is mounted while somebody uses it, one
//! for all who do, with the limit that was asked for; and nothing of it is left on the host.

mod common;

use common::{Answer, Ebb, is_root};
use std::path::Path;
use std::time::{Duration, Instant};

const TMPFS: [&str; 6] = ["-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=1m,mode=1777"];

fn create<'a>(ebb: &Ebb, name: &'a str, options: &[&str]) -> &'a str {
    let made = ebb.ok([&["volume", "create"], options, &[name]].concat());
    assert_eq!(made, name);
    name
}

fn sh(ebb: &Ebb, volume: &str, script: &str) -> Answer {
    ebb.run(["run", "--rm", "-v", &format!("{volume}:/data"), "busybox", "sh", "-c", script])
}

/// A container that uses the volume until it is removed, and has done `script` by now.
fn user(ebb: &Ebb, name: &str, volume: &str, script: &str) {
    let mount = format!("{volume}:/data");
    let script = format!("{script}; echo ready; sleep 1000");
    ebb.ok(["run", "-d", "--name", name, "-v", &mount, "busybox", "sh", "-c", &script]);
    ebb.await_line(name, "ready");
}

/// The loop devices whose file lies in the store.
fn loop_devices(ebb: &Ebb) -> Vec<String> {
    let entries = std::fs::read_dir("/sys/block").expect("sysfs").flatten();
    let ours = |name: &String| {
        let file = std::fs::read_to_string(format!("/sys/block/{name}/loop/backing_file")).unwrap_or_default();
        file.starts_with(ebb.dir.to_str().expect("UTF-8"))
    };
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).filter(ours).collect()
}

/// The kernel unmounts behind the back of whoever ends: soon, and tells nobody.
fn await_no_loop_device(ebb: &Ebb) {
    let begun = Instant::now();
    while !loop_devices(ebb).is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", loop_devices(ebb));
        std::thread::yield_now();
    }
}

fn nothing_is_mounted_on_the_host(ebb: &Ebb) {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("procfs");
    let dir = ebb.dir.to_str().expect("UTF-8");
    assert!(!mounts.lines().any(|line| line.contains(dir)), "{mounts}");
}

#[test]
fn a_bind_shows_the_directory_of_the_host_and_never_deletes_it() {
    let ebb = Ebb::new();
    let device = ebb.dir.join("device");
    std::fs::create_dir(&device).expect("a directory");
    std::fs::write(device.join("file"), "hosts\n").expect("a file");
    let device_option = format!("device={}", device.display());
    create(&ebb, "shown", &["-o", "type=none", "-o", "o=bind", "-o", &device_option]);
    assert_eq!(sh(&ebb, "shown", "cat /data/file; echo inside > /data/new").stdout, "hosts\n");
    assert_eq!(std::fs::read_to_string(device.join("new")).expect("written through"), "inside\n");
    create(&ebb, "sealed", &["-o", "type=none", "-o", "o=bind,ro", "-o", &device_option]);
    let refused = sh(&ebb, "sealed", "echo x > /data/y");
    assert!(refused.code != 0 && refused.stderr.contains("Read-only file system"), "{}", refused.shown());
    ebb.ok(["volume", "rm", "shown", "sealed"]);
    assert_eq!(std::fs::read_to_string(device.join("file")).expect("still there"), "hosts\n");
    nothing_is_mounted_on_the_host(&ebb);
}

#[test]
fn a_device_that_is_missing_is_told_at_once_and_refused_at_use() {
    let ebb = Ebb::new();
    let device = ebb.dir.join("later");
    let device_option = format!("device={}", device.display());
    let made = ebb.run(["volume", "create", "-o", "type=none", "-o", "o=bind", "-o", &device_option, "shown"]);
    assert_eq!((made.code, made.stdout.as_str()), (0, "shown\n"), "{}", made.shown());
    assert!(made.stderr.contains("warning: there is no directory"), "{}", made.shown());
    let refused = sh(&ebb, "shown", "true");
    assert_eq!(refused.code, 125, "{}", refused.shown());
    assert!(refused.stderr.contains("failed to mount local volume: mount "), "{}", refused.shown());
    assert!(refused.stderr.contains("no such file or directory"), "{}", refused.shown());
    assert!(!device.exists(), "nothing was made in its place");
    std::fs::create_dir(&device).expect("a directory");
    assert_eq!(sh(&ebb, "shown", "true").code, 0);
}

#[test]
fn containers_that_run_at_once_share_one_tmpfs_which_ends_with_the_last() {
    let ebb = Ebb::new();
    create(&ebb, "cache", &TMPFS);
    user(&ebb, "first", "cache", "echo one > /data/one");
    let second = sh(&ebb, "cache", "cat /data/one; echo two > /data/two");
    assert_eq!(second.stdout, "one\n", "{}", second.shown());
    assert_eq!(ebb.ok(["exec", "first", "cat", "/data/two"]), "two");
    // The owner is the container's own root on both sides, whatever ids the two have on the host.
    assert_eq!(ebb.ok(["exec", "first", "stat", "-c", "%u:%g", "/data/two"]), "0:0");
    user(&ebb, "third", "cache", "true");
    ebb.ok(["rm", "-f", "first"]);
    assert_eq!(ebb.ok(["exec", "third", "cat", "/data/one"]), "one");
    ebb.ok(["cp", "third:/data/two", "two"]);
    assert_eq!(std::fs::read_to_string(ebb.dir.join("two")).expect("copied"), "two\n");
    ebb.ok(["rm", "-f", "third"]);
    assert_eq!(sh(&ebb, "cache", "ls /data").stdout, "");
    nothing_is_mounted_on_the_host(&ebb);
}

#[test]
fn a_read_only_user_of_a_tmpfs_leaves_it_writable_for_the_others() {
    let ebb = Ebb::new();
    create(&ebb, "cache", &TMPFS);
    ebb.ok(["run", "-d", "--name", "reader", "-v", "cache:/data:ro", "busybox", "sleep", "1000"]);
    assert_eq!(sh(&ebb, "cache", "echo x > /data/file").code, 0);
    assert_eq!(ebb.ok(["exec", "reader", "cat", "/data/file"]), "x");
    assert!(ebb.fails(1, ["exec", "reader", "rm", "/data/file"]).contains("Read-only file system"));
}

#[test]
fn a_size_is_a_limit_that_the_container_sees_as_enospc() {
    let ebb = Ebb::new();
    let fill = "dd if=/dev/zero of=/data/fill bs=1k count=20000; rm /data/fill; df -k /data | tail -1";
    create(&ebb, "in-memory", &["-o", "type=tmpfs", "-o", "size=1m"]);
    let full = sh(&ebb, "in-memory", fill);
    assert!(full.stderr.contains("No space left on device"), "{}", full.shown());
    assert!(full.stdout.contains("tmpfs                     1024 "), "{}", full.shown());
    if !is_root() {
        let refused = ebb.fails(1, ["volume", "create", "-o", "size=16m", "on-disk"]);
        assert!(refused.contains("create on-disk: quota size requested but no quota support: "), "{refused}");
        assert!(refused.contains("takes root") && refused.contains("-o type=tmpfs"), "{refused}");
        assert_eq!(ebb.ok(["volume", "ls", "-q"]), "in-memory");
        return;
    }
    // A file system keeps a part for itself, and that is said when it is made.
    let made = ebb.run(["volume", "create", "-o", "size=16m", "on-disk"]);
    assert_eq!((made.code, made.stdout.as_str()), (0, "on-disk\n"), "{}", made.shown());
    let free = sh(&ebb, "on-disk", "df -k /data | tail -1 | awk '{print $4}'").stdout;
    let free: f64 = free.trim().parse().expect("a number");
    let told = format!("ebb: {:.1} MiB of the 16.0 MiB of volume on-disk can be used: ", free / 1024.0);
    assert!(made.stderr.starts_with(&told) && free < 16384.0, "{free} {}", made.shown());
    let full = sh(&ebb, "on-disk", fill);
    assert!(full.stderr.contains("No space left on device"), "{}", full.shown());
    await_no_loop_device(&ebb);
    let disk = ebb.store().join("volumes/on-disk/disk");
    assert_eq!(std::fs::metadata(disk).expect("the disk").len(), 16 << 20);
}

#[test]
fn two_containers_share_one_limited_disk_which_outlives_them() {
    let ebb = Ebb::new();
    if !is_root() {
        // Without root there is no such volume: see above. One that root would make is refused before anything is made.
        let refused = ebb.fails(125, ["run", "--mount", "src=vol,dst=/data,volume-opt=size=16m", "busybox", "true"]);
        assert!(!refused.is_empty());
        assert_eq!(ebb.ok(["volume", "ls", "-q"]), "");
        return;
    }
    create(&ebb, "disk", &["-o", "size=16m"]);
    user(&ebb, "first", "disk", "echo one > /data/one");
    assert_eq!(loop_devices(&ebb).len(), 1);
    let second = sh(&ebb, "disk", "cat /data/one; echo two > /data/two");
    assert_eq!(second.stdout, "one\n", "{}", second.shown());
    assert_eq!(loop_devices(&ebb).len(), 1, "two devices of one file would be two file systems");
    assert_eq!(ebb.ok(["exec", "first", "cat", "/data/two"]), "two");
    nothing_is_mounted_on_the_host(&ebb);
    ebb.ok(["rm", "-f", "first"]);
    await_no_loop_device(&ebb);
    assert_eq!(sh(&ebb, "disk", "cat /data/one /data/two").stdout, "one\ntwo\n");
    // A stopped container's volumes are mounted for as long as it is looked into.
    ebb.ok(["create", "--name", "later", "-v", "disk:/data", "busybox"]);
    ebb.ok(["cp", "later:/data/one", "one"]);
    std::fs::write(ebb.dir.join("three"), "three\n").expect("a file");
    ebb.ok(["cp", "three", "later:/data/three"]);
    assert_eq!(sh(&ebb, "disk", "cat /data/three").stdout, "three\n");
    ebb.ok(["rm", "later"]);
    ebb.ok(["volume", "rm", "disk"]);
    await_no_loop_device(&ebb);
}

#[test]
fn a_new_limited_disk_gets_the_images_files() {
    let ebb = Ebb::new();
    let options: &[&str] = if is_root() { &["-o", "size=16m"] } else { &[] };
    create(&ebb, "disk", options);
    let listed = ebb.ok(["run", "--rm", "-v", "disk:/etc", "busybox", "ls", "/etc"]);
    assert!(listed.lines().any(|name| name == "passwd"), "{listed}");
    assert!(!listed.contains("lost+found"), "{listed}");
    assert!(sh(&ebb, "disk", "cat /data/passwd").stdout.contains("root:"));
}

#[test]
fn a_killed_supervisor_leaves_no_mount_and_no_loop_device() {
    let ebb = Ebb::new();
    let options: &[&str] = if is_root() { &["-o", "size=16m"] } else { &TMPFS };
    create(&ebb, "vase", options);
    user(&ebb, "holder", "vase", "echo kept > /data/kept; sync");
    let pid: i32 = ebb.inspect("holder", "{{.State.Pid}}").parse().expect("a pid");
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it lives");
    let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)).expect("a parent");
    assert!(std::process::Command::new("kill").args(["-KILL", parent]).status().expect("kill").success());
    await_no_loop_device(&ebb);
    nothing_is_mounted_on_the_host(&ebb);
    ebb.ok(["rm", "-f", "holder"]);
    let after = sh(&ebb, "vase", "ls /data");
    assert_eq!(after.stdout, if is_root() { "kept\n" } else { "" }, "{}", after.shown());
}

#[test]
fn a_restart_finds_an_empty_tmpfs_and_the_same_disk() {
    let ebb = Ebb::new();
    create(&ebb, "cache", &TMPFS);
    user(&ebb, "box", "cache", "ls /data; touch /data/file");
    ebb.ok(["restart", "-t", "0", "box"]);
    // The log has the first life's line already: what tells of the second is the file.
    ebb.ok(["exec", "box", "sh", "-c", "until [ -e /data/file ]; do sleep 0.01; done"]);
    assert_eq!(ebb.ok(["logs", "box"]).matches("file").count(), 0, "each life began with an empty one");
}

#[test]
fn what_cannot_be_mounted_is_said_in_dockers_words() {
    let ebb = Ebb::new();
    for (options, message) in [
        (&["-o", "o=size=1"][..], "create vol: missing required option: \"device\""),
        (&["-o", "type=tmpfs"], "create vol: missing required option: \"device\""),
        (&["-o", "device=/srv"], "create vol: missing required option: \"type\""),
        (&["-o", "bogus=1"], "create vol: invalid option: \"bogus\""),
        (&["-o", "size=ten"], "create vol: invalid size: 'ten'"),
        (&["-o", "type=vfat", "-o", "size=10m"], "create vol: quota size requested but no quota support: "),
    ] {
        let error = ebb.fails(1, [&["volume", "create"], options, &["vol"]].concat());
        assert!(error.contains(message), "{error}");
    }
    assert_eq!(ebb.ok(["volume", "ls", "-q"]), "");
    create(&ebb, "unknown", &["-o", "type=nosuchfs", "-o", "device=x"]);
    let refused = sh(&ebb, "unknown", "true");
    assert_eq!(refused.code, 125, "{}", refused.shown());
    assert!(refused.stderr.contains("failed to mount local volume: mount x:"), "{}", refused.shown());
    assert!(refused.stderr.contains("no such device"), "{}", refused.shown());
    create(&ebb, "wrong", &["-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=much"]);
    let refused = sh(&ebb, "wrong", "true");
    assert!(refused.code == 125 && refused.stderr.contains("'size'"), "{}", refused.shown());
    if !is_root() {
        create(&ebb, "roots", &["-o", "type=ext4", "-o", "device=/dev/sda"]);
        let refused = sh(&ebb, "roots", "true");
        assert!(refused.code == 125 && refused.stderr.contains("lets only root mount"), "{}", refused.shown());
    }
}

#[test]
fn a_name_with_other_options_is_refused_and_with_the_same_ones_found() {
    let ebb = Ebb::empty();
    create(&ebb, "cache", &TMPFS);
    create(&ebb, "cache", &TMPFS);
    create(&ebb, "cache", &[]);
    create(&ebb, "plain", &[]);
    for (name, options) in [("cache", &["-o", "type=tmpfs", "-o", "device=tmpfs"][..]), ("plain", &TMPFS)] {
        let error = ebb.fails(1, [&["volume", "create"], options, &[name]].concat());
        assert!(error.contains(&format!("create {name}: volume name must be unique")), "{error}");
    }
    let options = ebb.ok(["volume", "inspect", "-f", "{{json .Options}}", "cache"]);
    assert_eq!(options, r#"{"device":"tmpfs","o":"size=1m,mode=1777","type":"tmpfs"}"#);
    assert!(Path::new(&ebb.ok(["volume", "inspect", "-f", "{{.Mountpoint}}", "cache"])).is_dir());
}

#[test]
fn where_says_in_what_the_bytes_lie_and_what_ends_them() {
    let ebb = Ebb::new();
    let device = ebb.dir.join("device");
    std::fs::create_dir(&device).expect("a directory");
    let device_option = format!("device={}", device.display());
    create(&ebb, "shown", &["-o", "type=none", "-o", "o=bind", "-o", &device_option]);
    create(&ebb, "cache", &TMPFS);
    create(&ebb, "disk", if is_root() { &["-o", "size=16m"] } else { &[] });
    let mounts = ["-v", "shown:/shown", "-v", "cache:/cache", "-v", "disk:/disk"];
    let script = "for at in shown cache disk; do echo $at > /$at/f; done; echo ready; sleep 1000";
    let run = [&["run", "-d", "--name", "box"], &mounts[..], &["busybox", "sh", "-c", script]].concat();
    ebb.ok(run);
    ebb.await_line("box", "ready");
    let disk = ebb.store().join(if is_root() { "volumes/disk/disk" } else { "volumes/disk/_data/f" });
    let on_disk = if is_root() { "disk" } else { "file" };
    let all = "stop, restart, rm, rm -v, volume rm";
    let nothing = "nothing that Ebb does";
    let look =
        |place: &str| ebb.ok(["where", "--format", "{{.Source}}|{{.Storage}}|{{.Outlives}}|{{.GoneWith}}", place]);
    let shown = format!("{}|file|{all}|{nothing}", device.join("f").display());
    let limited = format!("{}|{on_disk}|stop, restart, rm, rm -v|volume rm", disk.display());
    for running in [true, false] {
        assert_eq!((look("box:/shown/f"), look("shown:/f")), (shown.clone(), shown.clone()));
        assert_eq!((look("box:/disk/f"), look("disk:/f")), (limited.clone(), limited.clone()));
        assert!(ebb.ok(["where", "cache"]).contains("on the host  in memory, until the last"));
        if running {
            let in_memory = ebb.ok(["where", "--format", "{{.HeldBy}}|{{.Storage}}|{{.GoneWith}}", "box:/cache/f"]);
            assert_eq!(in_memory, format!("volume cache|memory|{all}"));
            // While another container has it, it outlives this one.
            user(&ebb, "other", "cache", "true");
            assert_eq!(ebb.ok(["where", "--format", "{{.GoneWith}}", "box:/cache/f"]), "volume rm");
            ebb.ok(["rm", "-f", "other"]);
            let foreseen = ebb.ok(["rm", "-f", "--dry-run", "box"]);
            assert!(foreseen.contains("volume cache (/cache), but what is in it is in memory"), "{foreseen}");
        }
        ebb.ok(["stop", "-t", "0", "box"]);
    }
    assert!(
        ebb.fails(1, ["where", "box:/cache/f"]).contains("Could not find the file /cache/f"),
        "it went with the stop"
    );
    ebb.ok(["rm", "box"]);
    ebb.ok(["volume", "rm", "shown", "cache", "disk"]);
    assert_eq!(std::fs::read_to_string(device.join("f")).expect("as foretold"), "shown\n");
}

#[test]
fn a_clone_has_a_disk_of_its_own_with_the_same_limit_and_what_cannot_be_had_twice_is_refused() {
    let ebb = Ebb::new();
    let device = ebb.dir.join("device");
    std::fs::create_dir(&device).expect("a directory");
    create(&ebb, "cache", &TMPFS);
    create(&ebb, "shown", &["-o", "type=none", "-o", "o=bind", "-o", &format!("device={}", device.display())]);
    create(&ebb, "other", &["-o", "type=iso9660", "-o", "device=/dev/sr0"]);
    for (source, why) in [
        (
            "cache",
            "what is in cache is in memory, and a clone that no container uses would be empty at once".to_owned(),
        ),
        ("shown", format!("shown shows {}, and a clone of it would show the same files", device.display())),
        ("other", "other is the file system on /dev/sr0, and a clone of it would be the same one".to_owned()),
    ] {
        let said = ebb.fails(1, ["volume", "clone", source, "copy"]);
        let cure = format!("for an ordinary volume with a copy of what is in it: ebb volume export {source} | ");
        assert!(said.starts_with(&format!("ebb: clone {source} to copy: {why}\n  {cure}")), "{said}");
    }
    assert_eq!(ebb.ok(["volume", "ls", "-q"]), "cache\nother\nshown");
    if !is_root() {
        // Nobody but root has a volume with a disk.
        return;
    }
    ebb.ok(["volume", "create", "-o", "size=16m", "--label", "tier=db", "disk"]);
    user(&ebb, "writer", "disk", "echo one > /data/f; chown 33:34 /data/f; ln /data/f /data/g; chmod 1770 /data");
    ebb.ok(["volume", "clone", "--pause", "disk", "copy"]);
    ebb.ok(["exec", "writer", "sh", "-c", "echo two > /data/f"]);
    let look = "cat /data/f; stat -c '%u:%g %h' /data/f; stat -c %a /data; df -k /data | tail -1 | grep -c loop";
    assert_eq!(sh(&ebb, "copy", look).stdout, "one\n33:34 2\n1770\n1\n");
    let full = sh(&ebb, "copy", "dd if=/dev/zero of=/data/fill bs=1k count=20000");
    assert!(full.stderr.contains("No space left on device"), "{}", full.shown());
    let described = ebb.ok(["volume", "inspect", "-f", "{{json .Labels}} {{json .Options}}", "copy"]);
    assert_eq!(described, r#"{"tier":"db"} {"size":"16m"}"#);
    ebb.ok(["rm", "-f", "writer"]);
    await_no_loop_device(&ebb);
    assert_eq!(std::fs::read_dir(ebb.store().join("tmp")).expect("tmp/").count(), 0);
}

#[test]
fn what_a_killed_create_left_is_cleared_by_the_next() {
    let ebb = Ebb::empty();
    let tmp = ebb.store().join("tmp");
    create(&ebb, "first", &[]);
    if is_root() {
        // A mkfs that says when it is there, and then waits for ever: on a pipe that nobody opens.
        let bin = ebb.dir.join("bin");
        std::fs::create_dir(&bin).expect("a directory");
        for pipe in ["says", "waits"] {
            nix::unistd::mkfifo(&ebb.dir.join(pipe), nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
        }
        let (says, waits) = (ebb.dir.join("says"), ebb.dir.join("waits"));
        let script = format!("exec 2>/dev/null\necho $$ > {}\nread line < {}", says.display(), waits.display());
        common::programs::script(&bin.join("mkfs.ext4"), &script);
        let mut command = common::programs::replaced(&ebb, &bin);
        command.args(["volume", "create", "-o", "size=64m", "disk"]);
        let mut child = command.spawn().expect("ebb starts");
        let mkfs = std::fs::read_to_string(ebb.dir.join("says")).expect("it is there");
        child.kill().expect("killed");
        child.wait().expect("it ends");
        std::fs::write(ebb.dir.join("waits"), "\n").expect("it goes on, and ends");
        assert!(!mkfs.trim().is_empty());
    } else {
        // As such a kill leaves it.
        std::fs::create_dir_all(tmp.join("volume.0123456789ab/_data")).expect("a directory");
        std::fs::write(tmp.join("volume.0123456789ab/disk"), "half").expect("a file");
    }
    let left = || std::fs::read_dir(&tmp).expect("tmp/").count();
    assert_eq!((left(), ebb.ok(["volume", "ls", "-q"])), (1, "first".into()));
    create(&ebb, "second", &[]);
    assert_eq!((left(), ebb.ok(["volume", "ls", "-q"])), (0, "first\nsecond".into()));
    if is_root() {
        // And what only fails clears up itself.
        common::programs::script(&ebb.dir.join("bin/mkfs.ext4"), "echo no room >&2\nexit 1");
        let mut command = common::programs::replaced(&ebb, &ebb.dir.join("bin"));
        let failed = common::answer(command.args(["volume", "create", "-o", "size=64m", "disk"]));
        assert!(failed.code == 1 && failed.stderr.contains(": no room"), "{}", failed.shown());
        assert_eq!((left(), ebb.ok(["volume", "ls", "-q"])), (0, "first\nsecond".into()));
    }
}
