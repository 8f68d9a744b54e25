//! What will be lost is said before it is: `where`, `rm --dry-run`, and `rm`'s last line. And what they promise holds.

mod common;

use common::Ebb;
use common::terminal::Terminal;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn place(ebb: &Ebb, place: &str) -> Value {
    json(&ebb.ok(["where", "--format", "json", place]))
}

/// A container `box` that runs, with a named volume, an anonymous one, a directory of the host's and a tmpfs.
fn box_with_mounts(options: &[&str]) -> Ebb {
    let ebb = Ebb::new();
    for directory in ["host", "inner"] {
        std::fs::create_dir(ebb.dir.join(directory)).expect("a directory");
        // Who writes there is the container's root, whose id outside need not be the directory's owner.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        std::fs::set_permissions(ebb.dir.join(directory), open).expect("open to all");
    }
    let (host, inner) = (ebb.dir.join("host"), ebb.dir.join("inner"));
    let (host, inner) = (format!("{}:/host", host.display()), format!("{}:/named/inner", inner.display()));
    let mounts = ["-v", "named:/named", "-v", "/anonymous", "-v", &host, "-v", &inner, "--tmpfs", "/memory"];
    let run = ["run", "-d", "--name", "box"];
    ebb.ok([&run[..], &mounts[..], options, &["busybox", "sleep", "1000"]].concat());
    ebb
}

#[test]
fn where_names_the_holder_the_place_on_the_host_and_the_end() {
    let ebb = box_with_mounts(&[]);
    ebb.ok([
        "exec",
        "box",
        "sh",
        "-c",
        "echo mine > /note; echo kept > /named/note; ln -s /named /way; rm /etc/passwd",
    ]);
    let note = place(&ebb, "box:/note");
    assert_eq!((&note["HeldBy"], &note["GoneWith"]), (&"the container's own layer".into(), &"rm, rm -v".into()));
    assert!(note["Source"].as_str().expect("a path").ends_with("/upper/note"));
    // A symlink on the way is followed as the container follows it.
    let kept = place(&ebb, "box:/way/note");
    assert_eq!((&kept["Path"], &kept["HeldBy"]), (&"/named/note".into(), &"volume named".into()));
    assert_eq!((&kept["Outlives"], &kept["GoneWith"]), (&"stop, restart, rm, rm -v".into(), &"volume rm".into()));
    assert_eq!(std::fs::read_to_string(kept["Source"].as_str().expect("a path")).expect("the file"), "kept\n");
    let holder = |path: &str| place(&ebb, &format!("box:{path}"))["HeldBy"].as_str().expect("text").to_owned();
    assert!(holder("/bin/busybox").starts_with("the image's layer sha256:"));
    assert_eq!(holder("/etc/passwd"), "a whiteout in the container's own layer");
    assert!(holder("/anonymous").starts_with("anonymous volume "));
    assert_eq!(holder("/named/inner"), format!("the host's {}", ebb.dir.join("inner").display()));
    assert_eq!(holder("/memory"), "a tmpfs, in memory");
    assert_eq!(holder("/proc/1"), "the kernel (proc)");
    assert_eq!(holder("/etc/hosts"), "a file that Ebb gives this container");
    let said = ebb.fails(1, ["where", "box:/nothing"]);
    assert_eq!(said, "ebb: Could not find the file /nothing in container box\n");
    assert_eq!(ebb.fails(1, ["where", "nobody"]), "ebb: No such container or volume: nobody\n");
    let shown = ebb.ok(["where", "named"]);
    assert!(shown.starts_with("volume named\n") && shown.contains("used by      box"), "{shown}");
    let shown = ebb.ok(["where", "box"]);
    let first: Vec<&str> = shown.lines().map(|line| line.split("  ").next().unwrap_or("")).collect();
    assert_eq!(first, ["PATH", "/", "/anonymous", "/host", "/memory", "/named", "/named/inner"], "{shown}");
    // A container that has stopped is asked in the same way.
    ebb.ok(["stop", "-t", "0", "box"]);
    assert_eq!(place(&ebb, "box:/way/note"), kept);
}

#[test]
fn a_link_out_of_the_container_leads_nowhere_on_the_host() {
    let ebb = box_with_mounts(&[]);
    std::fs::write(ebb.dir.join("secret"), "x").expect("a file");
    let secret = ebb.dir.join("secret").display().to_string();
    ebb.ok(["exec", "box", "ln", "-s", &secret, "/way"]);
    ebb.ok(["exec", "box", "ln", "-s", "loop", "/loop"]);
    ebb.fails(1, ["where", "box:/way/x"]);
    assert!(ebb.fails(1, ["where", "box:/loop/x"]).contains("too many symlinks"));
    assert_eq!(place(&ebb, "box:/way")["HeldBy"], "the container's own layer", "the link itself");
}

#[test]
fn with_rm_a_stop_is_the_end() {
    let ebb = box_with_mounts(&["--rm"]);
    ebb.ok(["exec", "box", "touch", "/note"]);
    assert_eq!(place(&ebb, "box:/note")["Outlives"], "restart, volume rm");
    assert_eq!(place(&ebb, "box:/anonymous")["Outlives"], "restart");
    ebb.ok(["stop", "-t", "0", "box"]);
    assert_eq!(ebb.ok(["volume", "ls", "-q"]), "named");
}

#[test]
fn a_dry_run_lists_what_would_go_and_what_would_stay_and_changes_nothing() {
    let ebb = box_with_mounts(&[]);
    ebb.ok(["exec", "box", "sh", "-c", "echo 12345 > /note; echo kept > /named/note; rm /etc/passwd"]);
    let said = ebb.fails(1, ["rm", "--dry-run", "box"]);
    assert_eq!(said, ebb.fails(1, ["rm", "box"]), "what rm refuses, the dry run refuses in the same words");
    let loss = json(&ebb.ok(["rm", "--dry-run", "-fv", "--format", "json", "box"]));
    assert_eq!((&loss["Container"], &loss["Running"], &loss["Bytes"]), (&"box".into(), &true.into(), &6.into()));
    let changes: Vec<_> =
        loss["Changes"].as_array().expect("a list").iter().map(|change| (&change["Type"], &change["Path"])).collect();
    let expected = [("C", "/etc"), ("D", "/etc/passwd"), ("A", "/note")].map(|(kind, path)| (kind.into(), path.into()));
    let expected: Vec<(&Value, &Value)> = expected.iter().map(|(kind, path)| (kind, path)).collect();
    assert_eq!(changes, expected, "and no mount point");
    assert_eq!(loss["Volumes"].as_array().expect("a list").len(), 1);
    ebb.ok(["stop", "-t", "0", "box"]);
    let shown = ebb.ok(["rm", "--dry-run", "box"]);
    for line in ["box would go, and with it:", "  A /note   6B", "and this would stay:", "  image busybox"] {
        assert!(shown.lines().any(|shown| shown == line), "{line:?} in {shown}");
    }
    assert!(shown.contains("  volume named (/named), in ") && shown.contains("  anonymous volume "), "{shown}");
    assert_eq!(ebb.ok(["start", "box"]), "box", "nothing was changed");
    assert_eq!(ebb.ok(["exec", "box", "cat", "/note"]), "12345");
    assert_eq!(ebb.fails(1, ["rm", "--dry-run", "nobody"]), "ebb: No such container: nobody\n");
}

#[test]
fn on_a_terminal_rm_ends_with_what_went_and_what_stayed_and_in_a_pipe_it_is_dockers() {
    let ebb = box_with_mounts(&[]);
    ebb.ok(["exec", "box", "sh", "-c", "echo 12345 > /note"]);
    let mut rm = ebb.command();
    rm.args(["rm", "-fv", "box"]);
    let mut terminal = Terminal::start(&rm);
    terminal.shows("box\r\n");
    terminal.shows("gone: box, with 1 changed file (6B) and 1 anonymous volume; stayed: ");
    terminal.shows("volume named\r\n");
    assert_eq!(terminal.ends(), 0);
    ebb.ok(["create", "--name", "quiet", "busybox"]);
    let answer = ebb.run(["rm", "quiet"]);
    assert_eq!((answer.stdout.as_str(), answer.stderr.as_str()), ("quiet\n", ""));
}

/// Numbers that come again with the same seed (xorshift64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }

    fn one_of<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len())]
    }
}

const DIRECTORIES: &[&str] =
    &["", "/etc", "/named", "/named/inner", "/anonymous", "/host", "/memory", "/d", "/usr/bin"];
const NAMES: &[&str] = &["a", "b c", "über", "quote'\"x", "-dash", "group", "env", ".hidden"];

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A shell script of writes, deletions, renames and links; what fails among them is as good.
fn random_script(dice: &mut Dice) -> String {
    let mut script = String::from("mkdir /d\n");
    for number in 0..60 {
        let mut path = || quoted(&format!("{}/{}", dice.one_of(DIRECTORIES), dice.one_of(NAMES)));
        let (one, other) = (path(), path());
        script.push_str(&match dice.below(8) {
            0..=3 => format!("echo {number} > {one}\n"),
            4 => format!("echo more >> {one}\n"),
            5 => format!("rm -rf {one}\n"),
            6 => format!("mv -f {one} {other}\n"),
            _ => format!("ln -sfn {one} {other}\n"),
        });
    }
    script
}

/// Of all paths that the script can have touched, those that the container now has.
fn existing(ebb: &Ebb) -> BTreeSet<String> {
    let script = r#"for path in "$@"; do if [ -e "$path" ] || [ -L "$path" ]; then echo "$path"; fi; done"#;
    let mut words = vec!["exec".to_owned(), "box".into(), "sh".into(), "-c".into(), script.into(), "sh".into()];
    words.extend(DIRECTORIES.iter().flat_map(|directory| NAMES.iter().map(move |name| format!("{directory}/{name}"))));
    ebb.ok(words).lines().map(str::to_owned).collect()
}

#[test]
fn what_where_promised_is_what_is_found_after_the_real_end() {
    for seed in [1, 2, 3] {
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15 ^ seed);
        let ebb = box_with_mounts(&[]);
        ebb.run(["exec", "box", "sh", "-c", &random_script(&mut dice)]);
        let before = existing(&ebb);
        let promised: Vec<(String, Value)> =
            before.iter().map(|path| (path.clone(), place(&ebb, &format!("box:{path}")))).collect();
        let outlives = |place: &Value, end: &str| {
            place["Outlives"].as_str().expect("text").split(", ").any(|outlived| outlived == end)
        };

        ebb.ok(["restart", "-t", "0", "box"]);
        let after = existing(&ebb);
        for (path, place) in &promised {
            assert_eq!(after.contains(path), outlives(place, "restart"), "seed {seed}, restart, {path:?}: {place}");
        }

        ebb.ok(["stop", "-t", "0", "box"]);
        let flags: &[&str] = if dice.below(2) == 0 { &[] } else { &["-v"] };
        let end = if flags.is_empty() { "rm" } else { "rm -v" };
        let loss = json(&ebb.ok([&["rm", "--dry-run", "--format", "json"], flags, &["box"]].concat()));
        let listed: BTreeSet<&str> = loss["Changes"]
            .as_array()
            .expect("a list")
            .iter()
            .filter(|change| change["Type"] != "D")
            .map(|change| change["Path"].as_str().expect("a path"))
            .collect();
        for (path, place) in &promised {
            let real = place["Path"].as_str().expect("a path");
            let own = place["HeldBy"] == "the container's own layer";
            assert_eq!(listed.contains(real), own, "seed {seed}, dry run, {path:?}: {place}");
        }

        ebb.ok([&["rm"], flags, &["box"]].concat());
        let is_there =
            |place: &Value| place["Source"].as_str().is_some_and(|path| Path::new(path).symlink_metadata().is_ok());
        for (path, place) in promised.iter().filter(|(_, place)| outlives(place, "restart")) {
            assert_eq!(is_there(place), outlives(place, end), "seed {seed}, {end}, {path:?}: {place}");
        }

        for volume in ebb.ok(["volume", "ls", "-q"]).lines() {
            ebb.ok(["volume", "rm", volume]);
        }
        for (path, place) in promised.iter().filter(|(_, place)| outlives(place, end)) {
            assert_eq!(is_there(place), outlives(place, "volume rm"), "seed {seed}, volume rm, {path:?}: {place}");
        }
    }
}
