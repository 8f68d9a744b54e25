//! image …: how images come, look and go.

mod archives;
mod list;
mod manage;

pub use super::pull::Pull;
pub use archives::{Import, Load, Save};
pub use list::{History, Inspect, Ls, row as image_row};
pub use manage::{Prune, Rm, Tag, unused};
