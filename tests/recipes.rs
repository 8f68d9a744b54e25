//! Images that Ebb makes by itself: offline from the host's programs, from the distribution's packages, and without
//! leaving anything half-made.

mod common;

use common::{Answer, Ebb, answer, exit_code, is_root, skip};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

// --- busybox -----------------------------------------------------------------------------------------------------------

#[test]
fn busybox_is_made_without_a_network_and_its_programs_run() {
    let ebb = Ebb::empty();
    let mut pull = Command::new("unshare");
    // Only root may leave the host's network without a user namespace of its own.
    pull.arg(if is_root() { "-n" } else { "-rn" }).arg(env!("CARGO_BIN_EXE_ebb")).args(["pull", "busybox"]);
    let made = answer(pull.env("EBB_ROOT", ebb.store()));
    assert_eq!(made.code, 0, "{}", made.shown());
    let seen =
        ebb.ok(["run", "--rm", "busybox", "sh", "-c", "echo one > /tmp/f && ls -la /tmp && cat /tmp/f && id -u"]);
    assert!(seen.contains(" f\n") && seen.ends_with("one\n0"), "{seen}");
}

#[test]
fn run_makes_a_missing_image_and_says_what_it_does() {
    let ebb = Ebb::empty();
    let ran = ebb.run(["run", "--rm", "docker.io/library/busybox", "echo", "from inside"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "from inside\n"), "{}", ran.shown());
    let mut said = ran.stderr.lines();
    assert_eq!(said.next(), Some("Unable to find image 'busybox:latest' locally"), "{}", ran.shown());
    assert_eq!(said.next(), Some("Making busybox:latest as images/busybox/recipe.sh says"), "{}", ran.shown());
    let again = ebb.run(["run", "--rm", "busybox", "true"]);
    assert_eq!((again.code, again.stderr.as_str()), (0, ""), "{}", again.shown());
}

#[test]
fn the_same_programs_make_the_same_image() {
    let ebb = Ebb::empty();
    let first = ebb.ok(["pull", "busybox"]);
    let lines = ["Using default tag: latest", "Status: Downloaded newer image for busybox:latest"];
    assert_eq!(first, [lines[0], lines[1], "docker.io/library/busybox:latest"].join("\n"));
    let again = ebb.ok(["pull", "busybox:latest"]);
    assert_eq!(again, "Status: Image is up to date for busybox:latest\ndocker.io/library/busybox:latest");
    assert_eq!(ebb.ok(["pull", "-q", "busybox"]), "docker.io/library/busybox:latest");
    assert_eq!(ebb.ok(["images", "-q"]).lines().count(), 1);
}

#[test]
fn two_that_make_one_image_at_once_both_get_it() {
    let ebb = Ebb::empty();
    let both: Vec<_> = (0..2).map(|_| ebb.spawn(["run", "--rm", "busybox", "echo", "hello"])).collect();
    for child in both {
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(output.stdout, b"hello\n", "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(ebb.ok(["images", "-q"]).lines().count(), 1);
}

#[test]
fn a_name_that_no_recipe_makes_is_refused_with_what_there_is() {
    let ebb = Ebb::empty();
    let refused = ebb.fails(125, ["run", "postgres", "true"]);
    assert!(refused.starts_with("Unable to find image 'postgres:latest' locally\n"), "{refused}");
    assert!(refused.contains("no recipe makes postgres") && refused.contains("busybox and nginx"), "{refused}");
    assert!(ebb.fails(1, ["pull", "nginx:1.25"]).contains("no recipe makes nginx:1.25"));
    let never = ebb.fails(125, ["run", "--pull", "never", "busybox", "true"]);
    assert!(never.contains("No such image: busybox"), "{never}");
    assert_eq!(ebb.ok(["images", "-q"]), "");
}

// --- nginx, real -------------------------------------------------------------------------------------------------------

#[test]
fn nginx_serves_its_page_and_logs_to_the_container() {
    let Some(ebb) = with_nginx() else { return };
    ebb.ok(["run", "-d", "--name", "web", "nginx"]);
    let page = ebb.ok(["exec", "web", "curl", "-sS", "--retry", "9", "--retry-connrefused", "http://localhost/"]);
    assert!(page.contains("<h1>nginx answers from inside a container</h1>"), "{page}");
    ebb.ok(["stop", "web"]);
    let logs = ebb.run(["logs", "web"]);
    assert!(logs.stdout.contains("\"GET / HTTP/1.1\" 200 "), "{}", logs.shown());
    assert!(logs.stderr.contains("start worker process"), "{}", logs.shown());
    // SIGQUIT is nginx's own way to end: requests are finished, and the code is 0.
    assert_eq!(ebb.ok(["inspect", "-f", "{{.State.ExitCode}}", "web"]), "0");
}

#[test]
fn nginx_is_laid_out_as_on_dockers_hub() {
    let Some(ebb) = with_nginx() else { return };
    let config = ebb.ok(["image", "inspect", "-f", "{{json .Config}}", "nginx"]);
    for part in [r#""80/tcp":{}"#, r#""StopSignal":"SIGQUIT""#, r#"["nginx","-g","daemon off;"]"#, "NGINX_VERSION="] {
        assert!(config.contains(part), "{part} in {config}");
    }
    let script = "ls /usr/share/nginx/html /etc/nginx/conf.d; readlink /var/log/nginx/access.log /var/log/nginx/error.log;
        id -u nginx; stat -c '%U:%G %a' /usr/share/nginx/html /tmp; nginx -t 2>&1; bash -c 'echo $BASH_VERSION' | cut -c1";
    let seen = ebb.ok(["run", "--rm", "--network", "none", "nginx", "sh", "-c", script]);
    for part in
        ["default.conf", "50x.html", "index.html", "/dev/stdout\n/dev/stderr\n101\n", "root:root 755\nroot:root 1777"]
    {
        assert!(seen.contains(part), "{part} in {seen}");
    }
    assert!(seen.contains("test is successful\n5"), "{seen}");
}

#[test]
fn nothing_is_installed_or_changed_on_the_host() {
    let before = installed();
    let Some(_) = with_nginx() else { return };
    assert_eq!(installed(), before);
}

// --- nginx, and nobody answers -------------------------------------------------------------------------------------------

#[test]
fn without_a_registry_there_is_still_an_nginx_that_says_what_it_is() {
    let ebb = Ebb::empty();
    let apt = FakeApt::new(&ebb, "exit 100");
    let pulled = answer(apt.command(&ebb).args(["pull", "nginx"]));
    assert_eq!(pulled.code, 0, "{}", pulled.shown());
    assert!(pulled.stderr.contains("no package registry could be reached"), "{}", pulled.shown());
    let real = ebb.run(["run", "--rm", "nginx", "nginx", "-v"]).stderr.contains("nginx version: ");
    assert_ne!(real, pulled.stderr.contains("THIS IS NOT NGINX"), "{}", pulled.shown());
    ebb.ok(["run", "-d", "--name", "web", "nginx"]);
    ebb.ok([
        "exec",
        "web",
        "sh",
        "-c",
        "echo hi > /usr/share/nginx/html/hi.html && cat /etc/nginx/nginx.conf > /dev/null",
    ]);
    ebb.ok(["stop", "web"]);
    assert_eq!(ebb.ok(["inspect", "-f", "{{.State.ExitCode}}", "web"]), "0");
}

#[test]
fn a_registry_that_fails_half_way_leaves_nothing_and_its_words_are_told() {
    let ebb = Ebb::empty();
    let apt = FakeApt::new(&ebb, "case \"$*\" in *install*) echo 'E: the mirror went away' >&2; exit 100;; esac");
    let pulled = answer(apt.command(&ebb).args(["pull", "nginx"]));
    assert_eq!(pulled.code, 1, "{}", pulled.shown());
    assert!(pulled.stderr.contains("make the image nginx:latest: E: the mirror went away"), "{}", pulled.shown());
    assert_eq!(left_over(&ebb), Vec::<PathBuf>::new());
}

#[test]
fn a_signal_ends_the_making_and_takes_away_what_was_made() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let ebb = Ebb::empty();
        let (code, fifo) = kill_while_downloading(&ebb, signal);
        assert_eq!(code, 128 + signal as i32);
        assert_ended(fifo);
        assert_eq!(left_over(&ebb), Vec::<PathBuf>::new(), "{signal}");
    }
}

#[test]
fn a_killed_making_ends_its_downloads_and_the_next_one_clears_up() {
    let ebb = Ebb::empty();
    let (code, fifo) = kill_while_downloading(&ebb, Signal::SIGKILL);
    assert_eq!(code, 137);
    assert_ended(fifo);
    assert_eq!(ebb.ok(["images", "-q"]), "");
    let apt = FakeApt::new(&ebb, "exit 100");
    assert_eq!(answer(apt.command(&ebb).args(["pull", "-q", "nginx"])).code, 0);
    assert_eq!(left_over(&ebb), Vec::<PathBuf>::new());
}

#[test]
fn roots_apt_downloads_as_its_own_user_who_may_enter_where_it_does() {
    let has_user = Command::new("id").arg("_apt").output().is_ok_and(|output| output.status.success());
    if !common::is_root() || !has_user {
        return; // Who is not root has one user, and Debian's apt another.
    }
    let ebb = Ebb::empty();
    let said = ebb.dir.join("said");
    let script = format!(
        "exec 2>/dev/null\ncd /var/cache/apt/archives\nmountpoint -q /var/cache/apt && \
         setpriv --reuid _apt --regid nogroup --clear-groups ls partial && echo enters >>{0}\n\
         grep Sandbox \"$2\" >>{0}; exit 100",
        said.display()
    );
    let apt = FakeApt::new(&ebb, &script);
    assert_eq!(answer(apt.command(&ebb).args(["pull", "-q", "nginx"])).code, 0);
    assert_eq!(std::fs::read_to_string(said).expect("apt-get ran"), "enters\n");
    assert_eq!(left_over(&ebb), Vec::<PathBuf>::new());
}

#[test]
fn the_bar_moves_on_a_terminal_and_is_wiped() {
    let ebb = Ebb::empty();
    let report = "case \"$*\" in *update*) echo dlstatus:1:50.0:half >&3;; esac; exit 100";
    let apt = FakeApt::new(&ebb, report);
    for (no_color, green) in [("", true), ("1", false)] {
        let terminal = nix::pty::openpty(None, None).expect("a terminal");
        let mut command = apt.command(&ebb);
        command.args(["pull", "nginx"]).env("TERM", "xterm").env("NO_COLOR", no_color);
        let mut child = command.stdout(Stdio::null()).stderr(terminal.slave).spawn().expect("ebb starts");
        // The terminal's other side is ours alone once the command has ended; then reading it ends too, with EIO.
        drop(command);
        let mut seen = Vec::new();
        let _ = File::from(terminal.master).read_to_end(&mut seen);
        assert!(child.wait().expect("it ends").success());
        let seen = String::from_utf8_lossy(&seen).into_owned();
        assert!(seen.contains(" 50%\x1b[K") && seen.contains("━"), "{seen:?}");
        assert!(seen.contains("\r\x1b[K"), "{seen:?}");
        assert_eq!(seen.contains("\x1b[32m"), green, "{seen:?}");
    }
}

// --- a package registry of the test's own ------------------------------------------------------------------------------

/// apt's programs, replaced: `apt-get` does what `script` says.
struct FakeApt {
    dir: PathBuf,
}

impl FakeApt {
    fn new(ebb: &Ebb, script: &str) -> FakeApt {
        let dir = ebb.dir.join("fake");
        std::fs::create_dir_all(&dir).expect("a directory");
        let programs = [
            ("apt-get", script),
            (
                "apt-cache",
                if script == "exit 100" || script.ends_with("; exit 100") { "exit 100" } else { "echo Package: nginx" },
            ),
            ("dpkg-deb", "exit 1"),
        ];
        for (name, script) in programs {
            common::programs::script(&dir.join(name), script);
        }
        FakeApt { dir }
    }

    fn command(&self, ebb: &Ebb) -> Command {
        common::programs::replaced(ebb, &self.dir)
    }
}

/// Sends `signal` to `ebb pull nginx` while its download is under way; gives the exit code, and the fifo that the download
/// holds open for as long as it lives.
fn kill_while_downloading(ebb: &Ebb, signal: Signal) -> (i32, BufReader<File>) {
    let fifo = ebb.dir.join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("a fifo");
    let script = format!("exec 9>{}; echo under way >&9; exec sleep 1000", fifo.display());
    let apt = FakeApt::new(ebb, &script);
    let mut child = apt
        .command(ebb)
        .args(["pull", "nginx"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("ebb starts");
    let mut reader = BufReader::new(File::open(&fifo).expect("the fifo"));
    let mut line = String::new();
    reader.read_line(&mut line).expect("a line");
    assert_eq!(line, "under way\n");
    kill(Pid::from_raw(child.id() as i32), signal).expect("it is there");
    (exit_code(child.wait().expect("it ends")), reader)
}

/// The fifo's other end closes when the last process of the download is gone.
fn assert_ended(mut fifo: BufReader<File>) {
    let mut rest = Vec::new();
    fifo.read_to_end(&mut rest).expect("the end");
    assert_eq!(rest, b"");
}

fn left_over(ebb: &Ebb) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(ebb.store().join("tmp")).expect("the store's tmp");
    entries.map(|entry| entry.expect("an entry").path()).collect()
}

/// A store with the real nginx, which is made once for each user and each build. `None`, and a loud word, where no registry
/// of packages answers.
fn with_nginx() -> Option<Ebb> {
    static ARCHIVE: OnceLock<Option<PathBuf>> = OnceLock::new();
    let archive = ARCHIVE.get_or_init(|| {
        let user = std::fs::metadata("/proc/self").expect("procfs").uid();
        let archive = std::env::temp_dir().join(format!("ebb-test-nginx-{user}.tar"));
        let time = |path: &Path| std::fs::metadata(path).and_then(|meta| meta.modified()).ok();
        if time(&archive) > time(Path::new(env!("CARGO_BIN_EXE_ebb"))) {
            return Some(archive);
        }
        let ebb = Ebb::empty();
        let made: Answer = ebb.run(["pull", "nginx"]);
        assert_eq!(made.code, 0, "{}", made.shown());
        if made.stderr.contains("no package registry") || made.stderr.contains("no apt-get") {
            return None;
        }
        let half = ebb.dir.join("nginx.tar");
        ebb.ok(["image", "save", "-o", half.to_str().expect("UTF-8"), "nginx"]);
        std::fs::rename(&half, &archive).expect("the same file system");
        Some(archive)
    });
    let Some(archive) = archive else {
        skip("no package registry answers, so the real nginx cannot be made");
        return None;
    };
    let ebb = Ebb::empty();
    ebb.ok(["image", "load", "-q", "-i", archive.to_str().expect("UTF-8")]);
    Some(ebb)
}

/// What dpkg and apt know on the host, by the times at which they last learnt it.
fn installed() -> Vec<Option<std::time::SystemTime>> {
    ["/var/lib/dpkg/status", "/var/lib/apt/lists", "/var/cache/apt", "/etc/nginx", "/usr/sbin/nginx"]
        .map(|path| Path::new(path).metadata().and_then(|meta| meta.modified()).ok())
        .to_vec()
}
