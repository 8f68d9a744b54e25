//! What a killed command left behind is cleared by the next one that makes something: half-made directories in `tmp/`,
//! half-removed ones in `trash/`.

use crate::engine::{idmap, owners, volume};
use crate::oci;
use crate::store::{Store, tree};

/// Clears both, where there is anything: most often two looks at empty directories. Whatever cannot be cleared now is no
/// reason to refuse what the user wants; the next command tries again.
pub fn clear(store: &Store) {
    // And what has lain in the volumes' trash for long enough.
    let _ = crate::engine::volume::trash::tidy(store);
    clear_unfinished(store);
}

/// [`clear`] without the look at the volumes' trash, for what takes no longer than that.
pub fn clear_unfinished(store: &Store) {
    let busy = tree::has_forgotten(store);
    if busy {
        volume::thaw_forgotten(&store.tmp());
        owners::finish(store);
    }
    if busy && let Ok(ids) = idmap::store_ids() {
        // Layers and upper directories hold files of all the store's ids.
        let _ = oci::with_ids(ids.map(), || tree::empty(store));
    }
}
