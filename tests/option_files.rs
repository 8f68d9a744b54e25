//! A file that an option names is read as Docker reads it, and no further than its bound.

mod common;

use common::Ebb;

fn write(ebb: &Ebb, name: &str, text: impl AsRef<[u8]>) {
    std::fs::write(ebb.dir.join(name), text).expect("written");
}

#[test]
fn the_lines_of_an_env_file_are_what_docker_takes_them_for() {
    let ebb = Ebb::new();
    let text =
        "\u{feff}FIRST=1\n\n  # a comment\n \tINDENTED= v w \r\nEMPTY=\nQUOTED=\"q\"\nGIVEN\nABSENT\nEQUALS=a=b\n";
    write(&ebb, "vars", text);
    let mut command = ebb.command();
    command.args(["create", "--name", "box", "--env-file", "vars", "-e", "FIRST=2", "busybox"]).env("GIVEN", "here");
    let answer = common::answer(&mut command);
    assert_eq!(answer.code, 0, "{}", answer.shown());
    assert_eq!(
        ebb.inspect("box", "{{json .Config.Env}}"),
        r#"["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin","FIRST=2","INDENTED= v w ","EMPTY=","QUOTED=\"q\"","GIVEN=here","EQUALS=a=b"]"#
    );
}

/// Each would become a variable that no shell can name, or one that is not there.
#[test]
fn a_line_that_is_no_variable_is_refused_with_its_number_and_changes_nothing() {
    let ebb = Ebb::new();
    ebb.ok(["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
    for (text, wanted) in [
        ("A=1\nB C=2\n", "variable 'B C' contains whitespaces"),
        ("A=1\nB\t=2\n", "variable 'B\t' contains whitespaces"),
        ("A=1\nB C\n", "variable 'B C' contains whitespaces"),
        ("A=1\n=2\n", "no variable name on line '=2'"),
        ("A=1\nB=x\0y\n", "variable 'B' contains a NUL character"),
    ] {
        write(&ebb, "bad", text);
        let wanted = wanted.replace('\t', "\\t");
        for (code, words) in [
            (125, &["create", "--name", "no", "--env-file", "bad", "busybox"][..]),
            (125, &["create", "--name", "no", "--label-file", "bad", "busybox"]),
            (1, &["exec", "--env-file", "bad", "box", "true"]),
        ] {
            let said = ebb.fails(code, words);
            assert!(said.contains(&wanted) && said.contains("line 2 of bad"), "{words:?} {text:?}: {said}");
        }
    }
    write(&ebb, "bad", b"A=1\nB=\xff\n");
    let said = ebb.fails(125, ["create", "--name", "no", "--env-file", "bad", "busybox"]);
    assert!(said.contains("open bad: invalid utf8 bytes at line 2"), "{said}");
    assert_eq!(ebb.ok(["ps", "-a", "--format", "{{.Names}}"]), "box");
}

/// `--env-file /dev/zero` took five gigabytes.
#[test]
fn a_file_that_never_ends_is_read_to_its_bound() {
    let ebb = Ebb::new();
    write(&ebb, "long.md", vec![b'x'; 17 << 20]);
    std::fs::create_dir(ebb.dir.join("bundle")).expect("made");
    std::os::unix::fs::symlink("/dev/zero", ebb.dir.join("bundle/config.json")).expect("a link");
    for words in [
        &["create", "--env-file", "/dev/zero", "busybox"][..],
        &["create", "--label-file", "/dev/zero", "busybox"],
        &["run", "--rm", "--security-opt", "seccomp=/dev/zero", "busybox", "true"],
        &["oci", "run", "-b", "bundle", "endless"],
        &["lesson", "./long.md"],
    ] {
        let mut limited = std::process::Command::new("prlimit");
        limited.args(["--as=536870912", env!("CARGO_BIN_EXE_ebb")]).args(words);
        limited.env("EBB_ROOT", ebb.store()).current_dir(&ebb.dir);
        let answer = common::answer(&mut limited);
        assert!(answer.code > 0 && answer.code < 128, "{}", answer.shown());
        assert!(answer.stderr.contains("it has more than 16 MiB"), "{}", answer.shown());
    }
    assert_eq!(ebb.ok(["ps", "-aq"]), "");
}
