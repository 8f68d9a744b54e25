//! `--format`: Docker's Go templates, `table …` and `json`, wherever something is listed or inspected.

mod common;

use common::Ebb;
use common::record::Record;

fn with_container() -> (Ebb, String) {
    let ebb = Ebb::empty();
    let id = Record::new("web")
        .config(r#""Env": ["A=1", "B=2"], "Labels": {"b": "2", "a.b": "x,y"}"#)
        .host_config(r#""NetworkMode": "none", "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2}"#)
        .mounts(
            r#"[{"Type": "volume", "Name": "v1", "Source": "/s/v1/_data", "Destination": "/a", "Driver": "local", "RW": true},
                {"Type": "bind", "Source": "/h", "Destination": "/b", "RW": false, "Propagation": "rprivate"}]"#,
        )
        .put(&ebb, "9371d1148d65");
    (ebb, id)
}

#[test]
fn inspect_fills_a_template_as_docker_does() {
    let (ebb, id) = with_container();
    for (template, expected) in [
        ("{{.Id}}", id.as_str()),
        ("{{.State.Status}} {{.State.ExitCode}} {{.State.OOMKilled}}", "created 0 false"),
        ("{{.RestartCount}} {{.HostConfig.RestartPolicy}}", "0 {on-failure 2}"),
        ("{{.Config.Labels}} {{.Config.Env}} {{.HostConfig.Binds}}", "map[a.b:x,y b:2] [A=1 B=2] []"),
        ("{{json .Config.Env}}", r#"["A=1","B=2"]"#),
        ("{{range .Mounts}}{{.Type}}:{{.Destination}}:{{.Name}} {{end}}", "volume:/a:v1 bind:/b: "),
        ("{{range $k, $v := .Config.Labels}}{{$k}}={{$v}};{{end}}", "a.b=x,y;b=2;"),
        (r#"{{index .Config.Labels "a.b"}} {{(index .Mounts 1).Source}}"#, "x,y /h"),
        (r#"{{if eq .State.Status "created"}}new{{else}}old{{end}}"#, "new"),
        ("{{if .State.Health}}checked{{else}}unchecked{{end}}", "unchecked"),
        (r#"{{join .Config.Env ","}} {{.Name | upper}} {{len .Mounts}}"#, "A=1,B=2 /WEB 2"),
        ("{{range $n, $_ := .NetworkSettings.Networks}}{{$n}}{{end}}", "none"),
    ] {
        assert_eq!(ebb.ok(["inspect", "-f", template, "web"]), expected, "{template}");
    }
}

#[test]
fn a_backslash_in_an_inspect_template_stays_one() {
    let (ebb, _) = with_container();
    assert_eq!(ebb.ok(["inspect", "-f", r"{{.Name}}\t", "web"]), r"/web\t");
    assert_eq!(ebb.ok(["inspect", "-f", r#"{{.Name}}{{"\t"}}x"#, "web"]), "/web\tx");
}

#[test]
fn every_named_object_gets_its_own_line() {
    let (ebb, _) = with_container();
    Record::new("other").put(&ebb, "abcdef");
    assert_eq!(ebb.ok(["inspect", "-f", "{{.Name}}", "web", "other", "web"]), "/web\n/other\n/web");
}

#[test]
fn a_key_that_does_not_exist_is_an_error_that_says_where() {
    let (ebb, _) = with_container();
    let answer = ebb.run(["inspect", "-f", "{{.State.Nope}}", "web"]);
    assert_eq!((answer.code, answer.stdout.as_str()), (1, "\n"), "{}", answer.shown());
    let expected =
        "template parsing error: template: :1:8: executing \"\" at <.State.Nope>: map has no entry for key \"Nope\"";
    assert!(answer.stderr.contains(expected), "{}", answer.shown());
}

#[test]
fn a_template_that_cannot_be_read_is_refused_before_anything_is_looked_for() {
    let (ebb, _) = with_container();
    for (template, expected) in [
        ("{{.Name", "template parsing error: template: :1: unclosed action"),
        ("{{nofunc .}}", "template parsing error: template: :1: function \"nofunc\" not defined"),
        ("{{if .Name}}", "template parsing error: template: :1: unexpected EOF"),
    ] {
        let answer = ebb.run(["inspect", "-f", template, "web"]);
        assert_eq!((answer.code, answer.stdout.as_str()), (64, ""), "{}", answer.shown());
        assert!(answer.stderr.contains(expected), "{}", answer.shown());
    }
}

#[test]
fn a_list_takes_a_template_a_table_and_json() {
    let (ebb, id) = with_container();
    let ps = |format: &str| ebb.ok(["ps", "-a", "--format", format]);
    assert_eq!(ps(r"{{.Names}}\t{{.Image}}"), format!("web\t{}", &"a945d0fa12e4"));
    assert_eq!(
        ps(r"table {{.Names}}\t{{.Mounts}}\t{{.LocalVolumes}}"),
        "NAMES     MOUNTS    LOCAL VOLUMES\nweb       v1,/h     1"
    );
    assert_eq!(ps(r#"{{.Label "a.b"}}"#), "x,y");
    assert_eq!(ps("{{json .Names}} {{lower .State}}"), "\"web\" created");
    let json = ps("json");
    assert!(json.starts_with(r#"{"Command":"\"sleep 1000\"","CreatedAt":"2026-11-23 "#), "{json}");
    assert!(json.contains(&format!(r#""ID":"{}""#, &id[..12])) && json.ends_with(r#""Status":"Created"}"#), "{json}");
    assert_eq!(ebb.ok(["ps", "-aq"]), id[..12]);
}

#[test]
fn a_list_names_the_fields_that_it_has() {
    let ebb = Ebb::empty();
    let error = ebb.fails(1, ["ps", "--format", "{{.Nope}}"]);
    assert!(error.contains("can't evaluate field Nope") && error.contains(".Names"), "{error}");
}

#[test]
fn info_and_version_answer_templates_too() {
    let ebb = Ebb::empty();
    assert_eq!(ebb.ok(["version", "-f", "{{.Server.Version}}"]), env!("CARGO_PKG_VERSION"));
    assert_eq!(ebb.ok(["info", "-f", "{{.Containers}} {{.OSType}}"]), "0 linux");
    let json: serde_json::Value = serde_json::from_str(&ebb.ok(["info", "-f", "json"])).expect("JSON");
    assert_eq!(json["DockerRootDir"], ebb.store().to_str().expect("UTF-8"));
}

#[test]
fn gos_names_of_fields_are_known_beside_those_of_the_json() {
    let ebb = Ebb::new();
    let limits = ["--cpus", "0.5", "--cpu-shares", "7", "--dns", "::1"];
    ebb.ok([&["create", "--name", "box", "-v", "vol:/data"], &limits[..], &["busybox"]].concat());
    let id = ebb.inspect("box", "{{.Id}}");
    let image = ebb.ok(["image", "inspect", "-f", "{{.Id}}", "busybox"]);
    for (name, template, expected) in [
        ("box", "{{.ID}}", id.as_str()),
        ("box", "{{.HostConfig.NanoCPUs}} {{.HostConfig.CPUShares}} {{.HostConfig.DNS}}", "500000000 7 [::1]"),
        ("box", "{{.HostConfig.NanoCpus}} {{.HostConfig.CpuShares}} {{.HostConfig.Dns}}", "500000000 7 [::1]"),
        ("box", "{{with .HostConfig}}{{.DNSSearch}}{{.DNSOptions}}{{end}}", "[][]"),
        ("box", "{{.HostConfig.Resources.CPUShares}} {{.ContainerJSONBase.ID}}", &format!("7 {id}")),
        ("busybox", "{{.ID}}", &image),
        ("vol", "{{.Name}} {{.Driver}}", "vol local"),
    ] {
        assert_eq!(ebb.ok(["inspect", "-f", template, name]), expected, "{template}");
    }
    let said = ebb.fails(1, ["inspect", "-f", "{{.iD}}", "box"]);
    assert!(said.contains("map has no entry for key \"iD\""), "{said}");
}

/// A template is typed by a person, and often made by a program. Whatever it says, the process ends with an answer: it is
/// not aborted, it does not fill the memory, and it does not run for ever.
#[test]
fn no_template_aborts_fills_the_memory_or_runs_for_ever() {
    use std::os::unix::process::CommandExt;
    let (ebb, _) = with_container();
    let doubling = r#"{{$x := "aaaaaaaa"}}{{range 90}}{{$x = print $x $x}}{{end}}"#;
    let letters = format!(r#"{{{{$x := printf "%1000000d" 1}}}}{{{{$l := split $x ""}}}}{{{{join $l {}}}}}"#, "$x");
    let list = r#"{{printf "%1000000s" (split (printf "%100000d" 1) "")}}"#;
    for template in [
        doubling,
        &letters,
        list,
        &r#"{{printf "%1000000d" 1}}"#.repeat(4000),
        &format!("{{{{printf \"{}\" {}}}}}", "%1000000d".repeat(2000), "1 ".repeat(2000)),
        r#"{{range 1000000}}{{range 1000000}}{{range 1000000}}{{end}}{{end}}{{end}}"#,
        r#"{{range 1000000000}}{{$.Id}}{{end}}"#,
        &format!("{}{}", "{{range 1000000}}".repeat(90), "{{end}}".repeat(90)),
        &format!("{{{{$x := pad \"a\" 1000000 1000000}}}}{{{{print {}}}}}", "$x ".repeat(5000)),
    ] {
        let mut command = ebb.command();
        command.args(["inspect", "-f", template, "web"]);
        // SAFETY: setrlimit(2) may be called between fork and exec. 1 GiB holds what an answer may take, many times.
        unsafe {
            command.pre_exec(|| {
                nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_AS, 1 << 30, 1 << 30)?;
                Ok(())
            })
        };
        let answer = common::answer(&mut command);
        let shown = &template[..template.len().min(100)];
        assert_eq!(answer.code, 1, "{shown}: {}", answer.stderr);
        assert!(answer.stderr.contains("more than 64 MiB"), "{shown}: {}", answer.stderr);
    }
}

#[test]
fn widths_and_precisions_are_gos_however_large() {
    let (ebb, _) = with_container();
    for (template, length, tail) in [
        (r#"{{printf "%.65536f" 1.0}}"#, 65_538, "00"),
        (r#"{{printf "%.*f" 65536 1.5}}"#, 65_538, "00"),
        (r#"{{printf "%.1000000f" 0.1}}"#, 1_000_002, "00"),
        (r#"{{printf "%1000000.3f" 0.5}}"#, 1_000_000, " 0.500"),
        (r#"{{printf "%*d" -6 7}}"#, 6, "7     "),
        (r#"{{printf "%.*f" -3 0.5}}"#, 8, "0.500000"),
        (r#"{{printf "%.99999999f" 0.5}}"#, 29, "%!(NOVERB)%!(EXTRA float64=0.5)"),
        (r#"{{printf "%*d" 1000001 7}}"#, 13, "%!(BADWIDTH)7"),
        (r#"{{printf "%.*f" 1000001 0.5}}"#, 20, "%!(BADPREC)0.500000"),
        (r#"{{printf "%.*d" "x" 7}}"#, 12, "%!(BADPREC)7"),
    ] {
        let shown = ebb.ok(["inspect", "-f", template, "web"]);
        let end = &shown[shown.len().saturating_sub(tail.len())..];
        assert!(end == tail && (shown.len() == length || tail.contains('!')), "{template}: {} {end}", shown.len());
    }
}

/// What a row holds, a container or an image may have chosen.
#[test]
fn a_table_of_many_columns_or_wide_cells_is_laid_out() {
    let (ebb, _) = with_container();
    let table = |columns: &str| ebb.run(["ps", "-a", "--format", &format!("table {columns}")]);
    let many = table(&format!("{{{{.Names}}}}{}x", "\t".repeat(30_000)));
    assert_eq!((many.code, many.stdout.lines().count()), (0, 2), "{}", many.stderr);
    assert!(many.stdout.lines().all(|line| line.len() == 300_001));
    let wide = table("{{printf \"%100000d\" 1}}\t{{.Names}}");
    assert!(wide.stdout.lines().all(|line| line.starts_with("   ") && line.len() > 100_003), "{}", wide.stderr);
}
