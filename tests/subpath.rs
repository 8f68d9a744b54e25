//! A part of a volume is mounted, and nothing outside of it.

mod common;

use common::Ebb;
use common::shell::{make, says, shell};

#[test]
fn a_part_of_a_volume_is_mounted_and_nothing_outside_of_it() {
    let ebb = Ebb::new();
    says(
        &ebb,
        &["-v", "vase:/v"],
        "mkdir -p /v/a/b && echo deep > /v/a/b/f && ln -s a /v/in && ln -s /etc /v/out && ln -s ../../.. /v/up",
    );
    for subpath in ["a/b", "/a/b", "in/b", "a/./b/"] {
        let mount = format!("type=volume,src=vase,dst=/d,volume-subpath={subpath}");
        assert_eq!(says(&ebb, &["--mount", &mount], "cat /d/f; ls -A /d"), "deep\nf", "{subpath}");
    }
    assert_eq!(says(&ebb, &["--mount", "src=vase,dst=/one,volume-subpath=a/b/f"], "cat /one"), "deep", "a file, too");
    let said = shell(&ebb, &["--mount", "src=vase,dst=/d,volume-subpath=a/b,readonly"], "touch /d/x");
    assert!(said.stderr.contains("Read-only file system"), "{}", said.shown());
    for (subpath, wanted) in [
        ("out", "it leads out of the volume"),
        ("up", "it leads out of the volume"),
        ("nowhere/b", "no such file or directory\n  what is to be mounted of a volume must be there"),
        ("a/b/f/g", "not a directory"),
    ] {
        let said = ebb.fails(
            125,
            ["run", "--rm", "--mount", &format!("src=vase,dst=/d,volume-subpath={subpath}"), "busybox", "true"],
        );
        assert!(said.contains(wanted), "{subpath}: {said}");
    }
}

#[test]
fn a_subpath_is_looked_up_anew_at_each_start() {
    let ebb = Ebb::new();
    says(&ebb, &["-v", "vase:/v"], "mkdir /v/one /v/two && echo 1 > /v/one/f && echo 2 > /v/two/f && ln -s one /v/now");
    ebb.ok(["create", "--name", "box", "--mount", "src=vase,dst=/d,volume-subpath=now", "busybox", "cat", "/d/f"]);
    assert_eq!(ebb.ok(["start", "-a", "box"]), "1");
    says(&ebb, &["-v", "vase:/v"], "ln -sfn two /v/now");
    assert_eq!(ebb.ok(["start", "-a", "box"]), "2");
    // What was a directory of the volume's yesterday leads to the host today.
    says(&ebb, &["-v", "vase:/v"], "ln -sfn /etc /v/now");
    assert!(ebb.fails(1, ["start", "-a", "box"]).contains("it leads out of the volume"));
    says(&ebb, &["-v", "vase:/v"], "ln -sfn one /v/now");
    ebb.ok(["cp", "box:/d/f", "copied"]);
    let copied = std::fs::read_to_string(ebb.dir.join("copied")).expect("copied");
    assert_eq!(copied, "1\n", "a stopped one's files are seen the same way");
    assert!(ebb.inspect("box", "{{(index .Mounts 0).Source}}").ends_with("/volumes/vase/_data/now"));
}

#[test]
fn a_subpath_that_is_swapped_for_a_way_out_while_containers_start_never_shows_the_host() {
    let ebb = Ebb::new();
    make(&ebb, "secret", "f", "outside\n");
    says(&ebb, &["-v", "vase:/v"], "mkdir /v/real && echo inside > /v/real/f && ln -s real /v/now");
    let out = ebb.dir.join("secret");
    let script = format!(
        "echo begun; while :; do ln -s {} /v/next; mv -f /v/next /v/now; ln -s real /v/next; mv -f /v/next /v/now; done",
        out.display()
    );
    // `mv` would go into a directory that `now` leads to: -T takes it as the link that it is.
    let script = script.replace("mv -f", "mv -fT");
    ebb.ok(["run", "-d", "--name", "swapper", "-v", "vase:/v", "busybox", "sh", "-c", &script]);
    ebb.await_line("swapper", "begun");
    for _ in 0..25 {
        let answer = shell(&ebb, &["--mount", "src=vase,dst=/d,volume-subpath=now"], "cat /d/f");
        let refused = answer.code == 125 && answer.stderr.contains("it leads out of the volume");
        assert!(refused || answer.stdout == "inside\n", "{}", answer.shown());
    }
    assert_eq!(ebb.inspect("swapper", "{{.State.Running}}"), "true", "it swapped all the while");
}
