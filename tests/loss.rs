//! What will be lost is said before it is: `where`, `rm --dry-run`, and `rm`'s last line. And what they promise holds.

mod common;

use common::Ebb;
use common::terminal::Terminal;
use serde_json::Value;

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
    terminal.shows("gone: box, with 1 changed file (6B); in the trash: 1 anonymous volume; stayed: ");
    terminal.shows("volume named\r\n");
    assert_eq!(terminal.ends(), 0);
    // A volume that somebody has removed by hand did not stay.
    ebb.ok(["create", "--name", "bare", "-v", "lost:/l", "-v", "kept:/k", "-v", "./away:/a", "busybox"]);
    std::fs::remove_dir_all(ebb.store().join("volumes/lost")).expect("removed");
    std::fs::remove_dir(ebb.dir.join("away")).expect("removed");
    let stays = ebb.ok(["rm", "--dry-run", "--format", "{{range .Stays}}{{.Type}} {{end}}", "bare"]);
    assert_eq!(stays.trim(), "volume image");
    let mut rm = ebb.command();
    rm.args(["rm", "bare"]);
    let mut terminal = Terminal::start(&rm);
    terminal.shows("gone: bare, with 0 changed files; stayed: volume kept\r\n");
    assert_eq!(terminal.ends(), 0);
    ebb.ok(["create", "--name", "quiet", "busybox"]);
    let answer = ebb.run(["rm", "quiet"]);
    assert_eq!((answer.stdout.as_str(), answer.stderr.as_str()), ("quiet\n", ""));
}

#[test]
fn where_takes_dots_and_a_last_slash_as_the_container_does() {
    let ebb = box_with_mounts(&[]);
    let script = "ln -s /named/inner /way; echo a > /x; echo b > /named/x; touch /named/inner/x";
    ebb.ok(["exec", "box", "sh", "-c", script]);
    assert_eq!(ebb.ok(["exec", "box", "cat", "/way/../x"]), "b");
    let found = place(&ebb, "box:/way/../x");
    assert_eq!(
        (&found["Path"], &found["Type"], &found["Name"]),
        (&"/named/x".into(), &"volume".into(), &"named".into())
    );
    let link = place(&ebb, "box:/way");
    assert_eq!((&link["Type"], &link["LeadsTo"]), (&"layer".into(), &"/named/inner".into()));
    let end = place(&ebb, "box:/way/");
    assert_eq!((&end["Type"], &end["Path"], &end["LeadsTo"]), (&"bind".into(), &"/named/inner".into(), &Value::Null));
    for path in ["box:/x/../x", "box:/nothing/../x", "box:/nothing/../../../../etc/passwd"] {
        assert!(ebb.fails(1, ["where", path]).contains("Could not find the file"), "{path}");
    }
    assert_eq!(place(&ebb, "box:/../../x")["Path"], "/x", "the root is its own parent");
}

#[test]
fn a_mount_that_was_moved_inside_the_container_is_found_where_it_is() {
    let ebb = Ebb::new();
    ebb.ok(["run", "-d", "--name", "box", "-v", "vase:/deep/vase", "busybox", "sleep", "1000"]);
    ebb.ok([
        "exec",
        "box",
        "sh",
        "-c",
        "echo a > /deep/vase/f; mv /deep /other; mkdir -p /deep/vase; touch /deep/vase/g",
    ]);
    assert_eq!(place(&ebb, "box:/other/vase/f")["HeldBy"], "volume vase");
    assert_eq!(place(&ebb, "box:/deep/vase/g")["HeldBy"], "the container's own layer");
    // Its next life mounts the volume where it belongs, over what was put there.
    ebb.ok(["restart", "-t", "0", "box"]);
    assert_eq!(place(&ebb, "box:/deep/vase/f")["HeldBy"], "volume vase");
    ebb.fails(1, ["where", "box:/other/vase/f"]);
}

#[test]
fn where_knows_volumes_and_says_when_a_name_is_two_things() {
    let ebb = box_with_mounts(&[]);
    ebb.ok(["exec", "box", "sh", "-c", "mkdir /named/d; echo a > /named/d/f; ln -s d /named/in; ln -s /x /named/out"]);
    let found = place(&ebb, "named:/in/f");
    assert_eq!((&found["Path"], &found["GoneWith"]), (&"/d/f".into(), &"volume rm".into()));
    assert_eq!(std::fs::read_to_string(found["Source"].as_str().expect("a path")).expect("the file"), "a\n");
    assert!(ebb.fails(1, ["where", "named:/out/f"]).contains("leads out of volume named"));
    assert!(ebb.fails(1, ["where", "named:/../../../names"]).contains("leads out of volume named"));
    assert_eq!(ebb.fails(1, ["where", "named:/no"]), "ebb: Could not find the file /no in volume named\n");
    let shown = ebb.ok(["where", "named:/d"]);
    assert!(shown.starts_with("/d of volume named\n"), "{shown}");
    ebb.ok(["volume", "create", "box"]);
    let answer = ebb.run(["where", "box"]);
    assert!(answer.stdout.starts_with("PATH "), "{}", answer.stdout);
    assert!(answer.stderr.contains("box is a container, and a volume too"), "{}", answer.stderr);
    // The first letters of an id are no name: a volume that is called so goes first.
    let id = ebb.inspect("box", "{{.Id}}");
    ebb.ok(["volume", "create", &id[..6]]);
    assert!(ebb.ok(["where", &id[..6]]).starts_with(&format!("volume {}\n", &id[..6])));
    let fate = place(&ebb, "box:/anonymous")["Fate"].clone();
    let expected = r#"{"Stop":true,"Restart":true,"Rm":true,"RmVolumes":false,"VolumeRm":false}"#;
    assert_eq!(fate, json(expected));
    let digest = place(&ebb, "box:/bin/busybox")["Name"].as_str().expect("text").to_owned();
    assert!(digest.starts_with("sha256:") && digest.len() == 71, "{digest}");
    assert_eq!(ebb.ok(["where", "--format", "{{.Type}} {{.Fate.Rm}}", "box:/memory"]), "tmpfs false");
}

#[test]
fn names_of_any_bytes_are_measured_and_move_no_cursor() {
    let ebb = box_with_mounts(&[]);
    let script = r#"for name in 'tab\tx' 'line\nx' 'esc\033[31mx' 'bytes\377x'; do printf abc > "/$(printf "$name")"; done; ln /tab* /again"#;
    ebb.ok(["exec", "box", "sh", "-c", script]);
    let loss = json(&ebb.ok(["rm", "--dry-run", "-f", "--format", "json", "box"]));
    assert_eq!(loss["Bytes"], 12, "each file once, whatever its name, however many it has: {loss}");
    let shown = ebb.ok(["rm", "--dry-run", "-f", "box"]);
    assert!(!shown.contains('\u{1b}') && !shown.contains('\t'), "{shown:?}");
    assert!(shown.contains(r"  A /tab\tx") && shown.contains(r"  A /line\nx"), "{shown}");
    let shown = ebb.ok(["where", "box:/esc\u{1b}[31mx"]);
    assert!(!shown.contains('\u{1b}') && shown.starts_with(r"/esc\u{1b}[31mx of box"), "{shown:?}");
}

#[test]
fn a_dry_run_answers_as_rm_does_for_names_that_are_missing_or_come_twice() {
    let ebb = Ebb::new();
    ebb.ok(["create", "--name", "box", "busybox"]);
    for words in [&["nobody"][..], &["-f", "nobody"], &["box", "nobody"], &["-f", "box", "box"], &["box", "box"]] {
        let foreseen = ebb.run([&["rm", "--dry-run"], words].concat());
        let done = ebb.run([&["rm"], words].concat());
        assert_eq!((foreseen.code, foreseen.stderr), (done.code, done.stderr), "{words:?}");
        ebb.run(["create", "--name", "box", "busybox"]);
    }
    assert_ne!(ebb.run(["rm", "--format", "json", "box"]).code, 0, "--format is the dry run's");
    assert_eq!(ebb.ok(["ps", "-a", "--format", "{{.Names}}"]), "box");
}

#[test]
fn a_dry_run_foresees_what_the_end_of_rm_and_of_two_containers_takes_along() {
    let ebb = Ebb::new();
    let listed = |words: &[&str], key: &str| -> Vec<String> {
        let said = ebb.ok([&["rm", "--dry-run", "--format", "json"], words].concat());
        let losses = said.lines().map(json);
        let names = losses.flat_map(|loss| loss[key].as_array().expect("a list").clone());
        names.filter(|one| one["Type"] != "image").map(|one| one["Name"].as_str().expect("text").to_owned()).collect()
    };
    // What was started with --rm goes with its anonymous volumes, also when it is `rm -f` that ends it.
    ebb.ok(["run", "-d", "--rm", "--name", "brief", "-v", "/data", "busybox", "sleep", "1000"]);
    let volume = ebb.ok(["volume", "ls", "-q"]);
    assert_eq!(listed(&["-f", "brief"], "Volumes"), [volume.as_str()]);
    assert_eq!(place(&ebb, "brief:/data")["Fate"]["Rm"], false);
    let answer = ebb.run(["rm", "-f", "brief"]);
    assert_eq!((answer.stdout.as_str(), answer.stderr.as_str()), ("brief\n", ""));
    assert_eq!(ebb.ok(["volume", "ls", "-q"]), "");
    // An anonymous volume that two use goes with its own container, if that is the last of them.
    ebb.ok(["create", "--name", "own", "-v", "/data", "busybox"]);
    let volume = ebb.ok(["volume", "ls", "-q"]);
    ebb.ok(["create", "--name", "guest", "-v", &format!("{volume}:/data"), "busybox"]);
    assert_eq!(listed(&["-v", "own"], "Stays"), [volume.as_str()]);
    assert_eq!(listed(&["-v", "own", "guest"], "Volumes"), [""; 0]);
    assert_eq!(listed(&["-v", "guest", "own"], "Volumes"), [volume.as_str()]);
    assert_eq!(place(&ebb, "own:/data")["Fate"]["RmVolumes"], true);
    let mut rm = ebb.command();
    rm.args(["rm", "-v", "guest", "own"]);
    let mut terminal = Terminal::start(&rm);
    terminal.shows("gone: guest, own, with 0 changed files; in the trash: 1 anonymous volume\r\n");
    assert_eq!(terminal.ends(), 0);
    assert_eq!(ebb.ok(["volume", "ls", "-q"]), "");
}
