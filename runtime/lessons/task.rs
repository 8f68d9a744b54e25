//! A task: a state to reach, checked as often as the learner likes.

use super::check;
use super::classroom::Room;
use super::own;
use super::parse::Exercise;
use super::play::Went;
use super::progress::Score;
use super::prompt::{Typed, read};
use super::screen::Screen;
use crate::error::Result;

const TASK: &str = "Reach the state that the text asks for, by any way; Enter, or `check`, looks whether you have. \
`hint` gives a hint, `again` puts back what was there when this task began, `skip`, `reset` and `quit` are as ever.";

/// Says whether the state is reached; if not, what is wanted, what was seen, and why it matters.
pub fn verdict(room: &Room, exercise: &Exercise, screen: &Screen) -> Result<bool> {
    match check::exercise(room, exercise)? {
        None => {
            screen.good(&format!("✓ {}", exercise.why));
            screen.line("");
            Ok(true)
        }
        Some(miss) => {
            screen.bad("✗ not yet");
            screen.entry("  wanted    ", &miss.expected);
            screen.entry("  found     ", &miss.found);
            screen.entry("  why       ", &exercise.why);
            screen.line("");
            Ok(false)
        }
    }
}

/// Lets the learner work until the state is reached, or given up.
pub fn solve(room: &Room, exercise: &Exercise, screen: &Screen, score: &mut Score) -> Result<Went> {
    let mut hints = exercise.hints.iter();
    loop {
        screen.quiet("Enter checks · hint · again · skip");
        match read(screen, "your turn $")? {
            Typed::Line(line) => {
                own::run(room, &line, screen)?;
                if check::exercise(room, exercise)?.is_none() {
                    score.solved += 1;
                    verdict(room, exercise, screen)?;
                    return Ok(Went::On);
                }
            }
            Typed::Enter | Typed::Check => {
                if verdict(room, exercise, screen)? {
                    score.solved += 1;
                    return Ok(Went::On);
                }
            }
            Typed::Hint => match hints.next() {
                Some(hint) => screen.markdown(hint),
                None => {
                    screen.quiet("no more hints; this solves it:");
                    screen.markdown(&format!("```\n{}\n```", exercise.solve.join("\n")));
                }
            },
            Typed::Help => screen.markdown(TASK),
            Typed::Again => return Ok(Went::Again),
            Typed::Skip => return Ok(Went::On),
            Typed::Reset => return Ok(Went::Back),
            Typed::Quit => return Ok(Went::Away),
        }
    }
}
