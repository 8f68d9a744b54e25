//! One line that says how far a long step has come: on a terminal only, on stderr, redrawn in place and then wiped.
//!
//! There is no thread and no timer: the bar moves when [`Progress::set`] is called, which is when there is news.

use crate::ansi;
use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

const BAR: usize = 32;

static QUIET: AtomicBool = AtomicBool::new(false);

/// From now on neither bars nor [`tell`] are seen: `--quiet`.
pub fn keep_quiet() {
    QUIET.store(true, Relaxed);
}

/// One line on stderr about the work that goes on.
pub fn tell(line: &str) {
    if !QUIET.load(Relaxed) {
        eprintln!("{line}");
    }
}

/// A bar for one step. Dropping it wipes the line.
pub struct Progress {
    label: String,
    total: u64,
    /// `None` where nobody watches: then nothing is ever written.
    screen: Option<Screen>,
}

struct Screen {
    columns: usize,
    colour: bool,
    /// The percentage on it: a bar is drawn a hundred times at most, however often it is set.
    drawn: Option<u64>,
}

impl Progress {
    /// `total` is in the caller's units (bytes, packages); 0 means that nobody knows, and shows no bar.
    pub fn new(label: &str, total: u64) -> Progress {
        let mut progress = Progress { label: label.to_owned(), total, screen: screen() };
        progress.set(0);
        progress
    }

    /// `done` of `total`, in the same units.
    pub fn set(&mut self, done: u64) {
        let total = self.total;
        let Some(screen) = &mut self.screen else { return };
        let percent = done.saturating_mul(100).checked_div(total).unwrap_or(0).min(100);
        if screen.drawn == Some(percent) {
            return;
        }
        screen.drawn = Some(percent);
        let line = line(&self.label, percent, total > 0, screen);
        let mut out = std::io::stderr().lock();
        let _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
    }

    /// Wipes the bar: what comes next starts on a clean line.
    pub fn finish(self) {}
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.screen.is_some() {
            let _ = std::io::stderr().lock().write_all(b"\r\x1b[K");
        }
    }
}

fn line(label: &str, percent: u64, known: bool, screen: &Screen) -> String {
    let (green, plain) = if screen.colour { ("\x1b[32m", "\x1b[0m") } else { ("", "") };
    let filled = percent as usize * BAR / 100;
    let (full, rest) = ("━".repeat(filled), "─".repeat(BAR - filled));
    // A line that wraps cannot be redrawn in place, so what does not fit is left out: first the bar, then letters.
    let room = screen.columns.saturating_sub(1);
    if known && room >= label.chars().count() + BAR + 7 {
        return format!("\r{label}  {green}{full}{plain}{rest} {percent:3}%\x1b[K");
    }
    let text = if known { format!("{label} {percent}%") } else { label.to_owned() };
    format!("\r{}\x1b[K", text.chars().take(room).collect::<String>())
}

fn screen() -> Option<Screen> {
    if QUIET.load(Relaxed) || !std::io::stderr().is_terminal() || !ansi::is_understood() {
        return None;
    }
    let columns = crate::kernel::window_size(std::io::stderr()).map_or(0, |(_, columns)| columns.into());
    Some(Screen { columns: if columns == 0 { 80 } else { columns }, colour: ansi::has_colour(), drawn: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(columns: usize) -> Screen {
        Screen { columns, colour: false, drawn: None }
    }

    #[test]
    fn a_bar_fits_its_screen_and_never_wraps() {
        let shown = |columns, percent| line("fetching", percent, true, &on(columns));
        assert_eq!(shown(80, 50), format!("\rfetching  {}{}  50%\x1b[K", "━".repeat(16), "─".repeat(16)));
        assert_eq!(shown(30, 50), "\rfetching 50%\x1b[K");
        assert_eq!(shown(6, 100), "\rfetch\x1b[K");
        assert_eq!(line("fetching", 0, false, &on(80)), "\rfetching\x1b[K");
    }
}
