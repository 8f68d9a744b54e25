//! `ps` and `inspect`: what is shown of a container is what the kernel confirms, in Docker's words.

mod common;

use common::Ebb;
use common::record::{Record, StandIn, ago};

fn statuses(ebb: &Ebb) -> String {
    ebb.ok(["ps", "-a", "--format", "{{.Names}}: {{.Status}} / {{.State}}"])
}

#[test]
fn the_status_says_how_long_and_how_it_is() {
    let ebb = Ebb::empty();
    let process = StandIn::new();
    let running = |seconds, more| process.running(&ago(seconds), more);
    let health = |word| format!(r#", "Health": {{"Status": "{word}", "FailingStreak": 0, "Log": []}}"#);
    let ended = |code, seconds| {
        format!(r#""Status": "exited", "ExitCode": {code}, "StartedAt": "{0}", "FinishedAt": "{0}""#, ago(seconds))
    };
    let waits = format!(
        r#""Status": "restarting", "ExitCode": 1, "Supervisor": {}, "StartedAt": "{1}", "FinishedAt": "{1}""#,
        process.json(),
        ago(200)
    );
    let states = [
        ("made", r#""Status": "created""#.to_owned(), "Created / created"),
        ("up", running(75, ""), "Up About a minute / running"),
        ("well", running(130, &health("healthy")), "Up 2 minutes (healthy) / running"),
        ("ill", running(7300, &health("unhealthy")), "Up 2 hours (unhealthy) / running"),
        ("new", running(3 * 86400 + 60, &health("starting")), "Up 3 days (health: starting) / running"),
        ("ok", ended(0, 130), "Exited (0) 2 minutes ago / exited"),
        ("killed", ended(137, 4000), "Exited (137) About an hour ago / exited"),
        ("again", waits, "Restarting (1) 3 minutes ago / restarting"),
    ];
    for (index, (name, state, _)) in states.iter().enumerate() {
        let created = format!("2026-11-23T10:00:{:02}.5Z", 59 - index);
        Record::new(name).state(state).created(&created).put(&ebb, &format!("a{index}"));
    }
    let expected: Vec<_> = states.iter().map(|(name, _, words)| format!("{name}: {words}")).collect();
    assert_eq!(statuses(&ebb), expected.join("\n"));
}

#[test]
fn a_container_whose_process_is_another_or_gone_does_not_run() {
    let ebb = Ebb::empty();
    let process = StandIn::new();
    let started = ago(130);
    let other_start = format!(
        r#""Status": "running", "StartedAt": "{started}", "FinishedAt": "{started}", "Init": {{"Pid": {}, "StartTime": 1, "BootId": "x"}}"#,
        process.pid()
    );
    Record::new("reused-pid").state(&other_start).put(&ebb, "aa");
    let other_boot = process.running(&started, "").replace(r#""BootId": ""#, r#""BootId": "0"#);
    Record::new("rebooted").state(&other_boot).created("2026-11-22T00:00:00Z").put(&ebb, "bb");
    assert_eq!(
        statuses(&ebb),
        "reused-pid: Exited (137) 2 minutes ago / exited\nrebooted: Exited (137) 2 minutes ago / exited"
    );
    assert_eq!(ebb.ok(["ps", "-q"]), "");
    assert_eq!(ebb.ok(["inspect", "-f", "{{.State.Running}} {{.State.Pid}}", "rebooted"]), "false 0");
}

#[test]
fn the_table_is_dockers_and_no_trunc_shows_all_of_it() {
    let ebb = Ebb::empty();
    let id = Record::new("dd")
        .args(r#"["-c", "echo a; sleep 1000000000"]"#)
        .mounts(r#"[{"Type": "volume", "Name": "a-rather-long-name", "Destination": "/data", "Driver": "local", "RW": true}]"#)
        .created(&ago(200))
        .put(&ebb, "65abc365c547");
    assert_eq!(
        ebb.ok(["ps", "-a"]),
        "CONTAINER ID   IMAGE          COMMAND                  CREATED         STATUS    PORTS     NAMES\n\
         65abc365c547   a945d0fa12e4   \"sleep -c 'echo a; s…\"   3 minutes ago   Created             dd"
    );
    assert_eq!(ebb.ok(["ps", "-a", "--format", "{{.Mounts}}"]), "a-rather-long-…");
    let all = ebb.ok(["ps", "-a", "--no-trunc", "--format", "{{.ID}} {{.Command}} {{.Mounts}}"]);
    assert_eq!(all, format!("{id} \"sleep -c 'echo a; sleep 1000000000'\" a-rather-long-name"));
    assert_eq!(ebb.ok(["ps"]).lines().count(), 1, "a container that does not run is shown with -a only");
}

#[test]
fn the_newest_come_first_and_n_and_l_cut_the_rest_off() {
    let ebb = Ebb::empty();
    for (first, name, created) in
        [("aa", "old", "2026-01-01"), ("bb", "new", "2026-03-01"), ("cc", "mid", "2026-02-01")]
    {
        Record::new(name).created(&format!("{created}T00:00:00Z")).put(&ebb, first);
    }
    let names = |args: &[&str]| ebb.ok([&["ps", "--format", "{{.Names}}"], args].concat()).replace('\n', " ");
    assert_eq!(names(&["-a"]), "new mid old");
    assert_eq!(names(&["-n", "2"]), "new mid");
    assert_eq!(names(&["-l"]), "new");
    assert_eq!(names(&["-n", "-1"]), "");
    assert_eq!(names(&["-a", "-f", "before=new"]), "mid old");
    assert_eq!(names(&["-a", "-f", "since=old"]), "new mid");
    assert_eq!(names(&["-a", "-f", "since=old", "-f", "before=new"]), "mid");
    assert!(ebb.fails(1, ["ps", "-f", "before=nope"]).contains("No such container: nope"));
}

#[test]
fn filters_of_one_key_are_or_ed_and_of_two_keys_and_ed() {
    let ebb = Ebb::empty();
    let process = StandIn::new();
    let exited = |code| format!(r#""Status": "exited", "ExitCode": {code}, "FinishedAt": "{}""#, ago(60));
    Record::new("web-1")
        .state(&process.running(&ago(9), r#", "Health": {"Status": "healthy", "FailingStreak": 0, "Log": []}"#))
        .config(r#""Labels": {"tier": "front", "lesson": "3"}"#)
        .mounts(r#"[{"Type": "volume", "Name": "shared", "Destination": "/data", "RW": true}]"#)
        .created("2026-01-04T00:00:00Z")
        .put(&ebb, "aa");
    Record::new("web-2")
        .state(&exited(3))
        .config(r#""Labels": {"tier": "front"}"#)
        .created("2026-01-03T00:00:00Z")
        .put(&ebb, "bb");
    Record::new("db").state(&exited(0)).created("2026-01-02T00:00:00Z").put(&ebb, "cc");
    Record::new("db-new").created("2026-01-01T00:00:00Z").put(&ebb, "dd");
    let names = |filters: &[&str]| {
        let filters = filters.iter().flat_map(|filter| ["--filter", filter]);
        ebb.ok(["ps", "-a", "--format", "{{.Names}}"].into_iter().chain(filters)).replace('\n', " ")
    };
    assert_eq!(names(&["name=web"]), "web-1 web-2");
    assert_eq!(names(&["name=^db$"]), "db");
    assert_eq!(names(&["name=web-2", "name=db"]), "web-2 db db-new");
    assert_eq!(names(&["name=web", "status=exited"]), "web-2");
    assert_eq!(names(&["status=created", "status=running"]), "web-1 db-new");
    assert_eq!(names(&["exited=3"]), "web-2");
    assert_eq!(names(&["exited=0"]), "db");
    assert_eq!(names(&["label=tier"]), "web-1 web-2");
    assert_eq!(names(&["label=tier=front", "label=lesson=3"]), "web-1");
    assert_eq!(names(&["volume=shared"]), "web-1");
    assert_eq!(names(&["volume=/data"]), "web-1");
    assert_eq!(names(&["id=bb"]), "web-2");
    assert_eq!(names(&["health=healthy"]), "web-1");
    assert_eq!(names(&["health=none"]), "web-2 db db-new");
    assert_eq!(names(&["ancestor=nginx"]), "web-1 web-2 db db-new");
    assert_eq!(names(&["ancestor=busybox"]), "");
    assert_eq!(names(&["network=none", "name=db-new"]), "db-new");
    assert_eq!(ebb.ok(["ps", "--filter", "status=exited", "--format", "{{.Names}}"]), "web-2\ndb");
}

/// `docker ps -aq -f name=… | xargs docker rm`: what is matched is what is removed.
#[test]
fn a_name_is_asked_for_by_a_regular_expression() {
    let ebb = Ebb::empty();
    let long = "a".repeat(200);
    for (name, id) in [("web-1", "aa"), ("web-10", "bb"), ("web-2", "cc"), ("w.b", "dd"), (&long, "ee")] {
        Record::new(name).put(&ebb, id);
    }
    let names = |filter: &str| {
        let answer = ebb.run(["ps", "-a", "--format", "{{.Names}}", "--filter", filter]);
        assert_eq!(answer.code, 0, "{}", answer.shown());
        let mut names: Vec<_> = answer.stdout.lines().map(str::to_owned).collect();
        names.sort();
        (names.join(" "), answer.stderr)
    };
    for (filter, expected) in [
        ("name=^web-(1|10)$", "web-1 web-10"),
        ("name=^/web-[12]$", "web-1 web-2"),
        (r"name=web-\d{2}", "web-10"),
        ("name=(?i)WEB-2", "web-2"),
        (r"name=^w\.b$", "w.b"),
        ("name=^(a|aa)+$", &long),
        ("name=a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*z", ""),
        ("name=((a*)*)*z", ""),
        ("name=", &format!("{long} w.b web-1 web-10 web-2")),
        ("id=^a+", "web-1"),
    ] {
        assert_eq!(names(filter), (expected.to_owned(), String::new()), "{filter}");
    }
    for bad in ["name=web-(", "name=*", "name=a{100000}{100000}"] {
        let (found, warning) = names(bad);
        assert!(found.is_empty() && warning.contains("is no regular expression: "), "{bad}: {found} {warning}");
    }
}

#[test]
fn a_filter_that_is_not_known_is_refused() {
    let ebb = Ebb::empty();
    assert!(ebb.fails(1, ["ps", "-f", "bogus=1"]).contains("invalid filter 'bogus'"));
    assert!(ebb.fails(125, ["ps", "-f", "bogus"]).contains("bad format of filter (expected name=value)"));
    assert!(ebb.fails(1, ["ps", "-f", "status=asleep"]).contains("invalid filter 'status=asleep'"));
    assert!(ebb.fails(1, ["ps", "-f", "exited=soon"]).contains("invalid filter 'exited=soon'"));
}

#[test]
fn the_size_is_measured_only_where_it_is_asked_for() {
    let ebb = Ebb::empty();
    let id = Record::new("gg").put(&ebb, "aa");
    let upper = ebb.store().join("containers").join(&id).join("upper");
    std::fs::create_dir(&upper).expect("upper");
    std::fs::write(upper.join("a"), [0; 50]).expect("a file");
    std::fs::write(upper.join("b"), [0; 7]).expect("a file");
    std::fs::hard_link(upper.join("a"), upper.join("a-again")).expect("a link");
    assert_eq!(ebb.ok(["ps", "-a", "--format", "{{.Size}}"]), "57B");
    assert!(ebb.ok(["ps", "-as"]).ends_with("gg        57B"));
    assert!(!ebb.ok(["ps", "-a"]).contains("57B"));
    assert!(ebb.ok(["ps", "-a", "--format", "json"]).contains(r#""Size":"0B""#));
    assert_eq!(ebb.ok(["inspect", "-s", "-f", "{{.SizeRw}}", "gg"]), "57");
    assert_eq!(ebb.ok(["inspect", "-f", "{{.SizeRw}}", "gg"]), "<nil>");
}

#[test]
fn inspect_prints_dockers_tree() {
    let ebb = Ebb::empty();
    let process = StandIn::new();
    let id = Record::new("hc")
        .state(&process.running("2026-11-23T10:52:07.77778679Z", r#", "RestartCount": 2"#))
        .mounts(
            r#"[{"Type": "volume", "Name": "v", "Source": "/s/v/_data", "Destination": "/anon", "Driver": "local", "Mode": "z",
                 "RW": true, "Propagation": "", "Anonymous": true}]"#,
        )
        .put(&ebb, "9371d1148d65");
    let text = ebb.ok(["inspect", "hc"]);
    assert!(text.starts_with("[\n    {\n        \"Id\": \"9371d1148d65"), "{text}");
    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let tree = &json[0];
    let keys: Vec<_> = tree.as_object().expect("an object").keys().map(String::as_str).collect();
    let expected = "Id Created Path Args State Image ResolvConfPath HostnamePath HostsPath LogPath Name RestartCount Driver \
                    Platform MountLabel ProcessLabel AppArmorProfile ExecIDs HostConfig GraphDriver Mounts Config \
                    NetworkSettings";
    assert_eq!(keys, expected.split_whitespace().collect::<Vec<_>>());
    assert_eq!(tree["Name"], "/hc");
    assert_eq!(tree["State"]["Pid"], process.pid());
    assert_eq!(tree["State"]["Status"], "running");
    assert_eq!(tree["RestartCount"], 2);
    assert_eq!(
        tree["Mounts"].to_string(),
        r#"[{"Type":"volume","Name":"v","Source":"/s/v/_data","Destination":"/anon","Driver":"local","Mode":"z","RW":true,"Propagation":""}]"#
    );
    let graph = &tree["GraphDriver"]["Data"];
    let place = ebb.store().join("containers").join(&id);
    assert_eq!(graph["UpperDir"], place.join("upper").to_str().expect("UTF-8"));
    assert!(graph["LowerDir"].as_str().expect("text").contains("sha256-2:"), "the top layer first");
    assert_eq!(tree["HostConfig"]["Binds"], serde_json::Value::Null);
    assert_eq!(tree["HostConfig"]["RestartPolicy"]["Name"], "no");
}

#[test]
fn what_is_not_found_is_reported_after_what_was() {
    let ebb = Ebb::empty();
    Record::new("here").put(&ebb, "aa");
    for (args, stdout, stderr) in [
        (&["inspect", "nope"][..], "[]\n", "Error: No such object: nope\n"),
        (&["container", "inspect", "nope"], "[]\n", "ebb: No such container: nope\n"),
        (&["inspect", "--type", "container", "nope"], "[]\n", "ebb: No such container: nope\n"),
        (&["inspect", "-f", "{{.Name}}", "nope"], "\n", "Error: No such object: nope\n"),
        (&["inspect", "-f", "{{.Name}}", "nope", "here"], "/here\n", "Error: No such object: nope\n"),
        (&["inspect", "-f", "json", "nope"], "[]\n", "Error: No such object: nope\n"),
    ] {
        let answer = ebb.run(args);
        assert_eq!(
            (answer.code, answer.stdout.as_str(), answer.stderr.as_str()),
            (1, stdout, stderr),
            "{}",
            answer.shown()
        );
    }
    assert!(ebb.fails(1, ["inspect", "--type", "volume", "nope"]).contains("get nope: no such volume"));
    assert!(ebb.fails(1, ["inspect", "--type", "image", "nope"]).contains("No such image: nope"));
    assert!(ebb.fails(125, ["inspect", "--type", "network", "x"]).contains("container, image, volume"));
}

#[test]
fn a_prefix_of_an_id_serves_while_only_one_has_it_and_a_name_always_wins() {
    let ebb = Ebb::empty();
    Record::new("one").put(&ebb, "abc1");
    Record::new("two").put(&ebb, "abc2");
    Record::new("abc1").put(&ebb, "def");
    let name = |of: &str| ebb.ok(["inspect", "-f", "{{.Name}}", of]);
    assert_eq!(name("abc2"), "/two");
    assert_eq!(name("abc1"), "/abc1");
    assert_eq!(name("de"), "/abc1");
    assert!(ebb.fails(1, ["inspect", "abc"]).contains("multiple IDs found with provided prefix: abc"));
}

#[test]
fn a_container_that_is_half_gone_is_left_out() {
    let ebb = Ebb::empty();
    Record::new("whole").put(&ebb, "aa");
    let id = Record::new("half").put(&ebb, "bb");
    std::fs::remove_file(ebb.store().join("containers").join(id).join("container.json")).expect("removed");
    assert_eq!(ebb.ok(["ps", "-a", "--format", "{{.Names}}"]), "whole");
}

#[test]
fn a_state_that_a_power_cut_has_emptied_says_that_what_ran_has_ended() {
    let ebb = Ebb::empty();
    let id = Record::new("cut").state(r#"{"Status": "running"}"#).put(&ebb, "aa");
    std::fs::write(ebb.store().join("containers").join(id).join("state.json"), "").expect("emptied");
    assert_eq!(ebb.inspect("cut", "{{.State.Status}} {{.State.ExitCode}}"), "exited 137");
}

#[test]
fn the_words_follow_a_real_container_through_its_life() {
    let ebb = Ebb::new();
    let id = ebb.ok(["create", "--name", "dd", "--label", "a=b", "busybox", "sleep", "1000"]);
    let row = || ebb.ok(["ps", "-a", "--no-trunc", "--format", "{{.ID}} {{.Image}} {{.State}} {{.Label \"a\"}}"]);
    let state =
        || ebb.ok(["inspect", "-f", "{{.State.Running}} {{if .State.Pid}}pid{{end}} {{.State.ExitCode}}", "dd"]);
    assert_eq!((row(), state()), (format!("{id} busybox created b"), "false  0".into()));
    ebb.ok(["start", "dd"]);
    assert_eq!((row(), state()), (format!("{id} busybox running b"), "true pid 0".into()));
    assert!(ebb.ok(["ps", "--format", "{{.Status}}"]).starts_with("Up "));
    ebb.ok(["kill", "dd"]);
    ebb.ok(["wait", "dd"]);
    assert_eq!((row(), state()), (format!("{id} busybox exited b"), "false  137".into()));
    assert!(ebb.ok(["ps", "-a", "--format", "{{.Status}}"]).starts_with("Exited (137) "));
    assert_eq!(ebb.ok(["ps", "-aq", "-f", "ancestor=busybox"]), id[..12]);
    ebb.ok(["rm", "dd"]);
    assert_eq!(ebb.ok(["ps", "-aq"]), "");
}

#[test]
fn what_a_container_wrote_is_measured_whoever_it_belongs_to() {
    let ebb = Ebb::new();
    let write = "mkdir /d && echo -n 1234567 > /d/f && chown 1000:1000 /d /d/f && chmod 700 /d";
    ebb.ok(["run", "--name", "gg", "busybox", "sh", "-c", write]);
    let image: u64 = ebb.ok(["inspect", "-f", "{{.Size}}", "busybox"]).parse().expect("a number");
    assert_eq!(ebb.ok(["inspect", "-s", "-f", "{{.SizeRw}} {{.SizeRootFs}}", "gg"]), format!("7 {}", image + 7));
    assert!(ebb.ok(["ps", "-as", "--format", "{{.Size}}"]).starts_with("7B (virtual "));
}

#[test]
fn one_name_may_be_a_containers_or_an_images() {
    let ebb = Ebb::new();
    assert_eq!(ebb.ok(["inspect", "-f", "{{.RepoTags}}", "busybox"]), "[busybox:latest]");
    ebb.ok(["create", "--name", "busybox", "busybox"]);
    assert_eq!(ebb.ok(["inspect", "-f", "{{.Name}}", "busybox"]), "/busybox");
    assert_eq!(ebb.ok(["inspect", "--type", "image", "-f", "{{.RepoTags}}", "busybox"]), "[busybox:latest]");
}

#[test]
fn what_is_mounted_is_shown_by_its_name_or_its_source() {
    let ebb = Ebb::new();
    ebb.ok(["create", "--name", "mm", "-v", "myvolume:/data", "-v", "/etc/hostname:/h:ro", "--tmpfs", "/t", "busybox"]);
    assert_eq!(ebb.ok(["ps", "-a", "--format", "{{.Mounts}} {{.LocalVolumes}}"]), "myvolume,/etc/hostname 1");
    assert_eq!(ebb.ok(["ps", "-a", "-f", "volume=myvolume", "-f", "volume=/nope", "--format", "{{.Names}}"]), "mm");
    let mounts = "{{range .Mounts}}{{.Type}} {{.Name}} {{.Destination}} {{.RW}};{{end}}{{.HostConfig.Tmpfs}}";
    assert_eq!(ebb.ok(["inspect", "-f", mounts, "mm"]), "volume myvolume /data true;bind  /h false;map[/t:]");
    assert_eq!(ebb.ok(["inspect", "--type", "volume", "-f", "{{.Name}} {{.Scope}}", "myvolume"]), "myvolume local");
}
