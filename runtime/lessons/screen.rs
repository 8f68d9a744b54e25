//! A lesson on the screen: Markdown in a terminal's clothes, and the pauses of a reader.

use std::io::{IsTerminal, Write};
use std::os::fd::AsFd;

/// How the lesson is shown.
#[derive(Debug, Clone, Copy)]
pub struct Screen {
    pub colour: bool,
    pub width: usize,
    /// Milliseconds a word; 0 shows everything at once.
    pub pace: u64,
}

impl Screen {
    /// Colour only on a terminal, and only where NO_COLOR does not forbid it (no-color.org).
    pub fn new(pace: u64) -> Screen {
        let out = std::io::stdout();
        let terminal = out.is_terminal();
        let columns = crate::kernel::window_size(out.as_fd()).map_or(80, |(_, columns)| usize::from(columns));
        let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Screen { colour, width: columns.clamp(40, 100), pace }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// A piece of Markdown: headings, paragraphs, lists, tables and fenced blocks.
    pub fn markdown(&self, text: &str) {
        let mut paragraph = String::new();
        let mut fenced = false;
        for line in text.lines() {
            if line.starts_with("```") {
                self.flush(&mut paragraph);
                fenced = !fenced;
            } else if fenced {
                println!("    {}", self.paint("2", line));
            } else if let Some(heading) = line.strip_prefix('#') {
                self.flush(&mut paragraph);
                println!("\n{}\n", self.paint("1;36", heading.trim_start_matches('#').trim()));
            } else if line.trim().is_empty() {
                self.flush(&mut paragraph);
            } else if line.starts_with('|') {
                self.flush(&mut paragraph);
                if !line.starts_with("|---") {
                    println!("  {}", self.inline(line));
                }
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
        self.flush(&mut paragraph);
    }

    fn flush(&self, paragraph: &mut String) {
        if paragraph.is_empty() {
            return;
        }
        let indent = if paragraph.starts_with("- ") { "  " } else { "" };
        let words = paragraph.split_whitespace().count() as u64;
        for line in wrap(paragraph, self.width.saturating_sub(indent.len()), indent) {
            println!("{}", self.inline(&line));
        }
        if indent.is_empty() {
            println!();
        }
        paragraph.clear();
        self.rest(words * self.pace);
    }

    /// `code` and **strong** in a line.
    fn inline(&self, line: &str) -> String {
        if !self.colour {
            return line.replace("**", "");
        }
        let mut shown = String::new();
        for (index, part) in line.split('`').enumerate() {
            if index % 2 == 1 {
                shown.push_str(&self.paint("33", part));
                continue;
            }
            for (index, part) in part.split("**").enumerate() {
                shown.push_str(&if index % 2 == 1 { self.paint("1", part) } else { part.to_owned() });
            }
        }
        shown
    }

    /// A command, typed at the pace of the lesson.
    pub fn command(&self, command: &str) {
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
        print!("{}", answer.stdout);
        for line in answer.stderr.lines() {
            println!("{}", self.paint("31", line));
        }
        if answer.code != 0 {
            println!("{}", self.paint("2", &format!("[exit code {}]", answer.code)));
        }
        println!();
        self.rest(answer.stdout.split_whitespace().count().clamp(4, 20) as u64 * self.pace);
    }

    pub fn good(&self, text: &str) {
        println!("{}", self.paint("32", text));
    }

    pub fn bad(&self, text: &str) {
        println!("{}", self.paint("31", text));
    }

    pub fn quiet(&self, text: &str) {
        println!("{}", self.paint("2", text));
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
}

/// A line on stderr about what goes on, on a terminal only.
pub fn note(text: &str) {
    if std::io::stderr().is_terminal() {
        eprintln!("{text}");
    }
}

fn wrap(text: &str, width: usize, indent: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(std::mem::take(&mut line));
            line.push_str(indent);
        } else if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines
}
