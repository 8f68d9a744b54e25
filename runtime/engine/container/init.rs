//! The file of `--init`: Ebb's own binary, which no container may change.

use super::INIT_PATH;
use super::record::HostConfig;
use crate::error::{Doing, Result};
use crate::oci::{self, Given, detached};
use std::path::Path;
use std::rc::Rc;

/// The mount of it, for one life of the container. Bound read-only like any other, it could be made writable by whoever
/// has CAP_SYS_ADMIN in the container; and without root, the container's root is the owner of the binary on the host.
pub fn mount(host: &HostConfig) -> Result<Option<Given>> {
    if !host.init {
        return Ok(None);
    }
    let mount = detached::read_only_for_good(&oci::binary::path()?).doing(|| "seal the init")?;
    Ok(Some(Given { destination: Path::new(INIT_PATH).to_owned(), mount: Rc::new(mount) }))
}
