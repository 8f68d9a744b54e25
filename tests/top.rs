//! `top`: the processes of a container, whatever ps is asked for, and its own users.

mod common;

use common::layers::image;
use common::{Ebb, has_one_id};

/// A container whose user 101 is web.
fn running_as_web() -> Ebb {
    let ebb = Ebb::new();
    let passwd = "root:x:0:0:root:/root:/bin/sh\nweb:x:101:101::/:/bin/sh\nsecond:x:101:101::/:/bin/sh\n";
    image(&ebb, "named", &[&[("etc/passwd", Some(passwd), "")]]);
    ebb.ok(["run", "-d", "--name", "box", "-u", "web", "named", "sleep", "1000"]);
    ebb
}

fn rows(ebb: &Ebb, options: &[&str]) -> Vec<String> {
    let shown = ebb.ok([&["top", "box"], options].concat());
    shown.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn every_form_of_ps_shows_the_containers_processes() {
    let ebb = running_as_web();
    let pid = ebb.inspect("box", "{{.State.Pid}}");
    assert_eq!(rows(&ebb, &["-o", "pid,comm"]), [format!("{pid} sleep")]);
    assert_eq!(rows(&ebb, &["o", "pid,args"]), [format!("{pid} sleep 1000")]);
    for options in [&["-ef"][..], &["aux"], &["-e", "-o", "comm,pid"], &["-eo", "pid,comm"]] {
        let rows = rows(&ebb, options);
        assert!(rows.len() == 1 && rows[0].contains(&pid) && rows[0].contains("sleep"), "{options:?} {rows:?}");
    }
    // What has spaces in it comes last, or ps's words cannot be told apart.
    let said = ebb.fails(1, ["top", "box", "-o", "args,pid"]);
    assert!(said.contains("Unexpected pid '1000 ") && said.contains("COMMAND"), "{said}");
    assert!(ebb.fails(1, ["top", "box", "-o", "comm"]).contains("Couldn't find PID field in ps output"));
}

#[test]
fn users_are_the_containers() {
    let ebb = running_as_web();
    let pid = ebb.inspect("box", "{{.State.Pid}}");
    assert_eq!(rows(&ebb, &[])[0].split(' ').next(), Some("web"));
    assert_eq!(rows(&ebb, &["-o", "pid,uid,ruid"]), [format!("{pid} 101 101")]);
    let user = &rows(&ebb, &["-o", "user,pid"])[0];
    assert!([format!("web {pid}"), format!("101 {pid}")].contains(user), "{user}");
    if has_one_id() {
        return; // Nobody else can be in the container.
    }
    ebb.ok(["exec", "-d", "-u", "7", "box", "sleep", "999"]);
    let of_seven = |rows: &[String]| rows.iter().any(|row| row.starts_with("7 ") && row.ends_with("sleep 999"));
    // Its program may not have taken its place yet, when the command has returned.
    assert!((0..1000).any(|_| of_seven(&rows(&ebb, &[]))));
}
