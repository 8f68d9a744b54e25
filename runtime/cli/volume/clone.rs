//! volume clone.

use super::import::tell_left_out;
use crate::cli::{Execute, output, store};
use crate::engine::container::state;
use crate::engine::volume::{self, Cloned};
use crate::error::Result;
use crate::store::Store;

/// Make a volume that holds what another one does
#[derive(Debug, clap::Parser)]
#[command(after_help = "\
The clone has the contents, the labels and the options of the other volume, and is a volume of its own. Where the file
system can (btrfs, XFS), the two share blocks until one of them is changed, and a clone takes no time and no space.

Examples:
  ebb volume clone db db-before          a snapshot
  ebb volume clone --pause db db-now     of one moment: who uses the volume stands still meanwhile
  ebb volume rm db && ebb volume rename db-before db          and a rollback, when no container uses it")]
pub struct Clone {
    /// Pause the containers that use the volume, for a copy of one moment
    #[arg(long)]
    pause: bool,
    #[arg(value_name = "VOLUME")]
    source: String,
    #[arg(value_name = "NEW_VOLUME")]
    target: String,
}

impl Execute for Clone {
    fn execute(self) -> Result<i32> {
        let store = store()?;
        let copy = |sound: &dyn Fn() -> Result<()>| volume::clone(&store, &self.source, &self.target, sound);
        if self.pause {
            return tell(&volume::while_frozen(&store, &self.source, copy)?);
        }
        let writers = writers(&store, &self.source)?;
        tell(&copy(&|| Ok(()))?)?;
        if !writers.is_empty() {
            let who = writers.join(", ");
            output::complain(&format!(
                "{who} could write to {} while it was copied; `--pause` makes a copy of one moment",
                self.source
            ));
        }
        Ok(0)
    }
}

fn tell(cloned: &Cloned) -> Result<i32> {
    tell_left_out(cloned.attributes_left_out);
    output::line(&cloned.volume.name)?;
    Ok(0)
}

/// The containers that run and may write to the volume.
fn writers(store: &Store, name: &str) -> Result<Vec<String>> {
    let mut users = volume::users(store, name)?;
    users.retain(|user| {
        let writes = user.mounts.iter().any(|mount| mount.kind == "volume" && mount.name == name && mount.rw);
        writes && state::current(store, user).is_ok_and(|state| state.status == state::Status::Running)
    });
    Ok(users.into_iter().map(|user| user.name).collect())
}
