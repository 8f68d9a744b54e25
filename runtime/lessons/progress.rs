//! What the learner has finished: `lessons.json` in the learner's own store.

use crate::error::Result;
use crate::store::{Store, atomic};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Progress {
    pub version: u32,
    /// By the lesson's slug.
    pub lessons: BTreeMap<String, Score>,
    /// Where a lesson was left, likewise.
    pub left: BTreeMap<String, Mark>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Score {
    pub finished: bool,
    pub predictions: usize,
    pub right: usize,
    pub exercises: usize,
    pub solved: usize,
}

/// The block at which a lesson was left, of how many, with the score up to there.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Mark {
    pub at: usize,
    pub of: usize,
    pub score: Score,
}

impl atomic::Versioned for Progress {
    const VERSION: u32 = 1;

    fn version(&self) -> u32 {
        self.version
    }
}

/// What is recorded; nothing yet where there is no file.
pub fn read(store: &Store) -> Result<Progress> {
    match atomic::read_record(&store.root().join("lessons.json")) {
        Err(error) if error.is_not_found() => Ok(Progress { version: 1, ..Progress::default() }),
        result => result,
    }
}

/// Records the score of a lesson that was played to its end. The best of all tries stays.
pub fn record(store: &Store, slug: &str, score: Score) -> Result<()> {
    let mut progress = read(store)?;
    let known = progress.lessons.entry(slug.to_owned()).or_default();
    if !known.finished || (score.right, score.solved) >= (known.right, known.solved) {
        *known = score;
    }
    progress.left.remove(slug);
    atomic::write_json(&store.root().join("lessons.json"), &progress)
}

/// Records where a lesson was left. At its very beginning there is nothing to come back to.
pub fn leave(store: &Store, slug: &str, mark: Mark) -> Result<()> {
    let mut progress = read(store)?;
    progress.left.remove(slug);
    if mark.at > 1 {
        progress.left.insert(slug.to_owned(), mark);
    }
    atomic::write_json(&store.root().join("lessons.json"), &progress)
}
