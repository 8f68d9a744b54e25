//! What Go would say.

use super::*;
use serde_json::json;

fn inspected() -> Value {
    json!({
        "Id": "9371d1148d65",
        "Args": ["-c", "sleep 1"],
        "State": {"Status": "running", "Running": true, "Pid": 42, "ExitCode": 0, "FinishedAt": "never"},
        "Name": "/hc",
        "RestartCount": 2,
        "ExecIDs": null,
        "HostConfig": {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2}, "Binds": null,
            "LogConfig": {"Type": "json-file", "Config": {}}},
        "Mounts": [{"Type": "volume", "Name": "v1", "Destination": "/a", "Driver": "local", "RW": true},
            {"Type": "bind", "Destination": "/b", "RW": false}],
        "Config": {"Env": ["A=1", "B=2"], "Labels": {"b": "2", "a.b": "1"}, "Cmd": null, "ExposedPorts": {"80/tcp": {}},
            "Volumes": null, "Text": "a<b&\"c\""},
    })
}

fn shows(template: &str, expected: &str) {
    assert_eq!(render(template, &inspected()).map_err(|error| error.message), Ok(expected.to_owned()), "{template}");
}

fn refuses(template: &str, expected: &str) {
    let message = render(template, &inspected()).map_err(|error| error.message).unwrap_err();
    assert_eq!(message, format!("template parsing error: template: {expected}"), "{template}");
}

#[test]
fn fields_are_followed_and_printed_as_go_prints_them() {
    shows("{{.State.Status}} {{.State.ExitCode}} {{.State.Running}}", "running 0 true");
    shows("{{.RestartCount}} {{.HostConfig.RestartPolicy}}", "2 {on-failure 2}");
    shows("{{.Config.Labels}} {{.Config.Env}}", "map[a.b:1 b:2] [A=1 B=2]");
    shows("{{.Config.Cmd}} {{.Config.Volumes}} {{.ExecIDs}}", "[] map[] []");
    shows("{{.Config.ExposedPorts}}", "map[80/tcp:{}]");
    shows("{{.HostConfig.LogConfig}}", "{json-file map[]}");
    shows("{{.Config.Labels.b}} {{.Config.Labels.nope}}", "2 <no value>");
    shows("{{.State.Health}} {{.State}}", "<nil> {running true 42 0 never <nil>}");
    shows("{{.Mounts}}", "[{volume v1 /a local true} {bind  /b  false}]");
    shows("plain text, {{/* nothing */}}and no braces", "plain text, and no braces");
    shows("{{ .Name }}\\t{{$.Id}}", "/hc\\t9371d1148d65");
}

#[test]
fn json_is_compact_and_escapes_no_html() {
    shows("{{json .Mounts}}", &inspected()["Mounts"].to_string());
    shows("{{json .Config.Text}}", "\"a<b&\\\"c\\\"\"");
    shows("{{json .Config.Labels}}", "{\"a.b\":\"1\",\"b\":\"2\"}");
    shows(
        "{{json .HostConfig.Binds}} {{.State | json}}",
        "null {\"Status\":\"running\",\"Running\":true,\"Pid\":42,\"ExitCode\":0,\"FinishedAt\":\"never\"}",
    );
}

#[test]
fn range_if_and_with_choose_and_repeat() {
    shows("{{range .Mounts}}{{.Type}}:{{.Destination}} {{end}}", "volume:/a bind:/b ");
    shows("{{range $i, $m := .Mounts}}{{$i}}={{$m.Destination}};{{end}}", "0=/a;1=/b;");
    shows("{{range $k, $v := .Config.Labels}}{{$k}}={{$v}},{{end}}", "a.b=1,b=2,");
    shows("{{range .ExecIDs}}x{{else}}none{{end}}", "none");
    shows("{{range $i, $e := .Config.Env}}{{if $i}}, {{end}}{{$e}}{{end}}", "A=1, B=2");
    shows("{{range .Config.Env}}{{if eq . \"B=2\"}}{{break}}{{end}}{{.}}{{end}}", "A=1");
    shows("{{range .Config.Env}}{{if eq . \"A=1\"}}{{continue}}{{end}}{{.}}{{end}}", "B=2");
    shows("{{if .State.Running}}up{{else}}down{{end}}", "up");
    shows("{{if eq .RestartCount 1}}one{{else if eq .RestartCount 2}}two{{else}}many{{end}}", "two");
    shows("{{if .State.Health}}{{.State.Health.Status}}{{else}}no check{{end}}", "no check");
    shows("{{with .State}}{{.Pid}} {{$.Name}}{{end}}{{with .ExecIDs}}x{{else}}y{{end}}", "42 /hcy");
    shows("{{with $x := 5}}{{$x}}{{end}}", "5");
    shows("{{range .Mounts}}{{.Name}}|{{end}}", "v1||");
}

#[test]
fn variables_live_in_their_block_and_can_be_assigned() {
    shows("{{$x := .Name}}{{$x}}", "/hc");
    shows("{{$x := 1}}{{range .Config.Env}}{{$x = .}}{{end}}{{$x}}", "B=2");
    shows("{{$x := 1}}{{if true}}{{$x := 2}}{{$x}}{{end}}{{$x}}", "21");
    refuses("{{$nope}}", ":1: undefined variable \"$nope\"");
    refuses("{{if true}}{{$x := 2}}{{end}}{{$x}}", ":1: undefined variable \"$x\"");
}

#[test]
fn functions_are_gos_and_dockers() {
    for (template, expected) in [
        ("{{upper .Name}}{{lower \"ABC\"}}{{title \"a few words\"}}", "/HCabcA Few Words"),
        ("{{join .Config.Env \", \"}}", "A=1, B=2"),
        ("{{split \"a:b:c\" \":\"}} {{index (split \"a:b:c\" \":\") 1}}", "[a b c] b"),
        ("{{index .Config.Labels \"a.b\"}}[{{index .Config.Labels \"zz\"}}]", "1[]"),
        ("{{index .Args 1}} {{(index .Mounts 0).Destination}}", "sleep 1 /a"),
        ("{{len .Args}} {{len .Name}} {{len .Config.Labels}} {{len .ExecIDs}}", "2 3 2 0"),
        ("{{slice .Id 0 4}} {{slice .Id 8}} {{slice .Args 1}}", "9371 8d65 [sleep 1]"),
        ("{{truncate .Id 3}}|{{truncate \"ab\" 5}}|{{pad \"x\" 1 2}}|{{pad \"\" 1 2}}", "937|ab| x  |"),
        ("{{print \"a\" 1 2 \"b\"}}{{print 1 2}}|{{println .Name 1}}", "a1 2b1 2|/hc 1\n"),
        (
            "{{printf \"%s=%d %q %5s|%-5s|%05d %v %t %%\" .Name 7 \"x\" \"r\" \"l\" 42 .Args true}}",
            "/hc=7 \"x\"     r|l    |00042 [-c sleep 1] true %",
        ),
        ("{{printf \"%x %X %.2f %c %T\" 255 255 1.5 65 \"\"}}", "ff FF 1.50 A string"),
        ("{{printf \"%d\" \"x\"}} {{printf \"%d\"}}", "%!d(string=x) %!d(MISSING)"),
        ("{{.Name | printf \"%s-%s\" \"a\" | upper}}", "A-/HC"),
        (
            "{{eq 1 1}} {{eq 1 2 1}} {{ne \"a\" \"b\"}} {{lt 1 2}} {{le 2 2}} {{gt 1 2}} {{ge \"b\" \"a\"}}",
            "true true true true true false true",
        ),
        ("{{and 1 0}} {{and 1 2}} {{or 0 \"x\"}} {{or 0 \"\"}} {{not 0}}", "0 2 x  true"),
        ("{{and .ExecIDs (index .ExecIDs 0)}}", "[]"),
        (
            "{{js \"a'<\\n\"}} {{html \"<a&'b'>\"}} {{urlquery \"a b/c\"}}",
            "a\\'\\u003C\\u000A &lt;a&amp;&#39;b&#39;&gt; a+b%2Fc",
        ),
        (
            "{{\"quoted\\t\\\"x\\\"\"}} {{`raw\\t`}} {{'a'}} {{0x10}} {{1.5}} {{-3}} {{1e3}}",
            "quoted\t\"x\" raw\\t 97 16 1.5 -3 1000",
        ),
        ("{{true}} {{(.State).Pid}} {{((.State.Pid))}}", "true 42 42"),
    ] {
        shows(template, expected);
    }
}

#[test]
fn trim_markers_take_the_space_beside_them() {
    shows("a  {{- 1 -}}  b", "a1b");
    shows("a\n{{- /* c */ -}}\nb", "ab");
    shows("a {{-3}} b", "a -3 b");
    shows("{{range .Config.Env -}}\n  {{.}}\n{{- end}}", "A=1B=2");
}

#[test]
fn what_is_not_there_is_an_error_that_says_where() {
    refuses("{{.Nope}}", ":1:2: executing \"\" at <.Nope>: map has no entry for key \"Nope\"");
    refuses("{{.State.Nope}}", ":1:8: executing \"\" at <.State.Nope>: map has no entry for key \"Nope\"");
    refuses("a\n {{.Nope}}", ":2:3: executing \"\" at <.Nope>: map has no entry for key \"Nope\"");
    refuses(
        "{{.State.Health.Status}}",
        ":1:8: executing \"\" at <.State.Health.Status>: map has no entry for key \"Health\"",
    );
    refuses(
        "{{.Name.First}}",
        ":1:7: executing \"\" at <.Name.First>: can't evaluate field First in type interface {}",
    );
    refuses("{{index .Args 5}}", ":1:2: executing \"\" at <index .Args 5>: error calling index: index out of range: 5");
    refuses("{{upper}}", ":1:2: executing \"\" at <upper>: wrong number of args for upper: want 1 got 0");
    refuses(
        "{{lt 1 \"a\"}}",
        ":1:2: executing \"\" at <lt 1 \"a\">: error calling lt: incompatible types for comparison",
    );
    refuses("{{.Name 1}}", ":1:2: executing \"\" at <.Name>: Name is not a method but has arguments");
    refuses("{{nil}}", ":1:2: executing \"\" at <nil>: nil is not a command");
    refuses("{{range .Name}}{{end}}", ":1:8: executing \"\" at <.Name>: range can't iterate over /hc");
}

#[test]
fn what_cannot_be_read_is_an_error_with_its_line() {
    refuses("{{nofunc .}}", ":1: function \"nofunc\" not defined");
    refuses("{{.Name", ":1: unclosed action");
    refuses("a\n{{if .Name}}x", ":2: unexpected EOF");
    refuses("{{end}}", ":1: unexpected {{end}}");
    refuses("{{}}", ":1: missing value for command");
    refuses("{{\"abc}}", ":1: unterminated quoted string");
    refuses("{{| .Name}}", ":1: unexpected \"|\" in command");
    refuses("{{if}}x{{end}}", ":1: missing value for if");
    refuses("{{nofunc {", ":1: function \"nofunc\" not defined");
    refuses("{{break}}", ":1: {{break}} outside {{range}}");
    refuses("{{/* x }}", ":1: unclosed comment");
    refuses("{{template \"x\"}}", ":1: {{template}} is not known to ebb");
    refuses("{{(.Name}}", ":1: unclosed left paren");
    refuses("{{.Name)}}", ":1: unexpected right paren");
}

#[test]
fn no_template_takes_the_program_down() {
    for template in [
        &"{{".repeat(2000),
        &format!("{{{{{}1{}}}}}", "(".repeat(5000), ")".repeat(5000)),
        &"{{if 1}}".repeat(5000),
        "{{.}}{{..}}",
        "{{. .}}",
        "{{$}}{{$.}}",
        "{{|}}",
        "{{'}}",
        "{{`}}",
        "{{-}}",
        "{{- -}}",
        "{{/**/}}",
        "{{/*",
        "{{1_000}}{{0x}}{{1..2}}{{+}}",
        "{{printf \"%999999999999999999999d\" 1}}",
        "{{printf \"%\"}}{{printf \"%*d\" 3 4}}",
        "{{pad \"x\" 99999999 1}}",
        "{{slice \"é\" 1}}",
        "{{index \"é\" 9}}",
        "{{\"\\xZZ\"}}{{\"\\u12\"}}",
        "{{range 3}}{{.}}{{end}}",
        "é{{.é}}",
        "{{range $a, $b, $c := .Args}}{{end}}",
        "{{$x := }}",
        "{{else}}",
        "{{if 1}}{{else}}{{else}}{{end}}",
        "}}",
        "{{\u{0}}}",
    ] {
        let _ = render(template, &inspected());
    }
}
