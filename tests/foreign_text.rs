//! What an image or a container chose is shown in one way: on a terminal it moves no cursor, and nowhere it forges a line.

mod common;

use common::Ebb;
use common::layers::image_changed;
use common::terminal::Terminal;
use serde_json::json;

const NAMES: [&str; 3] = ["forged\nD sh", "red\u{1b}[31m", "csi\u{9b}2J\u{7f}"];

/// A container that has made files of such names, as an image could have them.
fn with_files() -> Ebb {
    let ebb = Ebb::new();
    ebb.ok([&["run", "--name", "box", "busybox", "touch"][..], &NAMES].concat());
    ebb
}

/// All that a command writes on a terminal, to its end.
fn on_a_terminal(ebb: &Ebb, words: &[&str]) -> String {
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "\"$@\"; echo the end", "sh", env!("CARGO_BIN_EXE_ebb")]).args(words);
    command.env("EBB_ROOT", ebb.store()).env("TERM", "xterm").current_dir(&ebb.dir);
    Terminal::start(&command).shows("the end\r\n").replace("\r\n", "\n")
}

#[test]
fn in_a_pipe_bytes_are_bytes_but_no_line_is_forged() {
    let ebb = with_files();
    let lines = ["A /csi\u{9b}2J\u{7f}", "A /forged\\nD sh", "A /red\u{1b}[31m"];
    assert_eq!(ebb.ok(["diff", "box"]), lines.join("\n"));
    assert_eq!(ebb.ok(["diff", "--format", "{{.Type}} {{print .Path}}", "box"]), lines.join("\n"));
    assert_eq!(
        ebb.ok(["diff", "--format", "{{$x := .}}{{$x.Type}} {{with $.Path}}{{.}}{{end}}", "box"]),
        lines.join("\n")
    );
    assert_eq!(ebb.ok(["diff", "--format", "{{.}}", "box"]).lines().count(), 3);
    // JSON has a way of its own, and what is asked about a path is answered of the path as it is.
    let paths: Vec<String> = ebb
        .ok(["diff", "--format", "{{json .Path}}", "box"])
        .lines()
        .chain(ebb.ok(["diff", "--format", "{{.Path | json}}", "box"]).lines())
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(paths[1], format!("/{}", NAMES[0]));
    assert_eq!(paths[..3], paths[3..]);
    assert_eq!(ebb.ok(["diff", "--format", "{{len .Path}}", "box"]).lines().nth(1), Some("12"));
}

#[test]
fn on_a_terminal_nothing_moves_the_cursor() {
    let ebb = with_files();
    let shown = "A /csi\\u{9b}2J\\u{7f}\nA /forged\\nD sh\nA /red\\u{1b}[31m\n";
    assert_eq!(on_a_terminal(&ebb, &["diff", "box"]), shown);
    assert_eq!(on_a_terminal(&ebb, &["diff", "--format", "table", "box"]).lines().skip(1).count(), 3);
    let json = on_a_terminal(&ebb, &["diff", "--format", "json", "box"]);
    assert!(json.contains(r#""/csi\u009b2J\u007f""#) && json.contains(r#""/red\u001b[31m""#), "{json:?}");
}

#[test]
fn an_images_history_and_words_are_shown_so_too() {
    let ebb = Ebb::new();
    image_changed(&ebb, "odd", &[], |config| {
        config["Labels"] = json!({"note": "one\ntwo\tthree\u{1b}[31m\u{9b}"});
        config["Volumes"] = json!({"/data\u{1b}[31m": {}});
    });
    let history = json!([{"created_by": "RUN\techo a\nb\u{1b}[2J", "comment": "x\ny", "empty_layer": true}]);
    history_of(&ebb, "told", &history);
    let row = ["history", "--no-trunc", "--format", "{{.CreatedBy}}|{{.Comment}}", "told"];
    assert_eq!(ebb.ok(row), "RUN echo a\\nb\u{1b}[2J|x\\ny");
    assert_eq!(on_a_terminal(&ebb, &row), "RUN echo a\\nb\\u{1b}[2J|x\\ny\n");
    assert_eq!(ebb.ok(["history", "told"]).lines().count(), 2);
    // `inspect -f` is asked for a value, and a value may have lines.
    let label = ["inspect", "-f", "{{.Config.Labels.note}}", "odd"];
    assert_eq!(ebb.ok(label), "one\ntwo\tthree\u{1b}[31m\u{9b}");
    assert_eq!(
        on_a_terminal(&ebb, &label).replace('\t', " ").split_whitespace().last(),
        Some("three\\u{1b}[31m\\u{9b}")
    );
    let all = on_a_terminal(&ebb, &["inspect", "odd"]);
    assert!(!all.contains(['\u{1b}', '\u{9b}']) && all.contains("\\u001b[31m\\u009b"), "{all:?}");
    ebb.ok(["create", "--name", "box", "odd"]);
    let rows = ebb.ok(["ps", "-a", "--format", "{{.Names}} {{.Label \"note\"}} {{.Labels}}"]);
    assert_eq!(rows.lines().count(), 1, "{rows}");
    let warned = ebb.run(["run", "--rm", "-v", "vol:/other", "odd", "true"]);
    assert!(warned.stderr.contains("keeps data in /data\\u{1b}[31m"), "{}", warned.shown());
}

/// Loads an image of no layer, with this history.
fn history_of(ebb: &Ebb, name: &str, history: &serde_json::Value) {
    let config = json!({"architecture": "amd64", "os": "linux", "config": {}, "history": history,
        "rootfs": {"type": "layers", "diff_ids": []}});
    let manifest = json!([{"Config": "config.json", "RepoTags": [format!("{name}:latest")], "Layers": []}]);
    let mut archive = tar::Builder::new(Vec::new());
    for (member, text) in [("config.json", config.to_string()), ("manifest.json", manifest.to_string())] {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, member, text.as_bytes()).expect("written");
    }
    let answer = ebb.run_with(&archive.into_inner().expect("whole"), ["load", "-q"]);
    assert_eq!(answer.code, 0, "{}", answer.shown());
}
