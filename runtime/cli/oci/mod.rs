//! oci …: runc's command line, so that podman, containerd and Docker can use Ebb as their runtime.
//!
//! runc's global options stand before the command; here they may stand behind it too.

mod descriptors;
mod exec;
mod lifecycle;
mod observe;
mod options;
mod resources;
mod spec;
mod terminal;

pub use exec::Exec;
pub use lifecycle::{Create, Delete, Kill, Run, Start};
pub use observe::{Events, List, Ps, State};
pub use options::{Globals, by_name, find};
pub use resources::{Pause, Resume, Update};
pub use spec::{Features, Spec};

use super::Execute;
