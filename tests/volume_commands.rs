//! The commands on volumes, and those of `system` that count and clear, answer as Docker's fingers expect.

mod common;

use common::{Ebb, answer_to};
use serde_json::Value;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Two images of one layer, a container that runs and one that does not, a named volume and an anonymous one.
fn furnished() -> Ebb {
    let ebb = Ebb::new();
    ebb.ok(["volume", "create", "--label", "app=web", "--label", "keep", "site"]);
    ebb.ok(["volume", "create", "spare"]);
    let write = "echo 12345 > /data/five; ln /data/five /data/again; echo 1234 > /layer; echo ready; sleep 1000";
    ebb.ok(["run", "-d", "--name", "runs", "-v", "site:/data", "busybox", "sh", "-c", write]);
    ebb.await_line("runs", "ready");
    ebb.ok(["run", "--name", "ended", "-v", "site:/web:ro", "-v", "/anon", "busybox", "sh", "-c", "echo 123 > /layer"]);
    ebb
}

#[test]
fn ls_filters_by_what_docker_filters_by() {
    let ebb = furnished();
    let ls = |filters: &[&str]| {
        let filters: Vec<&str> = filters.iter().flat_map(|filter| ["--filter", filter]).collect();
        ebb.ok([&["volume", "ls", "-q"], &filters[..]].concat())
    };
    let anonymous = ls(&["label=com.docker.volume.anonymous"]);
    assert_eq!(anonymous.len(), 64);
    assert_eq!(ls(&["dangling=true"]), "spare");
    assert_eq!(ls(&["dangling=false"]).lines().count(), 2);
    assert_eq!(ls(&["label=app=web"]), "site");
    assert_eq!(ls(&["label=app=web", "label=other"]), "");
    assert_eq!(ls(&["name=^s"]), "site\nspare");
    assert_eq!(ls(&["name=site", "name=spare"]), "site\nspare");
    assert_eq!(ls(&["name=s", "dangling=true"]), "spare", "two keys must both hold");
    assert_eq!(ls(&["dangling=false", "label=app", "name=spare"]), "");
    assert_eq!(ls(&["driver=local"]).lines().count(), 3);
    assert_eq!(ls(&["driver=nfs"]), "");
    assert!(ebb.fails(1, ["volume", "ls", "-f", "bogus=1"]).contains("invalid filter 'bogus'"));
    assert_eq!(
        ebb.ok(["volume", "ls", "-f", "name=site", "--format", "{{.Name}}: {{.Labels}}"]),
        "site: app=web,keep="
    );
    let table = ebb.ok(["volume", "ls", "--filter", "name=s"]);
    assert!(table.starts_with("DRIVER    VOLUME NAME\nlocal     "), "{table}");
    for name in ["zz", "mm", "aa"] {
        ebb.ok(["volume", "create", "--label", "made=backwards", name]);
    }
    assert_eq!(ls(&["label=made"]), "aa\nmm\nzz", "by name, and not by age");
}

#[test]
fn inspect_with_sizes_counts_once_and_says_who_uses_it_running_or_not() {
    let ebb = furnished();
    let plain = json(&ebb.ok(["volume", "inspect", "site"]));
    let keys: Vec<&String> = plain[0].as_object().expect("an object").keys().collect();
    assert_eq!(keys, ["CreatedAt", "Driver", "Labels", "Mountpoint", "Name", "Options", "Scope"]);
    let site = json(&ebb.ok(["volume", "inspect", "-s", "site"]))[0].clone();
    assert_eq!(site["UsageData"], serde_json::json!({"Size": 6, "Files": 2, "RefCount": 2}));
    let users = site["UsedBy"].as_array().expect("a list");
    let of = |name: &str| users.iter().find(|user| user["Name"] == name).expect("it uses it").clone();
    assert_eq!((&of("runs")["Status"], &of("ended")["Status"]), (&"running".into(), &"exited".into()));
    assert_eq!(of("ended")["Mounts"], serde_json::json!([{"Destination": "/web", "RW": false}]));
    assert_eq!(ebb.ok(["volume", "inspect", "-s", "-f", "{{.UsageData.RefCount}}", "spare"]), "0");
}

#[test]
fn inspect_with_a_template_says_an_empty_line_of_what_is_missing() {
    let ebb = Ebb::empty();
    let answer = ebb.run(["volume", "inspect", "-f", "{{.Name}}", "nowhere"]);
    assert_eq!((answer.code, answer.stdout.as_str()), (1, "\n"), "{}", answer.shown());
}

#[test]
fn inspect_shows_what_is_there_beside_what_is_not_and_empty_maps_as_such() {
    let ebb = Ebb::empty();
    ebb.ok(["volume", "create", "one"]);
    let both = ebb.run(["volume", "inspect", "nope", "one", "none"]);
    assert_eq!(
        (both.code, both.stderr.as_str()),
        (1, "ebb: get nope: no such volume\nebb: get none: no such volume\n")
    );
    let shown = json(&both.stdout);
    assert_eq!((shown.as_array().expect("a list").len(), &shown[0]["Name"]), (1, &"one".into()));
    assert!(
        both.stdout.contains("\"Labels\": {},\n") && both.stdout.contains("\"Options\": {},\n"),
        "{}",
        both.shown()
    );
    let place = shown[0]["Mountpoint"].as_str().expect("a path");
    assert!(place.ends_with("/one/_data") && std::path::Path::new(place).is_dir(), "{place}");
    let created = shown[0]["CreatedAt"].as_str().expect("a time");
    assert!(created.len() == 20 && created.as_bytes()[10] == b'T' && created.ends_with('Z'), "{created}");
    assert_eq!(shown[0]["Scope"], "local");
}

#[test]
fn the_whole_of_dockers_sentences_is_said() {
    let ebb = Ebb::empty();
    let allowed = "includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you \
                   intended to pass a host directory, use absolute path";
    assert_eq!(ebb.fails(1, ["volume", "create", "@bad"]), format!("ebb: create @bad: \"@bad\" {allowed}\n"));
    assert_eq!(
        ebb.fails(1, ["volume", "create", "a"]),
        "ebb: create a: volume name is too short, names should be at least two alphanumeric characters\n"
    );
    let driver = ebb.fails(1, ["volume", "create", "-d", "nfs", "disk"]);
    let docker = "ebb: create disk: error looking up volume plugin nfs: plugin \"nfs\" not found\n";
    assert!(driver.starts_with(docker), "{driver}");
    assert_eq!(ebb.ok(["volume", "create", "--driver=local", "disk"]), "disk");
    let asked = ebb.run_with(b"n\n", ["volume", "prune", "--all"]);
    let warning = "WARNING! This will remove all local volumes not used by at least one container.\nAre you sure you want to \
                   continue? [y/N] ";
    assert_eq!(
        (asked.code, asked.stdout.trim_end_matches('\n')),
        (0, warning.trim_end_matches('\n')),
        "{}",
        asked.shown()
    );
    let asked = ebb.run_with(b"y\n", ["volume", "prune", "-a"]);
    assert!(asked.stdout.contains("Deleted Volumes:\ndisk\n\nTotal reclaimed space: 0B\n"), "{}", asked.shown());
}

#[test]
fn df_counts_a_shared_layer_once_and_knows_what_nobody_uses() {
    let ebb = furnished();
    let id = ebb.ok(["images", "-q", "--no-trunc", "busybox"]);
    ebb.ok(["tag", "busybox", "other:1"]);
    let row = |kind: &str| -> Value {
        let rows = ebb.ok(["system", "df", "--format", "json"]);
        let rows: Vec<Value> = rows.lines().map(json).collect();
        rows.into_iter().find(|row| row["Type"] == kind).expect("a row")
    };
    let (images, containers, volumes) = (row("Images"), row("Containers"), row("Local Volumes"));
    assert_eq!((&images["TotalCount"], &images["Active"]), (&"1".into(), &"1".into()));
    assert_eq!(images["Reclaimable"], "0B (0%)");
    assert_eq!((&containers["TotalCount"], &containers["Active"]), (&"2".into(), &"1".into()));
    assert_eq!((&containers["Size"], &containers["Reclaimable"]), (&"9B".into(), &"4B (44%)".into()));
    assert_eq!((&volumes["TotalCount"], &volumes["Active"]), (&"3".into(), &"2".into()));
    assert_eq!((&volumes["Size"], &volumes["Reclaimable"]), (&"6B".into(), &"0B (0%)".into()));
    // The same layer under another configuration: a second image, and no more bytes.
    ebb.ok(["save", "-o", "busybox.tar", "busybox"]);
    ebb.ok(["create", "--name", "base", "busybox"]);
    ebb.ok(["export", "-o", "root.tar", "base"]);
    ebb.ok(["rm", "base"]);
    ebb.ok(["import", "root.tar", "flat:1"]);
    ebb.ok(["import", "--change", "CMD [\"sh\"]", "root.tar", "flat:2"]);
    let all = json(&ebb.ok(["system", "df", "-v", "--format", "json"]));
    let flat: Vec<&Value> =
        all["Images"].as_array().expect("a list").iter().filter(|image| image["Repository"] == "flat").collect();
    assert_eq!(flat.len(), 2);
    assert!(flat.iter().all(|image| image["UniqueSize"] == "0B" && image["SharedSize"] != "0B"), "{flat:?}");
    assert_eq!(row("Images")["TotalCount"], "3");
    ebb.ok(["rm", "-f", "runs", "ended"]);
    assert!(row("Images")["Reclaimable"].as_str().expect("text").ends_with("(100%)"));
    assert!(id.starts_with("sha256:"));
}

/// As Docker 20.10 (CLI 28.2) has it: what is written for programs is whole, the page is as wide as a screen.
#[test]
fn df_for_programs_has_whole_ids_commands_and_names() {
    let ebb = Ebb::new();
    let (long, words) = ("v".repeat(40), "w".repeat(40));
    let id = ebb.ok(["create", "--name", "box", "-v", &format!("{long}:/v"), "busybox", "echo", &words]);
    let image = ebb.ok(["images", "-q", "--no-trunc"]);
    let shown = json(&ebb.ok(["system", "df", "-v", "--format", "json"]));
    let container = &shown["Containers"][0];
    assert_eq!(container["ID"], id);
    assert_eq!(container["Command"], format!("\"echo {words}\""));
    assert_eq!(container["Mounts"], long);
    assert_eq!(shown["Images"][0]["ID"], image);
    let filled = ebb.ok(["system", "df", "-v", "--format", "{{range .Containers}}{{.ID}}{{end}}"]);
    assert_eq!(filled, id);
    let page = ebb.ok(["system", "df", "-v"]);
    assert!(page.contains(&format!("\n{}   busybox", &id[..12])) && !page.contains(&id[..13]), "{page}");
}

#[test]
fn a_label_s_column_has_dockers_header() {
    let ebb = Ebb::new();
    ebb.ok(["volume", "create", "--label", "x=1", "vase"]);
    let table = |template: &str| ebb.ok(["volume", "ls", "--format", &format!("table {template}")]);
    assert_eq!(table("{{.Name}}\\t{{.Label \"x\"}}"), "VOLUME NAME   x\nvase          1");
    let dotted = "{{.Label \"my-tier.db\"}}\\t{{.Label \"com.docker.compose_x\"}}|{{upper (.Label \"x\")}}";
    assert_eq!(table(dotted), "db        compose x|x\n          |1");
    ebb.ok(["create", "--label", "x=4", "--name", "box", "busybox"]);
    assert_eq!(
        ebb.ok(["ps", "-a", "--format", "table {{.Label \"x\"}}\\t{{.Names}}"]),
        "x         NAMES\n4         box"
    );
}

#[test]
fn df_has_dockers_tables() {
    let ebb = furnished();
    let table = ebb.ok(["system", "df"]);
    let first: Vec<&str> = table.lines().map(|line| line.split("  ").next().expect("a word")).collect();
    assert_eq!(first, ["TYPE", "Images", "Containers", "Local Volumes", "Build Cache"]);
    assert!(table.starts_with("TYPE            TOTAL     ACTIVE    SIZE"), "{table}");
    let page = ebb.ok(["system", "df", "-v"]);
    for line in [
        "Images space usage:",
        "REPOSITORY   TAG       IMAGE ID",
        "Containers space usage:",
        "Local Volumes space usage:",
        "site                                                               2         6B",
        "Build cache usage: 0B",
    ] {
        assert!(page.contains(line), "{line}\n{page}");
    }
    assert_eq!(ebb.ok(["system", "df", "--format", "{{.Type}}={{.TotalCount}}"]).lines().nth(1), Some("Containers=2"));
}

#[test]
fn system_prune_takes_what_nobody_uses_and_volumes_only_when_asked() {
    let ebb = furnished();
    let mut command = ebb.command();
    let asked = answer_to(command.args(["system", "prune", "--volumes"]), b"n\n");
    assert_eq!(asked.code, 0, "{}", asked.shown());
    assert!(asked.stdout.starts_with("WARNING! This will remove:\n  - all stopped containers\n"), "{}", asked.shown());
    assert!(
        asked.stdout.contains("  - all anonymous volumes not used by at least one container\n"),
        "{}",
        asked.shown()
    );
    assert!(asked.stdout.contains("  - all dangling images\n"), "{}", asked.shown());
    assert_eq!(ebb.ok(["ps", "-aq"]).lines().count(), 2);
    let kept = ebb.ok(["system", "prune", "-f", "--filter", "label=nobody"]);
    assert_eq!(kept, "Total reclaimed space: 0B");
    let ended = ebb.inspect("ended", "{{.Id}}");
    let first = ebb.ok(["system", "prune", "-f"]);
    assert!(first.starts_with(&format!("Deleted Containers:\n{ended}\n\n")), "{first}");
    assert!(first.ends_with("Total reclaimed space: 4B"), "{first}");
    assert_eq!(ebb.ok(["volume", "ls", "-q"]).lines().count(), 3, "no volume goes unasked");
    let second = ebb.ok(["system", "prune", "-f", "--volumes"]);
    assert!(second.starts_with("Deleted Volumes:\n"), "{second}");
    assert_eq!(ebb.ok(["volume", "ls", "-q"]), "site\nspare", "a named one never goes");
    ebb.ok(["rm", "-f", "runs"]);
    let third = ebb.ok(["system", "prune", "-af"]);
    assert!(third.contains("Deleted Images:\nuntagged: busybox:latest\ndeleted: sha256:"), "{third}");
    assert_eq!(ebb.ok(["images", "-q"]), "");
    assert!(ebb.fails(1, ["system", "prune", "-f", "--filter", "bogus=1"]).contains("invalid filter 'bogus'"));
}

#[test]
fn prune_filters_by_label() {
    let ebb = Ebb::empty();
    for (name, label) in [("old", "keep=yes"), ("new", "keep=no")] {
        ebb.ok(["volume", "create", "--label", label, name]);
    }
    let prune = |filter: &str| ebb.ok(["volume", "prune", "-af", "--filter", filter]);
    assert!(prune("label=keep=perhaps").starts_with("Total reclaimed space: "));
    assert!(prune("label!=keep=yes").contains("Deleted Volumes:\nnew\n"));
    assert_eq!(ebb.ok(["volume", "ls", "-q"]), "old");
}

#[test]
fn info_names_the_plugins_that_there_are() {
    let ebb = Ebb::empty();
    assert_eq!(ebb.ok(["system", "info", "-f", "{{json .Plugins.Volume}}"]), r#"["local"]"#);
    assert!(ebb.ok(["info"]).contains("Plugins:\n Volume: local\n Network: host none\n"));
}
