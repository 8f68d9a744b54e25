//! volume …: one file a verb.

mod clone;
mod create;
mod export;
mod import;
mod inspect;
mod ls;
mod prune;
mod rename;
mod restore;
mod rm;
mod trash;

pub use clone::Clone;
pub use create::Create;
pub use export::Export;
pub use import::Import;
pub use inspect::Inspect;
pub use ls::{Ls, row};
pub use prune::Prune;
pub use rename::Rename;
pub use restore::Restore;
pub use rm::Rm;
pub use trash::{Empty, Ls as TrashLs, tell_trashed, tidy, with_cure_for_no_room};
