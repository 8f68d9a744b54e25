//! Who the learner is. Most of a lesson is true for everyone; where root, an ordinary user and a user of one single id see
//! different things, the block says for whom it is: `console as root`, `solve as user, plain`.

use super::classroom::Room;
use super::parse::{Block, Lesson};
use super::shell;
use crate::error::{Error, Result};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    Root,
    /// An ordinary user with subordinate ids.
    User,
    /// An ordinary user with his own id only.
    Plain,
}

/// `root, user` of a fence's `KIND as root, user`.
pub fn parse(list: &str) -> Result<Vec<Who>> {
    let one = |name: &str| match name.trim() {
        "root" => Ok(Who::Root),
        "user" => Ok(Who::User),
        "plain" => Ok(Who::Plain),
        other => Err(Error::new(format!("a block is for root, user or plain, not for {other}"))),
    };
    list.split(',').map(one).collect()
}

/// Who plays in this room, as `ebb info` has it.
pub fn of(room: &Room) -> Result<Who> {
    let info = shell::run(room, "ebb info")?.stdout;
    let says = |line: &str| info.lines().any(|found| found.trim() == line);
    Ok(match (says("Rootless: true"), says("Ids of a Container: 1")) {
        (false, _) => Who::Root,
        (true, false) => Who::User,
        (true, true) => Who::Plain,
    })
}

/// The lesson as `who` sees it. What others would see is there to be read, and not to be run.
pub fn lesson(lesson: &Lesson, who: Who) -> Lesson {
    let mut seen = Lesson { blocks: Vec::new(), ..lesson.clone() };
    for block in &lesson.blocks {
        match block {
            Block::Only(only) if only.who.contains(&who) => seen.blocks.extend(only.blocks.iter().cloned()),
            Block::Only(only) => {
                if only.blocks.iter().all(|block| matches!(block, Block::Step(_))) {
                    let whom = only.who.iter().map(|who| described(*who)).collect::<Vec<_>>().join(", and ");
                    seen.blocks.push(Block::Text(format!("This is what {whom} would see:\n```\n{}\n```", only.text)));
                }
            }
            Block::Exercise(exercise) => {
                let mut exercise = exercise.clone();
                for (whom, commands) in std::mem::take(&mut exercise.solve_as) {
                    if whom.contains(&who) {
                        exercise.solve.extend(commands);
                    }
                }
                seen.blocks.push(Block::Exercise(exercise));
            }
            block => seen.blocks.push(block.clone()),
        }
    }
    seen
}

fn described(who: Who) -> &'static str {
    match who {
        Who::Root => "root",
        Who::User => "an ordinary user with subordinate ids",
        Who::Plain => "an ordinary user without subordinate ids",
    }
}
