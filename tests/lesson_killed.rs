//! A lesson whose processes are all killed at once leaves nothing that runs: the next command ends it, and says so.

mod common;

use common::Ebb;
use common::lesson::write;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::path::PathBuf;

/// Its second step waits for what the test writes into a pipe.
const LESSON: &str = "# T\n<!-- images: busybox -->\n```console\n$ ebb run -d --name box -v vase:/v busybox sleep 10000 > id\n\
                      $ cat \"$PIPE\"\n```\n";

fn lives(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().next()).is_some_and(|state| !"ZX".contains(state))
}

fn parent(pid: i32) -> i32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let parent = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)?.parse().ok());
    parent.unwrap_or(0)
}

/// The lesson's own store, once it has one.
fn classroom(ebb: &Ebb) -> PathBuf {
    let rooms = std::fs::read_dir(ebb.store().join("tmp")).expect("it").flatten();
    let mut rooms = rooms.filter(|entry| entry.file_name().to_string_lossy().starts_with("lesson."));
    rooms.next().expect("a classroom").path().join("store")
}

#[test]
fn the_next_lesson_ends_what_a_killed_one_left_running() {
    for words in [&["lesson"][..], &["create", "busybox", "true"]] {
        let ebb = Ebb::new();
        let lesson = write(&ebb, LESSON);
        let pipe = ebb.dir.join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
        let mut command = ebb.command();
        command.args(["lesson", "--check", lesson.to_str().expect("UTF-8")]).env("PIPE", &pipe);
        let mut played =
            command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().expect("it");
        // It can be opened as soon as somebody reads it.
        let written = loop {
            use std::os::unix::fs::OpenOptionsExt;
            match std::fs::File::options().write(true).custom_flags(libc::O_NONBLOCK).open(&pipe) {
                Ok(written) => break written,
                Err(_) => assert!(played.try_wait().expect("a child").is_none(), "the lesson comes to its second step"),
            }
        };
        let mut inside = ebb.command();
        inside.env("EBB_ROOT", classroom(&ebb)).args(["inspect", "-f", "{{.State.Pid}}", "box"]);
        let init: i32 = common::answer(&mut inside).stdout.trim().parse().expect("a pid");
        let supervisor = parent(init);
        let guard = i32::try_from(played.id()).expect("a pid");
        let pids = std::fs::read_dir("/proc").expect("it").flatten();
        let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        let children: Vec<i32> = pids.filter(|pid| parent(*pid) == guard).collect();
        for pid in [&[guard][..], &children].concat() {
            kill(Pid::from_raw(pid), Signal::SIGKILL).expect("killed");
        }
        played.wait().expect("it has ended");
        for child in children {
            while lives(child) {}
        }
        drop(written);
        assert!(lives(init), "nobody has ended it yet");
        let next = ebb.run(words);
        let said = next.stderr.matches("a lesson was killed, and 1 container of it that went on was ended now").count();
        assert!(next.code == 0 && said == 1, "{}", next.shown());
        assert!(!lives(init) && !lives(supervisor));
        assert_eq!(ebb.leftovers(), Vec::<String>::new());
        assert!(ebb.run(words).stderr.is_empty());
    }
}
