//! Commands on containers: one file for those that act, one for those that look.

mod lifecycle;
mod observe;

pub use lifecycle::*;
pub use observe::*;
