//! volume …: one file a verb.

mod create;
mod inspect;
mod ls;
mod prune;
mod rm;

pub use create::Create;
pub use inspect::Inspect;
pub use ls::Ls;
pub use prune::Prune;
pub use rm::Rm;
