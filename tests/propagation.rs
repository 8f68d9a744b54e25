//! Propagation: what is mounted in a bound directory on one side appears on the other, exactly where it was asked for.

mod common;

use common::{Ebb, answer, is_root};
use std::process::Command;

/// Runs a script in mounts of its own, where `peer` is a mount that is shared, and `alone` one that is not.
fn apart(ebb: &Ebb, script: &str) -> common::Answer {
    let prepare = "mount --make-rprivate /
        for place in peer alone; do mkdir -p $place; mount -t tmpfs $place $place; mkdir $place/out $place/in; done
        mount --make-shared peer
        exec 2>&1";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-ec", &format!("{prepare}\n{script}")]).current_dir(&ebb.dir);
    command.env("EBB", env!("CARGO_BIN_EXE_ebb")).env("EBB_ROOT", ebb.store());
    answer(&mut command)
}

/// The tags of the mount that `path` lies on, on the host: `shared:1`, `master:2`.
fn tags_of_temporary_files() -> String {
    let text = std::fs::read_to_string("/proc/self/mountinfo").expect("procfs");
    let temp = std::env::temp_dir();
    let line = text.lines().filter(|line| temp.starts_with(line.split(' ').nth(4).expect("a mount point")));
    let deepest =
        line.max_by_key(|line| line.split(' ').nth(4).expect("a mount point").len()).expect("the root at least");
    deepest.split(' ').skip(6).take_while(|word| *word != "-").collect::<Vec<_>>().join(" ")
}

#[test]
fn mounts_pass_between_the_host_and_the_container_as_the_word_says() {
    let ebb = Ebb::new();
    if !is_root() {
        // Only root mounts on the host. Another user's container must then be told by the kernel what it is to hear.
        let (tags, bound) = (tags_of_temporary_files(), format!("{}:/d:rslave", ebb.dir.display()));
        let answer = ebb.run(["run", "--rm", "-v", &bound, "busybox", "grep", " /d ", "/proc/self/mountinfo"]);
        match tags.is_empty() {
            true => assert!(answer.stderr.contains("but it is not a shared or slave mount"), "{}", answer.shown()),
            false => assert!(answer.stdout.contains(" master:"), "{tags}: {}", answer.shown()),
        }
        return;
    }
    let kinds = [
        ("", "in a user namespace"),
        ("--privileged", "with the host's users"),
        ("--runtime runc", "through another runtime"),
    ];
    for (options, kind) in kinds {
        let script = format!(
            "for word in private rprivate slave rslave shared rshared; do
                $EBB run -d {options} --cap-add SYS_ADMIN --security-opt seccomp=unconfined --name box -v $PWD/peer:/d:$word busybox sleep 1000 > id
                mount -t tmpfs host peer/out; touch peer/out/from-host
                $EBB exec --privileged box mount -t tmpfs guest /d/in
                echo $word: $($EBB exec box ls /d/out) $(grep -c \" $PWD/peer/in \" /proc/self/mountinfo)
                $EBB rm -f box > id; umount peer/out || echo went along; umount peer/in 2> id || true
            done
            # A mount that was passed on lies where it was asked for, and the container's root was not.
            grep -c \"$PWD/store\" /proc/self/mountinfo || true"
        );
        let answer = apart(&ebb, &script);
        // What mounts in a user namespace of its own, with SYS_ADMIN there, is not heard on the host.
        let heard = if options.is_empty() { 0 } else { 1 };
        let wanted = format!(
            "private: 0\nrprivate: 0\nslave: from-host 0\nrslave: from-host 0\nshared: from-host {heard}\nrshared: from-host {heard}\n0\n"
        );
        let (said, answered): (Vec<&str>, Vec<&str>) =
            answer.stdout.lines().partition(|line| line.starts_with("ebb: "));
        assert_eq!(answered.join("\n") + "\n", wanted, "{kind}: {}", answer.shown());
        assert_eq!(said.len(), if heard == 0 { 2 } else { 0 }, "{said:?}");
        assert!(said.iter().all(|line| line.contains("shared is what slave is")), "{said:?}");
    }
}

#[test]
fn a_directory_that_is_nobodys_peer_can_pass_nothing_on() {
    let ebb = Ebb::new();
    if !is_root() {
        let bound = format!("type=bind,src={},dst=/d,bind-propagation=shared", ebb.dir.display());
        let answer = ebb.run(["run", "--rm", "--mount", &bound, "busybox", "true"]);
        match tags_of_temporary_files().contains("shared:") {
            true => {
                assert!(answer.code == 0 && answer.stderr.contains("shared is what slave is"), "{}", answer.shown())
            }
            false => assert!(
                answer.code == 125 && answer.stderr.contains("but it is not a shared mount"),
                "{}",
                answer.shown()
            ),
        }
        return;
    }
    let script = "for word in private rslave rshared; do
            echo $word; $EBB run --rm --mount type=bind,src=./alone,dst=/d,bind-propagation=$word busybox true || echo $?
        done
        echo again; $EBB create --name box -v ./peer:/d:rshared busybox > id; mount --make-private peer; $EBB start box || echo $?";
    let answer = apart(&ebb, script);
    let dir = ebb.dir.display();
    let said: Vec<&str> = answer
        .stdout
        .lines()
        .filter(|line| line.starts_with("ebb:") || !line.contains(' '))
        .filter(|line| !line.is_empty())
        .collect();
    let wanted = [
        "private".to_owned(),
        "rslave".into(),
        format!("ebb: path ./alone is mounted on {dir}/alone but it is not a shared or slave mount"),
        "125".into(),
        "rshared".into(),
        format!("ebb: path ./alone is mounted on {dir}/alone but it is not a shared mount"),
        "125".into(),
        "again".into(),
        format!("ebb: path {dir}/peer is mounted on {dir}/peer but it is not a shared mount"),
        "ebb: failed to start containers: box".into(),
        "1".into(),
    ];
    assert_eq!(said, wanted, "{}", answer.shown());
}
