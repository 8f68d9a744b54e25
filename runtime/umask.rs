//! The umask of whoever called us: it is about the files that they get. In the store and in containers it has no say, where
//! a mode that was less than asked for would shut out the owner, or a container's own users.

use crate::kernel;
use std::sync::OnceLock;

/// Ours, for whatever is made without a mode of its own; Docker's daemon has the same.
const OWN: u32 = 0o022;
static CALLERS: OnceLock<u32> = OnceLock::new();

/// To be called once, before anything is made.
pub fn set_own() {
    let _ = CALLERS.set(kernel::umask(OWN));
}

/// Undoes [`set_own`]: before this program executes itself again, and sets it once more.
pub fn give_back() {
    if let Some(callers) = CALLERS.get() {
        kernel::umask(*callers);
    }
}

/// Makes a file of the caller's, with the caller's umask.
pub fn with_callers<T>(make: impl FnOnce() -> T) -> T {
    let Some(callers) = CALLERS.get() else { return make() };
    let own = kernel::umask(*callers);
    let made = make();
    kernel::umask(own);
    made
}
