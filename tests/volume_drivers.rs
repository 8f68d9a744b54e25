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
    create(&ebb, "on-disk", &["-o", "size=16m"]);
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
