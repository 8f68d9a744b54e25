//! Plays a lesson: unattended for a class, or step by step with a learner who reads, types, guesses and repairs.

use super::classroom::{self, Room};
use super::parse::{Block, File, Lesson, Predict, Step};
use super::progress::{Mark, Score};
use super::prompt::{Typed, read};
use super::screen::Screen;
use super::{own, shell, task};
use crate::error::Result;

/// How an attended lesson ended.
pub enum End {
    Finished(Score),
    Left(Mark),
}

/// Plays the whole lesson without a question; solves the exercises before the class's eyes. The exit code is 1 where
/// something answered otherwise than the lesson says.
pub fn unattended(room: &Room, lesson: &Lesson, screen: &Screen) -> Result<i32> {
    let mut differs = false;
    for block in &lesson.blocks {
        match block {
            Block::Text(text) => screen.markdown(text),
            Block::Step(step) => differs |= !show_step(room, step, screen)?,
            Block::Predict(predict) => {
                ask(predict, screen);
                screen.rest(screen.pace * 20);
                screen.good(&format!("  → {}", predict.choices[predict.right]));
                screen.markdown(&predict.why);
            }
            Block::File(file) => show_file(room, file, screen)?,
            Block::Only(_) => {}
            Block::Setup(setup) => shell::set_up(room, setup)?,
            Block::Exercise(exercise) => {
                for command in &exercise.solve {
                    screen.command(command);
                    let answer = shell::run(room, command)?;
                    screen.answer(&answer);
                }
                differs |= !task::verdict(room, exercise, screen)?;
            }
        }
    }
    Ok(i32::from(differs))
}

/// Runs a step in front of the learner; says the first difference from what the lesson promised.
fn show_step(room: &Room, step: &Step, screen: &Screen) -> Result<bool> {
    screen.command(&step.command);
    let answer = shell::run(room, &step.command)?;
    screen.answer(&answer);
    let difference = shell::difference(step, &answer);
    if let Some(difference) = &difference {
        screen.bad(&format!("here the lesson expected on {}: {}", difference.of, difference.expected));
        screen.bad(&format!("and this machine answered:  {}", difference.found));
    }
    Ok(difference.is_none())
}

fn show_file(room: &Room, file: &File, screen: &Screen) -> Result<()> {
    classroom::hand_out(room, file)?;
    screen.markdown(&format!("```\n{}```\n", file.text));
    Ok(())
}

fn ask(predict: &Predict, screen: &Screen) {
    screen.markdown(&format!("**Predict.** {}", predict.question));
    for (index, choice) in predict.choices.iter().enumerate() {
        screen.entry(&format!("  {}) ", index + 1), choice);
    }
    screen.line("");
}

const HELP: &str = "Enter runs the command that is shown; or type it, or any other, and look around. \
`again` puts back what was there before it, `skip` goes on, `reset` starts the lesson over, `quit` leaves. \
Nothing stays behind.";

/// Walks a learner through the lesson, from its beginning, or from where it was left.
pub fn attended(room: &Room, lesson: &Lesson, screen: &Screen, left: Option<Mark>) -> Result<End> {
    screen.markdown(HELP);
    let mut from = match left.filter(|mark| mark.of == lesson.blocks.len() && mark.at < mark.of) {
        None => Mark::default(),
        Some(mark) => match return_to(&mark, lesson, screen)? {
            Went::On => {
                screen.quiet("what stands before that is played once more, unseen");
                screen.line("");
                replay(room, &lesson.blocks[..mark.at])?;
                mark
            }
            Went::Away => return Ok(End::Left(mark)),
            Went::Again | Went::Back => Mark::default(),
        },
    };
    loop {
        match once(room, lesson, screen, from)? {
            Some(end) => return Ok(end),
            None => {
                classroom::reset(room)?;
                screen.quiet("the lesson starts over, with nothing in its store but its images");
                screen.line("");
                from = Mark::default();
            }
        }
    }
}

/// Whether the learner wants to go on where the lesson was left.
fn return_to(mark: &Mark, lesson: &Lesson, screen: &Screen) -> Result<Went> {
    let heading = lesson.blocks[..=mark.at].iter().rev().find_map(heading).unwrap_or(&lesson.title);
    screen
        .markdown(&format!("You have left this lesson at **{heading}**. Enter goes on there, `reset` starts it over."));
    loop {
        match read(screen, "go on?")? {
            Typed::Enter => return Ok(Went::On),
            Typed::Reset => return Ok(Went::Back),
            Typed::Quit => return Ok(Went::Away),
            _ => screen.quiet("Enter, `reset` or `quit`"),
        }
    }
}

/// The last heading in a piece of text.
fn heading(block: &Block) -> Option<&str> {
    let Block::Text(text) = block else { return None };
    let line = text.lines().rev().find(|line| line.starts_with('#'))?;
    Some(line.trim_start_matches('#').trim())
}

/// What the learner has read and typed since the last heading: it leads up to what comes.
fn recall(blocks: &[Block], screen: &Screen) {
    let from = blocks.iter().rposition(|block| heading(block).is_some()).unwrap_or(0);
    for block in &blocks[from..] {
        match block {
            Block::Text(text) => screen.markdown(text),
            Block::Step(step) => {
                for line in step.command.lines() {
                    screen.quiet(line);
                }
                screen.line("");
            }
            _ => {}
        }
    }
}

/// One pass, from a mark on; `None` when the learner asked to start over.
fn once(room: &Room, lesson: &Lesson, screen: &Screen, from: Mark) -> Result<Option<End>> {
    let count = |wanted: fn(&Block) -> bool| lesson.blocks.iter().filter(|block| wanted(block)).count();
    let mut score = Score {
        finished: true,
        predictions: count(|block| matches!(block, Block::Predict(_))),
        exercises: count(|block| matches!(block, Block::Exercise(_))),
        ..from.score
    };
    let mut index = from.at;
    recall(&lesson.blocks[..index], screen);
    while let Some(block) = lesson.blocks.get(index) {
        let went = match block {
            Block::Text(text) => {
                screen.markdown(text);
                Went::On
            }
            Block::Step(step) => walk_step(room, step, screen)?,
            Block::Predict(predict) => guess(predict, screen, &mut score)?,
            Block::Only(_) => Went::On,
            Block::File(file) => {
                show_file(room, file, screen)?;
                Went::On
            }
            Block::Setup(setup) => {
                // A set-up builds on what stands before it, of which the learner may have left something out.
                if shell::set_up(room, setup).is_err() {
                    screen.quiet("the next task needs what stands before it, so that is played now, unseen");
                    replay(room, &lesson.blocks[..=index])?;
                }
                Went::On
            }
            Block::Exercise(exercise) => task::solve(room, exercise, screen, &mut score)?,
        };
        match went {
            Went::On => index += 1,
            Went::Again => {
                let what = if matches!(block, Block::Step(_)) { "step" } else { "task" };
                screen.quiet(&format!("everything goes back to where this {what} began"));
                replay(room, &lesson.blocks[..index])?;
            }
            Went::Back => return Ok(None),
            Went::Away => return Ok(Some(End::Left(Mark { at: index, of: lesson.blocks.len(), score }))),
        }
    }
    Ok(Some(End::Finished(score)))
}

/// Brings the room to where the lesson itself would be after `blocks`, unseen. What a step answers was looked at when the
/// learner saw it.
fn replay(room: &Room, blocks: &[Block]) -> Result<()> {
    classroom::reset(room)?;
    for block in blocks {
        match block {
            Block::Step(step) => drop(shell::run(room, &step.command)?),
            Block::File(file) => classroom::hand_out(room, file)?,
            Block::Setup(setup) => shell::set_up(room, setup)?,
            Block::Exercise(exercise) => {
                for command in &exercise.solve {
                    shell::run(room, command)?;
                }
            }
            Block::Text(_) | Block::Predict(_) | Block::Only(_) => {}
        }
    }
    Ok(())
}

/// How a block ended.
pub enum Went {
    On,
    Again,
    Back,
    Away,
}

fn walk_step(room: &Room, step: &Step, screen: &Screen) -> Result<Went> {
    loop {
        for line in step.command.lines() {
            screen.line(&format!("  {line}"));
        }
        match read(screen, "$")? {
            Typed::Line(line) if !own::same_command(&line, &step.command) => {
                let answer = own::run(room, &line, screen)?;
                if own::same_answer(step, &line, &answer) {
                    screen.good("✓ the same");
                    screen.line("");
                    return Ok(Went::On);
                }
                screen.quiet(own::said_of(step, &answer));
            }
            Typed::Enter | Typed::Line(_) => {
                return if show_step(room, step, screen)? { Ok(Went::On) } else { differs(room, screen) };
            }
            Typed::Hint | Typed::Check => screen.quiet("press Enter, or type the command that is shown:"),
            Typed::Again => return Ok(Went::Again),
            Typed::Help => screen.markdown(HELP),
            Typed::Skip => return Ok(Went::On),
            Typed::Reset => return Ok(Went::Back),
            Typed::Quit => return Ok(Went::Away),
        }
    }
}

/// The lesson's own command has answered otherwise than written: most often since something was done before that the lesson
/// does not know of.
fn differs(room: &Room, screen: &Screen) -> Result<Went> {
    loop {
        screen.quiet("Enter goes on · again puts back what the lesson has here, and tries anew");
        match read(screen, "go on?")? {
            Typed::Enter | Typed::Skip => return Ok(Went::On),
            Typed::Again => return Ok(Went::Again),
            Typed::Reset => return Ok(Went::Back),
            Typed::Quit => return Ok(Went::Away),
            Typed::Line(line) => drop(own::run(room, &line, screen)?),
            Typed::Hint | Typed::Check | Typed::Help => {}
        }
    }
}

fn guess(predict: &Predict, screen: &Screen, score: &mut Score) -> Result<Went> {
    ask(predict, screen);
    loop {
        match read(screen, "your guess:")? {
            Typed::Line(line) if line.parse::<usize>().is_ok_and(|n| (1..=predict.choices.len()).contains(&n)) => {
                if line.parse::<usize>() == Ok(predict.right + 1) {
                    score.right += 1;
                    screen.good("✓ yes");
                } else {
                    screen.bad(&format!("✗ no: {}", predict.choices[predict.right]));
                }
                screen.markdown(&predict.why);
                return Ok(Went::On);
            }
            Typed::Skip => return Ok(Went::On),
            Typed::Reset => return Ok(Went::Back),
            Typed::Quit => return Ok(Went::Away),
            _ => screen.quiet(&format!("a number from 1 to {}", predict.choices.len())),
        }
    }
}
