//! What a killed command left behind is cleared by the next one that makes something: half-made directories in `tmp/`,
//! half-removed ones in `trash/`.

use crate::engine::container::{remove, supervisor};
use crate::engine::{idmap, owners, volume};
use crate::error::Result;
use crate::explain::{self, calls};
use crate::kernel::{self, Cloned};
use crate::oci;
use crate::store::{Store, TmpDir, tree};

/// Clears both, where there is anything: most often two looks at empty directories. Whatever cannot be cleared now is no
/// reason to refuse what the user wants; the next command tries again.
pub fn clear(store: &Store) {
    // And what has lain in the volumes' trash for long enough.
    let _ = crate::engine::volume::trash::expire(store);
    clear_unfinished(store);
}

/// [`clear`] without the look at the volumes' trash, for what takes no longer than that.
pub fn clear_unfinished(store: &Store) {
    let busy = tree::has_forgotten(store);
    if busy {
        volume::thaw_forgotten(&store.tmp());
        owners::finish(store);
        remove::free_forgotten(store);
    }
    if busy && let Ok(ids) = idmap::store_ids() {
        // Layers and upper directories hold files of all the store's ids.
        let _ = oci::with_ids(ids.map(), || tree::empty(store));
    }
}

/// Removes what nobody has any use for, in a process of its own for which nobody waits. It holds the directory's lock
/// until it has done; killed, it leaves the rest to the next command.
pub fn remove_behind(made: TmpDir) {
    explain::step("what was there before is removed by a process that nobody waits for", "");
    match calls::fork() {
        Ok(Cloned::Child) => {
            explain::process("remover");
            kernel::close_inherited(&[]);
            let _ = supervisor::let_go().and_then(|()| remove(&made));
            kernel::exit_now(0)
        }
        // The lock is one for both of us, and is not to be let go of here.
        Ok(Cloned::Parent { .. }) => std::mem::forget(made),
        Err(_) => drop(remove(&made)),
    }
}

/// Its files may be of all the store's ids.
fn remove(made: &TmpDir) -> Result<()> {
    let ids = idmap::store_ids()?;
    oci::with_ids(ids.map(), || tree::remove(&made.path))
}
