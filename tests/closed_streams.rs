//! A command whose stdin or stdout is closed says so, where an archive would go there or come from there.

mod common;

use common::Ebb;

/// `ebb WORDS` as a shell runs it, with this redirection.
fn redirected(ebb: &Ebb, words: &str, redirection: &str) -> common::Answer {
    let mut command = std::process::Command::new("sh");
    command.args(["-c", &format!("exec \"$0\" {words} {redirection}"), env!("CARGO_BIN_EXE_ebb")]);
    command.env("EBB_ROOT", ebb.store()).current_dir(&ebb.dir);
    common::answer(&mut command)
}

/// A volume with one file, and a container.
fn furnished() -> Ebb {
    let ebb = Ebb::new();
    ebb.ok(["run", "--name", "box", "-v", "vol:/data", "busybox", "touch", "/data/kept"]);
    ebb
}

#[test]
fn no_archive_is_written_to_a_closed_stdout_with_success() {
    let ebb = furnished();
    for words in ["volume export vol", "volume export -o - vol", "save busybox", "export box", "cp box:/etc/passwd -"] {
        let answer = redirected(&ebb, words, ">&-");
        assert!(
            answer.code > 0 && answer.stderr.contains("write to stdout: bad file descriptor"),
            "{}",
            answer.shown()
        );
        assert_eq!(redirected(&ebb, words, ">/dev/null").code, 0, "{words}");
        assert_eq!(redirected(&ebb, words, "1<>/dev/null").code, 0, "{words}");
    }
}

/// It was said of the archive that its end is missing, and nothing of stdin.
#[test]
fn nothing_is_imported_from_a_closed_stdin() {
    let ebb = furnished();
    for words in ["volume import vol -", "load", "import - made", "cp - box:/tmp"] {
        let answer = redirected(&ebb, words, "<&-");
        assert!(answer.code > 0 && answer.stderr.contains("read stdin: bad file descriptor"), "{}", answer.shown());
    }
    assert_eq!(ebb.ok(["run", "--rm", "-v", "vol:/data", "busybox", "ls", "/data"]), "kept");
}

/// What has been done is done, whoever hears of it; as in Docker.
#[test]
fn a_command_that_does_something_does_it_with_all_three_closed() {
    let ebb = furnished();
    assert_eq!(redirected(&ebb, "rename box other", "<&- >&- 2>&-").code, 0);
    assert_eq!(redirected(&ebb, "rm other", "<&- >&- 2>&-").code, 0);
    assert_eq!(redirected(&ebb, "run --name again busybox true", "<&- >&- 2>&-").code, 0);
    assert_eq!(ebb.ok(["ps", "-a", "--format", "{{.Names}} {{.State}}"]), "again exited");
}
