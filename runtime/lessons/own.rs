//! What the learner types instead of what is shown: run on the terminal, and held against what the lesson's own command
//! would have answered.

use super::classroom::Room;
use super::parse::Step;
use super::screen::Screen;
use super::shell::{self, Answer};
use super::{compare, heard};
use crate::error::Result;

const LINES: &str = "every line is run by a shell of its own, in your directory: \
what `cd` or a variable changes ends with it; `cd DIR && COMMAND` does both in one";

/// Runs what the learner typed, and says what a shell's prompt would hide: an exit code that is not 0.
pub fn run(room: &Room, line: &str, screen: &Screen) -> Result<Answer> {
    let answer = heard::run(room, line)?;
    let last = if answer.stderr.is_empty() { &answer.stdout } else { &answer.stderr };
    if answer.code == 130 || !(last.is_empty() || last.ends_with('\n')) {
        // The terminal has written `^C`, or the command half a line, and nothing after it.
        println!();
    }
    if answer.code != 0 {
        screen.quiet(&format!("[exit code {}]", answer.code));
    }
    if shell::ends_with_its_shell(line) {
        screen.quiet(LINES);
    }
    Ok(answer)
}

/// Whether the learner has typed what is shown, on as many lines as he likes.
pub fn same_command(typed: &str, shown: &str) -> bool {
    let words = |text: &str| text.replace("\\\n", " ").split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    words(typed) == words(shown)
}

/// Whether it did what the lesson's command does: it answered the same. An answer that says nothing (none, or any at all)
/// counts only where the words are the lesson's, in another order or with other quotes; and who does something else to the
/// same object (`rm` for `stop`) hears its name, too.
pub fn same_answer(step: &Step, typed: &str, answer: &Answer) -> bool {
    if shell::difference(step, answer).is_some() {
        return false;
    }
    let told = step.stdout.iter().chain(&step.stderr).any(|line| !line.trim().trim_matches('…').is_empty());
    if told || step.code != 0 {
        return match (verb(typed), verb(&step.command)) {
            (Some(typed), Some(shown)) => typed == shown,
            _ => true,
        };
    }
    words(typed) == words(&step.command)
}

/// The words in the order of the alphabet, without quotes; `--name=box` is two.
fn words(line: &str) -> Vec<String> {
    let plain = line.replace("\\\n", " ").replace(['\'', '"'], " ");
    let mut words: Vec<String> =
        plain.split([' ', '\t', '\n', '=']).filter(|w| !w.is_empty()).map(str::to_owned).collect();
    words.sort();
    words
}

/// What `ebb` is told to do; `None` where the line begins with another command.
fn verb(line: &str) -> Option<String> {
    let mut words = line.split_whitespace().filter(|word| !word.starts_with('-'));
    if words.next() != Some("ebb") {
        return None;
    }
    let first = words.next()?;
    let (noun, verb) = match first {
        "container" | "image" | "volume" => (first, words.next()?),
        verb => ("", verb),
    };
    // Docker's older names, and its other ones.
    Some(match (noun, verb) {
        ("container", "ls" | "list" | "ps") | ("", "ps") => "container ls".into(),
        ("image", "ls" | "list") | ("", "images") => "image ls".into(),
        ("image", "rm" | "remove") | ("", "rmi") => "image rm".into(),
        ("volume", "ls" | "list") => "volume ls".into(),
        ("volume", "rm" | "remove") => "volume rm".into(),
        ("container" | "", "rm" | "remove") => "container rm".into(),
        ("container" | "", verb) => format!("container {verb}"),
        (noun, verb) => format!("{noun} {verb}"),
    })
}

/// What to say of a command that was not the lesson's: whether its answer was another one than that would have given.
pub fn said_of(step: &Step, answer: &Answer) -> &'static str {
    let differs = answer.code != step.code || compare::lines(&step.stdout, &answer.stdout).is_err();
    match differs {
        true => {
            "that was yours; Enter runs the lesson's own, `again` first puts back what was there, \
             and `skip` goes on without it:"
        }
        false => "that was yours; Enter runs the lesson's own, and `skip` goes on without it:",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(command: &str, stdout: &[&str]) -> Step {
        let stdout = stdout.iter().map(|line| (*line).to_owned()).collect();
        Step { command: command.into(), stdout, ..Step::default() }
    }

    fn says(stdout: &str) -> Answer {
        Answer { stdout: stdout.into(), ..Answer::default() }
    }

    #[test]
    fn the_same_answer_counts_however_it_was_asked_for() {
        let shown = step("ebb ps -a", &["NAMES", "box …"]);
        assert!(same_answer(&shown, "ebb container ls --all", &says("NAMES\nbox up\n")));
        assert!(!same_answer(&shown, "ebb container ls", &says("NAMES\n")));
        assert!(same_answer(&step("cat note", &["a"]), "ebb exec box cat note", &says("a\n")));
    }

    #[test]
    fn who_hears_the_same_name_may_have_done_something_else() {
        let shown = step("ebb stop -t 0 box", &["box"]);
        assert!(same_answer(&shown, "ebb container stop box", &says("box\n")));
        assert!(!same_answer(&shown, "ebb rm -f box", &says("box\n")));
    }

    #[test]
    fn an_answer_that_says_nothing_counts_only_for_the_same_words() {
        let run = step("ebb run -d --name box busybox sleep 1000", &["…"]);
        assert!(same_answer(&run, "ebb run --name=box -d busybox sleep 1000", &says("5d0c\n")));
        assert!(!same_answer(&run, "ebb run -d --name bax busybox sleep 1000", &says("5d0c\n")));
        let write = step("ebb exec box sh -c 'echo a > /note'", &[]);
        assert!(same_answer(&write, "ebb exec box sh -c \"echo 'a' > /note\"", &says("")));
        assert!(!same_answer(&write, "true", &says("")));
    }
}
