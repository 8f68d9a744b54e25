//! Whose a member of an archive is.

use crate::error::{Error, Result};

/// A user's or a group's id of an archive, as chown(2) takes it. The last number of its type is none: it says "stay as it
/// is", and the file would be whoever's unpacks it.
pub fn id(number: u64) -> Result<u32> {
    match u32::try_from(number) {
        Ok(u32::MAX) => Err(Error::new(
            "its owner or group is 4294967295, which is no id: to the kernel it means \"as it is\" (chown(2))",
        )
        .with_cure("make the archive again, with `tar --numeric-owner --owner=ID --group=ID`")),
        Ok(id) => Ok(id),
        Err(_) => Err(Error::new("its owner is no 32-bit id")),
    }
}
