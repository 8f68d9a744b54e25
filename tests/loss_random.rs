//! What `where` and `rm --dry-run` promise of random containers is what is found after their real end.

mod common;

use common::Ebb;
use common::dice::Dice;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn place(ebb: &Ebb, place: &str) -> Value {
    json(&ebb.ok(["where", "--format", "json", place]))
}

const DIRECTORIES: &[&str] =
    &["", "/etc", "/named", "/named/inner", "/anonymous", "/host", "/memory", "/d", "/usr/bin"];
const NAMES: &[&str] =
    &["a", "b c", "über", "quote'\"x", "-dash", "group", "env", ".hidden", "tab\tx", "line\nx", "back\\slash", "a:b"];

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A container with some of all kinds of mounts, or with none of them.
fn box_with_random_mounts(dice: &mut Dice) -> Ebb {
    let ebb = Ebb::new();
    let mut words: Vec<String> = ["run", "-d", "--name", "box"].map(str::to_owned).into();
    for (directory, place) in [("host", "/host"), ("inner", "/named/inner")] {
        let source = ebb.dir.join(directory);
        std::fs::create_dir(&source).expect("a directory");
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        std::fs::set_permissions(&source, open).expect("open to all");
        if dice.below(3) > 0 {
            words.extend(["-v".to_owned(), format!("{}:{place}", source.display())]);
        }
    }
    for (option, mount) in [("-v", "named:/named"), ("-v", "/anonymous"), ("--tmpfs", "/memory")] {
        if dice.below(3) > 0 {
            words.extend([option, mount].map(str::to_owned));
        }
    }
    words.extend(["busybox", "sleep", "1000"].map(str::to_owned));
    ebb.ok(words);
    ebb
}

/// A shell script of writes, deletions, renames and links, of files and directories; what fails among them is as good.
fn random_script(dice: &mut Dice) -> String {
    let mut script = String::from("cd /; mkdir -p /d /named/inner /anonymous /host /memory\n");
    for number in 0..80 {
        let mut path = || quoted(&format!("{}/{}", dice.one_of(DIRECTORIES), dice.one_of(NAMES)));
        let (one, other) = (path(), path());
        let directory = dice.one_of(&DIRECTORIES[1..]);
        let of_image = dice.one_of(&["/etc/group", "/etc/passwd", "/bin/env", "/usr/bin/env"]);
        script.push_str(&match dice.below(13) {
            0..=3 => format!("echo {number} > {one}\n"),
            4 => format!("echo more >> {one}\n"),
            5 => format!("rm -rf {one}\n"),
            6 => format!("mv -f {one} {other}\n"),
            7 => format!("ln -sfn {one} {other}\n"),
            8 => format!("ln -sfn {directory} {one}\n"),
            9 => format!("ln -sfn ../.. {one}\n"),
            10 => format!("rm -f {of_image}\n"),
            11 => format!("mkdir {one} && echo {number} > {one}/a\n"),
            _ => format!("ln -f {one} {other}\n"),
        });
    }
    script
}

/// Of all paths that the script can have touched, also by way of a link, those that the container now has.
fn existing(ebb: &Ebb) -> BTreeSet<String> {
    let script = r#"for path in "$@"; do
        if [ -e "$path" ] || [ -L "$path" ]; then printf '%s\0' "$path"; fi
        for name in a group .. env; do if [ -d "$path" ] && [ -e "$path/$name" ]; then printf '%s\0' "$path/$name"; fi; done
    done"#;
    let mut words = vec!["exec".to_owned(), "box".into(), "sh".into(), "-c".into(), script.into(), "sh".into()];
    words.extend(DIRECTORIES.iter().flat_map(|directory| NAMES.iter().map(move |name| format!("{directory}/{name}"))));
    ebb.ok(words).split_terminator('\0').map(str::to_owned).collect()
}

/// Those of the pairs that are not the same file to the container. A link at the end is itself, and not compared.
fn different(ebb: &Ebb, pairs: &[(String, Value)]) -> String {
    let script = r#"while [ $# -gt 0 ]; do [ -L "$1" ] || [ "$1" -ef "$2" ] || echo "$1 is not $2"; shift 2; done"#;
    let words = ["exec", "box", "sh", "-c", script, "sh"].map(str::to_owned).into_iter();
    ebb.ok(words.chain(pairs.iter().flat_map(|(path, place)| [path.clone(), text(place, "Path").to_owned()])))
}

/// Which of these paths the container has.
fn still(ebb: &Ebb, paths: &BTreeSet<String>) -> BTreeSet<String> {
    let script = r#"for path in "$@"; do if [ -e "$path" ] || [ -L "$path" ]; then printf '%s\0' "$path"; fi; done"#;
    let words = ["exec", "box", "sh", "-c", script, "sh"].map(str::to_owned).into_iter();
    ebb.ok(words.chain(paths.iter().cloned())).split_terminator('\0').map(str::to_owned).collect()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no {key} in {value}"))
}

fn outlives(place: &Value, end: &str) -> bool {
    text(place, "Outlives").split(", ").any(|outlived| outlived == end)
}

fn is_on_host(place: &Value) -> bool {
    place["Source"].as_str().is_some_and(|path| Path::new(path).symlink_metadata().is_ok())
}

/// Seeds 1 to 4, or as many as EBB_SEEDS says.
#[test]
fn what_where_promised_is_what_is_found_after_the_real_end() {
    let seeds = std::env::var("EBB_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(4);
    for seed in 1..=seeds {
        // What is said here is shown where the test fails.
        eprintln!("seed {seed}");
        keeps_its_promises(seed);
    }
}

fn keeps_its_promises(seed: u64) {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15 ^ (seed << 7));
    let ebb = box_with_random_mounts(&mut dice);
    ebb.run(["exec", "box", "sh", "-c", &random_script(&mut dice)]);
    let promised: Vec<(String, Value)> =
        existing(&ebb).into_iter().map(|path| (path.clone(), place(&ebb, &format!("box:{path}")))).collect();
    assert!(promised.len() > 20, "seed {seed}: {promised:?}");

    assert_eq!(different(&ebb, &promised), "", "seed {seed}, the kernel resolves it elsewhere");

    let real: BTreeSet<String> = promised.iter().map(|(_, place)| text(place, "Path").to_owned()).collect();
    ebb.ok(["restart", "-t", "0", "box"]);
    let after = still(&ebb, &real);
    for (path, place) in &promised {
        // The mount point of a tmpfs is there again; what was in it is not.
        let again = text(place, "Path") == "/memory" && place["Type"] == "tmpfs";
        let kept = outlives(place, "restart") || again || place["Type"] == "kernel";
        assert_eq!(after.contains(text(place, "Path")), kept, "seed {seed}, restart, {path:?}: {place}");
    }

    ebb.ok(["stop", "-t", "0", "box"]);
    for (path, place) in &promised {
        assert_eq!(is_on_host(place), outlives(place, "stop"), "seed {seed}, stop, {path:?}: {place}");
    }
    let flags: &[&str] = if dice.below(2) == 0 { &[] } else { &["-v"] };
    let end = if flags.is_empty() { "rm" } else { "rm -v" };
    let loss = json(&ebb.ok([&["rm", "--dry-run", "--format", "json"], flags, &["box"]].concat()));
    let changes = loss["Changes"].as_array().expect("a list");
    let listed: BTreeSet<&str> =
        changes.iter().filter(|change| change["Type"] != "D").map(|change| text(change, "Path")).collect();
    // What a stopped container is asked for, it answers as the running one did.
    let mount_points = ["/named", "/named/inner", "/anonymous", "/host", "/memory"];
    for (path, place) in promised.iter().filter(|(_, place)| !["/", "/memory"].contains(&text(place, "Path"))) {
        // A directory that is as the image has it is in the container's layer for what is below it.
        let own = place["Type"] == "layer";
        let said = listed.contains(text(place, "Path"));
        assert!(said == own || mount_points.contains(&text(place, "Path")), "seed {seed}, dry run, {path:?}: {place}");
    }
    for change in changes {
        let found = place(&ebb, &format!("box:{}", text(change, "Path")));
        let expected = if change["Type"] == "D" { "whiteout" } else { "layer" };
        assert_eq!(found["Type"], expected, "seed {seed}: {change} {found}");
        let on_host = Path::new(text(&found, "Source")).symlink_metadata().expect("it is in the layer");
        if change["Size"] != 0 {
            assert_eq!(change["Size"], on_host.len(), "seed {seed}: {change}");
        }
    }

    ebb.ok([&["rm"], flags, &["box"]].concat());
    for (path, place) in promised.iter().filter(|(_, place)| outlives(place, "stop")) {
        assert_eq!(is_on_host(place), outlives(place, end), "seed {seed}, {end}, {path:?}: {place}");
    }
    for (list, stays) in [("Volumes", false), ("Stays", true)] {
        for one in loss[list].as_array().expect("a list").iter().filter(|one| one["Type"] != "image") {
            assert_eq!(is_on_host(one), stays, "seed {seed}, {end}: {one}");
        }
    }

    for volume in ebb.ok(["volume", "ls", "-q"]).lines() {
        ebb.ok(["volume", "rm", volume]);
    }
    for (path, place) in promised.iter().filter(|(_, place)| outlives(place, end)) {
        assert_eq!(is_on_host(place), outlives(place, "volume rm"), "seed {seed}, volume rm, {path:?}: {place}");
    }
}
