//! What `where` says of who may write is what a real write meets, and its cures cure.

mod common;

use common::dice::Dice;
use common::owners::{asked, empty, host_directory, owner};
use common::{Ebb, has_one_id, is_root};
use serde_json::Value;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

#[test]
fn where_says_who_the_process_and_the_owner_are_and_which_cure_fits() {
    let ebb = Ebb::new();
    let host = host_directory(&ebb);
    let words = [
        "run",
        "-d",
        "--name",
        "box",
        "-u",
        "33",
        "-v",
        &format!("{}:/c", host.display()),
        "-v",
        &format!("{}:/ro:ro", host.display()),
        "busybox",
        "sleep",
        "1000",
    ];
    ebb.ok(words);
    symlink("/c/a", host.join("link")).expect("a link");
    let place = asked(&ebb, &["box:/c/a"]);
    assert_eq!(place["Process"]["Uid"], 33, "{place}");
    assert_eq!(place["Process"]["User"], "www-data", "{place}");
    let (uid, gid) = owner(&host.join("a"));
    assert_eq!((&place["Owner"]["OnHost"]["Uid"], &place["Owner"]["OnHost"]["Gid"]), (&uid.into(), &gid.into()));
    assert_eq!(
        place["Owner"]["Mode"],
        format!("{:04o}", std::fs::metadata(host.join("a")).expect("a file").mode() & 0o7777)
    );
    let ours = ebb.ok(["exec", "box", "stat", "-c", "%u", "/c/a"]);
    assert_eq!(place["Owner"]["Uid"].to_string(), ours);
    // As the kernel has it: the process's id as the host sees it.
    let pid = ebb.inspect("box", "{{.State.Pid}}");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let outside = status.lines().find_map(|line| line.strip_prefix("Uid:\t")).expect("ids");
    assert_eq!(outside.split('\t').next(), Some(place["Process"]["OnHost"]["Uid"].to_string().as_str()));
    let text = ebb.ok(["where", "box:/c/a"]);
    let names = |place: &Value| -> Vec<String> {
        place["Cures"]
            .as_array()
            .expect("cures")
            .iter()
            .map(|cure| cure["Name"].as_str().expect("a name").to_owned())
            .collect()
    };
    if has_one_id() {
        assert_eq!((&place["MayWrite"], names(&place).len()), (&true.into(), 0));
        assert!(text.contains("  may write    yes: it is the owner"), "{text}");
    } else {
        assert_eq!(place["MayWrite"], false, "{place}");
        assert!(text.contains("  may write    no: it is neither the owner, "), "{text}");
        let fit: &[&str] = if is_root() { &["idmap", "U"] } else { &["keep-id", "U"] };
        assert_eq!(names(&place), fit);
        // Another user of the same container.
        let root = asked(&ebb, &["-u", "root", "box:/c/a"]);
        assert_eq!((&root["MayWrite"], &root["Process"]["Uid"]), (&true.into(), &0.into()), "{root}");
        assert!(ebb.fails(1, ["where", "-u", "nemo", "box:/c/a"]).contains("unable to find user nemo"));
    }
    // A symlink is what it leads to, a read-only mount is cured by no change of owner.
    assert_eq!(asked(&ebb, &["box:/c/link"])["MayWrite"], place["MayWrite"]);
    let sealed = asked(&ebb, &["box:/ro/a"]);
    assert_eq!((&sealed["MayWrite"], &sealed["Why"]), (&false.into(), &"it is mounted read-only there".into()));
    assert_eq!(names(&sealed).len(), 0);
    assert!(ebb.ok(["where", "box:/ro/a"]).contains("  cure         none of "));
    // What even its owner may not write is no question of who the owner is.
    std::fs::set_permissions(host.join("d"), PermissionsExt::from_mode(0o555)).expect("closed");
    let closed = asked(&ebb, &["box:/c/d"]);
    assert_eq!((&closed["MayWrite"], names(&closed).len()), (&false.into(), 0), "{closed}");
    // So the mode comes first, by a command that can be typed as it stands.
    let first = closed["First"].as_str().expect("what comes first");
    assert!(
        first.starts_with("chmod u+wx /")
            && ebb.ok(["where", "box:/c/d"]).contains(&format!("  first        {first}\n"))
    );
    assert!(std::process::Command::new("sh").args(["-c", first]).status().expect("sh").success());
    let opened = asked(&ebb, &["box:/c/d"]);
    assert!(opened["MayWrite"] == true || !names(&opened).is_empty(), "{opened}");
    assert!(opened["First"].is_null() && place["First"].is_null() && sealed["First"].is_null(), "{opened}");
    std::fs::set_permissions(host.join("d"), PermissionsExt::from_mode(0o755)).expect("opened");
    // A stopped container is asked in the same way; what is not there has no owner.
    ebb.ok(["stop", "-t", "0", "box"]);
    assert_eq!(asked(&ebb, &["box:/c/a"]), place);
    assert_eq!(asked(&ebb, &["box:/etc/passwd"])["Cures"], Value::Array(Vec::new()));
    ebb.ok(["run", "--name", "sealed", "--read-only", "busybox", "true"]);
    assert_eq!(asked(&ebb, &["sealed:/etc"])["MayWrite"], false);
}

/// What is written to: a tree of the same shape in each of these.
const PLACES: &[&str] = &["/bind", "/volume", "/memory", "/layer"];

const TREE: &[(&str, bool)] =
    &[("d/e/f", false), ("d/e", true), ("d/f", false), ("d", true), ("f", false), ("g", false)];
const MODES: &[&str] =
    &["644", "600", "666", "444", "0", "660", "606", "66", "755", "700", "777", "711", "70", "7", "222", "333"];
const OWNERS: &[&str] = &["0:0", "33:33", "0:33", "33:0", "1000:50", "1000:1000", "65534:33", "0:50"];
const USERS: &[&str] = &["0", "33", "1000:50", "33:1000", "65534:65534", "1000"];

/// Makes the trees, with random owners and modes, the deepest first: what is above may then be closed.
fn random_trees(dice: &mut Dice) -> String {
    let mut script = String::from("set -e\n");
    for place in PLACES {
        script.push_str(&format!("mkdir -p {place}/d/e\n"));
        for (path, is_directory) in TREE {
            if !is_directory {
                script.push_str(&format!("touch {place}/{path}\n"));
            }
        }
        for (path, is_directory) in TREE {
            // Most directories are open, or little below would ever be reached.
            let mode = if *is_directory && dice.below(3) > 0 { "755" } else { dice.one_of(MODES) };
            let owner = dice.one_of(OWNERS);
            script.push_str(&format!("chown {owner} {place}/{path}; chmod {mode} {place}/{path}\n"));
        }
    }
    script
}

/// A line `PATH yes|no` for each path: whether it could really be written just now.
fn write_all(paths: &[(String, bool)]) -> String {
    let mut script = String::new();
    for (path, is_directory) in paths {
        let attempt = match is_directory {
            true => format!(": > {path}/.p"),
            false => format!(": >> {path}"),
        };
        let clean = if *is_directory { format!("rm -f {path}/.p; ") } else { String::new() };
        script.push_str(&format!(
            "if ({attempt}) 2>/dev/null; then {clean}echo '{path} yes'; else echo '{path} no'; fi\n"
        ));
    }
    script
}

fn paths() -> Vec<(String, bool)> {
    let mut all: Vec<(String, bool)> = Vec::new();
    for place in PLACES.iter().chain(&["/sealed"]) {
        all.push((place.to_string(), true));
        all.extend(TREE.iter().map(|(path, is_directory)| (format!("{place}/{path}"), *is_directory)));
    }
    for (path, is_directory) in
        [("/etc/passwd", false), ("/etc", true), ("/root", true), ("/etc/hosts", false), ("/foreign", false)]
    {
        all.push((path.to_owned(), is_directory));
    }
    all
}

#[test]
fn what_where_says_of_writing_is_what_a_real_write_meets_and_its_cures_cure() {
    let mut tried = Vec::new();
    for seed in 1..=4 {
        // What is said here is shown where the test fails.
        println!("seed {seed}");
        tried.extend(is_true(seed));
    }
    // Who has one id owns all there is.
    let cures: &[&str] = if is_root() { &["idmap", "U"] } else { &["keep-id", "U"] };
    for cure in cures.iter().filter(|_| !has_one_id()) {
        assert!(tried.iter().any(|name| name == cure), "{cure} was put to no test: {tried:?}");
    }
}

/// Returns the names of the cures that were tried.
fn is_true(seed: u64) -> Vec<String> {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let ebb = Ebb::new();
    let host = ebb.dir.join("host");
    std::fs::create_dir(&host).expect("a directory");
    // A file of somebody who is nobody in the container: as root any, and else root's.
    let foreign = if is_root() { ebb.dir.join("foreign") } else { PathBuf::from("/etc/hostname") };
    if is_root() {
        std::fs::write(&foreign, "").expect("a file");
        std::os::unix::fs::chown(&foreign, Some(300_000), Some(300_000)).expect("given");
        std::fs::set_permissions(&foreign, PermissionsExt::from_mode(0o666)).expect("opened");
    }
    let kinds: &[&[&str]] = &[&[], &["--cap-drop", "DAC_OVERRIDE"], &["--userns", "host"], &["--group-add", "50"]];
    let kind = kinds[seed as usize % kinds.len()];
    let user = if has_one_id() { "33" } else { dice.one_of(USERS) };
    let bind = |place: &str| format!("{}:{place}", host.display());
    let seen = format!("{}:/foreign", foreign.display());
    let mounts = [
        "-v",
        &bind("/bind"),
        "-v",
        &bind("/sealed:ro"),
        "-v",
        "volume:/volume",
        "-v",
        &seen,
        "--tmpfs",
        "/memory:mode=1777",
    ];
    ebb.ok([&["run", "-d", "--name", "box", "-u", user], kind, &mounts, &["busybox", "sleep", "100000"]].concat());
    let root = if has_one_id() { user } else { "0" };
    ebb.ok(["exec", "-u", root, "--privileged", "box", "sh", "-c", &random_trees(&mut dice)]);
    let paths = paths();
    let script = write_all(&paths);
    let mut answers = [0, 0];
    let mut cured: Vec<(Value, String, bool, String)> = Vec::new();
    let users: Vec<Option<&str>> = match has_one_id() {
        true => vec![None],
        false => std::iter::once(None).chain((0..3).map(|_| Some(dice.one_of(USERS)))).collect(),
    };
    for asked_for in users {
        let option: Vec<&str> = asked_for.map_or(Vec::new(), |user| vec!["-u", user]);
        let wrote = ebb.ok([&["exec"], &option[..], &["box", "sh", "-c", &script]].concat());
        for ((path, is_directory), line) in paths.iter().zip(wrote.lines()) {
            let said = asked(&ebb, &[&option[..], &[&format!("box:{path}")]].concat());
            let may = if said["MayWrite"] == true { "yes" } else { "no" };
            answers[usize::from(may == "yes")] += 1;
            assert_eq!(
                format!("{path} {may}"),
                line,
                "seed {seed} {kind:?} -u {user}, asked for {asked_for:?}: {said}"
            );
            for cure in said["Cures"].as_array().expect("cures") {
                let as_user = asked_for.unwrap_or(user).to_owned();
                cured.push((cure.clone(), path.clone(), *is_directory, as_user));
            }
        }
    }
    assert!(answers.iter().all(|times| *times > 5), "both answers were put to the test: {answers:?}");
    stopped_it_says_the_same(&ebb, &paths);
    let tried = cures_cure(&ebb, &host, kind, cured, seed);
    empty(&ebb, &host);
    tried
}

/// What is in memory is gone; of all else a stopped container's answers are those that it gave when it ran.
fn stopped_it_says_the_same(ebb: &Ebb, paths: &[(String, bool)]) {
    let before: Vec<Value> =
        paths.iter().map(|(path, _)| asked(ebb, &[&format!("box:{path}")])["MayWrite"].clone()).collect();
    ebb.ok(["stop", "-t", "0", "box"]);
    for ((path, _), before) in paths.iter().zip(before).filter(|((path, _), _)| !path.starts_with("/memory")) {
        assert_eq!(asked(ebb, &[&format!("box:{path}")])["MayWrite"], before, "{path}, stopped");
    }
}

/// A container made anew with each cure really writes. `:U` comes last, and once a mount: after it the owners are others.
fn cures_cure(
    ebb: &Ebb,
    host: &Path,
    kind: &[&str],
    mut cured: Vec<(Value, String, bool, String)>,
    seed: u64,
) -> Vec<String> {
    let rank = |cure: &Value| if cure["Name"] == "U" { 1 } else { 0 };
    cured.sort_by_key(|(cure, ..)| rank(cure));
    let mut tried: Vec<(String, usize)> = Vec::new();
    for (cure, path, is_directory, user) in &cured {
        let options: Vec<&str> = cure["Options"].as_str().expect("options").split(' ').collect();
        let mount = path.split('/').nth(1).expect("a place");
        let key = format!("{} {mount}", cure["Name"]);
        let most = if cure["Name"] == "U" { 1 } else { 5 };
        match tried.iter_mut().find(|(known, _)| *known == key) {
            Some((_, times)) if *times >= most => continue,
            Some((_, times)) => *times += 1,
            None => tried.push((key, 1)),
        }
        let source = if mount == "volume" { "volume".into() } else { host.display().to_string() };
        let bind = format!("{source}:/{mount}");
        let mut words = [&["run", "--rm"], kind, &options[..]].concat();
        if cure["Name"] == "keep-id" {
            words.retain(|word| *word != "host");
            words.extend(["-v", bind.as_str()]);
        } else if !options.contains(&"-u") {
            words.extend(["-u", user.as_str()]);
        }
        let script = write_all(&[(path.clone(), *is_directory)]);
        words.extend(["busybox", "sh", "-c", script.as_str()]);
        let ran = ebb.run(&words);
        assert_eq!(ran.stdout, format!("{path} yes\n"), "seed {seed}: {cure} {}", ran.shown());
    }
    println!("tried: {tried:?}");
    tried.into_iter().filter_map(|(key, _)| key.split('"').nth(1).map(str::to_owned)).collect()
}
