//! What a killed command left behind is cleared by the next one that makes something: half-made directories in `tmp/`,
//! half-removed ones in `trash/`.

use crate::engine::container::{living, remove, supervisor};
use crate::engine::{idmap, owners, volume};
use crate::error::Result;
use crate::explain::{self, calls};
use crate::kernel::{self, Cloned};
use crate::oci;
use crate::store::{Store, TmpDir, is_made, lock, tree};

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
        end_lessons(store);
        volume::thaw_forgotten(&store.tmp());
        owners::finish(store);
        remove::free_forgotten(store);
    }
    if busy && let Ok(ids) = idmap::store_ids() {
        // Layers and upper directories hold files of all the store's ids.
        let _ = oci::with_ids(ids.map(), || tree::empty(store));
    }
}

/// A lesson has a store of its own in `tmp/`. Where all of its processes were killed, its containers go on, in a place that nobody
/// knows of and that is about to be removed.
fn end_lessons(store: &Store) {
    for entry in std::fs::read_dir(store.tmp()).into_iter().flatten().flatten() {
        let (name, own) = (entry.file_name(), entry.path().join("store"));
        let name = name.to_string_lossy();
        if !name.starts_with(LESSON) || !is_made(&name) || !own.join("containers").is_dir() {
            continue;
        }
        let Ok(_lock) = lock::try_exclusive(&entry.path()) else { continue };
        let Ok(own) = Store::open(Some(&own)) else { continue };
        let lived = living::every(&own);
        let ended = lived.iter().filter(|living| living::end(living)).count();
        if ended > 0 {
            let (noun, were) = if ended == 1 { ("container", "was") } else { ("containers", "were") };
            eprintln!("ebb: a lesson was killed, and {ended} {noun} of it that went on {were} ended now");
        }
    }
}

/// What the directory of a lesson is called.
const LESSON: &str = "lesson.";

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
