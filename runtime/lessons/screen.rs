//! A lesson on the screen: Markdown in a terminal's clothes, and the pauses of a reader.

use super::prompt;
use std::cell::Cell;
use std::io::{IsTerminal, Write};
use std::os::fd::AsFd;

/// How the lesson is shown, and the learner heard.
pub struct Screen {
    pub colour: bool,
    /// Where text is wrapped.
    pub width: usize,
    /// Where the terminal itself wraps a line.
    columns: usize,
    /// How many lines a learner sees at once; 0 where nobody waits for anybody.
    rows: usize,
    /// How many of them are taken since the learner last pressed Enter.
    taken: Cell<usize>,
    /// Milliseconds a word; 0 shows everything at once.
    pub pace: u64,
    pub keyboard: prompt::Keyboard,
}

impl Screen {
    /// Colour only on a terminal, and only where nothing forbids it.
    pub fn new(pace: u64) -> Screen {
        let out = std::io::stdout();
        let terminal = out.is_terminal();
        let known = crate::kernel::window_size(out.as_fd()).ok().map(|(_, columns)| usize::from(columns));
        let columns = known.filter(|columns| *columns > 0).unwrap_or(80);
        let colour = terminal && crate::ansi::has_colour();
        Screen {
            colour,
            width: columns.clamp(40, 100),
            columns,
            rows: 0,
            taken: Cell::new(0),
            pace,
            keyboard: Default::default(),
        }
    }

    /// For a learner, who turns the page: nothing scrolls away unread.
    pub fn in_pages() -> Screen {
        let rows = crate::kernel::window_size(std::io::stdout().as_fd()).map_or(0, |(rows, _)| usize::from(rows));
        Screen { rows: if rows < 8 { 0 } else { rows }, ..Screen::new(0) }
    }

    /// What is shown from here on is a new page.
    pub fn turn_page(&self) {
        self.taken.set(0);
    }

    /// One line, on the next page where this one is full.
    pub fn line(&self, line: &str) {
        let tall = 1 + seen(line).saturating_sub(1) / self.columns;
        if self.rows > 0 && self.taken.get() > 0 && self.taken.get() + tall >= self.rows {
            prompt::pause(&self.paint("2", "-- Enter --"));
            self.turn_page();
        }
        self.taken.set(self.taken.get() + tall);
        println!("{line}");
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// A piece of Markdown: headings, paragraphs, lists, tables and fenced blocks.
    pub fn markdown(&self, text: &str) {
        let mut paragraph = String::new();
        let mut fenced = false;
        let mut table: Vec<&str> = Vec::new();
        for line in text.lines() {
            if !line.starts_with('|') {
                self.table(&std::mem::take(&mut table));
            }
            if line.starts_with("```") {
                self.flush(&mut paragraph);
                if fenced {
                    self.line("");
                }
                fenced = !fenced;
            } else if fenced {
                self.line(&format!("    {}", self.paint("2", line)));
            } else if let Some(heading) = line.strip_prefix('#') {
                self.flush(&mut paragraph);
                self.heading(heading.trim_start_matches('#').trim());
            } else if line.trim().is_empty() {
                let ends_list = paragraph.starts_with("- ");
                self.flush(&mut paragraph);
                if ends_list {
                    self.line("");
                }
            } else if line.starts_with('|') {
                self.flush(&mut paragraph);
                table.push(line);
            } else if line.starts_with("- ") || line.starts_with("* ") || line.starts_with("> ") {
                self.flush(&mut paragraph);
                paragraph.push_str(line);
            } else {
                if !paragraph.is_empty() {
                    paragraph.push(' ');
                }
                paragraph.push_str(line.trim());
            }
        }
        self.table(&table);
        let ends_list = paragraph.starts_with("- ");
        self.flush(&mut paragraph);
        if ends_list {
            self.line("");
        }
    }

    fn heading(&self, text: &str) {
        self.line("");
        self.line(&self.paint("1;36", &if self.colour { text.replace('`', "") } else { text.to_owned() }));
        self.line("");
    }

    /// A table's rows, in columns that fit the screen; a cell that is too long goes on below.
    fn table(&self, lines: &[&str]) {
        let rows: Vec<Vec<&str>> = lines
            .iter()
            .filter(|line| !line.starts_with("|---"))
            .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
            .collect();
        let Some(columns) = rows.iter().map(Vec::len).max() else { return };
        let widest = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| self.seen(cell)).max();
        let mut widths: Vec<usize> = (0..columns).map(|column| widest(column).unwrap_or(0)).collect();
        let room = self.width.saturating_sub(2 * columns);
        while widths.iter().sum::<usize>() > room
            && let Some(widest) = widths.iter_mut().max().filter(|width| **width > 8)
        {
            *widest -= 1;
        }
        for (index, row) in rows.iter().enumerate() {
            let cells: Vec<Vec<String>> =
                row.iter().zip(&widths).map(|(cell, width)| balanced(self.wrap(cell, *width, ""))).collect();
            for line in 0..cells.iter().map(Vec::len).max().unwrap_or(0) {
                let mut shown = String::new();
                for (cell, width) in cells.iter().zip(&widths) {
                    let text = cell.get(line).map_or("", String::as_str);
                    let blank = " ".repeat(width.saturating_sub(self.seen(text)));
                    let bold = index == 0 && !text.contains('`');
                    let text = if bold { self.paint("1", text) } else { self.inline(text) };
                    shown.push_str(&format!("  {text}{blank}"));
                }
                self.line(shown.trim_end());
            }
        }
        self.line("");
        let words = lines.iter().map(|line| line.split_whitespace().count()).sum::<usize>() as u64;
        self.rest(words * self.pace);
    }

    /// What stands behind a label, and goes on below its own beginning.
    pub fn entry(&self, label: &str, text: &str) {
        let indent = " ".repeat(label.len());
        for (index, line) in balanced(self.wrap(text, self.width - label.len(), "")).iter().enumerate() {
            self.line(&format!("{}{}", if index == 0 { label } else { &indent }, self.inline(line)));
        }
    }

    /// How many columns a cell or a word takes, without the marks that are not shown.
    fn seen(&self, cell: &str) -> usize {
        cell.chars().filter(|letter| *letter != '*' && !(self.colour && *letter == '`')).count()
    }

    fn flush(&self, paragraph: &mut String) {
        if paragraph.is_empty() {
            return;
        }
        let indent = if paragraph.starts_with("- ") { "  " } else { "" };
        let words = paragraph.split_whitespace().count() as u64;
        for line in balanced(self.wrap(paragraph, self.width, indent)) {
            self.line(&self.inline(&line));
        }
        if indent.is_empty() {
            self.line("");
        }
        paragraph.clear();
        self.rest(words * self.pace);
    }

    /// `code`, **strong** and *emphasis* in a line; without colour the last two are plain.
    pub fn inline(&self, line: &str) -> String {
        let mut shown = String::new();
        for (index, part) in line.split('`').enumerate() {
            match (index % 2 == 1, self.colour) {
                (true, true) => shown.push_str(&self.paint("33", part)),
                (true, false) => shown.push_str(&format!("`{part}`")),
                (false, _) => shown.push_str(&self.emphasis(part)),
            }
        }
        shown
    }

    fn emphasis(&self, text: &str) -> String {
        let painted = |code, marker: &str, text: &str, inner: &dyn Fn(&str) -> String| -> String {
            let pieces: Vec<&str> = text.split(marker).collect();
            // An odd one is an asterisk, and no emphasis.
            if pieces.len().is_multiple_of(2) {
                return inner(text);
            }
            let one = |(index, piece): (usize, &&str)| {
                if index % 2 == 1 { self.paint(code, piece) } else { inner(piece) }
            };
            pieces.iter().enumerate().map(one).collect()
        };
        painted("1", "**", text, &|text| painted("3", "*", text, &|text| text.to_owned()))
    }

    /// A command, typed at the pace of the lesson.
    pub fn command(&self, command: &str) {
        self.taken.set(self.taken.get() + command.lines().count());
        print!("{} ", self.paint("32", "$"));
        for (index, line) in command.lines().enumerate() {
            if index > 0 {
                print!("\n{} ", self.paint("32", ">"));
            }
            if self.pace == 0 {
                print!("{}", self.paint("1", line));
                continue;
            }
            for letter in line.chars() {
                print!("{}", self.paint("1", &letter.to_string()));
                let _ = std::io::stdout().flush();
                self.rest(self.pace / 8);
            }
        }
        println!();
        self.rest(self.pace);
    }

    /// What a command answered: stdout plain, stderr and the exit code set apart.
    pub fn answer(&self, answer: &super::shell::Answer) {
        for line in answer.stdout.lines() {
            self.line(line);
        }
        for line in answer.stderr.lines() {
            self.line(&self.paint("31", line));
        }
        if answer.code != 0 {
            self.line(&self.paint("2", &format!("[exit code {}]", answer.code)));
        }
        self.line("");
        self.rest(answer.stdout.split_whitespace().count().clamp(4, 20) as u64 * self.pace);
    }

    pub fn good(&self, text: &str) {
        self.told("32", text);
    }

    pub fn bad(&self, text: &str) {
        self.told("31", text);
    }

    pub fn quiet(&self, text: &str) {
        self.told("2", text);
    }

    fn told(&self, code: &str, text: &str) {
        for paragraph in text.lines() {
            for line in self.wrap(paragraph, self.width, "  ") {
                let line = if self.colour { line.replace('`', "") } else { line };
                self.line(&self.paint(code, &line));
            }
        }
    }

    /// Waits, or until someone presses Enter; nothing is read that a later question could need.
    pub fn rest(&self, milliseconds: u64) {
        let _ = std::io::stdout().flush();
        if milliseconds == 0 {
            return;
        }
        let timeout = u16::try_from(milliseconds.min(12_000)).unwrap_or(u16::MAX);
        let stdin = std::io::stdin();
        if !stdin.is_terminal() {
            let _ = nix::poll::poll(&mut [], timeout);
            return;
        }
        let mut fds = [nix::poll::PollFd::new(stdin.as_fd(), nix::poll::PollFlags::POLLIN)];
        if nix::poll::poll(&mut fds, timeout).is_ok_and(|ready| ready > 0) {
            let _ = std::io::stdin().read_line(&mut String::new());
        }
    }

    /// Breaks a paragraph where it reaches `width`; what follows the first line begins with `indent`.
    fn wrap(&self, text: &str, width: usize, indent: &str) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        let (mut line, mut taken) = (String::new(), 0);
        for word in text.split_whitespace() {
            let wide = self.seen(word);
            if !line.is_empty() && taken + 1 + wide > width {
                lines.push(std::mem::take(&mut line));
                line.push_str(indent);
                taken = indent.len();
            } else if !line.is_empty() {
                line.push(' ');
                taken += 1;
            }
            line.push_str(word);
            taken += wide;
        }
        lines.push(line);
        lines
    }
}

/// A line on stderr about what goes on, on a terminal only.
pub fn note(text: &str) {
    if std::io::stderr().is_terminal() {
        eprintln!("{text}");
    }
}

/// How many columns a line takes: all but the escape sequences that paint it.
fn seen(line: &str) -> usize {
    let mut painted = false;
    let shown = line.chars().filter(|letter| match letter {
        '\x1b' => {
            painted = true;
            false
        }
        'm' if painted => {
            painted = false;
            false
        }
        _ => !painted,
    });
    shown.count()
}

/// What a line leaves open, code or emphasis, is closed at its end and opened again in the next.
fn balanced(lines: Vec<String>) -> Vec<String> {
    let mut open: Option<&str> = None;
    let mut result = Vec::new();
    for line in lines {
        let text = line.trim_start();
        let indent = &line[..line.len() - text.len()];
        let mut shown = format!("{indent}{}", open.unwrap_or_default());
        let mut rest = text;
        while !rest.is_empty() {
            let found = match open {
                Some(marker) => rest.starts_with(marker).then_some(marker),
                None => ["`", "**", "*"].into_iter().find(|marker| rest.starts_with(marker)),
            };
            let length = found.map_or_else(|| rest.chars().next().map_or(1, char::len_utf8), str::len);
            match (found, open) {
                (Some(_), Some(_)) => open = None,
                // An asterisk that nothing follows stands for itself.
                (Some(marker), None) if !rest[length..].starts_with(' ') => open = Some(marker),
                _ => {}
            }
            shown.push_str(&rest[..length]);
            rest = &rest[length..];
        }
        shown.push_str(open.unwrap_or_default());
        result.push(shown);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn screen(colour: bool) -> Screen {
        Screen { colour, width: 40, columns: 40, rows: 0, taken: Cell::new(0), pace: 0, keyboard: Default::default() }
    }

    #[test]
    fn marks_are_painted_or_left_out() {
        assert_eq!(screen(false).inline("a **b** *c* `d*e`"), "a b c `d*e`");
        assert_eq!(screen(true).inline("**b** *c* `d`"), "\x1b[1mb\x1b[0m \x1b[3mc\x1b[0m \x1b[33md\x1b[0m");
        assert_eq!(screen(false).inline("2 * 3"), "2 * 3");
    }

    #[test]
    fn marks_that_are_not_shown_take_no_room() {
        let text = "`aaaaaaaaa` `bbbbbbbbb` `ccccccccc` **ddddddddd**";
        assert_eq!(screen(true).wrap(text, 39, "").len(), 1);
        assert_eq!(screen(false).wrap(text, 39, "").len(), 2);
        assert_eq!(seen("\x1b[1mb\x1b[0m \x1b[33md\x1b[0m"), 3);
    }

    #[test]
    fn what_a_line_leaves_open_goes_on_in_the_next() {
        let lines = |text: &[&str]| text.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
        let found = balanced(lines(&["a *b c", "  d* `e", "f` **g", "h**"]));
        assert_eq!(found, lines(&["a *b c*", "  *d* `e`", "`f` **g**", "**h**"]));
        assert_eq!(balanced(lines(&["2 * 3", "`a*b"])), lines(&["2 * 3", "`a*b`"]));
    }
}
