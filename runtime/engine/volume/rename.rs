//! A volume's new name.

use super::remove::in_use;
use super::{ANONYMOUS, check_name, get, users};
use crate::engine::container::living;
use crate::engine::events;
use crate::error::{Doing, Error, Result};
use crate::explain::{self, calls};
use crate::store::{Store, atomic, lock};
use nix::errno::Errno;

/// Gives a volume another name, in one rename of its directory, whose name is what counts. Refused while any container,
/// running or not, uses it: its record names the volume, and with the old name it would find nothing, or make a new one.
///
/// An anonymous volume that is given a name is anonymous no more: no `prune` takes it unasked.
pub fn rename(store: &Store, old: &str, new: &str) -> Result<()> {
    let doing = || format!("rename {old} to {new}");
    check_name(new).doing(doing)?;
    // No container can come to use it while this is held.
    let _lock = lock::exclusive(&store.volumes())?;
    let before = get(store, old)?;
    if old == new {
        return Err(Error::new(format!("rename {old}: that is its name already")));
    }
    living::refuse(store, doing)?;
    let users = users(store, old)?;
    if !users.is_empty() {
        return Err(in_use(store, "rename", old, &users));
    }
    let (from, to) = (store.volumes().join(old), store.volumes().join(new));
    let taken = || {
        Error::conflict(format!("{}: there is a volume {new}", doing()))
            .with_cure(format!("`ebb volume rename {new} OTHER` makes room, and so does `ebb volume rm {new}`"))
    };
    if to.exists() {
        return Err(taken());
    }
    let mut record = before.clone();
    record.name = new.to_owned();
    record.labels.remove(ANONYMOUS);
    // Before the rename: what comes between is a record that says the name which its directory does not have yet, and
    // that is read as if it had the right one.
    atomic::write_json(&from.join("volume.json"), &record).doing(doing)?;
    explain::step("the one step that counts", format_args!("mv --no-clobber {} {}", from.display(), to.display()));
    if let Err(errno) = calls::rename_new(&from, &to) {
        let _ = atomic::write_json(&from.join("volume.json"), &before);
        return match errno {
            Errno::EEXIST => Err(taken()),
            errno => Err(errno).doing(doing),
        };
    }
    events::tell(store, &[events::of_volume(new, "rename", &[("oldName", old.to_owned())])]);
    atomic::sync_dir(&store.volumes()).doing(doing)
}
