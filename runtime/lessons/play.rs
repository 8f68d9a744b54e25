//! Plays a lesson: unattended for a class, or step by step with a learner who reads, types, guesses and repairs.

use super::check;
use super::classroom::{self, Room};
use super::parse::{Block, Exercise, File, Lesson, Predict, Step};
use super::progress::Score;
use super::screen::Screen;
use super::shell;
use crate::error::{Doing, Result};
use std::io::{BufRead, Write};

/// How an attended lesson ended.
pub enum End {
    Finished(Score),
    Left,
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
                differs |= !verdict(room, exercise, screen)?;
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

fn verdict(room: &Room, exercise: &Exercise, screen: &Screen) -> Result<bool> {
    match check::exercise(room, exercise)? {
        None => {
            screen.good(&format!("✓ {}\n", exercise.why));
            Ok(true)
        }
        Some(miss) => {
            screen.bad("✗ not yet");
            println!("  expected  {}\n  found     {}\n  why       {}\n", miss.expected, miss.found, exercise.why);
            Ok(false)
        }
    }
}

fn ask(predict: &Predict, screen: &Screen) {
    screen.markdown(&format!("**Predict.** {}", predict.question));
    for (index, choice) in predict.choices.iter().enumerate() {
        println!("  {}) {}", index + 1, screen.inline(choice));
    }
    println!();
}

/// What the learner typed.
enum Typed {
    Enter,
    Hint,
    Again,
    Reset,
    Skip,
    Quit,
    Help,
    Line(String),
}

fn read(prompt: &str) -> Result<Typed> {
    print!("{prompt} ");
    std::io::stdout().flush().doing(|| "write to the terminal")?;
    let mut line = String::new();
    if std::io::stdin().lock().read_line(&mut line).doing(|| "read the terminal")? == 0 {
        println!();
        return Ok(Typed::Quit);
    }
    Ok(match line.trim() {
        "" => Typed::Enter,
        "hint" => Typed::Hint,
        "again" => Typed::Again,
        "reset" => Typed::Reset,
        "skip" => Typed::Skip,
        "quit" | "exit" | "q" => Typed::Quit,
        "help" | "?" => Typed::Help,
        line => Typed::Line(line.to_owned()),
    })
}

const HELP: &str = "Enter runs the command that is shown; or type it, or any other, and look around. \
`hint` gives a hint, `skip` goes on, `reset` starts the lesson over, `quit` leaves. Nothing stays behind.";

const TASK: &str = "Reach the state that the text asks for, by any way; Enter checks it. \
`hint` gives a hint, `again` puts back what was there when this task began, `skip`, `reset` and `quit` are as ever.";

/// Walks a learner through the lesson.
pub fn attended(room: &Room, lesson: &Lesson, screen: &Screen) -> Result<End> {
    loop {
        match once(room, lesson, screen)? {
            Some(end) => return Ok(end),
            None => {
                classroom::reset(room)?;
                screen.quiet("the lesson starts over, with nothing in its store but its images\n");
            }
        }
    }
}

/// One pass; `None` when the learner asked to start over.
fn once(room: &Room, lesson: &Lesson, screen: &Screen) -> Result<Option<End>> {
    let mut score = Score {
        finished: true,
        predictions: lesson.blocks.iter().filter(|block| matches!(block, Block::Predict(_))).count(),
        exercises: lesson.blocks.iter().filter(|block| matches!(block, Block::Exercise(_))).count(),
        ..Score::default()
    };
    screen.markdown(HELP);
    let mut index = 0;
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
                shell::set_up(room, setup)?;
                Went::On
            }
            Block::Exercise(exercise) => solve(room, exercise, screen, &mut score)?,
        };
        match went {
            Went::On => index += 1,
            Went::Again => {
                screen.quiet("everything goes back to where this task began");
                replay(room, &lesson.blocks[..index])?;
            }
            Went::Back => return Ok(None),
            Went::Away => return Ok(Some(End::Left)),
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

enum Went {
    On,
    Again,
    Back,
    Away,
}

fn walk_step(room: &Room, step: &Step, screen: &Screen) -> Result<Went> {
    println!("  {}", step.command.replace('\n', "\n  "));
    loop {
        match read("$")? {
            Typed::Line(line) if !same_command(&line, &step.command) => {
                shell::run_on_terminal(room, &line)?;
                screen.quiet("that was yours; Enter runs the lesson's own command");
            }
            Typed::Enter | Typed::Line(_) => {
                show_step(room, step, screen)?;
                return Ok(Went::On);
            }
            Typed::Hint => screen.quiet("press Enter, or type the command that is shown above"),
            Typed::Again => screen.quiet("`again` is for a task of your own; `reset` starts the lesson over"),
            Typed::Help => screen.markdown(HELP),
            Typed::Skip => return Ok(Went::On),
            Typed::Reset => return Ok(Went::Back),
            Typed::Quit => return Ok(Went::Away),
        }
    }
}

fn same_command(typed: &str, shown: &str) -> bool {
    typed.split_whitespace().eq(shown.split_whitespace())
}

fn guess(predict: &Predict, screen: &Screen, score: &mut Score) -> Result<Went> {
    ask(predict, screen);
    loop {
        match read("your guess:")? {
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

fn solve(room: &Room, exercise: &Exercise, screen: &Screen, score: &mut Score) -> Result<Went> {
    let mut hints = exercise.hints.iter();
    loop {
        match read("your turn $")? {
            Typed::Line(line) => {
                shell::run_on_terminal(room, &line)?;
                if check::exercise(room, exercise)?.is_none() {
                    score.solved += 1;
                    verdict(room, exercise, screen)?;
                    return Ok(Went::On);
                }
            }
            Typed::Enter => {
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
