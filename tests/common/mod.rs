//! Drives the real binary, in a store of the test's own. A test is a sentence with a promise.

#![allow(dead_code)] // Each test file is a crate of its own and uses a part of this.

pub mod archives;
pub mod bundle;
pub mod dice;
pub mod hostile;
pub mod layers;
pub mod lesson;
pub mod narrated;
pub mod owners;
pub mod programs;
pub mod record;
pub mod registers;
pub mod shell;
pub mod strace;
pub mod terminal;
pub mod tracer;
pub mod trash;

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// A store of this test's own; its containers and itself are removed when it is dropped.
pub struct Ebb {
    pub dir: PathBuf,
}

/// What a command answered.
pub struct Answer {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    shown: String,
}

impl Ebb {
    /// An empty store.
    pub fn empty() -> Ebb {
        Ebb { dir: scratch("test") }
    }

    /// A store that holds the image `busybox`, a real one, made by its recipe once for all tests.
    pub fn new() -> Ebb {
        let ebb = Ebb::empty();
        ebb.ok(["image", "load", "-q", "-i", busybox_archive().to_str().expect("a UTF-8 path")]);
        ebb
    }

    pub fn store(&self) -> PathBuf {
        self.dir.join("store")
    }

    /// What is left in the store's `trash/` and `tmp/`, which a finished command leaves empty. (After `run --rm` the
    /// supervisor may still be removing a layer: it holds its lock until that is done.)
    pub fn leftovers(&self) -> Vec<String> {
        let directories =
            ["trash", "tmp"].map(|name| std::fs::read_dir(self.store().join(name)).expect("the directory"));
        let paths = directories.into_iter().flatten().map(|entry| entry.expect("an entry").path());
        let left = paths.filter(|path| {
            let _ = std::fs::File::open(path).and_then(|remover| remover.lock());
            path.exists()
        });
        left.map(|path| path.display().to_string()).collect()
    }

    /// `ebb` on this store, ready for more arguments.
    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ebb"));
        command
            .env("EBB_ROOT", self.store())
            .env("TERM", "xterm")
            .env_remove("NO_COLOR")
            .env_remove("EBB_EXPLAIN")
            .current_dir(&self.dir);
        command.stdin(Stdio::null());
        command
    }

    /// Runs `ebb ARGS` to its end.
    pub fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Answer {
        let mut command = self.command();
        command.args(args);
        answer(&mut command)
    }

    /// [`Ebb::run`], and it must succeed; returns stdout without the last newline.
    pub fn ok<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> String {
        let answer = self.run(args);
        assert_eq!(answer.code, 0, "{}", answer.shown);
        answer.stdout.trim_end_matches('\n').to_owned()
    }

    /// [`Ebb::run`], and it must exit with `code`; returns stderr.
    pub fn fails<S: AsRef<OsStr>>(&self, code: i32, args: impl IntoIterator<Item = S>) -> String {
        let answer = self.run(args);
        assert_eq!(answer.code, code, "{}", answer.shown);
        answer.stderr
    }

    /// [`Ebb::run`] with `input` on stdin.
    pub fn run_with<S: AsRef<OsStr>>(&self, input: &[u8], args: impl IntoIterator<Item = S>) -> Answer {
        let mut command = self.command();
        command.args(args).stdin(Stdio::piped());
        answer_to(&mut command, input)
    }

    /// Starts `ebb ARGS` and leaves it running, with pipes on all three descriptors.
    pub fn spawn<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Child {
        let mut command = self.command();
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("ebb starts")
    }

    /// [`Ebb::spawn`] of a command that is to wait for a lock; returns when it does.
    pub fn spawn_waiting<S: AsRef<OsStr> + std::fmt::Debug>(&self, args: &[S]) -> Child {
        let mut child = self.spawn(args);
        // The kernel shows who waits for a lock: `1: -> FLOCK ADVISORY READ PID …`.
        let waiter = format!(" {} ", child.id());
        let waits = |line: &str| line.contains("-> FLOCK") && line.contains(&waiter);
        while !std::fs::read_to_string("/proc/locks").expect("the kernel's locks").lines().any(waits) {
            assert!(child.try_wait().expect("a child").is_none(), "{args:?} waited for nothing");
        }
        child
    }

    /// Blocks until the container has written `line` to its stdout.
    pub fn await_line(&self, container: &str, line: &str) {
        let mut logs = self.spawn(["logs", "-f", container]);
        let mut lines = std::io::BufRead::lines(std::io::BufReader::new(logs.stdout.take().expect("a pipe")));
        let found = lines.by_ref().map_while(Result::ok).any(|found| found == line);
        drop(lines);
        let _ = logs.kill();
        let output = logs.wait_with_output().expect("logs ends");
        assert!(found, "{container} ended without {line:?}; {}", String::from_utf8_lossy(&output.stderr));
    }

    /// `inspect -f TEMPLATE` of a container.
    pub fn inspect(&self, container: &str, template: &str) -> String {
        self.ok(["inspect", "-f", template, container])
    }
}

impl Drop for Ebb {
    fn drop(&mut self) {
        if self.store().is_dir() {
            // What is being removed behind a command is not removed by two at once.
            if !std::thread::panicking() && ["trash", "tmp"].iter().all(|name| self.store().join(name).is_dir()) {
                self.leftovers();
            }
            let ids = self.run(["ps", "-aq", "--no-trunc"]).stdout;
            for id in ids.split_whitespace() {
                self.run(["rm", "-f", id]);
            }
            // Layers and volumes may carry subordinate ids, which only Ebb can remove without root.
            self.run(["volume", "prune", "-af"]);
            self.run(["volume", "trash", "empty", "-f"]);
            let images = self.run(["images", "-aq", "--no-trunc"]).stdout;
            for id in images.split_whitespace() {
                self.run(["rmi", "-f", id]);
            }
        }
        let removed = std::fs::remove_dir_all(&self.dir);
        if !std::thread::panicking() {
            removed.expect("the test's store can be removed");
        }
    }
}

impl Answer {
    /// The command line and all that it answered, for a failing assertion.
    pub fn shown(&self) -> &str {
        &self.shown
    }
}

pub fn answer(command: &mut Command) -> Answer {
    let output = command.output().expect("the command starts");
    describe(command, output)
}

pub fn answer_to(command: &mut Command, input: &[u8]) -> Answer {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    let input = input.to_owned();
    // Written beside the reading, so that neither side waits for the other's full pipe.
    let writer = std::thread::spawn(move || {
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().expect("the command ends");
    let _ = writer.join();
    describe(command, output)
}

fn describe(command: &Command, output: std::process::Output) -> Answer {
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
    let code = exit_code(output.status);
    let shown = format!("$ ebb {}\nexit {code}\n--- stdout\n{stdout}--- stderr\n{stderr}---", words.join(" "));
    Answer { code, stdout, stderr, shown }
}

/// As a shell gives it: 128+n for a signal.
pub fn exit_code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

pub fn is_root() -> bool {
    std::fs::metadata("/proc/self").map(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == 0).unwrap_or(false)
}

/// Whether this is an ordinary user without subordinate ids.
pub fn has_one_id() -> bool {
    let uid = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").expect("procfs"));
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = passwd
        .lines()
        .find(|line| line.split(':').nth(2) == Some(&uid.to_string()))
        .and_then(|line| line.split(':').next());
    let subuid = std::fs::read_to_string("/etc/subuid").unwrap_or_default();
    let owner =
        |line: &str| line.split(':').next().is_some_and(|owner| Some(owner) == name || owner == uid.to_string());
    uid != 0 && !subuid.lines().any(owner)
}

/// An image of one layer: busybox's own files, and what `add` puts into the tar after them.
pub fn image_with(ebb: &Ebb, name: &str, changes: &[&str], add: impl Fn(&mut tar::Builder<std::fs::File>)) {
    ebb.ok(["create", "--name", "base", "busybox"]);
    ebb.ok(["export", "-o", "root.tar", "base"]);
    ebb.ok(["rm", "base"]);
    let file = std::fs::File::create(ebb.dir.join("image.tar")).expect("a file");
    let mut builder = tar::Builder::new(file);
    let mut root = tar::Archive::new(std::fs::File::open(ebb.dir.join("root.tar")).expect("exported"));
    for entry in root.entries().expect("a tar") {
        let entry = entry.expect("an entry");
        let (mut header, path) = (entry.header().clone(), entry.path().expect("a path").into_owned());
        match entry.link_name().expect("a link") {
            Some(link) => builder.append_link(&mut header, path, &link).expect("written"),
            None => builder.append_data(&mut header, path, entry).expect("written"),
        }
    }
    add(&mut builder);
    builder.finish().expect("finished");
    let mut args = vec!["import"];
    for change in changes {
        args.extend(["--change", change]);
    }
    args.extend(["image.tar", name]);
    ebb.ok(args);
}

/// Says loudly that a test cannot hold its promise here, and why. In CI (`CI=true`) that is a failure.
/// Use as `if let Some(why) = lacking() { return skip(why) }`.
pub fn skip(why: &str) {
    assert!(std::env::var_os("CI").is_none(), "skipped in CI, where a skip is a failure: {why}");
    eprintln!("SKIPPED: {why}");
}

/// A new empty directory for one test.
pub fn scratch(purpose: &str) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("ebb-{purpose}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let dir = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&dir).expect("a directory for the test");
    dir
}

/// The archive of the image `busybox`, made once for each user and each build of Ebb.
pub fn busybox_archive() -> &'static Path {
    static ARCHIVE: OnceLock<PathBuf> = OnceLock::new();
    ARCHIVE.get_or_init(|| archive("busybox"))
}

/// The archive of the image `nginx`, the real one, from the distribution's packages.
pub fn nginx_archive() -> &'static Path {
    static ARCHIVE: OnceLock<PathBuf> = OnceLock::new();
    ARCHIVE.get_or_init(|| archive("nginx"))
}

fn archive(image: &str) -> PathBuf {
    let binary = std::fs::metadata(env!("CARGO_BIN_EXE_ebb")).expect("the binary");
    let built =
        binary.modified().expect("a time").duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_nanos();
    let user = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").expect("procfs"));
    // For each checkout its own: another's build is another Ebb.
    let checkout = env!("CARGO_MANIFEST_DIR").replace('/', "-");
    let directory = std::env::temp_dir().join(format!("ebb-test-images-{user}{checkout}"));
    std::fs::create_dir_all(&directory).expect("a directory for the archives");
    // Several test binaries run one after the other, and each needs it: the first makes it, the rest wait for that.
    let lock = std::fs::File::create(directory.join(format!("{image}.lock"))).expect("a lock");
    lock.lock().expect("the lock");
    let archive = directory.join(format!("{image}-{built}.tar"));
    if !archive.exists() {
        for old in std::fs::read_dir(&directory).expect("the archives").flatten() {
            let name = old.file_name().to_string_lossy().into_owned();
            if name.starts_with(&format!("{image}-")) {
                let _ = std::fs::remove_file(old.path());
            }
        }
        let ebb = Ebb::empty();
        ebb.ok(["pull", "-q", image]);
        let half = archive.with_extension("half");
        ebb.ok(["image", "save", "-o", half.to_str().expect("UTF-8"), image]);
        std::fs::rename(&half, &archive).expect("renamed");
    }
    archive
}
