//! An image that guesses the number of a descriptor, to have a program of the host's executed through it (CVE-2024-21626, by
//! the program's own path): as the program itself, as an entry of PATH, and in the first line of a script. The caller has
//! directories open, as a careless script has.

mod common;

use common::bundle::{Bundle, rootfs};
use common::{Answer, Ebb, answer, image_with, is_root, layers};
use serde_json::json;
use std::path::Path;
use std::process::Command;

const NUMBERS: std::ops::RangeInclusive<u32> = 3..=40;
/// /proc/self, and two names of the same: a first process is its only task, and number 1.
const WAYS: [&str; 3] = ["self", "thread-self", "self/task/1"];
/// What busybox says under a name that is none of its own.
const SAID: &str = "canary: applet not found";

/// A program of the host's, which says so.
fn canary(dir: &Path) -> String {
    let path = dir.join("canary");
    std::fs::copy(rootfs().join("bin/busybox"), &path).expect("a copy");
    path.to_str().expect("UTF-8").to_owned()
}

/// A place of the host's, through a descriptor of whatever directory.
fn through(way: &str, number: u32, place: &str) -> String {
    format!("/proc/{way}/fd/{number}/{}{}", "../".repeat(16), place.trim_start_matches('/'))
}

/// As the PATH of a container: each number, each way.
fn path_of_all(dir: &Path) -> String {
    let dir = dir.to_str().expect("UTF-8");
    let all = NUMBERS.flat_map(|number| WAYS.map(|way| through(way, number, dir)));
    all.collect::<Vec<_>>().join(":") + ":/bin"
}

/// An image with `/s/WAY-NUMBER`, each a script that the host's program is to interpret.
fn image_of_scripts(ebb: &Ebb, canary: &str) {
    image_with(ebb, "scripts", &[], |tar| {
        for (number, way) in NUMBERS.flat_map(|number| WAYS.map(|way| (number, way))) {
            let text = format!("#!{}\n", through(way, number, canary));
            assert!(text.len() < 250, "the kernel reads no more of a first line");
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o755);
            header.set_size(text.len() as u64);
            tar.append_data(&mut header, script(way, number), text.as_bytes()).expect("written");
        }
    });
}

fn script(way: &str, number: u32) -> String {
    format!("s/{}-{number}", way.replace('/', "-"))
}

/// Runs a shell script whose shell has directories of the host's open from 3 to 9, for all that it starts. `$0` is ebb.
fn by_a_careless_shell(dir: &Path, script: &str, arguments: &[&str]) -> Answer {
    let mut shell = Command::new("sh");
    let careless = format!("exec 3</ 4</usr 5</etc 6</proc 7</tmp 8</bin 9</\n{script}\nexit 0");
    shell.args(["-c", &careless, env!("CARGO_BIN_EXE_ebb")]).args(arguments).env("EBB_ROOT", dir.join("store"));
    let answer = answer(shell.current_dir(dir));
    assert_eq!(answer.code, 0, "{}", answer.shown());
    answer
}

#[track_caller]
fn nothing_ran(answer: &Answer, what: &str) {
    let said = answer.stdout.contains(SAID) || answer.stderr.contains(SAID);
    assert!(!said, "{what}: {}", answer.shown());
}

fn modes() -> &'static [&'static str] {
    match is_root() {
        true => &["", "--network host", "--userns host", "--privileged"],
        false => &["", "--network host"],
    }
}

#[test]
fn no_number_leads_a_containers_first_process_to_a_program_of_the_hosts() {
    let ebb = Ebb::new();
    let canary = canary(&ebb.dir);
    image_of_scripts(&ebb, &canary);
    // What is looked for would be seen.
    let bind = format!("{canary}:/bin/canary");
    assert!(ebb.fails(127, ["run", "--rm", "-v", &bind, "busybox", "canary"]).contains(SAID));
    let by_path = format!("PATH={}", path_of_all(&ebb.dir));
    for mode in modes() {
        let script = r#"
            "$0" run --rm $1 -e "$2" --entrypoint canary busybox
            "$0" run --rm --init $1 -e "$2" busybox canary
            for number in $(seq 3 40); do
                "$0" run --rm $1 --entrypoint "/proc/self/fd/$number/$3" busybox
                "$0" run --rm $1 scripts /s/self-$number
            done
            exit 0"#;
        let rest = format!("{}{}", "../".repeat(16), canary.trim_start_matches('/'));
        nothing_ran(&by_a_careless_shell(&ebb.dir, script, &[mode, &by_path, &rest]), mode);
    }
    let script = r#"
        for number in $(seq 3 40); do for way in thread-self self/task/1; do
            "$0" run --rm --entrypoint "/proc/$way/fd/$number/$1" busybox
            "$0" run --rm scripts "/s/$(echo $way | tr / -)-$number"
            "$0" run --rm --init busybox "/proc/$way/fd/$number/$1"
        done; done"#;
    let rest = format!("{}{}", "../".repeat(16), canary.trim_start_matches('/'));
    nothing_ran(&by_a_careless_shell(&ebb.dir, script, &[&rest]), "the other ways");
}

#[test]
fn no_number_leads_a_process_that_exec_adds_to_a_program_of_the_hosts() {
    let ebb = Ebb::new();
    let canary = canary(&ebb.dir);
    image_of_scripts(&ebb, &canary);
    let (by_path, rest) = (format!("PATH={}", path_of_all(&ebb.dir)), format!("{}{canary}", "../".repeat(16)));
    for mode in modes() {
        let script = r#"
            "$0" run -d --name box $1 scripts sleep 1000
            "$0" exec -e "$2" box canary
            for number in $(seq 3 40); do for way in self thread-self; do
                "$0" exec box "/proc/$way/fd/$number/$3"
                "$0" exec box /s/$way-$number
            done; done
            "$0" rm -f box"#;
        nothing_ran(&by_a_careless_shell(&ebb.dir, script, &[mode, &by_path, &rest]), mode);
    }
}

/// The last probe's beginning and what it said.
fn last_probe(ebb: &Ebb) -> String {
    ebb.inspect("box", "{{range .State.Health.Log}}{{.Start}} {{.ExitCode}} {{.Output}}\n{{end}}")
}

/// Blocks until two more probes have been made: one may have been on its way.
fn await_probes(ebb: &Ebb) -> String {
    let mut seen = last_probe(ebb);
    for _ in 0..2 {
        let before = seen;
        loop {
            seen = last_probe(ebb);
            if seen != before && !seen.is_empty() {
                break;
            }
        }
    }
    seen
}

#[test]
fn no_number_leads_a_health_check_to_a_program_of_the_hosts() {
    let ebb = Ebb::new();
    let canary = canary(&ebb.dir);
    layers::image_changed(&ebb, "checked", &[], |config| {
        config["Env"] = json!([format!("PATH={}", path_of_all(&ebb.dir))]);
        config["Healthcheck"] = json!({"Test": ["CMD", "canary"], "Interval": 10_000_000});
    });
    ebb.ok(["run", "-d", "--name", "box", "-v", "vase:/vase", "checked", "/bin/sleep", "1000"]);
    let said = await_probes(&ebb);
    assert!(said.contains("executable file not found in $PATH") && !said.contains(SAID), "{said}");
    ebb.ok(["rm", "-f", "box"]);
    // The other form is a shell's, and the shell is the container's.
    ebb.ok([
        "run",
        "-d",
        "--name",
        "box",
        "--health-cmd",
        "echo a shell of the host's",
        "--health-interval",
        "10ms",
        "-v",
        "vase:/vase",
        "busybox",
        "sleep",
        "1000",
    ]);
    for number in NUMBERS {
        let link = through("self", number, &canary);
        ebb.ok(["exec", "box", "/bin/busybox", "ln", "-sf", &link, "/bin/sh"]);
        let said = await_probes(&ebb);
        assert!(!said.contains("a shell"), "{number}: {said}");
    }
}

/// Of its own: `rootfs`, what a bundle's container executes, and what `ebb oci` calls it.
#[test]
fn no_number_leads_a_bundles_program_to_one_of_the_hosts() {
    let mut bundle = Bundle::new(&["sleep", "1000"]);
    let canary = canary(&bundle.dir);
    let root = bundle.dir.join("rootfs");
    let copied = Command::new("cp").arg("-a").arg(rootfs()).arg(&root).status().expect("cp");
    assert!(copied.success());
    bundle.config["root"]["path"] = json!(root);
    for number in NUMBERS {
        use std::os::unix::fs::PermissionsExt;
        let path = root.join(format!("script-{number}"));
        std::fs::write(&path, format!("#!{}\n", through("self", number, &canary))).expect("a script");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("its mode");
    }
    bundle.create("c0");
    bundle.ok(&["start", "c0"]);
    let states = bundle.root().to_str().expect("UTF-8").to_owned();
    let by_path = format!("PATH={}", path_of_all(&bundle.dir));
    let script = r#"
        "$0" oci --root "$1" exec -e "$2" c0 canary
        for number in $(seq 3 40); do
            "$0" oci --root "$1" exec c0 "/proc/self/fd/$number/$3"
            "$0" oci --root "$1" exec c0 /script-$number
        done"#;
    let rest = format!("{}{canary}", "../".repeat(16));
    nothing_ran(&by_a_careless_shell(&bundle.dir, script, &[&states, &by_path, &rest]), "oci exec");
    bundle.config["process"]["env"] = json!([by_path]);
    let path = json!(["canary"]);
    let one =
        NUMBERS.flat_map(|number| [json!([through("self", number, &canary)]), json!([format!("/script-{number}")])]);
    for (index, words) in std::iter::once(path).chain(one).enumerate() {
        bundle.config["process"]["args"] = words;
        bundle.oci();
        let script = r#"
            "$0" oci --root "$1" run "run-$2"
            "$0" oci --root "$1" create "made-$2" && "$0" oci --root "$1" start "made-$2"
            "$0" oci --root "$1" delete -f "made-$2""#;
        nothing_ran(&by_a_careless_shell(&bundle.dir, script, &[&states, &index.to_string()]), "oci run");
    }
}

/// In the container's namespaces, after its root has been changed: the script is the image's.
#[test]
fn no_number_leads_a_hook_in_the_container_to_a_program_of_the_hosts() {
    let mut bundle = Bundle::new(&["true"]);
    let canary = canary(&bundle.dir);
    let states = bundle.root().to_str().expect("UTF-8").to_owned();
    for number in NUMBERS {
        for moment in ["createContainer", "startContainer"] {
            bundle.config["hooks"] = json!({moment: [{"path": through("self", number, &canary)}]});
            bundle.oci();
            let run = r#""$0" oci --root "$1" run c1"#;
            nothing_ran(&by_a_careless_shell(&bundle.dir, run, &[&states]), moment);
        }
    }
}

#[test]
fn a_program_behind_a_link_of_the_kernels_is_refused_with_the_reason() {
    let ebb = Ebb::new();
    for path in
        ["/proc/self/exe", "/proc/self/root/bin/echo", "/proc/1/cwd/bin/echo", "/proc/thread-self/root/bin/echo"]
    {
        for options in [&[][..], &["--init"]] {
            let words = [&["run", "--rm"], options, &["busybox", path, "x"]].concat();
            let said = ebb.fails(126, words);
            assert!(said.contains("through a link of the kernel's"), "{path}: {said}");
        }
    }
    let said = ebb.fails(127, ["run", "--rm", "-e", "PATH=/proc/self/root/bin", "busybox", "echo"]);
    assert!(said.contains("executable file not found in $PATH") && said.contains("a link of the kernel's"), "{said}");
    // Such an entry does not stand in the way of the others, and neither do links of the image's own.
    let path = "PATH=/proc/self/root/bin:bin:/bin";
    assert_eq!(ebb.ok(["run", "--rm", "-e", path, "busybox", "echo", "found"]), "found");
    ebb.ok(["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
    ebb.ok(["exec", "box", "sh", "-c", "ln -s ../bin/busybox /tmp/echo; ln -s loop /tmp/loop"]);
    assert_eq!(ebb.ok(["exec", "-w", "/bin", "box", "../tmp/echo", "linked"]), "linked");
    let said = ebb.fails(126, ["exec", "box", "/tmp/loop"]);
    assert!(said.contains("too many symbolic links") && !said.contains("kernel's"), "{said}");
    assert!(ebb.fails(126, ["exec", "box", "/proc/self/exe"]).contains("a link of the kernel's"));
}
