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
    atomic::write_json(&store.root().join("lessons.json"), &progress)
}
