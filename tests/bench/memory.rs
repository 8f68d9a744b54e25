//! Memory: of what stays beside a container, and of a command at its peak.

use crate::measure::Line;
use nix::sys::resource::{UsageWho, getrusage};
use std::path::Path;

/// `peak FILE CMD…`: runs the command, waits for it and for every process that it leaves behind, and writes the largest
/// resident set that one of them had, in kB.
pub fn peak(words: &[String]) -> i32 {
    let [file, command @ ..] = words else { return 2 };
    // Orphans become ours, and so count in what getrusage says of our children.
    let _ = nix::sys::prctl::set_child_subreaper(true);
    let status = Line::new(command).run();
    while nix::sys::wait::wait().is_ok() {}
    let most = getrusage(UsageWho::RUSAGE_CHILDREN).map_or(0, |usage| usage.max_rss());
    let _ = std::fs::write(file, most.to_string());
    i32::from(status.is_err())
}

/// Number and proportional set size in kB of the processes of the executable `exe`, that have `word` in their command
/// line.
pub fn proportional(exe: &str, word: &str) -> (usize, u64) {
    let mut found = (0, 0);
    for process in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let path = process.path();
        let runs = std::fs::read_link(path.join("exe")).unwrap_or_default();
        let named = runs == Path::new(exe) || (!exe.contains('/') && runs.file_name().is_some_and(|name| name == exe));
        let line = std::fs::read(path.join("cmdline")).unwrap_or_default();
        if !named || !String::from_utf8_lossy(&line).contains(word) {
            continue;
        }
        let rollup = std::fs::read_to_string(path.join("smaps_rollup")).unwrap_or_default();
        if let Some(kb) =
            rollup.lines().find_map(|line| line.strip_prefix("Pss:")?.split_whitespace().next()?.parse::<u64>().ok())
        {
            found = (found.0 + 1, found.1 + kb);
        }
    }
    found
}

/// All memory that processes and the kernel hold, but for caches of files: in kB.
pub fn in_use() -> i64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let counted = ["AnonPages:", "Shmem:", "SUnreclaim:", "KernelStack:", "PageTables:", "Percpu:"];
    let words = |line: &str| -> Option<i64> {
        let mut words = line.split_whitespace();
        counted.contains(&words.next()?).then(|| words.next()?.parse().ok())?
    };
    text.lines().filter_map(words).sum()
}
