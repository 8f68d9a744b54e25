//! image …: how images come, look and go.

mod archives;
mod list;
mod manage;

pub use super::pull::Pull;
pub use archives::{Import, Load, Save};
pub use list::{History, Inspect, Ls};
pub use manage::{Prune, Rm, Tag};
