//! Two containers share a volume. One swaps a directory in it for a symlink, and back, as fast as the kernel can; the other
//! is started, with mounts and a working directory that lead through that place (CVE-2021-30465, CVE-2024-45310). Nothing
//! of the host is shown to it, and nothing of the host is changed.
//!
//! `cargo test` starts a hundred in each test; `just swap-race` ten thousand, whose numbers are in tests/torture/README.md.

mod common;

use common::Ebb;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What the started container tells: all that it can read of the place that is swapped, and what its mounts show.
const LOOK: &str = "cat secret /s/secret /v/dir/secret /v/dir/a/secret /v/dir/b/secret /v/dir/c/secret /v/dir/d 2>/dev/null; \
                    cut -d ' ' -f 4 /proc/self/mountinfo; echo seen";
/// Shorter than the steps of a start that it is to come between.
const PAUSE: Duration = Duration::from_micros(30);
const SECRET: &str = "the host's own";
const SUBPATH: &str = "type=volume,src=shared,volume-subpath=dir/sub,dst=/s";

#[test]
fn no_start_is_led_out_of_its_root_by_a_symlink_that_is_swapped_in() {
    race(doors);
}

/// The one door that is resolved on the host, by Ebb itself, before there is a root to stay in.
#[test]
fn no_start_is_led_out_of_a_volume_whose_subpath_is_swapped_for_a_symlink() {
    race(|start| {
        // To the directory that is swapped, and through it.
        let subpath = ["type=volume,src=shared,volume-subpath=dir,dst=/s", SUBPATH][start as usize % 2];
        vec!["run", "--rm", "--network", "none", "--mount", subpath]
    });
}

/// A bind of what lies in a directory that another container can write to: looked up on the host, and never through a link
/// that was not there when the container was created.
#[test]
fn no_start_is_led_elsewhere_by_a_symlink_that_is_swapped_into_the_path_of_a_bind() {
    race(|start| {
        let bind =
            ["./store/volumes/shared/_data/dir/sub:/s", "./store/volumes/shared/_data/dir:/s"][start as usize % 2];
        vec!["run", "--rm", "--network", "none", "-v", bind]
    });
}

fn race(doors: fn(u32) -> Vec<&'static str>) {
    let starts: u32 = std::env::var("EBB_SWAPS").map_or(100, |text| text.parse().expect("a number of starts"));
    let ebb = Ebb::new();
    let canary = ebb.dir.join("canary");
    std::fs::create_dir_all(canary.join("sub")).expect("a directory");
    for file in ["secret", "sub/secret"] {
        std::fs::write(canary.join(file), SECRET).expect("a file");
    }
    std::fs::write(ebb.dir.join("file"), "mine").expect("a file");
    ebb.ok(["volume", "create", "shared"]);
    let shared = PathBuf::from(ebb.ok(["volume", "inspect", "-f", "{{.Mountpoint}}", "shared"]));
    std::fs::create_dir_all(shared.join("dir/sub")).expect("a directory");
    let absolute = canary.clone();
    let upwards = Path::new(&"../".repeat(40)).join(canary.strip_prefix("/").expect("absolute"));
    let through_proc = Path::new("/proc/1/root").join(canary.strip_prefix("/").expect("absolute"));
    let targets = [absolute, upwards, through_proc];
    let (done, swaps) = (AtomicBool::new(false), AtomicU64::new(0));
    let (mut started, mut refused) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                swap(&shared, &targets, swaps.fetch_add(1, Ordering::Relaxed));
                // A resolution that meets a rename begins again (openat2(2), EAGAIN): swapped without a pause, a start
                // would hardly get through, and what is raced is its way through.
                let swapped = Instant::now();
                while swapped.elapsed() < PAUSE {
                    std::hint::spin_loop();
                }
            }
        });
        let mut escaped = None;
        for start in 0..starts {
            let answer = ebb.run(doors(start).iter().chain(&["busybox", "sh", "-c", LOOK]));
            match answer.code {
                0 => started += 1,
                _ => refused += 1,
            }
            let names = names_in(&canary);
            let is_shown = answer.stdout.contains(SECRET) || answer.stdout.contains("canary");
            if is_shown
                || names != ["secret", "sub", "sub/secret"]
                || (answer.code == 0) != answer.stdout.ends_with("seen\n")
            {
                escaped = Some(format!("start {start}: the host's directory has {names:?}; {}", answer.shown()));
                break;
            }
        }
        done.store(true, Ordering::Relaxed);
        assert_eq!(escaped, None);
    });
    let swaps = swaps.into_inner();
    println!("{starts} starts, {started} of them went on and {refused} were refused, during {swaps} swaps: 0 escapes");
    assert!(started > 0 && swaps > u64::from(starts), "{started} started, {swaps} swaps: nothing raced");
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("procfs");
    assert!(!mounts.contains(&ebb.dir.display().to_string()), "a mount is left on the host");
}

fn names_in(directory: &Path) -> Vec<String> {
    let mut found = std::process::Command::new("find");
    let found =
        found.args(["-mindepth", "1", "-printf", "%P\\n"]).current_dir(directory).output().expect("find starts");
    let mut names: Vec<String> = String::from_utf8_lossy(&found.stdout).lines().map(str::to_owned).collect();
    names.sort();
    names
}

/// The ways in which a start leads through `dir`, two of them each time.
fn doors(start: u32) -> Vec<&'static str> {
    let ways: [&[&str]; 6] = [
        &["-v", "other:/v/dir/a"],
        &["--tmpfs", "/v/dir/b"],
        &["-w", "/v/dir/c"],
        &["-v", "./file:/v/dir/d"],
        &["--mount", SUBPATH],
        &["--mount", "type=volume,src=third,dst=/v/dir/a/deeper/still,volume-nocopy"],
    ];
    let (one, two) = (start as usize % ways.len(), start as usize / ways.len() % ways.len());
    let mut words = vec!["run", "--rm", "--network", "none", "-v", "shared:/v"];
    words.extend(ways[one]);
    if one != two && one % 5 != two % 5 {
        words.extend(ways[two]);
    }
    words
}

/// Exchanges the directory and a symlink in one call, so that at any moment one of them is there; and each hundredth time
/// has the symlink lead elsewhere.
fn swap(shared: &Path, targets: &[PathBuf; 3], number: u64) {
    let (dir, link) = (shared.join("dir"), shared.join("link"));
    if number.is_multiple_of(100) {
        // Either may be under either name by now.
        let stale = if dir.is_symlink() { &dir } else { &link };
        let _ = std::fs::remove_file(stale);
        let _ = std::os::unix::fs::symlink(&targets[(number / 100) as usize % 3], stale);
    }
    let _ = renameat2(AT_FDCWD, &dir, AT_FDCWD, &link, RenameFlags::RENAME_EXCHANGE);
}
