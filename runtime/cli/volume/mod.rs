//! volume …: one file a verb.

mod create;
mod inspect;
mod ls;
mod prune;
mod rm;

pub use create::Create;
pub use inspect::Inspect;
pub use ls::{Ls, row};
pub use prune::Prune;
pub use rm::Rm;
