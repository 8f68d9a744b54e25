//! Commands on containers: a thin file for each family.

mod cp;
mod diff;
mod exec;
mod export;
mod inspect;
mod logs;
mod options;
mod pause;
mod ps;
mod rename;
mod rm;
mod run;
mod start;
mod stats;
mod stop;
mod top;
mod update;
mod values;
mod wait;

pub use cp::Cp;
pub use diff::Diff;
pub use exec::Exec;
pub use export::Export;
pub use inspect::{Inspect, InspectContainer};
pub use logs::Logs;
pub use pause::{Pause, Unpause};
pub use ps::{Ps, row as ps_row};
pub use rename::Rename;
pub use rm::{Prune, Rm};
pub use run::{Create, Run};
pub use start::{Attach, Start};
pub use stats::Stats;
pub use stop::{Kill, Restart, Stop};
pub use top::Top;
pub use update::Update;
pub use wait::Wait;
