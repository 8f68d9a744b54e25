//! Lessons: `lessons/NN-slug/README.md` is read on a code host, shown in the terminal, practised, played to a class and
//! run as a test, all from that one source. Uses public commands only: what a lesson does, a learner can type.

pub mod audience;
pub mod check;
pub mod classroom;
pub mod compare;
pub mod heard;
pub mod own;
pub mod parse;
pub mod play;
pub mod progress;
pub mod prompt;
pub mod screen;
pub mod shell;
pub mod task;

use crate::error::{Doing, Error, Result};
use crate::store::bounds;
use parse::Lesson;
use std::path::Path;

/// Every lesson, in the order of its number: its directory's name and its text. `tests/lessons.rs` holds this list
/// against the directories.
pub const LESSONS: &[(&str, &str)] = &[
    ("01-a-container-is-a-process", include_str!("../../lessons/01-a-container-is-a-process/README.md")),
    ("02-what-it-writes-goes-with-it", include_str!("../../lessons/02-what-it-writes-goes-with-it/README.md")),
    ("03-volumes-survive-rm", include_str!("../../lessons/03-volumes-survive-rm/README.md")),
    ("04-watch-the-kernel-do-it", include_str!("../../lessons/04-watch-the-kernel-do-it/README.md")),
    ("05-sharing-a-volume", include_str!("../../lessons/05-sharing-a-volume/README.md")),
    ("06-volume-bind-mount-or-tmpfs", include_str!("../../lessons/06-volume-bind-mount-or-tmpfs/README.md")),
    ("07-named-anonymous-dangling", include_str!("../../lessons/07-named-anonymous-dangling/README.md")),
    ("08-backup-restore-disaster-drill", include_str!("../../lessons/08-backup-restore-disaster-drill/README.md")),
    ("09-whose-files-are-these", include_str!("../../lessons/09-whose-files-are-these/README.md")),
    ("10-data-that-must-not-die", include_str!("../../lessons/10-data-that-must-not-die/README.md")),
];

/// The lesson that `name` means: its number (`3`, `03`), its directory's name, or the path of a teacher's own file.
pub fn find(name: &str) -> Result<Lesson> {
    let number = name.parse::<usize>().ok();
    for (slug, text) in LESSONS {
        if number == Some(number_of(slug)) || *slug == name {
            return own(slug, text);
        }
    }
    if name.contains('/') || name.ends_with(".md") {
        let text = bounds::read_named(Path::new(name)).doing(|| format!("read the lesson {name}"))?;
        return parse::lesson(0, name, name, &text);
    }
    Err(Error::new(format!("no such lesson: {name}")).with_cure("`ebb lesson` lists them"))
}

pub fn all() -> Result<Vec<Lesson>> {
    LESSONS.iter().map(|(slug, text)| own(slug, text)).collect()
}

fn own(slug: &str, text: &str) -> Result<Lesson> {
    parse::lesson(number_of(slug), &format!("lessons/{slug}/README.md"), slug, text)
}

/// The number that a lesson's directory begins with.
fn number_of(slug: &str) -> usize {
    slug.split('-').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}
